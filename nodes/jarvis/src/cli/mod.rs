//! The command line: what can be written, and how answers are shown.
pub mod args;
pub mod automation;
pub mod output;
mod usage;

pub use args::{Cli, Command};
pub use usage::usage_failure;
