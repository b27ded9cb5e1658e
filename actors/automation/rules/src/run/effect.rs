//! What comes out of a run when it is advanced.

use super::{Call, Event};

/// What came of an advance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Advanced {
    /// To be done once the run is kept, in this order.
    pub effects: Vec<Effect>,
    /// There is more to do at once: advance it again with [`Input::Continue`](super::Input::Continue).
    pub again: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A service; its outcome is to be reported.
    Call(Call),
    /// An event; that it was told is to be reported as [`Outcome::Done`](super::Outcome::Done).
    FireEvent(Event),
    /// Something to know for who looks after the home.
    Log {
        /// How much it matters.
        level: Level,
        /// A sentence.
        message: String,
    },
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// In passing.
    Info,
    /// Someone should look at it.
    Warning,
    /// Something was not done.
    Error,
}
