//! Reports: JSON for machines, a table for people.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes `value` as `FOLDER/NAME.json` and prints it.
///
/// # Errors
/// Where the folder cannot be written.
pub fn keep<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(folder.join(format!("{name}.json")), &text)?;
    say(&format!("{name}: {text}"));
    Ok(())
}

/// Tells the person at the terminal.
#[allow(clippy::print_stdout, reason = "the tool speaks to a person")]
pub fn say(line: &str) {
    println!("{line}");
}
