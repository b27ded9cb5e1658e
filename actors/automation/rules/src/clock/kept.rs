//! Times that an entity keeps: an `input_datetime`, or a sensor of class `timestamp`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};

use super::wall::{instant_of, zoned};
use crate::facts::{EntityState, Home};
use crate::model::TimeOfDay;

/// A time that an entity keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Every day.
    Daily(TimeOfDay),
    /// Once: Unix milliseconds.
    Once(i64),
}

impl Kept {
    /// What an entity's state says: `HH:MM:SS`, a date (its beginning), a date and time by the home's clock, or one with an
    /// offset. None: it says no time, as long as it is unknown for instance.
    pub fn of(state: &EntityState, home: &Home) -> Option<Self> {
        let text = state.state.trim();
        if text.len() <= 8
            && let Ok(time) = text.parse::<Time>()
        {
            return Some(Self::Daily(time_of_day(time)));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Some(Self::Once(timestamp.as_millisecond()));
        }
        let wall = match text.parse::<DateTime>() {
            Ok(wall) => wall,
            Err(_) => text.parse::<Date>().ok()?.to_datetime(Time::midnight()),
        };
        instant_of(&home.time_zone, wall).map(Self::Once)
    }

    /// The time of day, by the home's clock.
    pub fn time_of_day(self, home: &Home) -> TimeOfDay {
        match self {
            Self::Daily(time) => time,
            Self::Once(at_ms) => time_of_day(zoned(&home.time_zone, at_ms).time()),
        }
    }
}

/// Whole seconds of a time.
pub(crate) fn time_of_day(time: Time) -> TimeOfDay {
    let number = |part: i8| u8::try_from(part).unwrap_or(0);
    TimeOfDay {
        hour: number(time.hour()),
        minute: number(time.minute()),
        second: number(time.second()),
    }
}
