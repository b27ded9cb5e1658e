//! `time_pattern`: whenever the clock shows what fits.

use jiff::tz::TimeZone;

use super::wall::{instant_of, wall, zoned};
use crate::model::{Pattern, TimeOfDay};

const SECOND_MS: i64 = 1_000;

/// How many minutes ahead a pattern without hours is looked for: two hours, since a change of the clocks may leave one out, and
/// one more.
const MINUTES_AHEAD: u32 = 3 * 60;

impl Pattern {
    /// Whether a field of the clock fits.
    fn fits(self, value: u8) -> bool {
        match self {
            Self::Unset | Self::Any => true,
            Self::Exactly(wanted) => value == wanted,
            Self::Every(step) => step != 0 && value.is_multiple_of(step),
        }
    }

    /// A field that was not written is 0 if a coarser one was.
    fn unless_coarser(self, coarser: Self) -> Self {
        match (self, coarser) {
            (Self::Unset, Self::Unset) => Self::Unset,
            (Self::Unset, _) => Self::Exactly(0),
            (written, _) => written,
        }
    }
}

/// The next moment after an instant at which the home's clock fits.
pub fn next_pattern(
    zone: &TimeZone,
    hours: Pattern,
    minutes: Pattern,
    seconds: Pattern,
    after_ms: i64,
) -> Option<i64> {
    let minutes = minutes.unless_coarser(hours);
    let seconds = seconds.unless_coarser(minutes);
    match hours {
        Pattern::Unset | Pattern::Any => next_in_real_time(zone, minutes, seconds, after_ms),
        Pattern::Exactly(_) | Pattern::Every(_) => next_by_wall(zone, hours, minutes, seconds, after_ms),
    }
}

/// No hour is named: every real minute is looked at.
fn next_in_real_time(zone: &TimeZone, minutes: Pattern, seconds: Pattern, after_ms: i64) -> Option<i64> {
    let mut at_ms = after_ms
        .checked_div_euclid(SECOND_MS)?
        .checked_add(1)?
        .checked_mul(SECOND_MS)?;
    for _ in 0..MINUTES_AHEAD {
        let shown = zoned(zone, at_ms);
        let second = u8::try_from(shown.second()).ok()?;
        if minutes.fits(u8::try_from(shown.minute()).ok()?)
            && let Some(fitting) = (second..60).find(|second| seconds.fits(*second))
        {
            return at_ms.checked_add(i64::from(fitting - second) * SECOND_MS);
        }
        at_ms = at_ms.checked_add(i64::from(60 - second) * SECOND_MS)?;
    }
    None
}

/// An hour is named: wall times are looked at in order. Their instants never go backwards, so whole hours and minutes that lie
/// behind are left out.
fn next_by_wall(
    zone: &TimeZone,
    hours: Pattern,
    minutes: Pattern,
    seconds: Pattern,
    after_ms: i64,
) -> Option<i64> {
    let mut date = zoned(zone, after_ms).date().yesterday().ok()?;
    // Yesterday for a gap over midnight; then today, tomorrow, and a day more should a whole day be left out.
    for _ in 0..4 {
        let at = |hour, minute, second| instant_of(zone, wall(date, TimeOfDay { hour, minute, second })?);
        for hour in (0..24).filter(|hour| hours.fits(*hour)) {
            if at(hour, 59, 59)? <= after_ms {
                continue;
            }
            for minute in (0..60).filter(|minute| minutes.fits(*minute)) {
                if at(hour, minute, 59)? <= after_ms {
                    continue;
                }
                for second in (0..60).filter(|second| seconds.fits(*second)) {
                    let due_ms = at(hour, minute, second)?;
                    if due_ms > after_ms {
                        return Some(due_ms);
                    }
                }
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}
