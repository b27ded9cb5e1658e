//! The kinds of entities.

use serde::{Deserialize, Serialize};

macro_rules! components {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A kind of entity, which is the first half of its id.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Component { $($(#[$doc])* $variant,)* }

        impl Component {
            /// All of them, by name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// `light`, `binary_sensor` …
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

components! {
    /// An alarm system.
    AlarmControlPanel = "alarm_control_panel",
    /// On or off, not to be set.
    BinarySensor = "binary_sensor",
    /// Something to press.
    Button = "button",
    /// Heating or air conditioning.
    Climate = "climate",
    /// Shutters, blinds, garage doors.
    Cover = "cover",
    /// Where somebody or something is.
    DeviceTracker = "device_tracker",
    /// Something that happens, a button of a remote control for instance.
    Event = "event",
    /// A fan.
    Fan = "fan",
    /// A humidifier or dehumidifier.
    Humidifier = "humidifier",
    /// A lawn mower.
    LawnMower = "lawn_mower",
    /// A light.
    Light = "light",
    /// A lock.
    Lock = "lock",
    /// Something that takes messages.
    Notify = "notify",
    /// A number to set.
    Number = "number",
    /// A scene.
    Scene = "scene",
    /// One of several to choose.
    Select = "select",
    /// A measurement.
    Sensor = "sensor",
    /// A siren.
    Siren = "siren",
    /// A switch or socket.
    Switch = "switch",
    /// A text to set.
    Text = "text",
    /// Firmware and its newer version.
    Update = "update",
    /// A vacuum cleaner.
    Vacuum = "vacuum",
    /// A valve.
    Valve = "valve",
}

impl Component {
    /// By its name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|component| component.name() == name)
    }

    /// By the first half of an entity id.
    pub fn of_entity(id: &str) -> Option<Self> {
        Self::of(id.split_once('.')?.0)
    }
}

/// Kinds that Home Assistant knows and that have no state here: they are passed over without a word.
pub const IGNORED: &[&str] = &[
    "camera",
    "date",
    "datetime",
    "device_automation",
    "image",
    "infrared",
    "remote",
    "tag",
    "time",
    "water_heater",
];

/// `binary_sensor` as `Binary sensor`.
pub fn titled(name: &str) -> String {
    let mut out = name.replace('_', " ");
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    out
}
