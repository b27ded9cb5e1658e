//! Devices and entities as data.

use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::config::Config;

/// What an entity or a part of a device was discovered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The topic whose message told of it.
    pub topic: String,
    /// Which part of that message; empty where it told of one entity only.
    pub part: String,
}

/// One thing that has a state or takes commands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// `light.kitchen`.
    pub id: String,
    /// Its kind.
    pub component: Component,
    /// What whoever publishes it calls it; the id stays with it.
    pub unique_id: Option<String>,
    /// What people call it: the device's name and its own.
    pub name: String,
    /// Its own name, where it has one beside the device's.
    pub own_name: Option<String>,
    /// The device that it is part of, by id.
    pub device: Option<String>,
    /// What told of it.
    pub origin: Origin,
    /// What was told.
    pub config: Config,
}

/// What several entities are parts of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Made of its first identifier.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What whoever publishes it calls it.
    pub identifiers: Vec<String>,
    /// Kind of address and address.
    pub connections: Vec<(String, String)>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// Its firmware.
    pub sw_version: Option<String>,
    /// Its hardware.
    pub hw_version: Option<String>,
    /// Its serial number.
    pub serial_number: Option<String>,
    /// Where it shows its own settings.
    pub configuration_url: Option<String>,
    /// The area that it says it is in.
    pub suggested_area: Option<String>,
    /// The identifier of the device through which it is reached.
    pub via_device: Option<String>,
}

impl Device {
    /// Nothing known but an identifier.
    pub fn of(identifier: &str) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            identifiers: vec![identifier.to_owned()],
            connections: Vec::new(),
            manufacturer: None,
            model: None,
            sw_version: None,
            hw_version: None,
            serial_number: None,
            configuration_url: None,
            suggested_area: None,
            via_device: None,
        }
    }

    /// Whether both are one device: they share an identifier or an address.
    pub fn is_also(&self, other: &Self) -> bool {
        let identifier = self.identifiers.iter().any(|one| other.identifiers.contains(one));
        identifier || self.connections.iter().any(|one| other.connections.contains(one))
    }
}
