//! `delay`, `wait_template`, `wait_for_trigger`, and the variable `wait`.

use jarvis_rules::model::{Action, ActionKind, Data, Repeat, Span, Template, TriggerKind, Until};
use jarvis_rules::run::{Input, WaitKind};
use jarvis_rules::triggers::{Change, Firing, Subscriber};
use serde_json::json;

use super::house::{House, NOON_MS, Running, action, delay, id, look, plain, say, tpl, trigger};

#[test]
fn a_delay_waits_that_long() {
    let mut running = House::new().run(vec![delay(1_500), say("test.after")]);
    assert_eq!(running.run.wake_at_ms(), Some(NOON_MS + 1_500));
    assert_eq!(running.pass(1_499), Vec::<String>::new());
    assert_eq!(running.pass(1), ["#1 test.after"]);
    assert_eq!(running.run.wake_at_ms(), None);
}

#[test]
fn delays_as_they_are_written() {
    let mapping = Data::Mapping(vec![
        ("minutes".into(), tpl("{{ 1 + 1 }}")),
        ("milliseconds".into(), plain(json!(5))),
    ]);
    #[rustfmt::skip]
    let table = [
        (plain(json!(2)), Ok(2_000)),
        (plain(json!(0.25)), Ok(250)),
        (plain(json!("90")), Ok(90_000)),
        (plain(json!("00:01")), Ok(60_000)),
        (plain(json!("01:00:02.5")), Ok(3_602_500)),
        (plain(json!({ "days": 1, "hours": 2 })), Ok(93_600_000)),
        (tpl("{{ 3 }}"), Ok(3_000)),
        (tpl("00:00:{{ 7 }}"), Ok(7_000)),
        (mapping, Ok(120_005)),
        (plain(json!("soon")), Err("failed: \"soon\" does not say how long: write seconds, or HH:MM:SS")),
        (plain(json!(-1)), Err("failed: -1 does not say how long: write seconds, or HH:MM:SS")),
        (plain(json!({ "fortnights": 1 })), Err("failed: {\"fortnights\":1} does not say how long: write seconds, or HH:MM:SS")),
        (plain(json!(1e12)), Err("failed: 1000000000000000 ms are longer than the 31622400000 ms that a wait may last")),
    ];
    for (data, expected) in table {
        let running = House::new().run(vec![action(ActionKind::Delay(Span::Dynamic(data.clone())))]);
        match expected {
            Ok(ms) => assert_eq!(running.run.wake_at_ms(), Some(NOON_MS + ms), "{data:?}"),
            Err(state) => assert_eq!(running.state(), state),
        }
    }
}

#[test]
fn a_delay_of_nothing_is_none() {
    let running = House::new().run(vec![delay(0), say("test.after")]);
    assert_eq!(running.said, ["#1 test.after"]);
}

fn wait_template(template: &str, timeout_ms: Option<u64>, continue_on_timeout: bool) -> Action {
    action(ActionKind::WaitTemplate {
        template: Template(template.into()),
        timeout: timeout_ms.map(Span::Millis),
        continue_on_timeout,
    })
}

const DOOR: &str = "{{ is_state('door.a', 'closed') }}";

fn at_door(timeout_ms: Option<u64>, continue_on_timeout: bool) -> Running {
    let mut house = House::new();
    house.set("door.a", "open");
    house.run(vec![
        wait_template(DOOR, timeout_ms, continue_on_timeout),
        say("test.after"),
    ])
}

#[test]
fn what_is_true_already_is_not_waited_for() {
    let mut house = House::new();
    house.set("door.a", "closed");
    let running = house.run(vec![wait_template(DOOR, Some(5_000), true), say("test.after")]);
    assert_eq!(running.said, ["#1 test.after"]);
    assert_eq!(
        running.variable("wait"),
        json!({ "completed": true, "remaining": 5.0, "trigger": null })
    );
}

#[test]
fn a_template_is_waited_for() {
    let mut running = at_door(Some(5_000), false);
    running.pass(2_000);
    assert_eq!(running.said, Vec::<String>::new());
    running.house.set("door.a", "closed");
    assert_eq!(running.input(Input::Wake), ["#1 test.after"]);
    assert_eq!(
        running.variable("wait"),
        json!({ "completed": true, "remaining": 3.0, "trigger": null })
    );
}

#[test]
fn a_template_is_waited_for_without_an_end() {
    let mut running = at_door(None, true);
    assert_eq!(running.run.wake_at_ms(), None);
    running.pass(1_000_000_000);
    running.house.set("door.a", "closed");
    running.input(Input::Wake);
    assert_eq!(
        running.variable("wait"),
        json!({ "completed": true, "remaining": null, "trigger": null })
    );
}

#[test]
fn a_template_that_does_not_come_true_in_time() {
    let mut running = at_door(Some(5_000), true);
    assert_eq!(running.pass(5_000), ["#1 test.after"]);
    assert_eq!(
        running.variable("wait"),
        json!({ "completed": false, "remaining": 0.0, "trigger": null })
    );
    let mut running = at_door(Some(5_000), false);
    running.pass(5_000);
    assert_eq!(
        running.state(),
        "aborted: what it waited for did not come in time"
    );
}

#[test]
fn a_template_that_came_true_when_its_time_was_over_came_true() {
    let mut running = at_door(Some(5_000), false);
    running.house.set("door.a", "closed");
    assert_eq!(running.pass(9_000), ["#1 test.after"]);
}

fn wait_for_door(timeout_ms: Option<u64>, continue_on_timeout: bool) -> Action {
    action(ActionKind::WaitForTrigger {
        triggers: vec![trigger(TriggerKind::State {
            entities: vec![id("door.a")],
            attribute: None,
            from: None,
            not_from: vec![],
            to: Some(vec!["closed".into()]),
            not_to: vec![],
            held_for: None,
        })],
        timeout: timeout_ms.map(Span::Millis),
        continue_on_timeout,
    })
}

/// Watches what a run waits for, as its owner does.
fn watch(running: &mut Running) {
    let facts = running.house.facts();
    for waiting in running.run.waits(&running.program) {
        let policy = running.program.automation().policy;
        let look = look(&facts, &running.house.templates);
        let problems = running
            .house
            .watch
            .insert_wait(&running.run.id, &waiting, policy, &look);
        assert_eq!(problems, Vec::<String>::new());
    }
}

/// Changes the door, and takes what came of it to the run.
fn door(running: &mut Running, state: &str) -> Vec<String> {
    let changes = running.house.change("door.a", state, json!({}));
    let mut said = Vec::new();
    for change in changes {
        let Change::Fire(Firing { slot, data, .. }) = change else {
            continue;
        };
        let Subscriber::Wait { wait, .. } = slot.subscriber else {
            panic!("{slot:?}")
        };
        said.extend(running.input(Input::Triggered { wait, trigger: data }));
    }
    said
}

#[test]
fn a_trigger_is_waited_for() {
    let mut house = House::new();
    house.set("door.a", "open");
    let mut running = house.run(vec![wait_for_door(Some(5_000), true), say("test.after")]);
    watch(&mut running);
    running.pass(1_000);
    assert_eq!(door(&mut running, "ajar"), Vec::<String>::new());
    assert_eq!(door(&mut running, "closed"), ["#1 test.after"]);
    let wait = running.variable("wait");
    assert_eq!(wait["completed"], true);
    assert_eq!(wait["remaining"], 4.0);
    assert_eq!(wait["trigger"]["platform"], "state");
    assert_eq!(wait["trigger"]["to_state"]["state"], "closed");
    assert_eq!(wait["trigger"]["from_state"]["state"], "ajar");
    // The wait is over: the same again is nothing to it.
    assert_eq!(
        running.input(Input::Triggered {
            wait: 1,
            trigger: json!({})
        }),
        Vec::<String>::new()
    );
}

#[test]
fn a_trigger_that_does_not_come_in_time() {
    let mut running = House::new().run(vec![wait_for_door(Some(5_000), true), say("test.after")]);
    assert_eq!(running.pass(5_000), ["#1 test.after"]);
    assert_eq!(
        running.variable("wait"),
        json!({ "completed": false, "remaining": 0.0, "trigger": null })
    );
    let mut running = House::new().run(vec![wait_for_door(Some(5_000), false), say("test.after")]);
    running.pass(5_000);
    assert_eq!(
        running.state(),
        "aborted: what it waited for did not come in time"
    );
}

#[test]
fn a_template_that_is_waited_for_is_watched_like_a_trigger() {
    let mut running = at_door(None, true);
    watch(&mut running);
    assert_eq!(door(&mut running, "ajar"), Vec::<String>::new());
    assert_eq!(door(&mut running, "closed"), ["#1 test.after"]);
}

#[test]
fn a_template_that_was_true_for_a_moment_came() {
    let mut running = at_door(None, true);
    watch(&mut running);
    let wait = running.run.threads[&0].wait.as_ref().unwrap().id;
    // By the time at which the run is told it is false again.
    running.house.set("door.a", "open");
    let trigger = json!({});
    assert_eq!(
        running.input(Input::Triggered { wait, trigger }),
        ["#1 test.after"]
    );
    assert_eq!(running.variable("wait")["completed"], true);
}

#[test]
fn waits_have_numbers_of_their_own() {
    let mut running = House::new().run(vec![wait_for_door(Some(10), true), wait_for_door(None, true)]);
    running.pass(10);
    let wait = running.run.threads[&0].wait.clone().unwrap();
    assert_eq!((wait.id, wait.kind), (2, WaitKind::Triggers));
    // One that comes for the wait before it is nothing to this.
    running.input(Input::Triggered {
        wait: 1,
        trigger: json!({}),
    });
    assert_eq!(running.state(), "active");
}

#[test]
fn a_run_is_stopped_from_outside() {
    let mut running = House::new().run(vec![say("test.one"), delay(1)]);
    running.input(Input::Stop {
        why: "restarted".into(),
    });
    assert_eq!(running.state(), "stopped: restarted");
    // What was asked for is under way.
    assert!(!running.run.is_settled());
    assert_eq!(running.done(1), Vec::<String>::new());
    assert!(running.run.is_settled());
}

#[test]
fn a_run_is_finishing_when_only_the_end_comes_after_its_calls() {
    let sequence = |actions| action(ActionKind::Sequence(actions));
    let parallel = |sequences| action(ActionKind::Parallel(sequences));
    let rounds = |sequence| {
        action(ActionKind::Repeat(Repeat {
            until: Until::Count(plain(json!(2))),
            sequence,
        }))
    };
    let a = || say("test.a");
    #[rustfmt::skip]
    let table = [
        ("the last call", vec![a()], true),
        ("with one after it", vec![a(), a()], false),
        ("in sequences", vec![sequence(vec![sequence(vec![a()])])], true),
        ("in sequences, with one after them", vec![sequence(vec![sequence(vec![a()])]), a()], false),
        ("a loop may go on", vec![rounds(vec![a()])], false),
        ("in parallel", vec![parallel(vec![vec![a()], vec![a()]])], true),
        ("in parallel, with one after it", vec![parallel(vec![vec![a()], vec![a()]]), a()], false),
        ("in parallel with more to do", vec![parallel(vec![vec![a()], vec![a(), a()]])], false),
        ("in parallel with a delay", vec![parallel(vec![vec![a()], vec![delay(1_000)]])], false),
        ("a delay", vec![delay(1_000)], false),
    ];
    for (what, actions, expected) in table {
        let running = House::new().run(actions);
        assert_eq!(running.run.is_finishing(&running.program), expected, "{what}");
    }
    let mut running = House::new().run(vec![a(), a()]);
    running.done(1);
    assert!(running.run.is_finishing(&running.program));
    running.done(2);
    assert!(!running.run.is_finishing(&running.program), "it has ended");
}
