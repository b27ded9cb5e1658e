//! Moments and days that sensors tell.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It does not read as one.
    NoMoment,
    /// It is one by a clock of which the zone is not told.
    NoZone,
}

/// A moment by UTC's clock to the second, or only its day, as Home Assistant shows them.
///
/// # Errors
/// Why it is none.
pub(super) fn read(text: &str, day: bool) -> Result<String, Unread> {
    let text = text.trim();
    let (moment, civil) = (text.parse::<Timestamp>(), text.parse::<DateTime>());
    match (moment, civil) {
        // The day is the one that is written, wherever that is.
        (_, Ok(civil)) if day => Ok(civil.date().to_string()),
        (Ok(moment), _) if day => Ok(moment.to_zoned(TimeZone::UTC).date().to_string()),
        (Ok(moment), _) => Ok(moment.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()),
        (Err(_), Ok(_)) => Err(Unread::NoZone),
        (Err(_), Err(_)) => Err(Unread::NoMoment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_by_utc() {
        for (text, moment, day) in [
            (
                "2024-06-01T12:00:00+02:00",
                Ok("2024-06-01T10:00:00+00:00"),
                Ok("2024-06-01"),
            ),
            (
                "2024-06-01T00:30:00+02:00",
                Ok("2024-05-31T22:30:00+00:00"),
                Ok("2024-06-01"),
            ),
            (
                "2024-06-01T12:00:00.987Z",
                Ok("2024-06-01T12:00:00+00:00"),
                Ok("2024-06-01"),
            ),
            (
                "2024-06-01 12:00:00+0000",
                Ok("2024-06-01T12:00:00+00:00"),
                Ok("2024-06-01"),
            ),
            ("2024-06-01T12:00:00", Err(Unread::NoZone), Ok("2024-06-01")),
            ("2024-06-01", Err(Unread::NoZone), Ok("2024-06-01")),
            ("1717243200", Err(Unread::NoMoment), Err(Unread::NoMoment)),
            ("soon", Err(Unread::NoMoment), Err(Unread::NoMoment)),
            ("", Err(Unread::NoMoment), Err(Unread::NoMoment)),
        ] {
            assert_eq!(read(text, false).as_deref(), moment.as_ref().copied(), "{text}");
            assert_eq!(read(text, true).as_deref(), day.as_ref().copied(), "{text}");
        }
    }
}
