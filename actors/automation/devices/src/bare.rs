//! Devices that speak MQTT without Home Assistant's discovery: what they say of themselves, said in its terms.

mod classes;
pub(crate) mod tasmota;
pub(crate) mod zigbee;

use serde_json::{Value, json};

use crate::component::Component;
use crate::config::Config;
use crate::discovery::{Found, check};
use crate::entity::Device;
use crate::plan::ASSUMED;

/// Collects the entities of a bare device.
struct Collected<'d> {
    device: &'d Device,
    /// Availability topics, and the payloads that say yes and no.
    availability: Value,
    found: Vec<Found>,
    refused: Vec<String>,
}

impl<'d> Collected<'d> {
    fn new(device: &'d Device, availability: Value) -> Self {
        Self {
            device,
            availability,
            found: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Adds an entity. `part` tells it from the device's others and is kept in its unique id.
    fn add(&mut self, part: &str, component: Component, unique: String, settings: Value) {
        let mut config = Config::default();
        if let Value::Object(settings) = settings {
            // A name that is null says that the entity is what the device is.
            config.0 = settings
                .into_iter()
                .filter(|(key, value)| key == "name" || !value.is_null())
                .collect();
        }
        config
            .set("unique_id", unique)
            .set("availability", self.availability.clone());
        config.set("availability_mode", "all").set(ASSUMED, true);
        let found = Found {
            part: format!(
                "{}/{part}",
                self.device.identifiers.first().map_or("", String::as_str)
            ),
            component,
            config,
            device: Some(self.device.clone()),
        };
        match check(&found) {
            Ok(()) => self.found.push(found),
            Err(why) => self
                .refused
                .push(format!("{} of {}: {why}", part, self.device.name)),
        }
    }
}

/// A template that picks a value.
fn pick(path: &[&str]) -> String {
    let steps: String = path.iter().map(|step| format!("['{step}']")).collect();
    format!("{{{{ value_json{steps} }}}}")
}

/// A name of a property as people read it: `battery_low` as `Battery low`.
fn readable(property: &str) -> String {
    crate::component::titled(property)
}

/// Whether a name can stand in a template and a topic.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && !name.contains(['\'', '\\', '/', '+', '#', '{', '}', '\0'])
}

fn class(sensor: Option<(&'static str, Option<&'static str>)>) -> (Value, Value) {
    sensor.map_or((Value::Null, Value::Null), |(class, unit)| {
        (json!(class), json!(unit))
    })
}
