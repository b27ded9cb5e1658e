//! The block that says which device an entity is part of.

use serde_json::{Map, Value};

use super::abbreviations::{DEVICE, full};
use crate::entity::Device;
use crate::limits::{MAX_IDENTIFIERS, MAX_NAME_BYTES};
use crate::text::printed;

/// Reads the block.
pub(crate) fn read(said: &Map<String, Value>) -> Result<Device, String> {
    let mut device = Device::of("");
    device.identifiers.clear();
    for (key, value) in said {
        let key = full(DEVICE, key);
        let text = || match value {
            Value::String(_) | Value::Number(_) => Some(cut(&printed(value))),
            _ => None,
        };
        match key {
            "identifiers" => device.identifiers = texts(value),
            "connections" => device.connections = pairs(value)?,
            "name" => device.name = text().unwrap_or_default(),
            "manufacturer" => device.manufacturer = text(),
            "model" => device.model = text(),
            "sw_version" => device.sw_version = text(),
            "hw_version" => device.hw_version = text(),
            "serial_number" => device.serial_number = text(),
            "configuration_url" => device.configuration_url = text(),
            "suggested_area" => device.suggested_area = text(),
            "via_device" => device.via_device = text(),
            _ => {}
        }
    }
    if device.identifiers.is_empty() && device.connections.is_empty() {
        return Err("the device has neither identifiers nor connections".to_owned());
    }
    if device.identifiers.len() + device.connections.len() > MAX_IDENTIFIERS {
        return Err(format!(
            "the device has more than {MAX_IDENTIFIERS} identifiers and connections"
        ));
    }
    Ok(device)
}

fn texts(value: &Value) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(_) | Value::Number(_) => Some(cut(&printed(value))).filter(|text| !text.is_empty()),
        _ => None,
    };
    match value {
        Value::Array(items) => items.iter().take(MAX_IDENTIFIERS + 1).filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    }
}

fn pairs(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "connections has to be a list of pairs: kind and address".to_owned();
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .take(MAX_IDENTIFIERS + 1)
        .map(|pair| match pair.as_array().map(Vec::as_slice) {
            Some([Value::String(kind), Value::String(address)]) => {
                Ok((cut(kind), cut(&address.to_lowercase())))
            }
            _ => Err(wrong()),
        })
        .collect()
}

/// Without what is beyond the longest name.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
