//! What entities keep, and letters: one owner writes, all of a step or nothing, every letter once and in order.

use jarvis_machine::apply::{MAX_ENTITY_BYTES, MAX_LETTER_BYTES, MAX_ROW_VALUE_BYTES, MAX_WAITING_LETTERS};
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence, Letter, RowChange};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_machine::rows::EntityRow;
use jarvis_machine::snapshot::fingerprint;
use jarvis_machine::storage::Table;
use jarvis_types::{EntityId, Epoch, KindId, partition_of};
use proptest::prelude::*;

use crate::world::{World, speaks};

const PARTITIONS: u16 = 60;

fn entity(key: &str) -> EntityId {
    EntityId {
        kind: KindId::SESSION,
        key: key.to_owned(),
    }
}

fn fence_of(key: &str, epoch: u64) -> Fence {
    Fence {
        kind: KindId::SESSION,
        partition: partition_of(key, PARTITIONS),
        epoch: Epoch(epoch),
    }
}

fn set(name: &str, value: &str) -> RowChange {
    RowChange {
        name: name.into(),
        value: Some(value.into()),
    }
}

fn unset(name: &str) -> RowChange {
    RowChange {
        name: name.into(),
        value: None,
    }
}

fn letter(to: &str, body: &str) -> Letter {
    Letter {
        to: entity(to),
        body: body.into(),
    }
}

/// Two nodes at the level, and the partitions of `a` and `b` with node 1.
fn world() -> World {
    let mut world = World::with_nodes(2);
    for node in 1..=2 {
        world.run(speaks(node, 3)).unwrap();
    }
    world.run(Command::RaiseLevel { to: 3 }).unwrap();
    for key in ["a", "b"] {
        world.place(&[(partition_of(key, PARTITIONS).0, 1)]).unwrap();
    }
    world
}

impl World {
    fn write(&mut self, key: &str, rows: &[RowChange], taken: u64, letters: &[Letter]) -> Outcome {
        let epoch = self
            .read(|q| q.placement_of(KindId::SESSION, partition_of(key, PARTITIONS)))
            .unwrap()
            .unwrap()
            .epoch;
        let row = self.read(|q| q.entity(&entity(key)).unwrap()).unwrap_or_default();
        self.run_fenced(
            fence_of(key, epoch.0),
            command_on(row.version, key, rows, taken, letters),
        )
    }

    fn kept(&self, key: &str) -> Vec<(String, String)> {
        let rows = self.read(|q| q.entity_rows(&entity(key), b"", usize::MAX).unwrap());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        rows.into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn waiting(&self, key: &str) -> Vec<(u64, String)> {
        let letters = self.read(|q| q.letters(&entity(key), 0, usize::MAX).unwrap());
        let text = |(number, body)| (number, String::from_utf8(body).unwrap());
        letters.into_iter().map(text).collect()
    }
}

fn command(key: &str, rows: &[RowChange], taken: u64, letters: &[Letter]) -> Command {
    command_on(0, key, rows, taken, letters)
}

fn command_on(based_on: u64, key: &str, rows: &[RowChange], taken: u64, letters: &[Letter]) -> Command {
    Command::WriteEntity {
        entity: entity(key),
        based_on,
        rows: rows.to_vec(),
        taken,
        letters: letters.to_vec(),
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn rows_are_kept_replaced_and_removed_and_read_in_the_order_of_their_names() {
    let mut world = world();
    world
        .write(
            "a",
            &[set("run/2", "two"), set("run/1", "one"), set("self", "x")],
            0,
            &[],
        )
        .unwrap();
    assert_eq!(
        world.kept("a"),
        owned(&[("run/1", "one"), ("run/2", "two"), ("self", "x")])
    );
    let runs = world.read(|q| q.entity_rows(&entity("a"), b"run/", 1).unwrap());
    assert_eq!(runs, [(b"run/1".to_vec(), b"one".to_vec())]);
    // Of several changes to one row the last counts.
    world
        .write(
            "a",
            &[set("self", "y"), unset("self"), unset("run/1"), set("run/1", "1")],
            0,
            &[],
        )
        .unwrap();
    assert_eq!(world.kept("a"), owned(&[("run/1", "1"), ("run/2", "two")]));
    assert_eq!(
        world.read(|q| q.entity_row(&entity("a"), b"run/1").unwrap()),
        Some(b"1".to_vec())
    );
    let row = world.read(|q| q.entity(&entity("a")).unwrap()).unwrap();
    let row_bytes = ("run/1".len() + 1 + "run/2".len() + 3) as u64;
    assert_eq!(
        row,
        EntityRow {
            rows: 2,
            row_bytes,
            version: 2,
            ..EntityRow::default()
        }
    );
    assert_eq!(world.kept("b"), [], "of another nothing is seen");
}

#[test]
fn keys_that_begin_alike_are_kept_apart() {
    let mut world = world();
    let partitions = ["a", "ab"].map(|key| partition_of(key, PARTITIONS).0);
    world.place(&[(partitions[1], 1)]).unwrap();
    world
        .write("a", &[set("b0", "of a")], 0, &[letter("ab", "hello")])
        .unwrap();
    world.write("ab", &[set("0", "of ab")], 0, &[]).unwrap();
    assert_eq!(world.kept("a"), owned(&[("b0", "of a")]));
    assert_eq!(world.kept("ab"), owned(&[("0", "of ab")]));
    assert_eq!(world.waiting("a"), []);
    let listed = |key: &str| {
        let listed = world.read(|q| {
            q.entities_of(KindId::SESSION, partition_of(key, PARTITIONS))
                .unwrap()
        });
        listed.into_iter().map(|(id, _)| id.key).collect::<Vec<_>>()
    };
    assert!(listed("a").contains(&"a".to_owned()) && listed("ab").contains(&"ab".to_owned()));
}

#[test]
fn only_the_owner_writes_and_only_its_own_entities() {
    let mut world = world();
    let write = || command("a", &[set("x", "1")], 0, &[letter("b", "hi")]);
    world.refuse_saying(write(), "only the owner of partition");
    let stale = world.run_fenced(fence_of("a", 9), write());
    assert!(matches!(stale, Err(Refusal::StaleEpoch { .. })), "{stale:?}");
    let other = world.run_fenced(fence_of("b", 1), write());
    if partition_of("a", PARTITIONS) != partition_of("b", PARTITIONS) {
        assert!(matches!(other, Err(Refusal::Invalid(_))), "{other:?}");
    }
    assert_eq!((world.kept("a"), world.waiting("b")), (vec![], vec![]));
    // The next owner goes on, and the one before is refused.
    world.write("a", &[set("x", "1")], 0, &[]).unwrap();
    world.place(&[(partition_of("a", PARTITIONS).0, 2)]).unwrap();
    assert!(matches!(
        world.run_fenced(fence_of("a", 1), write()),
        Err(Refusal::StaleEpoch { .. })
    ));
    world.write("a", &[set("x", "2")], 0, &[]).unwrap();
    assert_eq!(world.kept("a"), owned(&[("x", "2")]));
}

#[test]
fn a_step_that_was_thought_lost_is_not_done_twice() {
    let mut world = world();
    let fence = fence_of("a", 1);
    world
        .run(Command::Post {
            letters: vec![letter("a", "add one")],
        })
        .unwrap();
    let step = command_on(0, "a", &[set("sum", "1")], 1, &[letter("b", "done")]);
    assert_eq!(world.run_fenced(fence, step.clone()), Ok(Reply::Done));
    assert_eq!(
        world.run_fenced(fence, step),
        Err(Refusal::StaleVersion { current: 1 })
    );
    let ahead = command_on(7, "a", &[], 0, &[]);
    assert_eq!(
        world.run_fenced(fence, ahead),
        Err(Refusal::StaleVersion { current: 1 })
    );
    assert_eq!(world.waiting("b").len(), 1);
    // Letters that come change nothing of what a step was based on.
    world
        .run(Command::Post {
            letters: vec![letter("a", "add one")],
        })
        .unwrap();
    let next = command_on(1, "a", &[set("sum", "2")], 2, &[]);
    assert_eq!(world.run_fenced(fence, next), Ok(Reply::Done));
}

#[test]
fn letters_come_in_order_and_are_gone_once_taken() {
    let mut world = world();
    let post = |letters: &[Letter]| Command::Post {
        letters: letters.to_vec(),
    };
    let changes = world.changes(post(&[letter("a", "1"), letter("b", "x"), letter("a", "2")]));
    let come = |key, last| Change::Letters {
        to: entity(key),
        last,
    };
    assert_eq!(changes, [come("a", 2), come("b", 1)]);
    world
        .write(
            "b",
            &[set("seen", "x")],
            1,
            &[letter("a", "3"), letter("b", "to myself")],
        )
        .unwrap();
    let all = [(1, "1"), (2, "2"), (3, "3")].map(|(n, body)| (n, body.to_owned()));
    assert_eq!(world.waiting("a"), all);
    assert_eq!(world.waiting("b"), [(2, "to myself".to_owned())]);
    world.write("a", &[], 2, &[]).unwrap();
    assert_eq!(world.waiting("a"), all[2..]);
    world.write("a", &[], 1, &[]).unwrap();
    assert_eq!(world.waiting("a"), all[2..], "what is done with stays so");
    let refused = world.write("a", &[set("y", "1")], 4, &[letter("b", "lost")]);
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    world.write("a", &[], 3, &[]).unwrap();
    assert_eq!((world.waiting("a"), world.rows(Table::Letters)), (vec![], 1));
    // Numbers go on from where they were.
    world.run(post(&[letter("a", "4")])).unwrap();
    assert_eq!(world.waiting("a"), [(4, "4".to_owned())]);
}

#[test]
fn a_step_is_kept_whole_or_not_at_all() {
    let mut world = world();
    let no_kind = Letter {
        to: EntityId {
            kind: KindId(200),
            key: "z".to_owned(),
        },
        body: vec![],
    };
    let refused = world.write("a", &[set("x", "1")], 0, &[letter("b", "hi"), no_kind]);
    assert!(matches!(refused, Err(Refusal::NotFound(_))), "{refused:?}");
    assert_eq!((world.kept("a"), world.waiting("b")), (vec![], vec![]));
    for key in ["", "with\0zero", &"long".repeat(50)] {
        world.refuse_saying(
            Command::Post {
                letters: vec![letter(key, "x")],
            },
            "no key of an entity",
        );
    }
}

#[test]
fn everything_has_a_bound() {
    let mut world = world();
    let large = |len| RowChange {
        name: b"x".to_vec(),
        value: Some(vec![7; len]),
    };
    assert!(world.write("a", &[large(MAX_ROW_VALUE_BYTES)], 0, &[]).is_ok());
    let too_large = [
        world.write("a", &[large(MAX_ROW_VALUE_BYTES + 1)], 0, &[]),
        world.write("a", &[set("", "1")], 0, &[]),
        world.write("a", &[set(&"n".repeat(257), "1")], 0, &[]),
    ];
    assert!(
        too_large
            .iter()
            .all(|outcome| matches!(outcome, Err(Refusal::Invalid(_)))),
        "{too_large:?}"
    );
    let heavy = Letter {
        to: entity("b"),
        body: vec![0; MAX_LETTER_BYTES + 1],
    };
    world.refuse_saying(Command::Post { letters: vec![heavy] }, "131072 are allowed");
    // Full to the last byte, an entity can still replace and remove what it has.
    let rows = MAX_ENTITY_BYTES / MAX_ROW_VALUE_BYTES as u64;
    let name = |n: u64| format!("{n:04}").into_bytes();
    let fill = |n: u64| RowChange {
        name: name(n),
        value: Some(vec![1; MAX_ROW_VALUE_BYTES - 4]),
    };
    for n in 0..rows {
        assert_eq!(world.write("b", &[fill(n)], 0, &[]), Ok(Reply::Done));
    }
    let full = world.write("b", &[set("more", "1")], 0, &[letter("a", "never sent")]);
    assert!(matches!(full, Err(Refusal::LimitReached(_))), "{full:?}");
    assert_eq!(world.waiting("a"), []);
    let one = RowChange {
        name: name(0),
        value: None,
    };
    assert_eq!(world.write("b", &[fill(1), one], 0, &[]), Ok(Reply::Done));
    assert_eq!(world.write("b", &[set("more", "1")], 0, &[]), Ok(Reply::Done));
}

#[test]
fn who_is_sent_too_much_is_sent_no_more_until_it_has_taken_some() {
    let mut world = world();
    let many = |count: u64| Command::Post {
        letters: (0..count).map(|n| letter("a", &n.to_string())).collect(),
    };
    world.run(many(MAX_WAITING_LETTERS)).unwrap();
    world.refuse_saying(many(1), "8192 letters wait for session/a");
    let own = world.write("a", &[], 0, &[letter("a", "one more")]);
    assert!(matches!(own, Err(Refusal::LimitReached(_))), "{own:?}");
    // What is taken in the same step makes room for what is sent in it.
    world.write("a", &[], 2, &[letter("a", "one more")]).unwrap();
    world.run(many(1)).unwrap();
    assert_eq!(world.waiting("a").len() as u64, MAX_WAITING_LETTERS);
}

#[test]
fn before_the_level_nothing_of_it_is_there() {
    let mut world = World::with_nodes(1);
    let refusal = Refusal::LevelTooLow { needs: 3, level: 1 };
    world.refuse(
        Command::Post {
            letters: vec![letter("a", "x")],
        },
        refusal.clone(),
    );
    world.refuse(command("a", &[set("x", "1")], 0, &[]), refusal);
    assert_eq!(world.rows(Table::Entities) + world.rows(Table::Letters), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written and sent in whatever order: sums match rows, letters are numbered without gaps, and a second
    /// replay of the same log gives the same tables.
    #[test]
    fn sums_and_numbers_hold(steps in proptest::collection::vec(
        (0usize..3, proptest::collection::vec((0u8..6, proptest::option::of("[a-z]{0,9}")), 0..4), 0u64..5,
            proptest::collection::vec(0usize..3, 0..4)), 1..40)
    ) {
        let keys = ["a", "b", "c"];
        let run = || {
            let mut world = world();
            world.place(&[(partition_of("c", PARTITIONS).0, 2)]).unwrap();
            let mut sent = [0u64; 3];
            for (who, rows, take, to) in &steps {
                let rows: Vec<RowChange> = rows.iter()
                    .map(|(name, value)| RowChange { name: vec![b'r', *name], value: value.clone().map(String::into_bytes) })
                    .collect();
                let letters: Vec<Letter> = to.iter().map(|&to| letter(keys[to], "x")).collect();
                let row = world.read(|q| q.entity(&entity(keys[*who])).unwrap()).unwrap_or_default();
                let taken = row.taken + take;
                let outcome = world.write(keys[*who], &rows, taken, &letters);
                assert_eq!(outcome.is_ok(), taken <= row.last_letter);
                if outcome.is_ok() {
                    to.iter().for_each(|&to| sent[to] += 1);
                }
            }
            for (key, sent) in keys.iter().zip(sent) {
                let row = world.read(|q| q.entity(&entity(key)).unwrap()).unwrap_or_default();
                let kept = world.read(|q| q.entity_rows(&entity(key), b"", usize::MAX).unwrap());
                assert_eq!(row.last_letter, sent);
                assert_eq!(row.rows as usize, kept.len());
                assert_eq!(row.row_bytes, kept.iter().map(|(n, v)| (n.len() + v.len()) as u64).sum::<u64>());
                let numbers: Vec<u64> = world.waiting(key).iter().map(|(n, _)| *n).collect();
                assert_eq!(numbers, (row.taken + 1..=sent).collect::<Vec<_>>());
            }
            world.read(|q| fingerprint(q.0).unwrap())
        };
        prop_assert_eq!(run(), run());
    }
}
