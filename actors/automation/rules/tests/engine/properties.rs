//! What holds for all programs and whatever happens to their runs.

use std::collections::BTreeSet;

use jarvis_rules::model::{Action, ActionKind, Branch, Repeat, Until};
use jarvis_rules::program::Program;
use jarvis_rules::run::{Effect, Input, Outcome, Run, RunState};
use proptest::prelude::*;
use serde_json::json;

use super::house::{House, action, automation, delay, is, pardoned, plain, say, set, trigger};

/// Actions of every kind, nested.
fn actions() -> impl Strategy<Value = Vec<Action>> {
    let leaf = prop_oneof![
        3 => Just(say("test.a")),
        1 => (0u64..3_000).prop_map(delay),
        1 => any::<u8>().prop_map(|n| set("n", plain(json!(n)))),
        1 => Just(action(ActionKind::Condition(is("switch.a", "on")))),
        1 => Just(action(ActionKind::Event { event: plain(json!("e")), data: plain(json!({})) })),
        1 => any::<bool>().prop_map(|error| action(ActionKind::Stop { reason: plain(json!("r")), error, response_variable: None })),
        1 => (any::<bool>(), prop::option::of(1u64..2_000)).prop_map(|(continue_on_timeout, timeout)| {
            action(ActionKind::WaitForTrigger {
                triggers: vec![trigger(jarvis_rules::model::TriggerKind::Start)],
                timeout: timeout.map(jarvis_rules::model::Span::Millis),
                continue_on_timeout,
            })
        }),
    ];
    let sequence = prop::collection::vec(leaf, 0..4);
    sequence.prop_recursive(4, 48, 4, |inner| {
        let block = prop_oneof![
            inner.clone().prop_map(ActionKind::Sequence),
            prop::collection::vec(inner.clone(), 0..3).prop_map(ActionKind::Parallel),
            (inner.clone(), inner.clone()).prop_map(|(then, otherwise)| ActionKind::If {
                conditions: vec![is("switch.a", "on")],
                then,
                otherwise,
            }),
            (inner.clone(), inner.clone()).prop_map(|(sequence, default)| ActionKind::Choose {
                branches: vec![Branch {
                    alias: None,
                    conditions: vec![is("switch.b", "on")],
                    sequence
                }],
                default,
            }),
            (0u8..4, inner.clone()).prop_map(|(count, sequence)| ActionKind::Repeat(Repeat {
                until: Until::Count(plain(json!(count))),
                sequence,
            })),
            inner.clone().prop_map(|sequence| ActionKind::Repeat(Repeat {
                until: Until::While(vec![is("switch.a", "on")]),
                sequence,
            })),
            inner.prop_map(|sequence| ActionKind::Repeat(Repeat {
                until: Until::Until(vec![is("switch.b", "on")]),
                sequence,
            })),
        ];
        prop::collection::vec(
            (block, any::<bool>())
                .prop_map(|(kind, pardon)| if pardon { pardoned(kind) } else { action(kind) }),
            0..3,
        )
    })
}

/// What happens to a run, step after step.
#[derive(Debug, Clone)]
enum Luck {
    /// The oldest, or the newest, of what it asked for comes to this.
    Outcome { newest: bool, outcome: u8 },
    /// Time passes.
    Pass(u16),
    /// A trigger of a wait fires.
    Fires,
    /// A switch changes.
    Switch(bool),
}

fn luck() -> impl Strategy<Value = Vec<Luck>> {
    prop::collection::vec(
        prop_oneof![
            4 => (any::<bool>(), 0u8..4).prop_map(|(newest, outcome)| Luck::Outcome { newest, outcome }),
            2 => any::<u16>().prop_map(Luck::Pass),
            1 => Just(Luck::Fires),
            1 => any::<bool>().prop_map(Luck::Switch),
        ],
        0..40,
    )
}

/// Lives through it all, written down and read again after every advance or never, so many steps at a time; all effects, and
/// the run.
fn live(actions: &[Action], luck: &[Luck], kept: bool, steps: u64) -> (Vec<Effect>, Run) {
    let mut house = House::new();
    house.set("switch.a", "on");
    house.set("switch.b", "off");
    house.limits.steps_per_advance = steps;
    house.limits.steps_without_wait = 300;
    house.limits.trace_steps = 50;
    let program = Program::compile(automation(actions.to_vec()));
    let mut run = house.start(&program, json!({})).unwrap();
    let mut effects = Vec::new();
    let mut advance = |house: &House, run: &mut Run, input: Input| {
        let facts = house.facts();
        let mut next = input;
        loop {
            let advanced = run.advance(&program, next, &house.env(&facts));
            effects.extend(advanced.effects);
            if kept {
                *run = serde_json::from_slice(&serde_json::to_vec(run).unwrap()).unwrap();
            }
            if !advanced.again {
                break;
            }
            next = Input::Continue;
        }
        // It has ended, or it waits: for something that will come, or that the caller knows how to bring.
        match run.state {
            RunState::Ended(_) => assert!(run.threads.is_empty()),
            _ => assert!(run.threads.values().all(|thread| thread.wait.is_some()) && !run.threads.is_empty()),
        }
    };
    advance(&house, &mut run, Input::Begin);
    for event in luck {
        match event {
            Luck::Outcome { newest, outcome } => {
                let open = if *newest {
                    run.intents.keys().next_back()
                } else {
                    run.intents.keys().next()
                };
                let Some(intent) = open.copied() else { continue };
                let outcome = match outcome {
                    0 => Outcome::Failed("broken".into()),
                    1 => Outcome::TimedOut,
                    2 => Outcome::Done(Some(json!({ "x": 1 }))),
                    _ => Outcome::Done(None),
                };
                let not_reached = Vec::new();
                let input = Input::Outcome {
                    intent,
                    outcome,
                    not_reached,
                };
                advance(&house, &mut run, input);
            }
            Luck::Pass(ms) => {
                house.world.now_ms += i64::from(*ms);
                advance(&house, &mut run, Input::Wake);
            }
            Luck::Fires => {
                let waits = run.waits(&Program::compile(automation(actions.to_vec())));
                let Some(wait) = waits.first().map(|waiting| waiting.wait) else {
                    continue;
                };
                advance(
                    &house,
                    &mut run,
                    Input::Triggered {
                        wait,
                        trigger: json!({ "id": "0" }),
                    },
                );
            }
            Luck::Switch(on) => {
                house.set("switch.a", if *on { "on" } else { "off" });
                house.set("switch.b", if *on { "off" } else { "on" });
            }
        }
    }
    (effects, run)
}

fn intents(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call(call) => Some(call.intent),
            Effect::FireEvent(event) => Some(event.intent),
            Effect::Log { .. } => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_the_same_wherever_and_in_whatever_pieces_it_goes_on(actions in actions(), luck in luck(), steps in 1u64..20) {
        let whole = live(&actions, &luck, false, u64::MAX);
        let pieces = live(&actions, &luck, true, steps);
        prop_assert_eq!(&whole, &pieces);

        let numbers = intents(&whole.0);
        let once: BTreeSet<u64> = numbers.iter().copied().collect();
        prop_assert_eq!(once.len(), numbers.len());
        prop_assert!(numbers.iter().all(|number| *number < whole.1.next_intent));
        prop_assert!(whole.1.intents.keys().all(|number| once.contains(number)));
        prop_assert!(whole.1.trace.steps.len() <= 50);
    }
}
