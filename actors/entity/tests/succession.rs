//! The leader's process ends: its successor is elected, and its partitions are placed, though no timer would ever run out.

use std::sync::Arc;
use std::time::Duration;

use jarvis_entity::runtime::{EntityDeps, EntityRuntime};
use jarvis_host::{SystemClock, Tasks};
use jarvis_mesh::api::Mesh;
use jarvis_mesh::testing::{TestBed, tethered};
use jarvis_mesh::transport::MeshTimers;
use jarvis_replica::api::{Replica, ReplicaState};
use jarvis_replica::config::{MemoryDisk, RaftTimers, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_replica::testing::start_member;
use jarvis_types::NodeId;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(15);

/// So long that no test sees it pass.
const NEVER: Duration = Duration::from_secs(600);

struct Node {
    mesh: Mesh,
    replica: Replica,
    tasks: Tasks,
}

/// Starts a node on `mesh` as the first of a cluster, or as one that `first` lets in.
async fn start(mesh: Mesh, first: Option<&Replica>) -> Node {
    let (node, tasks) = (mesh.node(), Tasks::new());
    let mut config = ReplicaConfig::new(node, StoreChoice::Memory(MemoryDisk::new()));
    config.timers = RaftTimers {
        heartbeat: Duration::from_millis(50),
        election_min: NEVER / 2,
        election_max: NEVER,
    };
    let deps = ReplicaDeps {
        transport: Arc::new(mesh.clone()),
        faults: jarvis_host::Faults::new(),
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
    };
    let replica = start_member(config, deps, first, 1).await.expect("a member");
    let deps = EntityDeps {
        mesh: mesh.clone(),
        replica: replica.clone(),
        tasks: tasks.clone(),
    };
    let _router = EntityRuntime::new(deps).start().await.expect("starts");
    Node { mesh, replica, tasks }
}

async fn until(node: &Node, what: &str, wanted: impl Fn(&ReplicaState) -> bool) {
    let mut state = node.replica.state();
    let reached = timeout(PATIENCE, state.wait_for(|state| wanted(state)))
        .await
        .is_ok_and(|state| state.is_ok());
    assert!(reached, "{what}: {:?}", node.replica.state().borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_succeeded_at_once() {
    let bed = TestBed {
        timers: MeshTimers {
            idle_timeout: NEVER,
            ..MeshTimers::lan()
        },
        ..TestBed::default()
    };
    let meshes = bed.cluster(3).await;
    let _tethers = tethered(&meshes).await;
    let mut nodes: Vec<Node> = Vec::new();
    for mesh in meshes {
        let node = start(mesh, nodes.first().map(|first| &first.replica)).await;
        nodes.push(node);
    }
    let first = NodeId(1);
    for node in &nodes {
        until(node, "three voters follow the first node", |state| {
            state.voters.len() == 3 && !state.joint && state.leader == Some(first)
        })
        .await;
    }
    // What is said from here on is lost, as a crashed process says nothing; then what it had open is closed.
    let lost = nodes.remove(0);
    bed.wires.isolate(&lost.mesh, nodes.iter().map(|node| &node.mesh));
    lost.tasks.cancel();
    lost.mesh.stop().await;
    for node in &nodes {
        until(node, "another leads", |state| {
            state.leader.is_some_and(|leader| leader != first)
        })
        .await;
    }
    for node in nodes {
        node.tasks.cancel();
        node.mesh.stop().await;
    }
}
