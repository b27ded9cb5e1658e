//! Why a replica did not start, with what to do about it.

use std::path::{Path, PathBuf};

use jarvis_types::NodeId;

use crate::files::OpenError;

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This node took part before, and its log is gone. It may have voted for what it has forgotten.
    #[error(
        "node {node} took part in its cluster before, but its raft log is missing from {}; a node that lost its disk may \
         not come back under its old id: run `jarvis remove {node}` on another node, then `jarvis invite` there and \
         `jarvis join` here with an empty data folder",
        path.display()
    )]
    LogMissing {
        /// This node.
        node: NodeId,
        /// Where the log should be.
        path: PathBuf,
    },
    /// Someone else has the store.
    #[error("{} is in use by another process; stop the other node on this data folder first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer build wrote the store.
    #[error("{}: {what}; upgrade jarvis on this node", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer.
        what: String,
    },
    /// The store does not check.
    #[error(
        "{} is damaged: {what}; the other nodes have everything it held: remove this node from another one, empty its \
         data folder and join again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no room.
    #[error("the disk of {} is full; free some space and start again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be read or written.
    #[error("cannot use {}; check the folder's owner and rights, and the disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The timers contradict one another.
    #[error("the raft timers do not fit together: {0}")]
    Timers(String),
    /// openraft refused what it found in the stores.
    #[error("raft did not start: {0}")]
    Raft(String),
}

impl StartError {
    pub(crate) fn from_open(path: &Path, error: OpenError) -> Self {
        let path = path.to_owned();
        match error {
            OpenError::Locked => StartError::InUse { path },
            OpenError::Newer { found, known } => {
                let what = format!("its format is {found}, this build knows {known}");
                StartError::Newer { path, what }
            }
            OpenError::Damaged(what) => StartError::Damaged { path, what },
            OpenError::Io(source) => Self::from_io(&path, source),
        }
    }

    pub(crate) fn from_io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StartError::Full { path },
            std::io::ErrorKind::Unsupported => StartError::Newer {
                path,
                what: source.to_string(),
            },
            std::io::ErrorKind::InvalidData => StartError::Damaged {
                path,
                what: source.to_string(),
            },
            _ => StartError::Io { path, source },
        }
    }
}
