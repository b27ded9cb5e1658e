//! The bytes of every command, reply, refusal and row, as they stand in logs, files and on the wire. They are promises:
//! a change that breaks one of these needs a new version, and the old bytes must still be read.

use std::fmt::{Debug, Write as _};

use bincode::{Decode, Encode};
use jarvis_machine::ProposalError;
use jarvis_machine::command::{
    Command, Fence, Letter, Move, MoveReason, NewNode, Origin, PROPOSAL_VERSION, Proposal, RowChange, Seat,
};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_machine::rows::{
    Cause, ClusterRow, CredentialKind, CredentialRow, EntityRow, InviteRow, KindRow, LogMark, MessageBody,
    MessageRow, NodeFacts, NodeIntent, NodeNews, NodeRole, NodeRow, PlacementLogRow, PlacementNoteRow,
    PlacementRow, ProposerRow, ROW_VERSION, SessionRow, UserRow,
};
use jarvis_machine::snapshot::{CHUNK_VERSION, Chunk, ChunkRow};
use jarvis_types::{
    ClientMessageId, ClusterId, EntityId, Epoch, Incarnation, KindId, NodeId, NodeName, PartitionIndex, Seq,
    SessionId, UserId, codec,
};

const SECRET: [u8; 32] = [0xAB; 32];
const SESSION: SessionId = SessionId(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10);

/// Collects what differs, so that one run shows all of it.
struct Golden {
    version: u8,
    differences: String,
}

impl Golden {
    fn new(version: u8) -> Self {
        Self {
            version,
            differences: String::new(),
        }
    }

    fn check<T: Encode + Decode<()> + PartialEq + Debug>(&mut self, value: T, expected: &str) {
        let bytes = codec::encode(self.version, &value).unwrap();
        let hex = hex(&bytes);
        if hex != expected {
            writeln!(self.differences, "GOLDEN {expected:?} => {hex:?} {value:?}").unwrap();
        }
        assert_eq!(codec::decode::<T>(self.version, &bytes), Ok(value));
    }

    fn done(self) {
        assert!(
            self.differences.is_empty(),
            "the bytes differ:\n{}",
            self.differences
        );
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn node_name() -> NodeName {
    "kitchen".parse().unwrap()
}

fn message_id() -> ClientMessageId {
    "m-1".parse().unwrap()
}

fn new_node() -> NewNode {
    NewNode {
        name: node_name(),
        role: NodeRole::Voter,
        mesh_address: "a:1".to_owned(),
        http_url: "http://a:1".to_owned(),
        version: "0.1.0".to_owned(),
        level: 1,
    }
}

/// The tag of each command; a new variant does not compile until it has one, and then its bytes below.
fn command_tag(command: &Command) -> u8 {
    match command {
        Command::Initialise { .. } => 0,
        Command::RegisterKind { .. } => 1,
        Command::CreateInvite { .. } => 2,
        Command::ConsumeInvite { .. } => 3,
        Command::AnnounceNode { .. } => 4,
        Command::SetIntent { .. } => 5,
        Command::RemoveNode { .. } => 6,
        Command::Place { .. } => 7,
        Command::CreateUser { .. } => 8,
        Command::SetPassword { .. } => 9,
        Command::RemoveUser { .. } => 10,
        Command::CreateCredential { .. } => 11,
        Command::RevokeCredential { .. } => 12,
        Command::CreateSession { .. } => 13,
        Command::Say { .. } => 14,
        Command::Answer { .. } => 15,
        Command::RaiseLevel { .. } => 16,
        Command::DescribeNode { .. } => 17,
        Command::PlaceBecause { .. } => 18,
        Command::NoteTakeOver { .. } => 19,
        Command::WriteEntity { .. } => 20,
        Command::Post { .. } => 21,
        Command::Notify { .. } => 22,
        Command::RemoveNodeAt { .. } => 23,
        Command::CorrectTime { .. } => 24,
        Command::NoteLogs { .. } => 25,
    }
}
const COMMANDS: u8 = 26;
/// Commands that builds of the first level know.
const COMMANDS_OF_LEVEL_1: u8 = 16;
/// And of the second.
const COMMANDS_OF_LEVEL_2: u8 = 20;
/// And of the third.
const COMMANDS_OF_LEVEL_3: u8 = 23;

fn refusal_tag(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::StaleEpoch { .. } => 0,
        Refusal::StaleRevision { .. } => 1,
        Refusal::StaleIncarnation => 2,
        Refusal::AlreadyAnswered => 3,
        Refusal::AlreadyInitialised => 4,
        Refusal::NotFound(_) => 5,
        Refusal::NameTaken(_) => 6,
        Refusal::InviteUnknown => 7,
        Refusal::InviteExpired { .. } => 8,
        Refusal::InviteUsed { .. } => 9,
        Refusal::NotDrained { .. } => 10,
        Refusal::Invalid(_) => 11,
        Refusal::LimitReached(_) => 12,
        Refusal::LevelTooLow { .. } => 13,
        Refusal::LevelHeldBack { .. } => 14,
        Refusal::StaleVersion { .. } => 15,
    }
}
const REFUSALS: u8 = 16;

fn reply_tag(reply: &Reply) -> u8 {
    match reply {
        Reply::Done => 0,
        Reply::Joined { .. } => 1,
        Reply::User { .. } => 2,
        Reply::Appended { .. } => 3,
    }
}
const REPLIES: u8 = 4;

pub(crate) fn commands() -> Vec<(Command, &'static str)> {
    vec![
        (
            Command::Initialise {
                cluster: ClusterId(5),
                node: new_node(),
                admin: "ada".to_owned(),
            },
            "010005076b69746368656e0003613a310a687474703a2f2f613a3105302e312e300103616461",
        ),
        (
            Command::RegisterKind {
                kind: KindId::SESSION,
                name: "session".to_owned(),
                partitions: 60,
            },
            "0101010773657373696f6e3c",
        ),
        (
            Command::CreateInvite {
                secret: SECRET,
                role: NodeRole::Worker,
                expires_at_ms: 70_000,
            },
            "0102abababababababababababababababababababababababababababababababab01fc70110100",
        ),
        (
            Command::ConsumeInvite {
                secret: SECRET,
                node: new_node(),
            },
            "0103abababababababababababababababababababababababababababababababab076b69746368656e0003613a310a687474703a2f2f613a3105302e312e3001",
        ),
        (
            Command::AnnounceNode {
                node: NodeId(2),
                mesh_address: "a:1".to_owned(),
                http_url: "http://a:1".to_owned(),
                version: "0.1.0".to_owned(),
                level: 1,
            },
            "01040203613a310a687474703a2f2f613a3105302e312e3001",
        ),
        (
            Command::SetIntent {
                node: NodeId(2),
                intent: NodeIntent::Joining,
            },
            "01050200",
        ),
        (
            Command::SetIntent {
                node: NodeId(2),
                intent: NodeIntent::Active,
            },
            "01050201",
        ),
        (
            Command::SetIntent {
                node: NodeId(2),
                intent: NodeIntent::Draining,
            },
            "01050202",
        ),
        (
            Command::SetIntent {
                node: NodeId(2),
                intent: NodeIntent::Drained,
            },
            "01050203",
        ),
        (
            Command::RemoveNode {
                node: NodeId(2),
                force: true,
            },
            "01060201",
        ),
        (
            Command::Place {
                based_on: 300,
                health: vec![(NodeId(2), false)],
                moves: vec![jarvis_machine::command::Move {
                    kind: KindId::SESSION,
                    partition: PartitionIndex(59),
                    to: NodeId(3),
                }],
                reason: MoveReason::FirstPlacement,
            },
            "0107fb2c0101020001013b0300",
        ),
        (place(MoveReason::OwnerLost), "010701000001"),
        (place(MoveReason::Drain), "010701000002"),
        (place(MoveReason::Balance), "010701000003"),
        (
            Command::CreateUser {
                name: "bob".to_owned(),
                password: Some("$a".to_owned()),
                admin: true,
            },
            "010803626f620102246101",
        ),
        (
            Command::SetPassword {
                user: UserId(2),
                password: "$b".to_owned(),
            },
            "010902022462",
        ),
        (Command::RemoveUser { user: UserId(2) }, "010a02"),
        (
            Command::CreateCredential {
                secret: SECRET,
                user: UserId(2),
                kind: CredentialKind::Login,
                label: "phone".to_owned(),
                expires_at_ms: 70_000,
            },
            "010babababababababababababababababababababababababababababababababab02000570686f6e65fc70110100",
        ),
        (
            Command::RevokeCredential { secret: SECRET },
            "010cabababababababababababababababababababababababababababababababab",
        ),
        (
            Command::CreateSession {
                session: SESSION,
                user: UserId(2),
            },
            "010dfe100f0e0d0c0b0a09080706050403020102",
        ),
        (
            Command::Say {
                session: SESSION,
                user: UserId(2),
                id: message_id(),
                text: "salut".to_owned(),
            },
            "010efe100f0e0d0c0b0a09080706050403020102036d2d310573616c7574",
        ),
        (
            Command::Answer {
                session: SESSION,
                to: Seq(1),
                text: "bonjour".to_owned(),
                cancelled: true,
            },
            "010ffe100f0e0d0c0b0a0908070605040302010107626f6e6a6f757201",
        ),
    ]
}

fn place(reason: MoveReason) -> Command {
    Command::Place {
        based_on: 1,
        health: vec![],
        moves: vec![],
        reason,
    }
}

/// What level 2 added; the rest stands as it did at level 1.
pub(crate) fn commands_of_level_2() -> Vec<(Command, &'static str)> {
    let facts = |capabilities: &[&str], capacity| NodeFacts {
        capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        capacity,
    };
    let because = |news| Command::PlaceBecause {
        based_on: 300,
        health: vec![(NodeId(2), false)],
        moves: vec![Move {
            kind: KindId::SESSION,
            partition: PartitionIndex(59),
            to: NodeId(3),
        }],
        reason: MoveReason::OwnerLost,
        causes: vec![Cause {
            node: NodeId(2),
            news,
        }],
    };
    let seat = Seat {
        kind: KindId::SESSION,
        partition: PartitionIndex(59),
        epoch: Epoch(9),
    };
    vec![
        (Command::RaiseLevel { to: 2 }, "011002"),
        (
            Command::DescribeNode {
                node: NodeId(3),
                facts: facts(&["stt", "gpu"], 250),
            },
            "011103020367707503737474fa",
        ),
        (
            Command::DescribeNode {
                node: NodeId(3),
                facts: facts(&[], 1_000),
            },
            "01110300fbe803",
        ),
        (because(NodeNews::Crashed), "0112fb2c0101020001013b0301010200"),
        (because(NodeNews::Silent), "0112fb2c0101020001013b0301010201"),
        (because(NodeNews::Closed), "0112fb2c0101020001013b0301010202"),
        (because(NodeNews::Removed), "0112fb2c0101020001013b0301010203"),
        (because(NodeNews::Drained), "0112fb2c0101020001013b0301010204"),
        (because(NodeNews::Unfit), "0112fb2c0101020001013b0301010205"),
        (because(NodeNews::Returned), "0112fb2c0101020001013b0301010206"),
        (because(NodeNews::Joined), "0112fb2c0101020001013b0301010207"),
        (
            Command::NoteTakeOver {
                moves: vec![seat],
                took_ms: 300,
            },
            "011301013b09fb2c01",
        ),
    ]
}

/// What level 3 added.
pub(crate) fn commands_of_level_3() -> Vec<(Command, &'static str)> {
    let entity = |key: &str| EntityId {
        kind: KindId::SESSION,
        key: key.to_owned(),
    };
    let row = |name: &str, value: Option<&str>| RowChange {
        name: name.into(),
        value: value.map(Into::into),
    };
    let letters = vec![Letter {
        to: entity("b"),
        body: b"hi".to_vec(),
    }];
    vec![
        (
            Command::WriteEntity {
                entity: entity("a"),
                based_on: 9,
                rows: vec![row("x", Some("1")), row("y", None)],
                taken: 300,
                letters: letters.clone(),
            },
            "011401016109020178010131017900fb2c0101010162026869",
        ),
        (Command::Post { letters }, "011501010162026869"),
        (
            Command::Notify {
                session: SESSION,
                id: message_id(),
                text: "salut".to_owned(),
            },
            "0116fe100f0e0d0c0b0a090807060504030201036d2d310573616c7574",
        ),
    ]
}

/// What level 4 added.
pub(crate) fn commands_of_level_4() -> Vec<(Command, &'static str)> {
    let mark = LogMark { term: 3, index: 300 };
    vec![
        (
            Command::RemoveNodeAt {
                based_on: 300,
                node: NodeId(2),
                force: true,
            },
            "0117fb2c010201",
        ),
        (
            Command::CorrectTime {
                found_ms: 70_000,
                to_ms: 300,
            },
            "0118fc70110100fb2c01",
        ),
        (
            Command::NoteLogs {
                marks: vec![(NodeId(2), mark)],
            },
            "0119010203fb2c01",
        ),
    ]
}

#[test]
fn commands_of_level_2_have_these_bytes() {
    check_level(
        2,
        &commands_of_level_2(),
        COMMANDS_OF_LEVEL_1..COMMANDS_OF_LEVEL_2,
    );
}

#[test]
fn commands_of_level_3_have_these_bytes() {
    check_level(
        3,
        &commands_of_level_3(),
        COMMANDS_OF_LEVEL_2..COMMANDS_OF_LEVEL_3,
    );
}

#[test]
fn commands_of_level_4_have_these_bytes() {
    check_level(4, &commands_of_level_4(), COMMANDS_OF_LEVEL_3..COMMANDS);
}

/// The bytes of what a level added, and that builds of the level before refuse them.
fn check_level(level: u32, commands: &[(Command, &'static str)], mut added: std::ops::Range<u8>) {
    let mut golden = Golden::new(PROPOSAL_VERSION);
    let mut tags = Vec::new();
    for (command, expected) in commands {
        assert_eq!(command.level(), level, "{command:?}");
        let proposal = Proposal {
            origin: None,
            at_ms: 1,
            fence: None,
            request: None,
            command: command.clone(),
        };
        let bytes = proposal.encode().unwrap();
        assert_eq!(
            Proposal::decode_at(level - 1, &bytes),
            Err(ProposalError::Newer {
                needs: level,
                speaks: level - 1
            })
        );
        assert_eq!(Proposal::decode_at(level, &bytes), Ok(proposal));
        tags.push(command_tag(command));
        golden.check(command.clone(), expected);
    }
    assert!(
        added.all(|tag| tags.contains(&tag)),
        "every command has its bytes here: {tags:?}"
    );
    golden.done();
}

#[test]
fn commands_have_these_bytes() {
    let mut golden = Golden::new(PROPOSAL_VERSION);
    let mut tags = Vec::new();
    for (command, expected) in commands() {
        let tag = command_tag(&command);
        assert_eq!(
            codec::encode(PROPOSAL_VERSION, &command).unwrap()[1],
            tag,
            "{command:?}"
        );
        assert_eq!(command.level(), 1, "{command:?}");
        tags.push(tag);
        golden.check(command, expected);
    }
    assert!(
        (0..COMMANDS_OF_LEVEL_1).all(|tag| tags.contains(&tag)),
        "every command has its bytes here: {tags:?}"
    );
    golden.done();
}

#[test]
fn proposals_have_these_bytes() {
    let mut golden = Golden::new(PROPOSAL_VERSION);
    let command = Command::RemoveUser { user: UserId(2) };
    let bare = Proposal {
        origin: None,
        at_ms: 70_000,
        fence: None,
        request: None,
        command,
    };
    let full = Proposal {
        origin: Some(Origin {
            node: NodeId(1),
            incarnation: Incarnation(2),
            sequence: 3,
            answered_below: 300,
        }),
        fence: Some(Fence {
            kind: KindId::SESSION,
            partition: PartitionIndex(59),
            epoch: Epoch(9),
        }),
        request: Some("req-1".parse().unwrap()),
        ..bare.clone()
    };
    assert_eq!(
        hex(&full.encode().unwrap()),
        hex(&codec::encode(PROPOSAL_VERSION, &full).unwrap())
    );
    golden.check(bare, "0100fc7011010000000a02");
    golden.check(full, "0101010203fb2c01fc7011010001013b0901057265712d310a02");
    golden.done();
}

#[test]
fn outcomes_have_these_bytes() {
    let replies: Vec<(Reply, &str)> = vec![
        (Reply::Done, "010000"),
        (Reply::Joined { node: NodeId(3) }, "01000103"),
        (Reply::User { user: UserId(4) }, "01000204"),
        (
            Reply::Appended {
                seq: Seq(5),
                at_ms: 70_000,
                repeated: true,
            },
            "01000305fc7011010001",
        ),
    ];
    let refusals: Vec<(Refusal, &str)> = vec![
        (
            Refusal::StaleEpoch {
                current: Epoch(9),
                owner: Some(NodeId(2)),
            },
            "010100090102",
        ),
        (Refusal::StaleRevision { current: 300 }, "010101fb2c01"),
        (Refusal::StaleIncarnation, "010102"),
        (Refusal::AlreadyAnswered, "010103"),
        (Refusal::AlreadyInitialised, "010104"),
        (Refusal::NotFound("x".to_owned()), "0101050178"),
        (Refusal::NameTaken("x".to_owned()), "0101060178"),
        (Refusal::InviteUnknown, "010107"),
        (
            Refusal::InviteExpired {
                expired_at_ms: 1,
                now_ms: 2,
            },
            "0101080102",
        ),
        (Refusal::InviteUsed { by: node_name() }, "010109076b69746368656e"),
        (Refusal::NotDrained { partitions: 20 }, "01010a14"),
        (Refusal::Invalid("x".to_owned()), "01010b0178"),
        (Refusal::LimitReached("x".to_owned()), "01010c0178"),
        (Refusal::LevelTooLow { needs: 2, level: 1 }, "01010d0201"),
        (
            Refusal::LevelHeldBack {
                to: 2,
                by: vec![node_name()],
            },
            "01010e0201076b69746368656e",
        ),
        (Refusal::StaleVersion { current: 300 }, "01010ffb2c01"),
    ];
    let reply_tags: Vec<u8> = replies.iter().map(|(reply, _)| reply_tag(reply)).collect();
    assert_eq!(
        reply_tags,
        (0..REPLIES).collect::<Vec<_>>(),
        "every reply has its bytes here"
    );
    let refusal_tags: Vec<u8> = refusals.iter().map(|(refusal, _)| refusal_tag(refusal)).collect();
    assert_eq!(
        refusal_tags,
        (0..REFUSALS).collect::<Vec<_>>(),
        "every refusal has its bytes here"
    );

    let mut golden = Golden::new(ROW_VERSION);
    for (reply, expected) in replies {
        golden.check::<Outcome>(Ok(reply), expected);
    }
    for (refusal, expected) in refusals {
        golden.check::<Outcome>(Err(refusal), expected);
    }
    golden.done();
}

#[test]
fn rows_have_these_bytes() {
    let mut golden = Golden::new(ROW_VERSION);
    golden.check(
        ClusterRow {
            cluster: ClusterId(5),
            created_at_ms: 70_000,
        },
        "0105fc70110100",
    );
    let node = |role, intent| NodeRow {
        name: node_name(),
        role,
        intent,
        healthy: true,
        mesh_address: "a:1".to_owned(),
        http_url: "http://a:1".to_owned(),
        version: "0.1.0".to_owned(),
        level: 1,
        joined_at_ms: 70_000,
    };
    golden.check(
        node(NodeRole::Voter, NodeIntent::Joining),
        "01076b69746368656e00000103613a310a687474703a2f2f613a3105302e312e3001fc70110100",
    );
    golden.check(
        node(NodeRole::Worker, NodeIntent::Active),
        "01076b69746368656e01010103613a310a687474703a2f2f613a3105302e312e3001fc70110100",
    );
    golden.check(
        node(NodeRole::Witness, NodeIntent::Draining),
        "01076b69746368656e02020103613a310a687474703a2f2f613a3105302e312e3001fc70110100",
    );
    golden.check(
        node(NodeRole::Voter, NodeIntent::Drained),
        "01076b69746368656e00030103613a310a687474703a2f2f613a3105302e312e3001fc70110100",
    );
    golden.check(
        InviteRow {
            role: NodeRole::Voter,
            expires_at_ms: 70_000,
            used_by: None,
        },
        "0100fc7011010000",
    );
    golden.check(
        InviteRow {
            role: NodeRole::Voter,
            expires_at_ms: 70_000,
            used_by: Some(node_name()),
        },
        "0100fc7011010001076b69746368656e",
    );
    golden.check(
        KindRow {
            name: "session".to_owned(),
            partitions: 60,
        },
        "010773657373696f6e3c",
    );
    golden.check(
        PlacementRow {
            owner: None,
            epoch: Epoch(0),
        },
        "010000",
    );
    golden.check(
        PlacementRow {
            owner: Some(NodeId(2)),
            epoch: Epoch(300),
        },
        "010102fb2c01",
    );
    let moved = |reason| PlacementLogRow {
        from: Some(NodeId(1)),
        to: NodeId(2),
        reason,
        at_ms: 70_000,
    };
    golden.check(moved(MoveReason::FirstPlacement), "0101010200fc70110100");
    golden.check(moved(MoveReason::OwnerLost), "0101010201fc70110100");
    golden.check(moved(MoveReason::Drain), "0101010202fc70110100");
    golden.check(moved(MoveReason::Balance), "0101010203fc70110100");
    golden.check(
        UserRow {
            name: "bob".to_owned(),
            password: Some("$a".to_owned()),
            admin: true,
            created_at_ms: 70_000,
        },
        "0103626f620102246101fc70110100",
    );
    let credential = |kind| CredentialRow {
        user: UserId(2),
        kind,
        label: "phone".to_owned(),
        created_at_ms: 70_000,
        expires_at_ms: 70_001,
    };
    golden.check(
        credential(CredentialKind::Login),
        "0102000570686f6e65fc70110100fc71110100",
    );
    golden.check(
        credential(CredentialKind::Bearer),
        "0102010570686f6e65fc70110100fc71110100",
    );
    golden.check(
        SessionRow {
            user: UserId(2),
            created_at_ms: 70_000,
            last_seq: Seq(300),
            last_at_ms: 70_001,
            title: "salut".to_owned(),
        },
        "0102fc70110100fb2c01fc711101000573616c7574",
    );
    let entry = |body| MessageRow {
        body,
        text: "salut".to_owned(),
        at_ms: 70_000,
    };
    golden.check(
        entry(MessageBody::Said {
            id: message_id(),
            reply: None,
        }),
        "0100036d2d31000573616c7574fc70110100",
    );
    golden.check(
        entry(MessageBody::Said {
            id: message_id(),
            reply: Some(Seq(2)),
        }),
        "0100036d2d3101020573616c7574fc70110100",
    );
    golden.check(
        entry(MessageBody::Reply {
            to: Seq(1),
            to_id: message_id(),
            cancelled: false,
        }),
        "010101036d2d31000573616c7574fc70110100",
    );
    golden.check(
        entry(MessageBody::Told { id: message_id() }),
        "0102036d2d310573616c7574fc70110100",
    );
    golden.check(
        ProposerRow {
            incarnation: Incarnation(2),
            answered_below: 300,
        },
        "0102fb2c01",
    );
    golden.check(
        NodeFacts {
            capabilities: ["stt", "gpu"].map(str::to_owned).into(),
            capacity: 250,
        },
        "01020367707503737474fa",
    );
    golden.check(PlacementNoteRow::default(), "010000");
    golden.check(
        PlacementNoteRow {
            cause: Some(Cause {
                node: NodeId(2),
                news: NodeNews::Crashed,
            }),
            took_ms: Some(300),
        },
        "0101020001fb2c01",
    );
    // The cluster level.
    golden.check(2u32, "0102");
    // Counters, user ids under names, and places of messages under client ids.
    golden.check(70_000u64, "01fc70110100");
    golden.check(UserId(2), "0102");
    golden.check(
        EntityRow {
            version: 9,
            last_letter: 300,
            taken: 2,
            rows: 3,
            row_bytes: 70_000,
        },
        "0109fb2c010203fc70110100",
    );
    golden.check(Seq(300), "01fb2c01");
    golden.done();
}

#[test]
fn chunks_have_these_bytes() {
    let mut golden = Golden::new(CHUNK_VERSION);
    let chunk = Chunk {
        rows: vec![ChunkRow {
            table: 13,
            key: vec![1, 2],
            value: vec![3],
        }],
        last: true,
    };
    assert_eq!(
        hex(&chunk.encode().unwrap())[8..],
        hex(&codec::encode(CHUNK_VERSION, &chunk).unwrap())
    );
    golden.check(chunk, "01010d020102010301");
    golden.done();
}

#[test]
fn proposals_have_a_largest_size() {
    use jarvis_types::limits::MAX_COMMAND_BYTES;
    let of = |len: usize| Proposal {
        origin: None,
        at_ms: 0,
        fence: None,
        request: None,
        command: Command::Answer {
            session: SESSION,
            to: Seq(1),
            text: "x".repeat(len),
            cancelled: false,
        },
    };
    let overhead = of(MAX_COMMAND_BYTES / 2).encode().unwrap().len() - MAX_COMMAND_BYTES / 2;
    let largest = of(MAX_COMMAND_BYTES - overhead);
    let bytes = largest.encode().unwrap();
    assert_eq!(bytes.len(), MAX_COMMAND_BYTES);
    assert_eq!(Proposal::decode(&bytes), Ok(largest));
    let too_large = ProposalError::TooLarge {
        len: MAX_COMMAND_BYTES + 1,
        max: MAX_COMMAND_BYTES,
    };
    assert_eq!(
        of(MAX_COMMAND_BYTES - overhead + 1).encode(),
        Err(too_large.clone())
    );
    assert_eq!(Proposal::decode(&vec![1; MAX_COMMAND_BYTES + 1]), Err(too_large));
    let newer = ProposalError::Codec(codec::CodecError::Version { found: 2, known: 1 });
    assert_eq!(Proposal::decode(&[2, 0]), Err(newer));
}
