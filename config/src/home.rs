//! `[home]`: where and when the home is.

use jarvis_types::limits::MAX_NAME_CHARS;
use serde::Serialize;

use crate::reader::Reader;
use crate::settings::set;

/// The lowest shore and the highest summit, with room.
const ELEVATION_M: (f64, f64) = (-500.0, 9_000.0);

/// The home. Times and the sun are reckoned by it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HomeSettings {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IANA name of its time zone; none: that of `[session]`, or the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Degrees, north positive; none: it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees, east positive; none: it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Metres above the sea.
    pub elevation_m: f64,
}

impl HomeSettings {
    /// Latitude and longitude; none: where the home is was not said.
    pub fn place(&self) -> Option<(f64, f64)> {
        self.latitude.zip(self.longitude)
    }

    pub(crate) fn read(&mut self, from: &mut Reader<'_>) {
        let lonely = from.has("latitude") != from.has("longitude");
        let expected = format!("a name of 1 to {MAX_NAME_CHARS} characters");
        self.name = from.text_that("name", &expected, |name| {
            let name = name.trim();
            (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control)
        });
        self.time_zone = from.time_zone("time_zone");
        self.latitude = from.decimal("latitude", -90.0, 90.0);
        self.longitude = from.decimal("longitude", -180.0, 180.0);
        let (lowest, highest) = ELEVATION_M;
        set(
            &mut self.elevation_m,
            from.decimal("elevation_m", lowest, highest),
        );
        if lonely {
            from.complain("latitude", "latitude and longitude belong together");
        }
    }
}
