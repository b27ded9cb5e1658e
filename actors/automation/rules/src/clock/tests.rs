//! Clocks that go forward and back, patterns, almanacs.

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::{next_pattern, next_time_of_day, sun};
use crate::facts::Home;
use crate::model::{Pattern, SunEvent, TimeOfDay, Weekdays};

/// Central European time, by its rule, so that no machine's database is asked.
fn paris() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn show(at_ms: Option<i64>) -> String {
    at_ms.map_or("none".into(), |at| {
        jiff::Timestamp::from_millisecond(at).unwrap().to_string()
    })
}

fn at(text: &str) -> TimeOfDay {
    let mut parts = text.split(':').map(|part| part.parse().unwrap());
    TimeOfDay {
        hour: parts.next().unwrap(),
        minute: parts.next().unwrap(),
        second: parts.next().unwrap_or(0),
    }
}

#[test]
fn times_of_day() {
    let monday_and_saturday = Weekdays(0b010_0001);
    #[rustfmt::skip]
    let table = [
        // An ordinary day, and the day after once it has passed; due means strictly after.
        ("07:00", Weekdays::ALL, "2026-01-10T05:59:59Z", "2026-01-10T06:00:00Z"),
        ("07:00", Weekdays::ALL, "2026-01-10T06:00:00Z", "2026-01-11T06:00:00Z"),
        ("07:00", Weekdays::ALL, "2026-07-10T06:00:00Z", "2026-07-11T05:00:00Z"),
        ("00:00", Weekdays::ALL, "2026-01-10T12:00:00Z", "2026-01-10T23:00:00Z"),
        // 2026-01-10 is a Saturday.
        ("07:00", monday_and_saturday, "2026-01-10T07:00:00Z", "2026-01-12T06:00:00Z"),
        ("07:00", monday_and_saturday, "2026-01-12T07:00:00Z", "2026-01-17T06:00:00Z"),
        ("07:00", Weekdays(0b010_0000), "2026-01-10T06:00:00Z", "2026-01-17T06:00:00Z"),
        ("07:00", Weekdays(0), "2026-01-10T06:00:00Z", "none"),
        // 2026-03-29, 02:00 becomes 03:00: 02:30 does not exist and is 03:00, once.
        ("02:30", Weekdays::ALL, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("02:30", Weekdays::ALL, "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
        ("02:00", Weekdays::ALL, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("03:00", Weekdays::ALL, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("02:30", Weekdays(0b100_0000), "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        // 2026-10-25, 03:00 becomes 02:00: 02:30 exists twice and is the first.
        ("02:30", Weekdays::ALL, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("02:30", Weekdays::ALL, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("03:00", Weekdays::ALL, "2026-10-24T12:00:00Z", "2026-10-25T02:00:00Z"),
    ];
    for (time, days, after, expected) in table {
        let due = next_time_of_day(&paris(), at(time), days, ms(after));
        assert_eq!(show(due), expected, "{time} after {after}");
    }
}

#[test]
fn patterns() {
    use Pattern::{Any, Every, Exactly, Unset};
    #[rustfmt::skip]
    let table = [
        // Fields that were not written.
        ((Unset, Every(5), Unset), "2026-01-10T05:59:59.500Z", "2026-01-10T06:00:00Z"),
        ((Unset, Every(5), Unset), "2026-01-10T06:00:00Z", "2026-01-10T06:05:00Z"),
        ((Unset, Unset, Every(10)), "2026-01-10T06:00:01Z", "2026-01-10T06:00:10Z"),
        ((Unset, Unset, Any), "2026-01-10T06:00:01Z", "2026-01-10T06:00:02Z"),
        ((Any, Unset, Unset), "2026-01-10T06:00:00Z", "2026-01-10T07:00:00Z"),
        ((Unset, Exactly(59), Exactly(59)), "2026-01-10T06:59:59Z", "2026-01-10T07:59:59Z"),
        ((Exactly(7), Unset, Unset), "2026-01-10T06:00:00Z", "2026-01-11T06:00:00Z"),
        ((Every(6), Exactly(15), Unset), "2026-01-10T06:00:00Z", "2026-01-10T11:15:00Z"),
        ((Exactly(7), Any, Any), "2026-01-10T06:00:00Z", "2026-01-10T06:00:01Z"),
        ((Exactly(7), Any, Any), "2026-01-10T06:59:59Z", "2026-01-11T06:00:00Z"),
        // The hour that is left out: named once after it, unnamed nothing to make up for.
        ((Exactly(2), Every(10), Unset), "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"),
        ((Exactly(2), Every(10), Unset), "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"),
        ((Unset, Every(30), Unset), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
        // The hour that is repeated: named the first time only, unnamed in real time.
        ((Exactly(2), Exactly(30), Unset), "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ((Unset, Exactly(30), Unset), "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
    ];
    for ((hours, minutes, seconds), after, expected) in table {
        let due = next_pattern(&paris(), hours, minutes, seconds, ms(after));
        assert_eq!(
            show(due),
            expected,
            "{hours:?} {minutes:?} {seconds:?} after {after}"
        );
    }
}

#[test]
fn zones_that_move_by_half_an_hour() {
    // Lord Howe Island: 02:00 becomes 02:30 on the first Sunday of October.
    let zone = TimeZone::posix("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").unwrap();
    let due = next_time_of_day(&zone, at("02:10"), Weekdays::ALL, ms("2026-10-03T12:00:00Z"));
    assert_eq!(show(due), "2026-10-03T15:30:00Z");
    let due = next_pattern(
        &zone,
        Pattern::Unset,
        Pattern::Exactly(15),
        Pattern::Unset,
        ms("2026-10-03T15:20:00Z"),
    );
    assert_eq!(show(due), "2026-10-03T16:15:00Z");
}

#[test]
fn instants_out_of_every_calendar_are_no_panic() {
    for after in [i64::MIN, i64::MAX, i64::MAX - 1_000] {
        let _ = next_time_of_day(&paris(), at("02:30"), Weekdays::ALL, after);
        let _ = next_pattern(&paris(), Pattern::Unset, Pattern::Any, Pattern::Unset, after);
        let _ = next_pattern(&paris(), Pattern::Exactly(3), Pattern::Any, Pattern::Unset, after);
        let _ = sun::next(&london(), SunEvent::Sunset, 5, after);
    }
}

fn home(zone: &str, latitude: f64, longitude: f64) -> Home {
    Home {
        time_zone: TimeZone::posix(zone).unwrap(),
        latitude,
        longitude,
        elevation_m: 0.0,
    }
}

fn london() -> Home {
    home("GMT0BST,M3.5.0/1,M10.5.0", 51.473, -0.0009)
}

/// Times to the minute as timeanddate.com publishes them for London; they are rounded, so that 75 s may lie between.
#[test]
fn the_sun_over_london_is_where_almanacs_say() {
    #[rustfmt::skip]
    let table = [
        (date(2015, 1, 1), "08:06", "16:01"),
        (date(2015, 12, 1), "07:43", "15:55"),
        (date(2015, 12, 2), "07:45", "15:54"),
        (date(2015, 12, 3), "07:46", "15:54"),
        (date(2015, 12, 12), "07:56", "15:51"),
        (date(2015, 12, 25), "08:05", "15:55"),
        (date(2024, 6, 20), "03:43", "20:21"),
    ];
    for (day, rises, sets) in table {
        for (event, published) in [(SunEvent::Sunrise, rises), (SunEvent::Sunset, sets)] {
            let found = sun::on_date(&london(), event, day).unwrap();
            let expected = ms(&format!("{day}T{published}:00Z"));
            assert!(
                (found - expected).abs() <= 75_000,
                "{day} {event:?}: {}",
                show(Some(found))
            );
        }
    }
}

/// As timeanddate.com publishes them for New York, Sydney and Quito, local time to the minute; 90 s, for where in the city.
#[test]
fn the_sun_over_other_cities_is_where_almanacs_say() {
    let new_york = home("EST5EDT,M3.2.0,M11.1.0", 40.7128, -74.006);
    let sydney = home("AEST-10AEDT,M10.1.0,M4.1.0/3", -33.8688, 151.2093);
    let quito = home("<-05>5", -0.1807, -78.4678);
    #[rustfmt::skip]
    let table = [
        (&new_york, "2024-06-20", "09:25", "00:30", 1),
        (&new_york, "2024-12-21", "12:17", "21:32", 0),
        (&sydney, "2024-12-21", "18:41", "09:05", -1),
        (&quito, "2024-03-20", "11:18", "23:25", 0),
    ];
    for (home, day, rises, sets, shift) in table {
        let day: jiff::civil::Date = day.parse().unwrap();
        let other = day.checked_add(jiff::Span::new().days(shift)).unwrap();
        let (rise_day, set_day) = if shift < 0 { (other, day) } else { (day, other) };
        for (event, published) in [
            (SunEvent::Sunrise, format!("{rise_day}T{rises}:00Z")),
            (SunEvent::Sunset, format!("{set_day}T{sets}:00Z")),
        ] {
            let found = sun::on_date(home, event, day).unwrap();
            assert!(
                (found - ms(&published)).abs() <= 90_000,
                "{published}: {}",
                show(Some(found))
            );
        }
    }
}

#[test]
fn where_the_sun_does_not_set_the_next_setting_is_in_summer() {
    // Tromsø: no sunset from 18 or 19 May to 25 or 26 July, no sunrise from the end of November to the middle of January.
    let tromso = home("CET-1CEST,M3.5.0,M10.5.0/3", 69.65, 18.96);
    assert_eq!(sun::on_date(&tromso, SunEvent::Sunset, date(2024, 6, 21)), None);
    assert_eq!(sun::on_date(&tromso, SunEvent::Sunrise, date(2024, 12, 21)), None);
    let sets = sun::next(&tromso, SunEvent::Sunset, 0, ms("2024-06-05T00:00:00Z")).unwrap();
    assert!(
        (ms("2024-07-24T00:00:00Z")..ms("2024-07-28T00:00:00Z")).contains(&sets),
        "{}",
        show(Some(sets))
    );
    let rises = sun::next(&tromso, SunEvent::Sunrise, 0, ms("2024-12-05T00:00:00Z")).unwrap();
    assert!(
        (ms("2025-01-13T00:00:00Z")..ms("2025-01-18T00:00:00Z")).contains(&rises),
        "{}",
        show(Some(rises))
    );
    // At the pole there may be none for half a year.
    let pole = home("UTC0", 90.0, 0.0);
    let _ = sun::next(&pole, SunEvent::Sunset, 0, ms("2024-06-05T00:00:00Z"));
}

#[test]
fn the_next_sunset_is_after_and_with_its_offset() {
    let after = ms("2015-12-01T15:30:00Z");
    let sets = sun::next(&london(), SunEvent::Sunset, 0, after).unwrap();
    assert!((sets - ms("2015-12-01T15:55:00Z")).abs() < 75_000);
    let before = sun::next(&london(), SunEvent::Sunset, -30 * 60_000, after).unwrap();
    assert!(
        (before - ms("2015-12-02T15:24:00Z")).abs() < 75_000,
        "{}",
        show(Some(before))
    );
    let next = sun::next(&london(), SunEvent::Sunset, 0, sets).unwrap();
    assert!((next - ms("2015-12-02T15:54:00Z")).abs() < 75_000);
}

#[test]
fn a_place_whose_calendar_is_a_day_ahead_of_its_sun_has_its_own_days() {
    // Kiritimati: UTC+14 at 157° west.
    let kiritimati = home("<+14>-14", 1.87, -157.4);
    let rises = sun::on_date(&kiritimati, SunEvent::Sunrise, date(2024, 3, 20)).unwrap();
    assert_eq!(
        super::zoned(&kiritimati.time_zone, rises).date(),
        date(2024, 3, 20)
    );
}
