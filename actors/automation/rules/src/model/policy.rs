//! What becomes of triggers and waits that could not be seen in time, because no node ran them then.

use serde::{Deserialize, Serialize};

/// `jarvis: { catch_up: …, at_most_late: … }`, on an automation or on one trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What is done.
    pub catch_up: CatchUp,
    /// What is later than this, in milliseconds, is skipped whatever the policy.
    pub at_most_late_ms: u64,
}

/// What is done about what fell due unseen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// It is done late, once.
    #[default]
    CatchUp,
    /// It is passed over.
    Skip,
    /// It is done late if what led to it still holds now: the state of a `for:`, the conditions of a time.
    Recheck,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            catch_up: CatchUp::CatchUp,
            at_most_late_ms: 60 * 60 * 1_000,
        }
    }
}
