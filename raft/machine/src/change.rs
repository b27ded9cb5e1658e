//! What others learn of by watching the applied log.

use jarvis_types::{EntityId, Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId};

/// One thing that an applied command changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node's row was made or changed.
    Node(NodeId),
    /// A node is out for good.
    NodeRemoved(NodeId),
    /// A partition has a new owner.
    Placed {
        /// The kind.
        kind: KindId,
        /// Its partition.
        partition: PartitionIndex,
        /// Who owned it.
        from: Option<NodeId>,
        /// Who owns it.
        to: NodeId,
        /// The new epoch.
        epoch: Epoch,
    },
    /// A kind became known.
    KindRegistered(KindId),
    /// A user or its credentials changed: caches of them are void.
    Credentials(UserId),
    /// A session was made.
    SessionCreated {
        /// Which.
        session: SessionId,
        /// Whose.
        user: UserId,
    },
    /// A transcript grew.
    Appended {
        /// Which.
        session: SessionId,
        /// The new entry.
        seq: Seq,
    },
    /// Letters came for an entity: its owner starts it if it does not run.
    Letters {
        /// Whom they are for.
        to: EntityId,
        /// Number of the last of them.
        last: u64,
    },
    /// Rows of an entity were set or removed.
    EntityWritten(EntityId),
    /// The cluster is at this level from here on.
    LevelRaised(u32),
    /// Everything may have changed: a snapshot was installed.
    Replaced,
}
