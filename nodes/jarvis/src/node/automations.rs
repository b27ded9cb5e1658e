//! What automations of this node are given: the home, the broker, where devices speak.

use std::sync::Arc;

use jarvis_automation::{Engine, EngineSettings};
use jarvis_config::Settings;
use jarvis_host::{Clock, Entropy};
use jarvis_machine::rows::NodeRole;
use jarvis_mqtt::{Dial, Options};
use jarvis_rules::facts::Home;
use jiff::tz::TimeZone;

use super::NodeConfig;
use super::protocol::BUILD;
use crate::fail::Failure;

/// What a node has that is told where the home's broker is.
pub(super) const MQTT: &str = "mqtt";

/// What the kinds of automations and the rest of this node share.
///
/// # Errors
/// Where something that the settings name cannot be read or used.
pub(super) fn engine(
    config: &NodeConfig,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    dial: Arc<dyn Dial>,
) -> Result<Engine, Failure> {
    let settings = settings(config)?;
    Ok(Engine::new(
        settings,
        Arc::clone(clock),
        Arc::clone(entropy),
        dial,
    ))
}

fn settings(config: &NodeConfig) -> Result<EngineSettings, Failure> {
    let settings = &config.settings;
    let mqtt = match config.role {
        // Nothing is ever placed on a witness: it needs no broker, and none of its passwords.
        NodeRole::Witness => None,
        _ => Options::from_settings(&settings.mqtt).map_err(|error| {
            let what = format!("node {} did not start", config.name);
            Failure::from_error(what, &error).next("correct [mqtt]; `jarvis config check FILE` looks at it")
        })?,
    };
    let automation = &settings.automation;
    Ok(EngineSettings {
        home: home(settings),
        devices: jarvis_devices::Settings {
            discovery_prefix: automation.discovery_prefix.clone(),
            zigbee2mqtt: automation.zigbee2mqtt.clone(),
            tasmota: Some(automation.tasmota.clone()).filter(|topic| !topic.is_empty()),
        },
        mqtt,
        publish_within: automation.publish_within,
        traces: usize::try_from(automation.traces).unwrap_or(usize::MAX),
        announce: automation.announce,
        node: config.name.to_string(),
        version: BUILD.to_owned(),
    })
}

fn home(settings: &Settings) -> Home {
    let zone = settings.home_time_zone().map(TimeZone::get);
    let (latitude, longitude) = settings.home.place().unwrap_or_default();
    Home {
        // A zone that is set was checked when the settings were read.
        time_zone: zone.and_then(Result::ok).unwrap_or_else(TimeZone::system),
        latitude,
        longitude,
        elevation_m: settings.home.elevation_m,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_as_it_is_set() {
        let mut settings = Settings::default();
        settings.session.time_zone = Some("Europe/Paris".to_owned());
        (settings.home.latitude, settings.home.longitude) = (Some(48.85), Some(2.35));
        let home = home(&settings);
        assert_eq!(home.time_zone.iana_name(), Some("Europe/Paris"));
        assert_eq!((home.latitude, home.longitude), (48.85, 2.35));
    }
}
