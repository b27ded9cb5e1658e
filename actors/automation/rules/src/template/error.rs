//! Why a template came to nothing.

use minijinja::{Error, ErrorKind};
use thiserror::Error as ThisError;

use super::limits;

/// What is wrong with a template, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("line {line} of the template: {what}")]
pub struct TemplateError {
    /// Line within the template, from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

/// The engine's error in plain words.
pub(super) fn plain(error: &Error) -> TemplateError {
    let detail = error.detail().unwrap_or_default();
    let with = |what: &str| match detail {
        "" => what.to_owned(),
        detail => format!("{what}: {detail}"),
    };
    let what = match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {} steps", limits::FUEL),
        ErrorKind::UndefinedError => with(
            "an attribute is asked of something that is not defined; look whether it is, with `is defined` or `default`",
        ),
        ErrorKind::SyntaxError => with("it cannot be read"),
        ErrorKind::UnknownMethod => with("such a method is not known"),
        ErrorKind::UnknownFilter => with("such a filter is not known"),
        ErrorKind::UnknownTest => with("such a test is not known"),
        ErrorKind::UnknownFunction => with("such a function is not known"),
        ErrorKind::MissingArgument => with("a call lacks an argument"),
        ErrorKind::TooManyArguments => with("a call has too many arguments"),
        ErrorKind::CannotUnpack => with("a list has another number of items than names are given"),
        ErrorKind::BadEscape => with("a text holds an escape that is not known"),
        ErrorKind::WriteFailure => "its output grows too long".to_owned(),
        _ if detail.is_empty() => error.kind().to_string(),
        _ => detail.to_owned(),
    };
    TemplateError {
        line: error
            .line()
            .and_then(|line| u32::try_from(line).ok())
            .unwrap_or(1)
            .max(1),
        what,
    }
}
