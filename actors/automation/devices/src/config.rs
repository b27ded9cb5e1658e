//! What discovery says of an entity, with abbreviations written out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::printed;

/// Settings by their full names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, Value>);

impl Config {
    /// The value of a setting; null is none.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Sets it.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A text, where it is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// A payload: truth values and numbers are payloads too, written as Python prints them.
    pub fn payload(&self, key: &str, default: &str) -> String {
        self.get(key).map_or_else(|| default.to_owned(), printed)
    }

    /// A number, also where it is written as text.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// A truth value, in any of the ways in which Home Assistant reads one.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" | "enable" => Some(true),
                "0" | "false" | "no" | "off" | "disable" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A list of texts; one alone stands for a list of it.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Array(items)) => items.iter().map(printed).collect(),
            Some(Value::Object(_)) | None => Vec::new(),
            Some(one) => vec![printed(one)],
        }
    }

    /// Quality of service of what is published, 0 to 2.
    pub fn qos(&self) -> u8 {
        match self.number("qos") {
            Some(qos) if qos >= 2.0 => 2,
            Some(qos) if qos >= 1.0 => 1,
            _ => 0,
        }
    }

    /// Whether what is published is retained.
    pub fn retain(&self) -> bool {
        self.flag("retain").unwrap_or(false)
    }
}
