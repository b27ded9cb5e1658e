//! Calls, casts and raw streams between meshes of one process.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::StopReport;
use jarvis_mesh::api::{Call, CallError, Lane, LaneStream, PeerState, Service};
use jarvis_mesh::testing::{self, TestBed};
use jarvis_mesh::transport::MeshTimers;
use jarvis_types::NodeId;
use jarvis_types::limits::MAX_MESH_FRAME_BYTES;
use tokio::sync::mpsc;

const ECHO: Service = Service(0x0f01);
const COLLECT: Service = Service(0x0f02);
const NEVER: Service = Service(0x0f03);
const PATIENCE: Duration = Duration::from_secs(10);

fn echo(call: Call) {
    call.answer.send(call.body);
}

fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_le_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_and_says_who_called() {
    let meshes = testing::cluster(3).await;
    let callers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&callers);
    meshes[1].serve(
        ECHO,
        Arc::new(move |call: Call| {
            seen.lock().unwrap().push(call.from);
            echo(call);
        }),
    );
    for caller in [&meshes[0], &meshes[2]] {
        for lane in [Lane::Raft, Lane::Actors, Lane::Control, Lane::Snapshot] {
            let answer = caller
                .call(NodeId(2), lane, ECHO, 7, Bytes::from_static(b"salut"), PATIENCE)
                .await;
            assert_eq!(answer, Ok(Bytes::from_static(b"salut")), "{lane:?}");
        }
    }
    let callers = callers.lock().unwrap().clone();
    assert_eq!(callers, [[NodeId(1); 4], [NodeId(3); 4]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_says_so() {
    let meshes = testing::cluster(2).await;
    let call = |service| {
        meshes[0].call(
            NodeId(2),
            Lane::Actors,
            service,
            0,
            Bytes::new(),
            Duration::from_millis(50),
        )
    };
    assert!(
        matches!(call(ECHO).await, Err(CallError::Refused { node: NodeId(2), message }) if message.contains("0x0f01"))
    );
    meshes[1].serve(ECHO, Arc::new(|call: Call| call.answer.refuse("not today")));
    assert_eq!(
        call(ECHO).await,
        Err(CallError::Refused {
            node: NodeId(2),
            message: "not today".to_owned()
        })
    );
    meshes[1].serve(ECHO, Arc::new(drop::<Call>));
    assert!(matches!(call(ECHO).await, Err(CallError::Refused { .. })));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    meshes[1].serve(
        NEVER,
        Arc::new(move |call: Call| keeper.lock().unwrap().push(call)),
    );
    assert_eq!(
        call(NEVER).await,
        Err(CallError::Timeout {
            node: NodeId(2),
            after: Duration::from_millis(50)
        })
    );
    // An answer that comes too late harms nothing.
    kept.lock().unwrap().drain(..).for_each(echo);
    let elsewhere = meshes[0]
        .call(NodeId(9), Lane::Actors, ECHO, 0, Bytes::new(), PATIENCE)
        .await;
    assert_eq!(elsewhere, Err(CallError::NotConnected(NodeId(9))));
    let itself = meshes[0]
        .call(NodeId(1), Lane::Actors, ECHO, 0, Bytes::new(), PATIENCE)
        .await;
    assert_eq!(itself, Err(CallError::NotConnected(NodeId(1))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_order_arrive_in_order_and_calls_among_casts() {
    let meshes = testing::cluster(2).await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    meshes[1].serve(
        COLLECT,
        Arc::new(move |call: Call| {
            sender
                .send((
                    call.body[0],
                    u64::from_le_bytes(call.body[1..9].try_into().unwrap()),
                ))
                .unwrap();
            call.answer.send(Bytes::new());
        }),
    );
    const EACH: u64 = 2_000;
    for n in 0..EACH {
        for order in 0..4u8 {
            let mut body = vec![order];
            body.extend_from_slice(&n.to_le_bytes());
            // Now and then a large one, which takes another way through the queue.
            if n % 500 == 0 {
                body.resize(100_000, 0);
            }
            while let Err(CallError::Overloaded(_)) = meshes[0].cast(
                NodeId(2),
                Lane::Actors,
                COLLECT,
                u64::from(order),
                body.clone().into(),
            ) {
                tokio::task::yield_now().await;
            }
        }
    }
    let mut last = vec![0u8];
    last.extend_from_slice(&EACH.to_le_bytes());
    meshes[0]
        .call(NodeId(2), Lane::Actors, COLLECT, 0, last.into(), PATIENCE)
        .await
        .unwrap();
    let mut next = [0u64; 4];
    while next != [EACH + 1, EACH, EACH, EACH] {
        let (order, n) = tokio::time::timeout(PATIENCE, receiver.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(n, next[usize::from(order)], "order {order}");
        next[usize::from(order)] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_any_order() {
    let meshes = testing::cluster(2).await;
    let held = Arc::new(Mutex::new(Vec::new()));
    meshes[1].serve(
        ECHO,
        Arc::new(move |call: Call| {
            let mut held = held.lock().unwrap();
            held.push(call);
            if held.len() == 100 {
                held.drain(..).rev().for_each(echo);
            }
        }),
    );
    let calls = (0..100).map(|n| {
        let mesh = meshes[0].clone();
        async move {
            mesh.call(NodeId(2), Lane::Raft, ECHO, n % 3, number(n), PATIENCE)
                .await
        }
    });
    for (n, answer) in (0u64..).zip(futures_util::future::join_all(calls).await) {
        assert_eq!(answer, Ok(number(n)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_passes_and_a_larger_one_does_not() {
    let meshes = testing::cluster(2).await;
    meshes[1].serve(ECHO, Arc::new(echo));
    let largest = Bytes::from((0..MAX_MESH_FRAME_BYTES).map(|n| n as u8).collect::<Vec<_>>());
    let answer = meshes[0]
        .call(NodeId(2), Lane::Raft, ECHO, 0, largest.clone(), PATIENCE)
        .await
        .unwrap();
    assert!(answer == largest);
    let larger = Bytes::from(vec![0; MAX_MESH_FRAME_BYTES + 1]);
    let too_large = CallError::TooLarge {
        len: MAX_MESH_FRAME_BYTES + 1,
        max: MAX_MESH_FRAME_BYTES,
    };
    assert_eq!(
        meshes[0].cast(NodeId(2), Lane::Raft, ECHO, 0, larger.clone()),
        Err(too_large.clone())
    );
    assert_eq!(
        meshes[0]
            .call(NodeId(2), Lane::Raft, ECHO, 0, larger.clone(), PATIENCE)
            .await,
        Err(too_large)
    );
    // An answer that is too large is refused where it is made.
    meshes[1].serve(ECHO, Arc::new(move |call: Call| call.answer.send(larger.clone())));
    let refused = meshes[0]
        .call(NodeId(2), Lane::Raft, ECHO, 0, Bytes::new(), PATIENCE)
        .await;
    assert!(matches!(refused, Err(CallError::Refused { message, .. }) if message.contains("limit")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told() {
    let bed = TestBed {
        timers: MeshTimers::slow_disk(),
        ..TestBed::default()
    };
    let meshes = bed.cluster(2).await;
    bed.wires.cut(&meshes[0], &meshes[1]);
    let body = Bytes::from(vec![0; 1024 * 1024]);
    let mut queued = 0;
    let error = loop {
        match meshes[0].cast(NodeId(2), Lane::Snapshot, NEVER, 0, body.clone()) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error, CallError::Overloaded(NodeId(2)));
    assert!(queued <= 100, "{queued} MiB wait for a peer that is not there");
    // Another lane has room of its own.
    assert_eq!(meshes[0].cast(NodeId(2), Lane::Raft, NEVER, 0, body), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_stands_still_does_not_hold_up_the_others() {
    let meshes = testing::cluster(2).await;
    meshes[1].serve(ECHO, Arc::new(echo));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    // A receiver that reads nothing.
    meshes[1].serve_streams(
        COLLECT,
        Arc::new(move |stream: LaneStream| keeper.lock().unwrap().push(stream)),
    );
    let mut stream = meshes[0].open(NodeId(2), Lane::Snapshot, COLLECT).await.unwrap();
    let piece = vec![0; 1024 * 1024];
    let mut written = 0;
    while tokio::time::timeout(Duration::from_millis(300), stream.send.write_all(&piece))
        .await
        .is_ok()
    {
        written += 1;
        assert!(written < 100, "nothing holds back the sender");
    }
    for lane in [Lane::Raft, Lane::Actors, Lane::Control] {
        let answer = meshes[0]
            .call(NodeId(2), lane, ECHO, 0, number(1), PATIENCE)
            .await;
        assert_eq!(answer, Ok(number(1)), "{lane:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_streams_carry_what_is_too_long_for_a_message() {
    let bed = TestBed::default();
    let meshes = bed.cluster(2).await;
    meshes[1].serve_streams(
        COLLECT,
        Arc::new(|mut stream: LaneStream| {
            assert_eq!(stream.peer, NodeId(1));
            #[allow(clippy::disallowed_methods, reason = "a test's own task")]
            tokio::spawn(async move {
                let all = stream.recv.read_to_end(64 * 1024 * 1024).await.unwrap();
                stream
                    .send
                    .write_all(&(all.len() as u64).to_le_bytes())
                    .await
                    .unwrap();
                stream.send.finish().unwrap();
            });
        }),
    );
    let mut stream = meshes[0].open(NodeId(2), Lane::Snapshot, COLLECT).await.unwrap();
    let piece = vec![7; 1024 * 1024];
    for _ in 0..20 {
        stream.send.write_all(&piece).await.unwrap();
    }
    stream.send.finish().unwrap();
    assert_eq!(
        stream.recv.read_to_end(8).await.unwrap(),
        (20u64 * 1024 * 1024).to_le_bytes()
    );

    let mut unknown = meshes[0].open(NodeId(2), Lane::Snapshot, NEVER).await.unwrap();
    assert!(
        unknown.recv.read_to_end(8).await.is_err(),
        "nobody takes that service"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_end_with_their_connection() {
    let bed = TestBed::default();
    let meshes = bed.cluster(2).await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (sender, mut arrived) = mpsc::unbounded_channel();
    meshes[1].serve(
        NEVER,
        Arc::new(move |call: Call| {
            kept.lock().unwrap().push(call);
            sender.send(()).unwrap();
        }),
    );
    let caller = meshes[0].clone();
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    let call = tokio::spawn(async move {
        caller
            .call(
                NodeId(2),
                Lane::Actors,
                NEVER,
                0,
                Bytes::new(),
                Duration::from_secs(60),
            )
            .await
    });
    arrived.recv().await.unwrap();
    bed.wires.cut(&meshes[0], &meshes[1]);
    testing::becomes(&meshes[0], NodeId(2), PeerState::Down).await;
    assert_eq!(call.await.unwrap(), Err(CallError::ConnectionLost(NodeId(2))));
    let cast = meshes[0].cast(NodeId(2), Lane::Actors, NEVER, 0, Bytes::new());
    assert_eq!(cast, Err(CallError::NotConnected(NodeId(2))));

    bed.wires.mend_all();
    testing::connected(&meshes).await;
    meshes[1].serve(ECHO, Arc::new(echo));
    let answer = meshes[0]
        .call(NodeId(2), Lane::Actors, ECHO, 0, number(3), PATIENCE)
        .await;
    assert_eq!(answer, Ok(number(3)));
}

/// The node with the higher id is back where nobody looks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_at_another_address_is_found() {
    let bed = TestBed::default();
    let meshes = bed.cluster(3).await;
    let listed: Vec<_> = meshes.iter().map(testing::member).collect();
    // Bound while the old one is there, so that it is another address.
    let moved = bed.mesh_of(meshes[2].identity(), "127.0.0.1:0");
    assert_ne!(testing::member(&moved).address, listed[2].address);
    meshes[2].stop().await;
    for mesh in &meshes[..2] {
        testing::becomes(mesh, NodeId(3), PeerState::Down).await;
    }
    for mesh in [&meshes[0], &meshes[1], &moved] {
        mesh.serve(ECHO, Arc::new(echo));
    }
    // Nobody is told; it knows the others.
    moved.set_members(listed);
    let now = [meshes[0].clone(), meshes[1].clone(), moved];
    testing::connected(&now).await;
    for from in &now {
        for to in now.iter().filter(|to| to.node() != from.node()) {
            let answer = from
                .call(to.node(), Lane::Actors, ECHO, 0, number(to.node().0), PATIENCE)
                .await;
            assert_eq!(answer, Ok(number(to.node().0)));
        }
    }
    // And again, from a connection that was found by knocking: it is dialled where it was.
    bed.wires.isolate(&now[2], &now[..2]);
    testing::becomes(&now[0], NodeId(3), PeerState::Down).await;
    testing::becomes(&now[2], NodeId(1), PeerState::Down).await;
    bed.wires.mend_all();
    testing::connected(&now).await;
}

/// One of two nodes dies without a farewell and is back at once, under a profile that misses a silent peer only after
/// three seconds.
async fn restarted(which: usize) {
    let bed = TestBed {
        timers: MeshTimers::slow_disk(),
        ..TestBed::default()
    };
    let meshes = bed.cluster(2).await;
    let (stays, dies) = (&meshes[1 - which], &meshes[which]);
    let (address, identity) = (dies.local_addr().unwrap().to_string(), dies.identity());
    bed.wires.cut(stays, dies);
    dies.stop().await;
    let began = tokio::time::Instant::now();
    bed.wires.mend_all();
    let back = bed.mesh_of(identity, &address);
    back.serve(ECHO, Arc::new(echo));
    back.set_members(meshes.iter().map(testing::member).collect());
    loop {
        let call = stays.call(
            dies.node(),
            Lane::Actors,
            ECHO,
            0,
            number(1),
            Duration::from_millis(200),
        );
        match call.await {
            Ok(answer) => break assert_eq!(answer, number(1)),
            Err(CallError::TooLarge { .. } | CallError::Refused { .. }) => panic!("not what was sent"),
            Err(_) => assert!(began.elapsed() < PATIENCE),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        began.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        began.elapsed()
    );
    testing::becomes(&back, stays.node(), PeerState::Up).await;
    // With a farewell it is known at once.
    let began = tokio::time::Instant::now();
    assert_eq!(back.stop().await, StopReport::Clean);
    testing::becomes(stays, dies.node(), PeerState::Down).await;
    assert!(
        began.elapsed() < Duration::from_millis(1_000),
        "{:?}",
        began.elapsed()
    );
    let call = back
        .call(stays.node(), Lane::Actors, ECHO, 0, number(1), PATIENCE)
        .await;
    assert_eq!(call, Err(CallError::Stopping));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_that_restarts_is_met_again_long_before_the_idle_timeout() {
    restarted(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialed_node_that_restarts_is_met_again_long_before_the_idle_timeout() {
    restarted(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_process_is_missed_before_the_idle_timeout_but_a_silent_machine_is_not() {
    let bed = TestBed {
        timers: MeshTimers::slow_disk(),
        ..TestBed::default()
    };
    let meshes = bed.cluster(3).await;
    meshes[0].probe_silent_peers();
    // Node 2's packets are lost, while its port is open as ever; node 3 is gone, its port with it.
    bed.wires.cut(&meshes[0], &meshes[1]);
    bed.wires.cut(&meshes[0], &meshes[2]);
    let began = tokio::time::Instant::now();
    meshes[2].stop().await;
    testing::becomes(&meshes[0], NodeId(3), PeerState::Down).await;
    assert!(
        began.elapsed() < Duration::from_millis(2_000),
        "{:?}",
        began.elapsed()
    );
    let silent = meshes[0]
        .peers()
        .borrow()
        .iter()
        .find(|p| p.member.node == NodeId(2))
        .unwrap()
        .state;
    assert_eq!(silent, PeerState::Up, "silence alone takes three seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips_are_fresh_without_waking_those_who_watch_for_changes() {
    let meshes = testing::cluster(2).await;
    let mut peers = meshes[0].peers();
    let before = Arc::clone(&peers.borrow_and_update());
    let refreshed = async {
        // A new list every second, though nobody is told.
        while Arc::ptr_eq(&peers.borrow(), &before) {
            assert!(!peers.has_changed().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refreshed).await.unwrap();
    let peer = peers.borrow()[0].clone();
    assert!(
        peer.rtt.is_some_and(|rtt| rtt < Duration::from_secs(1)),
        "{peer:?}"
    );
    assert_eq!(
        (peer.state, peer.changed_at),
        (PeerState::Up, before[0].changed_at)
    );
    meshes[1].stop().await;
    tokio::time::timeout(PATIENCE, peers.changed())
        .await
        .unwrap()
        .unwrap();
    let peer = peers.borrow()[0].clone();
    assert_eq!((peer.state, peer.rtt), (PeerState::Down, None));
    assert!(peer.changed_at > before[0].changed_at);
}

/// A node that stops ends its streams and then its connections: no peer takes that for another version of the protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_stops_in_order_breaks_no_protocol() {
    let seen = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .expect("no other test of this file has one");
    // Whether the end of a stream arrives before that of its connection is a matter of luck.
    for _ in 0..8 {
        let bed = TestBed::default();
        let meshes = bed.cluster(3).await;
        testing::connected(&meshes).await;
        meshes[2].stop().await;
        for mesh in &meshes[..2] {
            testing::becomes(mesh, NodeId(3), PeerState::Down).await;
        }
    }
    let text = seen.render();
    assert!(text.contains("jarvis_mesh_"), "metrics are seen: {text}");
    assert!(!text.contains("protocol_error"), "{text}");
}
