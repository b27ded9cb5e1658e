//! Reads Home Assistant's discovery: `homeassistant/light/kitchen/config` and its kind, and messages for whole devices.

mod abbreviations;
mod check;
mod device;

use serde_json::{Map, Value};

use crate::component::{Component, IGNORED};
use crate::config::Config;
use crate::entity::Device;
use crate::limits::{MAX_COMPONENTS, MAX_DISCOVERY_BYTES};
use crate::text::{nearest, quoted};
use abbreviations::{KNOWN, SETTINGS, full};

pub(crate) use check::check;
pub(crate) use device::read as read_device;

/// Who publishes what must not be read again: ourselves.
pub(crate) const OWN_ORIGIN: &str = "Jarvis";

/// An entity that a message tells of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Which part of the message; empty where it tells of one entity only.
    pub part: String,
    /// Its kind.
    pub component: Component,
    /// Its settings.
    pub config: Config,
    /// The device that it is part of.
    pub device: Option<Device>,
}

/// What a message told: entities, and parts that were refused, each with the reason.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Entities.
    pub found: Vec<Found>,
    /// What is wrong with the rest.
    pub refused: Vec<String>,
}

impl Told {
    fn refused(why: impl Into<String>) -> Self {
        Self {
            found: Vec::new(),
            refused: vec![why.into()],
        }
    }
}

/// Whether a topic is one of discovery, and of what.
pub(crate) fn component_of<'t>(prefix: &str, topic: &'t str) -> Option<&'t str> {
    let rest = topic
        .strip_prefix(prefix)?
        .strip_prefix('/')?
        .strip_suffix("/config")?;
    let mut levels = rest.split('/');
    let component = levels.next()?;
    let ids: Vec<&str> = levels.collect();
    let plain = |id: &&str| {
        !id.is_empty()
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    ((1..=2).contains(&ids.len()) && ids.iter().all(plain)).then_some(component)
}

/// Reads a message on a topic of which [`component_of`] said `component`.
pub(crate) fn read(component: &str, payload: &[u8]) -> Told {
    if payload.is_empty() || IGNORED.contains(&component) {
        return Told::default();
    }
    if payload.len() > MAX_DISCOVERY_BYTES {
        return Told::refused(format!("it is longer than {MAX_DISCOVERY_BYTES} bytes"));
    }
    let said = match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(said)) => said,
        Ok(_) => return Told::refused("it is not a JSON object"),
        Err(error) => return Told::refused(format!("it is not JSON: {error}")),
    };
    let said = written_out(said);
    if is_own(&said) {
        return Told::default();
    }
    if component == "device" {
        return device_based(said);
    }
    let Some(component) = Component::of(component) else {
        let known = Component::ALL.iter().map(|component| component.name());
        let near = nearest(component, known).map(|near| format!("; did you mean {near}?"));
        return Told::refused(format!(
            "\"{}\" is no kind of entity{}",
            quoted(component),
            near.unwrap_or_default()
        ));
    };
    match entity(String::new(), component, said) {
        Ok(found) => Told {
            found: vec![found],
            refused: Vec::new(),
        },
        Err(why) => Told::refused(why),
    }
}

fn is_own(said: &Map<String, Value>) -> bool {
    let origin = said.get("origin").and_then(Value::as_object);
    origin.is_some_and(|origin| origin.get("name").and_then(Value::as_str) == Some(OWN_ORIGIN))
}

/// One message for a device and all its entities. What stands beside the components holds for each of them.
fn device_based(mut said: Map<String, Value>) -> Told {
    let Some(Value::Object(components)) = said.remove("components") else {
        return Told::refused("components is missing: an object with one entry for each entity");
    };
    if said.get("device").is_none() {
        return Told::refused("device is missing");
    }
    if components.len() > MAX_COMPONENTS {
        return Told::refused(format!(
            "{} components, at most {MAX_COMPONENTS} are read",
            components.len()
        ));
    }
    let mut told = Told::default();
    for (part, component) in components {
        let Value::Object(component) = component else {
            told.refused
                .push(format!("component \"{}\" is not an object", quoted(&part)));
            continue;
        };
        let own = written_out(component);
        let Some(platform) = own.get("platform").and_then(Value::as_str).map(str::to_owned) else {
            told.refused
                .push(format!("component \"{}\" has no platform", quoted(&part)));
            continue;
        };
        // Nothing but the platform takes the component away; what Home Assistant knows and we do not is passed over.
        if own.len() == 1 || IGNORED.contains(&platform.as_str()) {
            continue;
        }
        let mut all = said.clone();
        all.extend(own);
        let read = match Component::of(&platform) {
            None => Err(format!("\"{}\" is no kind of entity", quoted(&platform))),
            Some(_) if all.get("unique_id").is_none() => Err("unique_id is missing".to_owned()),
            Some(component) => entity(part.clone(), component, all),
        };
        match read {
            Ok(found) => told.found.push(found),
            Err(why) => told
                .refused
                .push(format!("component \"{}\": {why}", quoted(&part))),
        }
    }
    told
}

/// Full names for short ones.
fn written_out(said: Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in said {
        let name = full(SETTINGS, &key).to_owned();
        let value = match (name.as_str(), value) {
            ("availability", Value::Array(entries)) => entries
                .into_iter()
                .map(|entry| match entry {
                    Value::Object(entry) => Value::Object(written_out(entry)),
                    other => other,
                })
                .collect(),
            ("availability", Value::Object(entry)) => Value::Object(written_out(entry)),
            (_, value) => value,
        };
        out.insert(name, value);
    }
    out
}

fn entity(part: String, component: Component, mut said: Map<String, Value>) -> Result<Found, String> {
    if let Some(base) = said.remove("~") {
        let Value::String(base) = base else {
            return Err("~ is not a text".to_owned());
        };
        put_base(&mut said, &base);
    }
    let device = match said.remove("device") {
        Some(Value::Null) | None => None,
        Some(Value::Object(device)) => Some(read_device(&device)?),
        Some(_) => return Err("device is not an object".to_owned()),
    };
    // As in Home Assistant, what has no id of its own is no part of a device.
    let device = device.filter(|_| {
        said.get("unique_id")
            .is_some_and(|unique| !unique.is_null() && unique != "")
    });
    let config = said
        .into_iter()
        .filter(|(key, _)| KNOWN.binary_search(&key.as_str()).is_ok())
        .collect();
    let found = Found {
        part,
        component,
        config: Config(config),
        device,
    };
    check(&found)?;
    Ok(found)
}

/// Puts the base in the place of `~` at either end of topics.
fn put_base(said: &mut Map<String, Value>, base: &str) {
    for (key, value) in said.iter_mut() {
        match value {
            Value::String(topic) if key.ends_with("topic") => {
                if let Some(rest) = topic.strip_prefix('~') {
                    *topic = format!("{base}{rest}");
                } else if let Some(rest) = topic.strip_suffix('~') {
                    *topic = format!("{rest}{base}");
                }
            }
            Value::Array(entries) if key == "availability" => {
                for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                    put_base(entry, base);
                }
            }
            Value::Object(entry) if key == "availability" => put_base(entry, base),
            _ => {}
        }
    }
}
