//! Which topics each kind of entity hears, and what their payloads become.

use jarvis_rules::template::Templates;
use serde_json::Value;

use super::{Availability, Feed, Kind, LightTemplates, Mode, Reading, Slot, Space, template};
use crate::bare::tasmota::SECOND;
use crate::component::Component;
use crate::config::Config;
use crate::limits::MAX_AVAILABILITY;

/// What an entity of that kind hears.
pub(super) fn feeds(
    component: Component,
    config: &Config,
    templates: &Templates,
) -> Result<Vec<Feed>, String> {
    let mut found = Found {
        config,
        templates,
        feeds: Vec::new(),
    };
    let on_off = || {
        let on = config.payload("payload_on", "ON");
        let off = config.payload("payload_off", "OFF");
        Slot::State(vec![
            (config.payload("state_on", &on), "on"),
            (config.payload("state_off", &off), "off"),
        ])
    };
    let attribute = |name| Slot::Attribute(name, Kind::Text);
    let number = |name| Slot::Attribute(name, Kind::Number);
    match component {
        Component::Switch => found.add("state_topic", "value_template", on_off())?,
        Component::BinarySensor => {
            let on = config.payload("payload_on", "ON");
            let off = config.payload("payload_off", "OFF");
            found.add(
                "state_topic",
                "value_template",
                Slot::State(vec![(on, "on"), (off, "off")]),
            )?;
        }
        Component::Sensor => {
            found.add("state_topic", "value_template", Slot::Sensor(reading(config)))?;
            found.add_as(
                "state_topic",
                "last_reset_value_template",
                true,
                attribute("last_reset"),
            )?;
        }
        Component::Light => light(&mut found)?,
        Component::Cover => cover(&mut found)?,
        Component::Valve => valve(&mut found)?,
        Component::Climate => climate(&mut found)?,
        Component::Fan => {
            found.add("state_topic", "state_value_template", switched(config))?;
            let (min, max) = speeds(config);
            found.add(
                "percentage_state_topic",
                "percentage_value_template",
                Slot::Percentage { min, max },
            )?;
            found.add(
                "preset_mode_state_topic",
                "preset_mode_value_template",
                attribute("preset_mode"),
            )?;
            let swings = Kind::Flag(
                config.payload("payload_oscillation_on", "oscillate_on"),
                config.payload("payload_oscillation_off", "oscillate_off"),
            );
            found.add(
                "oscillation_state_topic",
                "oscillation_value_template",
                Slot::Attribute("oscillating", swings),
            )?;
            found.add(
                "direction_state_topic",
                "direction_value_template",
                attribute("direction"),
            )?;
        }
        Component::Lock => found.add(
            "state_topic",
            "value_template",
            Slot::State(vec![
                (config.payload("state_locked", "LOCKED"), "locked"),
                (config.payload("state_unlocked", "UNLOCKED"), "unlocked"),
                (config.payload("state_locking", "LOCKING"), "locking"),
                (config.payload("state_unlocking", "UNLOCKING"), "unlocking"),
                (config.payload("state_jammed", "JAMMED"), "jammed"),
                (config.payload("state_open", "OPEN"), "open"),
                (config.payload("state_opening", "OPENING"), "opening"),
            ]),
        )?,
        Component::Number => found.add("state_topic", "value_template", Slot::Number)?,
        Component::Select => found.add(
            "state_topic",
            "value_template",
            Slot::Choice(config.list("options")),
        )?,
        Component::Text => found.add("state_topic", "value_template", Slot::Text)?,
        Component::Siren => {
            let on = config.payload("payload_on", "ON");
            let off = config.payload("payload_off", "OFF");
            let (on, off) = (config.payload("state_on", &on), config.payload("state_off", &off));
            found.add("state_topic", "state_value_template", Slot::Siren { on, off })?;
        }
        Component::Humidifier => {
            found.add("state_topic", "state_value_template", switched(config))?;
            found.add(
                "target_humidity_state_topic",
                "target_humidity_state_template",
                number("humidity"),
            )?;
            found.add(
                "current_humidity_topic",
                "current_humidity_template",
                number("current_humidity"),
            )?;
            found.add("mode_state_topic", "mode_state_template", attribute("mode"))?;
            found.add("action_topic", "action_template", attribute("action"))?;
        }
        Component::AlarmControlPanel => {
            let states = [
                "disarmed",
                "armed_home",
                "armed_away",
                "armed_night",
                "armed_vacation",
                "armed_custom_bypass",
                "pending",
                "triggered",
                "arming",
                "disarming",
            ];
            found.add(
                "state_topic",
                "value_template",
                Slot::State(
                    states
                        .into_iter()
                        .map(|state| (state.to_owned(), state))
                        .collect(),
                ),
            )?;
        }
        Component::DeviceTracker => found.add(
            "state_topic",
            "value_template",
            Slot::Place(vec![
                (config.payload("payload_home", "home"), "home"),
                (config.payload("payload_not_home", "not_home"), "not_home"),
            ]),
        )?,
        Component::Event => found.add(
            "state_topic",
            "value_template",
            Slot::Event(config.list("event_types")),
        )?,
        Component::Update => {
            found.add("state_topic", "value_template", Slot::Update)?;
            found.add(
                "latest_version_topic",
                "latest_version_template",
                Slot::LatestVersion,
            )?;
        }
        Component::Vacuum => found.add("state_topic", "value_template", Slot::Vacuum)?,
        Component::LawnMower => {
            let states = ["mowing", "paused", "docked", "returning", "error"];
            found.add(
                "activity_state_topic",
                "activity_value_template",
                Slot::State(
                    states
                        .into_iter()
                        .map(|state| (state.to_owned(), state))
                        .collect(),
                ),
            )?;
        }
        Component::Button | Component::Scene | Component::Notify => {}
    }
    if let Some(second) = config.text(SECOND) {
        let first = config
            .text("state_topic")
            .or_else(|| config.text("position_topic"));
        let again: Vec<Feed> = found
            .feeds
            .iter()
            .filter(|feed| Some(feed.topic.as_str()) == first)
            .cloned()
            .collect();
        found.feeds.extend(again.into_iter().map(|feed| Feed {
            topic: second.to_owned(),
            ..feed
        }));
    }
    found.add(
        "json_attributes_topic",
        "json_attributes_template",
        Slot::Attributes,
    )?;
    Ok(found.feeds)
}

/// What a sensor of these settings says.
fn reading(config: &Config) -> Reading {
    let options = config.list("options");
    let measured = [
        "unit_of_measurement",
        "state_class",
        "suggested_display_precision",
    ]
    .iter()
    .any(|key| config.get(key).is_some());
    let class = config.text("device_class").map(str::to_ascii_lowercase);
    match class.as_deref() {
        Some("timestamp") => Reading::Moment,
        Some("date") => Reading::Day,
        Some("enum") => Reading::Text(options),
        None if !measured => Reading::Text(options),
        _ if !options.is_empty() => Reading::Text(options),
        _ => Reading::Number,
    }
}

/// A fan's slowest and fastest speed.
pub(crate) fn speeds(config: &Config) -> (f64, f64) {
    let (min, max) = (config.number("speed_range_min"), config.number("speed_range_max"));
    match (min.unwrap_or(1.0), max.unwrap_or(100.0)) {
        (min, max) if min < max => (min, max),
        // A range that holds nothing says nothing.
        _ => (1.0, 100.0),
    }
}

/// Feeds as they are found.
struct Found<'c> {
    config: &'c Config,
    templates: &'c Templates,
    feeds: Vec<Feed>,
}

impl Found<'_> {
    fn add(&mut self, topic: &str, template: &str, slot: Slot) -> Result<(), String> {
        self.add_as(topic, template, false, slot)
    }

    /// Adds a feed where the topic is set, and the template where it `must` be.
    fn add_as(&mut self, topic: &str, template_key: &str, must: bool, slot: Slot) -> Result<(), String> {
        let Some(topic) = self.config.text(topic).filter(|topic| !topic.is_empty()) else {
            return Ok(());
        };
        let template = template(self.config, template_key, self.templates)?;
        if !must || template.is_some() {
            self.feeds.push(Feed {
                topic: topic.to_owned(),
                template,
                slot,
            });
        }
        Ok(())
    }
}

/// What says that it is on, and what that it is off.
fn switched(config: &Config) -> Slot {
    Slot::State(vec![
        (config.payload("payload_on", "ON"), "on"),
        (config.payload("payload_off", "OFF"), "off"),
    ])
}

fn light(found: &mut Found<'_>) -> Result<(), String> {
    let config = found.config;
    let kelvin = config.flag("color_temp_kelvin").unwrap_or(false);
    let scale = config
        .number("brightness_scale")
        .filter(|scale| *scale >= 1.0)
        .unwrap_or(255.0);
    match config.text("schema").unwrap_or("basic") {
        "json" => found.add("state_topic", "", Slot::JsonLight { scale, kelvin }),
        "template" => {
            let get = |key| template(config, key, found.templates);
            let rgb = match (
                get("red_template")?,
                get("green_template")?,
                get("blue_template")?,
            ) {
                (Some(red), Some(green), Some(blue)) => Some([red, green, blue]),
                _ => None,
            };
            let parts = LightTemplates {
                state: get("state_template")?,
                brightness: get("brightness_template")?,
                temperature: get("color_temp_template")?,
                kelvin,
                rgb,
                effect: get("effect_template")?,
            };
            found.add("state_topic", "", Slot::TemplateLight(Box::new(parts)))
        }
        _ => {
            found.add("state_topic", "state_value_template", switched(config))?;
            found.add(
                "brightness_state_topic",
                "brightness_value_template",
                Slot::Brightness(scale),
            )?;
            found.add(
                "color_mode_state_topic",
                "color_mode_value_template",
                Slot::Attribute("color_mode", Kind::Text),
            )?;
            found.add(
                "color_temp_state_topic",
                "color_temp_value_template",
                Slot::ColourTemperature(kelvin),
            )?;
            found.add(
                "effect_state_topic",
                "effect_value_template",
                Slot::Attribute("effect", Kind::Text),
            )?;
            for (topic, template, space) in [
                ("hs_state_topic", "hs_value_template", Space::Hs),
                ("rgb_state_topic", "rgb_value_template", Space::Rgb),
                ("rgbw_state_topic", "rgbw_value_template", Space::Rgbw),
                ("rgbww_state_topic", "rgbww_value_template", Space::Rgbww),
                ("xy_state_topic", "xy_value_template", Space::Xy),
            ] {
                found.add(topic, template, Slot::Colour(space))?;
            }
            Ok(())
        }
    }
}

/// What each of a cover's payloads stands for.
fn moves(config: &Config) -> Vec<(String, &'static str)> {
    vec![
        (config.payload("state_open", "open"), "open"),
        (config.payload("state_opening", "opening"), "opening"),
        (config.payload("state_closed", "closed"), "closed"),
        (config.payload("state_closing", "closing"), "closing"),
        (config.payload("state_stopped", "stopped"), "stopped"),
    ]
}

fn cover(found: &mut Found<'_>) -> Result<(), String> {
    let config = found.config;
    let (open, closed) = ends(config);
    let states = moves(config);
    found.add(
        "state_topic",
        "value_template",
        Slot::Cover {
            states,
            open,
            closed,
            numbers: false,
        },
    )?;
    // Older devices give the template of the position under the name of the state's.
    let key = if config.get("position_template").is_none() && config.get("state_topic").is_none() {
        "value_template"
    } else {
        "position_template"
    };
    found.add("position_topic", key, Slot::Position { open, closed })?;
    let (min, max) = tilts(config);
    found.add(
        "tilt_status_topic",
        "tilt_status_template",
        Slot::Tilt { min, max },
    )
}

/// A cover's or valve's positions when open and closed.
pub(crate) fn ends(config: &Config) -> (f64, f64) {
    let (open, closed) = (config.number("position_open"), config.number("position_closed"));
    (open.unwrap_or(100.0), closed.unwrap_or(0.0))
}

/// The range of a cover's slats.
pub(crate) fn tilts(config: &Config) -> (f64, f64) {
    let (min, max) = (config.number("tilt_min"), config.number("tilt_max"));
    (min.unwrap_or(0.0), max.unwrap_or(100.0))
}

fn valve(found: &mut Found<'_>) -> Result<(), String> {
    let config = found.config;
    let (open, closed) = ends(config);
    let numbers = config.flag("reports_position").unwrap_or(false);
    found.add(
        "state_topic",
        "value_template",
        Slot::Cover {
            states: moves(config),
            open,
            closed,
            numbers,
        },
    )
}

fn climate(found: &mut Found<'_>) -> Result<(), String> {
    let modes = Slot::Choice(super::hvac_modes(found.config));
    // One template may serve for all.
    let mut add = |topic: &str, template: &str, slot: Slot| {
        let own = found.config.get(template).is_some();
        found.add(topic, if own { template } else { "value_template" }, slot)
    };
    add("mode_state_topic", "mode_state_template", modes)?;
    for (topic, template, name, kind) in [
        (
            "temperature_state_topic",
            "temperature_state_template",
            "temperature",
            Kind::Number,
        ),
        (
            "temperature_high_state_topic",
            "temperature_high_state_template",
            "target_temp_high",
            Kind::Number,
        ),
        (
            "temperature_low_state_topic",
            "temperature_low_state_template",
            "target_temp_low",
            Kind::Number,
        ),
        (
            "current_temperature_topic",
            "current_temperature_template",
            "current_temperature",
            Kind::Number,
        ),
        (
            "current_humidity_topic",
            "current_humidity_template",
            "current_humidity",
            Kind::Number,
        ),
        (
            "target_humidity_state_topic",
            "target_humidity_state_template",
            "humidity",
            Kind::Number,
        ),
        ("action_topic", "action_template", "hvac_action", Kind::Text),
        (
            "preset_mode_state_topic",
            "preset_mode_value_template",
            "preset_mode",
            Kind::Text,
        ),
        (
            "fan_mode_state_topic",
            "fan_mode_state_template",
            "fan_mode",
            Kind::Text,
        ),
        (
            "swing_mode_state_topic",
            "swing_mode_state_template",
            "swing_mode",
            Kind::Text,
        ),
        (
            "swing_horizontal_mode_state_topic",
            "swing_horizontal_mode_state_template",
            "swing_horizontal_mode",
            Kind::Text,
        ),
    ] {
        add(topic, template, Slot::Attribute(name, kind))?;
    }
    Ok(())
}

/// Where an entity hears whether it can be reached.
pub(super) fn availability(
    config: &Config,
    templates: &Templates,
) -> Result<(Vec<Availability>, Mode), String> {
    let mode = match config.text("availability_mode") {
        Some("all") => Mode::All,
        Some("any") => Mode::Any,
        _ => Mode::Latest,
    };
    let one = |config: &Config, topic: &str, template_key: &str| -> Result<Availability, String> {
        Ok(Availability {
            topic: topic.to_owned(),
            template: template(config, template_key, templates)?,
            online: config.payload("payload_available", "online"),
            offline: config.payload("payload_not_available", "offline"),
        })
    };
    let mut all = Vec::new();
    if let Some(topic) = config
        .text("availability_topic")
        .filter(|topic| !topic.is_empty())
    {
        all.push(one(config, topic, "availability_template")?);
    }
    let listed = match config.get("availability") {
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(single @ Value::Object(_)) => std::slice::from_ref(single),
        _ => &[],
    };
    for entry in listed.iter().filter_map(Value::as_object) {
        let entry = Config(entry.clone().into_iter().collect());
        let Some(topic) = entry.text("topic").filter(|topic| !topic.is_empty()) else {
            return Err("an entry of availability has no topic".to_owned());
        };
        let topic = topic.to_owned();
        all.push(one(&entry, &topic, "value_template")?);
    }
    if all.len() > MAX_AVAILABILITY {
        return Err(format!(
            "{} availability topics, at most {MAX_AVAILABILITY} are followed",
            all.len()
        ));
    }
    Ok((all, mode))
}
