//! Tasmota: `tasmota/discovery/MAC/config` says what a device has, `…/sensors` what it measures.
//!
//! States come on `tele/TOPIC/STATE`, `tele/TOPIC/SENSOR` and `stat/TOPIC/RESULT` as JSON, commands go to `cmnd/TOPIC/…`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Collected, class, classes, pick, plain};
use crate::component::Component;
use crate::discovery::Told;
use crate::entity::Device;
use crate::limits::{MAX_COMPONENTS, MAX_DISCOVERY_BYTES};
use crate::text::{printed, slug};

/// What a device said of itself so far. Both messages are needed, and come in any order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// `…/config`.
    pub config: Option<Map<String, Value>>,
    /// `…/sensors`.
    pub sensors: Option<Map<String, Value>>,
}

/// A JSON object of a message; none: it is empty, and what it said before is taken back.
pub(crate) fn object(payload: &[u8]) -> Result<Option<Map<String, Value>>, String> {
    if payload.is_empty() {
        return Ok(None);
    }
    if payload.len() > MAX_DISCOVERY_BYTES {
        return Err(format!("it is longer than {MAX_DISCOVERY_BYTES} bytes"));
    }
    match serde_json::from_slice(payload) {
        Ok(Value::Object(said)) => Ok(Some(said)),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// The entities of a device.
pub(crate) fn read(mac: &str, note: &Note) -> Told {
    let Some(config) = &note.config else {
        return Told::default();
    };
    let text = |key: &str| {
        config
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let (Some(topic), Some(full)) = (text("t"), text("ft")) else {
        return Told {
            found: Vec::new(),
            refused: vec!["t and ft are missing: the device's topic, and how topics are made".to_owned()],
        };
    };
    let prefix = |at: usize, usual: &str| {
        let given = config.get("tp").and_then(|prefixes| prefixes.get(at)?.as_str());
        let path = full
            .replace("%prefix%", given.unwrap_or(usual))
            .replace("%topic%", topic);
        path.trim_end_matches('/').to_owned()
    };
    let topics = Topics {
        command: prefix(0, "cmnd"),
        result: prefix(1, "stat"),
        telemetry: prefix(2, "tele"),
    };
    let pairs: String = mac.chars().enumerate().fold(String::new(), |mut out, (at, c)| {
        if at > 0 && at % 2 == 0 {
            out.push(':');
        }
        out.push(c.to_ascii_lowercase());
        out
    });
    let device = Device {
        name: text("dn").unwrap_or(topic).to_owned(),
        connections: vec![("mac".to_owned(), pairs)],
        manufacturer: Some("Tasmota".to_owned()),
        model: text("md").map(str::to_owned),
        sw_version: text("sw").map(str::to_owned),
        ..Device::of(&format!("tasmota_{}", mac.to_ascii_lowercase()))
    };
    let availability = json!([{
        "topic": format!("{}/LWT", topics.telemetry),
        "payload_available": text("onln").unwrap_or("Online"),
        "payload_not_available": text("ofln").unwrap_or("Offline"),
    }]);
    let mut collected = Collected::new(&device, availability);
    relays(config, mac, &topics, &mut collected);
    if let Some(sensors) = note.sensors.as_ref().and_then(|said| said.get("sn")?.as_object()) {
        measurements(sensors, mac, &topics, &mut collected);
    }
    Told {
        found: collected.found,
        refused: collected.refused,
    }
}

struct Topics {
    command: String,
    result: String,
    telemetry: String,
}

/// Relays, lights and shutters.
fn relays(config: &Map<String, Value>, mac: &str, topics: &Topics, collected: &mut Collected<'_>) {
    let kinds: Vec<u64> = config
        .get("rl")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(32)
        .map(|kind| kind.as_u64().unwrap_or(0))
        .collect();
    let option = |number: &str| {
        config
            .get("so")
            .and_then(|options| options.get(number))
            .and_then(Value::as_u64)
            == Some(1)
    };
    let word = |at: usize, usual: &str| {
        config
            .get("state")
            .and_then(|words| words.get(at))
            .map_or_else(|| usual.to_owned(), printed)
    };
    let used = kinds.iter().filter(|kind| **kind != 0).count();
    let device_name = collected.device.name.clone();
    let mut shutters = 0;
    for (at, kind) in kinds.iter().enumerate() {
        let power = if used == 1 {
            "POWER".to_owned()
        } else {
            format!("POWER{}", at + 1)
        };
        let called = config
            .get("fn")
            .and_then(|names| names.get(at))
            .and_then(Value::as_str);
        let name = called.filter(|name| *name != device_name && !name.is_empty());
        let named = match (name, used) {
            (Some(name), _) => json!(name),
            (None, 1) => Value::Null,
            (None, _) => json!(format!("Relay {}", at + 1)),
        };
        let base = json!({
            "name": named,
            "command_topic": format!("{}/{power}", topics.command),
            "state_topic": format!("{}/RESULT", topics.result),
            SECOND: format!("{}/STATE", topics.telemetry),
            "payload_on": word(1, "ON"),
            "payload_off": word(0, "OFF"),
        });
        let number = at + 1;
        match kind {
            1 if !option("30") => {
                let mut settings = base;
                settings["value_template"] = json!(pick(&[&power]));
                collected.add(
                    &format!("switch_{number}"),
                    Component::Switch,
                    format!("{mac}_switch_relay_{number}"),
                    settings,
                );
            }
            1 | 2 => {
                let mut settings = base;
                settings["state_value_template"] = json!(pick(&[&power]));
                let kind = if *kind == 2 {
                    config.get("lt_st").and_then(Value::as_u64).unwrap_or(1)
                } else {
                    0
                };
                light(kind, topics, &mut settings);
                collected.add(
                    &format!("light_{number}"),
                    Component::Light,
                    format!("{mac}_light_light_{number}"),
                    settings,
                );
            }
            3 if kinds[..at].iter().filter(|kind| **kind == 3).count() % 2 == 0 => {
                shutters += 1;
                let shutter = format!("Shutter{shutters}");
                let place = format!("{}/ShutterPosition{shutters}", topics.command);
                let settings = json!({
                    "name": name.map_or_else(|| json!(format!("Shutter {shutters}")), |name| json!(name)),
                    "command_topic": place,
                    "set_position_topic": place,
                    "position_topic": format!("{}/RESULT", topics.result),
                    SECOND: format!("{}/SENSOR", topics.telemetry),
                    "position_template": pick(&[&shutter, "Position"]),
                });
                collected.add(
                    &format!("cover_{shutters}"),
                    Component::Cover,
                    format!("{mac}_cover_shutter_{shutters}"),
                    settings,
                );
            }
            _ => {}
        }
    }
}

/// A second topic on which the same is said.
pub(crate) const SECOND: &str = "jarvis_second_topic";

/// What a light can do: 1 dimmer, 2 white, 3 colour, 4 colour and white, 5 colour and whites.
fn light(kind: u64, topics: &Topics, settings: &mut Value) {
    let state = settings["state_topic"].clone();
    let mut put = |stem: &str, topic: &str, template: String| {
        settings[format!("{stem}_state_topic")] = state.clone();
        settings[format!("{stem}_value_template")] = json!(template);
        settings[format!("{stem}_command_topic")] = json!(format!("{}/{topic}", topics.command));
    };
    if kind >= 1 {
        put("brightness", "Dimmer", pick(&["Dimmer"]));
    }
    if kind == 2 || kind == 5 {
        put("color_temp", "CT", pick(&["CT"]));
    }
    if kind >= 3 {
        put("rgb", "Color2", String::new());
        put("hs", "", pick(&["HSBColor"]));
        if let Some(settings) = settings.as_object_mut() {
            // The colour is told as hue, saturation and brightness, and set as red, green and blue at the same brightness.
            for key in ["rgb_state_topic", "rgb_value_template", "hs_command_topic"] {
                settings.remove(key);
            }
        }
    }
    if kind >= 1 {
        settings["brightness_scale"] = json!(100);
    }
}

/// What `tele/…/SENSOR` tells: one entity for each number or text in it.
fn measurements(sensors: &Map<String, Value>, mac: &str, topics: &Topics, collected: &mut Collected<'_>) {
    let unit = sensors
        .get("TempUnit")
        .and_then(Value::as_str)
        .unwrap_or("C")
        .to_owned();
    let mut open: Vec<(Vec<&str>, &Value)> = sensors
        .iter()
        .rev()
        .map(|(key, value)| (vec![key.as_str()], value))
        .collect();
    while let Some((path, value)) = open.pop() {
        let Some(last) = path.last().copied() else {
            continue;
        };
        if collected.found.len() >= MAX_COMPONENTS || path.len() > 4 || !path.iter().all(|step| plain(step)) {
            continue;
        }
        let shutter = path.first().is_some_and(|first| first.starts_with("Shutter"));
        match value {
            Value::Object(inner) if !shutter => {
                let deeper = inner.iter().rev().map(|(key, value)| {
                    let mut path = path.clone();
                    path.push(key);
                    (path, value)
                });
                open.extend(deeper);
            }
            Value::Number(_) | Value::String(_)
                if !matches!(
                    last,
                    "Time" | "TempUnit" | "Id" | "TotalStartTime" | "PressureUnit"
                ) =>
            {
                let name = path.join(" ");
                let part = slug(&name);
                let base = json!({
                    "name": name,
                    "state_topic": format!("{}/SENSOR", topics.telemetry),
                    "value_template": pick(&path),
                });
                if path.len() == 1 && value.is_string() {
                    collected.add(
                        &part,
                        Component::BinarySensor,
                        format!("{mac}_binary_sensor_{part}"),
                        base,
                    );
                    continue;
                }
                let mut settings = base;
                if value.is_number() {
                    let (class, usual) = class(classes::number(last));
                    settings["unit_of_measurement"] = if class == json!("temperature") {
                        json!(format!("°{unit}"))
                    } else {
                        usual
                    };
                    settings["device_class"] = class;
                    settings["state_class"] = json!(if classes::grows(last) {
                        "total_increasing"
                    } else {
                        "measurement"
                    });
                }
                collected.add(&part, Component::Sensor, format!("{mac}_sensor_{part}"), settings);
            }
            _ => {}
        }
    }
}
