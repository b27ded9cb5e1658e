//! Numbers out of values.

use minijinja::value::{Value, ValueKind};
use serde_json::Number;

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

/// A number as Python prints it: the fewest digits that say it, with an exponent below 0.0001 and from 10^16 on
/// (<https://docs.python.org/3/library/stdtypes.html#str>).
pub fn printed(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(real) => printed_real(real),
        None => number.to_string(),
    }
}

/// The same of a number that is not kept as a whole one.
pub(super) fn printed_real(real: f64) -> String {
    let written = format!("{real:e}");
    let exponent = written.split_once('e').and_then(|(mantissa, exponent)| {
        let exponent: i32 = exponent.parse().ok()?;
        Some((mantissa, exponent))
    });
    match exponent {
        // Not finite.
        None => written.to_lowercase(),
        Some((_, -4..16)) if real.fract() == 0.0 => format!("{real:.1}"),
        Some((_, -4..16)) => real.to_string(),
        Some((mantissa, exponent)) => format!("{mantissa}e{exponent:+03}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_python_prints_them() {
        for (real, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (21.5, "21.5"),
            (100.0, "100.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.000_012_5, "-1.25e-05"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e-300, "1e-300"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(printed_real(real), expected);
        }
        assert_eq!(
            printed(&Number::from(10_000_000_000_000_000i64)),
            "10000000000000000"
        );
    }
}
