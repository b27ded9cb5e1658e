//! What a configuration names outside of itself: there when it is written, perhaps not where it is read.

use std::path::PathBuf;

use crate::problem::{Origin, Problem};

/// Something that must be there when a node starts.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Where it is named.
    pub(crate) origin: Origin,
    /// By which key, with its section.
    pub(crate) key: String,
    /// What it is.
    pub(crate) target: Target,
}

/// What is named.
#[derive(Debug)]
pub(crate) enum Target {
    /// A file with text in it.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl Reference {
    /// A file that cannot be read: the node would not start.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let Target::File(path) = &self.target else {
            return None;
        };
        let error = std::fs::read_to_string(path).err()?;
        Some(self.says(format!("{} cannot be read: {error}", path.display())))
    }

    /// A variable that is not set here: it may well be where the node runs.
    pub(crate) fn warning(&self, env: &[(String, String)]) -> Option<Problem> {
        let Target::Variable(name) = &self.target else {
            return None;
        };
        let is_set = env.iter().any(|(set, value)| set == name && !value.is_empty());
        let what = || {
            format!("{name} is not set here; a node does not start where it is not (systemd: Environment=)")
        };
        (!is_set).then(|| self.says(what()))
    }

    fn says(&self, what: String) -> Problem {
        Problem {
            origin: self.origin.clone(),
            key: self.key.clone(),
            what,
        }
    }
}
