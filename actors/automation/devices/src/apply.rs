//! What a payload does to what is known of an entity.

mod light;
mod moments;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::{MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES, MAX_STATE_CHARS};
use crate::plan::{Feed, Kind, Plan, Reading, Slot};
use crate::template::{Engine, Payload};
use crate::text::{number, printed, quoted};

/// What an entity's own messages said of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The state; none: not known.
    pub state: Option<String>,
    /// Attributes that messages change.
    pub attributes: BTreeMap<String, Value>,
    /// What the `json_attributes_topic` said last.
    pub extra: Arc<BTreeMap<String, Value>>,
}

/// What came of a payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Taken {
    /// It had nothing to say to the entity.
    Nothing,
    /// What is known is up to date; it may be the same as before.
    Heard,
    /// Something happened: its type and what more was said.
    Happened(String, Map<String, Value>),
}

/// Takes a payload in. What of it could not be used, though the rest was, is put to `faults`.
///
/// # Errors
/// Why nothing of it could be.
pub(crate) fn take(
    feed: &Feed,
    payload: &Payload<'_>,
    plan: &Plan,
    engine: &Engine<'_>,
    known: &mut Known,
    faults: &mut Vec<String>,
) -> Result<Taken, String> {
    let text = match &feed.template {
        Some(template) => match template.value(payload, &plan.variables, engine) {
            Ok(Some(text)) => text,
            Ok(None) | Err(_) if plan.sparse => return Ok(Taken::Nothing),
            Ok(None) => String::new(),
            // Home Assistant takes the payload as it is then; of use is only one that is known.
            Err(why) => match &feed.slot {
                Slot::State(pairs) if pairs.iter().any(|(known, _)| known == payload.text) => {
                    payload.text.to_owned()
                }
                _ => return Err(why),
            },
        },
        None => payload.text.to_owned(),
    };
    match &feed.slot {
        Slot::JsonLight { scale, kelvin } => return light::json(payload, *scale, *kelvin, known),
        Slot::TemplateLight(templates) => {
            return light::template(templates, payload, plan, engine, known, faults);
        }
        Slot::Attributes => return extra(&text, payload, feed.template.is_some(), known),
        _ => {}
    }
    if text.trim().is_empty() && !is_said_by_nothing(&feed.slot) {
        return Ok(Taken::Nothing);
    }
    let nothing = text == "None";
    match &feed.slot {
        Slot::State(_) | Slot::Sensor(_) | Slot::Number | Slot::Position { .. } if nothing => {
            known.state = None;
        }
        Slot::Choice(_) if text.eq_ignore_ascii_case("none") => known.state = None,
        Slot::State(pairs) => match pairs.iter().find(|(payload, _)| *payload == text) {
            Some((_, state)) => known.state = Some((*state).to_owned()),
            None => {
                return Err(unexpected(
                    &text,
                    pairs.iter().map(|(payload, _)| payload.as_str()),
                ));
            }
        },
        Slot::Choice(options) | Slot::Sensor(Reading::Text(options)) => {
            if !options.is_empty() && !options.contains(&text) {
                return Err(unexpected(&text, options.iter().map(String::as_str)));
            }
            known.state = Some(state(&text)?);
        }
        Slot::Text => known.state = Some(state(&text)?),
        Slot::Sensor(Reading::Number) => match number(&text) {
            Some(_) => known.state = Some(state(text.trim())?),
            None => return Err(format!("\"{}\" is not a number", quoted(&text))),
        },
        Slot::Sensor(reading @ (Reading::Moment | Reading::Day)) => {
            known.state = match moments::read(&text, *reading == Reading::Day) {
                Ok(state) => Some(state),
                Err(moments::Unread::NoZone) => {
                    return Err(format!("\"{}\" does not say its time zone", quoted(&text)));
                }
                Err(moments::Unread::NoMoment) => {
                    faults.push(format!("\"{}\" is not a date and time", quoted(&text)));
                    None
                }
            };
        }
        Slot::Number => match number(&text) {
            Some(value) => known.state = Some(printed(&value)),
            None => return Err(format!("\"{}\" is not a number", quoted(&text))),
        },
        Slot::Attribute(name, kind) => {
            let value = match kind {
                _ if nothing => Value::Null,
                Kind::Text => Value::from(state(&text)?),
                Kind::Number => {
                    number(&text).ok_or_else(|| format!("\"{}\" is not a number", quoted(&text)))?
                }
                Kind::Flag(on, off) => match () {
                    () if text == *on => Value::Bool(true),
                    () if text == *off => Value::Bool(false),
                    () => return Err(unexpected(&text, [on.as_str(), off.as_str()])),
                },
            };
            set(known, name, value);
        }
        Slot::Brightness(scale) => light::brightness(&text, *scale, known)?,
        Slot::ColourTemperature(kelvin) => light::temperature(&text, *kelvin, known)?,
        Slot::Colour(space) => light::colour(&text, *space, known)?,
        Slot::Cover {
            states,
            open,
            closed,
            numbers,
        } => {
            return parts::cover(&text, states, (*open, *closed), *numbers, known);
        }
        Slot::Position { open, closed } => return parts::position_or_json(&text, (*open, *closed), known),
        Slot::Tilt { min, max } => {
            let value = parse(&text)?;
            set(known, "current_tilt_position", parts::percent(value, *min, *max));
        }
        Slot::Percentage { min, max } => parts::percentage(&text, *min, *max, known)?,
        Slot::Siren { on, off } => return parts::siren(&text, on, off, known),
        Slot::Event(types) => return parts::event(&text, types),
        Slot::Update => return parts::update(&text, known),
        Slot::LatestVersion => {
            set(known, "latest_version", Value::from(state(&text)?));
            parts::compare_versions(known);
        }
        Slot::Vacuum => return parts::vacuum(&text, known),
        Slot::Place(pairs) => {
            let named = pairs
                .iter()
                .find(|(payload, _)| *payload == text)
                .map(|(_, state)| (*state).to_owned());
            known.state = match named {
                _ if nothing => None,
                Some(named) => Some(named),
                None => Some(state(&text)?),
            };
        }
        Slot::JsonLight { .. } | Slot::TemplateLight(_) | Slot::Attributes => {}
    }
    Ok(Taken::Heard)
}

/// Whether an empty text says something: elsewhere it is what a template prints that found nothing.
fn is_said_by_nothing(slot: &Slot) -> bool {
    match slot {
        Slot::Text | Slot::Sensor(Reading::Moment | Reading::Day) => true,
        Slot::Sensor(Reading::Text(options)) => options.is_empty(),
        _ => false,
    }
}

/// More attributes.
fn extra(text: &str, payload: &Payload<'_>, templated: bool, known: &mut Known) -> Result<Taken, String> {
    let rendered;
    let value = if templated {
        rendered = serde_json::from_str::<Value>(text).ok();
        rendered.as_ref()
    } else {
        payload.json()
    };
    let Some(Value::Object(object)) = value else {
        return Err("attributes have to be a JSON object".to_owned());
    };
    let bytes: usize = object.iter().map(|(key, value)| key.len() + size(value)).sum();
    if object.len() > MAX_ATTRIBUTES || bytes > MAX_ATTRIBUTES_BYTES {
        return Err(format!(
            "{} attributes of {bytes} bytes, at most {MAX_ATTRIBUTES} of {MAX_ATTRIBUTES_BYTES} bytes are kept",
            object.len()
        ));
    }
    let same = known.extra.len() == object.len()
        && object
            .iter()
            .all(|(key, value)| known.extra.get(key) == Some(value));
    if !same {
        known.extra = Arc::new(object.clone().into_iter().collect());
    }
    Ok(Taken::Heard)
}

/// About what a value takes.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 8,
        Value::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        Value::Object(object) => {
            8 + object
                .iter()
                .map(|(key, value)| key.len() + size(value))
                .sum::<usize>()
        }
    }
}

/// A text that is short enough to be a state.
pub(crate) fn state(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_STATE_CHARS {
        return Err(format!("a state is longer than {MAX_STATE_CHARS} characters"));
    }
    Ok(text.to_owned())
}

/// Sets an attribute; null takes it away.
fn set(known: &mut Known, name: &str, value: Value) {
    if value.is_null() {
        known.attributes.remove(name);
    } else if let Some(held) = known.attributes.get_mut(name) {
        *held = value;
    } else {
        known.attributes.insert(name.to_owned(), value);
    }
}

fn parse(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| format!("\"{}\" is not a number", quoted(text)))
}

fn unexpected<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().take(8).collect();
    format!("\"{}\" is none of {}", quoted(text), known.join(", "))
}
