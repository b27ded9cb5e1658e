//! Attributes of an entity that discovery gives and messages do not change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::feeds::speeds;
use crate::colour::mired;
use crate::component::Component;
use crate::config::Config;
use crate::entity::Entity;

/// What Home Assistant takes for the warmest and coldest white of a light that does not say, in kelvin.
const KELVIN: (f64, f64) = (2_000.0, 6_535.0);

/// The preset of a thermostat that follows none.
const NO_PRESET: &str = "none";

/// What a thermostat's fan and flaps can be set to where discovery does not say.
const USUAL_MODES: [(&str, &[&str]); 3] = [
    ("fan_mode", &["auto", "low", "medium", "high"]),
    ("swing_mode", &["on", "off"]),
    ("swing_horizontal_mode", &["on", "off"]),
];

/// Settings that stand among the attributes of every kind under their own name.
const COMMON: &[&str] = &[
    "device_class",
    "icon",
    "entity_picture",
    "unit_of_measurement",
    "state_class",
];

pub(super) fn fixed(entity: &Entity) -> BTreeMap<String, Value> {
    let config = &entity.config;
    let mut out = BTreeMap::from([("friendly_name".to_owned(), Value::from(entity.name.clone()))]);
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    for key in COMMON {
        if let Some(value) = config.get(key) {
            put(key, value.clone());
        }
    }
    if assumed(entity) {
        put("assumed_state", Value::Bool(true));
    }
    let number = |key: &str, default: f64| json!(config.number(key).unwrap_or(default));
    let list = |key: &str| json!(config.list(key));
    match entity.component {
        Component::Light => {
            let mut modes = colour_modes(config);
            modes.sort_unstable();
            if modes.iter().any(|mode| mode == "color_temp") {
                let (least, most) = kelvins(config);
                put("min_color_temp_kelvin", json!(least as i64));
                put("max_color_temp_kelvin", json!(most as i64));
                put("min_mireds", json!(mired(most) as i64));
                put("max_mireds", json!(mired(least) as i64));
            }
            put("supported_color_modes", json!(modes));
            if config.get("effect_list").is_some() {
                put("effect_list", list("effect_list"));
            }
        }
        Component::Climate => {
            put("hvac_modes", json!(hvac_modes(config)));
            for (stem, usual) in USUAL_MODES {
                let has = |what: &str| config.get(&format!("{stem}_{what}_topic")).is_some();
                let key = format!("{stem}s");
                if has("command") || has("state") {
                    let listed = config.get(&key).is_some();
                    put(&key, if listed { list(&key) } else { json!(usual) });
                }
            }
            if config.get("preset_mode_command_topic").is_some() {
                let mut modes = config.list("preset_modes");
                if !modes.is_empty() {
                    modes.insert(0, NO_PRESET.to_owned());
                }
                put("preset_modes", json!(modes));
            }
            put("min_temp", number("min_temp", 7.0));
            put("max_temp", number("max_temp", 35.0));
            put("target_temp_step", number("temp_step", 1.0));
        }
        Component::Fan if config.get("preset_mode_command_topic").is_some() => {
            put("preset_modes", list("preset_modes"));
        }
        Component::Fan if config.get("percentage_command_topic").is_some() => put("preset_modes", json!([])),
        Component::Humidifier => {
            if config.get("modes").is_some() {
                put("available_modes", list("modes"));
            }
            put("min_humidity", number("min_humidity", 0.0));
            put("max_humidity", number("max_humidity", 100.0));
        }
        Component::Number => {
            put("min", number("min", 1.0));
            put("max", number("max", 100.0));
            put("step", number("step", 1.0));
            put("mode", json!(config.text("mode").unwrap_or("auto")));
        }
        Component::Text => {
            put("min", number("min", 0.0));
            put("max", number("max", 255.0));
            put("mode", json!(config.text("mode").unwrap_or("text")));
            put("pattern", json!(config.text("pattern")));
        }
        Component::Select => put("options", list("options")),
        Component::Sensor if config.get("options").is_some() => put("options", list("options")),
        Component::Event => put("event_types", list("event_types")),
        Component::Siren if config.get("available_tones").is_some() => {
            put("available_tones", list("available_tones"))
        }
        Component::Vacuum if config.get("fan_speed_list").is_some() => {
            put("fan_speed_list", list("fan_speed_list"))
        }
        Component::DeviceTracker => put("source_type", json!(config.text("source_type").unwrap_or("gps"))),
        _ => {}
    }
    out
}

/// Attributes that are there while an entity can be reached, as they are until messages tell them.
pub(super) fn blank(entity: &Entity) -> BTreeMap<String, Value> {
    let config = &entity.config;
    let has = |key: &str| config.get(key).is_some();
    let mut out = BTreeMap::new();
    match entity.component {
        Component::Light => {
            let modes = colour_modes(config);
            // Lit in one way only, a light need not say in which.
            let mode = match modes.as_slice() {
                [only] => only,
                _ => "unknown",
            };
            out.insert("color_mode".to_owned(), Value::from(mode));
            let mut put = |keys: &[&str], yes: bool| {
                if yes {
                    out.extend(keys.iter().map(|key| ((*key).to_owned(), Value::Null)));
                }
            };
            let any = |of: &[&str]| modes.iter().any(|mode| of.contains(&mode.as_str()));
            put(&["brightness"], !modes.iter().all(|mode| mode == "onoff"));
            put(&["color_temp_kelvin", "color_temp"], any(&["color_temp"]));
            put(
                &["hs_color", "rgb_color", "xy_color"],
                any(&["color_temp", "hs", "rgb", "rgbw", "rgbww", "xy"]),
            );
            put(&["rgbw_color"], any(&["rgbw"]));
            put(&["rgbww_color"], any(&["rgbww"]));
            let effects =
                has("effect_list") || has("effect_command_topic") || config.flag("effect") == Some(true);
            put(&["effect"], effects);
        }
        Component::Climate if has("preset_mode_command_topic") => {
            out.insert("preset_mode".to_owned(), Value::from(NO_PRESET));
        }
        Component::Fan if has("percentage_command_topic") => {
            let (min, max) = speeds(config);
            let speeds = (max.trunc() - min.trunc() + 1.0).clamp(1.0, 100.0);
            out.insert("percentage_step".to_owned(), json!(100.0 / speeds));
        }
        _ => {}
    }
    out
}

/// Whether a command is taken for done without hearing of it: it is said so, or there is nowhere to hear it.
pub(crate) fn assumed(entity: &Entity) -> bool {
    let config = &entity.config;
    let commands = config.get("command_topic").is_some() || config.get("set_position_topic").is_some();
    let silent = !["state_topic", "position_topic", "mode_state_topic"]
        .iter()
        .any(|key| config.get(key).is_some());
    let stateless = matches!(
        entity.component,
        Component::Button | Component::Scene | Component::Notify
    );
    config
        .flag("optimistic")
        .unwrap_or(commands && silent && !stateless)
}

/// The warmest and coldest white of a light, in kelvin.
pub(crate) fn kelvins(config: &Config) -> (f64, f64) {
    let least = config
        .number("min_kelvin")
        .or_else(|| config.number("max_mireds").map(mired));
    let most = config
        .number("max_kelvin")
        .or_else(|| config.number("min_mireds").map(mired));
    (least.unwrap_or(KELVIN.0), most.unwrap_or(KELVIN.1))
}

/// What a thermostat can be set to.
pub(crate) fn hvac_modes(config: &Config) -> Vec<String> {
    if config.get("modes").is_some() {
        return config.list("modes");
    }
    let usual = ["auto", "off", "cool", "heat", "dry", "fan_only"];
    usual.map(str::to_owned).to_vec()
}

/// In which ways a light can be lit.
pub(crate) fn colour_modes(config: &Config) -> Vec<String> {
    let listed = config.list("supported_color_modes");
    if !listed.is_empty() {
        return listed;
    }
    let json = config.text("schema") == Some("json");
    let template = config.text("schema") == Some("template");
    let has = |key: &str| config.get(key).is_some();
    let says = |key: &str| config.flag(key).unwrap_or(false);
    let mut modes = Vec::new();
    let mut add = |mode: &str, yes: bool| {
        if yes {
            modes.push(mode.to_owned());
        }
    };
    add(
        "color_temp",
        has("color_temp_command_topic")
            || json && says("color_temp")
            || template && has("color_temp_template"),
    );
    add("hs", has("hs_command_topic") || json && says("hs"));
    add(
        "rgb",
        has("rgb_command_topic") || json && says("rgb") || template && has("red_template"),
    );
    add("rgbw", has("rgbw_command_topic"));
    add("rgbww", has("rgbww_command_topic"));
    add("xy", has("xy_command_topic") || json && says("xy"));
    add("white", has("white_command_topic"));
    if modes.is_empty() {
        let dims = has("brightness_command_topic")
            || json && says("brightness")
            || template && has("brightness_template");
        modes.push(if dims { "brightness" } else { "onoff" }.to_owned());
    }
    modes
}
