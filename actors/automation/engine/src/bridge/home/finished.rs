//! What people asked for, by its name, and was done: asked again, after an answer was lost, it is not done a second time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::super::draft::Draft;
use super::Home;
use crate::rows;

/// How much is remembered: who asks again does so within seconds.
pub(super) const REMEMBERED: usize = 256;

/// Something that was done, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    /// Counts them, from 1.
    number: u64,
    /// Its name.
    id: String,
    /// Why it could not be done.
    failed: Option<String>,
}

/// The newest of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Finished>);

impl Ring {
    pub(super) fn restore(mut kept: Vec<Finished>) -> Self {
        kept.sort_by_key(|one| one.number);
        Self(kept.into())
    }
}

impl Home {
    /// What came of something that was asked for by this name; none: it is not known to have ended.
    pub(in super::super) fn finished(&self, id: &str) -> Option<Result<(), String>> {
        let known = self.finished.0.iter().rev().find(|one| one.id == id)?;
        Some(known.failed.clone().map_or(Ok(()), Err))
    }

    /// Something that was asked for by this name has ended.
    pub(in super::super) fn finish(&mut self, id: &str, failed: Option<String>, draft: &mut Draft) {
        let ring = &mut self.finished.0;
        let number = ring.back().map_or(0, |last| last.number) + 1;
        let id = id.to_owned();
        let one = Finished { number, id, failed };
        draft.put(
            format!("{}{:03}", rows::FINISHED, number % REMEMBERED as u64),
            &one,
        );
        ring.push_back(one);
        if ring.len() > REMEMBERED {
            ring.pop_front();
        }
    }
}
