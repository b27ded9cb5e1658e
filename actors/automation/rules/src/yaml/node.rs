//! The tree that a text of YAML stands for.

use std::borrow::Cow;

use crate::model::Position;

/// A node and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where.
    pub(crate) position: Position,
    /// What.
    pub(crate) content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order in which it was written.
    Mapping(Vec<Entry>),
    /// Something that was refused, by itself: so that only what uses it is refused with it.
    Refused {
        /// What is wrong.
        what: Cow<'static, str>,
        /// What to write instead.
        instead: &'static str,
    },
}

/// A scalar as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    /// Its text, without quotes.
    pub(crate) text: String,
    /// Whether it stood in quotes, or as a block: then it is text, whatever it looks like.
    pub(crate) quoted: bool,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) key: String,
    /// Whether the name stood in quotes.
    pub(crate) quoted: bool,
    /// Where the key stands.
    pub(crate) position: Position,
    /// Where the key stood first, if it stands here a second time.
    pub(crate) twice: Option<Position>,
    /// What it holds.
    pub(crate) value: Node,
}

impl Node {
    /// Nothing was written: `key:`, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// The entries of a mapping.
    pub(crate) fn mapping(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a mapping holds under that key, where it stands first.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.mapping()?.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// The scalar, if it is one.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) => scalar.kind(),
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Refused { .. } => "something refused",
        }
    }
}
