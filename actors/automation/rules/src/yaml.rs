//! Bounded reading of YAML: a tree with line and column at every node.
//!
//! ```text
//!  text ──saphyr-parser──► events ──build──► Node      aliases expanded, `<<` merged, all of it counted;
//!                                     │                what is wrong by itself is a node that is refused
//!                                     └► Wrong         where, what, and what to write instead: nothing can be read
//! ```
//!
//! What plain scalars mean follows YAML 1.1 where Home Assistant does: `on` and `yes` are truth values where a truth value is
//! asked for, and remain text where text is.

mod build;
mod node;
mod scalar;

pub(crate) use self::build::parse;
pub(crate) use self::node::{Content, Entry, Node, Scalar};
use crate::model::Position;

/// Why a text is no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Where.
    pub(crate) position: Position,
    /// What is wrong.
    pub(crate) what: String,
    /// What to write instead; may be empty.
    pub(crate) instead: String,
}

impl Wrong {
    pub(crate) fn new(position: Position, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            position,
            what: what.into(),
            instead: instead.into(),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
