//! What an automation does.

use serde::{Deserialize, Serialize};

use super::{Condition, Data, Position, Span, Template, Trigger};

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// `alias`, for traces.
    pub alias: Option<String>,
    /// `enabled`: one that is switched off is passed over.
    pub enabled: bool,
    /// `continue_on_error`.
    pub continue_on_error: bool,
    /// Where it begins.
    pub position: Position,
    /// What is done.
    pub kind: ActionKind,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ActionKind {
    /// `action: light.turn_on`, in older files `service:`; devices, MQTT, chat, sound and plugins are all reached so.
    Call {
        /// `domain.service`.
        service: Data,
        /// `target` and what of it stood beside it: `entity_id`, `device_id`, `area_id`, `label_id`.
        target: Data,
        /// `data`.
        data: Data,
        /// The variable that gets the answer.
        response_variable: Option<String>,
    },
    /// Waits that long.
    Delay(Span),
    /// Waits until it is true.
    WaitTemplate {
        /// What has to be true.
        template: Template,
        /// At most so long.
        timeout: Option<Span>,
        /// Whether it goes on after that, or stops the run.
        continue_on_timeout: bool,
    },
    /// Waits until one of them fires.
    WaitForTrigger {
        /// Any of these.
        triggers: Vec<Trigger>,
        /// At most so long.
        timeout: Option<Span>,
        /// Whether it goes on after that, or stops the run.
        continue_on_timeout: bool,
    },
    /// Goes on only if it holds.
    Condition(Condition),
    /// The first branch whose conditions hold, or the default.
    Choose {
        /// In order.
        branches: Vec<Branch>,
        /// Where none holds.
        default: Vec<Action>,
    },
    /// One way or the other.
    If {
        /// All have to hold.
        conditions: Vec<Condition>,
        /// Where they do.
        then: Vec<Action>,
        /// Where they do not.
        otherwise: Vec<Action>,
    },
    /// Again and again, a bounded number of times.
    Repeat(Repeat),
    /// All at once; goes on when all have ended.
    Parallel(Vec<Vec<Action>>),
    /// One after the other.
    Sequence(Vec<Action>),
    /// Sets variables of this scope, in order.
    Variables(Vec<(String, Data)>),
    /// Ends the run.
    Stop {
        /// Why.
        reason: Data,
        /// Whether that is a failure.
        error: bool,
        /// The variable that is handed to who called.
        response_variable: Option<String>,
    },
    /// Tells everybody of something.
    Event {
        /// Its type.
        event: Data,
        /// What goes with it.
        data: Data,
    },
}

/// One way through a `choose`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// `alias`.
    pub alias: Option<String>,
    /// All have to hold.
    pub conditions: Vec<Condition>,
    /// What is done then.
    pub sequence: Vec<Action>,
}

/// What is repeated, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// How often.
    pub until: Until,
    /// What.
    pub sequence: Vec<Action>,
}

/// How often something is repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Until {
    /// So many times.
    Count(Data),
    /// As long as they hold before each round.
    While(Vec<Condition>),
    /// Until they hold after a round.
    Until(Vec<Condition>),
    /// Once for each item.
    ForEach(Data),
}
