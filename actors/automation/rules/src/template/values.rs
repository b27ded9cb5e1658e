//! What passes between templates and the rest: JSON, in which times and durations have a shape of their own.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::session::Session;
use super::time;
use crate::facts::EntityState;

/// The key of a mapping that stands for a moment, in Unix milliseconds.
pub(super) const MOMENT: &str = "$moment_ms";

/// The same, told by UTC's clock: Home Assistant tells so when a state changed.
pub(super) const MOMENT_UTC: &str = "$moment_utc_ms";

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
        "last_changed": { MOMENT_UTC: state.last_changed_ms },
        "last_updated": { MOMENT_UTC: state.last_updated_ms },
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

/// What a message that triggered something says, if that is JSON. It is read where somebody looks, so that a run does not keep
/// its message twice.
fn payload_json(trigger: &Map<String, Value>) -> Option<Value> {
    let is_message = trigger.get("platform").and_then(Value::as_str) == Some("mqtt");
    let payload = trigger.get("payload").filter(|_| is_message)?;
    serde_json::from_str(payload.as_str()?).ok()
}

/// JSON as templates see it.
pub(super) fn to_template(value: &Value, session: &Arc<Session>) -> minijinja::Value {
    match value {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(truth) => minijinja::Value::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => minijinja::Value::from(number),
            (_, Some(number), _) => minijinja::Value::from(number),
            (_, _, number) => minijinja::Value::from(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => minijinja::Value::from(text.as_str()),
        Value::Array(items) => items.iter().map(|item| to_template(item, session)).collect(),
        Value::Object(map) => {
            if let (1, Some((key, inner))) = (map.len(), map.iter().next()) {
                match (key.as_str(), inner.as_i64()) {
                    (MOMENT, Some(ms)) => return time::Moment::of_ms(ms, session).into_value(),
                    (MOMENT_UTC, Some(ms)) => return time::Moment::utc_of_ms(ms).into_value(),
                    (SPAN, Some(ms)) => return time::Span::of_ms(ms).into_value(),
                    _ => {}
                }
            }
            let pairs = map
                .iter()
                .map(|(key, value)| (key.as_str(), to_template(value, session)));
            let json = payload_json(map).map(|json| ("payload_json", to_template(&json, session)));
            minijinja::Value::from_pairs(pairs.chain(json))
        }
    }
}
