//! What an entity is called, as Home Assistant makes it of what discovery says. [`crate::registry`] asks.

use serde_json::Value;

use crate::component::{Component, titled};
use crate::config::Config;
use crate::text::printed;

/// An entity's names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its own, where it has one beside its device's.
    pub own: Option<String>,
    /// What people see, and what its id is made of.
    pub full: String,
}

/// The names of an entity, of which `device` is the name of its device. An own name that is the device's stays: the door
/// of the device "Door" is "Door Door".
pub(crate) fn named(component: Component, config: &Config, device: Option<&str>) -> Named {
    let own = match config.0.get("name") {
        // Null: it is what the device is.
        Some(Value::Null) => None,
        Some(name) => Some(printed(name)).filter(|name| !name.is_empty()),
        None => Some(unnamed(component, config)),
    };
    let full = match (device, &own) {
        (Some(device), Some(own)) => format!("{device} {own}"),
        (Some(device), None) => device.to_owned(),
        (None, Some(own)) => own.clone(),
        (None, None) => usual(component, config).to_owned(),
    };
    Named { own, full }
}

/// The own name of an entity of which nothing is said.
fn unnamed(component: Component, config: &Config) -> String {
    match config.text("device_class") {
        Some(class) if has_class_names(component, class) => class_name(class),
        _ => usual(component, config).to_owned(),
    }
}

/// What Home Assistant calls what has neither a name nor a class.
fn usual(component: Component, config: &Config) -> &'static str {
    match component {
        Component::AlarmControlPanel => "MQTT Alarm",
        Component::BinarySensor => "MQTT Binary sensor",
        Component::Button => "MQTT Button",
        Component::Climate => "MQTT HVAC",
        Component::Cover => "MQTT Cover",
        Component::DeviceTracker => "MQTT Device tracker",
        Component::Event => "MQTT Event",
        Component::Fan => "MQTT Fan",
        Component::Humidifier => "MQTT Humidifier",
        Component::LawnMower => "MQTT Lawn Mower",
        Component::Light => match config.text("schema") {
            Some("json") => "MQTT JSON Light",
            Some("template") => "MQTT Template Light",
            _ => "MQTT LightEntity",
        },
        Component::Lock => "MQTT Lock",
        Component::Notify => "MQTT notify",
        Component::Number => "MQTT Number",
        Component::Scene => "MQTT Scene",
        Component::Select => "MQTT Select",
        Component::Sensor => "MQTT Sensor",
        Component::Siren => "MQTT Siren",
        Component::Switch => "MQTT Switch",
        Component::Text => "MQTT Text",
        Component::Update => "MQTT Update",
        Component::Vacuum => "MQTT Vacuum",
        Component::Valve => "MQTT Valve",
    }
}

/// Whether an entity without a name is called after its class.
fn has_class_names(component: Component, class: &str) -> bool {
    match component {
        Component::Sensor => class != "enum",
        Component::BinarySensor
        | Component::Number
        | Component::Button
        | Component::Cover
        | Component::Switch
        | Component::Event
        | Component::Update
        | Component::Valve
        | Component::Humidifier => true,
        _ => false,
    }
}

/// A class as a name: its words, but for those that Home Assistant says otherwise.
fn class_name(class: &str) -> String {
    let other = match class {
        "aqi" => "Air quality index",
        "battery_charging" => "Charging",
        "energy_storage" => "Stored energy",
        "monetary" => "Balance",
        "ph" => "pH",
        "pm1" => "PM1",
        "pm10" => "PM10",
        "pm25" => "PM2.5",
        "volume_storage" => "Stored volume",
        other => return titled(other),
    };
    other.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::slug;

    #[track_caller]
    fn check(
        component: Component,
        config: &str,
        device: Option<&str>,
        own: Option<&str>,
        full: &str,
        id: &str,
    ) {
        let config = Config(serde_json::from_str(config).expect("JSON"));
        let named = named(component, &config, device);
        assert_eq!(
            (named.own.as_deref(), named.full.as_str()),
            (own, full),
            "{config:?}"
        );
        assert_eq!(slug(&named.full), id, "{config:?}");
    }

    #[test]
    fn names_are_those_of_home_assistant() {
        use Component::{BinarySensor, Light, Sensor};
        for (component, config, own, full, id) in [
            (
                BinarySensor,
                r#"{"name":"Door"}"#,
                Some("Door"),
                "Door Door",
                "door_door",
            ),
            (BinarySensor, r#"{"name":null}"#, None, "Door", "door"),
            (BinarySensor, r#"{"name":""}"#, None, "Door", "door"),
            (
                BinarySensor,
                r#"{"name":"Tamper"}"#,
                Some("Tamper"),
                "Door Tamper",
                "door_tamper",
            ),
            (
                BinarySensor,
                r#"{"device_class":"garage_door"}"#,
                Some("Garage door"),
                "Door Garage door",
                "door_garage_door",
            ),
            (
                BinarySensor,
                "{}",
                Some("MQTT Binary sensor"),
                "Door MQTT Binary sensor",
                "door_mqtt_binary_sensor",
            ),
            (
                Sensor,
                r#"{"device_class":"pm25"}"#,
                Some("PM2.5"),
                "Door PM2.5",
                "door_pm2_5",
            ),
            (
                Sensor,
                r#"{"device_class":"enum"}"#,
                Some("MQTT Sensor"),
                "Door MQTT Sensor",
                "door_mqtt_sensor",
            ),
            (
                Light,
                r#"{"device_class":"x"}"#,
                Some("MQTT LightEntity"),
                "Door MQTT LightEntity",
                "door_mqtt_lightentity",
            ),
            (
                Light,
                r#"{"schema":"json"}"#,
                Some("MQTT JSON Light"),
                "Door MQTT JSON Light",
                "door_mqtt_json_light",
            ),
            (
                Light,
                r#"{"schema":"template"}"#,
                Some("MQTT Template Light"),
                "Door MQTT Template Light",
                "door_mqtt_template_light",
            ),
        ] {
            check(component, config, Some("Door"), own, full, id);
        }
        check(
            Component::Climate,
            "{}",
            None,
            Some("MQTT HVAC"),
            "MQTT HVAC",
            "mqtt_hvac",
        );
        check(
            Component::Climate,
            r#"{"name":null}"#,
            None,
            None,
            "MQTT HVAC",
            "mqtt_hvac",
        );
        check(Component::Number, r#"{"name":5}"#, None, Some("5"), "5", "5");
    }
}
