//! Three replicas in one process: elections, proposals, reads, crashes, members, snapshots.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use jarvis_machine::change::Change;
use jarvis_machine::command::Command;
use jarvis_machine::reply::Reply;
use jarvis_replica::{ProposeError, ReadError};
use jarvis_types::{NodeId, Seq, SessionId};
use tokio::time::Instant;

use support::{Cluster, PATIENCE, create_session, options, say, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_proposes_and_all_nodes_apply() {
    let mut cluster = Cluster::in_memory().three().await;
    let follower = cluster.follower().await;
    let replica = &cluster.replicas[&follower];
    replica.propose(create_session(1), options()).await.unwrap();
    let reply = replica.propose(say(1, "a"), options()).await.unwrap();
    assert!(matches!(reply, Reply::Appended { seq: Seq(1), repeated: false, .. }), "{reply:?}");
    let reply = replica.propose(say(1, "a"), options()).await.unwrap();
    assert!(matches!(reply, Reply::Appended { seq: Seq(1), repeated: true, .. }), "{reply:?}");
    for replica in cluster.replicas.values() {
        let view = replica.linearizable(PATIENCE).await.unwrap();
        assert_eq!(view.query().messages(SessionId(1), Seq(0), 10).unwrap().len(), 1);
    }
    let refused = replica.propose(say(2, "a"), options()).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    cluster.stop().await;
}
