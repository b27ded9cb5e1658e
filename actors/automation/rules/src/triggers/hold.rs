//! `for:` under way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Slot;
use crate::facts::EntityState;

/// Names a hold: one trigger has at most one an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId {
    /// Of this trigger.
    pub slot: Slot,
    /// Of this entity; empty for a template, which is one thing whatever it reads.
    pub entity: String,
}

/// Something became so, and fires if it stays so. It is kept, so that it goes on wherever its trigger does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// When it became so, Unix milliseconds.
    pub since_ms: i64,
    /// When it fires.
    pub due_ms: i64,
    /// The state or attribute before; null where there was none.
    pub was: Value,
    /// The state or attribute that has to stay.
    pub is: Value,
    /// The entity that it was about.
    pub about: String,
    /// Its state before.
    pub from: Option<EntityState>,
    /// Its state when it began.
    pub to: Option<EntityState>,
}
