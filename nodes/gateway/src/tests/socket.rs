//! The chat socket, frame by frame.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use jarvis_machine::rows::NodeIntent;
use jarvis_session::api::FeedEvent;
use jarvis_types::chat::ServerFrame;
use jarvis_types::{Epoch, NodeId};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::*;

#[tokio::test]
async fn a_new_session_is_welcomed_and_what_is_said_comes_back() {
    let rig = rig().await;
    let mut client = Client::open(&rig, &[("sec-websocket-protocol", "other, jarvis.v1")]).await;
    let welcome = client.hello(json!({ "token": ADA, "unknown": 1 })).await;
    assert_eq!(welcome["session"].as_str().map(str::len), Some(26));
    assert_eq!(
        json!([
            welcome["type"],
            welcome["node"],
            welcome["owner"],
            welcome["epoch"],
            welcome["last_seq"]
        ]),
        json!(["welcome", "a", "b", 4, 0])
    );
    assert_eq!(
        welcome["endpoints"],
        json!([
            "ws://10.0.0.1:8007/ws",
            "ws://10.0.0.2:8007/ws",
            "ws://10.0.0.3:8007/ws"
        ])
    );
    assert_eq!(
        welcome["limits"],
        json!({"message_chars": 4096, "messages_per_minute": 0, "frame_bytes": 65536})
    );
    client.say("m1", "hello there").await;
    assert_eq!(
        client.frame().await,
        json!({"type": "said", "seq": 1, "id": "m1", "role": "user", "text": "hello there", "at": 1})
    );
    let session = rig.fake.session_ids()[0];
    let delta = ServerFrame::Delta {
        reply_to: "m1".into(),
        offset: 0,
        text: "Go".into(),
    };
    rig.fake.live(FeedEvent::Frame(delta));
    assert_eq!(
        client.frame().await,
        json!({"type": "delta", "reply_to": "m1", "offset": 0, "text": "Go"})
    );
    rig.fake.answer(session, 1, "Good day");
    let reply = client.frame().await;
    assert_eq!(
        json!([
            reply["type"],
            reply["seq"],
            reply["reply_to"],
            reply["text"],
            reply["role"]
        ]),
        json!(["reply", 2, "m1", "Good day", "assistant"])
    );
    rig.fake.live(FeedEvent::Moved {
        owner: NodeId(3),
        epoch: Epoch(5),
    });
    assert_eq!(
        client.frame().await,
        json!({"type": "moved", "owner": "c", "epoch": 5})
    );
    // Nobody asked: it has a place and an id of its own, and answers no message.
    rig.fake.tell(session, "It rains.");
    let unasked = json!({
        "type": "reply", "seq": 3, "id": format!("{session}-3"), "role": "assistant", "text": "It rains.", "at": 3
    });
    assert_eq!(client.frame().await, unasked);
    let path = format!("/api/v1/sessions/{session}/messages?after=2");
    let page = rig.call("GET", &path, ADA, None).await;
    assert_eq!(page.json(), json!({"messages": [unasked], "last_seq": 3}));
}

#[tokio::test]
async fn a_session_is_resumed_after_what_the_client_has() {
    let rig = rig().await;
    let (mut first, session) = rig.chat(ADA).await;
    for n in 1..=5 {
        first.say(&format!("m{n}"), "x").await;
        first.is_said(n, &format!("m{n}")).await;
    }
    let mut again = Client::open(&rig, &[("authorization", &format!("Bearer {ADA}"))]).await;
    let welcome = again.hello(json!({ "session": session, "after": 2 })).await;
    assert_eq!(
        (&welcome["last_seq"], &welcome["session"]),
        (&json!(5), &json!(session))
    );
    for n in 3..=5 {
        again.is_said(n, &format!("m{n}")).await;
    }
    first.say("m6", "x").await;
    again.is_said(6, "m6").await;
    let mut whole = Client::open(&rig, &[]).await;
    whole.hello(json!({ "token": ADA, "session": session })).await;
    for n in 1..=6 {
        whole.is_said(n, &format!("m{n}")).await;
    }
    let mut beyond = Client::open(&rig, &[]).await;
    assert_eq!(
        beyond
            .hello(json!({ "token": ADA, "session": session, "after": 99 }))
            .await["type"],
        "welcome"
    );
    beyond.is_quiet().await;
    beyond.say("m7", "x").await;
    beyond.is_said(7, "m7").await;
    beyond.is_quiet().await;
}

#[tokio::test]
async fn after_counts_in_the_session_that_it_is_about() {
    let rig = rig().await;
    let mut client = Client::open(&rig, &[]).await;
    let welcome = client.hello(json!({ "token": ADA, "after": 99 })).await;
    assert_eq!(welcome["last_seq"], 0);
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    rig.fake.answer(rig.fake.session_ids()[0], 1, "y");
    assert_eq!(client.frame().await["seq"], 2);
    client.is_quiet().await;
}

#[tokio::test]
async fn what_is_said_is_confirmed_however_much_the_client_claims_to_have() {
    let rig = rig().await;
    let (mut first, session) = rig.chat(ADA).await;
    first.say("m1", "x").await;
    first.is_said(1, "m1").await;
    // A node that cannot ask the majority does not know that there is no entry 99.
    rig.set_unavailable(true);
    let mut beyond = Client::open(&rig, &[]).await;
    let hello = json!({ "token": ADA, "session": session, "after": 99 });
    assert_eq!(beyond.hello(hello).await["type"], "welcome");
    rig.set_unavailable(false);
    beyond.say("m2", "x").await;
    beyond.is_said(2, "m2").await;
    beyond.say("m3", "x").await;
    beyond.say("m3", "x").await;
    beyond.is_said(3, "m3").await;
    first.is_said(2, "m2").await;
    first.is_said(3, "m3").await;
    rig.fake.answer(rig.fake.session_ids()[0], 1, "y");
    loop {
        let frame = beyond.frame().await;
        if frame["type"] == "reply" {
            assert_eq!(frame["seq"], 4);
            break;
        }
        assert_eq!(frame["id"], "m3", "the same message may be confirmed twice");
    }
}

#[tokio::test]
async fn a_message_sent_again_across_its_replay_comes_once() {
    let rig = rig().await;
    let (mut first, session) = rig.chat(ADA).await;
    first.say("m1", "x").await;
    first.is_said(1, "m1").await;
    // The client lost its socket before it was told, and says it again as soon as it is welcome.
    let mut again = Client::open(&rig, &[]).await;
    again
        .hello(json!({ "token": ADA, "session": session, "after": 0 }))
        .await;
    again.is_said(1, "m1").await;
    again.say("m1", "x").await;
    again.is_quiet().await;
    // Who asks once more on the same socket is told once more.
    again.say("m1", "x").await;
    again.is_said(1, "m1").await;
}

#[tokio::test]
async fn the_same_id_is_the_same_message_and_its_sender_is_told_again() {
    let rig = rig().await;
    let (mut client, session) = rig.chat(ADA).await;
    client.say("m1", "once").await;
    client.is_said(1, "m1").await;
    client.say("m1", "twice").await;
    let again = client.frame().await;
    assert_eq!((&again["seq"], &again["text"]), (&json!(1), &json!("once")));
    client.is_quiet().await;
    // Two in flight: the feed brings it after both, so one confirmation is enough.
    rig.fake.hold.store(true, Ordering::SeqCst);
    client.say("m2", "x").await;
    client.say("m2", "x").await;
    client.is_quiet().await;
    rig.fake.hold.store(false, Ordering::SeqCst);
    rig.fake.released.notify_one();
    client.is_said(2, "m2").await;
    client.is_quiet().await;
    // A client that resumed after it has it by its own word; only if it insists is it told again.
    let mut resumed = Client::open(&rig, &[]).await;
    resumed
        .hello(json!({ "token": ADA, "session": session, "after": 2 }))
        .await;
    resumed.say("m1", "once").await;
    resumed.is_quiet().await;
    resumed.say("m1", "once").await;
    resumed.is_said(1, "m1").await;
}

#[tokio::test]
async fn says_keep_their_order_and_pings_overtake_them() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    rig.fake.hold.store(true, Ordering::SeqCst);
    client.say("m0", "x").await;
    client.is_quiet().await;
    rig.fake.hold.store(false, Ordering::SeqCst);
    for n in 1..100 {
        client.say(&format!("m{n}"), "x").await;
    }
    rig.fake.released.notify_one();
    for n in 0..100u64 {
        client.is_said(n + 1, &format!("m{n}")).await;
    }
}

#[tokio::test]
async fn what_waits_behind_a_stuck_message_is_refused_with_it() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    rig.fake.hold.store(true, Ordering::SeqCst);
    let started = tokio::time::Instant::now();
    for n in 0..10 {
        client.say(&format!("m{n}"), "x").await;
    }
    for n in 0..10 {
        let error = client.is_error("unavailable").await;
        assert_eq!(error["id"], format!("m{n}"));
        assert!(
            error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
            "{error}"
        );
    }
    assert!(
        started.elapsed() < Duration::from_millis(1_500),
        "not one deadline after the other"
    );
    rig.fake.hold.store(false, Ordering::SeqCst);
    client.say("m0", "x").await;
    client.is_said(1, "m0").await;
}

#[tokio::test]
async fn a_minority_says_unavailable_and_the_message_may_be_sent_again() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    rig.set_unavailable(true);
    client.say("m1", "x").await;
    let error = client.is_error("unavailable").await;
    assert_eq!(
        (&error["id"], &error["retry_after_ms"]),
        (&json!("m1"), &json!(fake::RETRY_MS))
    );
    let mut second = Client::open(&rig, &[]).await;
    second.send(json!({ "type": "hello", "token": ADA })).await;
    assert_eq!(
        second.is_error("unavailable").await["retry_after_ms"],
        fake::RETRY_MS
    );
    rig.set_unavailable(false);
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    assert_eq!(
        second.hello(json!({ "token": ADA })).await["type"],
        "welcome",
        "hello may be said again"
    );
}

#[tokio::test]
async fn faults_of_the_inside_are_not_shown() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    rig.fake.broken.store(true, Ordering::SeqCst);
    client.say("m1", "x").await;
    let error = client.is_error("internal").await;
    assert!(
        !error.to_string().contains("fire") && error["id"] == "m1",
        "{error}"
    );
}

#[tokio::test]
async fn replies_are_cancelled_by_the_message_they_answer() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    client.send(json!({ "type": "cancel", "id": "m1" })).await;
    client.is_quiet().await;
    client.send(json!({ "type": "cancel", "id": "m9" })).await;
    assert_eq!(client.is_error("not_found").await["id"], "m9");
    client.send(json!({ "type": "cancel", "id": "a b" })).await;
    assert_eq!(client.is_error("bad_frame").await["id"], "a b");
    client
        .send(json!({ "type": "cancel", "id": "x".repeat(129) }))
        .await;
    assert_eq!(client.is_error("bad_frame").await["id"], Value::Null);
    client.is_quiet().await;
}

#[tokio::test]
async fn the_first_frame_must_be_hello() {
    let rig = rig().await;
    let mut client = Client::open(&rig, &[]).await;
    for early in [
        json!({ "type": "say", "id": "m1", "text": "x" }),
        json!({ "type": "ping", "t": 1 }),
        json!({ "type": "cancel", "id": "m1" }),
    ] {
        client.send(early).await;
        assert!(
            client.is_error("bad_frame").await["message"]
                .as_str()
                .is_some_and(|m| m.contains("hello"))
        );
    }
    assert_eq!(client.hello(json!({ "token": ADA })).await["type"], "welcome");
    client.send(json!({ "type": "hello", "token": ADA })).await;
    client.is_error("bad_frame").await;
    client.is_quiet().await;
}

#[tokio::test]
async fn hello_has_a_deadline() {
    let rig = rig_with(GatewaySettings {
        hello_deadline: Duration::from_millis(50),
        ..settings()
    })
    .await;
    let mut client = Client::open(&rig, &[]).await;
    client.is_error("bad_frame").await;
    client.is_closed(1008).await;
}

#[tokio::test]
async fn sessions_of_others_are_not_found() {
    let rig = rig().await;
    let (_ada, session) = rig.chat(ADA).await;
    let mut bob = Client::open(&rig, &[]).await;
    for wrong in [session.as_str(), "01J0000000000000000000000A", "nonsense", ""] {
        bob.send(json!({ "type": "hello", "token": BOB, "session": wrong, "after": 0 }))
            .await;
        bob.is_error("not_found").await;
    }
    assert_eq!(bob.hello(json!({ "token": BOB })).await["type"], "welcome");
}

#[tokio::test]
async fn frames_that_are_none_are_named_and_the_socket_stays() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    for (bad, says) in [
        ("{", "JSON"),
        ("null", "object"),
        ("[]", "object"),
        ("{}", "type"),
        (r#"{"type":"shout"}"#, "shout"),
        (r#"{"type":"say","text":"x"}"#, "id"),
        (r#"{"type":"say","id":"m1"}"#, "text"),
        (r#"{"type":"say","id":7,"text":"x"}"#, "say"),
        (r#"{"type":"say","id":"","text":"x"}"#, "message id"),
        (r#"{"type":"say","id":"m 1","text":"x"}"#, "message id"),
        (r#"{"type":"say","id":"m1","text":" \n "}"#, "empty"),
        (r#"{"type":"say","id":"m1","text":"\ud800"}"#, "JSON"),
    ] {
        client.send_text(bad).await;
        let error = client.is_error("bad_frame").await;
        assert!(
            error["message"].as_str().is_some_and(|m| m.contains(says)),
            "{bad}: {error}"
        );
    }
    client
        .0
        .send(Message::binary(vec![1, 2, 3]))
        .await
        .expect("sends");
    client.is_error("bad_frame").await;
    client.say("m1", "still here").await;
    client.is_said(1, "m1").await;
}

#[tokio::test]
async fn texts_may_have_4096_characters_and_no_more() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    client.say("long", &"é".repeat(4_097)).await;
    assert_eq!(client.is_error("too_long").await["id"], "long");
    client.say("fits", &"😀".repeat(4_096)).await;
    client.is_said(1, "fits").await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_and_the_socket_closed() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    client.say("huge", &"x".repeat(2_000_000)).await;
    client.is_error("too_long").await;
    client.is_closed(1009).await;
    let mut fresh = Client::open(&rig, &[]).await;
    fresh.send_text(&"x".repeat(65_537)).await;
    fresh.is_error("too_long").await;
    fresh.is_closed(1009).await;
}

#[tokio::test]
async fn what_is_no_websocket_frame_ends_the_socket_and_nothing_else() {
    let rig = rig().await;
    let (mut bystander, _) = rig.chat(ADA).await;
    // A text that is not UTF-8, an unmasked frame, reserved bits, a ping of 126 bytes: each with the code it gets.
    let long_ping = [&[0x89u8, 0x80 | 126, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    for (bytes, code) in [
        (vec![0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007),
        (vec![0x81, 0x02, b'{', b'}'], 1002),
        (vec![0xf1, 0x80, 0, 0, 0, 0], 1002),
        (long_ping, 1002),
    ] {
        let (mut client, _) = rig.chat(ADA).await;
        client.0.get_mut().write_all(&bytes).await.expect("writes");
        client.is_closed(code).await;
    }
    bystander.is_quiet().await;
}

#[tokio::test]
async fn draining_tells_where_to_go_and_then_closes() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    let mut waiting = Client::open(&rig, &[]).await;
    let drain = rig.gateway.drain();
    let watch = async {
        let frame = client.frame().await;
        assert_eq!(frame["type"], "draining");
        assert_eq!(
            frame["endpoints"],
            json!(["ws://10.0.0.2:8007/ws", "ws://10.0.0.3:8007/ws"])
        );
        assert_eq!(waiting.frame().await["type"], "draining");
        waiting.is_closed(1001).await;
        // Within the grace time it still serves.
        client.say("m1", "x").await;
        client.is_said(1, "m1").await;
        assert_eq!(Client::try_open(&rig, &[]).await.err(), Some(503));
        assert_eq!(rig.request("GET", "/readyz", &[], "").await.status, 503);
        client.is_closed(1001).await;
    };
    tokio::join!(drain, watch);
    assert_eq!(rig.gateway.open_sockets(), 0);
    rig.gateway.resume();
    rig.chat(ADA).await;
}

#[tokio::test]
async fn sockets_of_a_drained_node_are_told_once_and_may_stay() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    for intent in [NodeIntent::Draining, NodeIntent::Drained] {
        rig.fake.nodes_mut(|nodes| nodes[0].1.intent = intent);
    }
    let frame = client.frame().await;
    assert_eq!(frame["type"], "draining");
    assert_eq!(
        frame["endpoints"],
        json!(["ws://10.0.0.2:8007/ws", "ws://10.0.0.3:8007/ws"])
    );
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    client.is_quiet().await;
    // Who has nowhere else to go is served.
    rig.chat(ADA).await;
}

#[tokio::test]
async fn stopping_closes_sockets_and_leaves_nothing_running() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    let address = rig.address();
    let stop = rig.gateway.stop(Duration::from_secs(3));
    let (report, ()) = tokio::join!(stop, client.is_closed(1001));
    assert_eq!(report, jarvis_host::StopReport::Clean);
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
}

#[tokio::test]
async fn dropping_the_gateway_ends_everything() {
    let rig = rig().await;
    let (mut client, _) = rig.chat(ADA).await;
    drop(rig.gateway);
    assert_eq!(client.next().await, Err(None));
}

#[tokio::test]
async fn sockets_are_pinged_and_closed_when_they_do_not_answer() {
    let rig = rig_with(GatewaySettings {
        ping_interval: Duration::from_millis(50),
        ..settings()
    })
    .await;
    let (mut client, _) = rig.chat(ADA).await;
    let ping = async {
        loop {
            match client.0.next().await {
                Some(Ok(Message::Ping(_))) => return,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(STEP, ping).await.expect("a ping comes");
    client.is_quiet().await;
    // From here on it neither reads nor answers.
    let closed = async {
        while rig.gateway.open_sockets() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(STEP, closed)
        .await
        .expect("the gateway gives up on it");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let rig = rig_with(GatewaySettings {
        write_deadline: Duration::from_millis(200),
        ..settings()
    })
    .await;
    let (client, _) = rig.chat(ADA).await;
    let (mut sink, _stream) = client.0.split();
    let t = "x".repeat(60_000);
    let flood = async {
        let ping = json!({ "type": "ping", "t": t }).to_string();
        while sink.send(Message::text(ping.clone())).await.is_ok() {}
    };
    tokio::time::timeout(STEP, flood)
        .await
        .expect("the gateway gives up on it");
    assert_eq!(rig.gateway.open_sockets(), 0);
}

/// Memory of this process, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("has VmRSS");
    let kib: usize = line
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    kib * 1024
}

#[tokio::test]
async fn an_idle_socket_takes_less_than_12_kb() {
    const SOCKETS: usize = 1_000;
    let rig = rig().await;
    let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let head =
        format!("GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n{key}\r\n");
    let hello = json!({ "type": "hello", "token": ADA }).to_string();
    // Masked with zeros, so that it can be written as it is.
    let frame = [&[0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0], hello.as_bytes()].concat();
    let mut open = Vec::with_capacity(2 * SOCKETS);
    let mut before = 0;
    // The first half warms everything that is shared up.
    for n in 0..2 * SOCKETS {
        if n == SOCKETS {
            before = resident_bytes();
        }
        let mut stream = TcpStream::connect(rig.address()).await.expect("connects");
        stream.write_all(head.as_bytes()).await.expect("writes");
        stream.write_all(&frame).await.expect("writes");
        let (mut bytes, mut read) = ([0u8; 2_048], 0);
        while !bytes[..read].windows(9).any(|w| w == b"\"welcome\"") {
            let more = tokio::time::timeout(STEP, stream.read(&mut bytes[read..])).await;
            read += more.expect("welcomes in time").expect("reads");
        }
        open.push(stream);
    }
    let each = resident_bytes().saturating_sub(before) / SOCKETS;
    assert!(
        each < 12_000,
        "{each} bytes a socket, its client's end and the fake's session included"
    );
}
