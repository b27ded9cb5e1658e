//! What may be proposed. Variants and fields are append only: they stand in logs.

use bincode::{Decode, Encode};
use jarvis_types::{
    ClientMessageId, ClusterId, EntityId, Epoch, Incarnation, KindId, NodeId, NodeName, PartitionIndex,
    RequestId, Seq, SessionId, UserId,
};

use crate::rows::{Cause, LogMark, NodeFacts, NodeIntent, NodeRole};

/// The version byte of encoded proposals.
pub const PROPOSAL_VERSION: u8 = 1;

/// What goes into the log: a command, when and by whom it was proposed, and what guards it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// Names this proposal, so that a retry is applied once. `None`: the command is safe to repeat by itself.
    pub origin: Option<Origin>,
    /// The proposer's wall clock, Unix milliseconds, which the leader takes back to its own and a little more before it
    /// stands in the log. The machine takes the larger of this and ledger time.
    pub at_ms: u64,
    /// The ownership it depends on, checked when applied.
    pub fence: Option<Fence>,
    /// The request it serves, for the logs.
    pub request: Option<RequestId>,
    /// What to do.
    pub command: Command,
}

/// Names a proposal: which life of which node, and the how-manieth of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    /// The proposing node.
    pub node: NodeId,
    /// Its life; proposals of an earlier one are refused once a later one was seen.
    pub incarnation: Incarnation,
    /// Counts its proposals from 1.
    pub sequence: u64,
    /// All of this life's proposals below this have been answered: what was remembered of them may be forgotten.
    pub answered_below: u64,
}

/// The ownership under which an entity proposes. The machine refuses the command if the partition has another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Fence {
    /// The entity's kind.
    pub kind: KindId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The epoch in which the proposer became the owner.
    pub epoch: Epoch,
}

/// The SHA-256 of a secret; the secret itself never enters the log.
pub type SecretHash = [u8; 32];

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// First command of a cluster: names it and makes its first node and its administrator: reply
    /// [`crate::reply::Reply::Joined`]. Refused if done before.
    Initialise {
        /// The cluster's id.
        cluster: ClusterId,
        /// The first node, which gets id 1.
        node: NewNode,
        /// Name of the first user, who gets id 1 and no password.
        admin: String,
    },
    /// Makes a kind and its partitions known; the same again changes nothing, other partitions are refused.
    RegisterKind {
        /// Its number.
        kind: KindId,
        /// Its name.
        name: String,
        /// How many partitions, for ever.
        partitions: u16,
    },
    /// Remembers an invitation.
    CreateInvite {
        /// SHA-256 of its secret.
        secret: SecretHash,
        /// What the invited will be.
        role: NodeRole,
        /// Ledger time at which it expires.
        expires_at_ms: u64,
    },
    /// Uses an invitation up and makes a member of who holds it: reply [`crate::reply::Reply::Joined`].
    ConsumeInvite {
        /// SHA-256 of the secret.
        secret: SecretHash,
        /// Who joins.
        node: NewNode,
    },
    /// A node tells where it is met and which build it runs, when that has changed.
    AnnounceNode {
        /// Which node.
        node: NodeId,
        /// Where the mesh meets it, `host:port`.
        mesh_address: String,
        /// Where people meet it, `http://host:port`.
        http_url: String,
        /// Its build.
        version: String,
        /// The highest cluster level it speaks.
        level: u32,
    },
    /// What a node is meant to do: serve, drain, stay drained.
    SetIntent {
        /// Which node.
        node: NodeId,
        /// What it is to do.
        intent: NodeIntent,
    },
    /// Out of the cluster for good. Refused while it owns partitions, unless `force`.
    RemoveNode {
        /// Which node.
        node: NodeId,
        /// Its partitions are placed by the next plan.
        force: bool,
    },
    /// A placement plan: moves partitions and notes who answers, in one step. Refused if `based_on` is not the table's
    /// revision.
    Place {
        /// The placement revision that the plan was made from.
        based_on: u64,
        /// Who answers and who does not, where that changed.
        health: Vec<(NodeId, bool)>,
        /// Partitions and their new owners; each gets the next epoch.
        moves: Vec<Move>,
        /// Why, for `jarvis why` and the logs.
        reason: MoveReason,
    },
    /// Makes a user: reply [`crate::reply::Reply::User`]. Refused if the name is taken.
    CreateUser {
        /// The login name.
        name: String,
        /// argon2id hash in PHC form; none: cannot log in by password.
        password: Option<String>,
        /// May administer the cluster.
        admin: bool,
    },
    /// Sets a user's password hash; log-ins made before it end, bearer tokens stay.
    SetPassword {
        /// Which user.
        user: UserId,
        /// argon2id hash in PHC form.
        password: String,
    },
    /// Removes a user with all credentials; sessions stay but nobody can read them.
    RemoveUser {
        /// Which user.
        user: UserId,
    },
    /// Makes a credential.
    CreateCredential {
        /// SHA-256 of the secret.
        secret: SecretHash,
        /// Whose it is.
        user: UserId,
        /// Cookie of a log-in or bearer token.
        kind: crate::rows::CredentialKind,
        /// What the user calls it.
        label: String,
        /// Ledger time at which it expires.
        expires_at_ms: u64,
    },
    /// Ends a credential.
    RevokeCredential {
        /// SHA-256 of the secret.
        secret: SecretHash,
    },
    /// Makes a session; the same again by the same user changes nothing.
    CreateSession {
        /// Its id.
        session: SessionId,
        /// Whose it is.
        user: UserId,
    },
    /// A user's message: reply [`crate::reply::Reply::Appended`]. The same client id again is the same message.
    Say {
        /// The session.
        session: SessionId,
        /// Who speaks; refused as not found if the session is another's.
        user: UserId,
        /// The client's id.
        id: ClientMessageId,
        /// What is said.
        text: String,
    },
    /// The reply to a message, which must be there. A second one changes nothing and answers with the first.
    Answer {
        /// The session.
        session: SessionId,
        /// Place of the message that is answered.
        to: Seq,
        /// The whole reply.
        text: String,
        /// Whether the user stopped it.
        cancelled: bool,
    },
    /// Lets commands and rows of a higher level be used from here on. Refused while a member speaks less; never lowered.
    /// Proposed by the leader's controller once every member allows it.
    RaiseLevel {
        /// The level to be.
        to: u32,
    },
    /// A node tells what it has and how much it carries, when that has changed. Level 2.
    DescribeNode {
        /// Which node.
        node: NodeId,
        /// What it has.
        facts: NodeFacts,
    },
    /// A [`Command::Place`] that says what was seen of the nodes that made partitions move. Level 2.
    PlaceBecause {
        /// The placement revision that the plan was made from.
        based_on: u64,
        /// Who answers and who does not, where that changed.
        health: Vec<(NodeId, bool)>,
        /// Partitions and their new owners; each gets the next epoch.
        moves: Vec<Move>,
        /// Why, in general.
        reason: MoveReason,
        /// What was seen of which node; kept with the moves from or to it.
        causes: Vec<Cause>,
    },
    /// Keeps with moves how long they took, as the leader measured it. Of moves that are no longer known nothing is kept.
    /// Level 2.
    NoteTakeOver {
        /// The partitions, in the epochs they were moved to.
        moves: Vec<Seat>,
        /// From when the loss was seen until the move was applied, in milliseconds.
        took_ms: u32,
    },
    /// What an entity keeps, takes from its letters and sends, in one step: all of it or nothing. It needs the fence of the
    /// entity's own partition, for only its owner writes it. Level 3.
    WriteEntity {
        /// Which.
        entity: EntityId,
        /// How often it had been written when this step was thought out; refused if it has been written since, so that a
        /// step that was given up as lost and came all the same is not done twice.
        based_on: u64,
        /// Rows to set or remove.
        rows: Vec<RowChange>,
        /// Its letters up to and including this number are done with, and gone; 0: none.
        taken: u64,
        /// Letters to others, or to itself.
        letters: Vec<Letter>,
    },
    /// Letters of somebody who is no entity, such as a request from outside. Level 3.
    Post {
        /// In this order.
        letters: Vec<Letter>,
    },
    /// Something that the assistant says without having been asked: reply [`crate::reply::Reply::Appended`]. The same id again
    /// is the same message. It waits for no reply and is none. Level 3.
    Notify {
        /// The session.
        session: SessionId,
        /// Names it among what was told in this session; messages of users have ids of their own.
        id: ClientMessageId,
        /// What is said.
        text: String,
    },
    /// A [`Command::RemoveNode`] that was found safe at one revision of the placement, by which every change of members counts:
    /// refused at any other, so that of two removals at once the second is looked at again after the first. Level 4.
    RemoveNodeAt {
        /// The placement revision at which the removal was found safe.
        based_on: u64,
        /// Which node.
        node: NodeId,
        /// Its partitions are placed by the next plan.
        force: bool,
    },
    /// Takes ledger time back to what the voters' clocks agree on, after a clock that was ahead had moved it. Nothing happens
    /// if ledger time is not where it was found. Level 4.
    CorrectTime {
        /// Ledger time as it was found, Unix milliseconds.
        found_ms: u64,
        /// Ledger time from here on, Unix milliseconds.
        to_ms: u64,
    },
    /// Remembers how much of the log voters have acknowledged, so that one whose disk is put back to an older copy is found
    /// out. Marks only rise. Level 4.
    NoteLogs {
        /// The voters' marks.
        marks: Vec<(NodeId, LogMark)>,
    },
}

/// A row of an entity's own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RowChange {
    /// Its name within the entity; rows are read in the order of their bytes.
    pub name: Vec<u8>,
    /// What it holds from now on, in the entity's own form; none: it is removed.
    pub value: Option<Vec<u8>>,
}

/// A message that waits in the tables until who it is for has taken it, whatever node that runs on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Letter {
    /// Whom it is for.
    pub to: EntityId,
    /// What it says, in the form of the kind it is for.
    pub body: Vec<u8>,
}

/// A partition in one of its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Seat {
    /// The kind.
    pub kind: KindId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The epoch.
    pub epoch: Epoch,
}

/// A node that becomes a member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewNode {
    /// Its name; refused if taken.
    pub name: NodeName,
    /// What it does.
    pub role: NodeRole,
    /// Where the mesh meets it, `host:port`.
    pub mesh_address: String,
    /// Where people meet it, `http://host:port`.
    pub http_url: String,
    /// Its build.
    pub version: String,
    /// The highest cluster level it speaks.
    pub level: u32,
}

/// One partition goes to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// The kind.
    pub kind: KindId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The new owner.
    pub to: NodeId,
}

/// Why partitions move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MoveReason {
    /// They had no owner yet.
    FirstPlacement,
    /// Their owner does not answer.
    OwnerLost,
    /// Their owner drains.
    Drain,
    /// To spread the load evenly.
    Balance,
}
