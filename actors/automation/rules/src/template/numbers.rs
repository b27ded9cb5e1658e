//! Numbers out of values.

use minijinja::value::{Value, ValueKind};

/// The number that a value is; truth values are 0 and 1, as in Python. Texts are not numbers.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => f64::try_from(value.clone())
            .ok()
            .or_else(|| i128::try_from(value.clone()).ok().map(|number| number as f64)),
        _ => None,
    }
}

/// The number that a value is or that a text says, as `float()` reads it.
pub(super) fn read(value: &Value) -> Option<f64> {
    number(value).or_else(|| {
        let text = value.as_str()?.trim();
        let digits = text.trim_start_matches(['+', '-']);
        let looks = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let word = ["inf", "infinity", "nan"]
            .iter()
            .any(|word| digits.eq_ignore_ascii_case(word));
        (text.len() <= 64 && (looks || word))
            .then(|| text.replace('_', "").parse().ok())
            .flatten()
    })
}

/// A number as a value: whole if it is and may be.
pub(super) fn whole(number: f64) -> Value {
    const MOST: f64 = 9e15;
    if number.is_finite() && number.abs() < MOST {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}
