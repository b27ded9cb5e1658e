//! What fails, and `continue_on_error`.

use jarvis_rules::model::{Action, ActionKind, Repeat, Until};
use jarvis_rules::run::{Input, Outcome, What};
use serde_json::json;

use super::house::{House, action, call_kind, delay, pardoned, plain, say, say_tpl};

fn failing() -> Outcome {
    Outcome::Failed("the broker refused it".into())
}

#[test]
fn a_call_that_fails_ends_the_run() {
    let mut running = House::new().run(vec![say("test.a"), say("test.never")]);
    let said = running.outcome(1, failing());
    assert_eq!(running.state(), "failed: the broker refused it");
    assert_eq!(said, ["error: failed: the broker refused it"]);
    let mut running = House::new().run(vec![say("test.a")]);
    running.outcome(1, Outcome::TimedOut);
    assert_eq!(running.state(), "failed: nobody said in time whether it was done");
}

#[test]
fn a_call_that_is_to_go_on_goes_on() {
    let mut running = House::new().run(vec![
        pardoned(call_kind("test.a", json!({}), json!({}))),
        say("test.after"),
    ]);
    assert_eq!(
        running.outcome(1, failing()),
        [
            "warning: the broker refused it: it goes on, as it was told to",
            "#2 test.after"
        ]
    );
    let passed = running
        .run
        .trace
        .steps
        .iter()
        .any(|step| matches!(&step.what, What::PassedOver { error } if error == "the broker refused it"));
    assert!(passed);
}

#[test]
fn a_block_that_is_to_go_on_is_left() {
    let block = pardoned(ActionKind::Sequence(vec![say("test.a"), say("test.never")]));
    let mut running = House::new().run(vec![block, say("test.after")]);
    assert!(
        running
            .outcome(1, failing())
            .contains(&"#2 test.after".to_owned())
    );
    // From any depth: what was begun within it is left too.
    let rounds = |sequence: Vec<Action>| {
        ActionKind::Repeat(Repeat {
            until: Until::Count(plain(json!(3))),
            sequence,
        })
    };
    let deep = pardoned(rounds(vec![action(ActionKind::Sequence(vec![say("test.a")]))]));
    let mut running = House::new().run(vec![deep, say("test.after"), say_tpl("{{ repeat is defined }}")]);
    running.done(1);
    assert!(
        running
            .outcome(2, failing())
            .contains(&"#3 test.after".to_owned())
    );
    assert_eq!(running.run.threads[&0].frames.len(), 1);
    // One round that is to go on: the next follows.
    let within = rounds(vec![pardoned(ActionKind::Sequence(vec![say("test.a")]))]);
    let mut running = House::new().run(vec![action(within)]);
    for intent in 1..=3 {
        running.outcome(intent, failing());
    }
    assert_eq!(running.state(), "finished");
}

#[test]
fn what_the_automation_got_wrong_is_not_pardoned() {
    let running = House::new().run(vec![
        pardoned(call_kind("nonsense", json!({}), json!({}))),
        say("test.never"),
    ]);
    assert_eq!(
        running.state(),
        "failed: \"nonsense\" is not a service: write domain.service"
    );
    let block = pardoned(ActionKind::Sequence(vec![say_tpl("{{ 1 / 0 }}")]));
    let running = House::new().run(vec![block, say("test.never")]);
    assert!(running.state().starts_with("failed: "), "{}", running.state());
}

#[test]
fn a_changed_automation_does_not_go_on_with_places_of_the_old_one() {
    let mut running = House::new().run(vec![delay(10), say("test.a")]);
    let other =
        jarvis_rules::program::Program::compile(super::house::automation(vec![say("test.b"), say("test.c")]));
    running.program = other;
    assert_eq!(running.pass(10), Vec::<String>::new());
    assert_eq!(
        running.state(),
        "stopped: the automation was changed while this ran"
    );
    assert_eq!(running.run.waits(&running.program), vec![]);
}

#[test]
fn an_input_that_fits_nothing_changes_nothing() {
    let mut running = House::new().run(vec![delay(10), say("test.a")]);
    let before = running.run.clone();
    for input in [
        Input::Begin,
        Input::Continue,
        Input::Wake,
        Input::Triggered {
            wait: 1,
            trigger: json!({}),
        },
        Input::Triggered {
            wait: 99,
            trigger: json!(null),
        },
        Input::Outcome {
            intent: 0,
            outcome: Outcome::TimedOut,
            not_reached: vec![("light.attic".to_owned(), "it cannot".to_owned())],
        },
    ] {
        assert_eq!(running.input(input), Vec::<String>::new());
        assert_eq!(running.run, before);
    }
}
