//! Where a run stands: threads, and what they are in the middle of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Wait;
use crate::program::Place;

/// One line of steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The step it is at: the one it waits in, if it waits.
    pub place: Place,
    /// What it is in the middle of, outermost first.
    pub frames: Vec<Frame>,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// The thread that forked it.
    pub parent: Option<u32>,
    /// `wait`, as templates see it, where it was set in a sequence of a `parallel`.
    pub waited: Option<Value>,
}

/// What a thread is in the middle of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// A sequence.
    Sequence {
        /// Its end.
        end: Place,
    },
    /// Something that may fail.
    Guard {
        /// Its end.
        end: Place,
    },
    /// A loop.
    Loop(Loop),
}

/// A loop under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// Its end.
    pub end: Place,
    /// The round, from 1; 0 before the first.
    pub index: u64,
    /// How many there will be, where that is known.
    pub count: Option<u64>,
    /// One for each round.
    pub items: Option<Vec<Value>>,
}

/// Why a thread does not go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// `stop`.
    Stop {
        /// What is handed to who called.
        response: Option<Value>,
    },
    /// A wait timed out and is not to go on.
    Abort {
        /// What.
        why: String,
    },
    /// Something failed.
    Fail {
        /// What.
        error: String,
        /// Whether `continue_on_error` is for this: what the world refused, not what the automation got wrong.
        pardonable: bool,
    },
    /// It came too late for the automation's policy.
    Missed {
        /// Why.
        why: String,
    },
}
