//! Values with a written form of their own: durations, secrets.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What is shown in place of a secret.
const MASK: &str = "********";

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(MASK)
    }
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `24h`, `1h30m`, `500ms`: whole numbers, each with a unit out of `d`, `h`, `m`, `s`, `ms`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..digits + letters)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[digits + letters..];
    }
    Some(Duration::from_millis(total_ms))
}

/// Writes a duration as [`parse_duration`] reads it.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis() as u64;
    let mut out = String::new();
    for (name, factor) in UNITS {
        if rest >= factor {
            out.push_str(&format!("{}{name}", rest / factor));
            rest %= factor;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

pub(crate) fn serialize_duration<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, ms) in [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            let read = parse_duration(text).expect(text);
            assert_eq!(read.as_millis(), ms, "{text}");
            assert_eq!(parse_duration(&format_duration(read)), Some(read), "{text}");
        }
        for bad in [
            "",
            "5",
            "h",
            "-1s",
            "1.5h",
            "1 h",
            "1w",
            "99999999999999999999s",
            "18446744073709551615d",
            "5é",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fuzz_durations() {
        jarvis_fuzz::fuzz!()
            .text()
            .seeds(["24h", "1h30m", "500ms", "7d", "0s", "18446744073709551615ms"])
            .words(["d", "h", "m", "s", "ms", "0", "99999999"])
            .longest(64)
            .run(|bytes| {
                let text = std::str::from_utf8(bytes).expect("only text is handed in");
                let read = parse_duration(text)?;
                assert_eq!(parse_duration(&format_duration(read)), Some(read));
                Some(())
            });
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(secret.expose(), "hunter2");
    }
}
