//! Whether what discovery says of an entity can be used.

use serde_json::Value;

use super::Found;
use crate::apply::size;
use crate::component::Component;
use crate::config::Config;
use crate::limits::{MAX_CONFIG_BYTES, MAX_LIST, MAX_NAME_BYTES};
use crate::text::quoted;
use crate::topic::{is_filter, is_topic};

/// What a light can be lit in.
const COLOUR_MODES: &[&str] = &[
    "onoff",
    "brightness",
    "color_temp",
    "hs",
    "rgb",
    "rgbw",
    "rgbww",
    "white",
    "xy",
];

/// Checks what does not need templates to be parsed.
pub(crate) fn check(found: &Found) -> Result<(), String> {
    let config = &found.config;
    let bytes: usize = config.0.iter().map(|(key, value)| key.len() + size(value)).sum();
    if bytes > MAX_CONFIG_BYTES {
        return Err(format!(
            "it comes to {bytes} bytes, at most {MAX_CONFIG_BYTES} are kept"
        ));
    }
    for key in required(found.component, config) {
        if config.get(key).is_none() {
            return Err(format!(
                "{key} is missing, which a {} needs",
                found.component.name()
            ));
        }
    }
    for (key, value) in &config.0 {
        setting(key, value).map_err(|why| format!("{key} {why}"))?;
    }
    for key in [
        "unique_id",
        "name",
        "object_id",
        "default_entity_id",
        "unit_of_measurement",
    ] {
        let fits = match config.get(key) {
            None => true,
            Some(Value::String(text)) => text.len() <= MAX_NAME_BYTES,
            Some(other) => other.is_number(),
        };
        if !fits {
            return Err(format!("{key} is not a text of at most {MAX_NAME_BYTES} bytes"));
        }
    }
    if found.component == Component::Light {
        light(config)?;
    }
    for (low, high) in [
        ("min", "max"),
        ("min_temp", "max_temp"),
        ("min_humidity", "max_humidity"),
    ] {
        if let (Some(least), Some(most)) = (config.number(low), config.number(high))
            && least > most
        {
            return Err(format!("{low} is above {high}"));
        }
    }
    Ok(())
}

fn required(component: Component, config: &Config) -> &'static [&'static str] {
    match component {
        Component::BinarySensor | Component::Sensor => &["state_topic"],
        Component::Event => &["state_topic", "event_types"],
        Component::Light if config.text("schema") == Some("template") => {
            &["command_topic", "command_on_template", "command_off_template"]
        }
        Component::Select => &["command_topic", "options"],
        Component::Humidifier => &["command_topic", "target_humidity_command_topic"],
        Component::AlarmControlPanel => &["command_topic", "state_topic"],
        Component::Light
        | Component::Switch
        | Component::Fan
        | Component::Lock
        | Component::Button
        | Component::Notify
        | Component::Number
        | Component::Scene
        | Component::Siren
        | Component::Text => &["command_topic"],
        _ => &[],
    }
}

fn setting(key: &str, value: &Value) -> Result<(), String> {
    match value {
        // A scene's topic may be anything that ends so; null takes a setting away.
        Value::Null => Ok(()),
        _ if key.ends_with("topic") => {
            let commands = key.contains("command") || key.starts_with("set_");
            match value {
                Value::String(topic) if topic.is_empty() => Ok(()),
                Value::String(topic) if commands && is_topic(topic) => Ok(()),
                Value::String(filter) if !commands && is_filter(filter) => Ok(()),
                Value::String(wrong) => Err(format!("is no topic: \"{}\"", quoted(wrong))),
                _ => Err("is not a text".to_owned()),
            }
        }
        _ if key.ends_with("template") && !value.is_string() => Err("is not a text".to_owned()),
        Value::Array(items) if items.len() > MAX_LIST => Err(format!(
            "has {} entries, at most {MAX_LIST} are kept",
            items.len()
        )),
        Value::Array(entries) if key == "availability" => entries
            .iter()
            .filter_map(|entry| entry.get("topic"))
            .try_for_each(|topic| setting("topic", topic)),
        Value::Object(entry) if key == "availability" => {
            entry.get("topic").map_or(Ok(()), |topic| setting("topic", topic))
        }
        _ => Ok(()),
    }
}

fn light(config: &Config) -> Result<(), String> {
    match config.get("schema").map(|schema| schema.as_str().unwrap_or("")) {
        None | Some("basic" | "default" | "json" | "template") => {}
        Some(other) => {
            return Err(format!(
                "schema \"{}\" is none of basic, json, template",
                quoted(other)
            ));
        }
    }
    match config
        .list("supported_color_modes")
        .iter()
        .find(|mode| !COLOUR_MODES.contains(&mode.as_str()))
    {
        Some(wrong) => Err(format!(
            "supported_color_modes: \"{}\" is none of {}",
            quoted(wrong),
            COLOUR_MODES.join(", ")
        )),
        None => Ok(()),
    }
}
