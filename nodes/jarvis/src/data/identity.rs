//! `DATA/node.toml`: who this node is.

use std::net::SocketAddr;

use jarvis_types::{ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

/// The version of the data folder's layout. A folder with a greater one was written by a newer build.
pub const FORMAT_VERSION: u32 = 1;

/// A member that was known when this node was last written down: whom to dial before the state is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where the mesh meets it, `host:port`.
    pub address: String,
}

/// Who this node is. Unknown fields are kept out rather than refused: a newer build of the same format may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id.
    pub node: NodeId,
    /// The node's name.
    pub name: NodeName,
    /// What it does: `voter`, `worker` or `witness`.
    pub role: String,
    /// Where it listens; none: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where others meet it; none: as configured, or found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// SHA-256 of the CA's certificate, in hexadecimal.
    pub ca_sha256: String,
    /// Whether it is the cluster's first node, which brings it into being.
    #[serde(default)]
    pub founder: bool,
    /// Whether it went away in order, its work handed over: it serves again by itself when it comes back.
    #[serde(default)]
    pub handed_over: bool,
    /// Whether the node's log was ever begun here: if it is gone then, the disk was wiped.
    #[serde(default)]
    pub has_log: bool,
    /// While a recovery is under way: the folder in which it keeps what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovering: Option<String>,
    /// Members known at the last start.
    #[serde(default, rename = "peer")]
    pub peers: Vec<KnownPeer>,
}

impl NodeFile {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let body = toml::to_string(self).unwrap_or_default();
        format!("# Who this node is. Written by jarvis; do not copy it to another machine.\n{body}")
    }

    /// Reads the text. The version comes first: a newer format need not have these fields.
    ///
    /// # Errors
    /// The version found if it is newer, or what is wrong.
    pub fn from_text(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let versioned: Versioned =
            toml::from_str(text).map_err(|e| ReadError::Malformed(e.message().to_owned()))?;
        if versioned.format > FORMAT_VERSION {
            return Err(ReadError::Newer(versioned.format));
        }
        toml::from_str(text).map_err(|e| ReadError::Malformed(e.message().to_owned()))
    }
}

/// Why the text is no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// A newer build wrote it.
    Newer(u32),
    /// It is damaged.
    Malformed(String),
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_as_it_was_written() {
        let peer = KnownPeer {
            node: NodeId(2),
            name: "b".parse().expect("a name"),
            address: "10.0.0.2:8007".into(),
        };
        let file = NodeFile {
            format: FORMAT_VERSION,
            cluster: ClusterId(7),
            node: NodeId(1),
            name: "a".parse().expect("a name"),
            role: "voter".into(),
            listen: Some(([0, 0, 0, 0], 8007).into()),
            advertise: None,
            ca_sha256: "00".repeat(32),
            founder: true,
            handed_over: false,
            has_log: true,
            recovering: None,
            peers: vec![peer],
        };
        assert_eq!(NodeFile::from_text(&file.to_text()), Ok(file));
        assert_eq!(
            NodeFile::from_text("format = 9\nwhat = \"else\""),
            Err(ReadError::Newer(9))
        );
        for bad in [
            "",
            "format = \"x\"",
            "format = 1",
            "\u{0}",
            "format = 1\ncluster = \"zzz\"",
        ] {
            assert!(
                matches!(NodeFile::from_text(bad), Err(ReadError::Malformed(_))),
                "{bad:?}"
            );
        }
    }
}
