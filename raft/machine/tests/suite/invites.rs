//! `CreateInvite` and `ConsumeInvite`.

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_machine::storage::Table;
use jarvis_types::{NodeId, NodeName, codec};

use crate::world::{World, new_node};

fn invite(n: u8, expires_at_ms: u64) -> Command {
    Command::CreateInvite {
        secret: [n; 32],
        role: NodeRole::Witness,
        expires_at_ms,
    }
}

fn numbered(n: u64, expires_at_ms: u64) -> Command {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&n.to_be_bytes());
    Command::CreateInvite {
        secret,
        role: NodeRole::Voter,
        expires_at_ms,
    }
}

fn consume(n: u8, name: &str) -> Command {
    Command::ConsumeInvite {
        secret: [n; 32],
        node: new_node(name),
    }
}

#[test]
fn an_invitation_makes_a_member_once() {
    let mut world = World::new();
    world.run(invite(7, 2_000)).unwrap();
    let revision = world.revision();
    assert_eq!(world.changes(consume(7, "two")), [Change::Node(NodeId(2))]);
    assert_eq!(world.revision(), revision + 1);
    let row = world.read(|q| q.node(NodeId(2)).unwrap().unwrap());
    assert_eq!((row.intent, row.healthy), (NodeIntent::Joining, false));
    assert_eq!(
        row.role,
        NodeRole::Witness,
        "the invitation says what the guest will be"
    );
    let by = "two".parse().unwrap();
    world.refuse(consume(7, "three"), Refusal::InviteUsed { by });
}

#[test]
fn each_refusal_says_which() {
    let mut world = World::new();
    world.refuse(consume(7, "two"), Refusal::InviteUnknown);
    world.run(invite(7, 2_000)).unwrap();
    world.refuse(consume(7, "ONE"), Refusal::NameTaken("ONE".to_owned()));
    // A malformed name does not even come in as bytes.
    let bad = codec::decode::<NodeName>(1, &codec::encode(1, &"not a name".to_owned()).unwrap());
    assert!(bad.unwrap_err().to_string().contains("node name"));
    let node = NewNode {
        http_url: "x".repeat(257),
        ..new_node("two")
    };
    world.refuse_saying(
        Command::ConsumeInvite {
            secret: [7; 32],
            node,
        },
        "URL",
    );
    world.now_ms = 2_000;
    world.refuse(
        consume(7, "two"),
        Refusal::InviteExpired {
            expired_at_ms: 2_000,
            now_ms: 2_000,
        },
    );
    world.refuse_saying(invite(8, 2_000), "the invitation would have expired 0 s ago");
    world.refuse_saying(invite(7, 9_000), "made before");
}

#[test]
fn at_most_64_are_open_and_expired_ones_make_room() {
    let mut world = World::new();
    for n in 0..64 {
        world.run(numbered(n, 2_000 + n)).unwrap();
    }
    world.refuse_saying(numbered(64, 9_000), "64 open");
    world.now_ms = 2_000;
    world.run(numbered(64, 9_000)).unwrap();
    world.refuse_saying(numbered(65, 9_000), "64 open");
    assert_eq!(
        world.rows(Table::Invites),
        65,
        "an expired one is kept, to be told so"
    );
}

#[test]
fn those_older_than_a_day_are_forgotten_and_there_are_never_more_than_256() {
    let mut world = World::new();
    for n in 0..300 {
        world.run(numbered(n, world.now_ms + 1)).unwrap();
        world.now_ms += 1;
        assert!(world.rows(Table::Invites) <= 256);
    }
    assert_eq!(world.rows(Table::Invites), 256);
    world.now_ms += 24 * 60 * 60 * 1000 + 1;
    world.run(numbered(300, world.now_ms + 1)).unwrap();
    assert_eq!(world.rows(Table::Invites), 1);
}

#[test]
fn a_cluster_has_at_most_64_nodes() {
    let mut world = World::new();
    for n in 2..=64 {
        world.join(n, NodeRole::Worker);
    }
    world.run(invite(65, world.now_ms + 1)).unwrap();
    world.refuse_saying(consume(65, "one-too-many"), "64 nodes");
}

#[test]
fn ids_are_never_used_again_and_names_may_be() {
    let mut world = World::new();
    let two = world.join(2, NodeRole::Voter);
    world
        .run(Command::RemoveNode {
            node: two,
            force: false,
        })
        .unwrap();
    world.run(invite(9, 5_000)).unwrap();
    assert_eq!(
        world.run(consume(9, "node-2")),
        Ok(Reply::Joined { node: NodeId(3) })
    );
}
