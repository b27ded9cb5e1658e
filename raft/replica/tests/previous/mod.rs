//! The first level's proposals and outcomes as its builds encoded them, kept apart from the machine's own types so that a
//! change of those cannot change what is spoken here.

use bincode::{Decode, Encode};
use jarvis_types::codec::{self, CodecError};

/// The version byte of all of them.
const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Proposal {
    pub(crate) origin: Option<Origin>,
    pub(crate) at_ms: u64,
    pub(crate) fence: Option<(u8, u16, u64)>,
    pub(crate) request: Option<String>,
    pub(crate) command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Origin {
    pub(crate) node: u64,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) answered_below: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Command {
    Initialise {
        cluster: u128,
        node: NewNode,
        admin: String,
    },
    RegisterKind {
        kind: u8,
        name: String,
        partitions: u16,
    },
    CreateInvite {
        secret: [u8; 32],
        role: Role,
        expires_at_ms: u64,
    },
    ConsumeInvite {
        secret: [u8; 32],
        node: NewNode,
    },
    AnnounceNode {
        node: u64,
        mesh_address: String,
        http_url: String,
        version: String,
        level: u32,
    },
    SetIntent {
        node: u64,
        intent: Intent,
    },
    RemoveNode {
        node: u64,
        force: bool,
    },
    Place {
        based_on: u64,
        health: Vec<(u64, bool)>,
        moves: Vec<(u8, u16, u64)>,
        reason: Reason,
    },
    CreateUser {
        name: String,
        password: Option<String>,
        admin: bool,
    },
    SetPassword {
        user: u64,
        password: String,
    },
    RemoveUser {
        user: u64,
    },
    CreateCredential {
        secret: [u8; 32],
        user: u64,
        kind: CredentialKind,
        label: String,
        expires_at_ms: u64,
    },
    RevokeCredential {
        secret: [u8; 32],
    },
    CreateSession {
        session: u128,
        user: u64,
    },
    Say {
        session: u128,
        user: u64,
        id: String,
        text: String,
    },
    Answer {
        session: u128,
        to: u64,
        text: String,
        cancelled: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct NewNode {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) mesh_address: String,
    pub(crate) http_url: String,
    pub(crate) version: String,
    pub(crate) level: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Role {
    Voter,
    Worker,
    Witness,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Intent {
    Joining,
    Active,
    Draining,
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Reason {
    FirstPlacement,
    OwnerLost,
    Drain,
    Balance,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum CredentialKind {
    Login,
    Bearer,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Reply {
    Done,
    Joined { node: u64 },
    User { user: u64 },
    Appended { seq: u64, at_ms: u64, repeated: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Refusal {
    StaleEpoch { current: u64, owner: Option<u64> },
    StaleRevision { current: u64 },
    StaleIncarnation,
    AlreadyAnswered,
    AlreadyInitialised,
    NotFound(String),
    NameTaken(String),
    InviteUnknown,
    InviteExpired { expired_at_ms: u64, now_ms: u64 },
    InviteUsed { by: String },
    NotDrained { partitions: u32 },
    Invalid(String),
    LimitReached(String),
}

pub(crate) type Outcome = Result<Reply, Refusal>;

pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    codec::encode(VERSION, value).expect("encodes")
}

pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(VERSION, bytes)
}

/// Proposals on their way to the leader.
pub(crate) fn batch(proposals: &[Proposal]) -> Vec<u8> {
    let bodies: Vec<Vec<u8>> = proposals.iter().map(encode).collect();
    // Serde's bytes and bincode's list of bytes are the same on the wire: a length, then the bytes.
    encode(&bodies)
}

/// What the leader decided of each; none: it did not.
pub(crate) fn decided(answer: &[u8]) -> Vec<Option<Outcome>> {
    let bodies: Vec<Option<Vec<u8>>> = decode(answer).expect("a batch of outcomes");
    let outcome = |body: Vec<u8>| decode(&body).expect("an outcome of the first level");
    bodies.into_iter().map(|body| body.map(outcome)).collect()
}
