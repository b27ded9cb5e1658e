//! `config check|show`, and how every other command reads its settings.

use std::path::Path;

use jarvis_config::{ConfigError, Loaded, Lookup, check_file, load};
use serde_json::json;

use crate::cli::args::ConfigCommand;
use crate::cli::output::Output;
use crate::fail::{Failure, chain};
use crate::places::{data_folder, environment};

/// `jarvis config …`.
///
/// # Errors
/// Where the configuration is wrong.
pub fn config(command: &ConfigCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => {
            let checked = check_file(file, &environment()).map_err(|error| wrong(&error))?;
            let warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
            let answer = json!({"ok": true, "file": file, "warnings": warnings});
            output.answer(&answer, |_| {
                let mut text = format!("{} is right", file.display());
                for warning in &warnings {
                    text.push_str(&format!("\nwarning: {warning}"));
                }
                text
            });
        }
        ConfigCommand::Show { data, config } => {
            let loaded = settings(config.as_deref(), &data_folder(data.data.as_deref()))?;
            let text = loaded.settings.effective();
            let from = loaded.file.as_ref().map(|file| file.display().to_string());
            let notes = loaded.settings.notes();
            let answer = json!({"file": from, "toml": text, "notes": notes});
            output.answer(&answer, |_| {
                let from = from.as_deref().unwrap_or("the defaults; there is no file");
                let notes: String = notes.iter().map(|note| format!("# {note}\n")).collect();
                format!("# from {from}, and the environment\n{notes}{text}")
            });
        }
    }
    Ok(())
}

/// The settings in force for a node with this data folder.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn settings(config: Option<&Path>, data: &Path) -> Result<Loaded, Failure> {
    let env = environment();
    load(&Lookup {
        explicit: config,
        data: Some(data),
        env: &env,
    })
    .map_err(|error| wrong(&error))
}

fn wrong(error: &ConfigError) -> Failure {
    let next = match error {
        ConfigError::Unreadable { .. } => "check the path, and that this user may read it",
        ConfigError::Problems(_) => "mend these lines; `jarvis config check FILE` tells when all is right",
    };
    Failure::new("the configuration is wrong", chain(error)).next(next)
}
