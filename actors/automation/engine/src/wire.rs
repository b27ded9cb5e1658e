//! What entities, nodes and people tell each other about automations: JSON, so that a newer build may add fields.

use jarvis_devices::service::Target;
use jarvis_rules::facts::EntityState;
use jarvis_rules::model::Automation;
use jarvis_rules::run::{Intent, RunId};
use jarvis_rules::triggers::{Firing, Missed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A run of an automation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunOf {
    /// The automation.
    pub automation: String,
    /// Its run.
    pub run: RunId,
}

/// A letter to the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToBridge {
    /// A run asks for something. What comes of it is told by [`ToAutomation::Outcome`], once.
    Asked {
        /// Which run.
        by: RunOf,
        /// The number of the intent in the run.
        number: u64,
        /// What.
        intent: Intent,
    },
    /// What a run waits for has changed, or the run has ended: its row is to be read again.
    Waits(RunOf),
    /// Something happened that no message of the broker told of.
    Told(Told),
    /// Something is to be said at some time.
    Remind(Reminder),
}

/// Something that happened outside the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// An event.
    Event {
        /// Its type.
        event_type: String,
        /// What goes with it.
        data: Map<String, Value>,
    },
    /// An HTTP request came for a webhook.
    Webhook {
        /// Its secret name.
        id: String,
        /// Upper case.
        method: String,
        /// From this machine or a private network.
        local: bool,
        /// The body, if it was JSON.
        json: Option<Value>,
        /// The body, if it was a form.
        data: Map<String, Value>,
        /// The query.
        query: Map<String, Value>,
    },
    /// A drill has ended.
    Drill {
        /// Its name.
        name: String,
        /// Whether all held that should.
        passed: bool,
    },
    /// A chat session asks for something that automations may answer to.
    Intent {
        /// What.
        name: String,
        /// What was understood of it.
        slots: Map<String, Value>,
        /// Who asks.
        session: String,
        /// Names the asking: the same again is told of once. None: it comes once.
        #[serde(default)]
        id: Option<String>,
    },
}

/// Something that is to be said at some time, in the chat session in which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    /// Its name: made of the message that asked for it, so that asking twice sets it once.
    pub id: String,
    /// The chat session.
    pub session: String,
    /// What is to be said then.
    pub text: String,
    /// When, Unix milliseconds.
    pub due_ms: i64,
    /// When it was asked for, Unix milliseconds.
    pub asked_ms: i64,
}

/// A letter to an automation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAutomation {
    /// One of its triggers fired.
    Fired(Firing),
    /// One of its triggers fell due unseen and is not made up for: something for its trace.
    Missed(Missed),
    /// A trigger that a run waits for fired.
    Triggered {
        /// The run.
        run: RunId,
        /// The wait's number.
        wait: u32,
        /// `trigger`, as templates see it.
        trigger: Value,
    },
    /// States may have changed before what a run waits for was watched: it is to look.
    Look {
        /// The run.
        run: RunId,
    },
    /// What came of an intent.
    Outcome {
        /// The run.
        run: RunId,
        /// The intent's number.
        number: u64,
        /// What came of it.
        outcome: OutcomeOf,
        /// Entities that it was meant for and did not reach, each with the reason.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_reached: Vec<(String, String)>,
    },
    /// Somebody wants it to run.
    Trigger {
        /// The run that begins, unless it stands there already.
        run: RunId,
        /// What its templates see besides.
        variables: Map<String, Value>,
        /// Whether its conditions are passed over.
        skip_conditions: bool,
        /// Who, in a word: `person`, `service`, `home assistant`.
        by: String,
    },
    /// Its definition was changed, switched or removed: it stands in the bridge's rows.
    Defined,
    /// Its runs are to end.
    Stop {
        /// Why.
        why: String,
    },
}

/// What came of an intent, as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeOf {
    /// It was done; with what was answered.
    Done(Option<Value>),
    /// It could not be done.
    Failed(String),
    /// Nobody said in time whether it was done.
    TimedOut,
}

impl From<OutcomeOf> for jarvis_rules::run::Outcome {
    fn from(outcome: OutcomeOf) -> Self {
        match outcome {
            OutcomeOf::Done(answer) => Self::Done(answer),
            OutcomeOf::Failed(why) => Self::Failed(why),
            OutcomeOf::TimedOut => Self::TimedOut,
        }
    }
}

/// What the bridge is asked for at once. Each may come twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// These automations are to be there, in the place of those of the same ids.
    Load {
        /// They.
        automations: Vec<Automation>,
    },
    /// It is to go.
    Remove {
        /// Its id.
        automation: String,
    },
    /// It is to be on, or off.
    Enable {
        /// Its id.
        automation: String,
        /// On.
        on: bool,
    },
    /// A service is to be called; answered when it is done.
    Call {
        /// Names the call, the same at every try.
        id: String,
        /// `light.turn_on`.
        service: String,
        /// For what.
        target: Target,
        /// With what.
        data: Map<String, Value>,
    },
    /// How it stands.
    Status,
    /// A dead letter is to be tried again.
    Replay {
        /// Its id, a ULID.
        letter: String,
    },
    /// A dead letter is to be forgotten.
    Forget {
        /// Its id, a ULID.
        letter: String,
    },
    /// A reminder is not wanted any more.
    CancelReminder {
        /// Its id.
        id: String,
    },
}

/// What the bridge answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// Done.
    Done,
    /// What loading came to.
    Loaded {
        /// New ones.
        added: Vec<String>,
        /// Those that do something else now.
        changed: Vec<String>,
        /// Those that are as they were.
        unchanged: usize,
        /// What cannot be watched, in sentences, by automation.
        problems: Vec<(String, String)>,
    },
    /// The call was done.
    Called {
        /// Entities that were meant but not reached, each with the reason.
        passed_over: Vec<(String, String)>,
    },
    /// How it stands.
    Status(BridgeStatus),
    /// There is no such thing.
    NotFound(String),
    /// It cannot be done; a sentence that says why and what to do.
    Refused(String),
    /// Not now.
    Unavailable(String),
}

/// How the bridge stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeStatus {
    /// The node that it runs on.
    pub node: String,
    /// The broker, without a password; none: none is configured there.
    pub broker: Option<String>,
    /// `connected`, `connecting`, `waiting`, `released`, `none`.
    pub state: String,
    /// What is wrong and what to do about it, if something is.
    pub trouble: Option<String>,
    /// `5` or `3.1.1`, while connected.
    pub protocol: Option<String>,
    /// Times at which the broker had forgotten what it kept for the cluster.
    pub sessions_lost: u64,
    /// Whether all topics are subscribed to.
    pub subscribed: bool,
    /// Topics that the broker does not allow.
    pub refused_topics: Vec<String>,
    /// Devices that are known.
    pub devices: usize,
    /// Entities that are known.
    pub entities: usize,
    /// Automations.
    pub automations: usize,
    /// Intents under way.
    pub acts: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Reminders that wait.
    pub reminders: usize,
    /// What is wrong with automations or devices, in sentences.
    pub problems: Vec<String>,
}

/// A state with its entity, as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateOf {
    /// Whose.
    pub entity_id: String,
    /// What.
    #[serde(flatten)]
    pub state: EntityState,
}

/// Why something written down was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not understood: {0}")]
pub struct WireError(String);

/// As it is sent.
pub fn encode<T: Serialize>(what: &T) -> Vec<u8> {
    // Maps have texts for keys, and numbers are finite: nothing else fails.
    serde_json::to_vec(what).unwrap_or_default()
}

/// What was sent.
///
/// # Errors
/// It is something else, or a newer build's.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|error| WireError(error.to_string()))
}
