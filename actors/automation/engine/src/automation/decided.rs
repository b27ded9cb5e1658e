//! What a batch came to, and the shape that it is written in.

use std::collections::BTreeMap;

use jarvis_machine::command::{Letter, RowChange};
use jarvis_rules::run::{Effect, Ended, Level, Run, RunId};
use jarvis_types::EntityId;

use super::Head;
use super::book::{Book, Sort};
use super::watched::is_watched;
use crate::rows;
use crate::wire::{RunOf, ToBridge, encode};

/// Something that is told of when the step is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Telling {
    /// A run says something.
    Log {
        /// Which.
        run: RunId,
        /// How much it matters.
        level: Level,
        /// What.
        message: String,
    },
    /// A timer fell due unseen, so many milliseconds ago.
    Late(u64),
    /// A run ended; how, in a word.
    Ended(&'static str),
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decided {
    /// To be written.
    pub(super) rows: Vec<RowChange>,
    /// To be sent in the same step.
    pub(super) letters: Vec<Letter>,
    /// What the automation holds once that is written.
    pub(super) book: Book,
    /// And then told of.
    pub(super) tellings: Vec<Telling>,
}

impl Decided {
    /// Nothing is left of an automation that was removed, but what a newer build wrote.
    pub(super) fn removal(book: &Book) -> Self {
        let runs = book.runs.keys().map(|id| format!("{}{}", rows::RUN, id.0));
        let mut names: Vec<String> = runs.chain(book.traces.keys().cloned()).collect();
        if book.head != Head::default() {
            names.push(rows::HEAD.to_owned());
        }
        let watched = book.runs.values().filter(|kept| is_watched(&kept.run));
        let ended = book.runs.values().filter(|kept| !kept.run.has_ended());
        Self {
            rows: names.into_iter().map(|name| change((name, None))).collect(),
            letters: watched
                .map(|kept| to_bridge(&ToBridge::Waits(run_of(&kept.run))))
                .collect(),
            book: Book {
                foreign: book.foreign.clone(),
                ..Book::default()
            },
            tellings: ended.map(|_| Telling::Ended("stopped")).collect(),
        }
    }
}

pub(super) fn change((name, value): (String, Option<Vec<u8>>)) -> RowChange {
    RowChange {
        name: name.into_bytes(),
        value,
    }
}

pub(super) fn run_of(run: &Run) -> RunOf {
    RunOf {
        automation: run.automation.clone(),
        run: run.id.clone(),
    }
}

pub(super) fn to_bridge(what: &ToBridge) -> Letter {
    Letter {
        to: EntityId::bridge(),
        body: encode(what),
    }
}

/// Letters for what a run asked for.
pub(super) fn asked(run: &Run, effects: &[Effect]) -> Vec<Letter> {
    let numbers = effects.iter().filter_map(|effect| match effect {
        Effect::Call(call) => Some(call.intent),
        Effect::FireEvent(event) => Some(event.intent),
        Effect::Log { .. } => None,
    });
    let letters = numbers.filter_map(|number| {
        let intent = run.intents.get(&number)?.clone();
        Some(to_bridge(&ToBridge::Asked {
            by: run_of(run),
            number,
            intent,
        }))
    });
    letters.collect()
}

/// Traces that are too many, of each sort the oldest.
pub(super) fn surplus(traces: &BTreeMap<String, Sort>, most: usize) -> Vec<String> {
    let of = |wanted: Sort| {
        let newest = traces.iter().rev().filter(move |(_, sort)| **sort == wanted);
        newest.skip(most).map(|(name, _)| name.clone())
    };
    of(Sort::Ran).chain(of(Sort::PassedOver)).collect()
}

/// How a run ended, in a word.
pub(super) fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Finished { .. } => "finished",
        Ended::Aborted { .. } => "aborted",
        Ended::Failed { .. } => "failed",
        Ended::Stopped { .. } => "stopped",
        Ended::Missed { .. } => "missed",
    }
}
