//! What goes into a run when it is advanced.

use std::sync::Arc;

use serde_json::Value;

use super::Limits;
use crate::facts::Facts;
use crate::template::Templates;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// It may begin.
    Begin,
    /// It may go on with what it was doing when its steps were used up.
    Continue,
    /// The time may have come, or states may have changed: all waits are looked at.
    Wake,
    /// A trigger of a wait fired.
    Triggered {
        /// The wait's number.
        wait: u32,
        /// `trigger`, as templates see it.
        trigger: Value,
    },
    /// What came of an intent. Of one that is not open any more nothing is taken.
    Outcome {
        /// Its number.
        intent: u64,
        /// What came of it.
        outcome: Outcome,
        /// Entities that it was meant for and did not reach, each with the reason.
        not_reached: Vec<(String, String)>,
    },
    /// It is to end. What was asked for and is under way is not taken back.
    Stop {
        /// Why.
        why: String,
    },
}

/// What came of an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was done; with what was answered.
    Done(Option<Value>),
    /// It could not be done.
    Failed(String),
    /// Nobody said in time whether it was done.
    TimedOut,
}

/// What is so while a run is advanced.
#[derive(Debug, Clone)]
pub struct Env<'e> {
    /// States, the time, the home.
    pub facts: &'e Arc<dyn Facts>,
    /// Compiled templates.
    pub templates: &'e Templates,
    /// The node that it happens on, for traces.
    pub node: &'e str,
    /// Bounds.
    pub limits: &'e Limits,
}

impl Env<'_> {
    /// Now, Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.facts.now_ms()
    }
}
