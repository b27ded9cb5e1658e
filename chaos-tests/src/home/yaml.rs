//! Automations for homes of tests, in Home Assistant's YAML.

use super::{RECORDS, SENSORS};

/// `count` names of devices that begin with `prefix`.
pub fn devices(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// For each device an automation that says of each of its messages, in order, that it was decided on.
pub fn echo(devices: &[String]) -> String {
    devices.iter().map(|device| automation(device, "")).collect()
}

/// The same, so many seconds after the message.
pub fn delayed(device: &str, seconds: u64) -> String {
    automation(device, &format!("    - delay: {seconds}\n"))
}

fn automation(device: &str, before: &str) -> String {
    format!(
        "- id: echo-{device}\n  alias: Echo of {device}\n  mode: queued\n  max: 256\n  triggers:\n    - trigger: mqtt\n      \
         topic: {SENSORS}/{device}\n  actions:\n{before}    - action: mqtt.publish\n      data:\n        topic: {RECORDS}/{device}\n        \
         payload: \"{{{{ trigger.payload }}}}\"\n        qos: 1\n"
    )
}
