//! Brokers that refuse, lie, flood, or stop in the middle of a word.
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_mqtt::{Bridge, State, Version};
use support::fake::{Fake, ShortSends, WELCOME_BACK_V5, WELCOME_V3, WELCOME_V5, publish};
use support::sink::TestSink;
use support::{DEADLINE, connected, options, parts, publication, trouble, until};

#[tokio::test]
async fn a_broker_of_3_1_1_is_spoken_to_in_its_own_words() {
    // Some refuse MQTT 5 with their own code, some with the new one, some hang up.
    let refusals: [&[u8]; 3] = [&[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0], &[]];
    for refusal in refusals {
        let (fake, tasks, sink) = (Fake::start().await, Tasks::new(), TestSink::new());
        let bridge = Bridge::own(&tasks, options(fake.port, "jarvis"), parts(&sink));
        let mut first = fake.next().await;
        assert_eq!(first.level, 5);
        first.send(refusal).await;
        drop(first);
        let mut second = fake.let_in(WELCOME_V3).await;
        assert_eq!(second.level, 4);
        second.subscribe().await;
        let status = connected(&bridge).await;
        assert!(matches!(
            status.state,
            State::Connected {
                version: Version::V3,
                ..
            }
        ));
        second
            .send(&publish(4, Some(9), false, "zigbee2mqtt/lamp", b"ON"))
            .await;
        assert_eq!(second.read_kind(0x40).await, Some(vec![0, 9]), "{refusal:?}");
        assert_eq!(sink.payloads(), ["ON"]);
        // What was refused once is not tried again: the next connection begins with 3.1.1.
        drop(second);
        let next = fake.next().await;
        assert_eq!(next.level, if refusal.is_empty() { 5 } else { 4 });
    }
}

#[tokio::test]
async fn refusals_are_told_plainly() {
    let cases: [(&[u8], &str); 8] = [
        (
            &[0x20, 3, 0, 0x86, 0],
            "the broker does not take this user and password; check [mqtt] url and password_file",
        ),
        (
            &[0x20, 2, 0, 4],
            "the broker does not take this user and password; check [mqtt] url and password_file",
        ),
        (
            &[0x20, 3, 0, 0x87, 0],
            "the broker does not allow this client in; check its access list",
        ),
        (
            &[0x20, 3, 0, 0x85, 0],
            "the broker rejects the client id \"jarvis\"; set [mqtt] client_id",
        ),
        (
            &[0x20, 3, 0, 0x89, 0],
            "the broker is busy or shutting down (code 0x89)",
        ),
        (&[0x20, 3, 0, 0x99, 0], "the broker refuses with code 0x99"),
        (
            &[0x20, 5, 0, 0, 2, 0x24, 0],
            "the broker is not fit: it acknowledges nothing (QoS 0 only)",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the broker breaks the protocol: what answers is no MQTT broker; check the port in [mqtt] url",
        ),
    ];
    for (answer, expected) in cases {
        let (fake, tasks) = (Fake::start().await, Tasks::new());
        let bridge = Bridge::own(&tasks, options(fake.port, "jarvis"), parts(&TestSink::new()));
        fake.let_in(answer).await;
        let said = trouble(&bridge, |_| true).await;
        if answer[0] == b'H' {
            assert!(said.starts_with("the broker breaks the protocol: "), "{said}");
        } else {
            assert_eq!(said, expected);
        }
    }
}

#[tokio::test]
async fn half_a_handshake_is_not_waited_for() {
    let halves: [&[u8]; 4] = [&[], &[0x20], &[0x20, 200], &[0x20, 3, 0]];
    for half in halves {
        let (fake, tasks) = (Fake::start().await, Tasks::new());
        let mut options = options(fake.port, "jarvis");
        options.patience.connect = Duration::from_millis(50);
        let bridge = Bridge::own(&tasks, options, parts(&TestSink::new()));
        let mut peer = fake.let_in(half).await;
        let said = trouble(&bridge, |_| true).await;
        assert!(
            said.starts_with("nothing that speaks MQTT answered within 50 ms;"),
            "{said}"
        );
        assert!(peer.is_closed_within(DEADLINE).await);
    }
}

#[tokio::test]
async fn what_no_broker_may_send_ends_the_connection_and_nothing_else() {
    let big = {
        let mut packet = publish(5, Some(1), false, "t", b"");
        packet.splice(1..2, [0xff, 0xff, 0xff, 0x7f]);
        packet
    };
    let twice = [
        publish(5, Some(1), false, "zigbee2mqtt/a", b"1"),
        publish(5, Some(1), false, "zigbee2mqtt/a", b"2"),
    ]
    .concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("rubbish", vec![0xff; 64]),
        ("a packet of 256 MB", big),
        (
            "a length without an end",
            vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        ("a welcome in the middle", WELCOME_V5.to_vec()),
        ("a request", vec![0x82, 6, 0, 1, 0, 0, 1, b'a']),
        ("an answer that was not asked for", vec![0x90, 4, 0, 77, 0, 1]),
        ("an end that was not asked for", vec![0xb0, 4, 0, 77, 0, 0]),
        ("QoS 2", vec![0x34, 7, 0, 1, b'a', 0, 1, 0, b'x']),
        ("an alias", vec![0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1]),
        ("no topic", vec![0x30, 3, 0, 0, 0]),
        ("a topic that is not UTF-8", vec![0x30, 4, 0, 1, 0xc0, 0]),
        ("an id in use", twice),
    ];
    let (fake, tasks, sink) = (Fake::start().await, Tasks::new(), TestSink::new());
    sink.close();
    let mut options = options(fake.port, "jarvis");
    options.patience.first_pause = Duration::from_millis(1);
    options.patience.longest_pause = Duration::from_millis(2);
    let bridge = Bridge::own(&tasks, options, parts(&sink));
    for (what, bytes) in cases {
        let mut peer = fake.let_in(WELCOME_V5).await;
        peer.subscribe().await;
        peer.send(&bytes).await;
        assert!(peer.is_closed_within(DEADLINE).await, "{what}");
    }
    // It is none the worse for it.
    sink.open();
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    peer.send(&publish(5, Some(1), false, "zigbee2mqtt/a", b"at last"))
        .await;
    assert_eq!(peer.read_kind(0x40).await, Some(vec![0, 1]));
    assert!(sink.payloads().contains(&"at last".to_owned()));
    assert!(connected(&bridge).await.connections > 12);
}

#[tokio::test]
async fn confirmations_nobody_waits_for_do_no_harm() {
    let (fake, tasks) = (Fake::start().await, Tasks::new());
    let bridge = Bridge::own(&tasks, options(fake.port, "jarvis"), parts(&TestSink::new()));
    let mut peer = fake.let_in(WELCOME_V5).await;
    for id in [1u16, 2, 60_000] {
        let [high, low] = id.to_be_bytes();
        peer.send(&[0x40, 2, high, low]).await;
    }
    let publisher = bridge.publisher();
    let publishing = tasks.spawn(async move { publisher.publish(publication("a", "b"), DEADLINE).await });
    let body = peer.read_kind(0x30).await.expect("a message");
    assert!(
        body.windows(13).any(|w| w == b"jarvis-intent"),
        "the intent goes with it"
    );
    let (high, low) = (body[3], body[4]);
    // Refused for now, then for good.
    peer.send(&[0x40, 4, high, low, 0x97, 0]).await;
    let body = peer.read_kind(0x30).await.expect("it is tried again");
    peer.send(&[0x40, 4, body[3], body[4], 0x87, 0]).await;
    let error = publishing.await.expect("it ends").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the broker refuses it with code 0x87 (not authorised)"
    );
}

#[tokio::test]
async fn a_flood_of_qos_0_is_dropped_and_one_of_qos_1_held_back() {
    const FLOOD: usize = 5_000;
    let (fake, tasks, sink) = (Fake::start().await, Tasks::new(), TestSink::new());
    sink.close();
    let mut options = options(fake.port, "jarvis");
    options.receive_maximum = 50;
    options.batches.most_unconfirmed = 100;
    let bridge = Bridge::own(&tasks, options, parts(&sink));
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    for number in 0..FLOOD {
        let payload = number.to_string();
        peer.send(&publish(5, None, false, "zigbee2mqtt/a", payload.as_bytes()))
            .await;
    }
    // More than is taken in at once.
    for id in 1..=200u16 {
        peer.send(&publish(5, Some(id), false, "zigbee2mqtt/b", &id.to_be_bytes()))
            .await;
    }
    sink.until_offered(2).await;
    assert!(bridge.status().borrow().state.is_connected());
    sink.open();
    for id in 1..=200u16 {
        assert_eq!(
            peer.read_kind(0x40).await,
            Some(id.to_be_bytes().to_vec()),
            "in order"
        );
    }
    let log = sink.log();
    let of = |topic: &str| log.iter().filter(|(of, _)| of == topic).count();
    assert_eq!(of("zigbee2mqtt/b"), 200, "nothing of QoS 1 is lost");
    assert!(
        (100..FLOOD).contains(&of("zigbee2mqtt/a")),
        "{}",
        of("zigbee2mqtt/a")
    );
}

#[tokio::test]
async fn a_broker_that_says_nothing_any_more_is_left() {
    let (fake, tasks) = (Fake::start().await, Tasks::new());
    let mut options = options(fake.port, "jarvis");
    options.patience.keep_alive = Duration::from_millis(300);
    let bridge = Bridge::own(&tasks, options, parts(&TestSink::new()));
    let mut peer = fake.let_in(WELCOME_V5).await;
    assert_eq!(
        peer.read_kind(0xc0).await,
        Some(Vec::new()),
        "it is asked whether it lives"
    );
    let said = trouble(&bridge, |_| true).await;
    assert_eq!(said, "the broker says nothing any more");
    assert!(peer.is_closed_within(DEADLINE).await);
}

#[tokio::test]
async fn what_a_slow_broker_has_not_taken_is_not_sent_while_the_node_may_not_act() {
    const PAYLOAD_BYTES: usize = 200 * 1024;
    let (fake, tasks) = (Fake::start_narrow().await, Tasks::new());
    let (may_act, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let mut parts = parts(&TestSink::new());
    parts.dial = Arc::new(ShortSends);
    let (gate, count) = (Arc::clone(&may_act), Arc::clone(&asked));
    parts.gate = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        gate.load(Ordering::SeqCst)
    });
    let bridge = Bridge::own(&tasks, options(fake.port, "jarvis"), parts);
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    connected(&bridge).await;
    let before = asked.load(Ordering::SeqCst);
    let publishing = [1, 2].map(|n| {
        let mut message = publication(&format!("lamp/{n}"), "");
        message.payload = vec![b'x'; PAYLOAD_BYTES].into();
        let publisher = bridge.publisher();
        tasks.spawn(async move { publisher.publish(message, DEADLINE).await })
    });
    // Each is encoded after the question, and there is one more before the first bytes are written.
    while asked.load(Ordering::SeqCst) < before + 4 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    may_act.store(false, Ordering::SeqCst);
    let late = peer.read_kind(0x30).await.map(|body| body.len());
    assert_eq!(late, None, "the rest of it is sent late");
    let said = trouble(&bridge, |_| true).await;
    assert!(said.starts_with("this node may not act at the moment"), "{said}");
    drop(peer);

    let mut peer = fake.let_in(WELCOME_BACK_V5).await;
    let early = tokio::time::timeout(Duration::from_millis(200), peer.read_kind(0x30)).await;
    assert!(early.is_err(), "{early:?}");
    may_act.store(true, Ordering::SeqCst);
    for (n, publishing) in (1..).zip(publishing) {
        let body = peer.read_kind(0x30).await.expect("it is sent again");
        assert_eq!(body[2..8], *format!("lamp/{n}").as_bytes());
        assert!(body.len() > PAYLOAD_BYTES);
        peer.send(&[0x40, 2, body[8], body[9]]).await;
        assert_eq!(publishing.await.expect("it ends"), Ok(()));
    }
}

#[tokio::test]
async fn what_comes_again_after_a_lost_acknowledgement_is_decided_on_once() {
    let (fake, tasks, sink) = (Fake::start().await, Tasks::new(), TestSink::new());
    let mut fast = options(fake.port, "jarvis");
    fast.patience.first_pause = Duration::from_millis(1);
    let bridge = Bridge::own(&tasks, fast.clone(), parts(&sink));
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    peer.send(&publish(5, Some(5), false, "zigbee2mqtt/a", b"on"))
        .await;
    assert_eq!(peer.read_kind(0x40).await, Some(vec![0, 5]));
    // The broker never got it.
    drop(peer);
    let mut peer = fake.let_in(WELCOME_BACK_V5).await;
    peer.send(&publish(5, Some(5), true, "zigbee2mqtt/a", b"on"))
        .await;
    assert_eq!(peer.read_kind(0x40).await, Some(vec![0, 5]));
    // Another owner gets it once more, then the same words anew.
    drop(bridge);
    drop(peer);
    let _bridge = Bridge::own(&tasks, fast, parts(&sink));
    let mut peer = fake.let_in(WELCOME_BACK_V5).await;
    peer.subscribe().await;
    peer.send(&publish(5, Some(5), true, "zigbee2mqtt/a", b"on"))
        .await;
    assert_eq!(peer.read_kind(0x40).await, Some(vec![0, 5]));
    assert_eq!(sink.payloads(), ["on"]);
    peer.send(&publish(5, Some(5), false, "zigbee2mqtt/a", b"on"))
        .await;
    assert_eq!(peer.read_kind(0x40).await, Some(vec![0, 5]));
    assert_eq!(sink.payloads(), ["on", "on"]);
}

#[tokio::test]
async fn a_name_that_is_unknown_and_a_port_that_is_shut_are_told() {
    let tasks = Tasks::new();
    let shut = support::free_port();
    let bridge = Bridge::own(&tasks, options(shut, "jarvis"), parts(&TestSink::new()));
    let said = trouble(&bridge, |_| true).await;
    assert_eq!(
        said,
        format!("127.0.0.1:{shut} refuses connections; is the broker running, and is that its port?")
    );
    let mut unknown = options(shut, "jarvis");
    unknown.host = "broker.invalid".to_owned();
    let bridge = Bridge::own(&tasks, unknown, parts(&TestSink::new()));
    let said = trouble(&bridge, |_| true).await;
    assert!(
        said.starts_with("the name broker.invalid cannot be resolved ("),
        "{said}"
    );
    // Given up while it waits, it is gone at once.
    let mut status = bridge.status();
    bridge.release(DEADLINE).await;
    until(&mut status, "released", |status| {
        matches!(status.state, State::Released { .. })
    })
    .await;
}

#[tokio::test]
async fn a_session_that_was_taken_over_is_told_and_not_taken_back_at_once() {
    let (fake, tasks) = (Fake::start().await, Tasks::new());
    let mut patient = options(fake.port, "jarvis");
    patient.patience.hopeless_pause = DEADLINE;
    let bridge = Bridge::own(&tasks, patient, parts(&TestSink::new()));
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    peer.send(&[0xe0, 2, 0x8e, 0]).await;
    let status = until(&mut bridge.status(), "taken over", |status| {
        matches!(status.state, State::Waiting { .. })
    })
    .await;
    let State::Waiting { why, pause } = status.state else {
        unreachable!("waited for")
    };
    assert_eq!(
        why.to_string(),
        "another client took over the session \"jarvis\"; is another cluster using that [mqtt] client_id?"
    );
    assert!(pause >= DEADLINE / 2, "{pause:?}");
}
