//! What the tables hold. Rows are versioned like commands: append only, golden bytes in the tests.
//!
//! | table | key | row |
//! |---|---|---|
//! | `Meta` | name | [`ClusterRow`] under `cluster`, counters, placement revision, ledger time, raft's own |
//! | `Nodes` | node id | [`NodeRow`] |
//! | `RemovedNodes` | node id | empty: ids never come back |
//! | `Invites` | secret hash | [`InviteRow`] |
//! | `Kinds` | kind | [`KindRow`] |
//! | `Placement` | kind, partition | [`PlacementRow`] |
//! | `PlacementLog` | kind, partition, epoch | [`PlacementLogRow`] (the last few of each partition) |
//! | `Users`, `UserNames` | user id; name | [`UserRow`]; user id |
//! | `Credentials`, `UserCredentials` | secret hash; user id, secret hash | [`CredentialRow`]; empty |
//! | `Sessions`, `UserSessions` | session id; user id, session id | [`SessionRow`]; empty |
//! | `Messages` | session id, seq | [`MessageRow`] |
//! | `MessageIds` | session id, client id | seq |
//! | | session id, 0, id of what was told | seq; from level 3 on |
//! | `OpenTurns` | partition, session id, seq | empty: messages not yet answered |
//! | `NodeFacts` | node id | [`NodeFacts`]; from level 2 on |
//! | `PlacementNotes` | kind, partition, epoch | [`PlacementNoteRow`], beside `PlacementLog`; from level 2 on |
//! | `Entities` | kind, partition, key | [`EntityRow`]; from level 3 on |
//! | `EntityRows` | kind, partition, key, 0, name | what the entity keeps, in its own form; from level 3 on |
//! | `Letters` | kind, partition, key, 0, number | what somebody sent it, in its own form; from level 3 on |
//! | `LogMarks` | node id | [`LogMark`]; from level 4 on |
//! | `Proposals`, `Proposers` | node, incarnation, sequence; node | remembered outcome; [`ProposerRow`] |
//!
//! `Meta` has the cluster level under `level` once it is above the first. Tables of a level are written only once the cluster is
//! at it, so that a snapshot of a cluster at an earlier level is readable by builds of that level.
//!
//! Numbers in keys are big endian, so that byte order is number order.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use jarvis_types::{ClientMessageId, ClusterId, Epoch, Incarnation, NodeId, NodeName, Seq, UserId};

use crate::command::MoveReason;

/// The version byte of encoded rows.
pub const ROW_VERSION: u8 = 1;

/// What the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClusterRow {
    /// Its id.
    pub cluster: ClusterId,
    /// Ledger time of its making.
    pub created_at_ms: u64,
}

/// What a node does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum NodeRole {
    /// Votes (where the number of voters allows) and carries actors.
    Voter,
    /// Carries actors, never votes.
    Worker,
    /// Votes, carries no actors.
    Witness,
}

/// What a node is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum NodeIntent {
    /// It was admitted and has not yet reported for work.
    Joining,
    /// It serves.
    Active,
    /// Its actors are being moved away.
    Draining,
    /// It has none left and gets none.
    Drained,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// What it does.
    pub role: NodeRole,
    /// What it is meant to do.
    pub intent: NodeIntent,
    /// Whether the leader last heard it answer.
    pub healthy: bool,
    /// Where the mesh meets it.
    pub mesh_address: String,
    /// Where people meet it.
    pub http_url: String,
    /// Its build.
    pub version: String,
    /// The highest cluster level it speaks.
    pub level: u32,
    /// Ledger time of its admission.
    pub joined_at_ms: u64,
}

/// What a node has and how much it carries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeFacts {
    /// What it has that kinds may need: `microphone`, `gpu`, …
    pub capabilities: BTreeSet<String>,
    /// How much it carries compared with others: 1 to 1000.
    pub capacity: u32,
}

/// How much a node carries that has not said so.
pub const DEFAULT_CAPACITY: u32 = 100;

impl Default for NodeFacts {
    fn default() -> Self {
        Self {
            capabilities: BTreeSet::new(),
            capacity: DEFAULT_CAPACITY,
        }
    }
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct InviteRow {
    /// What the invited will be.
    pub role: NodeRole,
    /// Ledger time at which it expires.
    pub expires_at_ms: u64,
    /// Who used it, so that a second use can be told so.
    pub used_by: Option<NodeName>,
}

/// A kind of entity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KindRow {
    /// Its name.
    pub name: String,
    /// How many partitions, for ever.
    pub partitions: u16,
}

/// Who owns a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct PlacementRow {
    /// The owner; none until first placed.
    pub owner: Option<NodeId>,
    /// Counts owners; 0 until first placed.
    pub epoch: Epoch,
}

/// A move of the past.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PlacementLogRow {
    /// Who owned it before.
    pub from: Option<NodeId>,
    /// Who owns it from this epoch on.
    pub to: NodeId,
    /// Why.
    pub reason: MoveReason,
    /// Ledger time.
    pub at_ms: u64,
}

/// What is kept beside a move of the past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct PlacementNoteRow {
    /// What was seen of which node; none where the reason says all.
    pub cause: Option<Cause>,
    /// From when the loss was seen until the move was applied, in milliseconds; none until it was measured.
    pub took_ms: Option<u32>,
}

/// What was seen of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Cause {
    /// Which node.
    pub node: NodeId,
    /// What was seen.
    pub news: NodeNews,
}

/// What may be seen of a node that makes partitions move: away from it, or, from `Returned` on, towards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum NodeNews {
    /// Its process ended: the kernel said so.
    Crashed,
    /// It fell silent: the machine is dead or cut off.
    Silent,
    /// It went in order, closing its connections.
    Closed,
    /// It is no member any more.
    Removed,
    /// It is being drained.
    Drained,
    /// It lacks what the kind needs.
    Unfit,
    /// It came back.
    Returned,
    /// It is new.
    Joined,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UserRow {
    /// The login name.
    pub name: String,
    /// argon2id hash in PHC form; none: no log-in by password.
    pub password: Option<String>,
    /// May administer the cluster.
    pub admin: bool,
    /// Ledger time.
    pub created_at_ms: u64,
}

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum CredentialKind {
    /// A log-in's cookie.
    Login,
    /// A bearer token.
    Bearer,
}

/// A credential.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CredentialRow {
    /// Whose.
    pub user: UserId,
    /// What it is.
    pub kind: CredentialKind,
    /// What the user calls it.
    pub label: String,
    /// Ledger time.
    pub created_at_ms: u64,
    /// Ledger time.
    pub expires_at_ms: u64,
}

/// A chat session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SessionRow {
    /// Whose.
    pub user: UserId,
    /// Ledger time.
    pub created_at_ms: u64,
    /// Last entry of its transcript; 0: empty.
    pub last_seq: Seq,
    /// Ledger time of that entry.
    pub last_at_ms: u64,
    /// Start of its first message, for lists.
    pub title: String,
}

/// An entry of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MessageRow {
    /// Who wrote it, and what it belongs to.
    pub body: MessageBody,
    /// The text.
    pub text: String,
    /// Ledger time.
    pub at_ms: u64,
}

/// Who wrote an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MessageBody {
    /// The user.
    Said {
        /// The client's id of it.
        id: ClientMessageId,
        /// Place of its reply, once there is one.
        reply: Option<Seq>,
    },
    /// Jarvis.
    Reply {
        /// Place of the message it answers.
        to: Seq,
        /// The client's id of that message.
        to_id: ClientMessageId,
        /// Whether the user stopped it.
        cancelled: bool,
    },
    /// Jarvis, without having been asked. From level 3 on.
    Told {
        /// Names it among what was told in this session.
        id: ClientMessageId,
    },
}

/// What is remembered of a node's proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ProposerRow {
    /// Its current life.
    pub incarnation: Incarnation,
    /// All proposals below this were answered.
    pub answered_below: u64,
}

/// What the tables know of an entity that keeps something or was sent something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct EntityRow {
    /// How often it was written.
    pub version: u64,
    /// Number of the last letter it was sent; they count from 1, for ever.
    pub last_letter: u64,
    /// It is done with its letters up to and including this one.
    pub taken: u64,
    /// How many rows it keeps.
    pub rows: u32,
    /// Bytes of names and values of these rows.
    pub row_bytes: u64,
}

/// How much of the log a voter has acknowledged, as its leader knew some time ago: its disk holds at least this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LogMark {
    /// The term in which it acknowledged: it has voted in this term or a later one.
    pub term: u64,
    /// The last entry that it acknowledged, which is committed.
    pub index: u64,
}
