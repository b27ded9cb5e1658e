//! How a command fails: what failed, why, what to do next.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

/// A failure as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do next; empty where the reason says it.
    pub next: String,
    /// Exit code: 1, or 2 for wrong usage.
    pub code: u8,
}

impl Failure {
    /// A failure of what was tried.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
            next: String::new(),
            code: 1,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// Wrong usage rather than a failure.
    #[must_use]
    pub fn usage(mut self) -> Self {
        self.code = 2;
        self
    }

    /// With all causes of an error, outermost first.
    pub fn from_error(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(what, chain(error))
    }

    /// As one JSON document.
    pub fn to_json(&self) -> Value {
        json!({"error": {"what": self.what, "why": self.why, "next": self.next}})
    }

    /// For the process.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, "\n  why: {}", self.why.replace('\n', "\n       "))?;
        }
        if !self.next.is_empty() {
            write!(f, "\n  next: {}", self.next.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// An error and its causes, `outer: inner: innermost`, none said twice.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let failure = Failure::new("cannot start", "line one\nline two").next("do this");
        assert_eq!(
            failure.to_string(),
            "error: cannot start\n  why: line one\n       line two\n  next: do this"
        );
        assert_eq!(failure.to_json()["error"]["next"], "do this");
        assert_eq!((failure.code, failure.usage().code), (1, 2));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
    }
}
