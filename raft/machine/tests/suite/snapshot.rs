//! All rows out as chunks, and in again.

use jarvis_machine::command::Proposal;
use jarvis_machine::raft_meta::{delete_meta, get_meta, put_meta};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::snapshot::{Chunk, ChunkError, ChunkRow, clear, export, fingerprint, import};
use jarvis_machine::storage::{Table, TableStore};
use jarvis_machine::{MemoryStore, Query};
use jarvis_types::Seq;
use jarvis_types::codec::{self, CodecError};
use proptest::prelude::*;

use crate::world::{World, all_rows, answer, origin, say};

fn talkative() -> World {
    let mut world = World::with_nodes(3);
    world.place_chat(2).unwrap();
    for n in 1..=300 {
        world.now_ms += 1;
        let command = if n % 2 == 1 {
            say(&format!("m{n}"), "hello")
        } else {
            answer(n - 1, "good day")
        };
        let proposal = Proposal {
            origin: origin(2, 1, n, 200.min(n)),
            ..world.proposal(command)
        };
        world.apply(&proposal).outcome.unwrap();
    }
    world
}

/// Copies chunk by chunk over the wire form, into a store that held something else.
fn copy(world: &World, max_bytes: usize) -> (World, usize) {
    let mut other = World::with_nodes(2);
    other.say("old", "this goes").unwrap();
    other.store.write(false, &mut |w| clear(w)).unwrap();
    let read = world.store.read().unwrap();
    let (mut after, mut chunks) = (None, 0);
    loop {
        let from = after
            .as_ref()
            .map(|(table, key): &(Table, Vec<u8>)| (*table, key.as_slice()));
        let bytes = export(&*read, from, max_bytes).unwrap().encode().unwrap();
        let chunk = Chunk::decode(&bytes).unwrap();
        other.store.write(false, &mut |w| import(w, &chunk)).unwrap();
        chunks += 1;
        if chunk.last {
            break;
        }
        after = chunk.end().map(|(table, key)| (table, key.to_vec()));
    }
    other.now_ms = world.now_ms;
    (other, chunks)
}

fn print(world: &World) -> u64 {
    world.read(|q| fingerprint(q.0).unwrap())
}

#[test]
fn a_copy_is_the_same_whatever_the_chunks() {
    let world = talkative();
    for (max_bytes, chunks) in [(usize::MAX, 1..=1), (4_096, 10..=200), (0, 400..=2_000)] {
        let (other, count) = copy(&world, max_bytes);
        assert!(chunks.contains(&count), "{count} chunks of {max_bytes} bytes");
        assert_eq!(print(&other), print(&world));
        assert_eq!(
            all_rows(&*other.store.read().unwrap()),
            all_rows(&*world.store.read().unwrap())
        );
    }
}

#[test]
fn a_copy_goes_on_like_the_original() {
    let mut world = talkative();
    let (mut other, _) = copy(&world, 1_000);
    let answered = Proposal {
        origin: origin(2, 1, 150, 1),
        ..world.proposal(say("m150", "again"))
    };
    let remembered = Proposal {
        origin: origin(2, 1, 299, 1),
        ..world.proposal(say("m299", "hello"))
    };
    let fresh = Proposal {
        origin: origin(2, 1, 301, 250),
        ..world.proposal(say("m301", "hello"))
    };
    for world in [&mut world, &mut other] {
        assert_eq!(world.apply(&answered).outcome, Err(Refusal::AlreadyAnswered));
        let first = Reply::Appended {
            seq: Seq(299),
            at_ms: 1_299,
            repeated: false,
        };
        assert_eq!(world.apply(&remembered).outcome, Ok(first));
        let next = Reply::Appended {
            seq: Seq(301),
            at_ms: 1_300,
            repeated: false,
        };
        assert_eq!(world.apply(&fresh).outcome, Ok(next));
    }
    assert_eq!(print(&world), print(&other));
}

#[test]
fn the_replicas_own_rows_stay_where_they_are() {
    let world = talkative();
    let before = print(&world);
    world
        .store
        .write(false, &mut |w| put_meta(w, "applied", b"12"))
        .unwrap();
    assert_eq!(print(&world), before, "they are no part of the fingerprint");
    let (other, _) = copy(&world, usize::MAX);
    assert_eq!(
        get_meta(&*other.store.read().unwrap(), "applied"),
        Ok(None),
        "nor of chunks"
    );
    world.store.write(false, &mut |w| clear(w)).unwrap();
    let read = world.store.read().unwrap();
    assert_eq!(
        get_meta(&*read, "applied"),
        Ok(Some(b"12".to_vec())),
        "and they are not cleared"
    );
    assert_eq!(Query(&*read).cluster(), Ok(None));
    world
        .store
        .write(false, &mut |w| delete_meta(w, "applied"))
        .unwrap();
    assert_eq!(get_meta(&*world.store.read().unwrap(), "applied"), Ok(None));
}

#[test]
fn an_empty_state_is_one_empty_chunk() {
    let store = MemoryStore::new();
    let chunk = export(&*store.read().unwrap(), None, 1_000).unwrap();
    assert_eq!(
        chunk,
        Chunk {
            rows: vec![],
            last: true
        }
    );
    assert_eq!(chunk.end(), None);
}

#[test]
fn the_fingerprint_tells_pictures_apart() {
    let print_of = |rows: &[(Table, &[u8], &[u8])]| {
        let store = MemoryStore::new();
        store
            .write(false, &mut |w| {
                rows.iter().try_for_each(|(table, k, v)| w.put(*table, k, v))
            })
            .unwrap();
        fingerprint(&*store.read().unwrap()).unwrap()
    };
    let prints = [
        print_of(&[]),
        print_of(&[(Table::Nodes, b"ab", b"c")]),
        print_of(&[(Table::Nodes, b"a", b"bc")]),
        print_of(&[(Table::Kinds, b"a", b"bc")]),
        print_of(&[(Table::Nodes, b"a", b"bc"), (Table::Nodes, b"b", b"")]),
    ];
    let different: std::collections::BTreeSet<_> = prints.iter().collect();
    assert_eq!(different.len(), prints.len(), "{prints:?}");
}

#[test]
fn chunks_that_no_export_makes_are_refused() {
    let row = |table, key: &[u8]| ChunkRow {
        table,
        key: key.to_vec(),
        value: vec![],
    };
    let check = |rows: Vec<ChunkRow>| Chunk::decode(&Chunk { rows, last: true }.encode().unwrap());
    let unknown = Table::ALL.len() as u8;
    assert_eq!(
        check(vec![row(unknown, b"a")]),
        Err(ChunkError::UnknownTable(unknown))
    );
    assert_eq!(
        check(vec![row(0, b"raft/applied")]),
        Err(ChunkError::Foreign(Table::Meta))
    );
    assert_eq!(
        check(vec![row(1, b"b"), row(1, b"a")]),
        Err(ChunkError::Disorder(Table::Nodes))
    );
    assert_eq!(
        check(vec![row(1, b"a"), row(1, b"a")]),
        Err(ChunkError::Disorder(Table::Nodes))
    );
    assert_eq!(
        check(vec![row(2, b"a"), row(1, b"b")]),
        Err(ChunkError::Disorder(Table::Nodes))
    );
    assert!(check(vec![row(1, b"b"), row(2, b"a")]).is_ok());
    let newer = codec::seal(
        &codec::encode(
            2,
            &Chunk {
                rows: vec![],
                last: true,
            },
        )
        .unwrap(),
    );
    let too_new = CodecError::Version { found: 2, known: 1 };
    assert_eq!(Chunk::decode(&newer), Err(ChunkError::Codec(too_new)));
    let unknown = Chunk {
        rows: vec![row(99, b"a")],
        last: true,
    };
    let store = MemoryStore::new();
    assert!(store.write(false, &mut |w| import(w, &unknown)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Chunk::decode(&bytes).is_err());
        // With a checksum that fits, the body itself is hostile.
        let mut plain = bytes;
        plain.insert(0, 1);
        let _ = Chunk::decode(&codec::seal(&plain));
    }

    #[test]
    fn a_damaged_chunk_is_noticed(at in 0usize..10_000, bit in 0u8..8) {
        let chunk = Chunk { rows: vec![ChunkRow { table: 1, key: vec![1; 40], value: vec![2; 40] }], last: false };
        let mut bytes = chunk.encode().unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let noticed = matches!(Chunk::decode(&bytes), Err(ChunkError::Codec(CodecError::Checksum { .. })));
        prop_assert!(noticed);
    }
}
