//! Covers, fans, sirens, events, updates and vacuum cleaners.

use serde_json::{Map, Value, json};

use super::{Known, Taken, parse, set, state, unexpected};
use crate::text::{number, printed};

/// A value of a range in per cent.
pub(super) fn percent(value: f64, closed: f64, open: f64) -> Value {
    if open == closed {
        return Value::Null;
    }
    let percent = ((value - closed) / (open - closed) * 100.0)
        .round()
        .clamp(0.0, 100.0);
    json!(percent as i64)
}

/// A cover's or valve's state.
pub(super) fn cover(
    text: &str,
    states: &[(String, &'static str)],
    ends: (f64, f64),
    numbers: bool,
    known: &mut Known,
) -> Result<Taken, String> {
    if text == "None" {
        known.state = None;
        return Ok(Taken::Heard);
    }
    if let Some((_, state)) = states.iter().find(|(payload, _)| payload == text) {
        known.state = Some(match *state {
            // Stopped half way is open; where no position is known, it is what it was.
            "stopped" => match known.attributes.get("current_position").and_then(Value::as_i64) {
                Some(0) => "closed".to_owned(),
                Some(_) => "open".to_owned(),
                None if known
                    .state
                    .as_deref()
                    .is_some_and(|state| state.starts_with("clos")) =>
                {
                    "closed".to_owned()
                }
                None => "open".to_owned(),
            },
            other => other.to_owned(),
        });
        return Ok(Taken::Heard);
    }
    if let Ok(Value::Object(said)) = serde_json::from_str::<Value>(text) {
        if let Some(value) = said.get("position").and_then(|value| number(&printed(value))) {
            position(value.as_f64().unwrap_or_default(), ends, known);
        }
        if let Some(said) = said.get("state").and_then(Value::as_str) {
            return cover(said, states, ends, false, known);
        }
        return Ok(Taken::Heard);
    }
    match number(text).and_then(|value| value.as_f64()) {
        Some(value) if numbers => position(value, ends, known),
        _ => {
            return Err(unexpected(
                text,
                states.iter().map(|(payload, _)| payload.as_str()),
            ));
        }
    }
    Ok(Taken::Heard)
}

/// A cover's position, bare or as JSON with that of its slats.
pub(super) fn position_or_json(text: &str, ends: (f64, f64), known: &mut Known) -> Result<Taken, String> {
    if let Some(value) = number(text).and_then(|value| value.as_f64()) {
        position(value, ends, known);
        return Ok(Taken::Heard);
    }
    let Ok(Value::Object(said)) = serde_json::from_str::<Value>(text) else {
        parse(text)?;
        return Ok(Taken::Nothing);
    };
    if let Some(value) = said.get("position").and_then(Value::as_f64) {
        position(value, ends, known);
    }
    if let Some(value) = said.get("tilt_position").and_then(Value::as_f64) {
        set(known, "current_tilt_position", percent(value, 0.0, 100.0));
    }
    Ok(Taken::Heard)
}

fn position(value: f64, (open, closed): (f64, f64), known: &mut Known) {
    let at = percent(value, closed, open);
    let moving = known.state.as_deref().is_some_and(|state| state.ends_with("ing"));
    let at_end = at == 0 || at == 100;
    if !moving || at_end {
        known.state = Some(if at == 0 { "closed" } else { "open" }.to_owned());
    }
    set(known, "current_position", at);
}

/// A fan's speed.
pub(super) fn percentage(text: &str, min: f64, max: f64, known: &mut Known) -> Result<(), String> {
    if text == "None" {
        set(known, "percentage", Value::Null);
        return Ok(());
    }
    let speed = parse(text)?;
    let at = if speed < min {
        json!(0)
    } else {
        json!(percent_of_speed(speed, min, max))
    };
    set(known, "percentage", at);
    Ok(())
}

/// A speed of a range in per cent: the slowest is more than nothing.
pub(crate) fn percent_of_speed(speed: f64, min: f64, max: f64) -> i64 {
    let steps = (max - min + 1.0).max(1.0);
    ((speed - min + 1.0) / steps * 100.0).floor().clamp(0.0, 100.0) as i64
}

pub(super) fn siren(text: &str, on: &str, off: &str, known: &mut Known) -> Result<Taken, String> {
    let said = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(said)) => said,
        _ => Map::from_iter([("state".to_owned(), Value::from(text))]),
    };
    if let Some(value) = said.get("state") {
        match printed(value) {
            text if text == on => known.state = Some("on".to_owned()),
            text if text == off => known.state = Some("off".to_owned()),
            text if text == "None" => known.state = None,
            text => return Err(unexpected(&text, [on, off])),
        }
    }
    for name in ["tone", "duration", "volume_level"] {
        match said.get(name) {
            Some(value @ (Value::String(_) | Value::Number(_))) if printed(value).len() < 256 => {
                set(known, name, value.clone());
            }
            _ => {}
        }
    }
    Ok(Taken::Heard)
}

pub(super) fn event(text: &str, types: &[String]) -> Result<Taken, String> {
    let mut said = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(said)) => said,
        // Bare devices say nothing but its type, and nothing at all most of the time.
        _ if types.iter().any(|kind| kind == text) => {
            return Ok(Taken::Happened(text.to_owned(), Map::new()));
        }
        _ if text == "None" => return Ok(Taken::Nothing),
        _ => return Err("an event has to be a JSON object with event_type".to_owned()),
    };
    let Some(Value::String(kind)) = said.remove("event_type") else {
        return Err("an event says no event_type".to_owned());
    };
    let kind = state(&kind)?;
    if !types.is_empty() && !types.contains(&kind) {
        return Err(unexpected(&kind, types.iter().map(String::as_str)));
    }
    let bytes = said.iter().map(|(key, value)| key.len() + super::size(value));
    if said.len() > crate::limits::MAX_ATTRIBUTES
        || bytes.sum::<usize>() > crate::limits::MAX_ATTRIBUTES_BYTES
    {
        return Err("an event says more than is kept".to_owned());
    }
    Ok(Taken::Happened(kind, said))
}

pub(super) fn update(text: &str, known: &mut Known) -> Result<Taken, String> {
    let said = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(said)) => said,
        _ => Map::from_iter([("installed_version".to_owned(), Value::from(text))]),
    };
    for name in [
        "installed_version",
        "latest_version",
        "title",
        "release_url",
        "release_summary",
    ] {
        if let Some(value @ (Value::String(_) | Value::Number(_))) = said.get(name) {
            set(
                known,
                name,
                Value::from(printed(value).chars().take(255).collect::<String>()),
            );
        }
    }
    for name in ["in_progress", "update_percentage"] {
        if let Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Null)) = said.get(name) {
            set(known, name, value.clone());
        }
    }
    compare_versions(known);
    Ok(Taken::Heard)
}

/// On: a version other than the installed one can be installed.
pub(super) fn compare_versions(known: &mut Known) {
    let get = |name: &str| known.attributes.get(name).and_then(Value::as_str);
    known.state = match (get("installed_version"), get("latest_version")) {
        (Some(installed), Some(latest)) => Some(if installed == latest { "off" } else { "on" }.to_owned()),
        _ => None,
    };
}

pub(super) fn vacuum(text: &str, known: &mut Known) -> Result<Taken, String> {
    const STATES: [&str; 6] = ["cleaning", "docked", "paused", "idle", "returning", "error"];
    let said = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(said)) => said,
        _ => Map::from_iter([("state".to_owned(), Value::from(text))]),
    };
    match said.get("state") {
        Some(Value::String(name)) if STATES.contains(&name.as_str()) => known.state = Some(name.clone()),
        Some(Value::Null) => known.state = None,
        Some(other) => return Err(unexpected(&printed(other), STATES)),
        None => {}
    }
    if let Some(Value::String(speed)) = said.get("fan_speed") {
        set(known, "fan_speed", Value::from(state(speed)?));
    }
    if let Some(level) = said.get("battery_level").filter(|level| level.is_number()) {
        set(known, "battery_level", level.clone());
    }
    Ok(Taken::Heard)
}
