//! The cluster level: what it holds back, how it rises, and that nothing of a later one is there before.

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, MoveReason, NewNode, Seat};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{Cause, NodeFacts, NodeNews, NodeRole, PlacementNoteRow};
use jarvis_machine::snapshot::fingerprint;
use jarvis_machine::storage::{Table, TableStore};
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};

use crate::world::{World, all_rows, initialise, new_node, session_move, speaks};

const RAISE: Command = Command::RaiseLevel { to: 2 };

fn describe(node: u64, capabilities: &[&str], capacity: u32) -> Command {
    Command::DescribeNode {
        node: NodeId(node),
        facts: NodeFacts {
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
            capacity,
        },
    }
}

fn because(world: &World, moves: &[(u16, u64)], news: &[(u64, NodeNews)]) -> Command {
    Command::PlaceBecause {
        based_on: world.revision(),
        health: vec![],
        moves: moves.iter().map(|&(p, to)| session_move(p, to)).collect(),
        reason: MoveReason::OwnerLost,
        causes: (news.iter())
            .map(|&(node, news)| Cause {
                node: NodeId(node),
                news,
            })
            .collect(),
    }
}

fn seat(partition: u16, epoch: u64) -> Seat {
    Seat {
        kind: KindId::SESSION,
        partition: PartitionIndex(partition),
        epoch: Epoch(epoch),
    }
}

fn level(world: &World) -> u32 {
    world.read(|q| q.cluster_level().unwrap())
}

/// Three nodes at level 2.
fn risen() -> World {
    let mut world = World::with_nodes(3);
    for node in 1..=3 {
        world.run(speaks(node, 2)).unwrap();
    }
    world.run(RAISE).unwrap();
    world
}

#[test]
fn the_level_rises_when_every_member_speaks_it_and_never_falls() {
    let mut world = World::empty();
    assert!(matches!(world.run(RAISE), Err(Refusal::NotFound(_))));
    world = World::with_nodes(3);
    assert_eq!(level(&world), 1, "a cluster begins at the first level");
    world.run(speaks(1, 2)).unwrap();
    world.run(speaks(3, 2)).unwrap();
    let held = Refusal::LevelHeldBack {
        to: 2,
        by: vec!["node-2".parse().unwrap()],
    };
    assert_eq!(
        held.to_string(),
        "the cluster cannot go to level 2 while node-2 speaks less; upgrade jarvis there"
    );
    world.refuse(RAISE, held);
    world.run(speaks(2, 3)).unwrap();
    assert_eq!(world.changes(RAISE), [Change::LevelRaised(2)]);
    assert_eq!(level(&world), 2);
    assert_eq!(world.changes(RAISE), [], "a second time does nothing");
    assert_eq!(world.run(Command::RaiseLevel { to: 1 }), Ok(Reply::Done));
    assert_eq!(level(&world), 2, "never lowered");
}

#[test]
fn a_first_node_of_level_2_begins_at_level_1_all_the_same() {
    let mut world = World::empty();
    let Command::Initialise { cluster, node, admin } = initialise() else {
        panic!()
    };
    let node = NewNode { level: 2, ..node };
    world.run(Command::Initialise { cluster, node, admin }).unwrap();
    assert_eq!(level(&world), 1);
    world.run(RAISE).unwrap();
    assert_eq!(level(&world), 2);
}

#[test]
fn commands_above_the_level_are_refused_and_leave_nothing() {
    let mut world = World::with_nodes(3);
    let place = because(&world, &[(0, 1)], &[]);
    for command in [
        describe(1, &["gpu"], 100),
        place,
        Command::NoteTakeOver {
            moves: vec![],
            took_ms: 5,
        },
    ] {
        world.refuse(command, Refusal::LevelTooLow { needs: 2, level: 1 });
    }
    world.place(&[(0, 1), (1, 2)]).unwrap();
    world.place(&[(0, 2)]).unwrap();
    let read = world.store.read().unwrap();
    let rows = all_rows(&*read);
    assert!(
        rows.iter().all(|row| row.table <= Table::Proposers as u8),
        "no table of a later level"
    );
    assert!(rows.iter().all(|row| row.key != b"level"));
}

#[test]
fn a_node_that_speaks_too_little_is_turned_away_in_words() {
    let mut world = risen();
    let invite = |secret| Command::CreateInvite {
        secret: [secret; 32],
        role: NodeRole::Voter,
        expires_at_ms: 9_000,
    };
    world.run(invite(9)).unwrap();
    let join = |level| Command::ConsumeInvite {
        secret: [9; 32],
        node: NewNode {
            level,
            ..new_node("old")
        },
    };
    let words = "the node speaks cluster level 1 and the cluster is at level 2; install the jarvis on it";
    world.refuse_saying(join(1), words);
    world.refuse_saying(speaks(2, 1), words);
    assert!(
        world.run(join(2)).is_ok(),
        "the invitation was not used up, and a node of the level is let in"
    );
}

#[test]
fn nodes_describe_themselves() {
    let mut world = risen();
    let before = world.revision();
    assert_eq!(
        world.changes(describe(2, &["gpu", "stt"], 250)),
        [Change::Node(NodeId(2))]
    );
    assert_eq!(
        world.revision(),
        before + 1,
        "plans made from what was known before are stale"
    );
    assert_eq!(world.changes(describe(2, &["stt", "gpu"], 250)), []);
    let facts = world.read(|q| q.all_node_facts().unwrap());
    assert_eq!(facts.len(), 1);
    assert_eq!((facts[0].0, facts[0].1.capacity), (NodeId(2), 250));
    assert!(matches!(
        world.run(describe(9, &[], 100)),
        Err(Refusal::NotFound(_))
    ));
    world.refuse_saying(describe(2, &[], 0), "1 to 1000");
    world.refuse_saying(describe(2, &[], 1_001), "1 to 1000");
    world.refuse_saying(describe(2, &["a microphone"], 100), "\"a microphone\"");
    let many: Vec<String> = (0..33).map(|n| format!("c{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    world.refuse_saying(describe(2, &many, 100), "32 capabilities");
    world
        .run(Command::RemoveNode {
            node: NodeId(2),
            force: true,
        })
        .unwrap();
    assert_eq!(world.read(|q| q.node_facts(NodeId(2)).unwrap()), None);
}

#[test]
fn moves_keep_what_was_seen_and_how_long_they_took() {
    let mut world = risen();
    let notes = |world: &World, partition| {
        world.read(|q| {
            let notes = q
                .placement_notes(KindId::SESSION, PartitionIndex(partition))
                .unwrap();
            notes
                .into_iter()
                .map(|(epoch, note)| (epoch.0, note))
                .collect::<Vec<_>>()
        })
    };
    world.place(&[(0, 1), (1, 2), (2, 3)]).unwrap();
    assert_eq!(notes(&world, 0), [], "a plain plan keeps nothing");
    let seen = [(1, NodeNews::Crashed), (3, NodeNews::Returned)];
    let command = because(&world, &[(0, 3), (1, 3), (3, 2)], &seen);
    world.run(command).unwrap();
    let with = |node, news, took_ms| PlacementNoteRow {
        cause: Some(Cause {
            node: NodeId(node),
            news,
        }),
        took_ms,
    };
    assert_eq!(notes(&world, 0), [(2, with(1, NodeNews::Crashed, None))]);
    assert_eq!(notes(&world, 1), [(2, with(3, NodeNews::Returned, None))]);
    assert_eq!(notes(&world, 3), [(1, PlacementNoteRow::default())]);

    let note = |took_ms, moves: &[(u16, u64)]| Command::NoteTakeOver {
        moves: moves.iter().map(|&(p, epoch)| seat(p, epoch)).collect(),
        took_ms,
    };
    world.run(note(87, &[(0, 2), (2, 1), (50, 7)])).unwrap();
    world.run(note(99, &[(0, 2)])).unwrap();
    assert_eq!(notes(&world, 0), [(2, with(1, NodeNews::Crashed, Some(87)))]);
    assert_eq!(notes(&world, 2), [], "what has no note gets none");
    let many = vec![seat(0, 2); 16_385];
    world.refuse_saying(
        Command::NoteTakeOver {
            moves: many,
            took_ms: 1,
        },
        "16384",
    );

    // They go with the moves they belong to.
    for n in 0..12 {
        let command = because(&world, &[(0, 1 + n % 2)], &[]);
        world.run(command).unwrap();
    }
    let log = world.read(|q| q.placement_log(KindId::SESSION, PartitionIndex(0)).unwrap());
    let kept = notes(&world, 0);
    assert_eq!(log.len(), 8);
    assert!(
        log.iter()
            .map(|(epoch, _)| epoch.0)
            .eq(kept.iter().map(|(epoch, _)| *epoch))
    );
}

#[test]
fn the_same_log_makes_the_same_tables_whoever_replays_it() {
    let run = || {
        let mut world = risen();
        world.run(describe(3, &["microphone"], 50)).unwrap();
        let command = because(&world, &[(0, 3)], &[(1, NodeNews::Silent)]);
        world.run(command).unwrap();
        world.read(|q| fingerprint(q.0).unwrap())
    };
    assert_eq!(run(), run());
}
