//! Numbers between bounds.

use std::sync::Arc;

use serde_json::Value;

use super::{Check, ConditionError};
use crate::facts::EntityState;
use crate::model::{Bound, Template};
use crate::template;

/// Which number has to be where.
pub(crate) struct Numeric<'n> {
    /// Of this attribute; none: the state.
    pub(crate) attribute: Option<&'n str>,
    /// Makes the number; sees `state`.
    pub(crate) value_template: Option<&'n Template>,
    /// More than this.
    pub(crate) above: Option<&'n Bound>,
    /// Less than this.
    pub(crate) below: Option<&'n Bound>,
}

/// Whether an entity's number is between its bounds, which do not belong to what is between them.
pub(crate) fn number_in_bounds(
    check: &Check<'_>,
    id: &str,
    entity: &EntityState,
    numeric: &Numeric<'_>,
) -> Result<bool, ConditionError> {
    let value = match (numeric.value_template, numeric.attribute) {
        (Some(template), _) => {
            let mut variables = check.variables.clone();
            variables.insert("state".into(), template::state(id, entity));
            check
                .templates
                .render(&template.0, Arc::clone(check.facts), &variables)
                .map_err(|error| ConditionError(error.to_string()))?
                .value
        }
        (None, Some(attribute)) => entity
            .attributes
            .get(attribute)
            .cloned()
            .ok_or_else(|| ConditionError(format!("{id} has no attribute {attribute}")))?,
        (None, None) => Value::from(entity.state.as_str()),
    };
    let number =
        number_of(&value).ok_or_else(|| ConditionError(format!("{value} of {id} is not a number")))?;
    if let Some(below) = numeric.below
        && number >= bound(check, below)?
    {
        return Ok(false);
    }
    if let Some(above) = numeric.above
        && number <= bound(check, above)?
    {
        return Ok(false);
    }
    Ok(true)
}

fn bound(check: &Check<'_>, bound: &Bound) -> Result<f64, ConditionError> {
    match bound {
        Bound::Number(number) => Ok(*number),
        Bound::Entity(id) => {
            let entity = check.known(&id.0)?;
            number_of(&Value::from(entity.state.as_str()))
                .ok_or_else(|| ConditionError(format!("{} of {} is not a number", entity.state, id.0)))
        }
    }
}

fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        _ => return None,
    };
    number.is_finite().then_some(number)
}
