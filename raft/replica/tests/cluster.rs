//! Three replicas in one process: elections, proposals, reads, crashes, members, snapshots.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's clients are its own: no node owns or ends their tasks"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jarvis_host::{Clock, ManualClock, SystemClock};
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Origin, Proposal};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_mesh::api::{CallError, Lane, Service};
use jarvis_replica::{MAX_CLOCK_LEAD_MS, MemoryDisk, ProposeError, ReadError, View};
use jarvis_types::{Incarnation, NodeId, Seq, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use support::{Cluster, PATIENCE, create_session, options, say, until, within};

/// How many messages these sessions have.
fn count(view: &View, sessions: std::ops::RangeInclusive<u128>) -> usize {
    sessions
        .map(|session| {
            view.query()
                .messages(SessionId(session), Seq(0), usize::MAX)
                .unwrap()
                .len()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_proposes_and_all_nodes_apply() {
    let mut cluster = Cluster::in_memory().three().await;
    let follower = cluster.follower().await;
    let replica = &cluster.replicas[&follower];
    replica.propose(create_session(1), options()).await.unwrap();
    let reply = replica.propose(say(1, "a"), options()).await.unwrap();
    assert!(
        matches!(
            reply,
            Reply::Appended {
                seq: Seq(1),
                repeated: false,
                ..
            }
        ),
        "{reply:?}"
    );
    let reply = replica.propose(say(1, "a"), options()).await.unwrap();
    assert!(
        matches!(
            reply,
            Reply::Appended {
                seq: Seq(1),
                repeated: true,
                ..
            }
        ),
        "{reply:?}"
    );
    for replica in cluster.replicas.values() {
        let view = replica.linearizable(PATIENCE).await.unwrap();
        assert_eq!(view.query().messages(SessionId(1), Seq(0), 10).unwrap().len(), 1);
    }
    let refused = replica.propose(say(2, "a"), options()).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_once_after_the_leader_crashed() {
    const CLIENTS: usize = 8;
    const EACH: usize = 40;
    let mut cluster = Cluster::in_memory().three().await;
    for session in 1..=CLIENTS {
        cluster.propose(create_session(session as u128)).await.unwrap();
    }
    let leader = cluster.leader().await;
    let others: Vec<_> = cluster
        .replicas
        .iter()
        .filter(|(node, _)| **node != leader)
        .map(|(_, r)| r.clone())
        .collect();
    let said = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|client| {
            let (replica, said) = (others[client % others.len()].clone(), Arc::clone(&said));
            tokio::spawn(async move {
                for n in 1..=EACH {
                    // A retry that were applied again would come back as a repeated message.
                    match replica
                        .propose(say(client as u128, &format!("m-{n}")), options())
                        .await
                    {
                        Ok(Reply::Appended {
                            seq, repeated: false, ..
                        }) => assert_eq!(seq, Seq(n as u64)),
                        other => panic!("{other:?}"),
                    }
                    said.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let began = Instant::now();
    while said.load(Ordering::SeqCst) < CLIENTS * EACH / 4 {
        assert!(began.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    cluster.kill(leader);
    for client in clients {
        client.await.unwrap();
    }
    for replica in &others {
        let view = replica.linearizable(PATIENCE).await.unwrap();
        for session in 1..=CLIENTS {
            let found = view
                .query()
                .messages(SessionId(session as u128), Seq(0), usize::MAX)
                .unwrap();
            assert!(
                found.iter().map(|(seq, _)| seq.0).eq(1..=EACH as u64),
                "each message has its own place"
            );
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_is_unavailable_and_comes_back() {
    let mut cluster = Cluster::in_memory().three().await;
    let leader = cluster.leader().await;
    let others: Vec<_> = cluster
        .replicas
        .keys()
        .copied()
        .filter(|node| *node != leader)
        .collect();
    cluster.network.cut(others.clone());
    let replica = cluster.replicas[&leader].clone();
    let deadline = Duration::from_millis(800);
    let began = Instant::now();
    let (write, read) = tokio::join!(
        replica.propose(create_session(9), within(deadline)),
        replica.linearizable(deadline)
    );
    assert!(
        matches!(write, Err(ProposeError::Unavailable { .. })),
        "{write:?}"
    );
    assert!(matches!(read.err(), Some(ReadError::Unavailable { .. })));
    assert!(
        began.elapsed() < deadline + Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    until(&replica, "a leader without followers says so", |state| {
        !state.leads
    })
    .await;

    cluster.network.heal();
    cluster.leader().await;
    replica.propose(create_session(10), options()).await.unwrap();
    let view = cluster.replicas[&others[0]].linearizable(PATIENCE).await.unwrap();
    assert!(view.query().session(SessionId(10)).unwrap().is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_leader_is_replaced_and_its_clients_are_served() {
    let mut cluster = Cluster::in_memory().three().await;
    cluster.propose(create_session(1)).await.unwrap();
    let old = cluster.leader().await;
    cluster.network.cut([old]);
    let follower = *cluster.replicas.keys().find(|node| **node != old).unwrap();
    // Proposed while the old leader is still believed in.
    cluster.replicas[&follower]
        .propose(say(1, "a"), options())
        .await
        .unwrap();
    let new = cluster.replicas[&follower].state().borrow().leader;
    assert!(new.is_some() && new != Some(old), "{new:?}");
    cluster.network.heal();
    until(&cluster.replicas[&old], "the old leader follows", |state| {
        state.leader == new
    })
    .await;
    let view = cluster.replicas[&old].linearizable(PATIENCE).await.unwrap();
    assert_eq!(view.query().messages(SessionId(1), Seq(0), 10).unwrap().len(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_entry_survives_a_restart_of_all() {
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 50;
    let mut cluster = cluster.three().await;
    cluster.propose(create_session(1)).await.unwrap();
    for n in 0..120 {
        cluster.propose(say(1, &format!("m-{n}"))).await.unwrap();
    }
    let nodes: Vec<_> = cluster.replicas.keys().copied().collect();
    // Killed, not stopped: nothing is synced on the way out.
    for node in &nodes {
        cluster.kill(*node);
    }
    for node in &nodes {
        cluster.start(*node, true).await.unwrap();
    }
    cluster.propose(say(1, "after")).await.unwrap();
    for (node, replica) in &cluster.replicas {
        let view = replica.linearizable(PATIENCE).await.unwrap();
        let found = view.query().messages(SessionId(1), Seq(0), usize::MAX).unwrap();
        assert_eq!(found.len(), 121, "at node {node}");
        until(replica, "caught up", |state| state.caught_up).await;
    }
    cluster.stop().await;
    // And after a clean stop.
    for node in &nodes {
        cluster.start(*node, true).await.unwrap();
    }
    let view = cluster.replicas[&NodeId(2)].linearizable(PATIENCE).await.unwrap();
    assert_eq!(
        view.query()
            .messages(SessionId(1), Seq(0), usize::MAX)
            .unwrap()
            .len(),
        121
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_learner_gets_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 100;
    cluster.bootstrap().await;
    for session in 1..=5 {
        cluster.propose(create_session(session)).await.unwrap();
    }
    for n in 0..300 {
        cluster
            .propose(say(1 + n % 2, &format!("before-{n}")))
            .await
            .unwrap();
    }
    let first = cluster.replicas[&NodeId(1)].clone();
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            first
                .propose(say(3, &format!("during-{n}")), options())
                .await
                .unwrap();
        }
    });
    let node = cluster.admit().await;
    cluster.start(node, false).await.unwrap();
    let replica = cluster.replicas[&node].clone();
    let mut changes = replica.changes();
    until(&replica, "is a learner", |state| state.learners.contains(&node)).await;
    writer.await.unwrap();
    let view = replica.linearizable(PATIENCE).await.unwrap();
    assert_eq!(count(&view, 1..=3), 500);
    let first = cluster.replicas[&NodeId(1)].local().unwrap();
    assert_eq!(first.applied, view.applied);
    assert_eq!(
        jarvis_replica::testing::fingerprint(&first).unwrap(),
        jarvis_replica::testing::fingerprint(&view).unwrap()
    );
    let replaced = changes.recv().await.unwrap();
    assert_eq!(
        replaced.changes[..],
        [Change::Replaced],
        "the first it sees is the snapshot"
    );

    // What was installed is there after a crash of the new node.
    cluster.kill(node);
    drop((replica, view));
    cluster.start(node, true).await.unwrap();
    cluster.propose(say(4, "after")).await.unwrap();
    let view = cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
    assert_eq!(count(&view, 1..=4), 501);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_and_a_removed_leader_steps_down() {
    let mut cluster = Cluster::in_memory().three().await;
    let fourth = cluster.join().await;
    until(&cluster.replicas[&fourth], "a fourth stays a learner", |state| {
        state.voters.len() == 3 && state.learners == [fourth]
    })
    .await;
    let fifth = cluster.join().await;
    cluster
        .until_all("five voters", |state| {
            state.voters.len() == 5 && state.learners.is_empty()
        })
        .await;

    let leader = cluster.leader().await;
    cluster.replicas[&fifth]
        .propose(
            Command::RemoveNode {
                node: leader,
                force: true,
            },
            options(),
        )
        .await
        .unwrap();
    let gone = cluster.replicas.remove(&leader).unwrap();
    cluster
        .until_all("the removed leader is out and another leads", |state| {
            state.leader.is_some_and(|now| now != leader)
                && !state.voters.contains(&leader)
                && state.voters.len() == 3
        })
        .await;
    gone.stop().await;
    cluster.propose(create_session(5)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let mut cluster = Cluster::in_memory().three().await;
    let old = cluster.leader().await;
    let to = cluster.follower().await;
    cluster.replicas[&old]
        .transfer_leadership(Some(to), PATIENCE)
        .await
        .unwrap();
    until(&cluster.replicas[&to], "the successor leads", |state| state.leads).await;
    // Asked at a node that does not lead.
    cluster.replicas[&old]
        .transfer_leadership(Some(old), PATIENCE)
        .await
        .unwrap();
    until(&cluster.replicas[&old], "leads again", |state| state.leads).await;
    cluster.replicas[&old]
        .transfer_leadership(None, PATIENCE)
        .await
        .unwrap();
    assert_ne!(cluster.leader().await, old);
    let leader = cluster.leader().await;
    let acked = cluster.replicas[&leader].acked_ago();
    assert_eq!(acked.len(), 2, "{acked:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_does_not_disturb_the_others() {
    let mut cluster = Cluster::in_memory().three().await;
    let leader = cluster.leader().await;
    let away = cluster.follower().await;
    let before = cluster.replicas[&leader].state().borrow().term;
    cluster.network.cut([away]);
    // Longer than lease and election timeout together: it has stood for election by then.
    tokio::time::sleep(cluster.timers.election_max * 3).await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.network.heal();
    let view = cluster.replicas[&away].linearizable(PATIENCE).await.unwrap();
    assert!(view.query().session(SessionId(1)).unwrap().is_some());
    let state = cluster.replicas[&leader].state().borrow().clone();
    assert_eq!(
        (state.leader, state.term),
        (Some(leader), before),
        "pre-votes raise no term"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_at_once_is_refused_and_what_is_stopped_says_so() {
    let mut cluster = Cluster::in_memory();
    cluster.start(NodeId(1), false).await.unwrap();
    let replica = cluster.replicas[&NodeId(1)].clone();
    // Nobody leads yet, so all of them stay under way.
    let deadline = within(Duration::from_millis(500));
    let all: Vec<_> = (0..jarvis_replica::MAX_PROPOSALS as u128 + 1)
        .map(|n| replica.propose(create_session(n), deadline.clone()))
        .collect();
    let results = futures_util::future::join_all(all).await;
    let refused = results
        .iter()
        .filter(|r| matches!(r, Err(ProposeError::Overloaded)))
        .count();
    let in_vain = results
        .iter()
        .filter(|r| matches!(r, Err(ProposeError::Unavailable { .. })))
        .count();
    assert_eq!((refused, in_vain), (1, jarvis_replica::MAX_PROPOSALS));

    let mut large = say(1, "large");
    if let Command::Say { text, .. } = &mut large {
        *text = "x".repeat(600_000);
    }
    assert!(matches!(
        replica.propose(large, options()).await,
        Err(ProposeError::TooLarge { .. })
    ));

    replica.stop().await;
    assert_eq!(
        replica.propose(create_session(1), options()).await,
        Err(ProposeError::Stopping)
    );
    assert!(replica.linearizable(Duration::from_secs(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_of_all_in_memory() {
    let mut cluster = Cluster::in_memory();
    for node in 1..=3 {
        let mut disk = MemoryDisk::new();
        disk.sync_takes = Duration::from_millis(1 + node);
        cluster.disk(NodeId(node), disk);
    }
    survives_a_power_cut_of_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_of_all_in_files() {
    survives_a_power_cut_of_all(Cluster::in_files()).await;
}

async fn survives_a_power_cut_of_all(mut cluster: Cluster) {
    const CLIENTS: u128 = 8;
    cluster.snapshot_every = 60;
    let mut cluster = cluster.three().await;
    for session in 1..=CLIENTS {
        cluster.propose(create_session(session)).await.unwrap();
    }
    let said = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|client| {
            let replica = cluster.replicas[&NodeId(client as u64 % 3 + 1)].clone();
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let mut acknowledged = 0;
                // Until the node is gone.
                while replica
                    .propose(say(client, &format!("m-{acknowledged}")), options())
                    .await
                    .is_ok()
                {
                    acknowledged += 1;
                    said.fetch_add(1, Ordering::SeqCst);
                }
                acknowledged
            })
        })
        .collect();
    let began = Instant::now();
    while said.load(Ordering::SeqCst) < 200 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.power_cut();
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.push(client.await.unwrap());
    }
    for node in 1..=3 {
        cluster.start(NodeId(node), true).await.unwrap();
    }
    let view = cluster.replicas[&NodeId(1)].linearizable(PATIENCE).await.unwrap();
    for (session, acknowledged) in (1..=CLIENTS).zip(acknowledged) {
        let found = count(&view, session..=session);
        // The last one may have been on its way.
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} of {acknowledged} in {session}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_peer_is_refused_and_harms_nobody() {
    let mut cluster = Cluster::in_memory().three().await;
    let peer = cluster.network.join(NodeId(99));
    let second = Duration::from_secs(1);
    for node in cluster.replicas.keys() {
        for service in 0x0201..=0x0205 {
            for body in [
                &b""[..],
                b"\x01",
                b"\x02\x01\x01",
                b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                &[1; 64],
            ] {
                let body = bytes::Bytes::copy_from_slice(body);
                let answer = peer
                    .call(*node, Lane::Raft, Service(service), 1, body, second)
                    .await;
                assert!(
                    matches!(answer, Err(CallError::Refused { .. })),
                    "{service:#x}: {answer:?}"
                );
            }
        }
        for frame in [
            &b"\xff\xff\xff\xff"[..],
            b"\x04\x00\x00\x00abcd",
            b"\x00\x00\x00\x00",
        ] {
            let mut pipe = peer.open(*node, Lane::Snapshot, Service(0x0208)).await.unwrap();
            pipe.send.write_all(frame).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(second * 5, pipe.recv.read_to_end(&mut answer)).await;
            assert!(
                read.is_ok() && !answer.is_empty(),
                "the stream ends with the reason"
            );
        }
    }
    // Under another node's name.
    let proposal = Proposal {
        origin: Some(Origin {
            node: NodeId(1),
            incarnation: Incarnation(u64::MAX),
            sequence: 1,
            answered_below: 1,
        }),
        at_ms: 1,
        fence: None,
        request: None,
        command: create_session(66),
    };
    let mut body = vec![1, 1];
    let encoded = proposal.encode().unwrap();
    body.push(encoded.len() as u8);
    body.extend(encoded);
    let leader = cluster.leader().await;
    let answer = peer
        .call(leader, Lane::Raft, Service(0x0205), 1, body.into(), second)
        .await;
    assert!(
        matches!(&answer, Err(CallError::Refused { message, .. }) if message.contains("another node's name")),
        "{answer:?}"
    );

    cluster.propose(create_session(1)).await.unwrap();
    let view = cluster.replicas[&NodeId(2)].linearizable(PATIENCE).await.unwrap();
    assert!(view.query().session(SessionId(66)).unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_clock_does_not_become_everybodys_time() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let mut cluster = Cluster::in_memory();
    let ahead = NodeId(3);
    let now_ms = || SystemClock.now_ms();
    cluster
        .clocks
        .insert(ahead, Arc::new(ManualClock::new(now_ms() + YEAR_MS)));
    let mut cluster = cluster.three().await;
    let allowed_ms = || now_ms() + MAX_CLOCK_LEAD_MS;
    let leader = cluster.leader().await;
    if leader == ahead {
        cluster.replicas[&leader]
            .transfer_leadership(Some(NodeId(1)), PATIENCE)
            .await
            .unwrap();
        until(&cluster.replicas[&NodeId(1)], "leads", |state| state.leads).await;
    }
    cluster.propose(create_session(1)).await.unwrap();
    let said = |reply| match reply {
        Reply::Appended { at_ms, repeated, .. } => (at_ms, repeated),
        other => panic!("{other:?}"),
    };
    // It works, and its time is taken back.
    let wrong = cluster.replicas[&ahead].clone();
    let (at_ms, _) = said(wrong.propose(say(1, "a"), options()).await.unwrap());
    assert!(at_ms <= allowed_ms(), "{at_ms} and it is {}", now_ms());

    // It leads: the others' clocks outvote its own.
    let leader = cluster.leader().await;
    cluster.replicas[&leader]
        .transfer_leadership(Some(ahead), PATIENCE)
        .await
        .unwrap();
    until(&wrong, "the node with the wrong clock leads", |state| state.leads).await;
    for node in [1, 2] {
        cluster.replicas[&NodeId(node)]
            .propose(say(1, &format!("from-{node}")), options())
            .await
            .unwrap();
    }
    let (at_ms, _) = said(wrong.propose(say(1, "b"), options()).await.unwrap());
    assert!(at_ms <= allowed_ms(), "{at_ms} and it is {}", now_ms());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unreadable_proposal_does_not_take_its_batch_along() {
    let mut cluster = Cluster::in_memory().three().await;
    let proposer = NodeId(99);
    let peer = cluster.network.join(proposer);
    let proposal = |sequence, session| {
        let origin = Some(Origin {
            node: proposer,
            incarnation: Incarnation(1),
            sequence,
            answered_below: 1,
        });
        let command = create_session(session);
        let proposal = Proposal {
            origin,
            at_ms: 1,
            fence: None,
            request: None,
            command,
        };
        proposal.encode().unwrap()
    };
    let mut newer = proposal(2, 22);
    newer[0] += 1;
    let items = [proposal(1, 21), newer, vec![1, 0xff, 0xff], proposal(3, 23)];
    let mut body = vec![1, items.len() as u8];
    for item in &items {
        body.push(item.len() as u8);
        body.extend(item);
    }
    let body = bytes::Bytes::from(body);
    let ask = |node| peer.call(node, Lane::Raft, Service(0x0205), 1, body.clone(), PATIENCE);
    // A node that does not lead decides nothing, not even against what it cannot read.
    let nothing = ask(cluster.follower().await).await.unwrap();
    assert_eq!(nothing[..], [1, 4, 0, 0, 0, 0]);

    let answer = ask(cluster.leader().await).await.unwrap();
    let mut rest = &answer[2..];
    let outcomes: Vec<Outcome> = (0..items.len())
        .map(|_| {
            assert_eq!(rest[0], 1, "each item has its answer");
            let len = usize::from(rest[1]);
            assert!(len < 251, "a length of one byte");
            let outcome = jarvis_types::codec::decode(1, &rest[2..2 + len]).unwrap();
            rest = &rest[2 + len..];
            outcome
        })
        .collect();
    assert_eq!((&outcomes[0], &outcomes[3]), (&Ok(Reply::Done), &Ok(Reply::Done)));
    assert!(
        matches!(&outcomes[1], Err(Refusal::Invalid(why)) if why.contains("newer version")),
        "{outcomes:?}"
    );
    assert!(matches!(&outcomes[2], Err(Refusal::Invalid(_))), "{outcomes:?}");
    let view = cluster.replicas[&NodeId(2)].linearizable(PATIENCE).await.unwrap();
    for (session, there) in [(21, true), (22, false), (23, true)] {
        assert_eq!(
            view.query().session(SessionId(session)).unwrap().is_some(),
            there,
            "{session}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_keeps_what_it_acknowledged() {
    const LIVES: usize = 6;
    const CLIENTS: usize = 4;
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 40;
    cluster.timers.heartbeat = Duration::from_millis(20);
    cluster.timers.election_min = Duration::from_millis(40);
    cluster.timers.election_max = Duration::from_millis(80);
    cluster.bootstrap().await;
    let node = NodeId(1);
    let mut acknowledged = std::collections::BTreeSet::new();
    for life in 0..LIVES {
        // Lives have sessions of their own: only so many messages may wait for a reply.
        let session = life as u128;
        cluster.propose(create_session(session)).await.unwrap();
        let said = Arc::new(std::sync::Mutex::new(Vec::new()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (replica, said) = (cluster.replicas[&node].clone(), Arc::clone(&said));
                tokio::spawn(async move {
                    for n in 0.. {
                        let id = format!("m-{life}-{client}-{n}");
                        if replica.propose(say(session, &id), options()).await.is_err() {
                            return;
                        }
                        said.lock().unwrap().push(format!("text of {id}"));
                    }
                })
            })
            .collect();
        let enough = 7 + life * 13;
        let began = Instant::now();
        while said.lock().unwrap().len() < enough {
            assert!(began.elapsed() < PATIENCE);
            tokio::task::yield_now().await;
        }
        cluster.replicas[&node].kill();
        cluster.kill(node);
        for client in clients {
            client.await.unwrap();
        }
        acknowledged.extend(std::mem::take(&mut *said.lock().unwrap()));
        cluster.start(node, true).await.unwrap();
        let view = cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
        let found: std::collections::BTreeSet<String> = (0..=session)
            .flat_map(|session| {
                view.query()
                    .messages(SessionId(session), Seq(0), usize::MAX)
                    .unwrap()
            })
            .map(|(_, entry)| entry.text)
            .collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "life {life}: {lost:?}");
    }
    cluster.stop().await;
}
