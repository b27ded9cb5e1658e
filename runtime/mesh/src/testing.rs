//! Meshes for tests: several in one process, on loopback, with one CA, and wires that can be cut.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use jarvis_host::{Clock, Entropy, SystemClock, SystemEntropy, Tasks};
use jarvis_types::{ClusterId, NodeId, NodeName};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::api::{Member, Mesh, PeerState};
use crate::identity::{ClusterCa, DEFAULT_NODE_TTL, NodeIdentity, NodeKey};
use crate::mesh::{MeshConfig, MeshDeps};
use crate::tether::Tethers;
use crate::transport::{MeshTimers, bind_udp};

/// How long tests wait for something that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cluster of all test meshes.
pub const TEST_CLUSTER: ClusterId = ClusterId(0x0193_0000_0000_0000_0000_0000_0000_0001);

/// The wires between test meshes. Clones are the same wires.
#[derive(Debug, Clone, Default)]
pub struct Wires(Arc<RwLock<HashSet<(SocketAddr, SocketAddr)>>>);

impl Wires {
    /// Loses every datagram between the two, silently, in both directions.
    pub fn cut(&self, a: &Mesh, b: &Mesh) {
        let mut cut = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cut.extend([(address(a), address(b)), (address(b), address(a))]);
    }

    /// Loses every datagram from `from` to `to`, silently; those the other way arrive.
    pub fn cut_one_way(&self, from: &Mesh, to: &Mesh) {
        let mut cut = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cut.insert((address(from), address(to)));
    }

    /// Loses every datagram between `a` and all of `others`.
    pub fn isolate<'a>(&self, a: &Mesh, others: impl IntoIterator<Item = &'a Mesh>) {
        others
            .into_iter()
            .filter(|b| b.node() != a.node())
            .for_each(|b| self.cut(a, b));
    }

    /// Mends what was cut between the two.
    pub fn mend(&self, a: &Mesh, b: &Mesh) {
        let mut cut = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cut.remove(&(address(a), address(b)));
        cut.remove(&(address(b), address(a)));
    }

    /// Mends everything.
    pub fn mend_all(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn is_cut(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&(from, to))
    }
}

fn address(mesh: &Mesh) -> SocketAddr {
    mesh.local_addr().expect("a bound socket has an address")
}

/// A socket on such wires.
struct Wired {
    socket: Arc<dyn AsyncUdpSocket>,
    own: SocketAddr,
    wires: Wires,
}

impl fmt::Debug for Wired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wired({})", self.own)
    }
}

impl AsyncUdpSocket for Wired {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.wires.is_cut(self.own, transmit.destination) {
            Ok(())
        } else {
            self.socket.try_send(transmit)
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// A cluster's CA and wires, from which meshes are made one by one.
pub struct TestBed {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The CA.
    pub ca: Arc<ClusterCa>,
    /// The wires.
    pub wires: Wires,
    /// Wall time of all nodes.
    pub clock: Arc<dyn Clock>,
    /// Randomness of all nodes.
    pub entropy: Arc<dyn Entropy>,
    /// Timers of all nodes.
    pub timers: MeshTimers,
}

impl Default for TestBed {
    fn default() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }
}

impl TestBed {
    /// One whose nodes' wall time is `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::of(TEST_CLUSTER, clock)
    }

    /// One of a given cluster.
    pub fn of(cluster_id: ClusterId, clock: Arc<dyn Clock>) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let ca = ClusterCa::create(cluster_id, &*clock, &*entropy).expect("a CA can be made");
        Self {
            cluster_id,
            ca: Arc::new(ca),
            wires: Wires::default(),
            clock,
            entropy,
            timers: MeshTimers::lan(),
        }
    }

    /// A certificate of the CA for `node`.
    pub fn identity(&self, node: NodeId, ttl: Duration) -> NodeIdentity {
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        NodeIdentity::self_issued(&self.ca, self.cluster_id, node, &name(node), clock, entropy, ttl)
            .expect("an identity can be made")
    }

    /// As an earlier build has it: it begins when it is made, and does not say when that is.
    pub fn earlier_identity(&self, node: NodeId, ttl: Duration) -> NodeIdentity {
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let params = rcgen::CertificateParams::default();
        let request = params.serialize_request(&key).expect("a request can be made");
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        let (name, csr) = (name(node), request.der());
        let cert = self
            .ca
            .issue(self.cluster_id, node, &name, csr, clock, entropy, ttl);
        let key = NodeKey::from_pem(&key.serialize_pem()).expect("a key reads again");
        NodeIdentity::new(self.ca.certificate().clone(), cert.expect("a certificate"), key)
            .expect("an identity can be made")
    }

    /// A mesh at a port of the system's choosing, without members.
    pub fn mesh(&self, node: NodeId) -> Mesh {
        self.mesh_of(self.identity(node, DEFAULT_NODE_TTL), "127.0.0.1:0")
    }

    /// A mesh with a given identity and address, without members.
    pub fn mesh_of(&self, identity: NodeIdentity, bind: &str) -> Mesh {
        let socket = bind_udp(bind.parse().expect("an address")).expect("a port is free");
        let own = socket.local_addr().expect("a bound socket has an address");
        let config = MeshConfig {
            cluster: self.cluster_id,
            node: identity.names().node,
            timers: self.timers,
        };
        let deps = MeshDeps {
            identity,
            socket: Arc::new(Wired {
                socket,
                own,
                wires: self.wires.clone(),
            }),
            runtime: Arc::new(quinn::TokioRuntime),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            tasks: Tasks::new(),
        };
        Mesh::start(config, deps).expect("a mesh starts")
    }

    /// Nodes 1 to `n`, which know one another and are connected.
    pub async fn cluster(&self, n: u64) -> Vec<Mesh> {
        let meshes: Vec<Mesh> = (1..=n).map(|node| self.mesh(NodeId(node))).collect();
        introduce(&meshes);
        connected(&meshes).await;
        meshes
    }
}

fn name(node: NodeId) -> NodeName {
    format!("node-{node}").parse().expect("a name")
}

/// How others meet `mesh`.
pub fn member(mesh: &Mesh) -> Member {
    Member {
        node: mesh.node(),
        name: name(mesh.node()),
        address: address(mesh).to_string(),
    }
}

/// Makes all of them members.
pub fn introduce(meshes: &[Mesh]) {
    let members: Vec<Member> = meshes.iter().map(member).collect();
    meshes.iter().for_each(|mesh| mesh.set_members(members.clone()));
}

/// Waits until each is connected to each other.
///
/// # Panics
/// If they are not in ten seconds.
pub async fn connected(meshes: &[Mesh]) {
    for mesh in meshes {
        for other in meshes.iter().filter(|m| m.node() != mesh.node()) {
            becomes(mesh, other.node(), PeerState::Up).await;
        }
    }
}

/// Waits until `mesh` sees `peer` in `state`.
///
/// # Panics
/// If it does not in ten seconds.
pub async fn becomes(mesh: &Mesh, peer: NodeId, state: PeerState) {
    let mut peers = mesh.peers();
    let seen = peers.wait_for(|peers| peers.iter().any(|p| p.member.node == peer && p.state == state));
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    assert!(
        matches!(seen, Ok(Ok(_))),
        "node {} does not see node {peer} {state:?}",
        mesh.node()
    );
}

/// Has meshes that are connected hold tethers to one another, and waits until they do.
///
/// # Panics
/// If they do not in ten seconds.
pub async fn tethered(meshes: &[Mesh]) -> Vec<Tethers> {
    let mut all = Vec::new();
    for mesh in meshes {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let tethers = mesh.keep_tethers(port);
        serve_tethers(mesh, &tethers, listener);
        all.push(tethers);
    }
    for tethers in &all {
        let mut held = tethers.held();
        let whole = tokio::time::timeout(PATIENCE, held.wait_for(|held| held.len() == meshes.len() - 1));
        assert!(matches!(whole.await, Ok(Ok(_))), "not tethered");
    }
    all
}

/// Takes tethers at `listener`, as a gateway does, in tasks of the mesh's own.
pub fn serve_tethers(mesh: &Mesh, tethers: &Tethers, listener: TcpListener) {
    let (tasks, tethers) = (mesh.inner.tasks.clone(), tethers.clone());
    mesh.inner.tasks.spawn_until_cancelled(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tethers = tethers.clone();
            tasks.spawn_until_cancelled(async move {
                let _gone = take_tether(&tethers, stream).await;
            });
        }
    });
}

async fn take_tether(tethers: &Tethers, mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let secret = head
        .lines()
        .find_map(|line| line.strip_prefix("Authorization: Bearer "));
    let claim = secret.and_then(|secret| tethers.claim(secret));
    let status = if claim.is_some() {
        "101 Switching Protocols"
    } else {
        "401 Unauthorized"
    };
    stream
        .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
        .await?;
    if let Some(claim) = claim {
        claim.keep(stream);
    }
    Ok(())
}

/// Until when the certificate is good that `peer` shows on its present connection to `mesh`.
pub fn certificate_end_ms(mesh: &Mesh, peer: NodeId) -> Option<u64> {
    mesh.inner.link(peer).ok().map(|link| link.peer_not_after_ms)
}

/// Nodes 1 to `n` on loopback, which know one another and are connected. Must be called in a tokio runtime with time that
/// runs.
///
/// # Panics
/// If they are not connected in ten seconds.
pub async fn cluster(n: u64) -> Vec<Mesh> {
    TestBed::default().cluster(n).await
}
