//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Cli;
use crate::cli::output::Output;
use crate::fail::Failure;

/// `jarvis completions SHELL`.
///
/// # Errors
/// None in practice: the script is text.
pub fn completions(shell: Shell, output: Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "jarvis", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::new("the script was not made", error))?;
    let answer = json!({"shell": shell.to_string(), "script": script});
    output.answer(&answer, |_| script.clone());
    Ok(())
}
