//! Who is in a zone.

use crate::facts::EntityState;

/// The earth's mean radius, in metres.
const EARTH_M: f64 = 6_371_008.8;

/// The radius of a zone that does not say one, in metres.
const RADIUS_M: f64 = 100.0;

/// Whether somebody is in a zone.
pub(crate) enum InZone {
    /// Its place is.
    Yes,
    /// Its place is not.
    No,
    /// A place is not known: of what, in a sentence.
    Unknown(&'static str),
}

/// Whether an entity is in a zone: nearer to its middle than its radius, counting how well the place is known
/// (`gps_accuracy`) in the entity's favour, as Home Assistant does.
pub(crate) fn in_zone(zone: &EntityState, entity: &EntityState) -> InZone {
    let number = |of: &EntityState, name: &str| of.attributes.get(name).and_then(serde_json::Value::as_f64);
    let place = |of: &EntityState| Some((number(of, "latitude")?, number(of, "longitude")?));
    if matches!(entity.state.as_str(), "unavailable" | "unknown") && place(entity).is_none() {
        return InZone::No;
    }
    let Some(middle) = place(zone) else {
        return InZone::Unknown("the zone has no latitude and longitude");
    };
    let Some(at) = place(entity) else {
        return InZone::Unknown("it has no latitude and longitude");
    };
    let accuracy_m = number(entity, "gps_accuracy").unwrap_or(0.0);
    let radius_m = number(zone, "radius").unwrap_or(RADIUS_M);
    if distance_m(middle, at) - accuracy_m < radius_m {
        InZone::Yes
    } else {
        InZone::No
    }
}

/// How far two places are from one another, over the earth taken as a ball (haversine).
pub(crate) fn distance_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (from_lat, to_lat) = (from.0.to_radians(), to.0.to_radians());
    let half_lat = (to_lat - from_lat) / 2.0;
    let half_long = (to.1 - from.1).to_radians() / 2.0;
    let a = half_lat.sin().powi(2) + from_lat.cos() * to_lat.cos() * half_long.sin().powi(2);
    2.0 * EARTH_M * a.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::distance_m;

    #[test]
    fn paris_is_344_km_from_london() {
        let distance = distance_m((51.5074, -0.1278), (48.8566, 2.3522));
        assert!((distance - 343_556.0).abs() < 500.0, "{distance}");
        assert_eq!(distance_m((1.0, 2.0), (1.0, 2.0)), 0.0);
        // Half around the earth.
        assert!((distance_m((0.0, 0.0), (0.0, 180.0)) - 20_015_115.0).abs() < 1_000.0);
    }
}
