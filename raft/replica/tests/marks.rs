//! Level 4 in a cluster: ledger time that a clock has moved ahead is corrected, and a disk that was put back is found out.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jarvis_host::{Clock, SystemClock};
use jarvis_machine::command::Command;
use jarvis_machine::reply::Reply;
use jarvis_replica::MAX_CLOCK_LEAD_MS;
use jarvis_types::NodeId;
use tokio::time::Instant;

use support::{Cluster, PATIENCE, announce, create_session, options, say, until};

const HOUR_MS: i64 = 3_600_000;

/// A clock that can be set.
#[derive(Default)]
struct SetClock(AtomicI64);

impl SetClock {
    fn set_ahead(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        SystemClock
            .now_ms()
            .saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// Has all nodes speak this build's level, and the cluster be at it.
async fn risen(cluster: &Cluster) {
    let to = jarvis_machine::LEVEL;
    for node in cluster.replicas.keys() {
        let Command::AnnounceNode {
            node,
            mesh_address,
            http_url,
            version,
            ..
        } = announce(*node)
        else {
            panic!("it announces")
        };
        let speaks = Command::AnnounceNode {
            node,
            mesh_address,
            http_url,
            version,
            level: to,
        };
        cluster.propose(speaks).await.unwrap();
    }
    cluster.propose(Command::RaiseLevel { to }).await.unwrap();
}

async fn said_at(cluster: &Cluster, node: NodeId, session: u128, id: &str) -> u64 {
    match cluster.replicas[&node].propose(say(session, id), options()).await {
        Ok(Reply::Appended { at_ms, .. }) => at_ms,
        other => panic!("{other:?}"),
    }
}

/// How far a time is from the right one, where the two may differ.
fn off_by(at_ms: u64) -> u64 {
    at_ms.abs_diff(SystemClock.now_ms())
}

async fn until_corrected(cluster: &Cluster, node: NodeId) {
    let give_up = Instant::now() + 2 * PATIENCE;
    loop {
        let view = cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
        if off_by(view.query().ledger_ms().unwrap()) <= 2 * MAX_CLOCK_LEAD_MS {
            return;
        }
        assert!(Instant::now() < give_up, "ledger time is not corrected");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_nodes_clock_that_was_ahead_does_not_keep_ledger_time_there() {
    let mut cluster = Cluster::in_memory();
    let (first, clock) = (NodeId(1), Arc::new(SetClock::default()));
    cluster.clocks.insert(first, Arc::clone(&clock) as Arc<dyn Clock>);
    cluster.bootstrap().await;
    risen(&cluster).await;
    cluster.propose(create_session(1)).await.unwrap();
    clock.set_ahead(72 * HOUR_MS);
    let ahead_ms = said_at(&cluster, first, 1, "ahead").await;
    assert!(
        off_by(ahead_ms) > 70 * HOUR_MS as u64,
        "it has no other clock to go by"
    );
    clock.set_ahead(0);
    // Invitations work meanwhile.
    let invite = Command::CreateInvite {
        secret: [1; 32],
        role: jarvis_machine::rows::NodeRole::Voter,
        expires_at_ms: SystemClock.now_ms() + 60_000,
    };
    assert_eq!(cluster.propose(invite).await, Ok(Reply::Done));
    until_corrected(&cluster, first).await;
    cluster.propose(create_session(2)).await.unwrap();
    let (late, new) = (
        said_at(&cluster, first, 1, "after").await,
        said_at(&cluster, first, 2, "new").await,
    );
    assert_eq!(late, ahead_ms, "within a session time never decreases");
    assert!(off_by(new) <= MAX_CLOCK_LEAD_MS, "{new}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hours_ahead_moves_nobodys_time_and_is_named() {
    let mut cluster = Cluster::in_memory();
    let clocks: Vec<Arc<SetClock>> = (0..3).map(|_| Arc::default()).collect();
    for (node, clock) in (1..).zip(&clocks) {
        cluster
            .clocks
            .insert(NodeId(node), Arc::clone(clock) as Arc<dyn Clock>);
    }
    let mut cluster = cluster.three().await;
    risen(&cluster).await;
    cluster.propose(create_session(1)).await.unwrap();
    let leader = cluster.leader().await;
    // At once, and the moment after: what was measured of the others does not move along.
    clocks[leader.0 as usize - 1].set_ahead(10 * HOUR_MS);
    for n in 0..5 {
        let at_ms = said_at(&cluster, leader, 1, &format!("m{n}")).await;
        assert!(off_by(at_ms) <= 2 * MAX_CLOCK_LEAD_MS, "{at_ms}");
    }
    assert!(off_by(cluster.replicas[&leader].cluster_clock().now_ms()) <= MAX_CLOCK_LEAD_MS);
    let give_up = Instant::now() + PATIENCE;
    let named = |note: &jarvis_replica::Note| note.what.contains(&format!("node-{leader} is 10 h ahead"));
    while !cluster.replicas[&leader].notes().iter().any(named) {
        assert!(
            Instant::now() < give_up,
            "{:?}",
            cluster.replicas[&leader].notes()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.stop().await;
}

/// Waits until the cluster has marks of all its voters from `index` on.
async fn until_marked(cluster: &Cluster, index: u64) {
    let give_up = Instant::now() + 2 * PATIENCE;
    loop {
        let leader = cluster.leader().await;
        let view = cluster.replicas[&leader].linearizable(PATIENCE).await.unwrap();
        let marks = view.query().log_marks().unwrap();
        if marks.len() == 3 && marks.iter().all(|(_, mark)| mark.index >= index) {
            return;
        }
        assert!(Instant::now() < give_up, "{marks:?} and not {index}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_disk_was_put_back_is_refused_and_named_and_not_counted() {
    let mut cluster = Cluster::in_memory().three().await;
    risen(&cluster).await;
    cluster.propose(create_session(1)).await.unwrap();
    let voter = NodeId(3);
    let older = cluster.copy_of_disk(voter);
    for n in 0..50 {
        cluster.propose(say(1, &format!("m{n}"))).await.unwrap();
    }
    let committed = cluster.replicas[&cluster.leader().await]
        .state()
        .borrow()
        .committed;
    until_marked(&cluster, committed).await;
    // Started again on its own disk it takes part.
    cluster.kill(voter);
    cluster.start(voter, true).await.unwrap();
    until(&cluster.replicas[&voter], "follows", |state| {
        state.caught_up && state.applied >= committed
    })
    .await;

    cluster.kill(voter);
    cluster.disk(voter, older);
    cluster.start(voter, true).await.unwrap();
    let why = tokio::time::timeout(PATIENCE, cluster.replicas[&voter].failed())
        .await
        .unwrap();
    assert!(
        why.contains("older copy") && why.contains("jarvis remove 3 --force"),
        "{why}"
    );
    // It has told everyone by the time at which its process ends.
    cluster.kill(voter);
    let leader = cluster.leader().await;
    let named = |note: &jarvis_replica::Note| {
        note.what
            .starts_with("node-3's disk was put back to an older copy")
    };
    let give_up = Instant::now() + PATIENCE;
    while !cluster.replicas[&leader].notes().iter().any(named) {
        assert!(
            Instant::now() < give_up,
            "{:?}",
            cluster.replicas[&leader].notes()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.propose(say(1, "two-are-a-majority")).await.unwrap();

    // It does not make up the majority with one of two others.
    let other = if leader == NodeId(1) { NodeId(2) } else { NodeId(1) };
    cluster.kill(other);
    let told = cluster.replicas[&leader]
        .propose(say(1, "one-is-not"), support::within(Duration::from_secs(2)))
        .await;
    assert!(
        matches!(told, Err(jarvis_replica::ProposeError::Unavailable { .. })),
        "{told:?}"
    );
    cluster.start(other, true).await.unwrap();
    cluster.propose(say(1, "again")).await.unwrap();
    cluster.stop().await;
}
