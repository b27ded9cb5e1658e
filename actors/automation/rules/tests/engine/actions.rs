//! Calls, targets, toggles, variables, stop, events.

use jarvis_rules::model::{ActionKind, Data};
use jarvis_rules::run::{Outcome, What};
use serde_json::json;

use super::house::{House, action, call_kind, delay, plain, say, say_tpl, set, tpl};

#[test]
fn a_call_is_asked_for_once_and_waited_for() {
    let mut running = House::new().run(vec![say("test.one"), say("test.two")]);
    assert_eq!(running.said, ["#1 test.one"]);
    assert_eq!(running.run.intents.len(), 1);
    assert_eq!(running.pass(60_000), Vec::<String>::new());
    assert_eq!(running.done(1), ["#2 test.two"]);
    // Told again, as after a failover, it is nothing new.
    assert_eq!(running.done(1), Vec::<String>::new());
    assert_eq!(running.done(7), Vec::<String>::new());
    assert_eq!(running.state(), "active");
    running.done(2);
    assert_eq!(running.state(), "finished");
    assert!(running.run.is_settled());
}

#[test]
fn targets_come_to_entities() {
    let table = [
        (json!({ "entity_id": "light.a" }), "light.a"),
        (
            json!({ "entity_id": ["light.b", "light.a", "light.b"] }),
            "light.b,light.a",
        ),
        (json!({ "entity_id": "light.a, light.b" }), "light.a,light.b"),
        (json!({ "entity_id": "all" }), "light.a,light.b,light.c"),
        // Of a group, what the service is for.
        (json!({ "area_id": "kitchen" }), "light.b"),
        (
            json!({ "device_id": ["d1"], "entity_id": "light.c" }),
            "light.c,light.a",
        ),
        (json!({ "label_id": "night" }), "light.a,light.c"),
        (
            json!({ "area_id": "kitchen", "label_id": "night" }),
            "light.b,light.a,light.c",
        ),
    ];
    for (target, expected) in table {
        let house = furnished();
        let running = house.run(vec![action(call_kind(
            "light.turn_on",
            target.clone(),
            json!({ "brightness": 3 }),
        ))]);
        assert_eq!(
            running.said,
            [format!("#1 light.turn_on {expected} {{\"brightness\":3}}")],
            "{target}"
        );
    }
}

fn furnished() -> House {
    let mut house = House::new();
    for light in ["light.a", "light.b", "light.c"] {
        house.set(light, "off");
    }
    house.set("switch.s", "on");
    let groups = &mut house.world.groups;
    groups.insert("area kitchen".into(), vec!["light.b".into(), "switch.s".into()]);
    groups.insert("device d1".into(), vec!["light.a".into()]);
    groups.insert("label night".into(), vec!["light.a".into(), "light.c".into()]);
    house
}

#[test]
fn what_is_for_no_entity_is_told_and_not_called() {
    let running = furnished().run(vec![
        action(call_kind(
            "light.turn_on",
            json!({ "area_id": "cellar" }),
            json!({}),
        )),
        action(call_kind("light.toggle", json!({}), json!({}))),
        say("test.next"),
    ]);
    assert_eq!(
        running.said,
        [
            "warning: what was called is for no known entity: {\"area_id\":\"cellar\"}",
            "#1 test.next"
        ]
    );
}

#[test]
fn homeassistant_services_are_for_all_domains() {
    let running = furnished().run(vec![action(call_kind(
        "homeassistant.turn_off",
        json!({ "area_id": "kitchen" }),
        json!({}),
    ))]);
    assert_eq!(running.said, ["#1 homeassistant.turn_off light.b,switch.s"]);
}

#[test]
fn a_target_in_the_data_of_older_files_is_a_target() {
    let running = furnished().run(vec![action(call_kind(
        "light.turn_on",
        json!({}),
        json!({ "entity_id": "light.a", "x": 1 }),
    ))]);
    assert_eq!(running.said, ["#1 light.turn_on light.a {\"x\":1}"]);
}

#[test]
fn a_toggle_is_what_it_comes_to_when_it_is_decided() {
    #[rustfmt::skip]
    let table = [
        ("light.toggle", "light.x", "on", "light.turn_off"),
        ("light.toggle", "light.x", "off", "light.turn_on"),
        ("light.toggle", "light.x", "unavailable", "light.turn_on"),
        ("switch.toggle", "switch.x", "on", "switch.turn_off"),
        ("homeassistant.toggle", "switch.x", "on", "switch.turn_off"),
        ("cover.toggle", "cover.x", "open", "cover.close_cover"),
        ("cover.toggle", "cover.x", "closed", "cover.open_cover"),
        ("homeassistant.toggle", "cover.x", "opening", "cover.close_cover"),
        ("media_player.toggle", "media_player.x", "playing", "media_player.turn_off"),
        ("media_player.toggle", "media_player.x", "standby", "media_player.turn_on"),
        ("climate.toggle", "climate.x", "heat", "climate.turn_off"),
        ("climate.toggle", "climate.x", "unknown", "climate.turn_on"),
        ("valve.toggle", "valve.x", "open", "valve.close_valve"),
    ];
    for (service, entity, state, expected) in table {
        let mut house = House::new();
        house.set(entity, state);
        let running = house.run(vec![action(call_kind(
            service,
            json!({ "entity_id": entity }),
            json!({}),
        ))]);
        assert_eq!(
            running.said,
            [format!("#1 {expected} {entity}")],
            "{service} {state}"
        );
    }
}

#[test]
fn a_toggle_of_several_goes_each_its_way_and_is_waited_for_together() {
    let mut house = House::new();
    house.set("light.a", "on");
    house.set("light.b", "off");
    let target = json!({ "entity_id": ["light.a", "light.b"] });
    let data = json!({ "brightness": 9, "transition": 2 });
    let mut running = house.run(vec![
        action(call_kind("light.toggle", target, data)),
        say("test.next"),
    ]);
    assert_eq!(
        running.said,
        [
            "#1 light.turn_off light.a {\"transition\":2}",
            "#2 light.turn_on light.b {\"brightness\":9,\"transition\":2}"
        ]
    );
    // Should the first of both be done twice, the light is off all the same.
    assert_eq!(running.done(2), Vec::<String>::new());
    assert_eq!(running.done(1), ["#3 test.next"]);
}

#[test]
fn an_answer_goes_into_its_variable() {
    let ask = action(ActionKind::Call {
        service: plain("weather.get_forecasts".into()),
        target: plain(json!({})),
        data: plain(json!({})),
        response_variable: Some("forecast".into()),
    });
    let mut running = House::new().run(vec![ask, say_tpl("{{ forecast.days[1] }}")]);
    let said = running.outcome(1, Outcome::Done(Some(json!({ "days": [3, 4] }))));
    assert_eq!(said, ["#2 test.say  {\"it\":4}"]);
    assert_eq!(running.variable("forecast"), json!({ "days": [3, 4] }));
}

#[test]
fn variables_are_set_in_order_and_seen_by_what_follows() {
    let mut running = House::new().run(vec![
        action(ActionKind::Variables(vec![
            ("a".into(), plain(json!(2))),
            ("b".into(), tpl("{{ a + 1 }}")),
            (
                "c".into(),
                Data::List(vec![
                    tpl("{{ b }}"),
                    plain(json!("x")),
                    Data::Mapping(vec![("k".into(), tpl("{{ a }}"))]),
                ]),
            ),
        ])),
        delay(10),
        set("a", tpl("{{ a * b }}")),
        delay(10),
    ]);
    assert_eq!(running.variable("c"), json!([3, "x", { "k": 2 }]));
    running.pass(10);
    assert_eq!(running.variable("a"), json!(6));
}

#[test]
fn templates_see_the_trigger_and_this() {
    let mut running = House::new().run(vec![say_tpl("{{ trigger.platform }} {{ this.entity_id }}")]);
    assert_eq!(running.settle(), ["#1 test.say  {\"it\":\"test automation.a\"}"]);
}

#[test]
fn stop_ends_the_run() {
    let stop = |error, response_variable: Option<&str>| {
        action(ActionKind::Stop {
            reason: plain("enough".into()),
            error,
            response_variable: response_variable.map(Into::into),
        })
    };
    #[rustfmt::skip]
    let table = [
        (stop(false, None), "finished", "info: stopped: enough"),
        (stop(false, Some("x")), "finished {\"y\":1}", "info: stopped: enough"),
        (stop(false, Some("z")), "failed: there is no variable z to answer with", "error: failed: there is no variable z to answer with"),
        (stop(true, None), "failed: enough", "error: failed: enough"),
    ];
    for (stop, state, said) in table {
        let running = House::new().run(vec![set("x", plain(json!({ "y": 1 }))), stop, say("test.never")]);
        assert_eq!(running.state(), state);
        assert_eq!(running.said, [said]);
    }
}

#[test]
fn an_event_is_not_waited_for_but_kept_until_it_was_told() {
    let event = action(ActionKind::Event {
        event: plain("my_event".into()),
        data: Data::Mapping(vec![("n".into(), tpl("{{ 1 + 1 }}"))]),
    });
    let mut running = House::new().run(vec![event, say("test.next")]);
    assert_eq!(running.said, ["#1 event my_event {\"n\":2}", "#2 test.next"]);
    running.done(2);
    assert_eq!(running.state(), "finished");
    assert!(!running.run.is_settled());
    running.done(1);
    assert!(running.run.is_settled());
}

#[test]
fn what_is_switched_off_is_passed_over() {
    let mut off = say("test.never");
    off.enabled = false;
    let running = House::new().run(vec![off, say("test.next")]);
    assert_eq!(running.said, ["#1 test.next"]);
    assert_eq!(running.run.trace.steps[1].path, "action/0");
    assert_eq!(running.run.trace.steps[1].what, What::Disabled);
}

#[test]
fn services_that_are_none_and_entities_that_are_none_end_the_run() {
    #[rustfmt::skip]
    let table = [
        (call_kind("nonsense", json!({}), json!({})), "failed: \"nonsense\" is not a service: write domain.service"),
        (call_kind(".x", json!({}), json!({})), "failed: \".x\" is not a service: write domain.service"),
        (call_kind("a.b", json!("x"), json!({})), "failed: target has to be a mapping, not \"x\""),
        (call_kind("a.b", json!({}), json!([1])), "failed: data has to be a mapping, not [1]"),
        (call_kind("a.b", json!({ "entity_id": "lamp" }), json!({})), "failed: \"lamp\" is not an entity: write domain.object"),
    ];
    for (kind, expected) in table {
        assert_eq!(House::new().run(vec![action(kind)]).state(), expected);
    }
}

#[test]
fn the_trace_tells_where_when_and_on_which_node() {
    let mut running = House::new().run(vec![delay(500), say("test.one")]);
    running.pass(500);
    running.settle();
    let steps: Vec<_> = running
        .run
        .trace
        .steps
        .iter()
        .map(|step| (step.path.as_str(), step.at_ms - super::house::NOON_MS))
        .collect();
    assert_eq!(
        steps,
        [
            ("trigger/0", 0),
            ("action/0", 0),
            ("action/0", 500),
            ("action/1", 500),
            ("action/1", 500),
            ("action", 500)
        ]
    );
    assert!(running.run.trace.steps.iter().all(|step| step.node == "n1"));
}

#[test]
fn what_a_service_takes_as_text_keeps_the_text_it_was_rendered_as() {
    const PAYLOAD: &str = r#"{"zz": 1.0, "aa": [1, 2.50], "s": "é"}"#;
    let parsed = json!({ "aa": [1, 2.5], "s": "é", "zz": 1.0 });
    let quoted = format!("{{{{ '{PAYLOAD}' }}}}");
    let table = [
        ("mqtt.publish", "payload", quoted.as_str(), json!(PAYLOAD)),
        ("mqtt.publish", "payload", "{{ [1,  2.50] }}", json!("[1, 2.5]")),
        (
            "mqtt.publish",
            "payload",
            "{{ '[1,  2.50]' }}",
            json!("[1,  2.50]"),
        ),
        ("mqtt.publish", "payload", "{{ '1,2' }}", json!("1,2")),
        ("mqtt.publish", "payload", "{{ 1 == 1 }}", json!("True")),
        ("mqtt.publish", "payload", "{{ none }}", json!(null)),
        ("mqtt.publish", "payload", "007", json!("007")),
        ("mqtt.publish", "payload", "{{ '2.50' }}", json!("2.5")),
        ("mqtt.publish", "payload", "{{ 5 }}", json!("5")),
        (
            "mqtt.publish",
            "payload",
            "{{ '999999999999999999999' }}",
            json!("999999999999999999999"),
        ),
        ("mqtt.publish", "topic", "{{ 5 }}", json!("5")),
        ("mqtt.publish", "qos", "{{ 1 }}", json!(1)),
        ("mqtt.publish", "retain", "{{ true }}", json!(true)),
        ("notify.family", "message", quoted.as_str(), json!(PAYLOAD)),
        ("notify.family", "title", "{{ true }}", json!("True")),
        ("notify.family", "data", quoted.as_str(), parsed.clone()),
        ("jarvis.say", "message", "{{ '1, 2' }}", json!("1, 2")),
        ("jarvis.say", "title", "{{ '[]' }}", json!("[]")),
        (
            "persistent_notification.create",
            "message",
            quoted.as_str(),
            json!(PAYLOAD),
        ),
        ("logbook.log", "message", quoted.as_str(), json!(PAYLOAD)),
        ("system_log.write", "message", quoted.as_str(), json!(PAYLOAD)),
        ("text.set_value", "value", quoted.as_str(), json!(PAYLOAD)),
        ("select.select_option", "option", "{{ '1,2' }}", json!("1,2")),
        // Elsewhere it is what it looks like.
        ("number.set_value", "value", "{{ 5 }}", json!(5)),
        ("test.any", "payload", quoted.as_str(), parsed),
    ];
    for (service, key, template, wanted) in table {
        let running = House::new().run(vec![action(ActionKind::Call {
            service: plain(service.into()),
            target: plain(json!({})),
            data: Data::Mapping(vec![(key.into(), tpl(template))]),
            response_variable: None,
        })]);
        let wanted = json!({ key: wanted });
        assert_eq!(
            running.said,
            [format!("#1 {service}  {wanted}")],
            "{service} {key} {template}"
        );
    }
}

#[test]
fn what_is_written_without_a_template_is_handed_on_as_it_is() {
    for payload in [
        json!(5),
        json!(true),
        json!({ "a": [1, 2.5] }),
        json!([1]),
        json!("on"),
    ] {
        let data = json!({ "payload": payload });
        let running = House::new().run(vec![action(call_kind("mqtt.publish", json!({}), data.clone()))]);
        assert_eq!(running.said, [format!("#1 mqtt.publish  {data}")]);
    }
    // Within a mapping, templates are what they look like.
    let running = House::new().run(vec![action(ActionKind::Call {
        service: plain("mqtt.publish".into()),
        target: plain(json!({})),
        data: Data::Mapping(vec![(
            "payload".into(),
            Data::Mapping(vec![("a".into(), tpl("{{ 2 }}"))]),
        )]),
        response_variable: None,
    })]);
    assert_eq!(running.said, ["#1 mqtt.publish  {\"payload\":{\"a\":2}}"]);
}
