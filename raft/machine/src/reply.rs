//! What a command gives back, or why it is refused.

use bincode::{Decode, Encode};
use jarvis_types::{Epoch, NodeId, NodeName, Seq, UserId};

/// What an applied proposal gives back to who proposed it.
pub type Outcome = Result<Reply, Refusal>;

/// What a command gives back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Done; nothing to tell.
    Done,
    /// A node was admitted.
    Joined {
        /// Its id.
        node: NodeId,
    },
    /// A user was made.
    User {
        /// Its id.
        user: UserId,
    },
    /// A transcript has this entry.
    Appended {
        /// Its place.
        seq: Seq,
        /// Ledger time of it.
        at_ms: u64,
        /// True if it stood there already.
        repeated: bool,
    },
}

/// Why a command was refused. The state is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// The partition has another epoch.
    #[error("the partition is in epoch {current}, owned by node {owner:?}")]
    StaleEpoch {
        /// The epoch it is in.
        current: Epoch,
        /// Its owner.
        owner: Option<NodeId>,
    },
    /// The plan was made from another revision.
    #[error("the plan is based on another revision; placement is at {current}")]
    StaleRevision {
        /// The revision it is at.
        current: u64,
    },
    /// The proposer has begun a later life.
    #[error("proposed by an earlier life of the node")]
    StaleIncarnation,
    /// Answered before, and the answer is forgotten.
    #[error("answered before")]
    AlreadyAnswered,
    /// The cluster exists already.
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// Nothing of that name is there, or it belongs to another.
    #[error("{0} not found")]
    NotFound(String),
    /// The name is taken.
    #[error("the name {0:?} is taken")]
    NameTaken(String),
    /// No such invitation.
    #[error("no such invitation in this cluster")]
    InviteUnknown,
    /// The invitation has expired.
    #[error("the invitation expired {} ago", span(now_ms.saturating_sub(*expired_at_ms)))]
    InviteExpired {
        /// Ledger time of its end.
        expired_at_ms: u64,
        /// Ledger time of the attempt.
        now_ms: u64,
    },
    /// The invitation was used.
    #[error("the invitation was used by {by}")]
    InviteUsed {
        /// Who used it.
        by: NodeName,
    },
    /// The node still owns partitions.
    #[error("the node still owns {partitions} partitions; drain it first")]
    NotDrained {
        /// How many.
        partitions: u32,
    },
    /// The command contradicts itself or the tables.
    #[error("{0}")]
    Invalid(String),
    /// Too many of something.
    #[error("limit reached: {0}")]
    LimitReached(String),
    /// The command is of a level that the cluster is not at.
    #[error(
        "this needs cluster level {needs}, and the cluster is at level {level}; upgrade jarvis on every node, see `jarvis status`"
    )]
    LevelTooLow {
        /// The command's level.
        needs: u32,
        /// The cluster's.
        level: u32,
    },
    /// Members hold the level back.
    #[error("the cluster cannot go to level {to} while {} speaks less; upgrade jarvis there", names(.by))]
    LevelHeldBack {
        /// The level that was wanted.
        to: u32,
        /// Who speaks less.
        by: Vec<NodeName>,
    },
    /// The entity has been written since.
    #[error("the entity has been written since: it is at version {current}")]
    StaleVersion {
        /// The version it is at.
        current: u64,
    },
}

fn names(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

/// A span of time for people, in its two largest units.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
