//! What passes between templates and the rest: JSON, in which times and durations have a shape of their own.

use serde_json::{Map, Value, json};

use crate::facts::EntityState;

/// The key of a mapping that stands for a moment, in Unix milliseconds.
pub(super) const MOMENT: &str = "$moment_ms";

/// The key of a mapping that stands for a duration, in milliseconds.
pub(super) const SPAN: &str = "$span_ms";

/// A moment, which templates see as a date and time: `trigger.now` for instance.
pub fn moment(unix_ms: i64) -> Value {
    json!({ MOMENT: unix_ms })
}

/// A duration, which templates see as a `timedelta`: `trigger.for` for instance.
pub fn span(ms: i64) -> Value {
    json!({ SPAN: ms })
}

/// An entity's state as templates see it in `this`, `trigger.from_state` and `trigger.to_state`.
pub fn state(id: &str, state: &EntityState) -> Value {
    let (domain, object) = id.split_once('.').unwrap_or(("", id));
    let attributes: Map<String, Value> = state.attributes.clone().into_iter().collect();
    let name = match attributes.get("friendly_name") {
        Some(Value::String(name)) => name.clone(),
        _ => object.replace('_', " "),
    };
    json!({
        "entity_id": id,
        "domain": domain,
        "object_id": object,
        "name": name,
        "state": state.state,
        "attributes": attributes,
        "last_changed": moment(state.last_changed_ms),
        "last_updated": moment(state.last_updated_ms),
    })
}

/// Whether a condition's answer is yes: `true`, `yes`, `on`, `enable`, `1` in any case, and numbers other than 0.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => ["true", "yes", "on", "enable", "1"]
            .iter()
            .any(|yes| text.trim().eq_ignore_ascii_case(yes)),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
