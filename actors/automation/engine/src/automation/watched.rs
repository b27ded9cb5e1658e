//! What the bridge watches for a run: it is told when that changes.

use jarvis_rules::program::Program;
use jarvis_rules::run::{Run, WaitKind, Waiting};

/// What the bridge watches for a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Watched {
    waits: Vec<Waiting>,
    /// Whether there are any: those of another revision are not known otherwise.
    any: bool,
}

impl Watched {
    /// For a run of this program, or of another.
    pub(super) fn of(run: &Run, program: &Program) -> Self {
        Self {
            waits: run.waits(program),
            any: is_watched(run),
        }
    }
}

/// Whether the bridge watches anything for it.
pub(super) fn is_watched(run: &Run) -> bool {
    run.threads.values().any(|thread| {
        let kind = thread.wait.as_ref().map(|wait| &wait.kind);
        matches!(kind, Some(WaitKind::Template | WaitKind::Triggers))
    })
}
