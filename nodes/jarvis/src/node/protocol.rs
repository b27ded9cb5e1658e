//! What a joiner and a member say to one another.

use bincode::{Decode, Encode};
use jarvis_machine::rows::NodeRole;
use jarvis_types::codec::{self, CodecError};
use jarvis_types::{ClusterId, NodeId, NodeName};

/// The version byte of these messages.
const VERSION: u8 = 1;
/// The highest cluster level this build speaks.
pub use jarvis_machine::LEVEL;
/// This build.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
/// Clocks that differ by more than this make certificates and expiries meaningless, in milliseconds.
pub const MAX_CLOCK_OFFSET_MS: u64 = 5 * 60 * 1_000;

/// Someone wants to become a node.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinRequest {
    /// The cluster of the invitation.
    pub cluster: ClusterId,
    /// Proves the invitation.
    pub secret: [u8; 32],
    /// What it wants to be called.
    pub name: NodeName,
    /// A signing request for its key.
    pub signing_request: Vec<u8>,
    /// Where the mesh will meet it.
    pub mesh_address: String,
    /// Where people will meet it.
    pub http_url: String,
    /// Its build.
    pub build: String,
    /// The highest cluster level it speaks.
    pub level: u32,
    /// Its wall clock, Unix milliseconds.
    pub clock_ms: u64,
}

/// What a new node gets.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Admission {
    /// Its id.
    pub node: NodeId,
    /// What it is to do.
    pub role: NodeRole,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The CA's certificate, PEM.
    pub ca_certificate: String,
    /// The CA's key, PEM: for nodes that may admit others.
    pub ca_key: Option<String>,
    /// All members.
    pub members: Vec<(NodeId, NodeName, String)>,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum JoinAnswer {
    /// Welcome.
    Admitted(Box<Admission>),
    /// No.
    Refused(JoinRefusal),
}

/// Why someone was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum JoinRefusal {
    /// The request is of another protocol.
    #[error("this node does not understand the request; it runs jarvis {build}")]
    NotUnderstood {
        /// The answering node's build.
        build: String,
    },
    /// The invitation is of another cluster.
    #[error("the invitation is of cluster {invited}, this is cluster {here}")]
    WrongCluster {
        /// The invitation's.
        invited: ClusterId,
        /// The answering node's.
        here: ClusterId,
    },
    /// The clocks are too far apart.
    #[error("the clock of this machine is {} the cluster's by {} s", if *ahead { "ahead of" } else { "behind" }, .offset_ms / 1_000)]
    ClockOff {
        /// Whether the joiner's clock is ahead.
        ahead: bool,
        /// By how much.
        offset_ms: u64,
    },
    /// The invitation has expired.
    #[error("the invitation expired {} s ago", .ago_ms / 1_000)]
    Expired {
        /// Since when.
        ago_ms: u64,
    },
    /// Someone was there before.
    #[error("the invitation was already used, by {by}")]
    Used {
        /// Who.
        by: NodeName,
    },
    /// Nobody invited.
    #[error("the cluster knows of no such invitation")]
    Unknown,
    /// The name is taken.
    #[error("the name {name} is taken by node {node}, which is met at {address}")]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Whose it is.
        node: NodeId,
        /// Where that is met.
        address: String,
    },
    /// The member of that name was at this very address: the machine lost its disk.
    #[error("this machine is a member already, as node {node} called {name}; its data is gone")]
    Wiped {
        /// The name.
        name: NodeName,
        /// Its id.
        node: NodeId,
    },
    /// The cluster cannot decide.
    #[error("the cluster cannot commit at the moment: too few of its nodes answer")]
    Unavailable,
    /// The machine refused the request.
    #[error("{0}")]
    Invalid(String),
    /// The address was refused too often.
    #[error("too many attempts from this address were refused; wait {wait_s} s")]
    TooManyAttempts {
        /// How long to wait.
        wait_s: u64,
    },
}

impl JoinRefusal {
    /// What to do about it.
    pub fn advice(&self, name: &str) -> String {
        match self {
            JoinRefusal::NotUnderstood { .. } => {
                "install the same version of jarvis on both machines".to_owned()
            }
            JoinRefusal::WrongCluster { .. } => {
                "run `jarvis invite` on a node of the cluster you mean".to_owned()
            }
            JoinRefusal::ClockOff { .. } => {
                "set this machine's clock (timedatectl set-ntp true), then join with the same token"
                    .to_owned()
            }
            JoinRefusal::Expired { .. } | JoinRefusal::Unknown => {
                "run `jarvis invite` on a member and use the token it prints".to_owned()
            }
            JoinRefusal::Used { .. } => "an invitation is good once: run `jarvis invite` again".to_owned(),
            JoinRefusal::NameTaken { .. } => format!(
                "choose another with --name; or, if that machine is this one or is gone for good, run `jarvis remove \
                 {name}` on a member and invite again"
            ),
            JoinRefusal::Wiped { .. } => format!(
                "a node may not come back without what it promised: on a member run `jarvis remove {name} --force` and \
                 `jarvis invite`, then join with the new token"
            ),
            JoinRefusal::Unavailable => {
                "see `jarvis status` on a member, then join with the same token".to_owned()
            }
            JoinRefusal::TooManyAttempts { wait_s } => {
                format!("wait {wait_s} s, then join with a token that `jarvis invite` prints on a member")
            }
            JoinRefusal::Invalid(_) => "correct it and join with the same token".to_owned(),
        }
    }
}

/// As bytes.
///
/// # Errors
/// Where it exceeds the codec's limit.
pub fn seal<T: Encode>(message: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode(VERSION, message)
}

/// From bytes.
///
/// # Errors
/// [`CodecError`].
pub fn open<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(VERSION, bytes)
}

/// The role that is written so; what an earlier build wrote is a voter.
pub fn role_of(text: &str) -> NodeRole {
    match text {
        "worker" => NodeRole::Worker,
        "witness" => NodeRole::Witness,
        _ => NodeRole::Voter,
    }
}

/// A role as it is written.
pub fn role_text(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Voter => "voter",
        NodeRole::Worker => "worker",
        NodeRole::Witness => "witness",
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[0],
            &[1],
            &[9, 1, 2],
            &[1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert!(open::<JoinRequest>(bytes).is_err(), "{bytes:?}");
            assert!(open::<JoinAnswer>(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let name: NodeName = "attic".parse().expect("a name");
        let refusals = [
            JoinRefusal::Unknown,
            JoinRefusal::TooManyAttempts { wait_s: 17 },
            JoinRefusal::ClockOff {
                ahead: true,
                offset_ms: 900_000,
            },
            JoinRefusal::Used { by: name.clone() },
            JoinRefusal::Wiped {
                name,
                node: NodeId(2),
            },
        ];
        for refusal in refusals {
            assert!(refusal.advice("attic").len() > 20, "{refusal}");
            let bytes = seal(&JoinAnswer::Refused(refusal.clone())).expect("encodes");
            assert!(matches!(open(&bytes), Ok(JoinAnswer::Refused(found)) if found == refusal));
        }
        let off = JoinRefusal::ClockOff {
            ahead: true,
            offset_ms: 900_000,
        };
        assert_eq!(
            off.to_string(),
            "the clock of this machine is ahead of the cluster's by 900 s"
        );
    }
}
