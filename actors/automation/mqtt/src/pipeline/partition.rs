//! Which messages must keep their order among each other.

use xxhash_rust::xxh64::xxh64;

/// Names the device that a topic belongs to: messages of one key are decided on one after the other.
pub type KeyOf = fn(&str) -> &str;

/// The device in the topics of Zigbee2MQTT (`zigbee2mqtt/DEVICE/…`) and Tasmota (`tele/DEVICE/…`, `stat/DEVICE/…`); of others
/// the whole topic.
pub fn device_of(topic: &str) -> &str {
    let mut levels = topic.split('/');
    match (levels.next(), levels.next()) {
        (Some("zigbee2mqtt" | "tele" | "stat" | "cmnd"), Some(device)) if !device.is_empty() => device,
        _ => topic,
    }
}

/// The partition of a key, the same on every node.
pub(crate) fn partition_of(key: &str, partitions: usize) -> usize {
    (xxh64(key.as_bytes(), 0) % partitions.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_topics_of_a_device_have_one_key() {
        for (topic, key) in [
            ("zigbee2mqtt/lamp", "lamp"),
            ("zigbee2mqtt/lamp/availability", "lamp"),
            ("tele/plug/SENSOR", "plug"),
            ("stat/plug/POWER", "plug"),
            ("tele//x", "tele//x"),
            ("homeassistant/light/x/config", "homeassistant/light/x/config"),
            ("plain", "plain"),
        ] {
            assert_eq!(device_of(topic), key);
        }
        assert_eq!(partition_of("lamp", 1), 0);
        assert!(partition_of("lamp", 8) < 8);
    }
}
