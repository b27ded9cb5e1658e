//! Where settings come from: a file, and over it the environment.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::problem::{ConfigError, Problem};
use crate::reference::Reference;
use crate::settings::Settings;

/// The file's name in a data folder.
const FILE_NAME: &str = "jarvis.toml";
/// Where the file is on a machine that was set up by hand.
const SYSTEM_FILE: &str = "/etc/jarvis/jarvis.toml";

/// Where to look.
#[derive(Debug, Clone)]
pub struct Lookup<'a> {
    /// `--config`: must be there.
    pub explicit: Option<&'a Path>,
    /// The data folder, whose `jarvis.toml` comes next; then `/etc/jarvis/jarvis.toml`.
    pub data: Option<&'a Path>,
    /// The environment.
    pub env: &'a [(String, String)],
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file they come from; none: defaults and environment.
    pub file: Option<PathBuf>,
}

/// Reads the first file that is there, and the environment over it.
///
/// # Errors
/// [`ConfigError`]: the file cannot be read, or everything that is wrong with it and with the environment.
pub fn load(lookup: &Lookup<'_>) -> Result<Loaded, ConfigError> {
    let mut document = Document::default();
    let file = match lookup.explicit {
        Some(path) => Some((path.to_owned(), read(path)?)),
        None => first_file(lookup.data)?,
    };
    if let Some((path, text)) = &file {
        document.add_file(path, text);
    }
    document.add_env(lookup.env);
    Ok(Loaded {
        settings: finish(document)?,
        file: file.map(|(path, _)| path),
    })
}

/// What a check found that is right, and what may not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The settings.
    pub settings: Settings,
    /// What is right only where more is given than is here.
    pub warnings: Vec<Problem>,
}

/// Checks one file by itself, and whether what it names is on this machine: key files must be, variables should.
///
/// # Errors
/// [`ConfigError`]: it cannot be read, or everything that is wrong with it.
pub fn check_file(path: &Path, env: &[(String, String)]) -> Result<Checked, ConfigError> {
    let mut document = Document::default();
    document.add_file(path, &read(path)?);
    let (settings, mut problems, references) = Settings::read(document);
    problems.extend(references.iter().filter_map(Reference::problem));
    if !problems.is_empty() {
        return Err(ConfigError::Problems(problems));
    }
    let warnings = references.iter().filter_map(|reference| reference.warning(env));
    Ok(Checked {
        settings,
        warnings: warnings.collect(),
    })
}

/// Checks the text of one file by itself, without the environment.
///
/// # Errors
/// [`ConfigError::Problems`].
pub fn check_text(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let mut document = Document::default();
    document.add_file(path, text);
    finish(document)
}

fn finish(document: Document) -> Result<Settings, ConfigError> {
    let (settings, problems, _) = Settings::read(document);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigError::Problems(problems))
    }
}

fn first_file(data: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let candidates = data
        .map(|data| data.join(FILE_NAME))
        .into_iter()
        .chain([PathBuf::from(SYSTEM_FILE)]);
    for path in candidates {
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(ConfigError::Unreadable { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
