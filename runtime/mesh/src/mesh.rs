//! The mesh itself: its start, its handlers, its upkeep and its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jarvis_host::{Clock, Entropy, StopReport, Tasks};
use jarvis_types::{ClusterId, NodeId};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Call, CallError, Handler, JoinHandler, Mesh, Peer, Removal, Service, StreamHandler};
use crate::close::CloseCode;
use crate::doors::Doors;
use crate::identity::{ClusterCa, IdentityError, NodeIdentity};
use crate::link::Link;
use crate::members::Peers;
use crate::tls::{self, IdentityCell, TlsSetupError, WallTime};
use crate::transport::{MeshTimers, Nowhere, endpoint_config, transport_config};
use crate::{join, metrics, probe};

/// Handshakes under way at a time; more than that are turned away unanswered.
pub(crate) const MAX_HANDSHAKES: usize = 64;

/// How long a handshake and the greeting after it may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often round trips are read and certificates' ends checked.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a stopping mesh waits until its peers have heard of it.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Settings of a mesh.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// How soon silence counts as loss.
    pub timers: MeshTimers,
}

/// What a mesh is handed.
pub struct MeshDeps {
    /// Who this node is.
    pub identity: NodeIdentity,
    /// Where datagrams go; see [`crate::transport::bind_udp`].
    pub socket: Arc<dyn quinn::AsyncUdpSocket>,
    /// Timers and tasks of QUIC: [`quinn::TokioRuntime`].
    pub runtime: Arc<dyn quinn::Runtime>,
    /// Wall time, for certificates.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The mesh's tasks: told to stop, it says farewell to its peers and ends.
    pub tasks: Tasks,
}

/// Why a mesh could not start.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The certificate is of another node or cluster.
    #[error("the certificate does not fit the configuration")]
    Identity(#[from] IdentityError),
    /// TLS could not be set up.
    #[error("cannot set up TLS for the mesh")]
    Tls(#[from] TlsSetupError),
    /// The socket is not usable.
    #[error("cannot use the mesh's socket")]
    Socket(#[source] std::io::Error),
}

/// The mesh of one node, shared by all its tasks.
pub struct MeshInner {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    /// Tells one life of this node from the next.
    pub(crate) life: u64,
    pub(crate) timers: MeshTimers,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tasks: Tasks,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) client: quinn::ClientConfig,
    pub(crate) identity: Arc<IdentityCell>,
    pub(crate) handlers: ArcSwap<HashMap<Service, Arc<dyn Handler>>>,
    pub(crate) stream_handlers: ArcSwap<HashMap<Service, Arc<dyn StreamHandler>>>,
    pub(crate) join_handler: Mutex<Option<Arc<dyn JoinHandler>>>,
    pub(crate) issuer: Mutex<Option<(Arc<ClusterCa>, Duration)>>,
    pub(crate) joins: Semaphore,
    /// The connections in use, for callers.
    pub(crate) links: ArcSwap<HashMap<NodeId, Arc<Link>>>,
    pub(crate) peers: Mutex<Peers>,
    pub(crate) watch: watch::Sender<Arc<Vec<Peer>>>,
    /// Who told this node that it is out for good.
    pub(crate) removal: watch::Sender<Option<Removal>>,
    /// Woken when a node is refused that the list lacks.
    pub(crate) unlisted_refused: Notify,
    pub(crate) handshakes: AtomicUsize,
    /// Whether ports of silent peers are tried.
    pub(crate) probes: AtomicBool,
    /// Where peers' machines take TCP connections.
    pub(crate) doors: Doors,
    /// Set off when the peers have been told that this node stops.
    pub(crate) farewell: CancellationToken,
}

impl MeshInner {
    pub(crate) fn start(config: MeshConfig, deps: MeshDeps) -> Result<Arc<Self>, MeshError> {
        let MeshDeps {
            identity,
            socket,
            runtime,
            clock,
            entropy,
            tasks,
        } = deps;
        let names = identity.names();
        if (names.cluster, names.node) != (config.cluster, config.node) {
            let (found_cluster, found_node) = (names.cluster, names.node);
            return Err(IdentityError::OtherNode {
                found_cluster,
                found_node,
            }
            .into());
        }
        metrics::describe();
        let ca = identity.ca().clone();
        let reset_secret = identity.derive_secret("stateless reset");
        let identity = Arc::new(IdentityCell::new(identity)?);
        let transport = Arc::new(transport_config(&config.timers));
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls::server(&identity, &ca, &clock)?));
        server
            .transport_config(Arc::clone(&transport))
            .time_source(Arc::new(WallTime(Arc::clone(&clock))))
            .max_incoming(MAX_HANDSHAKES);
        let mut client = quinn::ClientConfig::new(Arc::new(tls::mesh_client(&identity, &ca, &clock)?));
        client.transport_config(transport);
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            endpoint_config(&reset_secret, &entropy),
            Some(server),
            socket,
            runtime,
        )
        .map_err(MeshError::Socket)?;
        let inner = Arc::new(Self {
            cluster: config.cluster,
            node: config.node,
            life: entropy.next_u64(),
            timers: config.timers,
            clock,
            entropy,
            tasks,
            endpoint,
            client,
            identity,
            handlers: ArcSwap::default(),
            stream_handlers: ArcSwap::default(),
            join_handler: Mutex::default(),
            issuer: Mutex::default(),
            joins: Semaphore::new(join::MAX_JOINS),
            links: ArcSwap::default(),
            peers: Mutex::default(),
            watch: watch::Sender::new(Arc::default()),
            removal: watch::Sender::new(None),
            unlisted_refused: Notify::new(),
            handshakes: AtomicUsize::new(0),
            probes: AtomicBool::new(false),
            doors: Doors::default(),
            farewell: CancellationToken::new(),
        });
        let accepting = Arc::clone(&inner);
        inner.tasks.spawn(async move { accepting.accept().await });
        let refreshing = Arc::clone(&inner);
        inner
            .tasks
            .spawn_until_cancelled(async move { refreshing.refresh().await });
        let watching = Arc::clone(&inner);
        inner
            .tasks
            .spawn_until_cancelled(async move { probe::watch(&watching).await });
        let ending = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            ending.tasks.cancelled().await;
            ending.end().await;
        });
        Ok(inner)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Vec<Peer>>> {
        self.watch.subscribe()
    }

    pub(crate) fn link(&self, to: NodeId) -> Result<Arc<Link>, CallError> {
        if let Some(link) = self.links.load().get(&to) {
            return Ok(Arc::clone(link));
        }
        if self.tasks.token().is_cancelled() {
            return Err(CallError::Stopping);
        }
        Err(CallError::NotConnected(to))
    }

    pub(crate) fn links(&self) -> Arc<HashMap<NodeId, Arc<Link>>> {
        self.links.load_full()
    }

    pub(crate) fn identity(&self) -> NodeIdentity {
        self.identity.identity()
    }

    pub(crate) fn own_not_after_ms(&self) -> u64 {
        self.identity.names().not_after_ms
    }

    pub(crate) fn handle(&self, call: Call) {
        let handlers = self.handlers.load();
        match handlers.get(&call.service) {
            Some(handler) => handler.handle(call),
            None => call
                .answer
                .refuse(format!("service {:#06x} is not known here", call.service.0)),
        }
    }

    pub(crate) fn stream_handler(&self, service: Service) -> Option<Arc<dyn StreamHandler>> {
        self.stream_handlers.load().get(&service).cloned()
    }

    pub(crate) fn serve(&self, service: Service, handler: &Arc<dyn Handler>) {
        self.handlers.rcu(|known| {
            let mut handlers = HashMap::clone(known);
            handlers.insert(service, Arc::clone(handler));
            handlers
        });
    }

    pub(crate) fn serve_streams(&self, service: Service, handler: &Arc<dyn StreamHandler>) {
        self.stream_handlers.rcu(|known| {
            let mut handlers = HashMap::clone(known);
            handlers.insert(service, Arc::clone(handler));
            handlers
        });
    }

    pub(crate) fn set_join_handler(&self, handler: Arc<dyn JoinHandler>) {
        *self.join_handler.lock().unwrap_or_else(PoisonError::into_inner) = Some(handler);
    }

    pub(crate) fn set_issuer(&self, ca: Arc<ClusterCa>, ttl: Duration) {
        *self.issuer.lock().unwrap_or_else(PoisonError::into_inner) = Some((ca, ttl));
    }

    /// The CA, where this node holds its key, and how long its certificates are good for.
    pub(crate) fn issuer(&self) -> Option<(Arc<ClusterCa>, Duration)> {
        self.issuer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn join_handler(&self) -> Option<Arc<dyn JoinHandler>> {
        self.join_handler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn refresh(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now_ms = self.clock.now_ms();
            let mut expired = Vec::new();
            {
                let mut peers = self.peers();
                for entry in peers.by_id.values_mut() {
                    let Some(link) = &entry.link else { continue };
                    let rtt = link.connection.rtt();
                    entry.peer.rtt = Some(rtt);
                    metrics::round_trip(&entry.peer.member.node.to_string(), rtt.as_secs_f64());
                    if link.peer_not_after_ms <= now_ms {
                        expired.push(Arc::clone(link));
                    }
                }
                self.publish(&peers);
            }
            for link in expired {
                tracing::warn!(
                    peer = %link.peer,
                    "the certificate this peer showed has expired; its connection is closed until it shows a newer one"
                );
                metrics::refused(CloseCode::CertificateExpired.label());
                CloseCode::CertificateExpired.close(&link.connection);
            }
        }
    }

    async fn end(&self) {
        let (code, reason) = (CloseCode::Stopping, CloseCode::Stopping.reason());
        self.endpoint.close((code as u32).into(), reason.as_bytes());
        let links = self.links.swap(Arc::default());
        links.values().for_each(|link| link.end());
        let _late = tokio::time::timeout(FAREWELL_TIMEOUT, self.endpoint.wait_idle()).await;
        self.farewell.cancel();
        if let Ok(address) = self.endpoint.local_addr() {
            // Twice, because an endpoint keeps the socket it had before until something arrives at the new one.
            for _ in 0..2 {
                let _kept = self.endpoint.rebind_abstract(Arc::new(Nowhere(address)));
            }
        }
        // Handlers hold what they serve, which may hold the mesh: the circle is cut here.
        self.handlers.store(Arc::default());
        self.stream_handlers.store(Arc::default());
        *self.join_handler.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Mesh {
    /// Starts a mesh. Must be called in a tokio runtime. It knows no members yet: [`Mesh::set_members`].
    ///
    /// # Errors
    /// [`MeshError`].
    pub fn start(config: MeshConfig, deps: MeshDeps) -> Result<Self, MeshError> {
        MeshInner::start(config, deps).map(|inner| Self { inner })
    }

    /// Where the mesh listens.
    ///
    /// # Errors
    /// Where the socket cannot say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.endpoint.local_addr()
    }

    /// The identity in use.
    pub fn identity(&self) -> NodeIdentity {
        self.inner.identity()
    }

    /// Takes a renewed certificate into use: new connections show it, and present ones are replaced, without any call or
    /// order being lost.
    ///
    /// # Errors
    /// Where it is of another node, or does not belong to its key.
    pub fn set_identity(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        self.inner.set_identity(identity)
    }

    /// Registers who answers joiners.
    pub fn serve_join(&self, handler: Arc<dyn JoinHandler>) {
        self.inner.set_join_handler(handler);
    }

    /// Says farewell to the peers and ends all tasks of the mesh.
    pub async fn stop(&self) -> StopReport {
        self.inner.tasks.stop(2 * FAREWELL_TIMEOUT).await
    }
}
