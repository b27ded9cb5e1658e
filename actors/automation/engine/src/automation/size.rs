//! How much of a run fits into a row.

use jarvis_rules::run::{Ended, Run, RunState, TraceStep, What};

use super::book::Kept;

/// Most bytes of a run's row; the machine takes somewhat more. A message of 64 KiB that started it takes up to half as much again
/// where it stands in quotes.
pub(super) const RUN_BYTES_MAX: usize = 120 * 1_024;
/// Most bytes of a trace's row: of a larger one the variables are let go.
pub(super) const TRACE_BYTES_MAX: usize = 32 * 1_024;
/// A step that has so many bytes takes up nothing more. What one more run may add, its row and as much again in letters, still
/// fits into a command then.
pub(super) const STEP_BYTES_FULL: usize = 150 * 1_024;
/// Steps of a trace that are kept whatever they take.
const TRACE_STEPS_LEAST: usize = 4;
/// Longest reason that is kept, in characters.
const WHY_CHARS_MAX: usize = 2_000;

/// A reason, cut to a length that fits everywhere.
pub(super) fn clip(mut why: String) -> String {
    if let Some((end, _)) = why.char_indices().nth(WHY_CHARS_MAX) {
        why.truncate(end);
        why.push('…');
    }
    why
}

/// The row of a run, if it fits; older steps of its trace are let go for that.
pub(super) fn fit(kept: &mut Kept) -> Result<Vec<u8>, usize> {
    loop {
        let bytes = kept.to_bytes();
        if bytes.len() <= RUN_BYTES_MAX {
            return Ok(bytes);
        }
        if !shorten(&mut kept.run) {
            return Err(bytes.len());
        }
    }
}

/// The row of a run's trace.
pub(super) fn trace(kept: &Kept) -> Vec<u8> {
    let bytes = kept.to_bytes();
    if bytes.len() <= TRACE_BYTES_MAX {
        return bytes;
    }
    let mut less = kept.clone();
    less.run.variables.clear();
    loop {
        let bytes = less.to_bytes();
        if bytes.len() <= TRACE_BYTES_MAX || !shorten(&mut less.run) {
            return bytes;
        }
    }
}

/// Lets the older half of a trace go; whether there was anything to let go.
fn shorten(run: &mut Run) -> bool {
    let trace = &mut run.trace;
    let (less, halved) = match trace.steps.len() {
        0..=TRACE_STEPS_LEAST => (0, false),
        steps => (steps / 2, true),
    };
    trace.steps.drain(..less);
    trace.dropped += less as u64;
    halved
}

/// Ends a run whose row would be too large, with what fits of it. What it asked for before is under way all the same.
pub(super) fn end_too_large(run: &mut Run, bytes: usize, now_ms: i64, node: &str) {
    let error = format!(
        "its state would take {bytes} bytes, and {RUN_BYTES_MAX} may be kept: its variables are let go, and what it asked for \
         last is not done. Keep less in variables, or call for fewer things at a time"
    );
    run.variables.clear();
    run.threads.clear();
    run.intents.values_mut().for_each(|intent| intent.thread = None);
    while shorten(run) {}
    run.trace.steps.push_back(TraceStep {
        path: String::new(),
        at_ms: now_ms,
        node: node.to_owned(),
        what: What::Ended {
            how: format!("failed: {error}"),
        },
    });
    run.state = RunState::Ended(Ended::Failed { error });
}
