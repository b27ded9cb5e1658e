//! Before and after the sun's rising and setting, today.

use crate::clock::{sun, zoned};
use crate::facts::Facts;
use crate::model::SunEvent;

/// Whether it is after and before what today's sun does. On a day on which it does not, it does not hold; but from sunset to
/// sunrise, where what is missing does not matter if the other is.
pub(super) fn holds(
    facts: &dyn Facts,
    after: Option<(SunEvent, i64)>,
    before: Option<(SunEvent, i64)>,
) -> bool {
    let now_ms = facts.now_ms();
    let home = facts.home();
    let today = zoned(&home.time_zone, now_ms).date();
    let at = |(event, offset_ms): (SunEvent, i64)| sun::on_date(home, event, today)?.checked_add(offset_ms);
    if let (Some(after @ (SunEvent::Sunset, _)), Some(before @ (SunEvent::Sunrise, _))) = (after, before) {
        // The night is before the rising or after the setting of one day.
        return at(before).is_some_and(|rises| now_ms < rises) || at(after).is_some_and(|sets| now_ms > sets);
    }
    let is_after = after.is_none_or(|after| at(after).is_some_and(|at_ms| now_ms >= at_ms));
    let is_before = before.is_none_or(|before| at(before).is_some_and(|at_ms| now_ms <= at_ms));
    is_after && is_before
}
