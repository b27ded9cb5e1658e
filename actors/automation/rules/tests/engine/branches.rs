//! Conditions among actions, `choose`, `if`, `sequence`.

use jarvis_rules::model::{Action, ActionKind, Branch, ConditionKind};

use super::house::{House, action, condition, is, say};

fn check(states: &[(&str, &str)], actions: Vec<Action>) -> (Vec<String>, String) {
    let mut house = House::new();
    for (entity, state) in states {
        house.set(entity, state);
    }
    let mut running = house.run(actions);
    (running.settle(), running.state())
}

fn branch(entity: &str, service: &str) -> Branch {
    Branch {
        alias: None,
        conditions: vec![is(entity, "on")],
        sequence: vec![say(service)],
    }
}

#[test]
fn choose_takes_the_first_that_holds() {
    let actions = || {
        vec![
            action(ActionKind::Choose {
                branches: vec![branch("switch.a", "test.a"), branch("switch.b", "test.b")],
                default: vec![say("test.default")],
            }),
            say("test.after"),
        ]
    };
    #[rustfmt::skip]
    let table = [
        (&[("switch.a", "on"), ("switch.b", "on")], "#1 test.a"),
        (&[("switch.a", "off"), ("switch.b", "on")], "#1 test.b"),
        (&[("switch.a", "off"), ("switch.b", "off")], "#1 test.default"),
    ];
    for (states, first) in table {
        let (said, state) = check(states, actions());
        assert_eq!(said, [first, "#2 test.after"]);
        assert_eq!(state, "finished");
    }
}

#[test]
fn choose_without_a_default_goes_on() {
    let choose = action(ActionKind::Choose {
        branches: vec![branch("switch.a", "test.a")],
        default: vec![],
    });
    let (said, _) = check(&[("switch.a", "off")], vec![choose, say("test.after")]);
    assert_eq!(said, ["#1 test.after"]);
}

#[test]
fn what_cannot_be_looked_at_does_not_hold_and_is_told() {
    let choose = action(ActionKind::Choose {
        branches: vec![branch("switch.gone", "test.a")],
        default: vec![say("test.default")],
    });
    let (said, _) = check(&[], vec![choose]);
    assert_eq!(
        said,
        [
            "warning: a condition could not be looked at: the entity switch.gone is not known",
            "#1 test.default"
        ]
    );
}

#[test]
fn if_then_else() {
    let actions = || {
        vec![action(ActionKind::If {
            conditions: vec![is("switch.a", "on")],
            then: vec![say("test.then")],
            otherwise: vec![say("test.else")],
        })]
    };
    assert_eq!(check(&[("switch.a", "on")], actions()).0, ["#1 test.then"]);
    assert_eq!(check(&[("switch.a", "off")], actions()).0, ["#1 test.else"]);
}

#[test]
fn a_condition_ends_the_sequence_that_it_stands_in() {
    let require = || action(ActionKind::Condition(is("switch.a", "on")));
    let off = [("switch.a", "off")];
    // The outermost: the run.
    let (said, state) = check(&off, vec![require(), say("test.never")]);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(state, "aborted: the condition at action/0 does not hold");
    // One within: what comes after it goes on.
    let inner = action(ActionKind::Sequence(vec![
        say("test.one"),
        require(),
        say("test.never"),
    ]));
    let (said, state) = check(&off, vec![inner, say("test.after")]);
    assert_eq!(said, ["#1 test.one", "#2 test.after"]);
    assert_eq!(state, "finished");
    // In a branch.
    let choose = action(ActionKind::Choose {
        branches: vec![Branch {
            alias: None,
            conditions: vec![],
            sequence: vec![require(), say("test.never")],
        }],
        default: vec![],
    });
    assert_eq!(check(&off, vec![choose, say("test.after")]).0, ["#1 test.after"]);
    // And it holds.
    assert_eq!(
        check(&[("switch.a", "on")], vec![require(), say("test.one")]).0,
        ["#1 test.one"]
    );
}

#[test]
fn a_condition_that_is_switched_off_holds() {
    let mut off = condition(is("switch.gone", "on").kind);
    off.enabled = false;
    let (said, _) = check(&[], vec![action(ActionKind::Condition(off)), say("test.one")]);
    assert_eq!(said, ["#1 test.one"]);
}

#[test]
fn a_condition_that_is_switched_off_is_passed_over() {
    let off = || {
        let mut off = condition(is("switch.gone", "on").kind);
        off.enabled = false;
        off
    };
    let (yes, no) = (|| is("switch.a", "on"), || is("switch.a", "off"));
    #[rustfmt::skip]
    let table = [
        (ConditionKind::Or(vec![off(), no()]), false),
        (ConditionKind::Or(vec![off(), yes()]), true),
        (ConditionKind::Or(vec![off()]), false),
        (ConditionKind::Not(vec![off(), no()]), true),
        (ConditionKind::Not(vec![off()]), true),
        (ConditionKind::And(vec![off(), yes()]), true),
        (ConditionKind::And(vec![off(), no()]), false),
    ];
    for (kind, holds) in table {
        let step = action(ActionKind::Condition(condition(kind.clone())));
        let (said, _) = check(&[("switch.a", "on")], vec![step, say("test.one")]);
        assert_eq!(!said.is_empty(), holds, "{kind:?}");
    }
}
