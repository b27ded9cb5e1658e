//! A program's revision changes with what it does, and with nothing else.

use jarvis_rules::model::{ActionKind, Automation, Branch, Position, TriggerKind};
use jarvis_rules::program::{Op, Program};
use serde_json::json;

use super::house::{action, automation, call_kind, delay, is, plain, say, trigger};

fn sample() -> Automation {
    let mut sample = automation(vec![
        action(ActionKind::Choose {
            branches: vec![Branch {
                alias: None,
                conditions: vec![is("switch.a", "on")],
                sequence: vec![say("test.a")],
            }],
            default: vec![delay(5)],
        }),
        action(ActionKind::Parallel(vec![vec![say("test.b")]])),
    ]);
    sample.triggers = vec![trigger(TriggerKind::Start)];
    sample.conditions = vec![is("switch.b", "on")];
    sample
}

#[test]
fn what_is_written_for_people_does_not_count() {
    let revision = Program::compile(sample()).revision().clone();
    assert_eq!(revision.0.len(), 16);
    let place = Position { line: 7, column: 3 };
    let mut moved = sample();
    moved.alias = "Another".into();
    moved.description = "Something".into();
    moved.file = "other.yaml".into();
    moved.position = place;
    moved.triggers[0].position = place;
    moved.conditions[0].position = place;
    moved.conditions[0].alias = Some("b is on".into());
    if let ActionKind::Choose { branches, default } = &mut moved.actions[0].kind {
        branches[0].alias = Some("a".into());
        branches[0].conditions[0].position = place;
        branches[0].sequence[0].position = place;
        default[0].alias = Some("wait".into());
    }
    assert_eq!(*Program::compile(moved).revision(), revision);
}

#[test]
fn what_it_does_counts() {
    let revision = Program::compile(sample()).revision().clone();
    let changes: [fn(&mut Automation); 5] = [
        |it| it.actions[1].enabled = false,
        |it| it.conditions.clear(),
        |it| it.max = 3,
        |it| {
            it.actions.push(action(call_kind(
                "test.c",
                json!({}),
                json!({ "position": { "line": 1, "column": 2 } }),
            )))
        },
        |it| it.variables.push(("x".into(), plain(json!(1)))),
    ];
    for change in changes {
        let mut changed = sample();
        change(&mut changed);
        assert_ne!(*Program::compile(changed).revision(), revision);
    }
}

#[test]
fn places_lead_within_the_program() {
    let program = Program::compile(sample());
    let steps = program.steps();
    assert!(matches!(steps[0].op, Op::Enter { .. }));
    assert!(matches!(steps[steps.len() - 1].op, Op::End));
    for step in steps {
        let places = match &step.op {
            Op::Enter { end } | Op::Guard { end } | Op::Repeat { end, .. } | Op::Round { end, .. } => {
                vec![*end]
            }
            Op::Jump { to } => vec![*to],
            Op::Branch { otherwise, .. } => vec![*otherwise],
            Op::Again { round, .. } => vec![*round],
            Op::Fork { branches, join } => branches.iter().copied().chain([*join]).collect(),
            _ => vec![],
        };
        assert!(
            places.iter().all(|place| program.step(*place).is_some()),
            "{step:?}"
        );
    }
    let paths: Vec<&str> = steps
        .iter()
        .filter(|step| matches!(step.op, Op::Call { .. } | Op::Delay(_)))
        .map(|step| step.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "action/0/choose/0/sequence/0",
            "action/0/default/0",
            "action/1/parallel/0/sequence/0"
        ]
    );
}
