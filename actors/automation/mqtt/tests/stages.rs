//! The pipeline's stages: what fails, what waits, what is given up, what is finished.
mod support;

use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_mqtt::{Bridge, Outcome, ReplayError, SinkError};
use support::fake::{Fake, Peer, WELCOME_V5, publish};
use support::sink::{Answer, TestSink};
use support::{DEADLINE, options, parts};
use tokio::time::{Instant, timeout};

async fn start(
    fake: &Fake,
    bridge_options: jarvis_mqtt::Options,
    sink: &std::sync::Arc<TestSink>,
) -> (Tasks, Bridge, Peer) {
    let tasks = Tasks::new();
    let bridge = Bridge::own(&tasks, bridge_options, parts(sink));
    let mut peer = fake.let_in(WELCOME_V5).await;
    peer.subscribe().await;
    (tasks, bridge, peer)
}

async fn send(peer: &mut Peer, ids: std::ops::RangeInclusive<u16>) {
    for id in ids {
        let payload = id.to_string();
        peer.send(&publish(5, Some(id), false, "zigbee2mqtt/a", payload.as_bytes()))
            .await;
    }
}

async fn acknowledged(peer: &mut Peer, ids: std::ops::RangeInclusive<u16>) {
    for id in ids {
        assert_eq!(peer.read_kind(0x40).await, Some(id.to_be_bytes().to_vec()));
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_kept_and_nothing_given_up_while_nothing_can_be() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    for _ in 0..20 {
        sink.answer(Answer::Error(SinkError::Unavailable("no majority".to_owned())));
    }
    let (_tasks, bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    send(&mut peer, 1..=3).await;
    sink.until_offered(3).await;
    let early = timeout(Duration::from_millis(20), peer.read_kind(0x40)).await;
    assert!(early.is_err(), "acknowledged too early: {early:?}");
    acknowledged(&mut peer, 1..=3).await;
    assert_eq!(sink.payloads(), ["1", "2", "3"]);
    assert_eq!(bridge.letters().list(10).await, Ok(Vec::new()));
}

#[tokio::test]
async fn what_fails_for_ever_becomes_a_dead_letter_and_can_be_tried_again() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    sink.answer(Answer::Poison("2", Outcome::Retry("bad luck".to_owned())));
    sink.answer(Answer::Poison("4", Outcome::Reject("not for us".to_owned())));
    let (_tasks, bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    send(&mut peer, 1..=5).await;
    acknowledged(&mut peer, 1..=5).await;
    assert_eq!(sink.payloads(), ["1", "3", "5"]);
    let letters = bridge.letters().list(10).await.expect("listed");
    let shown: Vec<_> = letters
        .iter()
        .map(|l| (&l.message.payload[..], l.why.as_str(), l.attempts))
        .collect();
    assert_eq!(shown, [(&b"2"[..], "bad luck", 5), (&b"4"[..], "not for us", 1)]);

    let failed = bridge.replay(letters[0].id).await;
    assert_eq!(failed, Err(ReplayError::Failed("bad luck".to_owned())));
    assert_eq!(
        bridge.letters().list(10).await.expect("listed").len(),
        2,
        "it stays, once"
    );
    sink.cure();
    assert_eq!(bridge.replay(letters[0].id).await, Ok(()));
    assert_eq!(bridge.replay(letters[0].id).await, Err(ReplayError::Unknown));
    assert_eq!(sink.payloads(), ["1", "3", "5", "2"]);
    assert_eq!(bridge.letters().list(10).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_is_tried_one_by_one_in_order() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    let (_tasks, _bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    sink.close();
    send(&mut peer, 1..=1).await;
    sink.until_offered(1).await;
    sink.answer(Answer::Error(SinkError::Failed("the first".to_owned())));
    sink.answer(Answer::Error(SinkError::Failed("all others".to_owned())));
    sink.answer(Answer::Error(SinkError::Failed("and the second".to_owned())));
    send(&mut peer, 2..=9).await;
    sink.open();
    acknowledged(&mut peer, 1..=9).await;
    assert_eq!(sink.payloads(), ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn release_finishes_what_was_taken_and_takes_nothing_more() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    let (tasks, bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    sink.close();
    send(&mut peer, 1..=3).await;
    sink.until_offered(1).await;
    let releasing = tasks.spawn(bridge.release(DEADLINE));
    // Seen by nobody: it comes again to the next owner.
    let farewell = timeout(Duration::from_millis(20), peer.read_kind(0xe0)).await;
    assert!(farewell.is_err(), "{farewell:?}");
    send(&mut peer, 4..=4).await;
    sink.open();
    acknowledged(&mut peer, 1..=3).await;
    assert_eq!(
        peer.read_kind(0xe0).await,
        Some(Vec::new()),
        "a farewell that keeps the session"
    );
    drop(peer);
    assert!(releasing.await.expect("it ends"));
    assert_eq!(sink.payloads(), ["1", "2", "3"]);
}

#[tokio::test]
async fn release_does_not_wait_longer_than_it_may() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    let (_tasks, bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    sink.close();
    send(&mut peer, 1..=1).await;
    sink.until_offered(1).await;
    assert!(
        !bridge.release(Duration::from_millis(50)).await,
        "it was not finished, and says so"
    );
    assert_eq!(peer.read_kind(0xe0).await, Some(Vec::new()));
}

#[tokio::test]
async fn a_node_that_may_not_decide_any_more_lets_go() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    let (_tasks, bridge, mut peer) = start(&fake, options(fake.port, "jarvis"), &sink).await;
    sink.answer(Answer::Error(SinkError::Deposed));
    send(&mut peer, 1..=1).await;
    let mut status = bridge.status();
    support::until(&mut status, "released", |status| {
        status.state == jarvis_mqtt::State::Released { all_done: false }
    })
    .await;
    assert!(peer.is_closed_within(DEADLINE).await, "and acknowledges nothing");
}

#[tokio::test]
async fn the_rate_is_kept() {
    let (fake, sink) = (Fake::start().await, TestSink::new());
    let mut limited = options(fake.port, "jarvis");
    limited.messages_per_second = 100;
    limited.receive_maximum = 1_000;
    let (_tasks, _bridge, mut peer) = start(&fake, limited, &sink).await;
    let began = Instant::now();
    send(&mut peer, 1..=120).await;
    acknowledged(&mut peer, 1..=120).await;
    // A hundred at once, then one every hundredth of a second.
    assert!(
        began.elapsed() >= Duration::from_millis(195),
        "{:?}",
        began.elapsed()
    );
}
