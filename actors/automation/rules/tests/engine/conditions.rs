//! All kinds of conditions.

use jarvis_rules::model::{Bound, ConditionKind, Moment, Span, SunEvent, Template, TimeOfDay, Weekdays};
use jarvis_rules::run::Check;
use serde_json::json;

use super::house::{House, NOON_MS, condition, holds, id, is, map};

/// Whether it holds: `yes`, `no`, or what could not be looked at.
fn check(house: &House, kind: ConditionKind) -> String {
    let facts = house.facts();
    let variables = map(json!({ "trigger": { "id": "t1" } }));
    let check = Check {
        facts: &facts,
        templates: &house.templates,
        variables: &variables,
    };
    match check.all(&[condition(kind)]) {
        Ok(true) => "yes".into(),
        Ok(false) => "no".into(),
        Err(error) => error.to_string(),
    }
}

fn house() -> House {
    let mut house = House::new();
    house.set("light.on", "on");
    house.set("light.off", "off");
    house.set("input_text.wanted", "on");
    house.set_with(
        "climate.a",
        "heat",
        json!({ "temperature": 21.5, "preset": "eco", "away": false }),
    );
    house.set("sensor.warm", "21.5");
    house.set("sensor.limit", "20");
    house.set("sensor.gone", "unavailable");
    house
}

fn state(entities: &[&str], any: bool, attribute: Option<&str>, states: &[&str]) -> ConditionKind {
    ConditionKind::State {
        entities: entities.iter().map(|entity| id(entity)).collect(),
        any,
        attribute: attribute.map(Into::into),
        states: states.iter().map(|state| (*state).into()).collect(),
        held_for: None,
    }
}

#[test]
fn and_or_not() {
    let (yes, no, unknown) = (
        is("light.on", "on"),
        is("light.off", "on"),
        is("light.none", "on"),
    );
    let error = "the entity light.none is not known";
    #[rustfmt::skip]
    let table = [
        (ConditionKind::And(vec![]), "yes"),
        (ConditionKind::And(vec![yes.clone(), yes.clone()]), "yes"),
        (ConditionKind::And(vec![yes.clone(), no.clone()]), "no"),
        (ConditionKind::And(vec![no.clone(), unknown.clone()]), "no"),
        (ConditionKind::And(vec![yes.clone(), unknown.clone()]), error),
        (ConditionKind::Or(vec![]), "no"),
        (ConditionKind::Or(vec![no.clone(), yes.clone()]), "yes"),
        (ConditionKind::Or(vec![unknown.clone(), yes.clone()]), "yes"),
        (ConditionKind::Or(vec![unknown.clone(), no.clone()]), error),
        (ConditionKind::Not(vec![no.clone(), no.clone()]), "yes"),
        (ConditionKind::Not(vec![no.clone(), yes.clone()]), "no"),
        // What is not known is not other than it is said to be.
        (ConditionKind::Not(vec![unknown]), error),
    ];
    for (kind, expected) in table {
        assert_eq!(check(&house(), kind.clone()), expected, "{kind:?}");
    }
}

#[test]
fn states_and_attributes() {
    #[rustfmt::skip]
    let table = [
        (state(&["light.on"], false, None, &["on"]), "yes"),
        (state(&["light.on"], false, None, &["off", "on"]), "yes"),
        (state(&["light.on"], false, None, &["ON"]), "no"),
        (state(&["light.on", "light.off"], false, None, &["on"]), "no"),
        (state(&["light.on", "light.off"], true, None, &["on"]), "yes"),
        (state(&["light.none", "light.on"], true, None, &["on"]), "yes"),
        (state(&["light.none", "light.off"], true, None, &["on"]), "the entity light.none is not known"),
        (state(&["light.on"], false, None, &["input_text.wanted"]), "yes"),
        (state(&["light.off"], false, None, &["input_text.wanted"]), "no"),
        (state(&["climate.a"], false, Some("temperature"), &["21.5"]), "yes"),
        (state(&["climate.a"], false, Some("temperature"), &["21.50"]), "yes"),
        (state(&["climate.a"], false, Some("preset"), &["eco"]), "yes"),
        (state(&["climate.a"], false, Some("away"), &["False"]), "yes"),
        (state(&["climate.a"], false, Some("nothing"), &["eco"]), "no"),
    ];
    for (kind, expected) in table {
        assert_eq!(check(&house(), kind.clone()), expected, "{kind:?}");
    }
}

#[test]
fn states_held_for_a_while() {
    let mut house = house();
    let held = |ms| ConditionKind::State {
        entities: vec![id("light.on")],
        any: false,
        attribute: None,
        states: vec!["on".into()],
        held_for: Some(Span::Millis(ms)),
    };
    house.world.now_ms += 5_000;
    assert_eq!(check(&house, held(5_000)), "yes");
    assert_eq!(check(&house, held(5_001)), "no");
}

#[test]
fn numbers() {
    let numeric = |entity: &str,
                   attribute: Option<&str>,
                   template: Option<&str>,
                   above: Option<Bound>,
                   below: Option<Bound>| {
        ConditionKind::NumericState {
            entities: vec![id(entity)],
            attribute: attribute.map(Into::into),
            value_template: template.map(|text| Template(text.into())),
            above,
            below,
        }
    };
    let n = |number| Some(Bound::Number(number));
    let of = |entity: &str| Some(Bound::Entity(id(entity)));
    #[rustfmt::skip]
    let table = [
        (numeric("sensor.warm", None, None, n(21.0), n(22.0)), "yes"),
        (numeric("sensor.warm", None, None, n(21.5), None), "no"),
        (numeric("sensor.warm", None, None, None, n(21.5)), "no"),
        (numeric("sensor.warm", None, None, of("sensor.limit"), None), "yes"),
        (numeric("sensor.warm", None, None, None, of("sensor.limit")), "no"),
        (numeric("sensor.warm", None, None, of("sensor.gone"), None), "unavailable of sensor.gone is not a number"),
        (numeric("climate.a", Some("temperature"), None, n(21.0), None), "yes"),
        (numeric("climate.a", Some("x"), None, n(21.0), None), "climate.a has no attribute x"),
        (numeric("sensor.gone", None, None, n(21.0), None), "\"unavailable\" of sensor.gone is not a number"),
        (numeric("sensor.none", None, None, n(21.0), None), "the entity sensor.none is not known"),
        (numeric("climate.a", None, Some("{{ state.attributes.temperature * 2 }}"), n(42.0), n(44.0)), "yes"),
    ];
    for (kind, expected) in table {
        assert_eq!(check(&house(), kind.clone()), expected, "{kind:?}");
    }
}

fn at(hour: u8, minute: u8) -> Option<Moment> {
    Some(Moment::TimeOfDay(TimeOfDay {
        hour,
        minute,
        second: 0,
    }))
}

#[test]
fn times_of_day_over_midnight_and_on_weekdays() {
    let kept = |entity: &str| Some(Moment::Entity(id(entity)));
    let saturday = Weekdays(0b010_0000);
    #[rustfmt::skip]
    let table = [
        // It is Saturday, 12:00.
        (at(11, 0), at(13, 0), Weekdays::ALL, "yes"),
        (at(12, 0), at(13, 0), Weekdays::ALL, "yes"),
        (at(11, 0), at(12, 0), Weekdays::ALL, "no"),
        (at(22, 0), at(6, 0), Weekdays::ALL, "no"),
        (at(22, 0), at(12, 1), Weekdays::ALL, "yes"),
        (at(12, 0), at(6, 0), Weekdays::ALL, "yes"),
        (at(12, 1), None, Weekdays::ALL, "no"),
        (None, at(12, 1), Weekdays::ALL, "yes"),
        (None, None, saturday, "yes"),
        (None, None, Weekdays(0b101_1111), "no"),
        (at(11, 0), at(13, 0), Weekdays(0b001_1111), "no"),
        (kept("input_datetime.morning"), kept("input_datetime.then"), Weekdays::ALL, "yes"),
        (kept("input_datetime.then"), None, Weekdays::ALL, "no"),
        (None, kept("sensor.alarm"), Weekdays::ALL, "yes"),
        (kept("light.on"), None, Weekdays::ALL, "the entity light.on does not say a time"),
        (kept("input_datetime.none"), None, Weekdays::ALL, "the entity input_datetime.none is not known"),
    ];
    let mut house = house();
    house.set("input_datetime.morning", "07:30:00");
    house.set("input_datetime.then", "2026-03-01 14:00:00");
    house.set("sensor.alarm", "2026-01-11T12:30:00+00:00");
    for (after, before, weekdays, expected) in table {
        let kind = ConditionKind::Time {
            after,
            before,
            weekdays,
        };
        assert_eq!(check(&house, kind.clone()), expected, "{kind:?}");
    }
}

#[test]
fn the_sun() {
    use SunEvent::{Sunrise, Sunset};
    const HOUR: i64 = 3_600_000;
    let mut house = house();
    let sun = |after, before| ConditionKind::Sun { after, before };
    // Over Paris it rises at about 8:43 and sets at about 17:15 on that day.
    #[rustfmt::skip]
    let table = [
        (12, sun(Some((Sunrise, 0)), None), "yes"),
        (12, sun(None, Some((Sunset, 0))), "yes"),
        (12, sun(Some((Sunrise, 0)), Some((Sunset, 0))), "yes"),
        (12, sun(Some((Sunset, 0)), Some((Sunrise, 0))), "no"),
        (3, sun(Some((Sunset, 0)), Some((Sunrise, 0))), "yes"),
        (22, sun(Some((Sunset, 0)), Some((Sunrise, 0))), "yes"),
        (3, sun(Some((Sunset, 0)), None), "no"),
        (22, sun(Some((Sunset, 0)), None), "yes"),
        (17, sun(Some((Sunset, -HOUR)), None), "yes"),
        (16, sun(Some((Sunset, -HOUR)), None), "no"),
        (9, sun(Some((Sunrise, HOUR)), None), "no"),
        (10, sun(Some((Sunrise, HOUR)), None), "yes"),
    ];
    for (hour, kind, expected) in table {
        house.world.now_ms = NOON_MS + (hour - 12) * HOUR;
        assert_eq!(check(&house, kind.clone()), expected, "{hour} {kind:?}");
    }
}

#[test]
fn where_the_sun_does_not_rise_nothing_is_after_it() {
    let mut house = house();
    house.world.home.latitude = 78.22;
    house.world.home.longitude = 15.65;
    let night = ConditionKind::Sun {
        after: Some((SunEvent::Sunrise, 0)),
        before: None,
    };
    assert_eq!(check(&house, night), "no");
}

#[test]
fn zones() {
    let mut house = house();
    house.set_with(
        "zone.home",
        "0",
        json!({ "latitude": 48.8566, "longitude": 2.3522, "radius": 100 }),
    );
    house.set_with(
        "zone.work",
        "0",
        json!({ "latitude": 48.86, "longitude": 2.36, "radius": 250 }),
    );
    house.set_with(
        "person.in",
        "home",
        json!({ "latitude": 48.8570, "longitude": 2.3525 }),
    );
    house.set_with(
        "person.near",
        "x",
        json!({ "latitude": 48.8580, "longitude": 2.3522, "gps_accuracy": 100 }),
    );
    house.set_with(
        "person.out",
        "x",
        json!({ "latitude": 48.8600, "longitude": 2.3599 }),
    );
    house.set("person.lost", "home");
    let zone = |entities: &[&str], zones: &[&str]| ConditionKind::Zone {
        entities: entities.iter().map(|it| id(it)).collect(),
        zones: zones.iter().map(|it| id(it)).collect(),
    };
    #[rustfmt::skip]
    let table = [
        (zone(&["person.in"], &["zone.home"]), "yes"),
        (zone(&["person.near"], &["zone.home"]), "yes"),
        (zone(&["person.out"], &["zone.home"]), "no"),
        (zone(&["person.out"], &["zone.home", "zone.work"]), "yes"),
        (zone(&["person.in", "person.out"], &["zone.home"]), "no"),
        (zone(&["person.lost"], &["zone.home"]), "person.lost or zone.home: it has no latitude and longitude"),
        (zone(&["person.in"], &["zone.none"]), "the entity zone.none is not known"),
    ];
    for (kind, expected) in table {
        assert_eq!(check(&house, kind.clone()), expected, "{kind:?}");
    }
}

#[test]
fn templates_and_triggers() {
    #[rustfmt::skip]
    let table = [
        (holds("{{ is_state('light.on', 'on') }}").kind, "yes"),
        (holds("{{ is_state('light.off', 'on') }}").kind, "no"),
        (holds("{{ trigger.id == 't1' }}").kind, "yes"),
        (holds("yes").kind, "yes"),
        (holds("nonsense").kind, "no"),
        (ConditionKind::Trigger(vec!["t0".into(), "t1".into()]), "yes"),
        (ConditionKind::Trigger(vec!["t2".into()]), "no"),
    ];
    for (kind, expected) in table {
        assert_eq!(check(&house(), kind.clone()), expected, "{kind:?}");
    }
}
