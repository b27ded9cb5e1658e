//! Which services each kind of entity has, and what they take.

use serde_json::{Map, Value};

use super::{CallError, wrong_data};
use crate::component::Component;
use crate::registry::meant;
use crate::text::nearest;

/// A service's name and the data that it takes.
pub type Service = (&'static str, &'static [&'static str]);

const LIT: &[&str] = &[
    "brightness",
    "brightness_pct",
    "brightness_step",
    "brightness_step_pct",
    "color_name",
    "color_temp",
    "color_temp_kelvin",
    "effect",
    "flash",
    "hs_color",
    "kelvin",
    "rgb_color",
    "rgbw_color",
    "rgbww_color",
    "transition",
    "white",
    "xy_color",
];

const CODE: &[&str] = &["code"];

/// The services of a kind of entity.
pub fn services(component: Component) -> &'static [Service] {
    match component {
        Component::Light => &[
            ("turn_on", LIT),
            ("turn_off", &["transition", "flash"]),
            ("toggle", LIT),
        ],
        Component::Switch => &[("turn_on", &[]), ("turn_off", &[]), ("toggle", &[])],
        Component::Cover => &[
            ("open_cover", &[]),
            ("close_cover", &[]),
            ("stop_cover", &[]),
            ("toggle", &[]),
            ("set_cover_position", &["position"]),
            ("open_cover_tilt", &[]),
            ("close_cover_tilt", &[]),
            ("stop_cover_tilt", &[]),
            ("set_cover_tilt_position", &["tilt_position"]),
        ],
        Component::Valve => &[
            ("open_valve", &[]),
            ("close_valve", &[]),
            ("stop_valve", &[]),
            ("toggle", &[]),
            ("set_valve_position", &["position"]),
        ],
        Component::Climate => &[
            (
                "set_temperature",
                &["temperature", "target_temp_high", "target_temp_low", "hvac_mode"],
            ),
            ("set_hvac_mode", &["hvac_mode"]),
            ("set_preset_mode", &["preset_mode"]),
            ("set_fan_mode", &["fan_mode"]),
            ("set_swing_mode", &["swing_mode"]),
            ("set_swing_horizontal_mode", &["swing_horizontal_mode"]),
            ("set_humidity", &["humidity"]),
            ("turn_on", &[]),
            ("turn_off", &[]),
            ("toggle", &[]),
        ],
        Component::Fan => &[
            ("turn_on", &["percentage", "preset_mode"]),
            ("turn_off", &[]),
            ("toggle", &[]),
            ("set_percentage", &["percentage"]),
            ("increase_speed", &["percentage_step"]),
            ("decrease_speed", &["percentage_step"]),
            ("set_preset_mode", &["preset_mode"]),
            ("oscillate", &["oscillating"]),
            ("set_direction", &["direction"]),
        ],
        Component::Lock => &[("lock", CODE), ("unlock", CODE), ("open", CODE)],
        Component::Button => &[("press", &[])],
        Component::Number => &[("set_value", &["value"])],
        Component::Select => &[
            ("select_option", &["option"]),
            ("select_next", &["cycle"]),
            ("select_previous", &["cycle"]),
            ("select_first", &[]),
            ("select_last", &[]),
        ],
        Component::Text => &[("set_value", &["value"])],
        Component::Scene => &[("turn_on", &["transition"])],
        Component::Siren => &[
            ("turn_on", &["tone", "duration", "volume_level"]),
            ("turn_off", &[]),
            ("toggle", &[]),
        ],
        Component::Humidifier => &[
            ("turn_on", &[]),
            ("turn_off", &[]),
            ("toggle", &[]),
            ("set_humidity", &["humidity"]),
            ("set_mode", &["mode"]),
        ],
        Component::AlarmControlPanel => &[
            ("alarm_arm_home", CODE),
            ("alarm_arm_away", CODE),
            ("alarm_arm_night", CODE),
            ("alarm_arm_vacation", CODE),
            ("alarm_arm_custom_bypass", CODE),
            ("alarm_disarm", CODE),
            ("alarm_trigger", CODE),
        ],
        Component::Vacuum => &[
            ("start", &[]),
            ("stop", &[]),
            ("pause", &[]),
            ("return_to_base", &[]),
            ("locate", &[]),
            ("clean_spot", &[]),
            ("set_fan_speed", &["fan_speed"]),
            ("send_command", &["command", "params"]),
        ],
        Component::LawnMower => &[("start_mowing", &[]), ("pause", &[]), ("dock", &[])],
        Component::Update => &[("install", &["version", "backup"])],
        Component::Notify => &[("send_message", &["message", "title"])],
        Component::BinarySensor | Component::Sensor | Component::DeviceTracker | Component::Event => &[],
    }
}

/// All services, by full name.
pub(super) fn all() -> Vec<String> {
    let general = ["turn_on", "turn_off", "toggle"].map(|name| format!("homeassistant.{name}"));
    let own = Component::ALL.iter().flat_map(|component| {
        services(*component)
            .iter()
            .map(move |(name, _)| format!("{}.{name}", component.name()))
    });
    own.chain(general).chain(["mqtt.publish".to_owned()]).collect()
}

/// What a kind of entity can be told.
pub(super) fn offers(component: Component) -> String {
    let names: Vec<String> = services(component)
        .iter()
        .map(|(name, _)| format!("{}.{name}", component.name()))
        .collect();
    if names.is_empty() {
        format!("a {} only tells, it takes no commands", component.name())
    } else {
        format!("a {} has {}", component.name(), names.join(", "))
    }
}

/// What `homeassistant.turn_on` and its kind come to for a kind of entity; none: it does not have that service. Covers and
/// valves have `toggle` only, so that nothing is opened along with the lights.
pub(super) fn general(component: Component, name: &str) -> Option<&'static str> {
    services(component)
        .iter()
        .map(|(known, _)| *known)
        .find(|known| *known == name)
}

/// Whether a service takes all of the data.
pub(super) fn check_keys(
    component: Component,
    name: &str,
    data: &Map<String, Value>,
) -> Result<(), CallError> {
    let Some((_, known)) = services(component).iter().find(|(one, _)| *one == name) else {
        return Ok(());
    };
    match data.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(wrong) => {
            let service = format!("{}.{name}", component.name());
            let takes = if known.is_empty() {
                "nothing but a target".to_owned()
            } else {
                known.join(", ")
            };
            let near = meant(nearest(wrong, known.iter().copied()));
            Err(wrong_data(wrong, format!("{service} takes {takes}{near}")))
        }
    }
}
