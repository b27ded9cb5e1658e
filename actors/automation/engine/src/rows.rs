//! Names of rows.
//!
//! | entity | name | holds |
//! |---|---|---|
//! | `bridge/home` | `a/ID` | [`crate::Definition`] of an automation |
//! | | `b` | which ownership, in which life of its process, wrote last |
//! | | `c/NNN` | [`Written`]: which rows a version of the bridge wrote; a ring |
//! | | `d/ULID` | a dead letter |
//! | | `f/NNN` | what people asked for and was done: a ring |
//! | | `h/…` | a hold (`for:`) under way |
//! | | `i/ID` | an act under way |
//! | | `k/NAME` | what came of a drill last |
//! | | `m/b`, `m/p/NNNN` | the broker's session; messages that were decided on, a ring |
//! | | `m/f/…` | a filter that may be subscribed to |
//! | | `n/NODE` | whether a node answered when automations were last told |
//! | | `q/ID` | which filters of an automation are new, and what they have had of what the broker retains |
//! | | `r/KEY` | a row of the registry of devices |
//! | | `t/ID` | a reminder |
//! | | `w` | until when somebody watched, Unix milliseconds |
//! | `automation/ID` | `s` | [`crate::automation::Head`] |
//! | | `r/RUN` | a run that has not settled |
//! | | `t/STARTED RUN` | a run that has, for its trace |

use serde::{Deserialize, Serialize};

/// Definitions.
pub const DEFINITION: &str = "a/";
/// Who wrote last.
pub const BOOT: &str = "b";
/// What was written.
pub const WRITTEN: &str = "c/";
/// Dead letters.
pub const DEAD: &str = "d/";
/// What people asked for and was done.
pub const FINISHED: &str = "f/";
/// Holds.
pub const HOLD: &str = "h/";
/// Acts under way.
pub const ACT: &str = "i/";
/// What came of drills.
pub const DRILL: &str = "k/";
/// The broker's session.
pub const SESSION: &str = "m/b";
/// Messages decided on.
pub const PACKET: &str = "m/p/";
/// Filters that may be subscribed to.
pub const FILTER: &str = "m/f/";
/// Filters that are new.
pub const NEW_FILTERS: &str = "q/";
/// Nodes.
pub const NODE: &str = "n/";
/// The registry.
pub const REGISTRY: &str = "r/";
/// Reminders.
pub const REMINDER: &str = "t/";
/// Until when somebody watched.
pub const WATCHED: &str = "w";

/// What an automation keeps of itself.
pub const HEAD: &str = "s";
/// Its runs.
pub const RUN: &str = "r/";
/// Its traces.
pub const TRACE: &str = "t/";

/// How many versions' changes are kept: a mirror that is further behind reads everything.
pub const WRITTEN_KEPT: u64 = 512;

/// Which rows a version of the bridge wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The version that the entity had after it.
    pub version: u64,
    /// Rows that others mirror; none: too many to name, all are to be read.
    pub rows: Option<Vec<String>>,
}

/// Name of the row in which a version's changes stand.
pub fn written(version: u64) -> String {
    format!("{WRITTEN}{:03}", version % WRITTEN_KEPT)
}

/// Whether others mirror a row of the bridge.
pub fn is_mirrored(name: &str) -> bool {
    name.starts_with(DEFINITION) || name.starts_with(REGISTRY) || name.starts_with(REMINDER)
}

/// Name of the row of a trace: in the order in which runs began.
pub fn trace(started_ms: i64, run: &str) -> String {
    format!("{TRACE}{started_ms:015} {run}")
}
