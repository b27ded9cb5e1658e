//! `AnnounceNode`, `SetIntent` and `RemoveNode`.

use jarvis_machine::change::Change;
use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_types::NodeId;

use crate::world::{World, announce, create_user, new_node, origin, set_intent};

fn remove(node: u64, force: bool) -> Command {
    Command::RemoveNode {
        node: NodeId(node),
        force,
    }
}

fn joining() -> World {
    let mut world = World::new();
    world
        .run(Command::CreateInvite {
            secret: [2; 32],
            role: NodeRole::Voter,
            expires_at_ms: 2_000,
        })
        .unwrap();
    world
        .run(Command::ConsumeInvite {
            secret: [2; 32],
            node: new_node("two"),
        })
        .unwrap();
    world
}

#[test]
fn a_node_becomes_active_when_it_first_reports() {
    let mut world = joining();
    let revision = world.revision();
    world.refuse_saying(set_intent(2, NodeIntent::Draining), "not reported");
    assert_eq!(world.changes(announce(NodeId(2))), [Change::Node(NodeId(2))]);
    let row = world.read(|q| q.node_by_name("two").unwrap().unwrap().1);
    assert_eq!((row.intent, row.healthy), (NodeIntent::Active, true));
    assert_eq!(world.revision(), revision + 1, "plans depend on it");

    assert_eq!(
        world.changes(announce(NodeId(2))),
        [],
        "the same again changes nothing"
    );
    let moved = Command::AnnounceNode {
        node: NodeId(2),
        mesh_address: "10.0.0.9:8007".to_owned(),
        http_url: "http://10.0.0.9:8007".to_owned(),
        version: "0.2.0".to_owned(),
        level: 2,
    };
    assert_eq!(world.changes(moved), [Change::Node(NodeId(2))]);
    let row = world.read(|q| q.node(NodeId(2)).unwrap().unwrap());
    assert_eq!((row.mesh_address.as_str(), row.level), ("10.0.0.9:8007", 2));
    assert_eq!(world.revision(), revision + 1, "plans do not depend on addresses");
}

#[test]
fn a_stranger_cannot_report() {
    let mut world = World::new();
    world.refuse(announce(NodeId(2)), Refusal::NotFound("node 2".to_owned()));
    let long = Command::AnnounceNode {
        node: NodeId(1),
        mesh_address: "x".repeat(257),
        http_url: String::new(),
        version: String::new(),
        level: 1,
    };
    world.refuse_saying(long, "mesh address");
}

#[test]
fn intents_change_and_plans_with_them() {
    let mut world = World::with_nodes(2);
    let revision = world.revision();
    assert_eq!(
        world.changes(set_intent(2, NodeIntent::Draining)),
        [Change::Node(NodeId(2))]
    );
    assert_eq!(world.revision(), revision + 1);
    assert_eq!(world.changes(set_intent(2, NodeIntent::Draining)), []);
    assert_eq!(world.revision(), revision + 1, "the same again changes nothing");
    world.run(set_intent(2, NodeIntent::Drained)).unwrap();
    world.run(set_intent(2, NodeIntent::Active)).unwrap();
    assert_eq!(world.revision(), revision + 3);
    world.refuse_saying(set_intent(2, NodeIntent::Joining), "joins only once");
    world.refuse(
        set_intent(3, NodeIntent::Active),
        Refusal::NotFound("node 3".to_owned()),
    );
}

#[test]
fn a_node_is_drained_only_when_it_owns_nothing() {
    let mut world = World::with_nodes(2);
    world.place(&[(0, 2), (1, 2)]).unwrap();
    world.run(set_intent(2, NodeIntent::Draining)).unwrap();
    world.refuse(
        set_intent(2, NodeIntent::Drained),
        Refusal::NotDrained { partitions: 2 },
    );
    world.refuse(remove(2, false), Refusal::NotDrained { partitions: 2 });
    world.place(&[(0, 1), (1, 1)]).unwrap();
    world.run(set_intent(2, NodeIntent::Drained)).unwrap();
}

#[test]
fn a_removed_node_is_out_for_good() {
    let mut world = World::with_nodes(2);
    let revision = world.revision();
    assert_eq!(world.changes(remove(2, false)), [Change::NodeRemoved(NodeId(2))]);
    assert_eq!(world.revision(), revision + 1);
    world.read(|q| {
        assert!(q.is_removed(NodeId(2)).unwrap() && !q.is_removed(NodeId(1)).unwrap());
        assert_eq!(q.node(NodeId(2)).unwrap(), None);
    });
    world.refuse(remove(2, false), Refusal::NotFound("node 2".to_owned()));
    world.refuse(announce(NodeId(2)), Refusal::NotFound("node 2".to_owned()));
}

#[test]
fn force_leaves_its_partitions_to_the_next_plan() {
    let mut world = World::with_nodes(2);
    world.place(&[(0, 2)]).unwrap();
    assert_eq!(world.changes(remove(2, true)), [Change::NodeRemoved(NodeId(2))]);
    let owner = |world: &World| world.read(|q| q.placement(jarvis_types::KindId::SESSION).unwrap()[0].owner);
    assert_eq!(owner(&world), Some(NodeId(2)));
    world.place(&[(0, 1)]).unwrap();
    assert_eq!(owner(&world), Some(NodeId(1)));
}

#[test]
fn the_last_node_that_can_vote_stays() {
    let mut world = joining();
    world.refuse_saying(remove(1, true), "last that can vote");
    world.join(3, NodeRole::Worker);
    world.refuse_saying(remove(1, true), "last that can vote");
    world.run(announce(NodeId(2))).unwrap();
    assert_eq!(world.run(remove(1, false)), Ok(Reply::Done));
}

#[test]
fn nothing_of_a_removed_node_is_applied_any_more() {
    let mut world = World::with_nodes(2);
    let mut proposal = world.proposal(create_user("bob"));
    proposal.origin = origin(2, 5, 1, 1);
    world.apply(&proposal).outcome.unwrap();
    let mut own_removal = world.proposal(remove(2, true));
    own_removal.origin = origin(2, 5, 2, 1);
    world.apply(&own_removal).outcome.unwrap();
    assert_eq!(
        world.rows(jarvis_machine::storage::Table::Proposals),
        0,
        "what was remembered of it is forgotten"
    );
    for incarnation in [5, 6] {
        proposal.origin = origin(2, incarnation, 1, 1);
        assert_eq!(world.apply(&proposal).outcome, Err(Refusal::StaleIncarnation));
    }
}
