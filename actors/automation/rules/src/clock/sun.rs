//! When the sun rises and sets.
//!
//! The equations are those of NOAA's Solar Calculator (gml.noaa.gov/grad/solcalc/calcdetails.html), which takes them from
//! Jean Meeus, *Astronomical Algorithms*: good to a minute between 72° north and south, to ten minutes beyond. A crate was
//! looked at (`sunrise` 3.0.0): it brings another calendar library, and a simpler equation of time. Rising and setting are when
//! the sun's centre stands 0.833° below a level horizon: its upper edge is seen then, lifted by the air. Hills and the
//! height of the house are not taken into account.
//!
//! Where the sun does not rise or set on a day, there is no event on that day; the next one may be months ahead.

use jiff::civil::Date;

use super::wall::zoned;
use crate::facts::Home;
use crate::model::SunEvent;

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: f64 = 60_000.0;

/// The sun's centre stands so far from the zenith when its edge shows, in degrees.
const ZENITH_DEGREES: f64 = 90.833;

/// How many days ahead an event is looked for: longer than any polar day or night.
const DAYS_AHEAD: u16 = 400;

/// How often the sun's place is looked up again at the moment that was found. The third time changes less than a second, but
/// near a polar day.
const ROUNDS: u8 = 4;

/// When the sun rises or sets on a local date: before or after the noon of that date. None: it does not.
pub fn on_date(home: &Home, event: SunEvent, date: Date) -> Option<i64> {
    let midnight = |date: Date| {
        date.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|day| day.timestamp().as_millisecond())
    };
    let mut base_ms = midnight(date)?;
    // East of the date line but west of it by the clock: the noon that was computed may be the next or the last day's.
    let noon = zoned(
        &home.time_zone,
        base_ms + ms(noon_minutes(base_ms + DAY_MS / 2, home.longitude)),
    );
    base_ms -= i64::from(date.until(noon.date()).ok()?.get_days()) * DAY_MS;

    let mut at_ms = base_ms + ms(noon_minutes(base_ms + DAY_MS / 2, home.longitude));
    for _ in 0..ROUNDS {
        let sun = Sun::at(at_ms);
        let half_day = sun.half_day_minutes(home.latitude)?;
        let noon = noon_minutes(at_ms, home.longitude);
        let minutes = match event {
            SunEvent::Sunrise => noon - half_day,
            SunEvent::Sunset => noon + half_day,
        };
        at_ms = base_ms + ms(minutes);
    }
    Some(at_ms)
}

/// The next moment after an instant that comes so many milliseconds after the sun rises or sets.
pub fn next(home: &Home, event: SunEvent, offset_ms: i64, after_ms: i64) -> Option<i64> {
    let mut date = zoned(&home.time_zone, after_ms.checked_sub(offset_ms)?)
        .date()
        .yesterday()
        .ok()?;
    for _ in 0..DAYS_AHEAD {
        if let Some(at_ms) = on_date(home, event, date) {
            let due_ms = at_ms.checked_add(offset_ms)?;
            if due_ms > after_ms {
                return Some(due_ms);
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// Minutes after midnight (UTC) at which the sun stands highest at a longitude.
fn noon_minutes(at_ms: i64, longitude: f64) -> f64 {
    720.0 - 4.0 * longitude - Sun::at(at_ms).equation_of_time_minutes
}

fn ms(minutes: f64) -> i64 {
    (minutes * MINUTE_MS).round() as i64
}

/// Where the sun is.
struct Sun {
    /// Its angle north of the equator, in radians.
    declination: f64,
    /// By how much a sundial is ahead of a clock.
    equation_of_time_minutes: f64,
}

impl Sun {
    fn at(at_ms: i64) -> Self {
        let julian_day = at_ms as f64 / DAY_MS as f64 + 2_440_587.5;
        let t = (julian_day - 2_451_545.0) / 36_525.0;

        let mean_longitude = (280.466_46 + t * (36_000.769_83 + t * 0.000_303_2))
            .rem_euclid(360.0)
            .to_radians();
        let mean_anomaly = (357.529_11 + t * (35_999.050_29 - 0.000_153_7 * t)).to_radians();
        let eccentricity = 0.016_708_634 - t * (0.000_042_037 + 0.000_000_126_7 * t);
        let centre = mean_anomaly.sin() * (1.914_602 - t * (0.004_817 + 0.000_014 * t))
            + (2.0 * mean_anomaly).sin() * (0.019_993 - 0.000_101 * t)
            + (3.0 * mean_anomaly).sin() * 0.000_289;
        let node = (125.04 - 1_934.136 * t).to_radians();
        let apparent_longitude = mean_longitude + (centre - 0.005_69 - 0.004_78 * node.sin()).to_radians();
        let mean_obliquity =
            23.0 + (26.0 + (21.448 - t * (46.815 + t * (0.000_59 - t * 0.001_813))) / 60.0) / 60.0;
        let obliquity = (mean_obliquity + 0.002_56 * node.cos()).to_radians();

        let y = (obliquity / 2.0).tan().powi(2);
        let equation = y * (2.0 * mean_longitude).sin() - 2.0 * eccentricity * mean_anomaly.sin()
            + 4.0 * eccentricity * y * mean_anomaly.sin() * (2.0 * mean_longitude).cos()
            - 0.5 * y * y * (4.0 * mean_longitude).sin()
            - 1.25 * eccentricity * eccentricity * (2.0 * mean_anomaly).sin();
        Self {
            declination: (obliquity.sin() * apparent_longitude.sin()).asin(),
            equation_of_time_minutes: 4.0 * equation.to_degrees(),
        }
    }

    /// From noon until it sets; none: it does not, or does not rise.
    fn half_day_minutes(&self, latitude: f64) -> Option<f64> {
        let latitude = latitude.to_radians();
        let cosine = ZENITH_DEGREES.to_radians().cos() / (latitude.cos() * self.declination.cos())
            - latitude.tan() * self.declination.tan();
        (-1.0..=1.0)
            .contains(&cosine)
            .then(|| 4.0 * cosine.acos().to_degrees())
    }
}
