//! What a trigger leads to: variables, conditions, queued runs.

use jarvis_rules::model::TriggerKind;
use jarvis_rules::program::Program;
use jarvis_rules::run::{Input, PassedOver, What};
use serde_json::json;

use super::house::{House, automation, is, plain, say, tpl, trigger};

#[test]
fn variables_are_had_in_order_and_do_not_override() {
    let mut automation = automation(vec![]);
    automation.trigger_variables = vec![
        ("room".into(), plain(json!("kitchen"))),
        ("fixed".into(), plain(json!(1))),
        ("mine".into(), plain(json!("x"))),
        ("of_fixed".into(), tpl("{{ fixed }}")),
    ];
    let mut own = trigger(TriggerKind::Start);
    own.variables = vec![("mine".into(), tpl("id {{ trigger.id }}"))];
    automation.triggers = vec![trigger(TriggerKind::Shutdown), own];
    automation.variables = vec![
        ("fixed".into(), plain(json!(2))),
        ("light".into(), tpl("light.{{ room }}")),
        ("twice".into(), tpl("{{ light }},{{ light }}")),
    ];
    let house = House::new();
    let run = house
        .start(&Program::compile(automation), json!({ "id": "x", "idx": "1" }))
        .unwrap();
    assert_eq!(run.variables["fixed"], 2, "the automation's own counts");
    assert_eq!(
        run.variables["mine"], "id x",
        "what the trigger brings is not overridden"
    );
    assert_eq!(run.variables["of_fixed"], 2);
    assert_eq!(run.variables["twice"], "light.kitchen,light.kitchen");
    assert_eq!(run.trace.steps[0].path, "trigger/1");
    assert_eq!(
        run.trace.steps[0].what,
        What::Triggered {
            trigger: "x".into(),
            late_ms: None
        }
    );
}

#[test]
fn conditions_are_looked_at_before_anything_is_done() {
    let mut house = House::new();
    house.set("switch.a", "off");
    let mut automation = automation(vec![say("test.a")]);
    automation.conditions = vec![is("switch.a", "off"), is("switch.a", "on")];
    let program = Program::compile(automation.clone());
    let passed = house.start(&program, json!({})).unwrap_err();
    assert_eq!(
        passed,
        PassedOver::Conditions {
            index: 1,
            error: None
        }
    );
    automation.conditions = vec![is("switch.gone", "on")];
    let passed = house.start(&Program::compile(automation), json!({})).unwrap_err();
    let error = Some("the entity switch.gone is not known".into());
    assert_eq!(passed, PassedOver::Conditions { index: 0, error });
}

#[test]
fn who_starts_it_by_hand_may_skip_its_conditions() {
    let mut automation = automation(vec![]);
    automation.conditions = vec![is("switch.gone", "on")];
    let house = House::new();
    let facts = house.facts();
    let begun = jarvis_rules::run::Run::decide(
        &Program::compile(automation),
        json!({}),
        json!({}),
        None,
        true,
        &house.env(&facts),
    );
    assert!(begun.is_ok());
}

#[test]
fn what_a_trigger_brings_is_bounded() {
    let house = House::new();
    let program = Program::compile(automation(vec![]));
    let passed = house
        .start(&program, json!({ "payload": "x".repeat(300_000) }))
        .unwrap_err();
    let error = "all together are larger than 262144 bytes".into();
    assert_eq!(passed, PassedOver::Variables { error });
}

#[test]
fn a_queued_run_waits_for_its_beginning() {
    let house = House::new();
    let program = Program::compile(automation(vec![say("test.a")]));
    let mut run = house.start(&program, json!({})).unwrap();
    let facts = house.facts();
    let env = house.env(&facts);
    assert!(run.advance(&program, Input::Wake, &env).effects.is_empty());
    assert_eq!(run.wake_at_ms(), None);
    assert_eq!(run.advance(&program, Input::Begin, &env).effects.len(), 1);
    // It begins once.
    assert!(run.advance(&program, Input::Begin, &env).effects.is_empty());
    // Stopped before it began, it has ended.
    let mut run = house.start(&program, json!({})).unwrap();
    run.advance(&program, Input::Stop { why: "off".into() }, &env);
    assert!(run.is_settled());
}

#[test]
fn a_run_that_waits_is_small() {
    let mut house = House::new();
    house.set("light.a", "on");
    let call = super::house::action(super::house::call_kind(
        "light.turn_on",
        json!({ "entity_id": "light.a" }),
        json!({ "brightness": 200 }),
    ));
    let mut running = house.run(vec![call.clone(), super::house::delay(60_000), call]);
    running.done(1);
    let bytes = serde_json::to_vec(&running.run).unwrap().len();
    assert!(bytes < 2_048, "{bytes}");
}
