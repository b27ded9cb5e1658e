//! `for:`: holds that begin, end and fall due.

use serde_json::Value;

use super::{Look, Rule, RuleId, Watch, data, hold_id};
use crate::facts::EntityState;
use crate::model::{CatchUp, Span, TriggerKind};
use crate::run::{render_same, span_ms};
use crate::triggers::{Change, Firing, Hold, Lateness, Missed};

/// What a hold begins with.
pub(super) struct Beginning<'b> {
    /// What it is named by.
    pub(super) entity: &'b str,
    /// The entity that it is about.
    pub(super) about: &'b str,
    pub(super) was: Value,
    pub(super) is: Value,
    pub(super) from: Option<&'b EntityState>,
    pub(super) to: Option<&'b EntityState>,
    /// Since when it is so, Unix milliseconds, if that is not now: nobody looked.
    pub(super) since_ms: Option<i64>,
}

impl Watch {
    pub(super) fn put_hold(&mut self, id: RuleId, hold: Hold) {
        let key = (id, hold.id.entity.clone());
        self.take_hold(&key);
        self.hold_times.insert((hold.due_ms, id, hold.id.entity.clone()));
        self.holds.insert(key, hold);
    }

    pub(super) fn take_hold(&mut self, key: &(RuleId, String)) -> Option<Hold> {
        let hold = self.holds.remove(key)?;
        self.hold_times.remove(&(hold.due_ms, key.0, key.1.clone()));
        Some(hold)
    }

    /// Ends a hold, if there is one.
    pub(super) fn end_hold(&mut self, id: RuleId, entity: &str, changes: &mut Vec<Change>) {
        if let Some(hold) = self.take_hold(&(id, entity.to_owned())) {
            changes.push(Change::Forget(hold.id));
        }
    }

    /// What a trigger waited for became so: it fires, or a hold begins.
    pub(super) fn became(
        &mut self,
        id: RuleId,
        held_for: Option<&Span>,
        beginning: Beginning<'_>,
        look: &Look<'_>,
        changes: &mut Vec<Change>,
    ) {
        let Some(rule) = self.rules.get(&id) else { return };
        let held_ms = match held_for {
            None => None,
            Some(span) => {
                let mut variables = (*rule.variables).clone();
                variables.insert("trigger".into(), show(rule, &beginning, None));
                match span_ms(span, look.templates, look.facts, &variables) {
                    Ok(ms) => Some(ms),
                    Err(error) => {
                        changes.push(Change::Log(format!(
                            "how long the trigger {} is to hold: {error}",
                            rule.trigger.id
                        )));
                        return;
                    }
                }
            }
        };
        let since_ms = beginning.since_ms.unwrap_or(look.facts.now_ms());
        match held_ms.filter(|ms| *ms > 0) {
            None => {
                let Some(lateness) = Self::lateness(rule, since_ms, look, changes) else {
                    return;
                };
                changes.push(Change::Fire(Firing {
                    slot: rule.slot.clone(),
                    data: show(rule, &beginning, held_ms),
                    due_ms: beginning.since_ms,
                    late: lateness.taken(),
                }));
            }
            Some(ms) => {
                let hold = Hold {
                    id: hold_id(rule, beginning.entity),
                    since_ms,
                    due_ms: since_ms.saturating_add_unsigned(ms),
                    was: beginning.was,
                    is: beginning.is,
                    about: beginning.about.to_owned(),
                    from: beginning.from.cloned(),
                    to: beginning.to.cloned(),
                };
                changes.push(Change::Keep(hold.clone()));
                self.put_hold(id, hold);
            }
        }
    }

    /// Fires the holds that have fallen due.
    pub(super) fn due_holds(&mut self, look: &Look<'_>, changes: &mut Vec<Change>) {
        if self.holds_wait {
            return;
        }
        let now_ms = look.facts.now_ms();
        while let Some((due_ms, id, entity)) = self
            .hold_times
            .first()
            .filter(|(due_ms, ..)| *due_ms <= now_ms)
            .cloned()
        {
            let Some(hold) = self.take_hold(&(id, entity)) else {
                self.hold_times.pop_first();
                continue;
            };
            changes.push(Change::Forget(hold.id.clone()));
            let Some(rule) = self.rules.get(&id) else { continue };
            let Some(lateness) = Self::lateness(rule, due_ms, look, changes) else {
                continue;
            };
            let late = match lateness {
                Lateness::Late { by_ms, taken } => {
                    if let Err(why) = still_counts(rule, &hold, taken, look) {
                        changes.push(Change::Missed(Missed {
                            slot: rule.slot.clone(),
                            due_ms,
                            by_ms,
                            why,
                        }));
                        continue;
                    }
                    Some((by_ms, taken))
                }
                _ => None,
            };
            let held_ms = u64::try_from(hold.due_ms.saturating_sub(hold.since_ms)).unwrap_or(0);
            changes.push(Change::Fire(Firing {
                slot: rule.slot.clone(),
                data: data::states(
                    &rule.trigger,
                    rule.slot.trigger,
                    &hold.about,
                    hold.from.as_ref(),
                    hold.to.as_ref(),
                    Some(held_ms),
                ),
                due_ms: Some(due_ms),
                late,
            }));
        }
    }
}

fn show(rule: &Rule, beginning: &Beginning<'_>, held_ms: Option<u64>) -> Value {
    data::states(
        &rule.trigger,
        rule.slot.trigger,
        beginning.about,
        beginning.from,
        beginning.to,
        held_ms,
    )
}

/// Whether a hold that is late may be made up for. What changed before it was due had ended it; what changed after had not, but to
/// recheck asks for what is so now.
fn still_counts(rule: &Rule, hold: &Hold, taken: CatchUp, look: &Look<'_>) -> Result<(), String> {
    if matches!(rule.trigger.kind, TriggerKind::Template { .. }) {
        return match (taken, rule.truth) {
            (CatchUp::Recheck, false) => Err(String::from("its policy is recheck, and it is no longer so")),
            _ => Ok(()),
        };
    }
    let entity = look.facts.entity(&hold.about);
    if holds_on(rule, hold, entity.as_deref(), look) {
        return Ok(());
    }
    match (taken, entity) {
        (CatchUp::Recheck, _) => Err(String::from("its policy is recheck, and it is no longer so")),
        (_, Some(entity)) if entity.last_updated_ms >= hold.due_ms => Ok(()),
        _ => Err(String::from("it was no longer so when it fell due")),
    }
}

/// Whether what has to stay is still so.
pub(super) fn holds_on(rule: &Rule, hold: &Hold, entity: Option<&EntityState>, look: &Look<'_>) -> bool {
    let Some(entity) = entity else { return false };
    match &rule.trigger.kind {
        TriggerKind::State {
            attribute, from, to, ..
        } => {
            let value = super::states::value_of(Some(entity), attribute.as_deref());
            // With only `from`, everything but that is as good.
            if from.is_some() && to.is_none() {
                value != hold.was
            } else {
                value == hold.is
            }
        }
        TriggerKind::NumericState { .. } => {
            super::states::in_bounds(rule, &hold.about, entity, look).unwrap_or(false)
        }
        _ => true,
    }
}

/// Whether a value is one of those that were written.
pub(super) fn is_one_of(value: &Value, wanted: &[String]) -> bool {
    !value.is_null() && wanted.iter().any(|wanted| render_same(value, wanted))
}
