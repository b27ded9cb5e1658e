//! Level 4: removals at a revision, corrections of ledger time, log marks, expiry by the command's time.

use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{LogMark, NodeIntent, NodeRole};
use jarvis_types::NodeId;

use crate::world::{CHAT, World, new_node, say, set_intent, speaks};

const HOUR_MS: u64 = 3_600_000;

/// Three nodes at level 4.
fn risen() -> World {
    let mut world = World::with_nodes(3);
    for node in 1..=3 {
        world.run(speaks(node, 4)).unwrap();
    }
    world.run(Command::RaiseLevel { to: 4 }).unwrap();
    world
}

fn remove_at(based_on: u64, node: u64) -> Command {
    Command::RemoveNodeAt {
        based_on,
        node: NodeId(node),
        force: true,
    }
}

fn invite(secret: u8, expires_at_ms: u64) -> Command {
    Command::CreateInvite {
        secret: [secret; 32],
        role: NodeRole::Voter,
        expires_at_ms,
    }
}

#[test]
fn of_two_removals_found_safe_at_one_revision_the_second_is_refused() {
    let mut world = risen();
    let found = world.revision();
    assert_eq!(world.run(remove_at(found, 2)), Ok(Reply::Done));
    let current = world.revision();
    world.refuse(remove_at(found, 3), Refusal::StaleRevision { current });
    assert_eq!(world.read(|q| q.nodes().unwrap().len()), 2);
    assert_eq!(
        world.run(remove_at(current, 3)),
        Ok(Reply::Done),
        "looked at again"
    );
}

#[test]
fn ledger_time_goes_back_where_it_was_found_and_a_transcript_does_not() {
    let mut world = risen();
    let right_ms = world.now_ms;
    let ahead_ms = right_ms + 10 * HOUR_MS;
    world.now_ms = ahead_ms;
    world.run(say("m1", "ahead")).unwrap();
    world.now_ms = right_ms;
    let correct = |found_ms| Command::CorrectTime {
        found_ms,
        to_ms: right_ms,
    };
    world.run(correct(ahead_ms - 1)).unwrap();
    assert_eq!(
        world.read(|q| q.ledger_ms().unwrap()),
        ahead_ms,
        "it was found elsewhere"
    );
    world.run(correct(ahead_ms)).unwrap();
    assert_eq!(world.read(|q| q.ledger_ms().unwrap()), right_ms);
    world.now_ms += 5;
    let Ok(Reply::Appended { at_ms, .. }) = world.run(say("m2", "right")) else {
        panic!("refused")
    };
    assert_eq!(at_ms, ahead_ms, "within a session time never decreases");
    let row = world.read(|q| q.session(CHAT).unwrap().unwrap());
    assert_eq!(
        (row.last_at_ms, world.read(|q| q.ledger_ms().unwrap())),
        (ahead_ms, right_ms + 5)
    );
}

#[test]
fn invitations_are_made_and_expire_while_ledger_time_is_ahead() {
    let mut world = risen();
    let right_ms = world.now_ms;
    world.now_ms += 10 * HOUR_MS;
    world.run(say("m1", "ahead")).unwrap();
    world.now_ms = right_ms;
    world.run(invite(9, right_ms + 100)).unwrap();
    world.refuse_saying(invite(8, right_ms - 500), "1 s ago by the cluster's time");
    world.now_ms = right_ms + 100;
    let consume = Command::ConsumeInvite {
        secret: [9; 32],
        node: new_node("late"),
    };
    let Err(refusal @ Refusal::InviteExpired { .. }) = world.run(consume) else {
        panic!("it has expired")
    };
    assert_eq!(refusal.to_string(), "the invitation expired 0 s ago");
}

#[test]
fn expiry_goes_by_ledger_time_below_level_4() {
    let mut world = World::with_nodes(1);
    let right_ms = world.now_ms;
    world.now_ms += HOUR_MS;
    world.run(say("m1", "ahead")).unwrap();
    world.now_ms = right_ms;
    world.refuse_saying(invite(9, right_ms + 100), "1 h 0 min ago");
}

#[test]
fn a_node_that_was_undrained_meanwhile_is_not_taken_for_drained() {
    let mut world = risen();
    world.run(set_intent(2, NodeIntent::Draining)).unwrap();
    world.run(set_intent(2, NodeIntent::Active)).unwrap();
    world.refuse_saying(set_intent(2, NodeIntent::Drained), "not being drained");
    world.run(set_intent(2, NodeIntent::Draining)).unwrap();
    world.run(set_intent(2, NodeIntent::Drained)).unwrap();
}

#[test]
fn log_marks_rise_and_go_with_their_node() {
    let mut world = risen();
    let mark = |term, index| LogMark { term, index };
    let note = |node, mark| Command::NoteLogs {
        marks: vec![(NodeId(node), mark)],
    };
    let marks = |world: &World| world.read(|q| q.log_marks().unwrap());
    for (noted, kept) in [
        (mark(2, 10), mark(2, 10)),
        (mark(2, 9), mark(2, 10)),
        (mark(1, 20), mark(2, 10)),
        (mark(3, 11), mark(3, 11)),
    ] {
        world.run(note(2, noted)).unwrap();
        assert_eq!(marks(&world), [(NodeId(2), kept)]);
    }
    world.run(note(9, mark(1, 1))).unwrap();
    assert_eq!(marks(&world).len(), 1, "nobody has that id");
    world.run(remove_at(world.revision(), 2)).unwrap();
    assert_eq!(marks(&world), []);
}
