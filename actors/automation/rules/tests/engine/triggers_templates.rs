//! `template` triggers: looked at again when what they read has changed.

use jarvis_rules::model::{Span, Template, Trigger, TriggerKind};
use jarvis_rules::triggers::Change;
use serde_json::json;

use super::house::{House, trigger};

fn template(text: &str, held_ms: Option<u64>) -> Trigger {
    trigger(TriggerKind::Template {
        template: Template(text.into()),
        held_for: held_ms.map(Span::Millis),
    })
}

const NOTHING: [&str; 0] = [];

#[test]
fn it_fires_when_it_becomes_true() {
    let mut house = House::new();
    house.set("sensor.t", "10");
    house.watch(vec![template("{{ states('sensor.t') | float > 20 }}", None)]);
    assert_eq!(house.becomes("sensor.t", "15"), NOTHING);
    let changes = house.change("sensor.t", "25", json!({}));
    let [Change::Fire(firing)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(firing.data["platform"], "template");
    assert_eq!(firing.data["entity_id"], "sensor.t");
    assert_eq!(firing.data["to_state"]["state"], "25");
    assert_eq!(house.becomes("sensor.t", "26"), NOTHING);
    assert_eq!(house.becomes("sensor.t", "10"), NOTHING);
    assert_eq!(house.becomes("sensor.t", "30"), ["fire 0 by sensor.t"]);
}

#[test]
fn what_is_true_at_the_beginning_has_to_be_false_first() {
    let mut house = House::new();
    house.set("light.a", "on");
    house.watch(vec![template("{{ is_state('light.a', 'on') }}", None)]);
    assert_eq!(house.becomes_with("light.a", "on", json!({ "b": 1 })), NOTHING);
    house.becomes("light.a", "off");
    assert_eq!(house.becomes("light.a", "on"), ["fire 0 by light.a"]);
}

#[test]
fn what_it_reads_may_change_with_what_it_read() {
    let mut house = House::new();
    house.set("input_boolean.which", "off");
    house.set("light.a", "off");
    house.set("light.b", "off");
    let text = "{% if is_state('input_boolean.which', 'on') %}{{ is_state('light.b', 'on') }}\
                {% else %}{{ is_state('light.a', 'on') }}{% endif %}";
    house.watch(vec![template(text, None)]);
    assert_eq!(house.becomes("light.b", "on"), NOTHING);
    assert_eq!(
        house.becomes("input_boolean.which", "on"),
        ["fire 0 by input_boolean.which"]
    );
    assert_eq!(house.becomes("light.b", "off"), NOTHING);
    assert_eq!(house.becomes("light.b", "on"), ["fire 0 by light.b"]);
}

#[test]
fn an_entity_that_comes_to_be_is_a_change() {
    let mut house = House::new();
    house.watch(vec![template("{{ is_state('light.new', 'on') }}", None)]);
    assert_eq!(house.becomes("light.new", "on"), ["fire 0 by light.new"]);
}

#[test]
fn all_of_a_domain() {
    let mut house = House::new();
    house.watch(vec![template(
        "{{ states.light | selectattr('state', 'eq', 'on') | list | count >= 2 }}",
        None,
    )]);
    assert_eq!(house.becomes("light.a", "on"), NOTHING);
    assert_eq!(house.becomes("switch.b", "on"), NOTHING);
    assert_eq!(house.becomes("light.b", "on"), ["fire 0 by light.b"]);
}

#[test]
fn the_time_is_looked_at_every_minute() {
    let mut house = House::new();
    house.watch(vec![template("{{ now().minute >= 2 }}", None)]);
    assert_eq!(house.watch.next_due_ms(), Some(house.world.now_ms + 60_000));
    assert_eq!(house.pass(60_000), NOTHING);
    assert_eq!(house.pass(59_999), NOTHING);
    assert_eq!(house.pass(1), ["fire 0"]);
    assert_eq!(house.pass(60_000), NOTHING);
}

#[test]
fn it_has_to_stay_true() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![template("{{ is_state('light.a', 'on') }}", Some(5_000))]);
    assert_eq!(house.becomes("light.a", "on"), ["keep"]);
    house.pass(4_000);
    assert_eq!(house.becomes("light.a", "off"), ["forget"]);
    assert_eq!(house.pass(5_000), NOTHING);
    house.becomes("light.a", "on");
    assert_eq!(house.pass(5_000), ["forget", "fire 0 by light.a"]);
}

#[test]
fn what_cannot_be_rendered_is_told_and_not_true() {
    let mut house = House::new();
    house.set("sensor.t", "2");
    house.watch(vec![template(
        "{{ 10 / (states('sensor.t') | int) > 1 and states('sensor.t') | int > 3 }}",
        None,
    )]);
    let said = house.becomes("sensor.t", "0");
    assert!(
        said.len() == 1 && said[0].starts_with("log: a trigger's template: "),
        "{said:?}"
    );
    assert_eq!(house.becomes("sensor.t", "4"), ["fire 0 by sensor.t"]);
}
