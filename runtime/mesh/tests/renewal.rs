//! Certificates are renewed without a restart, and without a call or the order of messages being lost.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::{Clock, ManualClock};
use jarvis_mesh::api::{Call, Lane, PeerState, Service};
use jarvis_mesh::identity::{NodeIdentity, NodeKey};
use jarvis_mesh::renew::{AskPeers, Renewer, SelfIssue, keep_renewed, serve_renewals};
use jarvis_mesh::store::TlsStore;
use jarvis_mesh::testing::{self, TestBed};
use jarvis_types::NodeId;

const ECHO: Service = Service(0x0f01);
const COUNT: Service = Service(0x0f02);
const PATIENCE: Duration = Duration::from_secs(10);
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_replaced_under_calls_without_a_failure_and_in_order() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = Arc::new(TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    let meshes = bed.cluster(2).await;
    for mesh in &meshes {
        mesh.serve(ECHO, Arc::new(|call: Call| call.answer.send(call.body)));
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&seen);
    meshes[1].serve(
        COUNT,
        Arc::new(move |call: Call| {
            collected
                .lock()
                .unwrap()
                .push(u64::from_le_bytes(call.body[..8].try_into().unwrap()));
        }),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for (from, to) in [(0, 2), (1, 1), (0, 2), (1, 1)] {
        let (mesh, stop) = (meshes[from].clone(), Arc::clone(&stop));
        #[allow(clippy::disallowed_methods, reason = "a test's own task")]
        callers.push(tokio::spawn(async move {
            let mut calls = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let body = Bytes::copy_from_slice(&calls.to_le_bytes());
                let answer = mesh
                    .call(NodeId(to), Lane::Actors, ECHO, calls, body.clone(), PATIENCE)
                    .await;
                assert_eq!(answer, Ok(body));
                calls += 1;
            }
            calls
        }));
    }
    let (mesh, ended) = (meshes[0].clone(), Arc::clone(&stop));
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    let caster = tokio::spawn(async move {
        let mut sent = 0u64;
        while !ended.load(Ordering::Relaxed) {
            for _ in 0..20 {
                let body = Bytes::copy_from_slice(&sent.to_le_bytes());
                mesh.cast(NodeId(2), Lane::Actors, COUNT, 3, body).unwrap();
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sent
    });
    // Both the dialer's and the other side's certificates, several times.
    for round in 0..6u64 {
        clock.advance_ms(10_000);
        let renewed = usize::from(round % 2 == 1);
        let node = NodeId(renewed as u64 + 1);
        let identity = bed.identity(node, HOUR * 24);
        let until_ms = identity.names().not_after_ms;
        meshes[renewed].set_identity(identity).unwrap();
        let shown = async {
            while testing::certificate_end_ms(&meshes[1 - renewed], node) != Some(until_ms) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, shown)
            .await
            .expect("the new certificate is shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    let sent = caster.await.unwrap();
    let all = async {
        while (seen.lock().unwrap().len() as u64) < sent {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("every cast arrives");
    assert!(
        seen.lock().unwrap().iter().copied().eq(0..sent),
        "in the order in which they were sent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_renew_by_themselves_with_the_ca_or_through_a_peer_that_holds_it() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let life = Duration::from_secs(900);
    let meshes: Vec<_> = (1..=3)
        .map(|n| bed.mesh_of(bed.identity(NodeId(n), life), "127.0.0.1:0"))
        .collect();
    testing::introduce(&meshes);
    testing::connected(&meshes).await;
    let before: Vec<u64> = meshes.iter().map(|m| m.identity().names().not_after_ms).collect();
    // Past the half of the five minutes' allowance and fifteen minutes' life, and a little before the end.
    clock.advance_ms(700_000);
    let folders: Vec<_> = meshes.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    serve_renewals(&meshes[0], Arc::clone(&bed.ca), HOUR);
    for (mesh, folder) in meshes.iter().zip(&folders) {
        let store = TlsStore::new(folder.path());
        let save = Arc::new(move |identity: &NodeIdentity| store.save_identity(identity));
        if mesh.node() == NodeId(1) {
            let own = SelfIssue {
                ca: Arc::clone(&bed.ca),
                identity: mesh.identity(),
                name: "one".parse().unwrap(),
                ttl: HOUR,
                clock: Arc::clone(&bed.clock),
                entropy: Arc::clone(&bed.entropy),
            };
            keep_renewed(mesh, Arc::new(own), save);
        } else {
            keep_renewed(mesh, Arc::new(AskPeers::new(mesh)), save);
        }
    }
    let renewed = async {
        for ((mesh, folder), before) in meshes.iter().zip(&folders).zip(before) {
            while mesh.identity().names().not_after_ms <= before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let stored = TlsStore::new(folder.path()).load_identity().unwrap().unwrap();
            assert_eq!(
                stored.names(),
                mesh.identity().names(),
                "what is in use is on disk"
            );
        }
    };
    tokio::time::timeout(PATIENCE, renewed)
        .await
        .expect("all three are renewed");
    clock.advance_ms(400_000);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for mesh in &meshes {
        assert!(
            mesh.peers().borrow().iter().all(|p| p.state == PeerState::Up),
            "nobody was cut off"
        );
    }
}

/// A certificate begins five minutes before it is made, which is long against a short life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_life_is_renewed_at_its_half_and_not_again_and_again() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let life = Duration::from_secs(60);
    let mesh = bed.mesh_of(bed.identity(NodeId(1), life), "127.0.0.1:0");
    let renewer = SelfIssue {
        ca: Arc::clone(&bed.ca),
        identity: mesh.identity(),
        name: "one".parse().unwrap(),
        ttl: life,
        clock: Arc::clone(&bed.clock),
        entropy: Arc::clone(&bed.entropy),
    };
    let renewals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&renewals);
    let save = move |_: &NodeIdentity| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    clock.advance_ms(40_000);
    keep_renewed(&mesh, Arc::new(renewer), Arc::new(save));
    let renewed = async {
        while renewals.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed)
        .await
        .expect("it is renewed");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(renewals.load(Ordering::SeqCst), 1, "it is young now");
}

/// Everything was switched off for longer than certificates last. The node with the CA's key helps itself and the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_off_for_long_finds_together_again_but_a_removed_node_does_not() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let identities: Vec<_> = (1..=3).map(|n| bed.identity(NodeId(n), HOUR)).collect();
    clock.advance_ms(40 * 24 * 3_600_000);
    let meshes: Vec<_> = identities
        .into_iter()
        .map(|identity| bed.mesh_of(identity, "127.0.0.1:0"))
        .collect();
    let members: Vec<_> = meshes.iter().map(testing::member).collect();
    // Node 3 was removed meanwhile, and does not know it.
    meshes[0].set_members(members[..2].to_vec());
    meshes[1].set_members(members[..2].to_vec());
    meshes[2].set_members(members);
    serve_renewals(&meshes[0], Arc::clone(&bed.ca), HOUR);
    let own = SelfIssue {
        ca: Arc::clone(&bed.ca),
        identity: meshes[0].identity(),
        name: "one".parse().unwrap(),
        ttl: HOUR,
        clock: Arc::clone(&bed.clock),
        entropy: Arc::clone(&bed.entropy),
    };
    keep_renewed(&meshes[0], Arc::new(own), Arc::new(|_: &NodeIdentity| Ok(())));
    for mesh in &meshes[1..] {
        keep_renewed(
            mesh,
            Arc::new(AskPeers::new(mesh)),
            Arc::new(|_: &NodeIdentity| Ok(())),
        );
    }
    testing::connected(&meshes[..2]).await;
    let refused = AskPeers::new(&meshes[2])
        .renew(meshes[2].identity().key().signing_request().unwrap())
        .await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("not a member of this cluster"), "{why}");
    // By the table it is out for good, and hears so: with its certificate nobody talks to it otherwise.
    assert_eq!(*meshes[2].removal().borrow(), None);
    meshes[0].set_removed([NodeId(3)]);
    let refused = AskPeers::new(&meshes[2])
        .renew(meshes[2].identity().key().signing_request().unwrap())
        .await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("removed from this cluster"), "{why}");
    assert_eq!(meshes[2].removal().borrow().unwrap().by, NodeId(1));
    // Nor does anybody get a certificate for another key by an old certificate that they found.
    meshes[0].set_members(meshes.iter().map(testing::member).collect());
    let other_key = NodeKey::generate().unwrap().signing_request().unwrap();
    let why = AskPeers::new(&meshes[2])
        .renew(other_key)
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("another key"), "{why}");
}
