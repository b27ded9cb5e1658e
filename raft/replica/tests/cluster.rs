//! Three replicas in one process: elections, proposals, reads, crashes.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's clients are its own: no node owns or ends their tasks"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jarvis_machine::reply::Reply;
use jarvis_replica::{MemoryDisk, ProposeError, ReadError};
use jarvis_types::{NodeId, Seq, SessionId};
use tokio::time::Instant;

use support::{Cluster, PATIENCE, count, create_session, options, say, until, within};

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
