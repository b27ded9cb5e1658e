//! Whether conditions hold, by Home Assistant's rules.
//!
//! What cannot be looked at (an entity that is not known, a state that is no number) is an error. It makes the whole not hold,
//! but an `or` in which another holds; so that `not` of something unknown does not hold either. What is switched off is passed
//! over: it counts neither as holding nor as not.

mod number;
mod place;
mod sky;

use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

pub(crate) use self::number::{Numeric, number_in_bounds};
pub(crate) use self::place::{InZone, in_zone};
use super::render::{same, span_ms};
use crate::clock::{Kept, days_after_monday, time_of_day, zoned};
use crate::facts::{EntityState, Facts};
use crate::model::{Condition, ConditionKind, EntityId, Moment, Span, TimeOfDay, Weekdays};
use crate::template::{Templates, truthy};

/// What is needed to look at conditions.
#[derive(Debug, Clone, Copy)]
pub struct Check<'c> {
    /// States, the time, the home.
    pub facts: &'c Arc<dyn Facts>,
    /// Compiled templates.
    pub templates: &'c Templates,
    /// What templates see.
    pub variables: &'c Map<String, Value>,
}

/// Why a condition could not be looked at, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConditionError(pub String);

impl Check<'_> {
    /// Whether all hold. They are looked at in order, until one does not.
    ///
    /// # Errors
    /// What could not be looked at.
    pub fn all(&self, conditions: &[Condition]) -> Result<bool, ConditionError> {
        for condition in conditions.iter().filter(|condition| condition.enabled) {
            if !self.holds(condition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it holds.
    fn holds(&self, condition: &Condition) -> Result<bool, ConditionError> {
        match &condition.kind {
            ConditionKind::And(list) => self.all(list),
            ConditionKind::Or(list) => self.any(list),
            ConditionKind::Not(list) => Ok(!self.any(list)?),
            ConditionKind::State {
                entities,
                any,
                attribute,
                states,
                held_for,
            } => self.state(entities, *any, attribute.as_deref(), states, held_for.as_ref()),
            ConditionKind::NumericState {
                entities,
                attribute,
                value_template,
                above,
                below,
            } => {
                let numeric = Numeric {
                    attribute: attribute.as_deref(),
                    value_template: value_template.as_ref(),
                    above: above.as_ref(),
                    below: below.as_ref(),
                };
                for id in entities {
                    if !number_in_bounds(self, &id.0, &*self.known(&id.0)?, &numeric)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            ConditionKind::Time {
                after,
                before,
                weekdays,
            } => self.time(after.as_ref(), before.as_ref(), *weekdays),
            ConditionKind::Sun { after, before } => Ok(sky::holds(&**self.facts, *after, *before)),
            ConditionKind::Zone { entities, zones } => self.zone(entities, zones),
            ConditionKind::Template(template) => {
                let rendered = self
                    .templates
                    .render(&template.0, Arc::clone(self.facts), self.variables);
                Ok(truthy(
                    &rendered.map_err(|error| ConditionError(error.to_string()))?.value,
                ))
            }
            ConditionKind::Trigger(ids) => {
                let id = self
                    .variables
                    .get("trigger")
                    .and_then(|trigger| trigger.get("id"));
                Ok(id.is_some_and(|id| ids.iter().any(|wanted| same(id, wanted))))
            }
        }
    }

    fn any(&self, conditions: &[Condition]) -> Result<bool, ConditionError> {
        let mut error = None;
        for condition in conditions.iter().filter(|condition| condition.enabled) {
            match self.holds(condition) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(found) => error = error.or(Some(found)),
            }
        }
        error.map_or(Ok(false), Err)
    }

    fn known(&self, id: &str) -> Result<Arc<EntityState>, ConditionError> {
        self.facts
            .entity(id)
            .ok_or_else(|| ConditionError(format!("the entity {id} is not known")))
    }

    fn state(
        &self,
        entities: &[EntityId],
        any: bool,
        attribute: Option<&str>,
        states: &[String],
        held_for: Option<&Span>,
    ) -> Result<bool, ConditionError> {
        let held_ms = held_for
            .map(|span| span_ms(span, self.templates, self.facts, self.variables))
            .transpose()
            .map_err(ConditionError)?;
        let one = |id: &EntityId| {
            let entity = self.known(&id.0)?;
            let is = match attribute {
                None => states
                    .iter()
                    .any(|wanted| self.is_state(&Value::from(entity.state.as_str()), wanted)),
                Some(name) => match entity.attributes.get(name) {
                    None => return Ok(false),
                    Some(value) => states.iter().any(|wanted| self.is_state(value, wanted)),
                },
            };
            let held = held_ms.is_none_or(|held_ms| {
                let since_ms = if attribute.is_none() {
                    entity.last_changed_ms
                } else {
                    entity.last_updated_ms
                };
                let so_far_ms = self.facts.now_ms().saturating_sub(since_ms);
                u64::try_from(so_far_ms).is_ok_and(|so_far_ms| so_far_ms >= held_ms)
            });
            Ok(is && held)
        };
        let mut error = None;
        for id in entities {
            match one(id) {
                Ok(holds) if holds == any => return Ok(any),
                Ok(_) => {}
                Err(found) if any => error = error.or(Some(found)),
                Err(found) => return Err(found),
            }
        }
        error.map_or(Ok(!any), Err)
    }

    /// Whether a value is what was written, or the state of the helper entity whose id was written.
    fn is_state(&self, value: &Value, wanted: &str) -> bool {
        if same(value, wanted) {
            return true;
        }
        wanted.starts_with("input_")
            && self
                .facts
                .entity(wanted)
                .is_some_and(|kept| same(value, &kept.state))
    }

    fn time(
        &self,
        after: Option<&Moment>,
        before: Option<&Moment>,
        weekdays: Weekdays,
    ) -> Result<bool, ConditionError> {
        let now = zoned(&self.facts.home().time_zone, self.facts.now_ms());
        if !weekdays.has(days_after_monday(now.date())) {
            return Ok(false);
        }
        let shown = time_of_day(now.time());
        let after = after.map(|moment| self.moment(moment)).transpose()?;
        let before = before.map(|moment| self.moment(moment)).transpose()?;
        Ok(match (after, before) {
            (None, None) => true,
            (Some(after), None) => after <= shown,
            (None, Some(before)) => shown < before,
            (Some(after), Some(before)) if after < before => after <= shown && shown < before,
            // Over midnight.
            (Some(after), Some(before)) => !(before <= shown && shown < after),
        })
    }

    fn moment(&self, moment: &Moment) -> Result<TimeOfDay, ConditionError> {
        match moment {
            Moment::TimeOfDay(time) => Ok(*time),
            Moment::Entity(id) => Kept::of(&*self.known(&id.0)?, self.facts.home())
                .map(|kept| kept.time_of_day(self.facts.home()))
                .ok_or_else(|| ConditionError(format!("the entity {} does not say a time", id.0))),
        }
    }

    fn zone(&self, entities: &[EntityId], zones: &[EntityId]) -> Result<bool, ConditionError> {
        for id in entities {
            let entity = self.known(&id.0)?;
            let mut inside = false;
            for zone in zones {
                match in_zone(&*self.known(&zone.0)?, &entity) {
                    InZone::Yes => inside = true,
                    InZone::No => {}
                    InZone::Unknown(what) => {
                        return Err(ConditionError(format!("{} or {}: {what}", id.0, zone.0)));
                    }
                }
            }
            if !inside {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
