//! Drills.
use crate::cli::args::DrillArgs;
use crate::cli::output::Output;
use crate::fail::Failure;
/// `jarvis drill`.
///
/// # Errors
/// None yet.
pub async fn drill(_args: &DrillArgs, _output: Output) -> Result<(), Failure> {
    Err(Failure::new("x", "y"))
}
