//! Three replicas over the real mesh on loopback, in files: proposals, snapshot, reads.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use jarvis_host::{SystemClock, Tasks};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::rows::NodeRole;
use jarvis_replica::{Replica, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_types::{ClusterId, NodeId, Seq, SessionId};

use support::{PATIENCE, announce, create_session, new_node, options, say, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_work_over_quic() {
    let folder = tempfile::tempdir().unwrap();
    let meshes = jarvis_mesh::testing::cluster(3).await;
    let mut replicas = Vec::new();
    for mesh in &meshes {
        let store = StoreChoice::Redb(folder.path().join(mesh.node().to_string()));
        let mut config = ReplicaConfig::new(mesh.node(), store);
        config.snapshot_every_entries = 50;
        config.keep_entries = 10;
        let deps = ReplicaDeps {
            transport: Arc::new(mesh.clone()),
            faults: jarvis_host::Faults::new(),
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(),
        };
        replicas.push(Replica::start(config, deps).await.unwrap());
    }
    let first = &replicas[0];
    let init = Command::Initialise {
        cluster: ClusterId(7),
        node: new_node("node-1"),
        admin: "admin".to_owned(),
    };
    first.bootstrap(init, options()).await.unwrap();
    first.propose(create_session(1), options()).await.unwrap();
    // More than the log keeps, so that the others need a snapshot.
    for n in 0..150 {
        first.propose(say(1, &format!("m-{n}")), options()).await.unwrap();
    }
    for n in 2..=3 {
        let secret = [n; 32];
        let invite = Command::CreateInvite {
            secret,
            role: NodeRole::Voter,
            expires_at_ms: u64::MAX,
        };
        first.propose(invite, options()).await.unwrap();
        let node: NewNode = new_node(&format!("node-{n}"));
        first
            .propose(Command::ConsumeInvite { secret, node }, options())
            .await
            .unwrap();
    }
    for node in 1..=3 {
        first.propose(announce(NodeId(node)), options()).await.unwrap();
    }
    for replica in &replicas {
        until(replica, "three voters", |state| state.voters.len() == 3).await;
    }
    replicas[2].propose(say(1, "last"), options()).await.unwrap();
    for replica in &replicas {
        let view = replica.linearizable(PATIENCE).await.unwrap();
        assert_eq!(
            view.query()
                .messages(SessionId(1), Seq(0), usize::MAX)
                .unwrap()
                .len(),
            151
        );
    }
    for replica in &replicas {
        replica.stop().await;
    }
}
