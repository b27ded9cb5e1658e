//! Why a template came to nothing.

use thiserror::Error;

/// What is wrong with a template, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the template: {what}")]
pub struct TemplateError {
    /// Line within the template, from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}
