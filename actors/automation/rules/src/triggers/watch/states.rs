//! States, attributes, numbers and zones.

use serde_json::Value;

use super::holds::{Beginning, holds_on, is_one_of};
use super::{Look, Rule, RuleId, Watch, data};
use crate::facts::EntityState;
use crate::model::{At, TriggerKind, ZoneEvent};
use crate::run::conditions::{ConditionError, InZone, Numeric, in_zone, number_in_bounds};
use crate::triggers::{Change, Firing};

/// A change of one entity.
#[derive(Clone, Copy)]
pub(super) struct Changed<'c> {
    pub(super) entity: &'c str,
    pub(super) old: Option<&'c EntityState>,
    pub(super) new: Option<&'c EntityState>,
}

impl Watch {
    /// Remembers which entities are out of bounds, so that they fire when they come within.
    pub(super) fn arm(&mut self, id: RuleId, look: &Look<'_>) {
        let Some(rule) = self.rules.get_mut(&id) else {
            return;
        };
        let TriggerKind::NumericState { entities, .. } = &rule.trigger.kind else {
            return;
        };
        let out = entities.iter().filter(|id| {
            let entity = look.facts.entity(&id.0);
            entity.is_some_and(|entity| matches!(in_bounds(rule, &id.0, &entity, look), Ok(false)))
        });
        rule.armed = out.map(|id| id.0.clone()).collect();
    }

    /// Looks at one trigger that an entity's change is for.
    pub(super) fn changed(
        &mut self,
        id: RuleId,
        change: Changed<'_>,
        look: &Look<'_>,
        changes: &mut Vec<Change>,
    ) {
        let key = (id, change.entity.to_owned());
        if let (Some(rule), Some(hold)) = (self.rules.get(&id), self.holds.get(&key))
            && !holds_on(rule, hold, change.new, look)
        {
            self.end_hold(id, change.entity, changes);
        }
        let Some(rule) = self.rules.get(&id) else { return };
        match &rule.trigger.kind {
            TriggerKind::State { .. } => self.state(id, change, look, changes),
            TriggerKind::NumericState { .. } => self.number(id, change, look, changes),
            TriggerKind::Zone { .. } => zone(rule, change, look, changes),
            TriggerKind::Time { at, .. } => {
                let moved = at.iter().enumerate().filter_map(|(which, at)| match at {
                    At::Entity { entity, .. } if entity.0 == change.entity => Some(which),
                    _ => None,
                });
                for which in moved.collect::<Vec<_>>() {
                    self.set_timer(id, which, look.facts.now_ms(), look);
                }
            }
            _ => {}
        }
    }

    fn state(&mut self, id: RuleId, change: Changed<'_>, look: &Look<'_>, changes: &mut Vec<Change>) {
        let Some(rule) = self.rules.get(&id) else { return };
        let TriggerKind::State {
            attribute,
            from,
            not_from,
            to,
            not_to,
            held_for,
            ..
        } = &rule.trigger.kind
        else {
            return;
        };
        let was = value_of(change.old, attribute.as_deref());
        let is = value_of(change.new, attribute.as_deref());
        // With nothing written about the state, a change of any attribute counts.
        let all_count = from.is_none() && to.is_none() && not_from.is_empty() && not_to.is_empty();
        if was == is && (attribute.is_some() || !all_count) {
            return;
        }
        let fits = |value: &Value, wanted: Option<&Vec<String>>, unwanted: &[String]| {
            wanted.is_none_or(|wanted| wanted.is_empty() || is_one_of(value, wanted))
                && !is_one_of(value, unwanted)
        };
        if !fits(&was, from.as_ref(), not_from) || !fits(&is, to.as_ref(), not_to) {
            return;
        }
        // It was so already and is: the hold goes on.
        if self.holds.contains_key(&(id, change.entity.to_owned())) {
            return;
        }
        let held_for = held_for.clone();
        let beginning = Beginning {
            entity: change.entity,
            about: change.entity,
            was,
            is,
            from: change.old,
            to: change.new,
            since_ms: None,
        };
        self.became(id, held_for.as_ref(), beginning, look, changes);
    }

    fn number(&mut self, id: RuleId, change: Changed<'_>, look: &Look<'_>, changes: &mut Vec<Change>) {
        let Some(rule) = self.rules.get_mut(&id) else {
            return;
        };
        let TriggerKind::NumericState { held_for, .. } = &rule.trigger.kind else {
            return;
        };
        let Some(new) = change.new else { return };
        let within = match in_bounds(rule, change.entity, new, look) {
            Ok(within) => within,
            Err(ConditionError(error)) => {
                // What is known to be away for a while is no fault of the automation.
                if !matches!(new.state.as_str(), "unavailable" | "unknown") {
                    changes.push(Change::Log(format!("the trigger {}: {error}", rule.trigger.id)));
                }
                return;
            }
        };
        if !within {
            if rule.armed.insert(change.entity.to_owned()) {
                changes.push(Change::Rearmed);
            }
            return;
        }
        if !rule.armed.remove(change.entity) {
            return;
        }
        let held_for = held_for.clone();
        let beginning = Beginning {
            entity: change.entity,
            about: change.entity,
            was: value_of(change.old, None),
            is: value_of(change.new, None),
            from: change.old,
            to: change.new,
            since_ms: None,
        };
        self.became(id, held_for.as_ref(), beginning, look, changes);
    }
}

fn zone(rule: &Rule, change: Changed<'_>, look: &Look<'_>, changes: &mut Vec<Change>) {
    let TriggerKind::Zone { zone, event, .. } = &rule.trigger.kind else {
        return;
    };
    let (Some(zone), Some(new)) = (look.facts.entity(&zone.0), change.new) else {
        return;
    };
    // Where it is not known where somebody is, nobody comes or goes.
    let is_in = match in_zone(&zone, new) {
        InZone::Yes => true,
        InZone::No => false,
        InZone::Unknown(_) => return,
    };
    let was_in = match change.old.map(|old| in_zone(&zone, old)) {
        Some(InZone::Yes) => true,
        None | Some(InZone::No) => false,
        Some(InZone::Unknown(_)) => return,
    };
    let fires = match event {
        ZoneEvent::Enter => !was_in && is_in,
        ZoneEvent::Leave => was_in && !is_in,
    };
    if fires {
        changes.push(Change::Fire(Firing {
            slot: rule.slot.clone(),
            data: data::states(
                &rule.trigger,
                rule.slot.trigger,
                change.entity,
                change.old,
                change.new,
                None,
            ),
            due_ms: None,
            late: None,
        }));
    }
}

/// The state, or an attribute; null where there is none.
pub(super) fn value_of(entity: Option<&EntityState>, attribute: Option<&str>) -> Value {
    match (entity, attribute) {
        (None, _) => Value::Null,
        (Some(entity), None) => Value::from(entity.state.as_str()),
        (Some(entity), Some(name)) => entity.attributes.get(name).cloned().unwrap_or(Value::Null),
    }
}

/// Whether an entity's number is within a trigger's bounds.
pub(super) fn in_bounds(
    rule: &Rule,
    id: &str,
    entity: &EntityState,
    look: &Look<'_>,
) -> Result<bool, ConditionError> {
    let TriggerKind::NumericState {
        attribute,
        value_template,
        above,
        below,
        ..
    } = &rule.trigger.kind
    else {
        return Ok(false);
    };
    let numeric = Numeric {
        attribute: attribute.as_deref(),
        value_template: value_template.as_ref(),
        above: above.as_ref(),
        below: below.as_ref(),
    };
    number_in_bounds(&rule.check(look), id, entity, &numeric)
}
