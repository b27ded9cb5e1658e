//! What a run did, step by step, for people: bounded, oldest first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::CatchUp;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The latest steps.
    pub steps: VecDeque<TraceStep>,
    /// How many older ones are no longer kept.
    pub dropped: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Where in the automation: `action/0/choose/1/sequence/2`.
    pub path: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The node that it happened on.
    pub node: String,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was triggered; by which trigger.
    Triggered {
        /// Its id.
        trigger: String,
        /// By how much it came late, if nobody looked when it fell due.
        late_ms: Option<u64>,
    },
    /// It waits for those before it.
    Queued,
    /// It was done.
    Done,
    /// It is switched off.
    Disabled,
    /// A condition was looked at.
    Condition {
        /// Whether it holds.
        holds: bool,
        /// What could not be looked at.
        error: Option<String>,
    },
    /// A round of a loop began.
    Round {
        /// Counts from 1.
        index: u64,
    },
    /// It was asked for.
    Called {
        /// `domain.service`.
        service: String,
        /// For which entities.
        entities: Vec<String>,
        /// The numbers of what was asked for.
        intents: Vec<u64>,
    },
    /// Of what was asked for, this was not for these entities, each with the reason.
    NotReached {
        /// They.
        entities: Vec<(String, String)>,
    },
    /// All that was asked for is done.
    Answered,
    /// An event was sent.
    Sent {
        /// Its type.
        event: String,
    },
    /// It waits.
    Waits {
        /// At most until then.
        until_ms: Option<i64>,
    },
    /// What it waited for came.
    Came,
    /// The time it waited until came.
    TimedOut,
    /// That time fell due while nobody looked.
    Late {
        /// By how much.
        by_ms: u64,
        /// What was decided on.
        taken: CatchUp,
    },
    /// It failed, and goes on nevertheless.
    PassedOver {
        /// What failed.
        error: String,
    },
    /// The run ended here.
    Ended {
        /// How.
        how: String,
    },
}

impl Trace {
    /// Adds a step, and lets go of the oldest if there are too many.
    pub fn push(&mut self, step: TraceStep, keep: usize) {
        self.steps.push_back(step);
        while self.steps.len() > keep {
            self.steps.pop_front();
            self.dropped += 1;
        }
    }
}
