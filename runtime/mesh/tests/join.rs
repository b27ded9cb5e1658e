//! Asking to join: the answer, and each way in which there is none.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jarvis_host::{Clock, ManualClock, SystemClock};
use jarvis_mesh::api::{JoinHandler, Mesh};
use jarvis_mesh::identity::DEFAULT_NODE_TTL;
use jarvis_mesh::join::{
    JoinDeps, JoinTransportError, MAX_JOIN_REQUEST_BYTES, join_request, join_request_with,
};
use jarvis_mesh::testing::{TEST_CLUSTER, TestBed};
use jarvis_types::{ClusterId, NodeId};

const PATIENCE: Duration = Duration::from_secs(3);

/// Answers with the request and remembers it.
#[derive(Default)]
struct Echo(Mutex<Vec<Bytes>>);

impl JoinHandler for Echo {
    fn join(&self, from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        assert!(from.ip().is_loopback());
        self.0.lock().unwrap().push(request.clone());
        async move { request }.boxed()
    }
}

fn serving(bed: &TestBed) -> (Mesh, Arc<Echo>, String) {
    let (mesh, echo) = (bed.mesh(NodeId(1)), Arc::new(Echo::default()));
    mesh.serve_join(Arc::clone(&echo) as Arc<dyn JoinHandler>);
    let address = mesh.local_addr().unwrap().to_string();
    (mesh, echo, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_with_the_right_hash_is_answered_by_whichever_address_works() {
    let bed = TestBed::default();
    let (_mesh, echo, address) = serving(&bed);
    let request = Bytes::from(vec![3; MAX_JOIN_REQUEST_BYTES]);
    let addresses = ["127.0.0.1:9".to_owned(), "no such name:1".to_owned(), address];
    let answer = join_request(
        &addresses,
        bed.ca.fingerprint(),
        TEST_CLUSTER,
        request.clone(),
        PATIENCE,
    )
    .await
    .unwrap();
    assert!(answer == request);
    assert_eq!(echo.0.lock().unwrap().len(), 1);
    let larger = Bytes::from(vec![3; MAX_JOIN_REQUEST_BYTES + 1]);
    let refused = join_request(&addresses, bed.ca.fingerprint(), TEST_CLUSTER, larger, PATIENCE).await;
    assert!(matches!(refused, Err(JoinTransportError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_sends_nothing_to_another_cluster() {
    let bed = TestBed::default();
    let (_mesh, echo, address) = serving(&bed);
    let request = Bytes::from_static(b"secret");
    let other_hash = TestBed::default().ca.fingerprint();
    let addresses = [address.clone()];
    let refused = join_request(&addresses, other_hash, TEST_CLUSTER, request.clone(), PATIENCE).await;
    assert_eq!(
        refused,
        Err(JoinTransportError::WrongCluster {
            address: address.clone()
        })
    );
    let other_id = ClusterId(TEST_CLUSTER.0 + 1);
    let refused = join_request(&addresses, bed.ca.fingerprint(), other_id, request, PATIENCE).await;
    assert_eq!(refused, Err(JoinTransportError::WrongCluster { address }));
    assert!(echo.0.lock().unwrap().is_empty(), "the secret never left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ_are_named_with_by_how_much() {
    let bed = TestBed::default();
    let (_mesh, echo, address) = serving(&bed);
    let day = Duration::from_secs(24 * 3_600);
    let now_ms = SystemClock.now_ms();
    for (clock_ms, behind) in [
        (now_ms - 2 * day.as_millis() as u64, true),
        (now_ms + (DEFAULT_NODE_TTL + 2 * day).as_millis() as u64, false),
    ] {
        let deps = JoinDeps {
            clock: Arc::new(ManualClock::new(clock_ms)),
            ..JoinDeps::system().unwrap()
        };
        let request = Bytes::from_static(b"secret");
        let (addresses, hash) = ([address.clone()], bed.ca.fingerprint());
        let refused = join_request_with(deps, &addresses, hash, TEST_CLUSTER, request, PATIENCE)
            .await
            .unwrap_err();
        let JoinTransportError::ClocksDiffer {
            behind: found,
            at_least,
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!(found, behind);
        assert!(at_least > day && at_least < 3 * day, "{at_least:?}");
    }
    assert!(echo.0.lock().unwrap().is_empty(), "the secret never left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_addresses_are_all_named() {
    let hash = TestBed::default().ca.fingerprint();
    let addresses = ["127.0.0.1:9".to_owned(), "nonsense".to_owned()];
    let began = tokio::time::Instant::now();
    let error = join_request(&addresses, hash, TEST_CLUSTER, Bytes::new(), PATIENCE)
        .await
        .unwrap_err();
    assert!(began.elapsed() < PATIENCE + Duration::from_secs(1));
    let JoinTransportError::Unreachable { mut tried } = error.clone() else {
        panic!("{error}")
    };
    tried.sort();
    assert_eq!(
        tried.iter().map(|(address, _)| address).collect::<Vec<_>>(),
        ["127.0.0.1:9", "nonsense"]
    );
    assert!(
        error.to_string().contains("nonsense (does not resolve"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_takes_only_so_many_joins_at_a_time() {
    struct Slow(tokio::sync::watch::Receiver<bool>);
    impl JoinHandler for Slow {
        fn join(&self, _: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
            let mut released = self.0.clone();
            async move {
                let _ended = released.wait_for(|released| *released).await;
                request
            }
            .boxed()
        }
    }
    let bed = TestBed::default();
    let mesh = bed.mesh(NodeId(1));
    let (release, released) = tokio::sync::watch::channel(false);
    mesh.serve_join(Arc::new(Slow(released)));
    let (addresses, hash) = ([mesh.local_addr().unwrap().to_string()], bed.ca.fingerprint());
    let joins = (0..20).map(|_| join_request(&addresses, hash, TEST_CLUSTER, Bytes::new(), PATIENCE));
    let mut joins: futures_util::stream::FuturesUnordered<_> = joins.collect();
    use futures_util::StreamExt;
    for _ in 0..4 {
        let busy = joins.next().await.unwrap();
        assert!(matches!(busy, Err(JoinTransportError::Busy { .. })), "{busy:?}");
    }
    release.send(true).unwrap();
    while let Some(answer) = joins.next().await {
        assert_eq!(answer, Ok(Bytes::new()));
    }
}
