//! `state`, `numeric_state` and `zone` triggers, with and without `for:`.

use jarvis_rules::model::{Bound, CatchUp, Policy, Span, Template, Trigger, TriggerKind, ZoneEvent};
use jarvis_rules::triggers::{Change, Hold, Subscriber};
use serde_json::{Value, json};

use super::house::{House, id, trigger, words};

/// What is written about a state.
#[derive(Default, Clone)]
struct About {
    attribute: Option<&'static str>,
    from: Option<Vec<&'static str>>,
    not_from: Vec<&'static str>,
    to: Option<Vec<&'static str>>,
    not_to: Vec<&'static str>,
    held_ms: Option<u64>,
}

fn state(about: About) -> Trigger {
    let own = |list: Vec<&str>| list.into_iter().map(String::from).collect::<Vec<_>>();
    trigger(TriggerKind::State {
        entities: vec![id("light.a")],
        attribute: about.attribute.map(Into::into),
        from: about.from.map(own),
        not_from: own(about.not_from),
        to: about.to.map(own),
        not_to: own(about.not_to),
        held_for: about.held_ms.map(Span::Millis),
    })
}

const FIRE: [&str; 1] = ["fire 0 by light.a"];
const NOTHING: [&str; 0] = [];

#[test]
fn from_and_to() {
    let from = |list: &[&'static str]| About {
        from: Some(list.to_vec()),
        ..About::default()
    };
    let to = |list: &[&'static str]| About {
        to: Some(list.to_vec()),
        ..About::default()
    };
    let not_from = |list: &[&'static str]| About {
        not_from: list.to_vec(),
        ..About::default()
    };
    let not_to = |list: &[&'static str]| About {
        not_to: list.to_vec(),
        ..About::default()
    };
    #[rustfmt::skip]
    let table = [
        (About::default(), "off", "on", true),
        (to(&["on"]), "off", "on", true),
        (to(&["on"]), "unavailable", "on", true),
        (to(&["on"]), "on", "off", false),
        (to(&["on", "dim"]), "on", "dim", true),
        (to(&["on"]), "on", "on", false),
        (to(&[]), "off", "on", true),
        (to(&[]), "on", "on", false),
        (from(&["off"]), "off", "on", true),
        (from(&["off"]), "dim", "on", false),
        (from(&[]), "dim", "on", true),
        (About { from: Some(vec!["off"]), ..to(&["on"]) }, "off", "on", true),
        (About { from: Some(vec!["off"]), ..to(&["on"]) }, "dim", "on", false),
        (not_from(&["unavailable", "unknown"]), "unavailable", "on", false),
        (not_from(&["unavailable", "unknown"]), "off", "on", true),
        (not_to(&["unavailable"]), "on", "unavailable", false),
        (not_to(&["unavailable"]), "on", "off", true),
        (About { not_from: vec!["unknown"], ..to(&["on"]) }, "unknown", "on", false),
    ];
    for (about, before, after, fires) in table {
        let mut house = House::new();
        house.set("light.a", before);
        house.watch(vec![state(about)]);
        let expected: &[&str] = if fires { &FIRE } else { &NOTHING };
        assert_eq!(house.becomes("light.a", after), expected, "{before} to {after}");
        assert_eq!(house.becomes("light.b", after), NOTHING);
    }
}

#[test]
fn attributes_count_where_nothing_is_written_about_the_state() {
    let mut house = House::new();
    house.set_with("light.a", "on", json!({ "b": 1 }));
    let to = About {
        to: Some(vec!["on"]),
        ..About::default()
    };
    let mut strict = state(About {
        to: Some(vec![]),
        ..About::default()
    });
    strict.id = "strict".into();
    let mut written = state(to);
    written.id = "to".into();
    house.watch(vec![state(About::default()), strict, written]);
    assert_eq!(house.becomes_with("light.a", "on", json!({ "b": 2 })), FIRE);
    // The same again is no change, but it is told: Home Assistant tells such updates apart, and so does who calls.
    assert_eq!(
        house.becomes_with("light.a", "off", json!({ "b": 2 })),
        ["fire 0 by light.a", "fire strict by light.a"]
    );
}

#[test]
fn one_attribute() {
    let about = |from, to| About {
        attribute: Some("b"),
        from,
        to,
        ..About::default()
    };
    let mut house = House::new();
    house.set_with("light.a", "on", json!({ "b": 1, "c": 1 }));
    let mut to_two = state(about(None, Some(vec!["2"])));
    to_two.id = "to 2".into();
    house.watch(vec![state(about(None, None)), to_two]);
    assert_eq!(
        house.becomes_with("light.a", "on", json!({ "b": 1, "c": 2 })),
        NOTHING
    );
    assert_eq!(
        house.becomes_with("light.a", "off", json!({ "b": 1, "c": 2 })),
        NOTHING
    );
    assert_eq!(
        house.becomes_with("light.a", "off", json!({ "b": 2 })),
        ["fire 0 by light.a", "fire to 2 by light.a"]
    );
    assert_eq!(house.becomes_with("light.a", "off", json!({})), FIRE);
}

#[test]
fn entities_that_come_and_go() {
    let mut house = House::new();
    let mut to_on = state(About {
        to: Some(vec!["on"]),
        ..About::default()
    });
    to_on.id = "to".into();
    let mut from_on = state(About {
        from: Some(vec!["on"]),
        ..About::default()
    });
    from_on.id = "from".into();
    house.watch(vec![to_on, from_on]);
    assert_eq!(house.becomes("light.a", "on"), ["fire to by light.a"]);
    assert_eq!(house.vanishes("light.a"), ["fire from by light.a"]);
}

#[test]
fn what_templates_see() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        to: Some(vec!["on"]),
        ..About::default()
    })]);
    let changes = house.change("light.a", "on", json!({ "friendly_name": "Lamp" }));
    let [Change::Fire(firing)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(firing.slot.subscriber, Subscriber::Automation("a".into()));
    let data = &firing.data;
    for (key, value) in [
        ("id", json!("0")),
        ("idx", json!("0")),
        ("platform", json!("state")),
        ("entity_id", json!("light.a")),
        ("attribute", Value::Null),
        ("for", Value::Null),
    ] {
        assert_eq!(data[key], value, "{key}");
    }
    assert_eq!(data["from_state"]["state"], "off");
    assert_eq!(data["to_state"]["attributes"]["friendly_name"], "Lamp");
}

#[test]
fn a_hold_fires_when_it_stayed_so() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        to: Some(vec!["on"]),
        held_ms: Some(5_000),
        ..About::default()
    })]);
    assert_eq!(house.becomes("light.a", "on"), ["keep light.a"]);
    assert_eq!(house.watch.next_due_ms(), Some(house.world.now_ms + 5_000));
    // Attributes do not matter to it.
    house.world.now_ms += 1_000;
    assert_eq!(house.becomes_with("light.a", "on", json!({ "b": 1 })), NOTHING);
    assert_eq!(house.pass(3_999), NOTHING);
    let changes = house.tick(1);
    assert_eq!(words(&changes), ["forget light.a", "fire 0 by light.a"]);
    let Change::Fire(firing) = &changes[1] else {
        panic!()
    };
    assert_eq!(firing.data["for"], json!({ "$span_ms": 5_000 }));
    assert_eq!(firing.due_ms, Some(house.world.now_ms));
    assert_eq!(house.pass(100_000), NOTHING);
}

#[test]
fn a_hold_ends_when_the_state_leaves() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        to: Some(vec!["on"]),
        held_ms: Some(5_000),
        ..About::default()
    })]);
    house.becomes("light.a", "on");
    house.pass(4_000);
    assert_eq!(house.becomes("light.a", "off"), ["forget light.a"]);
    assert_eq!(house.pass(9_000), NOTHING);
    // And begins anew.
    house.becomes("light.a", "on");
    house.pass(4_999);
    assert_eq!(house.becomes("light.a", "unavailable"), ["forget light.a"]);
    // Gone is left, too.
    house.becomes("light.a", "on");
    assert_eq!(house.vanishes("light.a"), ["forget light.a"]);
}

#[test]
fn what_is_due_fires_before_what_happens_next() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        to: Some(vec!["on"]),
        held_ms: Some(5_000),
        ..About::default()
    })]);
    house.becomes("light.a", "on");
    house.world.now_ms += 6_000;
    assert_eq!(
        house.becomes("light.a", "off"),
        ["forget light.a", "fire 0 by light.a"]
    );
}

#[test]
fn a_hold_with_only_from_bears_everything_but_that() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        from: Some(vec!["off"]),
        held_ms: Some(5_000),
        ..About::default()
    })]);
    assert_eq!(house.becomes("light.a", "on"), ["keep light.a"]);
    assert_eq!(house.becomes("light.a", "dim"), NOTHING);
    assert_eq!(house.pass(5_000), ["forget light.a", "fire 0 by light.a"]);
    house.becomes("light.a", "off");
    house.becomes("light.a", "on");
    assert_eq!(house.becomes("light.a", "off"), ["forget light.a"]);
}

/// A hold of five seconds goes to another node, which looks at it `after_ms` after its beginning, when the light is as said.
fn taken_over(catch_up: CatchUp, after_ms: i64, changes: &[(i64, &str)]) -> Vec<String> {
    let mut trigger = state(About {
        to: Some(vec!["on"]),
        held_ms: Some(5_000),
        ..About::default()
    });
    trigger.policy = Some(Policy {
        catch_up,
        at_most_late_ms: 60_000,
    });
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![trigger.clone()]);
    let began = house.change("light.a", "on", json!({}));
    let [Change::Keep(hold)] = &began[..] else {
        panic!("{began:?}")
    };
    let kept = serde_json::to_vec(hold).unwrap();

    let begin_ms = house.world.now_ms;
    let mut other = House::new();
    other.world = house.world.clone();
    for (at_ms, to) in changes {
        other.world.now_ms = begin_ms + at_ms;
        other.set("light.a", to);
    }
    other.world.now_ms = begin_ms + after_ms;
    other.watch(vec![trigger]);
    let hold: Hold = serde_json::from_slice(&kept).unwrap();
    assert!(other.watch.restore(hold));
    let mut said = other.pass(0);
    said.extend(other.pass(5_000));
    said
}

#[test]
fn holds_go_on_at_the_next_owner() {
    use CatchUp::{CatchUp as Do, Recheck, Skip};
    #[rustfmt::skip]
    let table = [
        // In time.
        (Do, 2_000, &[][..], "fire 0 by light.a"),
        (Skip, 8_000, &[][..], "fire 0 by light.a"),
        // It fell due unseen.
        (Do, 9_000, &[][..], "fire 0 by light.a, 4000 ms late, CatchUp"),
        (Recheck, 9_000, &[][..], "fire 0 by light.a, 4000 ms late, Recheck"),
        (Skip, 9_000, &[][..], "missed: its policy is skip"),
        (Do, 65_001, &[][..], "missed: it would be 60001 ms late, and at most 60000 ms are allowed"),
        // It left before it was due, or after.
        (Do, 9_000, &[(4_000, "off")], "missed: it was no longer so when it fell due"),
        (Do, 9_000, &[(5_500, "off")], "fire 0 by light.a, 4000 ms late, CatchUp"),
        (Recheck, 9_000, &[(5_500, "off")], "missed: its policy is recheck, and it is no longer so"),
    ];
    for (catch_up, after_ms, changes, expected) in table {
        assert_eq!(
            taken_over(catch_up, after_ms, changes),
            ["forget light.a", expected],
            "{catch_up:?} {after_ms} {changes:?}"
        );
    }
}

#[test]
fn a_hold_of_a_trigger_that_is_gone_is_not_restored() {
    let mut house = House::new();
    house.set("light.a", "off");
    house.watch(vec![state(About {
        held_ms: Some(5_000),
        ..About::default()
    })]);
    let began = house.change("light.a", "on", json!({}));
    let [Change::Keep(hold)] = &began[..] else {
        panic!("{began:?}")
    };
    house.watch.remove(&Subscriber::Automation("a".into()));
    assert!(house.watch.is_empty());
    assert_eq!(house.watch.next_due_ms(), None);
    assert_eq!(house.pass(10_000), NOTHING);
    assert!(!house.watch.restore(hold.clone()));
}

fn number(above: Option<f64>, below: Option<f64>, held_ms: Option<u64>, template: Option<&str>) -> Trigger {
    trigger(TriggerKind::NumericState {
        entities: vec![id("sensor.t")],
        attribute: None,
        value_template: template.map(|text| Template(text.into())),
        above: above.map(Bound::Number),
        below: below.map(Bound::Number),
        held_for: held_ms.map(Span::Millis),
    })
}

/// Goes through states; those at which it fired.
fn fired_at(trigger: Trigger, first: &str, states: &[&'static str]) -> Vec<&'static str> {
    let mut house = House::new();
    house.set("sensor.t", first);
    house.watch(vec![trigger]);
    let mut fired = Vec::new();
    for state in states {
        if house
            .becomes("sensor.t", state)
            .iter()
            .any(|word| word.starts_with("fire"))
        {
            fired.push(*state);
        }
    }
    fired
}

#[test]
fn numbers_fire_when_they_come_within() {
    #[rustfmt::skip]
    let table = [
        (number(Some(20.0), None, None, None), "10", &["15", "21", "22", "20", "20.5"][..], &["21", "20.5"][..]),
        // The bound itself is not within.
        (number(Some(20.0), None, None, None), "10", &["20"], &[]),
        (number(None, Some(20.0), None, None), "30", &["20", "19.9"], &["19.9"]),
        (number(Some(10.0), Some(20.0), None, None), "5", &["25", "15", "16", "5", "12"], &["15", "12"]),
        // It was within when it began: it has to leave first.
        (number(Some(20.0), None, None, None), "25", &["26", "10", "27"], &["27"]),
        // What is no number changes nothing: before, it was out; or it was in.
        (number(Some(20.0), None, None, None), "10", &["unavailable", "25"], &["25"]),
        (number(Some(20.0), None, None, None), "25", &["unknown", "26"], &[]),
        // It was never known to be out.
        (number(Some(20.0), None, None, None), "unavailable", &["25", "10", "21"], &["21"]),
    ];
    for (trigger, first, states, expected) in table {
        assert_eq!(
            fired_at(trigger.clone(), first, states),
            expected,
            "{:?} {first} {states:?}",
            trigger.kind
        );
    }
}

#[test]
fn numbers_by_template() {
    let trigger = number(Some(20.0), None, None, Some("{{ state.state | float * 10 }}"));
    assert_eq!(fired_at(trigger, "1", &["1.5", "2.5"]), ["2.5"]);
}

#[test]
fn numbers_that_have_to_stay() {
    let mut house = House::new();
    house.set("sensor.t", "10");
    house.watch(vec![number(Some(20.0), None, Some(5_000), None)]);
    assert_eq!(house.becomes("sensor.t", "21"), ["keep sensor.t"]);
    assert_eq!(house.becomes("sensor.t", "22"), NOTHING);
    assert_eq!(house.pass(5_000), ["forget sensor.t", "fire 0 by sensor.t"]);
    house.becomes("sensor.t", "10");
    assert_eq!(house.becomes("sensor.t", "23"), ["keep sensor.t"]);
    assert_eq!(house.becomes("sensor.t", "19"), ["forget sensor.t"]);
    house.becomes("sensor.t", "23");
    assert_eq!(house.becomes("sensor.t", "unavailable"), ["forget sensor.t"]);
}

#[test]
fn coming_and_going() {
    let zone = |event, name: &str| {
        let mut trigger = trigger(TriggerKind::Zone {
            entities: vec![id("person.a")],
            zone: id("zone.home"),
            event,
        });
        trigger.id = name.into();
        trigger
    };
    let mut house = House::new();
    house.set_with(
        "zone.home",
        "0",
        json!({ "latitude": 48.0, "longitude": 2.0, "radius": 100 }),
    );
    house.watch(vec![
        zone(ZoneEvent::Enter, "enter"),
        zone(ZoneEvent::Leave, "leave"),
    ]);
    let (inside, outside) = (
        json!({ "latitude": 48.0, "longitude": 2.0 }),
        json!({ "latitude": 48.1, "longitude": 2.0 }),
    );
    assert_eq!(house.becomes_with("person.a", "away", outside.clone()), NOTHING);
    assert_eq!(
        house.becomes_with("person.a", "home", inside.clone()),
        ["fire enter by person.a"]
    );
    assert_eq!(house.becomes_with("person.a", "home", inside.clone()), NOTHING);
    assert_eq!(
        house.becomes_with("person.a", "away", outside),
        ["fire leave by person.a"]
    );
    // Nobody comes home out of nowhere.
    assert_eq!(house.becomes_with("person.a", "home", json!({})), NOTHING);
    assert_eq!(house.becomes_with("person.a", "home", inside), NOTHING);
}
