//! The command line: what can be written, and how answers are shown.
pub mod args;
pub mod output;

pub use args::{Cli, Command};
