//! `DATA/up.json`: what `jarvis up` prints with `--json`, kept current.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::write_secret;

const FILE: &str = "up.json";

/// One node of a cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpNode {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Its process; none while it is down.
    pub pid: Option<u32>,
    /// Where people reach it.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
}

/// A cluster on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpState {
    /// Whether it runs and was whole.
    pub ready: bool,
    /// The first node's page.
    pub url: String,
    /// An administrator's bearer token.
    pub token: Option<String>,
    /// Its nodes.
    pub nodes: Vec<UpNode>,
    /// Where its MQTT broker is met; none: it has none.
    #[serde(default)]
    pub mqtt: Option<String>,
}

impl UpState {
    /// Where it is kept.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads it; none where there is none.
    ///
    /// # Errors
    /// Where it is not readable.
    pub fn load(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(folder)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        write_secret(
            &Self::path(folder),
            &format!("{}\n", serde_json::to_string(self)?),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_as_the_interface_has_it() {
        let node = UpNode {
            name: "node1".into(),
            id: 1,
            pid: Some(7),
            url: "U".into(),
            data: "/d".into(),
        };
        let state = UpState {
            ready: true,
            url: "U".into(),
            token: Some("T".into()),
            nodes: vec![node],
            mqtt: None,
        };
        let text = serde_json::to_string(&state).expect("serialises");
        let expected = r#"{"ready":true,"url":"U","token":"T","nodes":[{"name":"node1","id":1,"pid":7,"url":"U","data":"/d"}],"mqtt":null}"#;
        assert_eq!(text, expected);
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(UpState::load(folder.path()).expect("readable"), None);
        state.save(folder.path()).expect("written");
        assert_eq!(UpState::load(folder.path()).expect("readable"), Some(state));
    }
}
