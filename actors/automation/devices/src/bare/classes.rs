//! What properties of bare devices measure.

/// Class and unit of a number, by the name that devices give it.
pub(super) fn number(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        "temperature" | "local_temperature" | "device_temperature" | "current_temperature" => {
            ("temperature", Some("°C"))
        }
        "humidity" | "soil_moisture" => ("humidity", Some("%")),
        "pressure" | "seapressure" => ("atmospheric_pressure", Some("hPa")),
        "battery" => ("battery", Some("%")),
        "illuminance" | "illuminance_lux" => ("illuminance", Some("lx")),
        "power" => ("power", Some("W")),
        "apparentpower" => ("apparent_power", Some("VA")),
        "reactivepower" => ("reactive_power", Some("var")),
        "factor" | "power_factor" => ("power_factor", None),
        "energy" | "total" | "today" | "yesterday" => ("energy", Some("kWh")),
        "voltage" => ("voltage", Some("V")),
        "current" => ("current", Some("A")),
        "frequency" => ("frequency", Some("Hz")),
        "co2" | "carbondioxide" | "eco2" => ("carbon_dioxide", Some("ppm")),
        "pm25" | "pm2.5" => ("pm25", Some("µg/m³")),
        "pm10" => ("pm10", Some("µg/m³")),
        "formaldehyd" | "voc" | "tvoc" => ("volatile_organic_compounds", Some("µg/m³")),
        "distance" => ("distance", Some("cm")),
        _ => return None,
    })
}

/// Class of something that is on or off, by the name that devices give it; whether it is on when the device says no.
pub(super) fn binary(name: &str) -> Option<(&'static str, bool)> {
    Some(match name {
        "contact" => ("door", true),
        "occupancy" => ("occupancy", false),
        "presence" => ("presence", false),
        "motion" => ("motion", false),
        "water_leak" => ("moisture", false),
        "smoke" => ("smoke", false),
        "gas" => ("gas", false),
        "carbon_monoxide" => ("carbon_monoxide", false),
        "vibration" => ("vibration", false),
        "tamper" => ("tamper", false),
        "battery_low" => ("battery", false),
        "rain" => ("moisture", false),
        "noise_detected" => ("sound", false),
        "window" | "window_open" => ("window", false),
        _ => return None,
    })
}

/// Whether a number only grows.
pub(super) fn grows(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "energy" | "total" | "today" | "yesterday" | "produced_energy"
    )
}
