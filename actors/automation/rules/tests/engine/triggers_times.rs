//! `time`, `time_pattern` and `sun` triggers, and what becomes of those that nobody saw.

use jarvis_rules::model::{
    At, CatchUp, Pattern, Policy, SunEvent, TimeOfDay, Trigger, TriggerKind, Weekdays,
};
use jarvis_rules::program::Program;

use super::house::{House, NOON_MS, automation, id, look, trigger, words};

const NOTHING: [&str; 0] = [];
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

fn at(hour: u8, minute: u8) -> At {
    At::TimeOfDay(TimeOfDay {
        hour,
        minute,
        second: 0,
    })
}

fn time(at: Vec<At>) -> Trigger {
    trigger(TriggerKind::Time {
        at,
        weekdays: Weekdays::ALL,
    })
}

fn kept(entity: &str, offset_ms: i64) -> At {
    At::Entity {
        entity: id(entity),
        offset_ms,
    }
}

#[test]
fn times_of_day() {
    let mut house = House::new();
    house.watch(vec![time(vec![at(13, 0), at(12, 30)])]);
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + 30 * MINUTE_MS));
    assert_eq!(house.pass(30 * MINUTE_MS - 1), NOTHING);
    let changes = house.tick(1);
    assert_eq!(words(&changes), ["fire 0"]);
    assert_eq!(house.pass(MINUTE_MS), NOTHING);
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + HOUR_MS));
    assert_eq!(house.pass(29 * MINUTE_MS), ["fire 0"]);
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + DAY_MS + 30 * MINUTE_MS));
}

#[test]
fn weekdays() {
    let mut house = House::new();
    // It is Saturday: the next Tuesday.
    house.watch(vec![trigger(TriggerKind::Time {
        at: vec![at(12, 30)],
        weekdays: Weekdays(0b000_0010),
    })]);
    assert_eq!(
        house.watch.next_due_ms(),
        Some(NOON_MS + 3 * DAY_MS + 30 * MINUTE_MS)
    );
}

#[test]
fn times_that_entities_keep() {
    let mut house = House::new();
    house.set("input_datetime.t", "12:10:00");
    house.set("sensor.next", "2026-01-10T11:20:00+00:00");
    house.watch(vec![time(vec![
        kept("input_datetime.t", 0),
        kept("sensor.next", -5 * MINUTE_MS),
        kept("input_datetime.none", 0),
    ])]);
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + 10 * MINUTE_MS));
    // Set to another time, it is another time.
    assert_eq!(house.becomes("input_datetime.t", "12:12:00"), NOTHING);
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + 12 * MINUTE_MS));
    assert_eq!(house.pass(12 * MINUTE_MS), ["fire 0 by input_datetime.t"]);
    assert_eq!(house.pass(3 * MINUTE_MS), ["fire 0 by sensor.next"]);
    // The sensor's was once.
    assert_eq!(house.watch.next_due_ms(), Some(NOON_MS + DAY_MS + 12 * MINUTE_MS));
    assert_eq!(house.becomes("sensor.next", "unknown"), NOTHING);
    assert_eq!(
        house.becomes("input_datetime.none", "2026-01-10 12:20:00"),
        NOTHING
    );
    assert_eq!(house.pass(5 * MINUTE_MS), ["fire 0 by input_datetime.none"]);
}

#[test]
fn patterns() {
    let mut house = House::new();
    house.watch(vec![trigger(TriggerKind::TimePattern {
        hours: Pattern::Unset,
        minutes: Pattern::Every(20),
        seconds: Pattern::Unset,
    })]);
    let mut fired = 0;
    for _ in 0..120 {
        fired += house.pass(MINUTE_MS).len();
    }
    assert_eq!(fired, 6);
}

#[test]
fn the_sun_with_an_offset() {
    let mut house = House::new();
    house.watch(vec![trigger(TriggerKind::Sun {
        event: SunEvent::Sunset,
        offset_ms: -30 * MINUTE_MS,
    })]);
    // Over Paris it sets at 17:15 on that day.
    let due = house.watch.next_due_ms().unwrap();
    assert!(
        (due - (NOON_MS + 4 * HOUR_MS + 45 * MINUTE_MS)).abs() < 2 * MINUTE_MS,
        "{}",
        due - NOON_MS
    );
    let changes = house.tick(due - NOON_MS);
    assert_eq!(words(&changes), ["fire 0"]);
    let next = house.watch.next_due_ms().unwrap() - due;
    assert!((next - DAY_MS).abs() < 3 * MINUTE_MS);
}

/// Somebody watched until noon; the next who does begins `gap_ms` later.
fn after_gap(mut trigger: Trigger, catch_up: CatchUp, gap_ms: i64) -> Vec<String> {
    trigger.policy = Some(Policy {
        catch_up,
        at_most_late_ms: 3_600_000,
    });
    let mut automation = automation(vec![]);
    automation.triggers = vec![trigger];
    let mut house = House::new();
    house.world.now_ms += gap_ms;
    let facts = house.facts();
    let look = look(&facts, &house.templates);
    house
        .watch
        .insert_automation(&Program::compile(automation), NOON_MS, &look);
    let said = house.pass(0);
    // And what was late is not late again.
    assert_eq!(house.pass(500), NOTHING);
    said
}

#[test]
fn what_fell_due_unseen_fires_once_or_not_as_its_policy_says() {
    use CatchUp::{CatchUp as Do, Recheck, Skip};
    let daily = || time(vec![at(12, 30)]);
    let pattern = |minutes| {
        trigger(TriggerKind::TimePattern {
            hours: Pattern::Unset,
            minutes,
            seconds: Pattern::Unset,
        })
    };
    let every_second = || {
        trigger(TriggerKind::TimePattern {
            hours: Pattern::Unset,
            minutes: Pattern::Unset,
            seconds: Pattern::Any,
        })
    };
    #[rustfmt::skip]
    let table = [
        (daily(), Do, 29 * MINUTE_MS, vec![]),
        (daily(), Skip, 30 * MINUTE_MS + 3_000, vec!["fire 0"]),
        (daily(), Do, 30 * MINUTE_MS + 7_000, vec!["fire 0, 7000 ms late, CatchUp"]),
        (daily(), Do, 90 * MINUTE_MS, vec!["fire 0, 3600000 ms late, CatchUp"]),
        (daily(), Do, 90 * MINUTE_MS + 1, vec!["missed: it would be 3600001 ms late, and at most 3600000 ms are allowed"]),
        (daily(), Recheck, 31 * MINUTE_MS, vec!["fire 0, 60000 ms late, Recheck"]),
        (daily(), Skip, 31 * MINUTE_MS, vec!["missed: its policy is skip"]),
        // Of several missed ones the last, once.
        (daily(), Do, 10 * DAY_MS + HOUR_MS, vec!["fire 0, 1800000 ms late, CatchUp"]),
        (pattern(Pattern::Every(5)), Do, 3 * HOUR_MS + 2 * MINUTE_MS, vec!["fire 0, 120000 ms late, CatchUp"]),
        (pattern(Pattern::Every(5)), Skip, 3 * HOUR_MS + 2 * MINUTE_MS, vec!["missed: its policy is skip"]),
        (every_second(), Do, 2 * DAY_MS + 300, vec!["fire 0"]),
        (time(vec![kept("input_datetime.none", 0)]), Do, DAY_MS, vec![]),
    ];
    for (trigger, catch_up, gap_ms, expected) in table {
        assert_eq!(
            after_gap(trigger.clone(), catch_up, gap_ms),
            expected,
            "{:?} {catch_up:?} {gap_ms}",
            trigger.kind
        );
    }
}

#[test]
fn one_time_of_several_that_is_late_keeps_the_others_in_time() {
    let mut house = House::new();
    house.watch(vec![time(vec![at(12, 1), at(12, 2)])]);
    let late = "fire 0, 60000 ms late, CatchUp";
    assert_eq!(house.pass(2 * MINUTE_MS), [late, "fire 0"]);
}
