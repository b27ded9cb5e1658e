//! Zigbee2MQTT: `zigbee2mqtt/bridge/devices` lists all devices with what they expose, `zigbee2mqtt/bridge/groups` the groups.
//!
//! States come on `zigbee2mqtt/NAME` as JSON, commands go to `zigbee2mqtt/NAME/set`.

use serde_json::{Map, Value, json};

use super::{Collected, class, classes, pick, plain, readable};
use crate::component::Component;
use crate::discovery::Told;
use crate::entity::Device;
use crate::limits::{MAX_BRIDGE_BYTES, MAX_COMPONENTS, MAX_DEVICES};
use crate::text::{printed, quoted};

/// Bits of what can be done with a property.
const SET: u64 = 2;

/// Reads the list of devices.
pub(crate) fn devices(base: &str, payload: &[u8]) -> Told {
    let items = match list(payload) {
        Ok(items) => items,
        Err(why) => {
            return Told {
                found: Vec::new(),
                refused: vec![why],
            };
        }
    };
    let mut told = Told::default();
    for item in items.iter().take(MAX_DEVICES) {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let usable = text("type") != Some("Coordinator") && item.get("disabled") != Some(&Value::Bool(true));
        let (Some(address), Some(name), true) = (text("ieee_address"), text("friendly_name"), usable) else {
            continue;
        };
        let definition = item.get("definition").and_then(Value::as_object);
        let Some(exposes) = definition.and_then(|definition| definition.get("exposes")?.as_array()) else {
            continue;
        };
        let of = |key: &str| {
            definition
                .and_then(|definition| definition.get(key)?.as_str())
                .map(str::to_owned)
        };
        let device = Device {
            name: name.to_owned(),
            manufacturer: of("vendor"),
            model: of("model"),
            sw_version: text("software_build_id").map(str::to_owned),
            ..Device::of(&format!("zigbee2mqtt_{address}"))
        };
        let mut read = Exposed::new(base, name, address, &device);
        exposes
            .iter()
            .take(MAX_COMPONENTS)
            .filter_map(Value::as_object)
            .for_each(|expose| read.expose(expose));
        told.found.append(&mut read.collected.found);
        told.refused.append(&mut read.collected.refused);
    }
    told
}

/// Reads the list of groups. A group of which a member is known to be no light is a switch.
pub(crate) fn groups(base: &str, payload: &[u8], is_light: &dyn Fn(&str) -> Option<bool>) -> Told {
    let items = match list(payload) {
        Ok(items) => items,
        Err(why) => {
            return Told {
                found: Vec::new(),
                refused: vec![why],
            };
        }
    };
    let mut told = Told::default();
    for item in items.iter().take(MAX_DEVICES) {
        let (Some(id), Some(name)) = (
            item.get("id").and_then(Value::as_u64),
            item.get("friendly_name").and_then(Value::as_str),
        ) else {
            continue;
        };
        let members = item
            .get("members")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let addresses = members
            .iter()
            .filter_map(|member| member.get("ieee_address")?.as_str());
        let known: Vec<bool> = addresses
            .filter_map(|address| is_light(&format!("zigbee2mqtt_{address}")))
            .collect();
        let lights = known.is_empty() || known.contains(&true);
        let device = Device {
            name: name.to_owned(),
            manufacturer: Some("Zigbee2MQTT".to_owned()),
            model: Some("Group".to_owned()),
            ..Device::of(&format!("zigbee2mqtt_group_{id}"))
        };
        let address = format!("group_{id}");
        let mut read = Exposed::new(base, name, &address, &device);
        let feature =
            |kind: &str, name: &str| json!({ "type": kind, "name": name, "property": name, "access": 7 });
        let state = json!({ "type": "binary", "name": "state", "property": "state", "value_on": "ON", "value_off": "OFF", "access": 7 });
        let whole = if lights {
            json!({ "type": "light", "features": [state, feature("numeric", "brightness"), feature("numeric", "color_temp")] })
        } else {
            json!({ "type": "switch", "features": [state] })
        };
        whole
            .as_object()
            .into_iter()
            .for_each(|expose| read.expose(expose));
        told.found.append(&mut read.collected.found);
        told.refused.append(&mut read.collected.refused);
    }
    told
}

fn list(payload: &[u8]) -> Result<Vec<Value>, String> {
    if payload.len() > MAX_BRIDGE_BYTES {
        return Err(format!("it is longer than {MAX_BRIDGE_BYTES} bytes"));
    }
    match serde_json::from_slice(payload) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(_) => Err("it is not a list".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// One device's exposed things.
struct Exposed<'d> {
    topic: String,
    address: &'d str,
    collected: Collected<'d>,
}

/// A feature of something exposed.
struct Feature<'f> {
    said: &'f Map<String, Value>,
    property: &'f str,
}

impl<'f> Feature<'f> {
    fn of(said: &'f Map<String, Value>) -> Option<Self> {
        let property = said
            .get("property")?
            .as_str()
            .filter(|property| plain(property))?;
        Some(Self { said, property })
    }

    fn name(&self) -> &'f str {
        self.said
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or(self.property)
    }

    fn can_set(&self) -> bool {
        self.said.get("access").and_then(Value::as_u64).unwrap_or(1) & SET != 0
    }

    fn get(&self, key: &str) -> Value {
        self.said.get(key).cloned().unwrap_or(Value::Null)
    }

    fn payload(&self, key: &str, default: &str) -> String {
        self.said.get(key).map_or_else(|| default.to_owned(), printed)
    }
}

impl<'d> Exposed<'d> {
    fn new(base: &str, name: &str, address: &'d str, device: &'d Device) -> Self {
        let topic = format!("{base}/{name}");
        let availability = json!([
            { "topic": format!("{base}/bridge/state"), "value_template": pick(&["state"]) },
            { "topic": format!("{topic}/availability"), "value_template": pick(&["state"]) },
        ]);
        Self {
            topic,
            address,
            collected: Collected::new(device, availability),
        }
    }

    fn add(&mut self, part: &str, component: Component, settings: Value) {
        let unique = format!("{}_{part}_zigbee2mqtt", self.address);
        self.collected.add(part, component, unique, settings);
    }

    /// Where one property is set.
    fn set(&self, property: &str) -> String {
        format!("{}/set/{property}", self.topic)
    }

    fn expose(&mut self, said: &Map<String, Value>) {
        let kind = said.get("type").and_then(Value::as_str).unwrap_or_default();
        let features: Vec<Feature<'_>> = said
            .get("features")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(MAX_COMPONENTS)
            .filter_map(Value::as_object)
            .filter_map(Feature::of)
            .collect();
        let endpoint = said
            .get("endpoint")
            .and_then(Value::as_str)
            .filter(|endpoint| plain(endpoint));
        match kind {
            "light" => self.light(&features, endpoint),
            "switch" => self.switch(&features, endpoint),
            "lock" => self.lock(&features, endpoint),
            "cover" => self.cover(&features, endpoint),
            "fan" => self.fan(&features, endpoint),
            "climate" => self.climate(&features, endpoint),
            _ => {
                if let Some(feature) = Feature::of(said) {
                    self.plain(kind, &feature);
                }
            }
        }
    }

    fn part(kind: &str, endpoint: Option<&str>) -> String {
        endpoint.map_or_else(|| kind.to_owned(), |endpoint| format!("{kind}_{endpoint}"))
    }

    fn light(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let get = |name: &str| features.iter().find(|feature| feature.name() == name);
        let Some(state) = get("state") else { return };
        let brightness = get("brightness");
        let scale = brightness.map_or(json!(254), |feature| match feature.get("value_max") {
            Value::Null => json!(254),
            most => most,
        });
        let temperature = get("color_temp");
        let mut modes = Vec::new();
        modes.extend(temperature.map(|_| "color_temp"));
        modes.extend(get("color_xy").map(|_| "xy"));
        modes.extend(
            get("color_hs")
                .filter(|_| get("color_xy").is_none())
                .map(|_| "hs"),
        );
        if modes.is_empty() {
            modes.push(if brightness.is_some() {
                "brightness"
            } else {
                "onoff"
            });
        }
        let range = |key: &str| temperature.map_or(Value::Null, |feature| feature.get(key));
        let name = endpoint.map_or(Value::Null, |endpoint| json!(format!("Light {endpoint}")));
        let common = json!({
            "name": name,
            "state_topic": self.topic,
            "supported_color_modes": modes,
            "min_mireds": range("value_min"),
            "max_mireds": range("value_max"),
            "brightness_scale": scale,
        });
        let more = if endpoint.is_none() {
            json!({
                "schema": "json",
                "brightness": brightness.is_some(),
                "command_topic": format!("{}/set", self.topic),
            })
        } else {
            let mut more = json!({
                "state_value_template": pick(&[state.property]),
                "command_topic": self.set(state.property),
            });
            if let Some(brightness) = brightness {
                more["brightness_state_topic"] = json!(self.topic);
                more["brightness_value_template"] = json!(pick(&[brightness.property]));
                more["brightness_command_topic"] = json!(self.set(brightness.property));
            }
            if let Some(temperature) = temperature {
                more["color_temp_state_topic"] = json!(self.topic);
                more["color_temp_value_template"] = json!(pick(&[temperature.property]));
                more["color_temp_command_topic"] = json!(self.set(temperature.property));
            }
            more
        };
        self.add(
            &Self::part("light", endpoint),
            Component::Light,
            merged(common, more),
        );
    }

    fn switch(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let Some(state) = features
            .iter()
            .find(|feature| feature.name().starts_with("state"))
        else {
            return;
        };
        let name = endpoint.map_or(Value::Null, |endpoint| json!(format!("Switch {endpoint}")));
        let settings = json!({
            "name": name,
            "state_topic": self.topic,
            "value_template": pick(&[state.property]),
            "command_topic": self.set(state.property),
            "payload_on": state.payload("value_on", "ON"),
            "payload_off": state.payload("value_off", "OFF"),
        });
        self.add(&Self::part("switch", endpoint), Component::Switch, settings);
    }

    fn lock(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let Some(state) = features.iter().find(|feature| feature.name() == "state") else {
            return;
        };
        let (lock, unlock) = (
            state.payload("value_on", "LOCK"),
            state.payload("value_off", "UNLOCK"),
        );
        let settings = json!({
            "name": Value::Null,
            "state_topic": self.topic,
            "value_template": pick(&[state.property]),
            "command_topic": self.set(state.property),
            "payload_lock": lock,
            "payload_unlock": unlock,
            "state_locked": lock,
            "state_unlocked": unlock,
        });
        self.add(&Self::part("lock", endpoint), Component::Lock, settings);
    }

    fn cover(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let get = |name: &str| features.iter().find(|feature| feature.name() == name);
        let mut settings = json!({
            "name": endpoint.map_or(Value::Null, |endpoint| json!(format!("Cover {endpoint}"))),
        });
        if let Some(state) = get("state") {
            settings["command_topic"] = json!(self.set(state.property));
            settings["state_topic"] = json!(self.topic);
            settings["value_template"] = json!(pick(&[state.property]));
            settings["state_open"] = json!("OPEN");
            settings["state_closed"] = json!("CLOSE");
            settings["state_stopped"] = json!("STOP");
        }
        if let Some(position) = get("position") {
            settings["position_topic"] = json!(self.topic);
            settings["position_template"] = json!(pick(&[position.property]));
            settings["set_position_topic"] = json!(self.set(position.property));
        }
        if let Some(tilt) = get("tilt") {
            settings["tilt_status_topic"] = json!(self.topic);
            settings["tilt_status_template"] = json!(pick(&[tilt.property]));
            settings["tilt_command_topic"] = json!(self.set(tilt.property));
        }
        self.add(&Self::part("cover", endpoint), Component::Cover, settings);
    }

    fn fan(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let get = |names: &[&str]| features.iter().find(|feature| names.contains(&feature.name()));
        let Some(state) = get(&["state", "fan_state"]) else {
            return;
        };
        let mut settings = json!({
            "name": Value::Null,
            "state_topic": self.topic,
            "state_value_template": pick(&[state.property]),
            "command_topic": self.set(state.property),
        });
        if let Some(mode) = get(&["mode", "fan_mode"]) {
            settings["preset_mode_state_topic"] = json!(self.topic);
            settings["preset_mode_value_template"] = json!(pick(&[mode.property]));
            settings["preset_mode_command_topic"] = json!(self.set(mode.property));
            settings["preset_modes"] = mode.get("values");
        }
        if let Some(speed) = get(&["speed"]) {
            settings["percentage_state_topic"] = json!(self.topic);
            settings["percentage_value_template"] = json!(pick(&[speed.property]));
            settings["percentage_command_topic"] = json!(self.set(speed.property));
            settings["speed_range_max"] = speed.get("value_max");
        }
        self.add(&Self::part("fan", endpoint), Component::Fan, settings);
    }

    fn climate(&mut self, features: &[Feature<'_>], endpoint: Option<&str>) {
        let get = |names: &[&str]| features.iter().find(|feature| names.contains(&feature.name()));
        let mut settings = json!({ "name": Value::Null });
        if let Some(target) = get(&["occupied_heating_setpoint", "current_heating_setpoint"]) {
            settings["temperature_state_topic"] = json!(self.topic);
            settings["temperature_state_template"] = json!(pick(&[target.property]));
            settings["temperature_command_topic"] = json!(self.set(target.property));
            settings["min_temp"] = target.get("value_min");
            settings["max_temp"] = target.get("value_max");
            settings["temp_step"] = target.get("value_step");
        }
        for (names, stem, list) in [
            (&["system_mode"][..], "mode", "modes"),
            (&["preset"][..], "preset_mode", "preset_modes"),
            (&["fan_mode"][..], "fan_mode", "fan_modes"),
            (&["swing_mode"][..], "swing_mode", "swing_modes"),
        ] {
            let Some(mode) = get(names) else { continue };
            let template = if stem == "preset_mode" {
                "preset_mode_value_template".to_owned()
            } else {
                format!("{stem}_state_template")
            };
            settings[format!("{stem}_state_topic")] = json!(self.topic);
            settings[template] = json!(pick(&[mode.property]));
            settings[format!("{stem}_command_topic")] = json!(self.set(mode.property));
            settings[list] = mode.get("values");
        }
        if let Some(now) = get(&["local_temperature"]) {
            settings["current_temperature_topic"] = json!(self.topic);
            settings["current_temperature_template"] = json!(pick(&[now.property]));
        }
        if let Some(action) = get(&["running_state"]) {
            settings["action_topic"] = json!(self.topic);
            settings["action_template"] = json!(pick(&[action.property]));
        }
        self.add(&Self::part("climate", endpoint), Component::Climate, settings);
    }

    /// A property that stands by itself.
    fn plain(&mut self, kind: &str, feature: &Feature<'_>) {
        let property = feature.property;
        let base = json!({
            "name": readable(property),
            "state_topic": self.topic,
            "value_template": pick(&[property]),
        });
        let command = json!({ "command_topic": self.set(property) });
        match kind {
            "numeric" if feature.can_set() => {
                let range = json!({
                    "min": feature.get("value_min"),
                    "max": feature.get("value_max"),
                    "step": feature.get("value_step"),
                    "unit_of_measurement": feature.get("unit"),
                    "entity_category": "config",
                });
                self.add(property, Component::Number, merged(merged(base, command), range));
            }
            "numeric" => {
                let (class, usual) = class(classes::number(feature.name()));
                let unit = if feature.get("unit").is_null() {
                    usual
                } else {
                    feature.get("unit")
                };
                let state_class = if classes::grows(feature.name()) {
                    "total_increasing"
                } else {
                    "measurement"
                };
                let diagnostic = matches!(feature.name(), "linkquality" | "battery" | "device_temperature");
                let more = json!({
                    "device_class": class,
                    "unit_of_measurement": unit,
                    "state_class": state_class,
                    "entity_category": if diagnostic { json!("diagnostic") } else { Value::Null },
                });
                self.add(property, Component::Sensor, merged(base, more));
            }
            "binary" => {
                let (on, off) = (
                    feature.payload("value_on", "ON"),
                    feature.payload("value_off", "OFF"),
                );
                if feature.can_set() {
                    let more = json!({ "payload_on": on, "payload_off": off, "entity_category": "config" });
                    return self.add(property, Component::Switch, merged(merged(base, command), more));
                }
                let (class, inverted) = classes::binary(feature.name()).unzip();
                // A contact sensor says true while the door is closed, which here is off.
                let said_on = feature.said.get("value_on") != Some(&Value::Bool(false));
                let turned = inverted.unwrap_or(false) && said_on;
                let (on, off) = if turned { (off, on) } else { (on, off) };
                let more = json!({ "payload_on": on, "payload_off": off, "device_class": class });
                self.add(property, Component::BinarySensor, merged(base, more));
            }
            "enum" if feature.name() == "action" => {
                let more = json!({ "event_types": feature.get("values"), "device_class": "button" });
                self.add(property, Component::Event, merged(base, more));
            }
            "enum" if feature.can_set() => {
                let more = json!({ "options": feature.get("values"), "entity_category": "config" });
                self.add(property, Component::Select, merged(merged(base, command), more));
            }
            "text" if feature.can_set() => self.add(property, Component::Text, merged(base, command)),
            "enum" | "text" => self.add(property, Component::Sensor, base),
            "composite" | "list" | "" => {}
            other => {
                let why = format!(
                    "{property}: \"{}\" is no kind of property that is known",
                    quoted(other)
                );
                self.collected.refused.push(why);
            }
        }
    }
}

fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (one, _) => one,
    }
}
