//! What people say of their home, in English and French: « éteins la cuisine », "is the garage door closed?", "remind me in ten
//! minutes". Pure: the same words over the same [`View`] come to the same.
//!
//! Nothing is guessed where a guess could do harm: locks, alarms and doors that open by themselves are reached by their exact
//! names only. What could mean several things is asked back.

mod act;
mod lexicon;
mod names;
mod number;
mod query;
mod reminder;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::limits::MAX_SPOKEN_CHARS;
use crate::registry::View;
use crate::service::Target;
use crate::text::{fold, words};

pub use reminder::{Due, Reminder, remind};

/// A language that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// French.
    French,
}

impl Language {
    /// The one of two texts that is in this language.
    pub fn pick<T>(self, english: T, french: T) -> T {
        match self {
            Self::English => english,
            Self::French => french,
        }
    }
}

/// A service call that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// `light.turn_off`.
    pub service: String,
    /// For what.
    pub target: Target,
    /// With what.
    pub data: Map<String, Value>,
    /// What to say once it is done.
    pub confirmation: String,
}

/// What was made of the words.
#[derive(Debug, Clone, PartialEq)]
pub enum Understood {
    /// These are to be called. More than one, where a room has devices of several kinds.
    Do(Vec<Command>),
    /// It could mean several things: what to ask back.
    Ask(String),
    /// It was a question, or cannot be done: what to say.
    Tell(String),
}

/// Understands what is said of the home. None: it is about something else. Both languages are understood whatever `language`
/// is; it is the one that is answered in.
pub fn understand(text: &str, language: Language, view: &View) -> Option<Understood> {
    if text.chars().count() > MAX_SPOKEN_CHARS {
        return None;
    }
    let folded = fold(text);
    let all = words(&folded);
    let said = lexicon::without_fillers(&all);
    if said.is_empty() {
        return None;
    }
    if let Some(answer) = query::answer(said, language, view) {
        return Some(answer);
    }
    act::understand(said, &folded, language, view)
}
