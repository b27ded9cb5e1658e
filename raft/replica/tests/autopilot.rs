//! Voters that go, come back, are replaced; disks that are slow.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use jarvis_machine::command::{Command, MoveReason};
use jarvis_replica::{MemoryDisk, RaftTimers, Replica};
use jarvis_types::NodeId;
use tokio::time::Instant;

use support::{Cluster, PATIENCE, create_session, options, say, until};

/// What the leader or its follower tells, as one text.
fn told(replica: &Replica) -> String {
    let lines = replica
        .notes()
        .into_iter()
        .map(|note| format!("{}: {}\n", note.what, note.advice));
    lines.collect()
}

async fn until_told(replica: &Replica, part: &str) -> String {
    let give_up = Instant::now() + Duration::from_secs(90);
    loop {
        let told = told(replica);
        if told.contains(part) {
            return told;
        }
        assert!(Instant::now() < give_up, "{part:?} is not told: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_stays_away_is_replaced_and_comes_back_as_a_learner() {
    let mut cluster = Cluster::in_memory();
    cluster.replace_after = Duration::from_secs(10);
    let mut cluster = cluster.three().await;
    let fourth = cluster.join().await;
    let leader = cluster.leader().await;
    let away = cluster.follower().await;
    until(&cluster.replicas[&leader], "a fourth follows", |state| {
        state.learners == [fourth]
    })
    .await;
    cluster.kill(away);
    let lost = Instant::now();
    let follower = *cluster
        .replicas
        .keys()
        .find(|node| **node != leader && **node != fourth)
        .unwrap();
    // Told by the leader, whichever node is asked.
    let told = until_told(&cluster.replicas[&follower], "has been away for").await;
    assert!(
        told.contains("after 10 s another node takes its vote over"),
        "{told}"
    );
    let replaced = |state: &jarvis_replica::ReplicaState| !state.voters.contains(&away) && !state.joint;
    let mut state = cluster.replicas[&leader].state();
    tokio::time::timeout(PATIENCE * 3, state.wait_for(replaced))
        .await
        .expect("replaced")
        .unwrap();
    assert!(lost.elapsed() >= cluster.replace_after, "{:?}", lost.elapsed());
    let now = state.borrow().clone();
    assert_eq!((now.voters.len(), &now.learners[..]), (3, &[away][..]));
    assert!(now.voters.contains(&fourth));

    cluster.start(away, true).await.unwrap();
    cluster.propose(create_session(1)).await.unwrap();
    let view = cluster.replicas[&away].linearizable(PATIENCE).await.unwrap();
    assert!(
        view.query()
            .session(jarvis_types::SessionId(1))
            .unwrap()
            .is_some()
    );
    assert_eq!(cluster.replicas[&away].state().borrow().learners, [away]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_absence_outlives_the_leader_that_noticed_it() {
    let mut cluster = Cluster::in_memory();
    cluster.replace_after = Duration::from_secs(20);
    cluster.timers = RaftTimers::wifi();
    let mut cluster = cluster.three().await;
    let spare = [cluster.join().await, cluster.join().await];
    cluster
        .until_all("five voters", |state| state.voters.len() == 5 && !state.joint)
        .await;
    let sixth = cluster.join().await;
    until(&cluster.replicas[&sixth], "follows", |state| {
        state.learners == [sixth]
    })
    .await;
    let leader = cluster.leader().await;
    let away = *spare.iter().find(|node| **node != leader).unwrap();
    cluster.kill(away);
    let lost = Instant::now();
    // As the leader's controller tells everyone.
    let revision = |cluster: &Cluster| {
        let view = cluster.replicas[&leader].local().unwrap();
        view.query().placement_revision().unwrap()
    };
    let command = Command::Place {
        based_on: revision(&cluster),
        health: vec![(away, false)],
        moves: Vec::new(),
        reason: MoveReason::Balance,
    };
    cluster.replicas[&leader]
        .propose(command, options())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(14)).await;
    cluster.replicas[&leader]
        .transfer_leadership(None, PATIENCE)
        .await
        .unwrap();
    let new = cluster.leader().await;
    assert_ne!(new, leader);
    let mut state = cluster.replicas[&new].state();
    let replaced = state.wait_for(|state| !state.voters.contains(&away) && !state.joint);
    tokio::time::timeout(PATIENCE * 5, replaced)
        .await
        .expect("replaced")
        .unwrap();
    let took = lost.elapsed();
    assert!(
        took >= Duration::from_secs(20) && took < Duration::from_secs(30),
        "the new leader went on counting: {took:?}"
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_successor_a_voter_keeps_its_vote() {
    let mut cluster = Cluster::in_memory();
    cluster.replace_after = Duration::from_secs(5);
    let mut cluster = cluster.three().await;
    let away = cluster.follower().await;
    cluster.kill(away);
    tokio::time::sleep(Duration::from_secs(15)).await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.replicas[&leader].state().borrow().voters.len(), 3);
    cluster.stop().await;
}

/// Writes once a second, for so long; gives the terms and whether the leader ever lost its majority.
async fn write_for(cluster: &Cluster, leader: NodeId, time: Duration) -> (BTreeSet<u64>, bool) {
    let replica = cluster.replicas[&leader].clone();
    let state = replica.state();
    let (mut terms, mut lost) = (BTreeSet::new(), false);
    let end = Instant::now() + time;
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        replica
            .propose(say(1, &format!("m-{n}")), options())
            .await
            .unwrap();
        replica
            .propose(
                Command::Answer {
                    session: jarvis_types::SessionId(1),
                    to: jarvis_types::Seq(2 * n - 1),
                    text: "yes".to_owned(),
                    cancelled: false,
                },
                options(),
            )
            .await
            .unwrap();
        for _ in 0..20 {
            let now = state.borrow().clone();
            terms.insert(now.term);
            lost |= !now.leads;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    (terms, lost)
}

async fn with_slow_disks(timers: RaftTimers) -> (Cluster, NodeId) {
    let mut cluster = Cluster::in_memory();
    cluster.timers = timers;
    let disks: Vec<MemoryDisk> = (1..=3).map(|_| MemoryDisk::new()).collect();
    for (node, disk) in (1..).zip(&disks) {
        cluster.disk(NodeId(node), disk.clone());
    }
    let cluster = cluster.three().await;
    cluster.propose(create_session(1)).await.unwrap();
    let leader = cluster.leader().await;
    for disk in &disks {
        disk.slow_down(Duration::from_millis(300));
    }
    (cluster, leader)
}

#[tokio::test(start_paused = true)]
async fn syncs_of_300_ms_cost_no_leader_under_lan_and_are_told() {
    let (mut cluster, leader) = with_slow_disks(RaftTimers::lan()).await;
    let (terms, lost) = write_for(&cluster, leader, Duration::from_secs(15)).await;
    assert_eq!((terms.len(), lost), (1, false), "{terms:?}");
    let told = told(&cluster.replicas[&leader]);
    assert_eq!(told.matches("disk takes ").count(), 3, "{told}");
    assert!(told.contains("slow-disk"), "{told}");
    let sync = cluster.replicas[&leader].sync_time();
    assert!(
        sync.average >= Duration::from_millis(290) && sync.samples > 10,
        "{sync:?}"
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn syncs_of_300_ms_are_what_slow_disk_is_for() {
    let (mut cluster, leader) = with_slow_disks(RaftTimers::slow_disk()).await;
    let (terms, lost) = write_for(&cluster, leader, Duration::from_secs(15)).await;
    assert_eq!((terms.len(), lost), (1, false), "{terms:?}");
    assert_eq!(told(&cluster.replicas[&leader]), "");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_costs_its_node_the_vote_where_that_is_allowed_and_another_can() {
    let mut cluster = Cluster::in_memory();
    cluster.demote_slow_disk = true;
    cluster.timers = RaftTimers::slow_disk();
    let disk = MemoryDisk::new();
    cluster.disk(NodeId(1), disk.clone());
    let mut cluster = cluster.three().await;
    let fourth = cluster.join().await;
    cluster.propose(create_session(1)).await.unwrap();
    until(&cluster.replicas[&fourth], "it follows", |state| {
        state.learners == [fourth]
    })
    .await;
    assert_eq!(cluster.leader().await, NodeId(1), "the first leads");
    disk.slow_down(Duration::from_millis(550));
    let began = Instant::now();
    let mut n = 0;
    while cluster.replicas[&fourth]
        .state()
        .borrow()
        .voters
        .contains(&NodeId(1))
    {
        assert!(began.elapsed() < Duration::from_secs(200), "it keeps its vote");
        n += 1;
        cluster.replicas[&fourth]
            .propose(say(1, &format!("m-{n}")), options())
            .await
            .ok();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        began.elapsed() >= Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    until(&cluster.replicas[&fourth], "it votes instead", |state| {
        state.voters == [NodeId(2), NodeId(3), fourth] && !state.joint
    })
    .await;
    assert_ne!(cluster.leader().await, NodeId(1), "it handed over first");
    cluster.stop().await;
}
