//! What a run asks for: written down first, done after.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Context;

/// Something that a run asked for and was not told the outcome of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// What.
    pub deed: Deed,
    /// The thread that waits for what comes of it.
    pub thread: Option<u32>,
    /// When it was asked for, Unix milliseconds.
    pub asked_ms: i64,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A service.
    Call(Call),
    /// That everybody be told.
    Event(Event),
}

/// A service called. Entities are known, `toggle` is turned into what it comes to: it may be done again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Names it within the run, for ever.
    pub intent: u64,
    /// `light.turn_on`.
    pub service: String,
    /// What it was asked to be done to, as it was written: `entity_id`, `device_id`, `area_id`, `label_id`.
    pub target: Map<String, Value>,
    /// The entities that this comes to, in order, each once; none for services that have no entities.
    pub entities: Vec<String>,
    /// How.
    pub data: Map<String, Value>,
    /// Whether somebody uses the answer.
    pub wants_response: bool,
    /// What led to it.
    pub context: Context,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names it within the run, for ever.
    pub intent: u64,
    /// Its type.
    pub event_type: String,
    /// What goes with it.
    pub data: Map<String, Value>,
    /// What led to it.
    pub context: Context,
}
