//! What comes of what happened.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hold, HoldId, Slot};
use crate::model::CatchUp;

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A trigger fired.
    Fire(Firing),
    /// A hold began: to be kept.
    Keep(Hold),
    /// A hold ended: to be kept no more.
    Forget(HoldId),
    /// What fell due unseen and is not made up for.
    Missed(Missed),
    /// A trigger may fire again from here on. Nothing is done, but who takes over has to begin with what is so now.
    Rearmed,
    /// A retained message was taken for a trigger whose filter is new: it is not taken again ([`super::Watch::expect_retained`]).
    Retained {
        /// Which trigger.
        slot: Slot,
        /// Stands for its topic.
        topic: u64,
    },
    /// A message that triggers something triggers nothing.
    Unheard {
        /// Its topic.
        topic: String,
        /// Why not, in a sentence.
        why: String,
    },
    /// Something to know for who looks after the home.
    Log(String),
}

/// A trigger fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Which.
    pub slot: Slot,
    /// `trigger`, as templates see it.
    pub data: Value,
    /// When it fell due; none: it was no matter of time.
    pub due_ms: Option<i64>,
    /// By how much it is late and what was decided on, if it fell due unseen.
    pub late: Option<(u64, CatchUp)>,
}

/// A trigger did not fire, since nobody saw it in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Which.
    pub slot: Slot,
    /// When it fell due.
    pub due_ms: i64,
    /// By how much it would have been late.
    pub by_ms: u64,
    /// Why, in a sentence.
    pub why: String,
}
