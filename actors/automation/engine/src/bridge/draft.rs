//! A step of the bridge before it is written.

use std::collections::BTreeMap;

use jarvis_entity::api::Step;
use jarvis_machine::apply::{MAX_LETTER_BYTES, MAX_ROW_NAME_BYTES, MAX_ROW_VALUE_BYTES};
use jarvis_machine::command::{Letter, RowChange};
use jarvis_types::EntityId;
use serde::Serialize;

use crate::rows::{self, Written};
use crate::wire::{ToAutomation, encode};

/// With so many bytes in it a step is written before more is taken in.
const ENOUGH_BYTES: usize = 160 * 1_024;
/// With so many letters in it, likewise.
const ENOUGH_LETTERS: usize = 512;
/// Most bytes of a step: less than what one proposal may carry.
const MOST_BYTES: usize = 440 * 1_024;
/// What a step may come to before what can go ahead of it does, in steps of its own of as many bytes.
const UNDIVIDED_BYTES: usize = 400 * 1_024;
/// Bytes that a row takes beside its name and value, at most.
const ROW_BYTES: usize = 16;
/// Rows named in a version's entry; more: everything is to be read again.
pub(super) const NAMED_ROWS: usize = 256;
/// Bytes of their names.
pub(super) const NAMED_BYTES: usize = 12 * 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rows: BTreeMap<String, Option<Vec<u8>>>,
    letters: Vec<Letter>,
    /// Of everything.
    bytes: usize,
    /// Of rows that can go ahead.
    ahead_bytes: usize,
    /// It is to be written even without rows.
    touched: bool,
    pub(super) taken: u64,
}

impl Draft {
    /// Letters up to this one are done with, and nothing comes of them.
    pub(super) fn taking(taken: u64) -> Self {
        Self {
            taken,
            ..Self::default()
        }
    }

    /// Sets a row.
    pub(super) fn put<T: Serialize>(&mut self, name: String, value: &T) {
        self.put_bytes(name, encode(value));
    }

    /// Sets a row to bytes. One that the tables would never take is left out, and the log says so: it would keep everything else
    /// of the step from being written. What it was before goes too: it is not so any more.
    pub(super) fn put_bytes(&mut self, name: String, value: Vec<u8>) {
        if name.len() > MAX_ROW_NAME_BYTES || value.len() > MAX_ROW_VALUE_BYTES {
            let bytes = value.len();
            tracing::error!(row = name, bytes, "a row is too large to be kept; it is left out");
            return self.remove(name);
        }
        let value = Some(value);
        self.count(&name, &value);
        self.rows.insert(name, value);
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, name: String) {
        if name.len() > MAX_ROW_NAME_BYTES {
            return;
        }
        self.count(&name, &None);
        self.rows.insert(name, None);
    }

    /// Removes a row, if there is one to be named.
    pub(super) fn remove_if(&mut self, name: Option<String>) {
        if let Some(name) = name {
            self.remove(name);
        }
    }

    fn count(&mut self, name: &str, value: &Option<Vec<u8>>) {
        let bytes = row_bytes(name, value);
        self.bytes += bytes;
        if goes_ahead(name, value) {
            self.ahead_bytes += bytes;
        }
    }

    /// Sends a letter to an automation, if it still fits.
    pub(super) fn tell(&mut self, automation: &str, letter: &ToAutomation) -> bool {
        let body = encode(letter);
        let bytes = body.len() + automation.len() + 24;
        if body.len() > MAX_LETTER_BYTES || self.bytes - self.ahead_bytes + bytes > MOST_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.letters.push(Letter {
            to: EntityId::automation(automation),
            body,
        });
        true
    }

    /// A fault of simulations: what is begun is not kept.
    pub(super) fn lose_acts(&mut self) {
        self.rows
            .retain(|name, row| row.is_none() || !name.starts_with(rows::ACT));
    }

    /// Something was seen that stands in no row: that it was is to be kept, by the time until when somebody watched.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether it holds enough to be written.
    pub(super) fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH_BYTES || self.letters.len() >= ENOUGH_LETTERS
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.letters.is_empty() && self.taken == 0 && !self.touched
    }

    /// The steps that make this version of the bridge, and those after it: one, but where a single message describes or changes more
    /// than a step may hold. Then rows of devices and holds go ahead, and what says that the message was decided on comes last,
    /// with all that follows from it: until then the message comes again.
    pub(super) fn into_steps(mut self, version: u64, watched_ms: i64) -> Vec<Step> {
        let mut parts = Vec::new();
        if self.bytes > UNDIVIDED_BYTES {
            let (ahead, last) = std::mem::take(&mut self.rows)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(name, value)| goes_ahead(name, value));
            self.rows = last;
            let (mut part, mut bytes) = (Self::default(), 0);
            for (name, value) in ahead {
                let more = row_bytes(&name, &value);
                if bytes > 0 && bytes + more > UNDIVIDED_BYTES {
                    parts.push(std::mem::take(&mut part));
                    bytes = 0;
                }
                bytes += more;
                part.rows.insert(name, value);
            }
            if !part.rows.is_empty() {
                parts.push(part);
            }
        }
        parts.push(self);
        let versions = version..;
        let steps = parts.into_iter().zip(versions);
        steps
            .map(|(part, version)| part.into_step(version, watched_ms))
            .collect()
    }

    /// The step that makes a version of the bridge.
    fn into_step(mut self, version: u64, watched_ms: i64) -> Step {
        self.put(rows::WATCHED.to_owned(), &watched_ms);
        let named: Vec<String> = self
            .rows
            .keys()
            .filter(|name| rows::is_mirrored(name))
            .cloned()
            .collect();
        let bytes: usize = named.iter().map(String::len).sum();
        let rows = (named.len() <= NAMED_ROWS && bytes <= NAMED_BYTES).then_some(named);
        self.put(rows::written(version), &Written { version, rows });
        Step {
            rows: self
                .rows
                .into_iter()
                .map(|(name, value)| RowChange {
                    name: name.into_bytes(),
                    value,
                })
                .collect(),
            taken: self.taken,
            letters: self.letters,
        }
    }
}

/// Whether a row may be written before the rest of its step. It says what became so, and nothing of what was done about it.
fn goes_ahead(name: &str, value: &Option<Vec<u8>>) -> bool {
    value.is_some() && (name.starts_with(rows::REGISTRY) || name.starts_with(rows::HOLD))
}

fn row_bytes(name: &str, value: &Option<Vec<u8>>) -> usize {
    name.len() + value.as_ref().map_or(0, Vec::len) + ROW_BYTES
}
