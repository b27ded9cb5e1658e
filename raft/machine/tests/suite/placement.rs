//! `Place`, and fences.

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence, Move, MoveReason};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{NodeIntent, NodeRole, PlacementRow};
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};

use crate::world::{World, chat_fence, create_user, say, session_move, set_intent};

fn place(based_on: u64, health: &[(u64, bool)], moves: Vec<Move>) -> Command {
    let health = health
        .iter()
        .map(|&(id, healthy)| (NodeId(id), healthy))
        .collect();
    Command::Place {
        based_on,
        health,
        moves,
        reason: MoveReason::Balance,
    }
}

#[test]
fn a_plan_moves_partitions_and_notes_health_in_one_step() {
    let mut world = World::with_nodes(2);
    let revision = world.revision();
    let changes = world.changes(place(
        revision,
        &[(1, true), (2, false)],
        vec![session_move(3, 1)],
    ));
    let placed = |from, to, epoch| Change::Placed {
        kind: KindId::SESSION,
        partition: PartitionIndex(3),
        from,
        to: NodeId(to),
        epoch: Epoch(epoch),
    };
    assert_eq!(
        changes,
        [Change::Node(NodeId(2)), placed(None, 1, 1)],
        "node 1 was healthy before"
    );
    assert_eq!(world.revision(), revision + 1);
    assert!(!world.read(|q| q.node(NodeId(2)).unwrap().unwrap().healthy));

    let changes = world.changes(place(revision + 1, &[], vec![session_move(3, 2)]));
    assert_eq!(changes, [placed(Some(NodeId(1)), 2, 2)]);
    let row = world.read(|q| q.placement_of(KindId::SESSION, PartitionIndex(3)).unwrap());
    assert_eq!(
        row,
        Some(PlacementRow {
            owner: Some(NodeId(2)),
            epoch: Epoch(2)
        })
    );
}

#[test]
fn a_plan_that_does_not_fit_is_refused_whole() {
    let mut world = World::with_nodes(2);
    let witness = world.join(3, NodeRole::Witness).0;
    let draining = world.join(4, NodeRole::Worker).0;
    world.run(set_intent(draining, NodeIntent::Draining)).unwrap();
    world.place(&[(0, 1)]).unwrap();
    let now = world.revision();
    let ok = session_move(1, 1);

    world.refuse(
        place(now - 1, &[], vec![ok]),
        Refusal::StaleRevision { current: now },
    );
    world.refuse(
        place(now + 1, &[], vec![ok]),
        Refusal::StaleRevision { current: now },
    );
    world.refuse_saying(place(now, &[], vec![]), "does nothing");
    world.refuse_saying(place(now, &[(2, false), (2, true)], vec![ok]), "named twice");
    world.refuse(
        place(now, &[(9, false)], vec![ok]),
        Refusal::NotFound("node 9".to_owned()),
    );
    world.refuse(
        place(now, &[(2, false)], vec![session_move(1, 9)]),
        Refusal::NotFound("node 9".to_owned()),
    );
    world.refuse_saying(place(now, &[(2, false)], vec![ok, ok]), "moves twice");
    world.refuse_saying(
        place(now, &[(2, false)], vec![ok, session_move(0, 1)]),
        "owns partition 0",
    );
    world.refuse_saying(place(now, &[], vec![ok, session_move(2, witness)]), "witness");
    world.refuse_saying(place(now, &[], vec![ok, session_move(2, draining)]), "not active");
    let not_there = Refusal::NotFound("partition 60 of kind 1".to_owned());
    world.refuse(place(now, &[], vec![ok, session_move(60, 1)]), not_there);
    let other_kind = Move {
        kind: KindId(2),
        ..ok
    };
    world.refuse(
        place(now, &[], vec![other_kind]),
        Refusal::NotFound("partition 1 of kind 2".to_owned()),
    );
    assert_eq!(
        world.run(place(now, &[], vec![ok])),
        Ok(Reply::Done),
        "the revision was never used up"
    );
}

#[test]
fn the_last_eight_moves_are_kept() {
    let mut world = World::with_nodes(2);
    for n in 0..11 {
        world.now_ms += 1;
        world.place(&[(5, 1 + n % 2)]).unwrap();
    }
    let log = world.read(|q| q.placement_log(KindId::SESSION, PartitionIndex(5)).unwrap());
    let epochs: Vec<u64> = log.iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(epochs, [4, 5, 6, 7, 8, 9, 10, 11]);
    let (_, last) = log.last().unwrap();
    assert_eq!(
        (last.from, last.to, last.at_ms),
        (Some(NodeId(2)), NodeId(1), 1_011)
    );
    assert_eq!(
        world.read(|q| q.placement_log(KindId::SESSION, PartitionIndex(4)).unwrap()),
        []
    );
}

#[test]
fn only_the_owners_epoch_passes_a_fence() {
    let mut world = World::with_nodes(2);
    let stale = |epoch, owner: Option<u64>| Refusal::StaleEpoch {
        current: Epoch(epoch),
        owner: owner.map(NodeId),
    };
    assert_eq!(
        world.run_fenced(chat_fence(0), say("a", "hi")),
        Err(stale(0, None)),
        "nobody owns it"
    );
    world.place_chat(1).unwrap();
    assert_eq!(
        world.run_fenced(chat_fence(0), say("a", "hi")),
        Err(stale(1, Some(1)))
    );
    assert_eq!(
        world.run_fenced(chat_fence(2), say("a", "hi")),
        Err(stale(1, Some(1)))
    );
    world.run_fenced(chat_fence(1), say("a", "hi")).unwrap();
    world.place_chat(2).unwrap();
    assert_eq!(
        world.run_fenced(chat_fence(1), say("b", "hi")),
        Err(stale(2, Some(2))),
        "deposed"
    );
    world.run_fenced(chat_fence(2), say("b", "hi")).unwrap();
}

#[test]
fn a_fence_holds_for_every_command() {
    let mut world = World::with_nodes(1);
    world.place_chat(1).unwrap();
    let old = chat_fence(7);
    assert!(matches!(
        world.run_fenced(old, create_user("bob")),
        Err(Refusal::StaleEpoch { .. })
    ));
    world.run_fenced(chat_fence(1), create_user("bob")).unwrap();
    let unknown = Fence {
        kind: KindId(9),
        ..old
    };
    let stale = Refusal::StaleEpoch {
        current: Epoch(0),
        owner: None,
    };
    assert_eq!(world.run_fenced(unknown, create_user("eve")), Err(stale));
}
