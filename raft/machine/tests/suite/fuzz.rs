//! Hostile bytes for everything the machine reads: proposals, rows, chunks of snapshots. A proposal that decodes is
//! applied as well, since whatever comes to stand in the log is applied by every node.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use jarvis_fuzz::fuzz;
use jarvis_machine::command::{Command, PROPOSAL_VERSION, Proposal};
use jarvis_machine::query::partition_of_session;
use jarvis_machine::reply::Outcome;
use jarvis_machine::rows::{
    ClusterRow, CredentialRow, InviteRow, KindRow, MessageRow, NodeFacts, NodeRow, PlacementLogRow,
    PlacementNoteRow, PlacementRow, ProposerRow, ROW_VERSION, SessionRow, UserRow,
};
use jarvis_machine::snapshot::{Chunk, export, import};
use jarvis_machine::storage::{Read, StoreError, TableStore, Write};
use jarvis_machine::{Applied, Query, apply};
use jarvis_types::codec::{self, DECODE_LIMIT_OF_SHORT_BYTES};
use jarvis_types::{PartitionIndex, Seq};

use crate::golden::{commands, commands_of_level_2, commands_of_level_3, commands_of_level_4};
use crate::world::{CHAT, World, all_rows, answer, chat_fence, notify, origin, say, speaks};

/// What decoding, encoding and decoding again may hold at once.
const MOST_BYTES: u64 = (DECODE_LIMIT_OF_SHORT_BYTES + 128 * 1024) as u64;

/// And what applying may hold beside it: a picture of the tables of a small cluster.
const MOST_BYTES_TO_APPLY: u64 = MOST_BYTES + 2 * 1024 * 1024;

/// A small cluster with a conversation.
fn world() -> World {
    let mut world = World::with_nodes(3);
    world.place_chat(2).unwrap();
    world.say("m1", "hello").unwrap();
    world.run(answer(1, "good day")).unwrap();
    world.say("m2", "and now?").unwrap();
    for node in 1..=3 {
        world.run(speaks(node, 3)).unwrap();
    }
    world.run(Command::RaiseLevel { to: 3 }).unwrap();
    world.run(notify("n1", "it rains")).unwrap();
    world
}

fn proposals() -> Vec<Proposal> {
    let known = commands()
        .into_iter()
        .chain(commands_of_level_2())
        .chain(commands_of_level_3())
        .chain(commands_of_level_4())
        .map(|(command, _)| command);
    // Those of the golden bytes are mostly refused by the world above; these are not.
    let accepted = [
        say("m3", "more"),
        answer(3, "so be it"),
        Command::CreateUser {
            name: "eve".into(),
            password: None,
            admin: false,
        },
    ];
    known
        .chain(accepted)
        .enumerate()
        .map(|(n, command)| Proposal {
            origin: origin(2, 1, n as u64, 1).filter(|_| n % 2 == 0),
            at_ms: 2_000,
            fence: (n % 3 == 0).then(|| chat_fence(1)),
            request: (n % 4 == 0).then(|| "r1".parse().unwrap()),
            command,
        })
        .collect()
}

fn encoded() -> Vec<Vec<u8>> {
    proposals()
        .iter()
        .map(|proposal| proposal.encode().unwrap())
        .collect()
}

/// Runs `batch` on the tables of `world` and takes all of it back.
fn without_trace<T>(world: &World, mut batch: impl FnMut(&mut dyn Write) -> T) -> T {
    let mut result = None;
    let undone = world.store.write(false, &mut |tables| {
        result = Some(batch(tables));
        Err(StoreError("taken back".into()))
    });
    assert_eq!(undone, Err(StoreError("taken back".into())));
    result.unwrap()
}

#[test]
fn fuzz_proposals() {
    fuzz!().seeds(encoded()).memory(MOST_BYTES, 128).run(|bytes| {
        let proposal = Proposal::decode(bytes).map_err(|error| error.to_string())?;
        let again = proposal.encode().unwrap();
        assert!(again.len() <= bytes.len());
        assert_eq!(Proposal::decode(&again).as_ref(), Ok(&proposal));
        Ok::<_, String>(std::mem::discriminant(&proposal.command))
    });
}

#[test]
fn fuzz_proposals_applied() {
    let world = world();
    let before = all_rows(&*world.store.read().unwrap());
    fuzz!()
        .seeds(encoded())
        .memory(MOST_BYTES_TO_APPLY, 256)
        .runs(3_000)
        .run(|bytes| {
            let proposal = Proposal::decode(bytes).map_err(|error| error.to_string())?;
            let apply_once = |tables: &mut dyn Write| {
                let applied = apply(tables, &proposal).expect("the tables are sound");
                // Whatever was written must be readable.
                read_all(tables).expect("what was written can be read");
                applied
            };
            let applied: Applied = without_trace(&world, apply_once);
            if applied.outcome.is_err() {
                assert_eq!(applied.changes, [], "what is refused changes nothing");
            }
            // The same on every node, also the second time in the same tables where it names itself.
            let twice = without_trace(&world, |tables| {
                let first = apply(tables, &proposal).expect("the tables are sound");
                let second = apply(tables, &proposal).expect("the tables are sound");
                (first, second)
            });
            assert_eq!(twice.0, applied);
            Ok::<_, String>(
                applied
                    .outcome
                    .map(|reply| format!("{reply:?}"))
                    .map_err(|r| format!("{r:?}")),
            )
        });
    assert_eq!(all_rows(&*world.store.read().unwrap()), before);
}

/// Reads everything there is, as nodes do.
fn read_all(tables: &dyn Read) -> Result<usize, StoreError> {
    let query = Query(tables);
    let mut count = 0;
    count += usize::from(query.cluster()?.is_some());
    query.ledger_ms()?;
    query.cluster_level()?;
    query.placement_revision()?;
    for (node, _) in query.nodes()? {
        query.has_owned(node)?;
        query.partitions_owned(node)?;
        query.is_removed(node)?;
        count += 1;
    }
    count += query.all_node_facts()?.len();
    for (kind, _) in query.kinds()? {
        count += query.placement(kind)?.len();
        count += query.placement_log(kind, PartitionIndex(0))?.len();
        count += query.placement_notes(kind, PartitionIndex(0))?.len();
    }
    for (user, _) in query.users()? {
        count += query.credentials(user)?.len();
        count += query.sessions_of(user, 100)?.len();
    }
    query.user_by_name("ada")?;
    query.node_by_name("one")?;
    count += query.messages(CHAT, Seq(0), 100)?.len();
    count += query.last_messages(CHAT, 100)?.len();
    query.seq_of(CHAT, &"m1".parse().unwrap())?;
    count += query.open_turns(partition_of_session(CHAT))?.len();
    count += query.open_turns_of(CHAT)?.len();
    Ok(count)
}

fn chunks() -> Vec<Vec<u8>> {
    let world = world();
    let read = world.store.read().unwrap();
    let rows = all_rows(&*read);
    let whole = export(&*read, None, 1_500).unwrap();
    // And chunks of single rows, whose bytes are soon hit.
    let single = rows.into_iter().map(|row| Chunk {
        rows: vec![row],
        last: true,
    });
    single
        .chain([whole])
        .map(|chunk| chunk.encode().unwrap())
        .collect()
}

fn seal_again(bytes: &mut Vec<u8>) {
    let plain = bytes.get(4..).unwrap_or_default();
    *bytes = codec::seal(plain);
}

#[test]
fn fuzz_snapshot_chunks() {
    fuzz!()
        .seeds(chunks())
        .mend(seal_again)
        .memory(MOST_BYTES, 256)
        .run(|bytes| {
            let chunk = Chunk::decode(bytes).map_err(|error| error.to_string())?;
            assert_eq!(Chunk::decode(&chunk.encode().unwrap()).as_ref(), Ok(&chunk));
            Ok::<_, String>(chunk.rows.len().min(3))
        });
}

/// Rows of a snapshot are taken as they are: one that does not decode must be an error where it is read, never more.
#[test]
fn fuzz_tables_from_a_snapshot() {
    let world = world();
    let proposals = proposals();
    fuzz!()
        .seeds(chunks())
        .mend(seal_again)
        .memory(MOST_BYTES_TO_APPLY, 256)
        .runs(1_000)
        .run(|bytes| {
            let chunk = Chunk::decode(bytes).map_err(|error| error.to_string())?;
            without_trace(&world, |tables| {
                import(tables, &chunk).expect("the tables of a chunk are known");
                let read = read_all(tables).map_err(|error| error.0);
                let applied = proposals
                    .iter()
                    .filter(|p| apply(tables, p).is_ok_and(|a| a.outcome.is_ok()))
                    .count();
                Ok::<_, String>((read.is_ok(), applied))
            })
        });
}

fn holds<T: Encode + Decode<()> + PartialEq + Debug>(version: u8, bytes: &[u8]) -> bool {
    let Ok(value) = codec::decode::<T>(version, bytes) else {
        return false;
    };
    let again = codec::encode(version, &value).expect("what was read can be written");
    assert_eq!(codec::decode(version, &again), Ok(value));
    true
}

#[test]
fn fuzz_rows_and_outcomes() {
    let world = world();
    let rows = all_rows(&*world.store.read().unwrap());
    fuzz!()
        .seeds(rows.into_iter().map(|row| row.value))
        .memory(MOST_BYTES, 128)
        .runs(3_000)
        .run(|bytes| {
            [
                holds::<ClusterRow>(ROW_VERSION, bytes),
                holds::<NodeRow>(ROW_VERSION, bytes),
                holds::<NodeFacts>(ROW_VERSION, bytes),
                holds::<InviteRow>(ROW_VERSION, bytes),
                holds::<KindRow>(ROW_VERSION, bytes),
                holds::<PlacementRow>(ROW_VERSION, bytes),
                holds::<PlacementLogRow>(ROW_VERSION, bytes),
                holds::<PlacementNoteRow>(ROW_VERSION, bytes),
                holds::<UserRow>(ROW_VERSION, bytes),
                holds::<CredentialRow>(ROW_VERSION, bytes),
                holds::<SessionRow>(ROW_VERSION, bytes),
                holds::<MessageRow>(ROW_VERSION, bytes),
                holds::<ProposerRow>(ROW_VERSION, bytes),
                holds::<Outcome>(PROPOSAL_VERSION, bytes),
                holds::<Command>(PROPOSAL_VERSION, bytes),
            ]
        });
}
