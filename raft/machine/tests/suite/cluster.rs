//! `Initialise` and `RegisterKind`, and ledger time.

use jarvis_machine::change::Change;
use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{ClusterRow, KindRow, NodeIntent, NodeRole, PlacementRow};
use jarvis_types::{ClusterId, KindId, NodeId, UserId};

use crate::world::{World, create_user, initialise, new_node, sessions_kind};

#[test]
fn the_first_command_makes_cluster_node_and_administrator() {
    let mut world = World::empty();
    assert_eq!(
        world.changes(initialise()),
        [Change::Node(NodeId(1)), Change::Credentials(UserId(1))]
    );
    world.read(|q| {
        assert_eq!(
            q.cluster().unwrap(),
            Some(ClusterRow {
                cluster: ClusterId(5),
                created_at_ms: 1_000
            })
        );
        let node = q.node(NodeId(1)).unwrap().unwrap();
        assert_eq!(
            (node.intent, node.healthy, node.joined_at_ms),
            (NodeIntent::Active, true, 1_000)
        );
        let (id, user) = q.user_by_name("ADA").unwrap().unwrap();
        assert_eq!((id, user.admin, user.password), (UserId(1), true, None));
        assert_eq!(q.placement_revision().unwrap(), 1);
    });
    world.refuse(initialise(), Refusal::AlreadyInitialised);
}

#[test]
fn a_first_node_that_cannot_vote_or_an_odd_name_is_refused() {
    let mut world = World::empty();
    let mut node = new_node("one");
    node.role = NodeRole::Worker;
    let command = |node, admin: &str| Command::Initialise {
        cluster: ClusterId(5),
        node,
        admin: admin.to_owned(),
    };
    world.refuse_saying(command(node, "ada"), "must vote");
    world.refuse_saying(command(new_node("one"), "a b"), "user name");
    assert_eq!(world.run(initialise()), Ok(Reply::Joined { node: NodeId(1) }));
}

#[test]
fn ids_are_given_out_only_once_there_is_a_cluster() {
    let mut world = World::empty();
    assert!(matches!(world.run(create_user("bob")), Err(Refusal::NotFound(_))));
    let invite = Command::CreateInvite {
        secret: [1; 32],
        role: NodeRole::Voter,
        expires_at_ms: 9_000,
    };
    assert!(matches!(world.run(invite), Err(Refusal::NotFound(_))));
}

#[test]
fn a_kind_is_made_known_once_with_its_partitions() {
    let mut world = World::new();
    assert_eq!(
        world.changes(sessions_kind()),
        [Change::KindRegistered(KindId::SESSION)]
    );
    assert_eq!(world.revision(), 2);
    world.read(|q| {
        assert_eq!(
            q.kinds().unwrap(),
            [(
                KindId(1),
                KindRow {
                    name: "session".to_owned(),
                    partitions: 60
                }
            )]
        );
        assert_eq!(q.placement(KindId(1)).unwrap(), [PlacementRow::default(); 60]);
        assert_eq!(q.placement(KindId(2)).unwrap(), []);
    });
    assert_eq!(world.changes(sessions_kind()), []);
    assert_eq!(world.revision(), 2, "the same again changes nothing");
}

#[test]
fn a_kind_that_contradicts_is_refused() {
    let mut world = World::new();
    world.run(sessions_kind()).unwrap();
    let kind = |kind, name: &str, partitions| Command::RegisterKind {
        kind: KindId(kind),
        name: name.to_owned(),
        partitions,
    };
    world.refuse_saying(kind(1, "session", 61), "60 partitions for ever");
    world.refuse_saying(kind(1, "chat", 60), "\"session\"");
    world.refuse(kind(2, "session", 60), Refusal::NameTaken("session".to_owned()));
    world.refuse_saying(kind(2, "audio", 0), "1 to 4096 partitions");
    world.refuse_saying(kind(2, "audio", 5_000), "1 to 4096 partitions");
    world.refuse_saying(kind(2, "", 5), "name");
}

#[test]
fn ledger_time_never_runs_backwards() {
    let mut world = World::new();
    world.now_ms = 5_000;
    world.run(create_user("bob")).unwrap();
    world.now_ms = 3_000;
    world.run(create_user("eve")).unwrap();
    world.read(|q| {
        assert_eq!(q.ledger_ms().unwrap(), 5_000);
        assert_eq!(q.user(UserId(3)).unwrap().unwrap().created_at_ms, 5_000);
    });
    world.now_ms = 8_000;
    world.refuse(create_user("bob"), Refusal::NameTaken("bob".to_owned()));
    assert_eq!(
        world.read(|q| q.ledger_ms().unwrap()),
        8_000,
        "time goes on with refused commands too"
    );
}
