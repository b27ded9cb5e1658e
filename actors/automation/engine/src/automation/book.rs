//! What an automation holds in memory: what its rows say, and nothing besides.

use std::collections::{BTreeMap, BTreeSet};

use jarvis_machine::storage::KeyValue;
use jarvis_rules::run::{RUN_FORMAT, Run, RunId, RunState};
use serde::{Deserialize, Serialize};

use super::Head;
use crate::rows;
use crate::wire::{decode, encode};

/// A run with its place in the order in which they came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// It.
    pub(super) run: Run,
    /// Smaller ones came before. Two may begin in the same millisecond, so that the time does not tell.
    pub(super) order: u64,
}

/// A run as it is written: with a field more than [`Run`] has, which others that read runs pass over.
#[derive(Serialize)]
struct Written<'w> {
    #[serde(flatten)]
    run: &'w Run,
    order: u64,
}

/// What is read of a run before the rest of it is.
#[derive(Deserialize)]
struct Outline {
    format: u16,
    #[serde(default)]
    order: u64,
}

impl Kept {
    /// As its row has it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        encode(&Written {
            run: &self.run,
            order: self.order,
        })
    }

    /// Of its row; none: a newer build wrote it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let outline: Outline = decode(bytes).ok()?;
        if outline.format > RUN_FORMAT {
            return None;
        }
        Some(Self {
            run: decode(bytes).ok()?,
            order: outline.order,
        })
    }
}

/// Which sort of trace it is: of each the newest are kept, so that a trigger that is passed over every second does not
/// push out what the automation did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Of a run that did something.
    Ran,
    /// Of a trigger that led to nothing.
    PassedOver,
}

impl Sort {
    /// Of a run that has ended.
    pub(super) fn of(run: &Run) -> Self {
        if run.steps > 0 {
            Self::Ran
        } else {
            Self::PassedOver
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Book {
    /// What it keeps of itself.
    pub(super) head: Head,
    /// Runs that have not settled.
    pub(super) runs: BTreeMap<RunId, Kept>,
    /// Names of the rows of traces, oldest first.
    pub(super) traces: BTreeMap<String, Sort>,
    /// Runs that a newer build wrote: left alone.
    pub(super) foreign: BTreeSet<RunId>,
}

impl Book {
    /// Of an automation's rows.
    pub(super) fn read(all: &[KeyValue]) -> Self {
        let mut book = Self::default();
        for (name, value) in all {
            let name = String::from_utf8_lossy(name);
            if name == rows::HEAD {
                book.head = decode(value).unwrap_or_else(|error| {
                    tracing::error!(row = %name, %error, "what an automation keeps of itself is begun anew");
                    Head::default()
                });
            } else if let Some(id) = name.strip_prefix(rows::RUN) {
                let id = RunId(id.to_owned());
                match Kept::read(value) {
                    Some(kept) => drop(book.runs.insert(id, kept)),
                    None => {
                        tracing::error!(run = %id.0, "a run that a newer build wrote is left alone; let a node of that build have it");
                        book.foreign.insert(id);
                    }
                }
            } else if name.starts_with(rows::TRACE)
                && let Some(kept) = Kept::read(value)
            {
                book.traces.insert(name.into_owned(), Sort::of(&kept.run));
            }
        }
        let next = book.runs.values().map(|kept| kept.order + 1).max().unwrap_or(0);
        book.head.runs = book.head.runs.max(next);
        book
    }

    /// Whether a run of that name stands, or has left its trace.
    pub(super) fn knows(&self, id: &RunId) -> bool {
        let trace = |name: &String| name.split_once(' ').is_some_and(|(_, run)| run == id.0);
        self.runs.contains_key(id) || self.foreign.contains(id) || self.traces.keys().any(trace)
    }

    /// Runs that go on, wait, or are to begin.
    pub(super) fn under_way(&self) -> usize {
        self.runs.values().filter(|kept| !kept.run.has_ended()).count()
    }

    /// A fault of simulations: runs whose time has come are not seen.
    pub(super) fn forget_due(&mut self, now_ms: i64) {
        self.runs
            .retain(|_, kept| kept.run.wake_at_ms().is_none_or(|at_ms| at_ms > now_ms));
    }

    /// When a run has to be woken at the latest, Unix milliseconds.
    pub(super) fn wake_at_ms(&self) -> Option<i64> {
        self.runs.values().filter_map(|kept| kept.run.wake_at_ms()).min()
    }
}

/// Whether it can go on at once.
pub(super) fn is_ready(run: &Run) -> bool {
    run.state == RunState::Active && run.threads.values().any(|thread| thread.wait.is_none())
}
