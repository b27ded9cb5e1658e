//! The bridge against a real broker: nothing lost, nothing decided on twice, whoever dies.
mod support;

use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_mqtt::{Bridge, PublishError, State, Version, Wanted};
use support::sink::TestSink;
use support::{
    DEADLINE, Mosquitto, assert_all_once, connected, options, parts, publication, publish_all, sensor, until,
};
use tokio::time::timeout;

const DEVICES: usize = 10;
const NUMBERS: u32 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_while_the_owner_dies_five_times() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    sink.slow_down(Duration::from_millis(3));
    let mut bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    assert!(matches!(
        connected(&bridge).await.state,
        State::Connected {
            version: Version::V5,
            session_present: false
        }
    ));
    let sensor = sensor(&tasks, broker.port).await;
    let publisher = sensor.publisher();
    let publishing = tasks.spawn(async move { publish_all(&publisher, DEVICES, 0..NUMBERS).await });
    for death in 1..=5usize {
        sink.until_decided(death * 150).await;
        // No farewell: messages are undecided, decided and not acknowledged, acknowledged and on the wire.
        drop(bridge);
        bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
        let status = connected(&bridge).await;
        assert_eq!(status.epoch, 1, "the broker still has the session");
    }
    publishing.await.expect("all published");
    sink.until_decided(DEVICES * NUMBERS as usize).await;
    assert!(bridge.release(DEADLINE).await, "all is acknowledged");
    assert_all_once(&sink, DEVICES, NUMBERS);

    // Nothing is left at the broker either.
    let after = sink.offered();
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    let status = connected(&bridge).await;
    assert!(matches!(
        status.state,
        State::Connected {
            session_present: true,
            ..
        }
    ));
    publish_all(&sensor.publisher(), 1, NUMBERS..NUMBERS + 1).await;
    sink.until_decided(DEVICES * NUMBERS as usize + 1).await;
    assert_eq!(sink.offered(), after + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_while_the_broker_stops_and_comes_back() {
    let (mut broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    sink.slow_down(Duration::from_millis(2));
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    let sensor = sensor(&tasks, broker.port).await;
    for round in 0..5u32 {
        // All of a round is with the broker, and a part of it with the bridge, when the broker goes.
        publish_all(&sensor.publisher(), DEVICES, round * 20..(round + 1) * 20).await;
        broker.stop().await;
        until(&mut bridge.status(), "lost", |status| {
            !status.state.is_connected()
        })
        .await;
        broker.start_again().await;
        let status = connected(&bridge).await;
        assert_eq!(status.epoch, 1, "kept over the restart");
        connected(&sensor).await;
    }
    sink.until_decided(DEVICES * NUMBERS as usize).await;
    assert!(bridge.release(DEADLINE).await);
    assert_all_once(&sink, DEVICES, NUMBERS);
}

/// What the broker kept for a session whose owner is away, after a power cut: messages that come afterwards.
async fn after_a_power_cut(more: &str) -> (u64, usize) {
    let mut broker = Mosquitto::start_with(&format!("allow_anonymous true\n{more}"), |_| ()).await;
    let (tasks, sink) = (Tasks::new(), TestSink::new());
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    let sensor = sensor(&tasks, broker.port).await;
    publish_all(&sensor.publisher(), 1, 0..1).await;
    sink.until_decided(1).await;
    assert!(bridge.release(DEADLINE).await);
    publish_all(&sensor.publisher(), 1, 1..51).await;
    // It saves before it takes the next, so the very last would be lost in any case.
    let next = sensor
        .publisher()
        .publish(publication("elsewhere", "next"), DEADLINE)
        .await;
    assert_eq!(next, Ok(()));
    drop(sensor);
    broker.kill();
    broker.start_again().await;
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    let status = connected(&bridge).await;
    // Whatever it forgot, what comes now arrives: subscriptions are made anew.
    let sensor = support::sensor(&tasks, broker.port).await;
    let publisher = sensor.publisher();
    let last = || publisher.publish(publication("zigbee2mqtt/other", "last"), DEADLINE);
    timeout(DEADLINE, async {
        while !sink.payloads().contains(&"last".to_owned()) {
            last().await.expect("confirmed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("what comes afterwards arrives");
    let kept = sink
        .log()
        .iter()
        .filter(|(topic, _)| topic == "zigbee2mqtt/d0")
        .count()
        - 1;
    (status.epoch, kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgot_is_told_and_subscribed_to_anew() {
    assert_eq!(
        after_a_power_cut("").await,
        (2, 0),
        "by default it keeps nothing over a power cut"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_saves_every_change_forgets_nothing() {
    let more = "autosave_on_changes true\nautosave_interval 1\n";
    assert_eq!(after_a_power_cut(more).await, (1, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_the_session_over_has_it_until_the_other_has_waited() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let mut patient = options(broker.port, "jarvis");
    patient.patience.first_pause = DEADLINE;
    patient.patience.longest_pause = DEADLINE;
    let ours = Bridge::own(&tasks, patient, parts(&sink));
    connected(&ours).await;
    let theirs = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&TestSink::new()));
    connected(&theirs).await;
    // Mosquitto says that the session was taken over, or just closes: either way it is not taken back at once.
    let said = until(&mut ours.status(), "taken over", |status| {
        matches!(status.state, State::Waiting { .. })
    })
    .await;
    let State::Waiting { why, pause } = said.state else {
        unreachable!("waited for")
    };
    assert!(why.to_string().contains("[mqtt] client_id"), "{why}");
    assert!(pause >= DEADLINE / 2, "{pause:?}");
    assert!(theirs.status().borrow().state.is_connected());
    assert_eq!(theirs.status().borrow().connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_confirmed_over_restarts_of_the_broker() {
    let (mut broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let listener = Bridge::own(&tasks, options(broker.port, "listener"), parts(&sink));
    connected(&listener).await;
    let bridge = sensor(&tasks, broker.port).await;
    broker.stop().await;
    until(&mut bridge.status(), "lost", |status| {
        !status.state.is_connected()
    })
    .await;
    let publisher = bridge.publisher();
    let waiting = tasks.spawn(async move {
        publisher
            .publish(publication("zigbee2mqtt/lamp/set", "ON"), DEADLINE)
            .await
    });
    broker.start_again().await;
    assert_eq!(waiting.await.expect("it ends"), Ok(()));
    sink.until_decided(1).await;
    assert_eq!(sink.payloads(), ["ON"]);
    // Nobody confirms what nobody took.
    broker.stop().await;
    let late = bridge
        .publisher()
        .publish(publication("a", "b"), Duration::from_millis(50))
        .await;
    assert_eq!(late, Err(PublishError::TimedOut { waited_ms: 50 }));
    let invalid = bridge
        .publisher()
        .publish(publication("a/#", "b"), DEADLINE)
        .await;
    assert!(
        matches!(invalid, Err(PublishError::Invalid { .. })),
        "{invalid:?}"
    );
    let publisher = bridge.publisher();
    drop(bridge);
    let released = publisher.publish(publication("a", "b"), DEADLINE).await;
    assert_eq!(released, Err(PublishError::Released));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_while_the_node_may_not_act() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let listener = Bridge::own(&tasks, options(broker.port, "listener"), parts(&sink));
    connected(&listener).await;
    let may_act = Arc::new(AtomicBool::new(false));
    let mut parts = parts(&TestSink::new());
    let asked = Arc::clone(&may_act);
    parts.gate = Arc::new(move || asked.load(Ordering::SeqCst));
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts);
    connected(&bridge).await;
    let publisher = bridge.publisher();
    let early = publisher
        .publish(
            publication("zigbee2mqtt/lamp/set", "ON"),
            Duration::from_millis(100),
        )
        .await;
    assert!(matches!(early, Err(PublishError::TimedOut { .. })));
    let publisher = bridge.publisher();
    let waiting = tasks.spawn(async move {
        publisher
            .publish(publication("zigbee2mqtt/lamp/set", "OFF"), DEADLINE)
            .await
    });
    may_act.store(true, Ordering::SeqCst);
    assert_eq!(waiting.await.expect("it ends"), Ok(()));
    sink.until_decided(1).await;
    // What nobody waited for any more was not sent late.
    assert_eq!(sink.payloads(), ["OFF"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_come_and_go_while_it_runs() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    let sensor = sensor(&tasks, broker.port).await;
    bridge.subscribe(Wanted::of(["cover/+/state".to_owned()]));
    let publisher = sensor.publisher();
    timeout(DEADLINE, async {
        while sink.log().is_empty() {
            publisher
                .publish(publication("cover/a/state", "open"), DEADLINE)
                .await
                .expect("confirmed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("what is new arrives");
    bridge.subscribe(Wanted::default());
    // What is given up stays away, once the broker has confirmed it: until then a few may come.
    timeout(DEADLINE, async {
        loop {
            let before = sink.offered();
            publisher
                .publish(publication("cover/a/state", "shut"), DEADLINE)
                .await
                .expect("confirmed");
            publisher
                .publish(publication("cover/a/state", "shut"), DEADLINE)
                .await
                .expect("confirmed");
            tokio::time::sleep(Duration::from_millis(20)).await;
            if sink.offered() == before {
                return;
            }
        }
    })
    .await
    .expect("what is given up stays away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_filter_takes_the_place_of_another_nothing_comes_twice_or_is_left_out() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    let sensor = sensor(&tasks, broker.port).await;
    let publisher = sensor.publisher();
    let talk = tasks.spawn(async move { publish_all(&publisher, 4, 0..500).await });
    let wide = ["zigbee2mqtt/#", "+/+", "#", "zigbee2mqtt/+"];
    for (version, filter) in (1..).zip(wide.iter().cycle()) {
        let wish = Wanted {
            version,
            filters: [(*filter).to_owned()].into(),
            // For a moment besides.
            retained: [("zigbee2mqtt/d1".to_owned(), version)].into(),
        };
        bridge.subscribe(wish);
        let settled = |status: &jarvis_mqtt::Status| status.settled == Some(version);
        until(&mut bridge.status(), "settled", settled).await;
        if talk.is_finished() {
            break;
        }
    }
    talk.await.expect("all is said");
    sink.until_decided(4 * 500).await;
    assert_all_once(&sink, 4, 500);
    assert!(sink.copies() > 0, "the broker sends some by both");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_that_died_subscribed_to_is_given_up_by_the_next() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let mut first = options(broker.port, "jarvis");
    first.topics = vec!["zigbee2mqtt/+".to_owned()];
    let bridge = Bridge::own(&tasks, first, parts(&sink));
    connected(&bridge).await;
    drop(bridge);
    let mut next = options(broker.port, "jarvis");
    next.topics = vec!["zigbee2mqtt/#".to_owned()];
    next.held = ["zigbee2mqtt/+", "zigbee2mqtt/#", "never/asked/for"]
        .map(str::to_owned)
        .into();
    let bridge = Bridge::own(&tasks, next, parts(&sink));
    connected(&bridge).await;
    let sensor = sensor(&tasks, broker.port).await;
    publish_all(&sensor.publisher(), 2, 0..20).await;
    sink.until_decided(40).await;
    assert_all_once(&sink, 2, 20);
    assert_eq!(
        (sink.offered(), sink.copies()),
        (40, 0),
        "the broker sends each once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_comes_when_it_is_asked_for_and_not_with_every_owner() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let sensor = sensor(&tasks, broker.port).await;
    for device in ["d1", "d2"] {
        let mut message = publication(&format!("zigbee2mqtt/{device}"), "on");
        message.retain = true;
        sensor
            .publisher()
            .publish(message, DEADLINE)
            .await
            .expect("confirmed");
    }
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    sink.until_decided(2).await;
    drop(bridge);
    let bridge = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&sink));
    until(&mut bridge.status(), "caught up", |status| status.caught_up).await;
    assert_eq!(sink.offered(), 2, "the next owner knows it");
    bridge.subscribe(Wanted {
        version: 1,
        filters: ["zigbee2mqtt/#".to_owned()].into(),
        retained: [("zigbee2mqtt/d2".to_owned(), 1)].into(),
    });
    sink.until_decided(3).await;
    until(&mut bridge.status(), "settled", |status| {
        status.settled == Some(1)
    })
    .await;
    let again: Vec<_> = sink.log().split_off(2);
    assert_eq!(again, [("zigbee2mqtt/d2".to_owned(), "on".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_says_that_nobody_came_back_and_not_that_another_did() {
    let (broker, tasks, sink) = (Mosquitto::start().await, Tasks::new(), TestSink::new());
    let watcher = TestSink::new();
    let mut watching = options(broker.port, "watcher");
    watching.topics = vec!["jarvis/status".to_owned()];
    let watched = Bridge::own(&tasks, watching, parts(&watcher));
    connected(&watched).await;
    let mut own = options(broker.port, "jarvis");
    own.will = Some(jarvis_mqtt::Will {
        topic: "jarvis/status".to_owned(),
        payload: "offline".to_owned(),
        delay: Duration::from_secs(1),
    });
    let dies = Bridge::own(&tasks, own.clone(), parts(&sink));
    connected(&dies).await;
    drop(dies);
    // The next owner is there before the broker speaks; longer than it would have waited, nothing is said.
    let next = Bridge::own(&tasks, own, parts(&sink));
    connected(&next).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(watcher.payloads(), Vec::<String>::new());
    drop(next);
    timeout(DEADLINE, watcher.until_decided(1))
        .await
        .expect("the broker speaks");
    assert_eq!(watcher.payloads(), ["offline"]);
}
