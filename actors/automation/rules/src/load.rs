//! Files of automations → [`Automation`]s, and what is wrong with those that cannot be had.
//!
//! ```text
//!  text ──yaml──► nodes with line and column ──fields──► Automation
//!                        │                        │
//!                        └────── Problem ◄────────┘   file, line, column, path, what is wrong, what to write instead
//! ```
//!
//! One wrong automation does not keep the others of its file from loading.

mod problem;

pub use self::problem::Problem;
use crate::model::Automation;

/// What came of reading files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// Those that can run, in the order of files and lines.
    pub automations: Vec<Automation>,
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
}

/// Reads files: their names, which only messages speak of, and their texts.
pub fn load(files: &[(&str, &str)]) -> Loaded {
    let _ = files;
    Loaded::default()
}
