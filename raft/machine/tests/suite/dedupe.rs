//! Proposals that come twice.

use jarvis_machine::command::Proposal;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::storage::Table;
use jarvis_types::{Seq, UserId};

use crate::world::{World, chat_fence, create_user, origin, say};

fn named(world: &World, name: &str, origin: Option<jarvis_machine::command::Origin>) -> Proposal {
    Proposal {
        origin,
        ..world.proposal(create_user(name))
    }
}

#[test]
fn a_repeated_proposal_gives_the_remembered_outcome() {
    let mut world = World::new();
    let made = named(&world, "bob", origin(1, 1, 1, 1));
    let taken = named(&world, "bob", origin(1, 1, 2, 1));
    for round in 0..3 {
        let applied = world.apply(&made);
        assert_eq!(applied.outcome, Ok(Reply::User { user: UserId(2) }));
        assert_eq!(
            applied.changes.len(),
            usize::from(round == 0),
            "changes are told once"
        );
        assert_eq!(
            world.apply(&taken).outcome,
            Err(Refusal::NameTaken("bob".to_owned()))
        );
    }
    let elsewhere = named(&world, "eve", origin(2, 1, 1, 1));
    assert_eq!(
        world.apply(&elsewhere).outcome,
        Ok(Reply::User { user: UserId(3) }),
        "another node's first"
    );
}

#[test]
fn a_retry_is_answered_even_after_its_epoch_has_passed() {
    let mut world = World::with_nodes(2);
    world.place_chat(1).unwrap();
    let proposal = Proposal {
        origin: origin(1, 1, 1, 1),
        fence: Some(chat_fence(1)),
        ..world.proposal(say("m1", "hi"))
    };
    let first = world.apply(&proposal).outcome;
    assert_eq!(
        first,
        Ok(Reply::Appended {
            seq: Seq(1),
            at_ms: 1_000,
            repeated: false
        })
    );
    world.place_chat(2).unwrap();
    assert_eq!(world.apply(&proposal).outcome, first);
}

#[test]
fn what_was_answered_is_forgotten_and_refused() {
    let mut world = World::new();
    for sequence in 1..=5 {
        world
            .apply(&named(
                &world,
                &format!("user-{sequence}"),
                origin(1, 1, sequence, 1),
            ))
            .outcome
            .unwrap();
    }
    assert_eq!(world.rows(Table::Proposals), 5);
    world
        .apply(&named(&world, "user-6", origin(1, 1, 6, 4)))
        .outcome
        .unwrap();
    assert_eq!(world.rows(Table::Proposals), 3, "4, 5 and 6 are remembered");
    let third = named(&world, "user-3", origin(1, 1, 3, 1));
    assert_eq!(world.apply(&third).outcome, Err(Refusal::AlreadyAnswered));
    let fourth = named(&world, "user-4", origin(1, 1, 4, 1));
    assert_eq!(world.apply(&fourth).outcome, Ok(Reply::User { user: UserId(5) }));
    assert_eq!(
        world.read(|q| q.users().unwrap().len()),
        7,
        "nothing was applied twice"
    );
}

#[test]
fn proposals_may_come_out_of_order() {
    let mut world = World::new();
    world
        .apply(&named(&world, "bob", origin(1, 1, 9, 2)))
        .outcome
        .unwrap();
    world
        .apply(&named(&world, "eve", origin(1, 1, 5, 1)))
        .outcome
        .unwrap();
    let late = named(&world, "late", origin(1, 1, 1, 1));
    assert_eq!(
        world.apply(&late).outcome,
        Err(Refusal::AlreadyAnswered),
        "the mark never goes back"
    );
}

#[test]
fn a_proposal_that_calls_itself_answered_is_still_remembered() {
    let mut world = World::new();
    let odd = named(&world, "bob", origin(1, 1, 3, 10));
    let first = world.apply(&odd).outcome;
    assert_eq!(first, Ok(Reply::User { user: UserId(2) }));
    assert_eq!(world.apply(&odd).outcome, first);
}

#[test]
fn a_later_life_ends_the_earlier_one() {
    let mut world = World::new();
    for sequence in 1..=40 {
        world
            .apply(&named(
                &world,
                &format!("user-{sequence}"),
                origin(1, 1, sequence, 1),
            ))
            .outcome
            .unwrap();
    }
    world
        .apply(&named(&world, "second-life", origin(1, 2, 1, 1)))
        .outcome
        .unwrap();
    assert_eq!(world.rows(Table::Proposals), 9, "32 of 40 are forgotten at once");
    let straggler = named(&world, "straggler", origin(1, 1, 41, 1));
    assert_eq!(world.apply(&straggler).outcome, Err(Refusal::StaleIncarnation));
    world
        .apply(&named(&world, "third", origin(1, 2, 2, 1)))
        .outcome
        .unwrap();
    assert_eq!(world.rows(Table::Proposals), 2, "only this life's are left");
    let forgotten = named(&world, "user-40", origin(1, 1, 40, 1));
    assert_eq!(world.apply(&forgotten).outcome, Err(Refusal::StaleIncarnation));
    assert_eq!(world.read(|q| q.ledger_ms().unwrap()), 1_000);
}

#[test]
fn what_is_refused_as_repeated_changes_no_row_at_all() {
    let mut world = World::new();
    world
        .apply(&named(&world, "bob", origin(1, 2, 5, 5)))
        .outcome
        .unwrap();
    let before = world.read(|q| jarvis_machine::snapshot::fingerprint(q.0).unwrap());
    world.now_ms = 9_000;
    world.apply(&named(&world, "eve", origin(1, 1, 5, 1)));
    world.apply(&named(&world, "eve", origin(1, 2, 4, 1)));
    world.apply(&named(&world, "eve", origin(1, 2, 5, 1)));
    assert_eq!(
        world.read(|q| jarvis_machine::snapshot::fingerprint(q.0).unwrap()),
        before
    );
}
