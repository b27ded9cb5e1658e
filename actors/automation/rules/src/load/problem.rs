//! What is wrong with a file.

use std::fmt;

use crate::model::Position;

/// Something that keeps an automation, or a whole file, from loading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// Which field, from the automation down: `actions[2].choose[0].conditions`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead; empty where that is plain.
    pub instead: String,
    /// The automation's alias or id, where one is meant.
    pub automation: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: ", self.file)?;
        if let Some(name) = &self.automation {
            write!(f, "“{name}”: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.instead.is_empty() {
            write!(f, "; {}", self.instead)?;
        }
        Ok(())
    }
}
