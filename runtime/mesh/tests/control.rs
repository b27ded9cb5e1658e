//! The control plane, by ractor_cluster and by plain calls.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_mesh::api::Mesh;
use jarvis_mesh::control::{
    AgentDuties, AgentInfo, AgentNotice, AgentReply, AgentRequest, ClusterControl, ControlError,
    ControlPlane, DirectControl,
};
use jarvis_mesh::testing::{self, TestBed};
use jarvis_types::NodeId;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Duties(Mutex<Vec<(NodeId, AgentNotice)>>);

impl AgentDuties for Duties {
    fn set_log_level(&self, filter: &str) -> Result<(), String> {
        if filter == "info" {
            Ok(())
        } else {
            Err(format!("{filter} is not a level"))
        }
    }

    fn notice(&self, from: NodeId, notice: AgentNotice) {
        self.0.lock().unwrap().push((from, notice));
    }
}

fn name(mesh: &Mesh) -> jarvis_types::NodeName {
    format!("node-{}", mesh.node()).parse().unwrap()
}

async fn all_present(planes: &[Arc<dyn ControlPlane>], others: usize) {
    let present = async {
        while planes.iter().any(|plane| plane.present().len() != others) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found: Vec<_> = planes.iter().map(|plane| plane.present()).collect();
    tokio::time::timeout(PATIENCE, present)
        .await
        .unwrap_or_else(|_| panic!("not all agents are there: {found:?}"));
}

async fn agents_answer(meshes: &[Mesh], planes: &[Arc<dyn ControlPlane>], duties: &[Arc<Duties>]) {
    all_present(planes, meshes.len() - 1).await;
    for (from, plane) in meshes.iter().zip(planes) {
        for to in meshes.iter().filter(|m| m.node() != from.node()) {
            let info = AgentInfo {
                node: to.node(),
                name: name(to),
                version: "1.2.3".to_owned(),
            };
            let reply = plane.ask(to.node(), AgentRequest::WhoAreYou, PATIENCE).await;
            assert_eq!(reply, Ok(AgentReply::Iam(info)));
            let reply = plane
                .ask(to.node(), AgentRequest::SetLogLevel("info".to_owned()), PATIENCE)
                .await;
            assert_eq!(reply, Ok(AgentReply::Done));
            let reply = plane
                .ask(to.node(), AgentRequest::SetLogLevel("noise".to_owned()), PATIENCE)
                .await;
            assert_eq!(reply, Ok(AgentReply::Refused("noise is not a level".to_owned())));
        }
        let nobody = plane.ask(NodeId(77), AgentRequest::WhoAreYou, PATIENCE).await;
        assert_eq!(nobody, Err(ControlError::Absent(NodeId(77))));
    }
    planes[0].tell_all(AgentNotice::Draining(true));
    let told = async {
        while duties[1..].iter().any(|d| d.0.lock().unwrap().is_empty()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told)
        .await
        .expect("all others are told");
    for duties in &duties[1..] {
        assert_eq!(
            *duties.0.lock().unwrap(),
            [(NodeId(1), AgentNotice::Draining(true))]
        );
    }
    assert!(
        duties[0].0.lock().unwrap().is_empty(),
        "a node does not tell itself"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_answer_by_plain_calls() {
    let meshes = testing::cluster(3).await;
    let duties: Vec<Arc<Duties>> = meshes.iter().map(|_| Arc::default()).collect();
    let planes: Vec<Arc<dyn ControlPlane>> = meshes
        .iter()
        .zip(&duties)
        .map(|(mesh, duties)| {
            let plane = DirectControl::start(mesh, name(mesh), "1.2.3".to_owned(), Arc::clone(duties) as _);
            Arc::new(plane) as Arc<dyn ControlPlane>
        })
        .collect();
    agents_answer(&meshes, &planes, &duties).await;
}

/// Both node servers live in this process and so share ractor's registries: each announces both agents to the other. Only
/// what went over the QUIC stream counts as another node's agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_answer_by_ractor_cluster_and_again_after_the_connection_was_lost() {
    let bed = TestBed::default();
    let meshes = bed.cluster(2).await;
    let duties: Vec<Arc<Duties>> = meshes.iter().map(|_| Arc::default()).collect();
    let mut planes: Vec<Arc<dyn ControlPlane>> = Vec::new();
    for (mesh, duties) in meshes.iter().zip(&duties) {
        let plane =
            ClusterControl::start(mesh, name(mesh), "1.2.3".to_owned(), Arc::clone(duties) as _).await;
        planes.push(Arc::new(plane.unwrap()));
    }
    agents_answer(&meshes, &planes, &duties).await;

    bed.wires.cut(&meshes[0], &meshes[1]);
    testing::becomes(&meshes[0], NodeId(2), jarvis_mesh::api::PeerState::Down).await;
    all_present(&planes, 0).await;
    bed.wires.mend_all();
    all_present(&planes, 1).await;
    let reply = planes[0]
        .ask(NodeId(2), AgentRequest::WhoAreYou, PATIENCE)
        .await
        .unwrap();
    assert!(matches!(reply, AgentReply::Iam(info) if info.node == NodeId(2)));
    for mesh in &meshes {
        mesh.stop().await;
    }
}
