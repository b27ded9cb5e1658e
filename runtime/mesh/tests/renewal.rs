//! Certificates are renewed without a restart, and without a call or the order of messages being lost.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::{Clock, ManualClock};
use jarvis_mesh::api::{Call, Lane, Mesh, PeerState, Service};
use jarvis_mesh::identity::{CertificateNames, NodeIdentity, NodeKey};
use jarvis_mesh::renew::{AskPeers, Renewer, SaveIdentity, SelfIssue, keep_renewed, serve_renewals};
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
    // Past the half of fifteen minutes' life, and a little before the end.
    clock.advance_ms(700_000);
    let folders: Vec<_> = meshes.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    serve_renewals(&meshes[0], Arc::clone(&bed.ca), HOUR);
    for (mesh, folder) in meshes.iter().zip(&folders) {
        let store = TlsStore::new(folder.path());
        let save = Arc::new(move |identity: &NodeIdentity| store.save_identity(identity));
        if mesh.node() == NodeId(1) {
            renews_by_itself(&bed, mesh, &bed.clock, HOUR, save);
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

/// A certificate begins with the CA, which is long before it is issued and no part of its life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_life_is_renewed_at_its_half_and_not_again_and_again() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let life = Duration::from_secs(60);
    let mesh = bed.mesh_of(bed.identity(NodeId(1), life), "127.0.0.1:0");
    let renewals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&renewals);
    let save = move |_: &NodeIdentity| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    clock.advance_ms(40_000);
    renews_by_itself(&bed, &mesh, &bed.clock, life, Arc::new(save));
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
    renews_by_itself(&bed, &meshes[0], &bed.clock, HOUR, saved_nowhere());
    for mesh in &meshes[1..] {
        keep_renewed(mesh, Arc::new(AskPeers::new(mesh)), saved_nowhere());
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

/// A mesh renews its own certificate, with the CA's key and by a clock.
fn renews_by_itself(bed: &TestBed, mesh: &Mesh, clock: &Arc<dyn Clock>, ttl: Duration, save: SaveIdentity) {
    let own = SelfIssue {
        ca: Arc::clone(&bed.ca),
        identity: mesh.identity(),
        name: "one".parse().unwrap(),
        ttl,
        clock: Arc::clone(clock),
        entropy: Arc::clone(&bed.entropy),
    };
    keep_renewed(mesh, Arc::new(own), save);
}

fn saved_nowhere() -> SaveIdentity {
    Arc::new(|_: &NodeIdentity| Ok(()))
}

const DAY_MS: u64 = 24 * 3_600_000;

fn set_back(clock: &ManualClock, ms: u64) {
    clock.advance_ms(0u64.wrapping_sub(ms));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_made_while_the_clock_was_ahead_is_good_when_the_clock_is_right_again() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let meshes = [
        bed.mesh_of(bed.identity(NodeId(1), HOUR), "127.0.0.1:0"),
        bed.mesh_of(bed.identity(NodeId(2), 240 * HOUR), "127.0.0.1:0"),
    ];
    // The clock is two days ahead at boot: the certificate looks old, and is renewed.
    clock.advance_ms(2 * DAY_MS);
    renews_by_itself(&bed, &meshes[0], &bed.clock, HOUR, saved_nowhere());
    let renewed = async {
        while meshes[0].identity().names().not_after_ms < NOW_MS + 2 * DAY_MS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed)
        .await
        .expect("it is renewed");
    // A time service sets it right.
    set_back(&clock, 2 * DAY_MS - 1_000);
    testing::introduce(&meshes);
    testing::connected(&meshes).await;
    clock.advance_ms(2 * DAY_MS);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    testing::connected(&meshes).await;
}

/// Of three nodes that refuse one another, since their certificates begin in two days, the one with the CA's key helps
/// itself and the others.
async fn not_valid_yet(bed: &TestBed, clock: &ManualClock, identities: Vec<NodeIdentity>) {
    set_back(clock, 2 * DAY_MS);
    assert!(identities[0].names().not_before_ms > clock.now_ms() + DAY_MS);
    let meshes: Vec<_> = identities
        .into_iter()
        .map(|identity| bed.mesh_of(identity, "127.0.0.1:0"))
        .collect();
    testing::introduce(&meshes);
    serve_renewals(&meshes[0], Arc::clone(&bed.ca), HOUR);
    renews_by_itself(bed, &meshes[0], &bed.clock, HOUR, saved_nowhere());
    for mesh in &meshes[1..] {
        keep_renewed(mesh, Arc::new(AskPeers::new(mesh)), saved_nowhere());
    }
    testing::connected(&meshes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_earlier_build_that_is_not_valid_yet_is_renewed_at_once() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    clock.advance_ms(2 * DAY_MS);
    let identities = (1..=3).map(|n| bed.earlier_identity(NodeId(n), HOUR));
    let identities = identities.collect();
    not_valid_yet(&bed, &clock, identities).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_ca_made_while_the_clock_was_ahead_is_renewed_at_once() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let identities = (1..=3).map(|n| bed.identity(NodeId(n), HOUR)).collect();
    not_valid_yet(&bed, &clock, identities).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_whose_clock_is_behind_is_passed_over() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    clock.advance_ms(20 * DAY_MS);
    let behind = TestBed {
        ca: Arc::clone(&bed.ca),
        wires: bed.wires.clone(),
        ..TestBed::with_clock(Arc::new(ManualClock::new(NOW_MS)))
    };
    let meshes = [
        behind.mesh(NodeId(1)),
        bed.mesh(NodeId(2)),
        bed.mesh_of(bed.identity(NodeId(3), 15 * 24 * HOUR), "127.0.0.1:0"),
    ];
    testing::introduce(&meshes);
    testing::connected(&meshes).await;
    for mesh in &meshes[..2] {
        serve_renewals(mesh, Arc::clone(&bed.ca), 30 * 24 * HOUR);
    }
    let csr = meshes[2].identity().key().signing_request().unwrap();
    let cert = AskPeers::new(&meshes[2]).renew(csr).await.unwrap();
    let names = CertificateNames::parse(&cert).unwrap();
    assert_eq!(names.not_after_ms, NOW_MS + 50 * DAY_MS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_behind_is_not_asked_again_and_again() {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let mesh = bed.mesh_of(bed.identity(NodeId(1), HOUR), "127.0.0.1:0");
    let behind: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW_MS + 1_800_000));
    clock.advance_ms(3_700_000);
    let renewals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&renewals);
    let save = move |_: &NodeIdentity| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    // Good for some minutes, but old by this node's clock from the first.
    renews_by_itself(&bed, &mesh, &behind, HOUR, Arc::new(save));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let renewals = renewals.load(Ordering::SeqCst);
    assert!(
        (1..=3).contains(&renewals),
        "{renewals} in one and a half seconds"
    );
}
