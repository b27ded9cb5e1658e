//! Service calls: what was written → which service, for which entities, how.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::render::{render, render_call, text_of};
use super::{Check, Limits, resolve_toggle};
use crate::facts::{Facts, Group};
use crate::model::Data;
use crate::run::limits::weight_of_map;

/// What of a target stands for entities.
const TARGET_KEYS: [&str; 4] = ["entity_id", "device_id", "area_id", "label_id"];

/// What of a light's `toggle` is also for turning it off.
const TURN_OFF_KEYS: [&str; 2] = ["transition", "flash"];

/// What of a service's data is a text, whatever it looks like.
fn texts_of(domain: &str, verb: &str) -> &'static [&'static str] {
    match (domain, verb) {
        ("mqtt", "publish") => &["topic", "payload"],
        ("notify", _) | ("jarvis", "say") => &["message", "title"],
        ("persistent_notification", "create") => &["message", "title", "notification_id"],
        ("logbook", "log") => &["name", "message"],
        ("system_log", "write") => &["message", "logger"],
        ("text" | "input_text", "set_value") => &["value"],
        ("select" | "input_select", "select_option") => &["option"],
        _ => &[],
    }
}

/// What a call comes to: several services if it was a `toggle`.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) target: Map<String, Value>,
    pub(super) parts: Vec<Part>,
    /// Something was named and came to no entity.
    pub(super) misses_all: bool,
}

/// One service for some entities.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) service: String,
    pub(super) entities: Vec<String>,
    pub(super) data: Map<String, Value>,
}

/// Renders and resolves a call. Errors are sentences.
pub(super) fn resolve(
    service: &Data,
    target: &Data,
    data: &Data,
    check: &Check<'_>,
    limits: &Limits,
) -> Result<Resolved, String> {
    let rendered =
        |data: &Data| render(data, check.templates, check.facts, check.variables).map_err(|e| e.to_string());
    let service = text_of(&rendered(service)?).trim().to_owned();
    let Some((domain, verb)) = service
        .split_once('.')
        .filter(|(domain, verb)| !domain.is_empty() && !verb.is_empty())
    else {
        return Err(format!("{service:?} is not a service: write domain.service"));
    };
    let mut target = mapping(rendered(target)?, "target")?;
    let data = render_call(
        data,
        texts_of(domain, verb),
        check.templates,
        check.facts,
        check.variables,
    );
    let mut data = mapping(data.map_err(|error| error.to_string())?, "data")?;
    // In older files the target stands in the data.
    for key in TARGET_KEYS {
        if let Some(moved) = data.remove(key) {
            target.entry(key).or_insert(moved);
        }
    }
    if weight_of_map(&data) + weight_of_map(&target) > limits.data_bytes {
        return Err(format!(
            "the data of {service} is larger than {} bytes",
            limits.data_bytes
        ));
    }

    let entities = entities(&target, domain, &**check.facts)?;
    if entities.len() > limits.entities_per_call {
        return Err(format!(
            "{service} would be for {} entities, more than {}",
            entities.len(),
            limits.entities_per_call
        ));
    }
    let misses_all = entities.is_empty() && target.values().any(|value| !names(value).is_empty());
    let toggles = verb == "toggle";
    let parts = if misses_all || (toggles && entities.is_empty()) {
        Vec::new()
    } else {
        resolve_toggle(&service, &entities, &**check.facts)
            .into_iter()
            .map(|(service, entities)| {
                let mut data = data.clone();
                if toggles && service.ends_with(".turn_off") {
                    data.retain(|key, _| TURN_OFF_KEYS.contains(&key.as_str()));
                }
                Part {
                    service,
                    entities,
                    data,
                }
            })
            .collect()
    };
    Ok(Resolved {
        target,
        parts,
        misses_all,
    })
}

/// The entities that a target comes to, each once, in the order in which they were named. Of a device, area or label, those
/// that the service is for.
fn entities(target: &Map<String, Value>, domain: &str, facts: &dyn Facts) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |id: String| {
        if seen.insert(id.clone()) {
            found.push(id);
        }
    };
    let is_for =
        |id: &str| domain == "homeassistant" || id.split_once('.').is_some_and(|(own, _)| own == domain);
    for key in TARGET_KEYS {
        let Some(value) = target.get(key) else { continue };
        for name in names(value) {
            let group = match key {
                "device_id" => Group::Device(&name),
                "area_id" => Group::Area(&name),
                "label_id" => Group::Label(&name),
                _ => {
                    match name.as_str() {
                        "none" => {}
                        "all" => {
                            let of = (domain != "homeassistant").then_some(domain);
                            facts.entities(of).into_iter().for_each(|(id, _)| add(id));
                        }
                        id if id
                            .split_once('.')
                            .is_some_and(|(own, object)| !own.is_empty() && !object.is_empty()) =>
                        {
                            add(id.to_owned());
                        }
                        other => return Err(format!("{other:?} is not an entity: write domain.object")),
                    }
                    continue;
                }
            };
            facts
                .members(group)
                .into_iter()
                .filter(|id| is_for(id))
                .for_each(&mut add);
        }
    }
    Ok(found)
}

/// One name, several with commas, or a list of them.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(names).collect(),
        Value::Null => Vec::new(),
        other => text_of(other)
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
    }
}

/// A mapping; nothing is an empty one.
pub(super) fn mapping(value: Value, what: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        Value::String(text) if text.trim().is_empty() => Ok(Map::new()),
        other => Err(format!("{what} has to be a mapping, not {other}")),
    }
}
