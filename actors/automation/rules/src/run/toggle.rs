//! `toggle` as what it comes to, so that doing it twice is doing it once.

use std::collections::BTreeMap;

use crate::facts::Facts;

/// What a service comes to for these entities, by what is known of them: `toggle` becomes turning on or off, for each entity by
/// its own state, in the order of services. One whose state is not known is turned on, as Home Assistant does. Every other
/// service stays as it is.
pub fn resolve_toggle(service: &str, entities: &[String], facts: &dyn Facts) -> Vec<(String, Vec<String>)> {
    let Some((domain, "toggle")) = service.split_once('.') else {
        return vec![(service.to_owned(), entities.to_vec())];
    };
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in entities {
        // `homeassistant.toggle` is for entities of all domains.
        let domain = match id.split_once('.') {
            Some((own, _)) if domain == "homeassistant" => own,
            _ => domain,
        };
        let state = facts.entity(id);
        let verb = opposite(
            domain,
            state.as_deref().map_or("unknown", |state| state.state.as_str()),
        );
        calls
            .entry(format!("{domain}.{verb}"))
            .or_default()
            .push(id.clone());
    }
    calls.into_iter().collect()
}

/// The service that makes of a state its opposite.
fn opposite(domain: &str, state: &str) -> &'static str {
    let unknown = matches!(state, "unknown" | "unavailable" | "");
    match domain {
        "cover" if matches!(state, "open" | "opening") => "close_cover",
        "cover" => "open_cover",
        "valve" if matches!(state, "open" | "opening") => "close_valve",
        "valve" => "open_valve",
        "lock" if matches!(state, "locked" | "locking") => "unlock",
        "lock" => "lock",
        // Everything but off is a way of being on.
        "media_player" | "climate" | "water_heater" if unknown || matches!(state, "off" | "standby") => {
            "turn_on"
        }
        "media_player" | "climate" | "water_heater" => "turn_off",
        _ if state == "on" => "turn_off",
        _ => "turn_on",
    }
}
