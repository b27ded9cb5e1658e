//! `parallel`: several sequences at once.

use jarvis_rules::model::{Action, ActionKind};
use jarvis_rules::run::Outcome;
use serde_json::json;

use super::house::{House, action, delay, is, pardoned, plain, say, set, tpl};

fn parallel(sequences: Vec<Vec<Action>>) -> Action {
    action(ActionKind::Parallel(sequences))
}

#[test]
fn all_begin_at_once_and_the_run_goes_on_when_all_have_ended() {
    let mut running = House::new().run(vec![
        parallel(vec![
            vec![say("test.a"), delay(1_000), say("test.a2")],
            vec![say("test.b")],
            vec![],
        ]),
        say("test.after"),
    ]);
    assert_eq!(running.said, ["#1 test.a", "#2 test.b"]);
    assert_eq!(running.done(1), Vec::<String>::new());
    assert_eq!(running.done(2), Vec::<String>::new());
    assert_eq!(running.pass(1_000), ["#3 test.a2"]);
    assert_eq!(running.done(3), ["#4 test.after"]);
    running.done(4);
    assert_eq!(running.state(), "finished");
}

#[test]
fn of_nothing_it_goes_on() {
    assert_eq!(
        House::new().run(vec![parallel(vec![]), say("test.after")]).said,
        ["#1 test.after"]
    );
}

#[test]
fn parallels_in_parallels() {
    let inner = parallel(vec![vec![say("test.b")], vec![say("test.c")]]);
    let mut running = House::new().run(vec![
        parallel(vec![vec![say("test.a")], vec![inner, say("test.d")]]),
        say("test.after"),
    ]);
    assert_eq!(
        running.settle(),
        [
            "#1 test.a",
            "#2 test.b",
            "#3 test.c",
            "#4 test.d",
            "#5 test.after"
        ]
    );
}

#[test]
fn variables_are_shared_but_waits_are_not() {
    let wait = action(ActionKind::WaitTemplate {
        template: jarvis_rules::model::Template("{{ false }}".into()),
        timeout: Some(jarvis_rules::model::Span::Millis(10)),
        continue_on_timeout: true,
    });
    let mut running = House::new().run(vec![
        set("n", plain(json!(1))),
        parallel(vec![
            vec![set("n", tpl("{{ n + 1 }}"))],
            vec![wait, set("seen", tpl("{{ wait.completed }}"))],
        ]),
        delay(10),
    ]);
    running.pass(10);
    assert_eq!(running.variable("n"), json!(2));
    assert_eq!(running.variable("seen"), json!(false));
    assert_eq!(running.variable("wait"), json!(null));
}

#[test]
fn a_condition_ends_its_own_sequence() {
    let mut house = House::new();
    house.set("switch.a", "off");
    let require = action(ActionKind::Condition(is("switch.a", "on")));
    let mut running = house.run(vec![
        parallel(vec![vec![require, say("test.never")], vec![say("test.b")]]),
        say("test.after"),
    ]);
    assert_eq!(running.settle(), ["#1 test.b", "#2 test.after"]);
}

#[test]
fn what_ends_one_ends_the_run_when_the_others_have_ended() {
    let stop = || {
        action(ActionKind::Stop {
            reason: plain("enough".into()),
            error: false,
            response_variable: None,
        })
    };
    let mut running = House::new().run(vec![
        parallel(vec![vec![stop()], vec![delay(10), say("test.b")]]),
        say("test.never"),
    ]);
    assert_eq!(running.state(), "active");
    running.pass(10);
    running.done(1);
    assert_eq!(running.state(), "finished");
    assert_eq!(running.said, ["info: stopped: enough", "#1 test.b"]);
}

#[test]
fn a_failure_in_one_is_pardoned_for_all_or_not() {
    let sequences = || vec![vec![say("test.a"), say("test.a2")], vec![say("test.b")]];
    for pardon in [false, true] {
        let kind = ActionKind::Parallel(sequences());
        let parallel = if pardon { pardoned(kind) } else { action(kind) };
        let mut running = House::new().run(vec![parallel, say("test.after")]);
        running.outcome(1, Outcome::Failed("broken".into()));
        assert_eq!(running.state(), "active");
        let said = running.done(2);
        if pardon {
            assert_eq!(
                said,
                ["warning: broken: it goes on, as it was told to", "#3 test.after"]
            );
        } else {
            assert_eq!(running.state(), "failed: broken");
        }
    }
}

#[test]
fn too_many_at_a_time_end_the_run() {
    let mut house = House::new();
    house.limits.threads = 4;
    let running = house.run(vec![parallel(vec![vec![delay(1)]; 4])]);
    assert_eq!(
        running.state(),
        "failed: more than 4 sequences would run at a time"
    );
}
