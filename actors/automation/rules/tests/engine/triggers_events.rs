//! `mqtt`, `event`, `webhook`, `homeassistant` and `jarvis` triggers.

use jarvis_rules::model::{Data, JarvisEvent, Template, Trigger, TriggerKind};
use jarvis_rules::program::Program;
use jarvis_rules::run::Context;
use jarvis_rules::triggers::{Change, Happening, MESSAGE_BYTES_MAX};
use serde_json::{Value, json};

use super::house::{House, automation, look, map, plain, tpl, trigger, words};

fn text(text: &str) -> Template {
    Template(text.into())
}

fn mqtt(topic: &str, payload: Option<&str>, value_template: Option<&str>) -> Trigger {
    trigger(TriggerKind::Mqtt {
        topic: text(topic),
        payload: payload.map(text),
        value_template: value_template.map(text),
    })
}

fn message(topic: &str, payload: &[u8]) -> Happening {
    Happening::Mqtt {
        topic: topic.into(),
        payload: payload.into(),
        qos: 1,
        retain: false,
    }
}

#[test]
fn messages() {
    let json = r#"{"action": "single", "n": 3}"#;
    #[rustfmt::skip]
    let table = [
        (mqtt("a/b", None, None), "a/b", "x", true),
        (mqtt("a/b", None, None), "a/c", "x", false),
        (mqtt("a/+/c", None, None), "a/b/c", "x", true),
        (mqtt("a/#", None, None), "a/b/c", "", true),
        (mqtt("a/b", Some("on"), None), "a/b", "on", true),
        (mqtt("a/b", Some("on"), None), "a/b", "ON", false),
        (mqtt("a/b", Some("on"), None), "a/b", "on ", false),
        (mqtt("a/b", Some("single"), Some("{{ value_json.action }}")), "a/b", json, true),
        (mqtt("a/b", Some("double"), Some("{{ value_json.action }}")), "a/b", json, false),
        (mqtt("a/b", Some("3"), Some("{{ value_json.n }}")), "a/b", json, true),
        (mqtt("a/b", Some("X"), Some("{{ value | upper }}")), "a/b", "x", true),
        (mqtt("{{ 'a' }}/b", Some("{{ 'o' ~ 'n' }}"), None), "a/b", "on", true),
    ];
    for (trigger, topic, payload, fires) in table {
        let mut house = House::new();
        house.watch(vec![trigger.clone()]);
        let said = words(&house.happens(&message(topic, payload.as_bytes())));
        let expected: &[&str] = if fires { &["fire 0"] } else { &[] };
        assert_eq!(said, expected, "{:?} {topic} {payload}", trigger.kind);
    }
}

#[test]
fn what_templates_see_of_a_message() {
    let mut house = House::new();
    house.watch(vec![mqtt("a/#", None, None)]);
    let data = |changes: Vec<Change>| match &changes[..] {
        [Change::Fire(firing)] => firing.data.clone(),
        other => panic!("{other:?}"),
    };
    let json_of = |house: &House, seen: &Value| {
        let variables = map(json!({ "trigger": seen }));
        let rendered = house
            .templates
            .render("{{ trigger.payload_json }}", house.facts(), &variables);
        rendered.unwrap().value
    };
    let seen = data(house.happens(&message("a/b", b"{\"x\": [1, 2.5]}")));
    assert_eq!(seen["platform"], "mqtt");
    assert_eq!(seen["topic"], "a/b");
    assert_eq!(seen["payload"], "{\"x\": [1, 2.5]}");
    assert_eq!(json_of(&house, &seen), json!({ "x": [1, 2.5] }));
    assert_eq!(seen["qos"], 1);
    let seen = data(house.happens(&message("a/b", "é".as_bytes())));
    assert_eq!(seen["payload"], "é");
    assert_eq!(json_of(&house, &seen), json!(""));
}

#[test]
fn messages_that_nobody_can_use_are_told_and_trigger_nothing() {
    let mut house = House::new();
    house.watch(vec![mqtt("a/b", None, None)]);
    assert_eq!(
        words(&house.happens(&message("a/b", &[0xff, 0xfe]))),
        ["unheard a/b: it is not UTF-8"]
    );
    let large = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    assert_eq!(
        words(&house.happens(&message("a/b", &large))),
        ["unheard a/b: it has 65537 bytes, and a run is started with 65536 at most"]
    );
    // That nobody waits for is nothing to tell.
    assert_eq!(words(&house.happens(&message("c", &large))), Vec::<String>::new());
    let nested = "[".repeat(60_000);
    assert_eq!(
        words(&house.happens(&message("a/b", nested.as_bytes()))),
        ["fire 0"]
    );
}

#[test]
fn topics_that_are_no_filters_are_told_when_they_are_inserted() {
    let mut house = House::new();
    let mut automation = automation(vec![]);
    automation.trigger_variables = vec![("x".into(), plain(json!("#/b")))];
    automation.triggers = vec![mqtt("a/{{ x }}", None, None), mqtt("b", None, None)];
    let facts = house.facts();
    let look = look(&facts, &house.templates);
    let problems = house
        .watch
        .insert_automation(&Program::compile(automation), 0, &look);
    assert_eq!(problems, ["the trigger 0: \"a/#/b\" is not a topic filter"]);
    assert_eq!(house.watch.len(), 1);
}

fn sent(event_type: &str, data: Value) -> Happening {
    Happening::Event {
        event_type: event_type.into(),
        data: map(data),
        at_ms: 7,
        context: Context {
            id: "c".into(),
            parent: Some("p".into()),
        },
    }
}

#[test]
fn events_have_what_is_wanted_at_least() {
    let event = |types: &[&str], data: Vec<(&str, Data)>| {
        trigger(TriggerKind::Event {
            types: types.iter().map(|it| text(it)).collect(),
            data: data.into_iter().map(|(key, data)| (key.into(), data)).collect(),
        })
    };
    let all = || json!({ "a": 1, "b": { "c": "x", "d": [1, 2] }, "t": "5" });
    #[rustfmt::skip]
    let table = [
        (event(&["e"], vec![]), "e", true),
        (event(&["e"], vec![]), "f", false),
        (event(&["f", "e"], vec![]), "e", true),
        (event(&["{{ 'e' }}"], vec![]), "e", true),
        (event(&["e"], vec![("a", plain(json!(1)))]), "e", true),
        (event(&["e"], vec![("a", plain(json!(1.0)))]), "e", true),
        (event(&["e"], vec![("a", plain(json!(2)))]), "e", false),
        (event(&["e"], vec![("z", plain(json!(null)))]), "e", false),
        (event(&["e"], vec![("b", plain(json!({ "c": "x" })))]), "e", true),
        (event(&["e"], vec![("b", plain(json!({ "c": "y" })))]), "e", false),
        (event(&["e"], vec![("b", plain(json!({ "d": [1] })))]), "e", false),
        (event(&["e"], vec![("t", tpl("{{ 2 + 3 }}"))]), "e", true),
    ];
    for (trigger, event_type, fires) in table {
        let mut house = House::new();
        house.watch(vec![trigger.clone()]);
        let said = words(&house.happens(&sent(event_type, all())));
        assert_eq!(said.len(), usize::from(fires), "{:?} {event_type}", trigger.kind);
    }
}

#[test]
fn what_templates_see_of_an_event() {
    let mut house = House::new();
    house.watch(vec![trigger(TriggerKind::Event {
        types: vec![text("e")],
        data: vec![],
    })]);
    let changes = house.happens(&sent("e", json!({ "a": 1 })));
    let [Change::Fire(firing)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(firing.data["event"]["event_type"], "e");
    assert_eq!(firing.data["event"]["data"], json!({ "a": 1 }));
    assert_eq!(firing.data["event"]["context"]["parent_id"], "p");
}

#[test]
fn webhooks() {
    let hook = |local_only| {
        trigger(TriggerKind::Webhook {
            id: "secret".into(),
            methods: vec!["POST".into(), "PUT".into()],
            local_only,
        })
    };
    let request = |id: &str, method: &str, local| Happening::Webhook {
        id: id.into(),
        method: method.into(),
        local,
        json: Some(json!({ "x": 1 })),
        data: map(json!({})),
        query: map(json!({ "q": "1" })),
    };
    #[rustfmt::skip]
    let table = [
        (true, request("secret", "POST", true), true),
        (true, request("secret", "PUT", true), true),
        (true, request("secret", "GET", true), false),
        (true, request("secret", "POST", false), false),
        (false, request("secret", "POST", false), true),
        (false, request("other", "POST", true), false),
    ];
    for (local_only, request, fires) in table {
        let mut house = House::new();
        house.watch(vec![hook(local_only)]);
        let changes = house.happens(&request);
        assert_eq!(changes.len(), usize::from(fires), "{request:?}");
        if let Some(Change::Fire(firing)) = changes.first() {
            assert_eq!(firing.data["webhook_id"], "secret");
            assert_eq!(firing.data["json"]["x"], 1);
            assert_eq!(firing.data["query"]["q"], "1");
        }
    }
}

#[test]
fn the_cluster() {
    let jarvis = |event| trigger(TriggerKind::Jarvis(event));
    let name = |name: &str| Some(String::from(name));
    let node = String::from("attic");
    let intent = Happening::Intent {
        name: "movie".into(),
        slots: map(json!({ "room": "kitchen" })),
        session: "s".into(),
    };
    #[rustfmt::skip]
    let table = [
        (trigger(TriggerKind::Start), Happening::Start, true),
        (trigger(TriggerKind::Start), Happening::Shutdown, false),
        (trigger(TriggerKind::Shutdown), Happening::Shutdown, true),
        (jarvis(JarvisEvent::NodeDown(None)), Happening::NodeDown { node: node.clone() }, true),
        (jarvis(JarvisEvent::NodeDown(name("attic"))), Happening::NodeDown { node: node.clone() }, true),
        (jarvis(JarvisEvent::NodeDown(name("cellar"))), Happening::NodeDown { node: node.clone() }, false),
        (jarvis(JarvisEvent::NodeDown(None)), Happening::NodeUp { node: node.clone() }, false),
        (jarvis(JarvisEvent::NodeUp(None)), Happening::NodeUp { node }, true),
        (jarvis(JarvisEvent::Drill(None)), Happening::Drill { name: "kill".into(), passed: true }, true),
        (jarvis(JarvisEvent::Drill(name("cut"))), Happening::Drill { name: "kill".into(), passed: true }, false),
        (jarvis(JarvisEvent::Intent("movie".into())), intent.clone(), true),
        (jarvis(JarvisEvent::Intent("music".into())), intent, false),
    ];
    for (trigger, happening, fires) in table {
        let mut house = House::new();
        house.watch(vec![trigger.clone()]);
        let changes = house.happens(&happening);
        assert_eq!(
            changes.len(),
            usize::from(fires),
            "{:?} {happening:?}",
            trigger.kind
        );
        if let (Some(Change::Fire(firing)), Happening::Intent { .. }) = (changes.first(), &happening) {
            assert_eq!(firing.data["slots"]["room"], "kitchen");
            assert_eq!(firing.data["platform"], "jarvis");
        }
    }
}

#[test]
fn triggers_that_are_switched_off_and_automations_in_order() {
    let mut off = mqtt("a", None, None);
    off.enabled = false;
    let mut second = mqtt("a", None, None);
    second.id = "second".into();
    let mut house = House::new();
    house.watch(vec![off, second]);
    assert_eq!(words(&house.happens(&message("a", b""))), ["fire second"]);
    // Inserted again, it stands in its own place.
    house.watch(vec![mqtt("b", None, None)]);
    assert_eq!(words(&house.happens(&message("a", b""))), Vec::<String>::new());
    assert_eq!(house.watch.len(), 1);
}
