//! Runs: what an automation is doing, as plain data.
//!
//! ```text
//!  firing ──Run::decide──► begun? ──admit──► Run ──advance(input)──► effects ─► calls, events, log
//!             (conditions)        (mode)      ▲          │
//!                                             │          ├─ waits: until a time, for a template, triggers, outcomes
//!                                             └──────────┴─ kept (one proposal a step), read by the next owner
//! ```
//!
//! [`advance`](Run::advance) reads no clock and draws no number: what it did can be had again from what went in. The caller keeps the
//! run *before* it does what the effects say. A [`Call`] that was kept and not reported on is still in [`Run::intents`]: the next
//! owner does it again under the same number, which the device's side can tell by.
//!
//! **What ends a run.** Its last step; `stop`; a failure without `continue_on_error`; a wait that timed out and is not to go on;
//! [`Input::Stop`]; a bound of [`Limits`]. A condition that does not hold ends the sequence that it stands in, as in Home
//! Assistant. Everything else waits for something that the caller knows of: see [`Run::waits`].
//!
//! **What fell due while nobody looked.** A delay or timeout that is looked at seconds after it was due is late: the automation's
//! [`Policy`](crate::model::Policy) decides, and the trace says what was decided and by how much it was late.

mod admission;
mod advance;
mod call;
pub(crate) mod conditions;
mod effect;
mod input;
mod intent;
mod limits;
mod render;
mod start;
mod step;
mod thread;
mod toggle;
mod trace;
mod wait;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::admission::{Admission, Admitted, MOST_FINISHING, RunSeen, admit, next_queued};
pub use self::conditions::{Check, ConditionError};
pub use self::effect::{Advanced, Effect, Level};
pub use self::input::{Env, Input, Outcome};
pub use self::intent::{Call, Deed, Event, Intent};
pub use self::limits::Limits;
pub use self::render::{render, span_ms};
pub(crate) use self::render::{same as render_same, text_of};
pub use self::start::{Begun, PassedOver};
pub use self::thread::{Frame, Halt, Loop, Thread};
pub use self::toggle::resolve_toggle;
pub use self::trace::{Trace, TraceStep, What};
pub use self::wait::{Wait, WaitKind, Waiting};
use crate::program::Revision;

/// The format of a run that is kept. Fields may be added with defaults; what means something else gets the next number.
pub const RUN_FORMAT: u16 = 1;

/// Names a run, wherever it goes on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub String);

/// What led to something, so that it can be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Of this run: the same as its id, unless the caller knows better.
    pub id: String,
    /// Of what led to it.
    pub parent: Option<String>,
}

/// What an automation is doing, or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`RUN_FORMAT`] when it was written.
    pub format: u16,
    /// Its name.
    pub id: RunId,
    /// The automation's id.
    pub automation: String,
    /// The program whose places it counts in.
    pub revision: Revision,
    /// What led to it.
    pub context: Context,
    /// When it was begun, Unix milliseconds.
    pub started_ms: i64,
    /// How it stands.
    pub state: RunState,
    /// All variables but those of loops and parallel sequences: `trigger` and `this` among them.
    pub variables: Map<String, Value>,
    /// Where it stands: one thread, and one more for each sequence of a `parallel` under way. The first is 0.
    pub threads: BTreeMap<u32, Thread>,
    /// What it asked for and has not been told the outcome of, by number.
    pub intents: BTreeMap<u64, Intent>,
    /// The next number of an intent. Never goes back.
    pub next_intent: u64,
    /// The next number of a thread.
    pub next_thread: u32,
    /// The next number of a wait.
    pub next_wait: u32,
    /// Steps taken so far.
    pub steps: u64,
    /// Steps taken since it last waited for anything.
    pub steps_since_wait: u64,
    /// What it did, for people.
    pub trace: Trace,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It begins when those before it have ended.
    Queued,
    /// It goes on, or waits.
    Active,
    /// It has ended. Intents may still be open: the caller goes on with those.
    Ended(Ended),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// By its last step, or `stop`.
    Finished {
        /// What it hands to who called.
        response: Option<Value>,
    },
    /// A condition of its outermost sequence did not hold, or a wait timed out.
    Aborted {
        /// What.
        why: String,
    },
    /// Something failed.
    Failed {
        /// What.
        error: String,
    },
    /// From outside: it was restarted, switched off or changed.
    Stopped {
        /// Why.
        why: String,
    },
    /// It came too late for its policy to go on.
    Missed {
        /// Why.
        why: String,
    },
}

impl Run {
    /// Whether it has ended and nothing that it asked for is open: nobody needs to look at it again.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, RunState::Ended(_)) && self.intents.is_empty()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, RunState::Ended(_))
    }
}
