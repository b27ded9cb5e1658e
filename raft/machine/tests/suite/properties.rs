//! Laws that hold whatever is proposed.

use std::collections::{BTreeMap, BTreeSet};

use jarvis_machine::command::{Command, Fence, Move, MoveReason, Proposal, Seat};
use jarvis_machine::keys;
use jarvis_machine::query::partition_of_session;
use jarvis_machine::reply::{Outcome, Reply};
use jarvis_machine::row_codec::decode_row;
use jarvis_machine::rows::{
    Cause, CredentialKind, CredentialRow, InviteRow, LogMark, MessageBody, MessageRow, NodeFacts, NodeIntent,
    NodeNews, NodeRole, NodeRow, SessionRow, UserRow,
};
use jarvis_machine::snapshot::fingerprint;
use jarvis_machine::storage::{Table, TableStore};
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId, UserId, codec};
use proptest::prelude::*;

use crate::world::{
    World, announce, create_user, credential, new_node, origin, sessions_kind, set_intent, speaks,
};

/// A command in numbers small enough that commands meet: the same sessions, users, messages, nodes.
#[derive(Debug, Clone)]
struct Step {
    command: Command,
    /// Index of the life and sequence under which it is proposed, if any.
    origin: Option<(u64, u64, u64, u64)>,
    /// Epoch of the fence on session commands, if any.
    fence: Option<u64>,
    later_ms: u64,
}

fn session() -> impl Strategy<Value = SessionId> {
    (1u128..4).prop_map(SessionId)
}

fn commands() -> impl Strategy<Value = Command> {
    let say =
        (session(), 1u64..3, 0u8..12, "[a-z]{0,6}").prop_map(|(session, user, id, text)| Command::Say {
            session,
            user: UserId(user),
            id: format!("m{id}").parse().unwrap(),
            text,
        });
    let answer =
        (session(), 1u64..16, "[a-z]{0,6}", any::<bool>()).prop_map(|(session, to, text, cancelled)| {
            Command::Answer {
                session,
                to: Seq(to),
                text,
                cancelled,
            }
        });
    let create = (session(), 1u64..4).prop_map(|(session, user)| Command::CreateSession {
        session,
        user: UserId(user),
    });
    let moves = proptest::collection::vec((0u16..61, 1u64..5), 0..5);
    let place = (
        1u64..30,
        moves,
        proptest::collection::vec((1u64..5, any::<bool>()), 0..2),
    );
    let place = place.prop_map(|(based_on, moves, health)| Command::Place {
        based_on,
        health: health.into_iter().map(|(id, up)| (NodeId(id), up)).collect(),
        moves: moves
            .into_iter()
            .map(|(p, to)| Move {
                kind: KindId::SESSION,
                partition: PartitionIndex(p),
                to: NodeId(to),
            })
            .collect(),
        reason: MoveReason::Balance,
    });
    let invite = (1u8..5, 0u64..3_000).prop_map(|(n, at)| Command::CreateInvite {
        secret: [n; 32],
        role: NodeRole::Voter,
        expires_at_ms: at,
    });
    let join = (1u8..5, 1u8..5).prop_map(|(n, name)| Command::ConsumeInvite {
        secret: [n; 32],
        node: new_node(&format!("node-{name}")),
    });
    let intents = [NodeIntent::Active, NodeIntent::Draining, NodeIntent::Drained];
    let notify = (1u128..4, 0u64..6, "[a-z]{0,3}").prop_map(|(session, id, text)| Command::Notify {
        session: SessionId(session),
        id: format!("m{id}").parse().unwrap(),
        text,
    });
    prop_oneof![
        8 => say,
        6 => answer,
        3 => notify,
        3 => create,
        4 => place,
        1 => invite,
        1 => join,
        1 => (1u64..5).prop_map(|id| announce(NodeId(id))),
        1 => (1u64..5, 0usize..3).prop_map(move |(id, n)| set_intent(id, intents[n])),
        1 => (1u64..5, any::<bool>()).prop_map(|(id, force)| Command::RemoveNode { node: NodeId(id), force }),
        1 => (1u64..30, 1u64..5, any::<bool>())
            .prop_map(|(based_on, id, force)| Command::RemoveNodeAt { based_on, node: NodeId(id), force }),
        1 => (0u64..6_000, 0u64..6_000).prop_map(|(found_ms, to_ms)| Command::CorrectTime { found_ms, to_ms }),
        1 => (1u64..5, 1u64..4, 1u64..40).prop_map(|(id, term, index)| Command::NoteLogs {
            marks: vec![(NodeId(id), LogMark { term, index })],
        }),
        1 => Just(sessions_kind()),
        1 => (1u32..5).prop_map(|to| Command::RaiseLevel { to }),
        1 => (1u64..5, 1u32..5).prop_map(|(id, level)| speaks(id, level)),
        1 => (1u64..5, 0u32..1_002).prop_map(|(id, capacity)| Command::DescribeNode {
            node: NodeId(id),
            facts: NodeFacts { capacity, ..NodeFacts::default() },
        }),
        2 => (1u64..30, 0u16..61, 1u64..5).prop_map(|(based_on, partition, node)| Command::PlaceBecause {
            based_on,
            health: vec![],
            moves: vec![Move { kind: KindId::SESSION, partition: PartitionIndex(partition), to: NodeId(node) }],
            reason: MoveReason::OwnerLost,
            causes: vec![Cause { node: NodeId(node), news: NodeNews::Returned }],
        }),
        1 => (0u16..61, 1u64..4).prop_map(|(partition, epoch)| Command::NoteTakeOver {
            moves: vec![Seat { kind: KindId::SESSION, partition: PartitionIndex(partition), epoch: Epoch(epoch) }],
            took_ms: 7,
        }),
        1 => "[a-c]{2,4}".prop_map(|name| create_user(&name)),
        1 => (1u64..4).prop_map(|user| Command::RemoveUser { user: UserId(user) }),
        1 => (1u64..4).prop_map(|u| Command::SetPassword { user: UserId(u), password: "$argon2id$".to_owned() }),
        1 => (0u64..6, 1u64..4, 0u64..3_000)
            .prop_map(|(secret, user, at)| credential(secret, UserId(user), CredentialKind::Login, at)),
        1 => (0u8..6).prop_map(|n| Command::RevokeCredential { secret: [n; 32] }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let origin = proptest::option::of((1u64..3, 1u64..3, 1u64..20, 1u64..8));
    let step = (
        commands(),
        origin,
        proptest::option::weighted(0.2, 1u64..3),
        0u64..50,
    );
    let step = step.prop_map(|(command, origin, fence, later_ms)| Step {
        command,
        origin,
        fence,
        later_ms,
    });
    proptest::collection::vec(step, 1..120)
}

/// A cluster in which the usual commands succeed from the start.
fn start() -> World {
    let mut world = World::with_nodes(2);
    world.run(create_user("bob")).unwrap();
    world
        .run(Command::CreateSession {
            session: SessionId(1),
            user: UserId(1),
        })
        .unwrap();
    world
        .run(Command::CreateSession {
            session: SessionId(2),
            user: UserId(2),
        })
        .unwrap();
    let all: Vec<_> = (0..60)
        .map(|partition| (partition, 1 + u64::from(partition) % 2))
        .collect();
    world.place(&all).unwrap();
    world
}

/// The same at a cluster level from the start.
fn start_at(level: u32) -> World {
    let mut world = start();
    for node in 1..=2 {
        world.run(speaks(node, level)).unwrap();
    }
    world.run(Command::RaiseLevel { to: level }).unwrap();
    world
}

fn proposal(world: &mut World, step: &Step) -> Proposal {
    world.now_ms += step.later_ms;
    let of = match &step.command {
        Command::Say { session, .. } | Command::Answer { session, .. } | Command::Notify { session, .. } => {
            partition_of_session(*session)
        }
        _ => PartitionIndex(0),
    };
    Proposal {
        origin: step
            .origin
            .and_then(|(node, life, sequence, below)| origin(node, life, sequence, below)),
        fence: step.fence.map(|epoch| Fence {
            kind: KindId::SESSION,
            partition: of,
            epoch: Epoch(epoch),
        }),
        ..world.proposal(step.command.clone())
    }
}

fn all_sessions(world: &World) -> Vec<(SessionId, SessionRow)> {
    let read = world.store.read().unwrap();
    let rows = keys::scan_prefix(&*read, Table::Sessions, &[], false, usize::MAX).unwrap();
    let id = |key: &[u8]| SessionId(keys::KeyParts::new(key).u128().unwrap());
    rows.iter()
        .map(|(key, row)| (id(key), decode_row(row).unwrap()))
        .collect()
}

/// Transcripts have no gap, every message at most one reply, and what waits for one is what is named as waiting.
fn check_transcripts(world: &World) {
    let mut waiting = BTreeSet::new();
    let mut entries = 0;
    for (id, row) in all_sessions(world) {
        let messages = world.read(|q| q.messages(id, Seq(0), usize::MAX).unwrap());
        let numbers: Vec<_> = messages.iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(
            numbers,
            (1..=row.last_seq.0).collect::<Vec<_>>(),
            "a gap or repeat in session {id}"
        );
        entries += messages.len();
        let by_seq: BTreeMap<_, _> = messages.iter().cloned().collect();
        let (mut ids, mut told_ids) = (BTreeSet::new(), BTreeSet::new());
        for (seq, message) in &messages {
            match &message.body {
                MessageBody::Said { id: client, reply } => {
                    assert!(
                        ids.insert(client.clone()),
                        "{client} stands twice in session {id}"
                    );
                    assert_eq!(world.read(|q| q.seq_of(id, client).unwrap()), Some(*seq));
                    match reply {
                        None => assert!(waiting.insert((id, *seq))),
                        Some(at) => {
                            let answers =
                                matches!(&by_seq[at].body, MessageBody::Reply { to, .. } if to == seq);
                            assert!(answers, "entry {at} does not answer {seq}");
                        }
                    }
                }
                MessageBody::Told { id: told } => {
                    assert!(
                        told_ids.insert(told.clone()),
                        "{told} was told twice in session {id}"
                    );
                    assert_eq!(world.read(|q| q.seq_of_told(id, told)).unwrap(), Some(*seq));
                }
                MessageBody::Reply { to, .. } => {
                    let MessageBody::Said { reply, .. } = &by_seq[to].body else {
                        panic!("{to} is a reply")
                    };
                    assert_eq!(*reply, Some(*seq), "{to} has two replies");
                }
            }
        }
    }
    let named = (0..60).flat_map(|p| {
        let turns = world.read(|q| q.open_turns(PartitionIndex(p)).unwrap());
        assert!(turns.iter().all(|(id, _)| partition_of_session(*id).0 == p));
        turns
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), waiting);
    assert_eq!(world.rows(Table::Messages), entries, "entries of no session");
}

/// Two tables that say the same thing say it of the same things.
fn check_indexes(world: &World) {
    world.read(|q| {
        let users = q.users().unwrap();
        assert_eq!(users.len(), world.rows(Table::UserNames));
        for (id, row) in &users {
            assert_eq!(q.user_by_name(&row.name).unwrap().map(|(id, _)| id), Some(*id));
        }
        let credentials: usize = users
            .iter()
            .map(|(id, _)| q.credentials(*id).unwrap().len())
            .sum();
        assert_eq!(credentials, world.rows(Table::Credentials));
        assert_eq!(credentials, world.rows(Table::UserCredentials));
        assert_eq!(world.rows(Table::Sessions), world.rows(Table::UserSessions));
        for (id, _) in q.nodes().unwrap() {
            assert!(!q.is_removed(id).unwrap());
        }
    });
}

fn epochs(world: &World) -> Vec<(Epoch, Option<NodeId>)> {
    world
        .read(|q| q.placement(KindId::SESSION).unwrap())
        .iter()
        .map(|row| (row.epoch, row.owner))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_proposed_the_laws_hold(level in 1u32..5, steps in steps()) {
        let (mut world, mut twin) = (start_at(level), start_at(level));
        let mut answers: BTreeMap<(u64, u64, u64), Outcome> = BTreeMap::new();
        for step in &steps {
            let before = (epochs(&world), world.read(|q| (q.ledger_ms().unwrap(), q.placement_revision().unwrap())));
            let proposal = proposal(&mut world, step);
            let applied = world.apply(&proposal);
            prop_assert_eq!(&applied, &twin.apply(&proposal), "two nodes differ");

            for (old, new) in before.0.iter().zip(epochs(&world)) {
                prop_assert!(old.0 <= new.0, "an epoch went back");
                prop_assert!((old.0 == new.0) == (old.1 == new.1), "an epoch has two owners");
            }
            let now = world.read(|q| (q.ledger_ms().unwrap(), q.placement_revision().unwrap()));
            prop_assert!(before.1.0 <= now.0 && before.1.1 <= now.1, "ledger time or revision went back");
            if let Ok(Reply::Appended { repeated: true, .. }) = applied.outcome {
                prop_assert!(applied.changes.is_empty());
            }
            // Applied once: whatever comes under the same name has the first outcome or is refused as old.
            if let Some((node, life, sequence, _)) = step.origin {
                use jarvis_machine::reply::Refusal::{AlreadyAnswered, StaleIncarnation};
                let fits = match answers.get(&(node, life, sequence)) {
                    None => true,
                    Some(first) => {
                        let old = matches!(applied.outcome, Err(AlreadyAnswered | StaleIncarnation));
                        applied.changes.is_empty() && (old || *first == applied.outcome)
                    }
                };
                prop_assert!(fits, "applied twice: {step:?}");
                answers.entry((node, life, sequence)).or_insert(applied.outcome);
            }
        }
        check_transcripts(&world);
        check_indexes(&world);
        let (a, b) = (world.read(|q| fingerprint(q.0).unwrap()), twin.read(|q| fingerprint(q.0).unwrap()));
        prop_assert_eq!(a, b);
    }

    #[test]
    fn proposals_come_back_from_bytes(steps in steps()) {
        let mut world = World::empty();
        for step in &steps {
            let proposal = proposal(&mut world, step);
            prop_assert_eq!(Proposal::decode(&proposal.encode().unwrap()), Ok(proposal));
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut versioned = bytes.clone();
        versioned.insert(0, 1);
        for bytes in [&bytes, &versioned] {
            let _ = Proposal::decode(bytes);
            let _ = codec::decode::<Outcome>(1, bytes);
            let _ = decode_row::<NodeRow>(bytes);
            let _ = decode_row::<InviteRow>(bytes);
            let _ = decode_row::<UserRow>(bytes);
            let _ = decode_row::<CredentialRow>(bytes);
            let _ = decode_row::<SessionRow>(bytes);
            let _ = decode_row::<MessageRow>(bytes);
        }
    }

    #[test]
    fn damaged_proposals_never_panic_the_machine(steps in steps(), at in any::<usize>(), bit in 0u8..8) {
        let mut world = start();
        for step in steps.iter().take(20) {
            let mut bytes = proposal(&mut world, step).encode().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(damaged) = Proposal::decode(&bytes) {
                world.apply(&damaged);
            }
        }
        check_transcripts(&world);
        check_indexes(&world);
    }
}
