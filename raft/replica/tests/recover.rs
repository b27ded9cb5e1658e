//! A cluster from one node's disk.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use jarvis_host::SystemClock;
use jarvis_machine::command::Command;
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::NodeRole;
use jarvis_replica::recover::{RecoverError, finish, inspect, rule_alone};
use jarvis_replica::{ProposeError, StartError};
use jarvis_types::{NodeId, Seq, SessionId};

use support::{Cluster, PATIENCE, create_session, new_node, options, say, until};

/// Three nodes in files with twelve messages, killed.
async fn destroyed() -> (Cluster, u64) {
    let mut cluster = Cluster::in_files().three().await;
    cluster.propose(create_session(1)).await.unwrap();
    for n in 0..12 {
        cluster.propose(say(1, &format!("m-{n}"))).await.unwrap();
    }
    let mut committed = 0;
    for replica in cluster.replicas.values() {
        replica.linearizable(PATIENCE).await.unwrap();
        committed = committed.max(replica.state().borrow().committed);
    }
    for node in 1..=3 {
        cluster.kill(NodeId(node));
    }
    (cluster, committed)
}

/// The files are let go of soon after the last handle.
async fn inspected(node: NodeId, cluster: &Cluster) -> jarvis_replica::recover::Found {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match inspect(node, &cluster.folder(node)) {
            Err(RecoverError::Start(StartError::InUse { .. })) => {
                assert!(tokio::time::Instant::now() < give_up);
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            found => return found.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_goes_on_alone_with_all_it_had() {
    let (mut cluster, committed) = destroyed().await;
    let node = NodeId(2);
    let found = inspected(node, &cluster).await;
    assert!(
        found.certain <= found.last.index && found.last.index >= committed,
        "{found:?}"
    );
    assert_eq!(
        (found.nodes.len(), found.voters.len(), found.alone),
        (3, 3, false)
    );
    assert!(found.last_entry_at_ms.is_some());

    let folder = cluster.folder(node);
    rule_alone(node, &folder).unwrap();
    let alone = inspect(node, &folder).unwrap();
    assert!(alone.alone && alone.last.term > found.last.term);
    assert_eq!(alone.last.index, found.last.index + 1);
    // Again, as after a crash in the middle, nothing is added.
    rule_alone(node, &folder).unwrap();
    assert_eq!(inspect(node, &folder).unwrap().last, alone.last);

    let recovered = finish(node, &folder, Arc::new(SystemClock)).await.unwrap();
    let removed: Vec<_> = recovered.removed.iter().map(|(id, _)| id.0).collect();
    assert_eq!((removed, recovered.kept.len()), (vec![1, 3], 0));
    let again = finish(node, &folder, Arc::new(SystemClock)).await.unwrap();
    assert!(again.removed.is_empty() && again.committed >= recovered.committed);
    let after = inspect(node, &folder).unwrap();
    assert_eq!((after.nodes.len(), after.voters.len()), (1, 1));
    assert!(
        after.certain > found.last.index,
        "all that was kept is committed: {after:?}"
    );

    cluster.start(node, true).await.unwrap();
    let replica = cluster.replicas[&node].clone();
    until(&replica, "it leads", |state| {
        state.leads && state.voters == [node]
    })
    .await;
    let view = replica.linearizable(PATIENCE).await.unwrap();
    let messages = view.query().messages(SessionId(1), Seq(0), 100).unwrap();
    assert_eq!(messages.len(), 12);
    for gone in [1, 3] {
        assert!(view.query().is_removed(NodeId(gone)).unwrap());
    }
    // New nodes come, with new ids.
    let secret = [99; 32];
    let invite = Command::CreateInvite {
        secret,
        role: NodeRole::Voter,
        expires_at_ms: u64::MAX,
    };
    cluster.propose(invite).await.unwrap();
    let node_4 = new_node("node-4");
    let joined = cluster
        .propose(Command::ConsumeInvite { secret, node: node_4 })
        .await;
    let Ok(Reply::Joined { node: new }) = joined else {
        panic!("{joined:?}");
    };
    assert!(new > NodeId(3), "{new}");
    cluster.start(new, false).await.unwrap();
    cluster.announce(new).await;
    until(&cluster.replicas[&new], "it follows", |state| {
        state.leader == Some(node)
    })
    .await;
    cluster.propose(say(1, "after")).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_can_be_what_is_left() {
    let mut cluster = Cluster::in_files();
    cluster.bootstrap().await;
    let second = cluster.join().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.propose(say(1, "a")).await.unwrap();
    let view = cluster.replicas[&second].linearizable(PATIENCE).await.unwrap();
    drop(view);
    // What is watched may come a little later than what is read.
    until(&cluster.replicas[&second], "it learns", |state| {
        state.learners == [second]
    })
    .await;
    cluster.kill(NodeId(1));
    cluster.kill(second);
    let found = inspected(second, &cluster).await;
    assert_eq!(found.voters, [NodeId(1)]);
    rule_alone(second, &cluster.folder(second)).unwrap();
    finish(second, &cluster.folder(second), Arc::new(SystemClock))
        .await
        .unwrap();
    cluster.start(second, true).await.unwrap();
    until(&cluster.replicas[&second], "it leads", |state| state.leads).await;
    let said = cluster.replicas[&second].propose(say(1, "b"), options()).await;
    assert!(!matches!(said, Err(ProposeError::Unavailable { .. })), "{said:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_is_no_node() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        inspect(NodeId(1), folder.path()),
        Err(RecoverError::Empty)
    ));
    assert!(!folder.path().join("raft").exists(), "nothing is made there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_ahead_of_the_log_are_recovered() {
    let mut cluster = Cluster::in_files().three().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.propose(say(1, "a")).await.unwrap();
    let node = cluster.follower().await;
    cluster.replicas[&node].stop().await;
    cluster.replicas.remove(&node);
    let log = cluster.folder(node).join("raft/log.redb");
    let early = log.with_extension("early");
    std::fs::copy(&log, &early).unwrap();
    cluster.start(node, true).await.unwrap();
    for n in 0..12 {
        cluster.propose(say(1, &format!("m-{n}"))).await.unwrap();
    }
    cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
    cluster.stop().await;
    // As after a snapshot was installed and the power failed before the log's next sync.
    std::fs::copy(&early, &log).unwrap();
    let found = inspected(node, &cluster).await;
    assert!(found.certain > found.last.index, "the tables are ahead");
    rule_alone(node, &cluster.folder(node)).unwrap();
    let alone = inspect(node, &cluster.folder(node)).unwrap();
    assert!(alone.alone && alone.last.index == found.certain + 1, "{alone:?}");
    let recovered = finish(node, &cluster.folder(node), Arc::new(SystemClock))
        .await
        .unwrap();
    assert_eq!(recovered.removed.len(), 2);
}
