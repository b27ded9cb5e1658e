//! Wall times and instants.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::model::{TimeOfDay, Weekdays};

/// How many days ahead a daily time is looked for: a week and the days at its ends.
const DAYS_AHEAD: u8 = 9;

/// What the home's clock shows at an instant. One beyond what calendars know is taken as the last they do.
pub fn zoned(zone: &TimeZone, at_ms: i64) -> Zoned {
    let timestamp =
        Timestamp::from_millisecond(at_ms).unwrap_or(if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    timestamp.to_zoned(zone.clone())
}

/// The instant that a wall time means, by the rule that stands above: after the gap, the first of both.
pub fn instant_of(zone: &TimeZone, wall: DateTime) -> Option<i64> {
    let timestamp = match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
        // The earlier of two has the offset that was in force before.
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
        // By the later offset the wall time lies before the change, which is then the next one.
        AmbiguousOffset::Gap { after, .. } => {
            let earlier = after.to_timestamp(wall).ok()?;
            zone.following(earlier).next()?.timestamp()
        }
    };
    Some(timestamp.as_millisecond())
}

/// The next moment after an instant at which the home's clock shows that time on one of these days.
pub fn next_time_of_day(zone: &TimeZone, at: TimeOfDay, weekdays: Weekdays, after_ms: i64) -> Option<i64> {
    // A gap may carry yesterday's time over midnight.
    let mut date = zoned(zone, after_ms).date().yesterday().ok()?;
    for _ in 0..DAYS_AHEAD + 1 {
        if weekdays.has(days_after_monday(date)) {
            let due_ms = instant_of(zone, wall(date, at)?)?;
            if due_ms > after_ms {
                return Some(due_ms);
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The day of the week, counted from Monday as 0.
pub(crate) fn days_after_monday(date: Date) -> u8 {
    u8::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0)
}

/// A date and a time of day together; none: there is no such time of day.
pub(crate) fn wall(date: Date, at: TimeOfDay) -> Option<DateTime> {
    let number = |part: u8| i8::try_from(part).ok();
    let time = jiff::civil::Time::new(number(at.hour)?, number(at.minute)?, number(at.second)?, 0).ok()?;
    Some(date.to_datetime(time))
}
