//! The control plane by ractor_cluster: a `NodeServer` a process, whose connections are raw streams of the control lane.
//!
//! The mesh has authenticated the other side before such a stream exists. ractor's own TCP listener cannot be left out,
//! so it listens on a loopback port of the system's choosing and wants a TLS handshake that nobody can finish.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use jarvis_types::{ClusterId, NodeId, NodeName};
use ractor::concurrency::Duration as RactorDuration;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SpawnErr, pg};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{
    BoxRead, BoxWrite, ClusterBidiStream, IncomingEncryptionMode, NodeServer, NodeServerMessage,
    RactorClusterMessage,
};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Agent, AgentDuties, AgentInfo, AgentNotice, AgentReply, AgentRequest, CLUSTER_SERVICE, ControlError,
    ControlPlane, decode_reply, encode,
};
use crate::api::{Lane, LaneStream, Mesh, PeerState};

/// Largest frame of ractor_cluster that is accepted: agents say little.
const MAX_FRAME_BYTES: u64 = 1024 * 1024;

/// How long to wait before a broken session is begun again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// The process group of all agents, in the scope of their cluster.
const GROUP: &str = "agents";

/// Why the control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlStartError {
    /// An actor could not be started.
    #[error("cannot start the control plane's actors")]
    Spawn(#[from] SpawnErr),
    /// Its listener could not be closed to the world.
    #[error("cannot set up the control plane's listener")]
    Tls(#[source] rustls::Error),
}

/// The control plane of a process that is one node.
pub struct ClusterControl {
    mesh: Mesh,
    scope: String,
}

impl ClusterControl {
    /// Starts this node's agent and keeps sessions with all connected peers, in tasks of the mesh's own.
    ///
    /// # Errors
    /// [`ControlStartError`].
    pub async fn start(
        mesh: &Mesh,
        name: NodeName,
        version: String,
        duties: Arc<dyn AgentDuties>,
    ) -> Result<Self, ControlStartError> {
        let (cluster, node) = (mesh.inner.cluster, mesh.node());
        let own = format!("{}/{:016x}", agent_name(cluster, node), mesh.inner.life);
        let server = NodeServer::new(
            0,
            cluster.to_string(),
            own.clone(),
            "jarvis".to_owned(),
            Some(nobody_gets_in()?),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into())
        .with_max_inbound_frame_size(MAX_FRAME_BYTES);
        let (server, _) = Actor::spawn(None, server, ()).await?;
        let agent = Agent {
            info: AgentInfo { node, name, version },
            duties,
        };
        let (agent, _) = match Actor::spawn(Some(own), AgentActor, agent).await {
            Ok(agent) => agent,
            Err(error) => {
                server.stop(None);
                return Err(error.into());
            }
        };
        let scope = cluster.to_string();
        pg::join_scoped(scope.clone(), GROUP.to_owned(), vec![agent.get_cell()]);

        let accepting = server.clone();
        mesh.serve_streams(
            CLUSTER_SERVICE,
            Arc::new(move |stream: LaneStream| {
                // The dialer notices when the session is over; this side needs no sign of it.
                open(&accepting, stream, true, CancellationToken::new());
            }),
        );
        let (watching, ending) = (mesh.clone(), mesh.clone());
        let dialing = server.clone();
        mesh.inner
            .tasks
            .spawn_until_cancelled(async move { keep_sessions(&watching, &dialing).await });
        mesh.inner.tasks.spawn(async move {
            ending.inner.tasks.cancelled().await;
            agent.stop(None);
            server.stop(None);
        });
        Ok(Self {
            mesh: mesh.clone(),
            scope,
        })
    }

    /// The agents of other nodes; of a node that came back within one process, the newest.
    fn agents(&self) -> HashMap<NodeId, ActorCell> {
        let prefix = format!("agent/{}/", self.scope);
        let mut agents = HashMap::new();
        for cell in pg::get_scoped_members(&self.scope, &GROUP.to_owned()) {
            let node = cell.get_name().and_then(|name| {
                let (node, _life) = name.strip_prefix(&prefix)?.split_once('/')?;
                node.parse().ok().map(NodeId)
            });
            let there = !cell.get_id().is_local() && cell.get_status() == ActorStatus::Running;
            if let Some(node) = node.filter(|node| there && *node != self.mesh.node()) {
                agents.insert(node, cell);
            }
        }
        agents
    }
}

fn agent_name(cluster: ClusterId, node: NodeId) -> String {
    format!("agent/{cluster}/{node}")
}

#[async_trait]
impl ControlPlane for ClusterControl {
    async fn ask(
        &self,
        node: NodeId,
        request: AgentRequest,
        timeout: Duration,
    ) -> Result<AgentReply, ControlError> {
        let agent = self.agents().remove(&node).ok_or(ControlError::Absent(node))?;
        let agent: ActorRef<AgentMessage> = agent.into();
        let request = encode(&request);
        let wait = Some(RactorDuration::from(timeout));
        match agent.call(|reply| AgentMessage::Ask(request, reply), wait).await {
            Ok(CallResult::Success(reply)) => decode_reply(node, &reply),
            Ok(CallResult::Timeout) => Err(ControlError::Timeout(node)),
            Ok(CallResult::SenderError) | Err(_) => Err(ControlError::Absent(node)),
        }
    }

    fn tell_all(&self, notice: AgentNotice) {
        let notice = encode(&(self.mesh.node(), notice));
        for (node, agent) in self.agents() {
            let agent: ActorRef<AgentMessage> = agent.into();
            if agent.cast(AgentMessage::Tell(notice.clone())).is_err() {
                tracing::debug!(peer = %node, "a notice was not sent");
            }
        }
    }

    fn present(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.agents().into_keys().collect();
        nodes.sort();
        nodes
    }
}

/// What goes to an agent. Bytes only, decoded with care by the agent itself: ractor's own decoding may panic.
#[derive(RactorClusterMessage)]
enum AgentMessage {
    #[rpc]
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
    Tell(Vec<u8>),
}

struct AgentActor;

#[ractor::async_trait]
impl Actor for AgentActor {
    type Msg = AgentMessage;
    type State = Agent;
    type Arguments = Agent;

    async fn pre_start(&self, _: ActorRef<AgentMessage>, agent: Agent) -> Result<Agent, ActorProcessingErr> {
        Ok(agent)
    }

    async fn handle(
        &self,
        _: ActorRef<AgentMessage>,
        message: AgentMessage,
        agent: &mut Agent,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AgentMessage::Ask(request, reply) => {
                let _gone = reply.send(agent.answer(&request));
            }
            AgentMessage::Tell(notice) => agent.told(&notice),
        }
        Ok(())
    }
}

/// Keeps a session with every peer that is this node's to dial.
async fn keep_sessions(mesh: &Mesh, server: &ActorRef<NodeServerMessage>) {
    let mut peers = mesh.peers();
    let mut kept: HashMap<NodeId, CancellationToken> = HashMap::new();
    loop {
        let nodes: Vec<NodeId> = peers.borrow_and_update().iter().map(|p| p.member.node).collect();
        kept.retain(|node, token| {
            let stays = nodes.contains(node);
            if !stays {
                token.cancel();
            }
            stays
        });
        for node in nodes.into_iter().filter(|node| mesh.node() < *node) {
            kept.entry(node).or_insert_with(|| {
                let token = mesh.inner.tasks.token().child_token();
                let (mesh, server, ended) = (mesh.clone(), server.clone(), token.clone());
                mesh.inner.tasks.clone().spawn(async move {
                    tokio::select! {
                        () = ended.cancelled() => {}
                        () = keep_session(&mesh, &server, node) => {}
                    }
                });
                token
            });
        }
        if peers.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_session(mesh: &Mesh, server: &ActorRef<NodeServerMessage>, node: NodeId) {
    let mut peers = mesh.peers();
    loop {
        let up = |p: &crate::api::Peer| p.member.node == node && p.state == PeerState::Up;
        if peers.wait_for(|peers| peers.iter().any(up)).await.is_err() {
            return;
        }
        match mesh.open(node, Lane::Control, CLUSTER_SERVICE).await {
            Ok(stream) => {
                let over = CancellationToken::new();
                open(server, stream, false, over.clone());
                over.cancelled().await;
            }
            Err(error) => tracing::debug!(peer = %node, %error, "no session of the control plane yet"),
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

fn open(server: &ActorRef<NodeServerMessage>, stream: LaneStream, is_server: bool, over: CancellationToken) {
    let stream = Box::new(Session {
        stream,
        over: over.drop_guard(),
    });
    if server
        .cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server })
        .is_err()
    {
        tracing::debug!("the control plane has stopped");
    }
}

/// A raw stream as ractor_cluster takes it.
struct Session {
    stream: LaneStream,
    over: DropGuard,
}

impl ClusterBidiStream for Session {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let LaneStream { send, recv, .. } = self.stream;
        (
            Box::new(Reader {
                recv,
                _over: self.over,
            }),
            Box::new(send),
        )
    }

    fn peer_label(&self) -> Option<String> {
        Some(format!("node {}", self.stream.peer))
    }
}

/// The reading half, which ractor drops when the session is over.
struct Reader {
    recv: quinn::RecvStream,
    _over: DropGuard,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf)
    }
}

/// Resolves no certificate, so that no handshake succeeds.
#[derive(Debug)]
struct NoCertificate;

impl rustls::server::ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

fn nobody_gets_in() -> Result<IncomingEncryptionMode, ControlStartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ControlStartError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    Ok(IncomingEncryptionMode::Tls(tokio_rustls::TlsAcceptor::from(
        Arc::new(config),
    )))
}
