//! A node that was away has an old list of members: who is let in though that list lacks it, and for how long.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_mesh::api::{Call, Lane, Mesh, PeerState, Service};
use jarvis_mesh::testing::{self, TestBed};
use jarvis_types::NodeId;

const ECHO: Service = Service(0x0f01);
const PATIENCE: Duration = Duration::from_secs(10);

/// Three nodes; the first was away while the last joined.
fn away_other_newcomer(bed: &TestBed, away: u64, newcomer: u64) -> [Mesh; 3] {
    let meshes = [away, 2, newcomer].map(|node| bed.mesh(NodeId(node)));
    testing::introduce(&meshes[1..]);
    let members: Vec<_> = meshes.iter().map(testing::member).collect();
    for mesh in &meshes[1..] {
        mesh.set_members(members.clone());
        mesh.serve(ECHO, Arc::new(|call: Call| call.answer.send(call.body)));
    }
    meshes[0].set_list_current(false);
    meshes[0].set_members(members[..2].to_vec());
    meshes
}

fn knows(mesh: &Mesh, node: NodeId) -> bool {
    mesh.peers().borrow().iter().any(|peer| peer.member.node == node)
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, done).await.expect(what)
}

/// Waits until `mesh` has been told that it is out for good, and says by whom.
async fn told(mesh: &Mesh) -> NodeId {
    let mut removal = mesh.removal();
    let told = within("it is told", removal.wait_for(Option::is_some)).await;
    told.unwrap().unwrap().by
}

async fn joins_the_peers_of_an_old_list(away: u64, newcomer: u64) {
    let bed = TestBed::default();
    let meshes = away_other_newcomer(&bed, away, newcomer);
    testing::connected(&meshes).await;
    let peer = || {
        let peers = meshes[0].peers().borrow().clone();
        let peer = peers.iter().find(|peer| peer.member.node == NodeId(newcomer));
        peer.unwrap().clone()
    };
    let since = peer().changed_at;
    // The list comes to be current by what the newcomer sends.
    let members: Vec<_> = meshes.iter().map(testing::member).collect();
    meshes[0].set_members(members[..2].to_vec());
    let body = Bytes::from_static(b"more of the log");
    let asked = meshes[0].call(NodeId(newcomer), Lane::Raft, ECHO, 0, body.clone(), PATIENCE);
    assert_eq!(asked.await, Ok(body));
    meshes[0].set_members(members.clone());
    meshes[0].set_list_current(true);
    let listed = peer();
    assert_eq!(listed.member, members[2]);
    assert_eq!(
        (listed.state, listed.changed_at),
        (PeerState::Up, since),
        "the connection stays"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_of_higher_id_is_heard_and_dialled() {
    joins_the_peers_of_an_old_list(1, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_of_lower_id_is_let_in() {
    joins_the_peers_of_an_old_list(4, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_current_list_lacks_is_refused_but_not_as_removed() {
    for (away, stranger) in [(1, 4), (4, 1)] {
        let bed = TestBed::default();
        let meshes = away_other_newcomer(&bed, away, stranger);
        let (away, stranger) = (&meshes[0], &meshes[2]);
        testing::connected(&meshes).await;
        away.set_list_current(true);
        assert!(!knows(away, stranger.node()));
        testing::becomes(stranger, away.node(), PeerState::Down).await;
        // It comes again, by which the other learns that its list may be old once more.
        within("it is refused", away.unlisted_refused()).await;
        assert_eq!(*stranger.removal().borrow(), None);
        away.set_list_current(false);
        testing::connected(&meshes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_known_to_be_removed_stays_out_of_an_old_list_too() {
    for (away, removed) in [(1, 4), (4, 1)] {
        let bed = TestBed::default();
        let meshes = away_other_newcomer(&bed, away, removed);
        let (away, removed) = (&meshes[0], &meshes[2]);
        testing::connected(&meshes).await;
        away.set_removed([removed.node()]);
        assert!(!knows(away, removed.node()));
        assert_eq!(told(removed).await, away.node());
        // Nor does it come in again, as it tries for ever.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!knows(away, removed.node()));
    }
}
