//! What rules may ask about the home: states, the time, the place.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityState {
    /// `on`, `21.5`, `unavailable` …
    pub state: String,
    /// By name.
    pub attributes: BTreeMap<String, Value>,
    /// When the state became what it is, Unix milliseconds.
    pub last_changed_ms: i64,
    /// When state or attributes became what they are.
    pub last_updated_ms: i64,
}

/// Where and when the home is.
#[derive(Debug, Clone, PartialEq)]
pub struct Home {
    /// Whose clock people mean.
    pub time_zone: TimeZone,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres above the sea.
    pub elevation_m: f64,
}

/// What is so at one moment. Shared by all that is decided in that moment.
pub trait Facts: Send + Sync + std::fmt::Debug {
    /// Now, Unix milliseconds. It stands still while something is decided.
    fn now_ms(&self) -> i64;

    /// The home.
    fn home(&self) -> &Home;

    /// One entity; none: it is not known.
    fn entity(&self, id: &str) -> Option<Arc<EntityState>>;

    /// All entities of a domain, or of all domains, by id in order.
    fn entities(&self, domain: Option<&str>) -> Vec<(String, Arc<EntityState>)>;

    /// The entities that a device, area or label stands for; empty: it is not known or has none.
    fn members(&self, of: Group<'_>) -> Vec<String>;
}

/// What stands for several entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group<'g> {
    /// A device, by id.
    Device(&'g str),
    /// A room or part of the home, by id or name.
    Area(&'g str),
    /// A label, by id or name.
    Label(&'g str),
}
