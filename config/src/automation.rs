//! `[automation]`: how automations act, and where devices speak at the broker.

use std::time::Duration;

use serde::Serialize;

use crate::document::Raw;
use crate::reader::Reader;
use crate::settings::{DAY, MINUTE, SECOND, set};
use crate::value::serialize_duration;

/// Most traces of an automation. Each is a row that every node keeps.
const MAX_TRACES: u64 = 100;
/// Most Zigbee2MQTT bridges.
const MAX_BRIDGES: usize = 16;
/// Longest topic of these; the protocol could carry more than anyone writes.
const MAX_TOPIC_BYTES: usize = 256;

/// Automations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AutomationSettings {
    /// How long it is tried to publish what an automation asked for, before its run is told that it failed.
    #[serde(serialize_with = "serialize_duration")]
    pub publish_within: Duration,
    /// Traces that are kept of each automation.
    pub traces: u64,
    /// Whether Jarvis shows itself and its automations to Home Assistant.
    pub announce: bool,
    /// Base topics of Zigbee2MQTT bridges whose devices are read without discovery.
    pub zigbee2mqtt: Vec<String>,
    /// Discovery prefix of bare Tasmota devices; empty: they are not read.
    pub tasmota: String,
    /// Home Assistant's discovery prefix.
    pub discovery_prefix: String,
}

impl Default for AutomationSettings {
    fn default() -> Self {
        Self {
            publish_within: 5 * MINUTE,
            traces: 5,
            announce: true,
            zigbee2mqtt: vec!["zigbee2mqtt".to_owned()],
            tasmota: "tasmota/discovery".to_owned(),
            discovery_prefix: "homeassistant".to_owned(),
        }
    }
}

/// Whether `text` is a topic that others can hang below: no wildcards, no slash at either end.
fn is_topic(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_TOPIC_BYTES
        && !text.starts_with(['/', '$'])
        && !text.ends_with('/')
        && !text.contains(['+', '#'])
        && !text.chars().any(char::is_control)
}

impl AutomationSettings {
    pub(crate) fn read(&mut self, from: &mut Reader<'_>) {
        set(
            &mut self.publish_within,
            from.duration("publish_within", SECOND, DAY),
        );
        set(&mut self.traces, from.number("traces", 0, MAX_TRACES));
        set(&mut self.announce, from.flag("announce"));
        let expected = format!("a list of at most {MAX_BRIDGES} topics such as [\"zigbee2mqtt\"]");
        let bridges = from.texts_that("zigbee2mqtt", &expected, |topics| {
            topics.len() <= MAX_BRIDGES && topics.iter().all(|topic| is_topic(topic))
        });
        set(&mut self.zigbee2mqtt, bridges);
        let expected = "a topic such as \"tasmota/discovery\", or \"\" for none";
        let tasmota = from.take("tasmota", expected, |raw| match raw {
            Raw::Text(text) | Raw::String(text) => {
                Some(text.trim().to_owned()).filter(|text| text.is_empty() || is_topic(text))
            }
            _ => None,
        });
        set(&mut self.tasmota, tasmota);
        let expected = "a topic such as \"homeassistant\"";
        set(
            &mut self.discovery_prefix,
            from.text_that("discovery_prefix", expected, is_topic),
        );
    }
}
