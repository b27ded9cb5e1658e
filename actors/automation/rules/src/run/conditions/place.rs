//! Who is in a zone.

use crate::earth::distance_m;
use crate::facts::EntityState;

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
