//! Times: when a trigger falls due, and what happens then.

use super::{Look, Rule, RuleId, Watch, time_data};
use crate::clock::{self, Kept};
use crate::facts::Facts;
use crate::model::{At, TriggerKind};
use crate::triggers::{Change, Firing};

/// A minute.
pub(super) const MINUTE_MS: i64 = 60_000;

/// Spans in which the last of several missed times is looked for, shortest first: so few of them lie in the first in which there
/// are any that they can be gone through.
const BACKWARDS_MS: [i64; 4] = [
    MINUTE_MS,
    60 * MINUTE_MS,
    24 * 60 * MINUTE_MS,
    8 * 24 * 60 * MINUTE_MS,
];

/// The minute in which an instant lies, since 1970.
pub(super) fn minute_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS)
}

impl Watch {
    /// Sets all times of a trigger, looked for from an instant on.
    pub(super) fn set_timers(&mut self, id: RuleId, since_ms: i64, look: &Look<'_>) {
        let times = match self.rules.get(&id).map(|rule| &rule.trigger.kind) {
            Some(TriggerKind::Time { at, .. }) => at.len(),
            Some(TriggerKind::TimePattern { .. } | TriggerKind::Sun { .. }) => 1,
            _ => 0,
        };
        for which in 0..times {
            self.set_timer(id, which, since_ms, look);
        }
    }

    /// Sets one time of a trigger: the next after an instant.
    pub(super) fn set_timer(&mut self, id: RuleId, which: usize, after_ms: i64, look: &Look<'_>) {
        let Some(rule) = self.rules.get_mut(&id) else {
            return;
        };
        if let Some(due_ms) = rule.due.remove(&which) {
            self.timers.remove(&(due_ms, id, which));
        }
        if let Some(due_ms) = next_due(rule, which, after_ms, &**look.facts) {
            rule.due.insert(which, due_ms);
            self.timers.insert((due_ms, id, which));
        }
    }

    /// Looks at what has fallen due: holds, times, and once a minute the templates that read the time.
    pub fn tick(&mut self, look: &Look<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.due(look, &mut changes);
        changes
    }

    pub(super) fn due(&mut self, look: &Look<'_>, changes: &mut Vec<Change>) {
        self.due_holds(look, changes);
        self.due_timers(look, changes);
        let minute = minute_of(look.facts.now_ms());
        if let Some(last) = self.minute.filter(|last| *last != minute) {
            self.minute = Some(minute);
            for id in self.read_now.clone() {
                let rose_ms = match minute - last {
                    ..=1 => None,
                    _ => self.rose_ms(id, last, look),
                };
                self.look_again(id, None, rose_ms, look, changes);
            }
        }
    }

    fn due_timers(&mut self, look: &Look<'_>, changes: &mut Vec<Change>) {
        let now_ms = look.facts.now_ms();
        while let Some((due_ms, id, which)) = self
            .timers
            .first()
            .filter(|(due_ms, ..)| *due_ms <= now_ms)
            .copied()
        {
            self.timers.pop_first();
            let Some(rule) = self.rules.get_mut(&id) else {
                continue;
            };
            rule.due.remove(&which);
            let last_ms = last_due(rule, which, due_ms, now_ms, &**look.facts);
            if let Some(lateness) = Self::lateness(rule, last_ms, look, changes) {
                let entity = match &rule.trigger.kind {
                    TriggerKind::Time { at, .. } => match at.get(which) {
                        Some(At::Entity { entity, .. }) => Some(entity.0.as_str()),
                        _ => None,
                    },
                    _ => None,
                };
                changes.push(Change::Fire(Firing {
                    slot: rule.slot.clone(),
                    data: time_data(rule, now_ms, entity),
                    due_ms: Some(last_ms),
                    late: lateness.taken(),
                }));
            }
            self.set_timer(id, which, now_ms, look);
        }
    }
}

/// When a trigger's time comes next.
fn next_due(rule: &Rule, which: usize, after_ms: i64, facts: &dyn Facts) -> Option<i64> {
    let home = facts.home();
    match &rule.trigger.kind {
        TriggerKind::Time { at, weekdays } => match at.get(which)? {
            At::TimeOfDay(time) => clock::next_time_of_day(&home.time_zone, *time, *weekdays, after_ms),
            At::Entity { entity, offset_ms } => {
                let before_ms = after_ms.checked_sub(*offset_ms)?;
                let at_ms = match Kept::of(&*facts.entity(&entity.0)?, home)? {
                    Kept::Daily(time) => {
                        clock::next_time_of_day(&home.time_zone, time, *weekdays, before_ms)?
                    }
                    Kept::Once(at_ms) => {
                        let day = clock::days_after_monday(clock::zoned(&home.time_zone, at_ms).date());
                        Some(at_ms).filter(|at_ms| *at_ms > before_ms && weekdays.has(day))?
                    }
                };
                at_ms.checked_add(*offset_ms)
            }
        },
        TriggerKind::TimePattern {
            hours,
            minutes,
            seconds,
        } => clock::next_pattern(&home.time_zone, *hours, *minutes, *seconds, after_ms),
        TriggerKind::Sun { event, offset_ms } => clock::sun::next(home, *event, *offset_ms, after_ms),
        _ => None,
    }
}

/// The last of the times between one that fell due and now.
fn last_due(rule: &Rule, which: usize, due_ms: i64, now_ms: i64, facts: &dyn Facts) -> i64 {
    let next = |after_ms| next_due(rule, which, after_ms, facts).filter(|next_ms| *next_ms <= now_ms);
    let mut last_ms = due_ms;
    for back_ms in BACKWARDS_MS {
        let Some(from_ms) = now_ms.checked_sub(back_ms).filter(|from_ms| *from_ms > last_ms) else {
            break;
        };
        if let Some(found_ms) = next(from_ms) {
            last_ms = found_ms;
            break;
        }
    }
    while let Some(next_ms) = next(last_ms) {
        last_ms = next_ms;
    }
    last_ms
}
