//! How far places are from one another.

/// The earth's mean radius, in metres.
const EARTH_M: f64 = 6_371_008.8;

/// Metres between two places, each a latitude and a longitude in degrees, over the earth taken as a ball (haversine).
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
