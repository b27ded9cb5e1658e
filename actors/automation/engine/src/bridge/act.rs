//! What is to be done in the home, and what came of it. An act stands in a row until its outcome does.

use jarvis_devices::service::{Assumed, Publish};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::{OutcomeOf, RunOf};

/// Something that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Act {
    /// Its name, the same whoever goes on with it. It goes out with what is published.
    pub(super) id: String,
    /// The run that asked for it, and the intent's number there; none: a person did, who waits for the answer himself.
    pub(super) by: Option<(RunOf, u64)>,
    /// When it was asked for, Unix milliseconds.
    pub(super) asked_ms: i64,
    /// What.
    pub(super) deed: Deed,
    /// Counts acts in the order in which they were begun: whoever goes on with several keeps to it.
    #[serde(default)]
    pub(super) order: u64,
    /// Entities that it was meant for and does not reach, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) not_reached: Vec<(String, String)>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    /// Messages to the broker.
    Publish {
        /// In this order.
        publishes: Vec<Publish>,
        /// What is taken for true once they are out.
        assumed: Vec<Assumed>,
    },
    /// Something is said in chat sessions.
    Say {
        /// `notify.anna`.
        service: String,
        /// With what.
        data: Map<String, Value>,
    },
    /// A reminder is said.
    Remind {
        /// In which session.
        session: String,
        /// What.
        text: String,
    },
    /// A drill is to begin.
    Drill {
        /// Its name.
        name: String,
    },
    /// A node is to hand over what it has.
    Drain {
        /// Its name.
        node: String,
    },
    /// A node is to take part again.
    Undrain {
        /// Its name.
        node: String,
    },
}

impl Deed {
    /// In a word, for people.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publishing",
            Self::Say { .. } => "saying",
            Self::Remind { .. } => "reminding",
            Self::Drill { .. } => "a drill",
            Self::Drain { .. } => "draining",
            Self::Undrain { .. } => "ending a drain",
        }
    }
}

/// What came of an act.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// It was done.
    Done,
    /// It cannot be done.
    Failed(String),
    /// Nobody said in time whether it was.
    TimedOut,
    /// This node does not own the bridge any more: the next one goes on.
    Released,
}

impl Ended {
    /// As the run is told; none: it is not over.
    pub(super) fn outcome(&self) -> Option<OutcomeOf> {
        match self {
            Self::Done => Some(OutcomeOf::Done(None)),
            Self::Failed(why) => Some(OutcomeOf::Failed(why.clone())),
            Self::TimedOut => Some(OutcomeOf::TimedOut),
            Self::Released => None,
        }
    }

    /// For metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::Released => "released",
        }
    }
}
