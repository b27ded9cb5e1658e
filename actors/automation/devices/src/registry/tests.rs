//! Messages and what becomes of them.

mod bare;
mod discovery;
mod hearing;
mod people;
mod properties;
mod rows;
mod states;

use std::sync::Arc;

use jarvis_rules::facts::{Facts, Home};
use jarvis_rules::template::Templates;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::*;

/// Sunday, 1 March 2026, 13:05 in Paris.
pub(crate) const NOW: i64 = 1_772_366_700_000;

pub(crate) fn home() -> Arc<Home> {
    Arc::new(Home {
        time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a valid rule"),
        latitude: 48.85,
        longitude: 2.35,
        elevation_m: 35.0,
    })
}

pub(crate) fn registry() -> Registry {
    Registry::new(Settings::default(), Arc::new(Templates::new()), home())
}

/// Tells of an entity.
#[track_caller]
pub(crate) fn tell(registry: &mut Registry, path: &str, config: &str) -> Vec<Change> {
    let before = registry.problems().count();
    let changes = registry.message(
        &format!("homeassistant/{path}/config"),
        config.as_bytes(),
        true,
        NOW,
    );
    let problems: Vec<_> = registry.problems().skip(before).collect();
    assert!(problems.is_empty(), "{problems:?}");
    changes
}

/// Lets a device say something.
pub(crate) fn say(registry: &mut Registry, topic: &str, payload: &str) -> Vec<Change> {
    registry.message(topic, payload.as_bytes(), false, NOW)
}

pub(crate) fn state(registry: &Registry, id: &str) -> String {
    registry
        .view(NOW)
        .entity(id)
        .map_or_else(|| "(none)".to_owned(), |state| state.state.clone())
}

pub(crate) fn attribute(registry: &Registry, id: &str, name: &str) -> Value {
    let state = registry.view(NOW).entity(id);
    state
        .and_then(|state| state.attributes.get(name).cloned())
        .unwrap_or(Value::Null)
}

/// The last problem.
fn problem(registry: &Registry) -> String {
    registry
        .problems()
        .last()
        .map_or_else(String::new, |problem| problem.why.clone())
}
