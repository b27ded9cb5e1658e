//! Tethers: a crash is noticed by their end, and nothing else is taken for one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jarvis_host::Tasks;
use jarvis_mesh::api::{Lost, Mesh, PeerState};
use jarvis_mesh::testing::{TestBed, becomes, connected, introduce, serve_tethers};
use jarvis_mesh::tether::Tethers;
use jarvis_mesh::transport::MeshTimers;
use jarvis_types::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long tests wait for something that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long that no test sees it pass.
const NEVER: Duration = Duration::from_secs(600);

/// Two nodes, of which neither misses the other by its silence.
struct Pair {
    bed: TestBed,
    meshes: [Mesh; 2],
    tethers: [Tethers; 2],
    /// Between the first node and the second one's door.
    middle: MiddleMan,
}

/// Passes TCP connections on, until it cuts them.
struct MiddleMan {
    port: u16,
    cut: watch::Sender<CancellationToken>,
    cut_far: watch::Sender<CancellationToken>,
    tasks: Tasks,
}

impl Drop for MiddleMan {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl MiddleMan {
    async fn start(to: SocketAddr) -> Self {
        let (listener, port) = listener().await;
        let tasks = Tasks::new();
        let [cut, cut_far] = [(); 2].map(|()| watch::Sender::new(CancellationToken::new()));
        let (inner, cuts, far_cuts) = (tasks.clone(), cut.subscribe(), cut_far.subscribe());
        tasks.spawn_until_cancelled(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let Ok(mut there) = TcpStream::connect(to).await else {
                    continue;
                };
                let (cut, cut_far) = (cuts.borrow().clone(), far_cuts.borrow().clone());
                inner.spawn_until_cancelled(async move {
                    tokio::select! {
                        () = cut.cancelled() => return,
                        () = cut_far.cancelled() => drop(there),
                        _ = copy_bidirectional(&mut here, &mut there) => return,
                    }
                    // The near side hears nothing of it.
                    cut.cancelled().await;
                });
            }
        });
        Self {
            port,
            cut,
            cut_far,
            tasks,
        }
    }

    /// Ends what goes through it, so that only the node behind it notices.
    fn cut_far(&self) {
        self.cut_far.send_replace(CancellationToken::new()).cancel();
    }

    /// Ends what goes through it; new connections go through again.
    fn cut(&self) {
        self.cut.send_replace(CancellationToken::new()).cancel();
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

impl Pair {
    async fn start(probe_patience: Duration) -> Self {
        let bed = TestBed {
            timers: MeshTimers {
                keep_alive: Duration::from_millis(200),
                idle_timeout: NEVER,
                probe_patience,
                ..MeshTimers::lan()
            },
            ..TestBed::default()
        };
        let meshes = [1, 2].map(|node| bed.mesh(NodeId(node)));
        let (door, port) = listener().await;
        let middle = MiddleMan::start(([127, 0, 0, 1], port).into()).await;
        // Node 1 makes the tether, so nobody comes to its own door.
        let tethers = [meshes[0].keep_tethers(1), meshes[1].keep_tethers(middle.port)];
        serve_tethers(&meshes[1], &tethers[1], door);
        introduce(&meshes);
        connected(&meshes).await;
        let pair = Self {
            bed,
            meshes,
            tethers,
            middle,
        };
        pair.tethered().await;
        pair
    }

    /// Waits until both hold one.
    async fn tethered(&self) {
        for (tethers, peer) in self.tethers.iter().zip([NodeId(2), NodeId(1)]) {
            held(tethers, |held| *held == BTreeMap::from([(peer, 1)])).await;
        }
    }

    fn lost(&self, at: usize) -> Option<Lost> {
        self.meshes[at].peers().borrow()[0].lost
    }
}

async fn held(tethers: &Tethers, wanted: impl Fn(&BTreeMap<NodeId, u32>) -> bool) {
    let mut now = tethers.held();
    let seen = tokio::time::timeout(PATIENCE, now.wait_for(wanted)).await;
    assert!(matches!(seen, Ok(Ok(_))), "held: {:?}", tethers.held().borrow());
}

#[tokio::test]
async fn a_tether_that_breaks_before_a_silent_peer_is_a_crash() {
    let pair = Pair::start(Duration::from_millis(20)).await;
    pair.bed.wires.cut(&pair.meshes[0], &pair.meshes[1]);
    pair.middle.cut();
    for (mesh, peer) in pair.meshes.iter().zip([2, 1]) {
        becomes(mesh, NodeId(peer), PeerState::Down).await;
    }
    assert_eq!(
        (pair.lost(0), pair.lost(1)),
        (Some(Lost::Crashed), Some(Lost::Crashed))
    );
    held(&pair.tethers[0], BTreeMap::is_empty).await;
    pair.bed.wires.mend_all();
    connected(&pair.meshes).await;
    assert_eq!((pair.lost(0), pair.lost(1)), (None, None));
    pair.tethered().await;
}

#[tokio::test]
async fn a_refused_port_is_a_crash_without_any_waiting() {
    let pair = Pair::start(NEVER).await;
    // Its farewell is lost, as a crashed process says none; then its kernel closes what it had.
    pair.bed.wires.cut(&pair.meshes[0], &pair.meshes[1]);
    pair.meshes[1].stop().await;
    becomes(&pair.meshes[0], NodeId(2), PeerState::Down).await;
    assert_eq!(pair.lost(0), Some(Lost::Crashed));
}

#[tokio::test]
async fn a_tether_that_is_cut_between_living_nodes_is_made_anew() {
    let pair = Pair::start(PATIENCE).await;
    let since: Vec<_> = pair
        .meshes
        .iter()
        .map(|mesh| mesh.peers().borrow()[0].changed_at)
        .collect();
    for _ in 0..3 {
        let mut now = [pair.tethers[0].held(), pair.tethers[1].held()];
        now.iter_mut().for_each(watch::Receiver::mark_unchanged);
        pair.middle.cut();
        for now in &mut now {
            let changed = tokio::time::timeout(PATIENCE, now.changed()).await;
            assert!(matches!(changed, Ok(Ok(()))));
        }
        pair.tethered().await;
    }
    for (mesh, since) in pair.meshes.iter().zip(since) {
        let peer = mesh.peers().borrow()[0].clone();
        assert_eq!(
            (peer.state, peer.lost, peer.changed_at),
            (PeerState::Up, None, since)
        );
    }
}

#[tokio::test]
async fn who_stops_in_order_has_not_crashed() {
    let pair = Pair::start(Duration::from_millis(20)).await;
    pair.meshes[0].stop().await;
    becomes(&pair.meshes[1], NodeId(1), PeerState::Down).await;
    assert_eq!(pair.lost(1), Some(Lost::Closed));
}

#[tokio::test]
async fn a_machine_that_says_nothing_is_silent_and_not_crashed() {
    let bed = TestBed::default();
    let meshes = bed.cluster(2).await;
    bed.wires.cut(&meshes[0], &meshes[1]);
    becomes(&meshes[0], NodeId(2), PeerState::Down).await;
    assert_eq!(meshes[0].peers().borrow()[0].lost, Some(Lost::Silent));
}

#[tokio::test]
async fn a_stall_of_this_process_is_no_silence_of_its_peers() {
    let idle = Duration::from_millis(1_500);
    let bed = TestBed {
        timers: MeshTimers {
            idle_timeout: idle,
            ..MeshTimers::lan()
        },
        ..TestBed::default()
    };
    let meshes = bed.cluster(2).await;
    let since = meshes[0].peers().borrow()[0].changed_at;
    // The one thread of this runtime stands still for longer than peers may be silent.
    let until = tokio::time::Instant::now() + idle + idle / 3;
    while tokio::time::Instant::now() < until {
        std::thread::park_timeout(until - tokio::time::Instant::now());
    }
    // Everything that waited gets its turn, and several looks.
    tokio::time::sleep(idle / 3).await;
    let peer = meshes[0].peers().borrow()[0].clone();
    assert_eq!(
        (peer.state, peer.lost, peer.changed_at),
        (PeerState::Up, None, since)
    );
}

#[tokio::test]
async fn a_secret_is_good_once_and_only_as_it_was_told() {
    let pair = Pair::start(PATIENCE).await;
    // Watches what goes by, which no stranger on the network could do before the first use.
    let (spy, port) = listener().await;
    let watching = pair.meshes[1].keep_tethers(port);
    pair.middle.cut();
    let (mut stream, _) = tokio::time::timeout(PATIENCE, spy.accept())
        .await
        .expect("it comes")
        .expect("it is there");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head comes"));
    }
    let head = String::from_utf8(head).expect("is text");
    assert!(
        head.starts_with("GET /tether HTTP/1.1\r\n") && head.contains("\r\nUpgrade: jarvis-tether\r\n"),
        "{head}"
    );
    let secret = head
        .lines()
        .find_map(|line| line.strip_prefix("Authorization: Bearer "))
        .expect("a secret");
    let flip = |c: char| if c == '0' { '1' } else { '0' };
    let wrong: String = secret
        .chars()
        .enumerate()
        .map(|(at, c)| if at == 5 { flip(c) } else { c })
        .collect();
    for wrong in [wrong.as_str(), "", "00", &secret[1..]] {
        assert!(watching.claim(wrong).is_none(), "{wrong:?}");
    }
    assert!(
        pair.tethers[1].claim(secret).is_none(),
        "it was told for another door"
    );
    let claim = watching.claim(secret).expect("the right one is good");
    assert_eq!(claim.peer(), NodeId(1));
    assert!(watching.claim(secret).is_none(), "but once");
    stream
        .write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        .await
        .expect("writes");
    // Refused, it asks for another.
    let again = tokio::time::timeout(PATIENCE, spy.accept()).await;
    assert!(matches!(again, Ok(Ok(_))));
}

#[tokio::test]
async fn a_side_that_alone_lost_its_tether_asks_for_another() {
    let pair = Pair::start(PATIENCE).await;
    let mut now = pair.tethers[0].held();
    now.mark_unchanged();
    pair.middle.cut_far();
    let changed = tokio::time::timeout(PATIENCE, now.changed()).await;
    assert!(matches!(changed, Ok(Ok(()))), "the first node makes a new one");
    pair.tethered().await;
}
