//! One machine: what outlives a crash of it, and the node that runs on it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jarvis_gateway::Listen;
use jarvis_host::{Clock, Entropy, Faults, SeededEntropy};
use jarvis_machine::rows::NodeRole;
use jarvis_mesh::api::Removal;
use jarvis_mesh::identity::{ClusterCa, NodeIdentity, NodeKey};
use jarvis_mesh::join::{JoinDeps, join_request_with};
use jarvis_node::data::KnownPeer;
use jarvis_node::node::protocol::{Admission, BUILD, JoinAnswer, JoinRequest, LEVEL, open, seal};
use jarvis_node::node::{Keeper, Node, NodeConfig, NodeDeps};
use jarvis_node::token::JoinToken;
use jarvis_replica::{MemoryDisk, Replica, StoreChoice};
use jarvis_types::{ClusterId, NodeId, NodeName};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::{Notify, watch};

use crate::clock::SimClock;
use crate::listen::SimListener;
use crate::socket::SimSocket;
use crate::teller::SimLamp;
use crate::world::World;

/// The one port of every node.
pub const PORT: u16 = 8007;
/// The administrator's credential, the same on all nodes.
pub const ADMIN: &str = "jad_0123456789abcdefghjkmnpqrstvwxyz01234567";
/// How long a machine without a node waits before it looks for an invitation again.
const INVITATION_PAUSE: Duration = Duration::from_millis(50);
/// How long asking to join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(4);
/// Pause before asking again.
const JOIN_PAUSE: Duration = Duration::from_millis(300);

/// A machine. It is there for the whole of a run; nodes on it come and go.
pub struct Machine {
    /// From 0.
    pub index: usize,
    /// Its name, and its node's.
    pub name: String,
    /// Where it is.
    pub ip: IpAddr,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    /// Its disk.
    pub disk: MemoryDisk,
    kept: Mutex<Kept>,
    live: Mutex<Live>,
    /// Rung to have the node go away in order.
    pub go: Notify,
}

/// What a node wrote down in small synced files.
#[derive(Default)]
struct Kept {
    member: Option<Member>,
    token: Option<JoinToken>,
    peers: Vec<KnownPeer>,
    handed_over: bool,
    has_log: bool,
}

#[derive(Clone)]
struct Member {
    cluster: ClusterId,
    node: NodeId,
    role: NodeRole,
    founder: bool,
    identity: NodeIdentity,
    ca: Option<(String, String)>,
}

/// What runs at the moment.
#[derive(Default)]
struct Live {
    lives: u64,
    replica: Option<Replica>,
    socket: Option<Arc<SimSocket>>,
    removed: bool,
    removal: Option<watch::Receiver<Option<Removal>>>,
    /// Why the node ended by itself.
    ended: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// A machine without a node.
    pub fn new(index: usize, name: String, ip: IpAddr, disk: MemoryDisk) -> Self {
        Self {
            index,
            name,
            ip,
            clock: Arc::default(),
            disk,
            kept: Mutex::default(),
            live: Mutex::default(),
            go: Notify::new(),
        }
    }

    /// Where its mesh is met.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.ip)
    }

    /// Makes it the first of a new cluster.
    pub fn found(&self, cluster: ClusterId, entropy: &dyn Entropy, ttl: Duration) {
        let ca = ClusterCa::create(cluster, &*self.clock, entropy).expect("a CA can be made");
        let name = self.node_name();
        let identity = NodeIdentity::self_issued(&ca, cluster, NodeId(1), &name, &*self.clock, entropy, ttl)
            .expect("a certificate can be made");
        lock(&self.kept).member = Some(Member {
            cluster,
            node: NodeId(1),
            role: NodeRole::Voter,
            founder: true,
            identity,
            ca: Some((ca.cert_pem(), ca.key_pem())),
        });
    }

    fn node_name(&self) -> NodeName {
        self.name.parse().expect("names of machines are names of nodes")
    }

    /// Hands it an invitation.
    pub fn invite(&self, token: JoinToken) {
        lock(&self.kept).token = Some(token);
    }

    /// Its node's id, once it is a member.
    pub fn node(&self) -> Option<NodeId> {
        lock(&self.kept).member.as_ref().map(|member| member.node)
    }

    /// The replica that runs on it.
    pub fn replica(&self) -> Option<Replica> {
        lock(&self.live).replica.clone()
    }

    /// Whether its node has found in its own tables that it was removed, and has stopped for good.
    pub fn is_gone(&self) -> bool {
        lock(&self.live).removed
    }

    /// Whether its node knows that it was removed: from its own tables, or because a member told it.
    pub fn knows_its_removal(&self) -> bool {
        let live = lock(&self.live);
        let told = live.removal.as_ref().is_some_and(|told| told.borrow().is_some());
        live.removed || told
    }

    /// Why its node ended by itself, told once.
    pub fn ended(&self) -> Option<String> {
        lock(&self.live).ended.take()
    }

    /// What runs on it ends: call before it is dropped.
    pub fn let_go(&self) {
        let mut live = lock(&self.live);
        (live.replica, live.removal) = (None, None);
    }

    /// What runs on it: joins if it has to, then is a node until it ends.
    pub async fn run(self: Arc<Self>, world: Arc<World>) -> turmoil::Result {
        let life = {
            let mut live = lock(&self.live);
            live.lives += 1;
            if let Some(socket) = live.socket.take() {
                socket.close();
            }
            live.lives
        };
        let clock = Arc::clone(&self.clock);
        tokio::task::spawn_local(async move { clock.keep_pace().await });
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(
            world.seed ^ ((self.index as u64 + 1) << 48) ^ (life << 32),
        ));
        let member = loop {
            if let Some(member) = lock(&self.kept).member.clone() {
                break member;
            }
            let token = lock(&self.kept).token.clone();
            match token {
                None => tokio::time::sleep(INVITATION_PAUSE).await,
                Some(token) => {
                    if let Err(why) = self.join(&world, &token, &entropy).await {
                        world
                            .trace
                            .event(format_args!("{} did not join: {why}", self.name));
                        tokio::time::sleep(JOIN_PAUSE).await;
                    }
                }
            }
        };
        let node = match Box::pin(self.start(&world, &member, &entropy)).await {
            Ok(node) => node,
            Err(why) => {
                world
                    .trace
                    .event(format_args!("{} does not start: {why}", self.name));
                lock(&self.live).ended = Some(why);
                return Ok(());
            }
        };
        world
            .trace
            .event(format_args!("{} runs as node {}", self.name, member.node));
        lock(&self.kept).has_log = true;
        {
            let mut live = lock(&self.live);
            (live.replica, live.removal) = (Some(node.replica().clone()), Some(node.removal()));
        }
        let reading = tokio::task::spawn_local(crate::readers::read_on(
            Arc::clone(&world),
            node.replica().clone(),
            self.index,
        ));
        let why = tokio::select! {
            why = node.failed() => why,
            () = node.removed() => {
                lock(&self.live).removed = true;
                "removed".to_owned()
            }
            () = self.go.notified() => {
                node.hand_over().await;
                "went away in order".to_owned()
            }
        };
        reading.abort();
        self.let_go();
        node.stop().await;
        world.trace.event(format_args!("{} ended: {why}", self.name));
        lock(&self.live).ended = Some(why);
        Ok(())
    }

    async fn start(
        self: &Arc<Self>,
        world: &Arc<World>,
        member: &Member,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Node, String> {
        let socket = SimSocket::bind(world, self.index, PORT)
            .await
            .map_err(|error| format!("no socket: {error}"))?;
        lock(&self.live).socket = Some(Arc::clone(&socket));
        let listener: Box<dyn Listen> = Box::new(
            SimListener::bind(PORT)
                .await
                .map_err(|error| format!("no listener: {error}"))?,
        );
        let (peers, handed_over, has_log) = {
            let kept = lock(&self.kept);
            (kept.peers.clone(), kept.handed_over, kept.has_log)
        };
        let config = NodeConfig {
            cluster: member.cluster,
            node: member.node,
            name: self.node_name(),
            role: member.role,
            mesh_address: self.address(),
            http_url: format!("http://{}", self.address()),
            founder: member.founder,
            expect_log: has_log,
            speaks_level: jarvis_machine::LEVEL,
            known_peers: peers,
            store: StoreChoice::Memory(self.disk.clone()),
            settings: world.settings.clone(),
        };
        let machine = Arc::clone(self);
        let deps = NodeDeps {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(entropy),
            faults: Faults::default(),
            lamp: Arc::new(SimLamp(Arc::clone(world))),
            // No broker is configured in a simulation.
            dial: Arc::new(jarvis_mqtt::Tcp),
            tcp: listener,
            udp: socket,
            quic: Arc::new(quinn::TokioRuntime),
            identity: member.identity.clone(),
            ca: member
                .ca
                .as_ref()
                .map(|(cert, key)| ClusterCa::from_pem(cert, key).expect("it was written by a CA")),
            admin_token: Some(ADMIN.to_owned()),
            handed_over,
            save_identity: Arc::new(move |identity| {
                if let Some(member) = &mut lock(&machine.kept).member {
                    member.identity = identity.clone();
                }
                Ok(())
            }),
            keeper: Arc::new(Files(Arc::clone(self))),
            metrics: Arc::new(String::new),
            disk: Arc::new(|| None),
            process: None,
        };
        Node::run(config, deps)
            .await
            .map_err(|failure| failure.to_string().replace('\n', " | "))
    }

    async fn join(
        &self,
        world: &Arc<World>,
        token: &JoinToken,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<(), String> {
        let key = NodeKey::generate().map_err(|e| e.to_string())?;
        let request = JoinRequest {
            cluster: token.cluster,
            secret: token.secret,
            name: self.node_name(),
            signing_request: key.signing_request().map_err(|e| e.to_string())?,
            mesh_address: self.address(),
            http_url: format!("http://{}", self.address()),
            build: BUILD.to_owned(),
            level: LEVEL,
            clock_ms: self.clock.now_ms(),
        };
        let deps = JoinDeps {
            socket: SimSocket::bind(world, self.index, 0)
                .await
                .map_err(|e| e.to_string())?,
            runtime: Arc::new(quinn::TokioRuntime),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::clone(entropy),
        };
        let body = Bytes::from(seal(&request).map_err(|e| e.to_string())?);
        let asked = join_request_with(
            deps,
            &token.addresses,
            token.ca_sha256,
            token.cluster,
            body,
            JOIN_TIMEOUT,
        );
        let answer = asked.await.map_err(|e| e.to_string())?;
        let admission = match open(&answer).map_err(|e| e.to_string())? {
            JoinAnswer::Admitted(admission) => *admission,
            JoinAnswer::Refused(refusal) => {
                // Used up by an attempt whose answer was lost: whoever invited must do so again.
                lock(&self.kept).token = None;
                return Err(refusal.to_string());
            }
        };
        self.accept(token, admission, key)
    }

    fn accept(&self, token: &JoinToken, admission: Admission, key: NodeKey) -> Result<(), String> {
        let ca =
            CertificateDer::from_pem_slice(admission.ca_certificate.as_bytes()).map_err(|e| e.to_string())?;
        let certificate = CertificateDer::from(admission.certificate);
        let identity = NodeIdentity::new(ca, certificate, key).map_err(|e| e.to_string())?;
        let mut kept = lock(&self.kept);
        kept.peers = admission
            .members
            .into_iter()
            .filter(|(node, ..)| *node != admission.node)
            .map(|(node, name, address)| KnownPeer { node, name, address })
            .collect();
        kept.member = Some(Member {
            cluster: token.cluster,
            node: admission.node,
            role: admission.role,
            founder: false,
            identity,
            ca: admission.ca_key.map(|key| (admission.ca_certificate, key)),
        });
        Ok(())
    }
}

struct Files(Arc<Machine>);

impl Keeper for Files {
    fn save_peers(&self, peers: &[KnownPeer]) -> Result<(), String> {
        lock(&self.0.kept).peers = peers.to_vec();
        Ok(())
    }

    fn save_handed_over(&self, handed_over: bool) -> Result<(), String> {
        lock(&self.0.kept).handed_over = handed_over;
        Ok(())
    }
}
