//! What a plain scalar means.

use serde_json::{Number, Value};

use super::Scalar;

impl Scalar {
    /// Nothing: `key:`, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        !self.quoted && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// A truth value as YAML 1.1 has them.
    pub(crate) fn truth(&self) -> Option<bool> {
        if self.quoted {
            return None;
        }
        match self.text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// A number: `-12`, `0x1F`, `0o17`, `1_000`, `2.5`, `1e3`. Times of day are not numbers, as they are in YAML 1.1.
    pub(crate) fn number(&self) -> Option<Number> {
        if self.quoted {
            return None;
        }
        let text = self.text.as_str();
        let digits = text.trim_start_matches(['-', '+']);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || text.len() - digits.len() > 1 {
            return None;
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let radix = |prefix: &str, radix| {
            let digits = digits.strip_prefix(prefix)?;
            i64::from_str_radix(digits, radix)
                .ok()
                .filter(|_| !digits.starts_with(['+', '-']))
        };
        if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
            return Some((sign * number).into());
        }
        if digits.ends_with('_') || digits.contains("__") {
            return None;
        }
        let plain: String = text.chars().filter(|c| *c != '_').collect();
        if let Ok(number) = plain.trim_start_matches('+').parse::<i64>() {
            return Some(number.into());
        }
        let looks = plain
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        let has_digit = plain.bytes().any(|b| b.is_ascii_digit());
        if !looks || !has_digit {
            return None;
        }
        Number::from_f64(plain.parse::<f64>().ok()?)
    }

    /// What it means where anything may stand.
    pub(crate) fn value(&self) -> Value {
        if self.is_null() {
            Value::Null
        } else if let Some(truth) = self.truth() {
            Value::Bool(truth)
        } else if let Some(number) = self.number() {
            Value::Number(number)
        } else {
            Value::String(self.text.clone())
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value() {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            _ => "a text",
        }
    }
}
