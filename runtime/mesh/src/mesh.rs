//! The mesh itself: its start, its peers, who is let in, and its end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jarvis_host::{Clock, Entropy, Tasks};
use jarvis_types::{ClusterId, NodeId, NodeName};
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{
    Call, CallError, Handler, JoinHandler, Member, Mesh, Peer, PeerState, Service, StreamHandler,
};
use crate::close::{CloseCode, tls_refusal};
use crate::identity::{CertificateNames, ClusterCa, IdentityError, NodeIdentity};
use crate::link::{Link, greet};
use crate::tls::{self, ALPN_JOIN, ALPN_MESH, ALPN_RENEW, IdentityCell, TlsSetupError, WallTime};
use crate::transport::{MeshTimers, Nowhere, endpoint_config, transport_config};
use crate::{dial, join, late, metrics};

/// Handshakes under way at a time; more than that are turned away unanswered.
const MAX_HANDSHAKES: usize = 64;

/// From so many handshakes under way on, a newcomer must first show that it can be reached at its address.
const UNCHECKED_HANDSHAKES: usize = 16;

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
    identity: Arc<IdentityCell>,
    handlers: ArcSwap<HashMap<Service, Arc<dyn Handler>>>,
    stream_handlers: ArcSwap<HashMap<Service, Arc<dyn StreamHandler>>>,
    join_handler: Mutex<Option<Arc<dyn JoinHandler>>>,
    issuer: Mutex<Option<(Arc<ClusterCa>, Duration)>>,
    pub(crate) joins: Semaphore,
    /// The connections in use, for callers.
    links: ArcSwap<HashMap<NodeId, Arc<Link>>>,
    peers: Mutex<Peers>,
    watch: watch::Sender<Arc<Vec<Peer>>>,
    handshakes: AtomicUsize,
}

#[derive(Default)]
struct Peers {
    by_id: BTreeMap<NodeId, Entry>,
    /// Members that are members no longer.
    removed: HashSet<NodeId>,
}

struct Entry {
    peer: Peer,
    link: Option<Arc<Link>>,
    was_connected: bool,
    /// The peer or we have a new certificate: a new connection is wanted though there is one.
    stale: bool,
    /// Wakes the dialer.
    wanted: Arc<Notify>,
    token: CancellationToken,
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
            handshakes: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&inner);
        inner.tasks.spawn(async move { accepting.accept().await });
        let refreshing = Arc::clone(&inner);
        inner
            .tasks
            .spawn_until_cancelled(async move { refreshing.refresh().await });
        let ending = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            ending.tasks.cancelled().await;
            ending.end().await;
        });
        Ok(inner)
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub(crate) fn identity(&self) -> NodeIdentity {
        self.identity.identity()
    }

    pub(crate) fn own_not_after_ms(&self) -> u64 {
        self.identity.names().not_after_ms
    }

    // --- members ---

    pub(crate) fn set_members(self: &Arc<Self>, members: Vec<Member>) {
        let mut gone = Vec::new();
        {
            let mut peers = self.peers();
            let listed: HashSet<NodeId> = members.iter().map(|m| m.node).collect();
            let unlisted: Vec<NodeId> = peers
                .by_id
                .keys()
                .copied()
                .filter(|node| !listed.contains(node))
                .collect();
            for node in unlisted {
                if let Some(entry) = peers.by_id.remove(&node) {
                    entry.token.cancel();
                    gone.extend(entry.link);
                }
                peers.removed.insert(node);
            }
            for member in members {
                peers.removed.remove(&member.node);
                if member.node == self.node {
                    continue;
                }
                if let Some(entry) = peers.by_id.get_mut(&member.node) {
                    if entry.peer.member != member {
                        entry.peer.member = member;
                        entry.wanted.notify_one();
                    }
                    continue;
                }
                let entry = Entry::new(member, self.tasks.token().child_token());
                if self.node < entry.peer.member.node {
                    let (inner, node) = (Arc::clone(self), entry.peer.member.node);
                    let (token, wanted) = (entry.token.clone(), Arc::clone(&entry.wanted));
                    self.tasks.spawn(async move {
                        tokio::select! {
                            () = token.cancelled() => {}
                            () = dial::keep_connected(&inner, node, &wanted) => {}
                        }
                    });
                }
                peers.by_id.insert(entry.peer.member.node, entry);
            }
            self.publish(&peers);
        }
        for link in gone {
            tracing::info!(peer = %link.peer, "the member was removed; its connection is closed");
            CloseCode::Removed.close(&link.connection);
            link.end();
        }
    }

    /// Whether `names` may connect as a peer.
    pub(crate) fn admit(&self, names: &CertificateNames) -> Result<(), CloseCode> {
        if names.cluster != self.cluster {
            return Err(CloseCode::OtherCluster);
        }
        if names.not_after_ms <= self.clock.now_ms() {
            return Err(CloseCode::CertificateExpired);
        }
        let peers = self.peers();
        if peers.by_id.contains_key(&names.node) {
            Ok(())
        } else if peers.removed.contains(&names.node) {
            Err(CloseCode::Removed)
        } else {
            Err(CloseCode::NotAMember)
        }
    }

    /// The name of a member that is not this node.
    pub(crate) fn member_name(&self, node: NodeId) -> Option<NodeName> {
        self.peers()
            .by_id
            .get(&node)
            .map(|entry| entry.peer.member.name.clone())
    }

    /// The address to dial `node` at, where a connection is wanted.
    pub(crate) fn address_to_dial(&self, node: NodeId) -> Option<String> {
        let peers = self.peers();
        let entry = peers.by_id.get(&node)?;
        (entry.link.is_none() || entry.stale).then(|| entry.peer.member.address.clone())
    }

    pub(crate) fn has_live_link(&self, node: NodeId) -> bool {
        self.links
            .load()
            .get(&node)
            .is_some_and(|link| link.connection.close_reason().is_none())
    }

    /// A new connection to `node` is wanted although there is one.
    pub(crate) fn redial(&self, node: NodeId) {
        if let Some(entry) = self.peers().by_id.get_mut(&node) {
            entry.stale = true;
            entry.wanted.notify_one();
        }
    }

    // --- connections ---

    /// Takes a connection into use. The one it replaces, if any, is retired, or ended if it leads to a former life of the
    /// peer.
    pub(crate) fn install(
        self: &Arc<Self>,
        mut link: Link,
        control: (quinn::SendStream, quinn::RecvStream),
    ) -> Result<Arc<Link>, CloseCode> {
        let (link, old, continued) = {
            let mut peers = self.peers();
            // The member may have been removed while the two greeted.
            let removed = peers.removed.contains(&link.peer);
            let Some(entry) = peers.by_id.get_mut(&link.peer) else {
                return Err(if removed {
                    CloseCode::Removed
                } else {
                    CloseCode::NotAMember
                });
            };
            let old = entry.link.take();
            let continued = old
                .as_ref()
                .filter(|old| link.continues && old.peer_life == link.peer_life);
            if let Some(old) = continued {
                link.follow(old);
            }
            let continued = continued.is_some();
            let link = Arc::new(link);
            entry.link = Some(Arc::clone(&link));
            if !continued {
                entry.peer.changed_at = tokio::time::Instant::now();
            }
            entry.stale = false;
            entry.set_state(PeerState::Up, Some(link.connection.rtt()));
            if std::mem::replace(&mut entry.was_connected, true) && !continued {
                metrics::reconnected();
            }
            self.set_link(link.peer, Some(Arc::clone(&link)));
            self.publish(&peers);
            (link, old, continued)
        };
        tracing::info!(peer = %link.peer, address = %link.connection.remote_address(), "connected");
        link.start(self, control);
        let (watched, inner) = (Arc::clone(&link), Arc::clone(self));
        self.tasks.spawn(async move {
            let reason = watched.connection.closed().await;
            inner.lost(&watched, &reason);
        });
        match old {
            Some(old) if continued => self.let_go(old),
            Some(old) => {
                // The other side holds it for lost already.
                CloseCode::Superseded.close(&old.connection);
                old.end();
            }
            None => {}
        }
        // Our certificate may have been renewed while this connection was being made with the one before.
        if link.own_not_after_ms != self.own_not_after_ms() {
            self.renew_connection(&link);
        }
        Ok(link)
    }

    /// Retires a connection that has been replaced, and closes it in the end.
    fn let_go(&self, old: Arc<Link>) {
        let dialed = self.node < old.peer;
        self.tasks.spawn_until_cancelled(async move {
            old.retire().await;
            if !dialed {
                // The dialer closes; this is for one that does not.
                tokio::time::sleep(crate::link::RETIRE_GRACE).await;
            }
            CloseCode::Replaced.close(&old.connection);
            old.end();
        });
    }

    fn lost(self: &Arc<Self>, link: &Arc<Link>, reason: &quinn::ConnectionError) {
        link.end();
        let current = {
            let mut peers = self.peers();
            let entry = peers.by_id.get_mut(&link.peer);
            let entry = entry.filter(|e| e.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)));
            match entry {
                Some(entry) => {
                    entry.link = None;
                    entry.set_state(PeerState::Down, None);
                    entry.wanted.notify_one();
                    self.set_link(link.peer, None);
                    self.publish(&peers);
                    true
                }
                None => false,
            }
        };
        if !current || self.tasks.token().is_cancelled() {
            return;
        }
        let address = link.connection.remote_address();
        match CloseCode::of(reason) {
            Some(code) if code.is_refusal() => {
                tracing::warn!(peer = %link.peer, %address, reason = %code, "the peer refuses this node");
            }
            _ => tracing::info!(peer = %link.peer, %address, %reason, "connection lost"),
        }
    }

    /// Must be called with the peers locked, so that the two tables agree.
    fn set_link(&self, node: NodeId, link: Option<Arc<Link>>) {
        let mut links = HashMap::clone(&self.links.load());
        match link {
            Some(link) => links.insert(node, link),
            None => links.remove(&node),
        };
        metrics::connected(&self.node.to_string(), links.len());
        self.links.store(Arc::new(links));
    }

    /// Tells watchers of changes of state; round trips alone wake nobody.
    fn publish(&self, peers: &Peers) {
        let present: Vec<Peer> = peers.by_id.values().map(|entry| entry.peer.clone()).collect();
        self.watch.send_if_modified(|known| {
            let same = known.len() == present.len()
                && known
                    .iter()
                    .zip(&present)
                    .all(|(a, b)| a.member == b.member && a.changed_at == b.changed_at);
            *known = Arc::new(present);
            !same
        });
    }

    /// Has a connection replaced by one with our present certificate.
    fn renew_connection(&self, link: &Link) {
        if self.node < link.peer {
            self.redial(link.peer)
        } else {
            link.ask_to_redial()
        }
    }

    pub(crate) fn set_identity(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        let names = identity.names();
        if (names.cluster, names.node) != (self.cluster, self.node) {
            return Err(IdentityError::OtherNode {
                found_cluster: names.cluster,
                found_node: names.node,
            });
        }
        self.identity.set(identity)?;
        for link in self.links.load().values() {
            self.renew_connection(link);
        }
        Ok(())
    }

    // --- the other side's part ---

    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let busy = self.handshakes.load(Ordering::Relaxed);
            if busy >= MAX_HANDSHAKES {
                metrics::refused("handshakes_busy");
                incoming.refuse();
                continue;
            }
            if busy >= UNCHECKED_HANDSHAKES && incoming.may_retry() {
                // Whoever forges the address it comes from never answers this.
                let _sent = incoming.retry();
                continue;
            }
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            let inner = Arc::clone(&self);
            self.tasks.spawn_until_cancelled(async move {
                let from = incoming.remote_address();
                let accepted = inner.handshake(incoming).await;
                inner.handshakes.fetch_sub(1, Ordering::Relaxed);
                match accepted {
                    Some(Accepted::Joiner(connection)) => join::answer(&inner, from, connection).await,
                    Some(Accepted::Late(connection)) => late::answer(&inner, from, connection).await,
                    Some(Accepted::Peer) | None => {}
                }
            });
        }
    }

    async fn handshake(self: &Arc<Self>, incoming: quinn::Incoming) -> Option<Accepted> {
        let from = incoming.remote_address();
        let deadline = tokio::time::Instant::now() + HANDSHAKE_TIMEOUT;
        let connecting = incoming.accept().ok()?;
        let connection = match tokio::time::timeout_at(deadline, connecting).await.ok()? {
            Ok(connection) => connection,
            Err(error) => {
                if let Some(reason) = tls_refusal(&error) {
                    metrics::refused(reason);
                    tracing::warn!(%from, reason, %error, "refused a connection: its certificate is not good here");
                }
                return None;
            }
        };
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match protocol.as_deref() {
            Some(ALPN_JOIN) => Some(Accepted::Joiner(connection)),
            Some(ALPN_RENEW) => Some(Accepted::Late(connection)),
            Some(ALPN_MESH) => {
                let accepted = tokio::time::timeout_at(deadline, self.accept_peer(&connection))
                    .await
                    .unwrap_or(Ok(()));
                if let Err(code) = accepted {
                    refuse(&connection, from, code);
                }
                Some(Accepted::Peer)
            }
            _ => None,
        }
    }

    async fn accept_peer(self: &Arc<Self>, connection: &quinn::Connection) -> Result<(), CloseCode> {
        let own_not_after_ms = self.own_not_after_ms();
        let names = peer_names(connection)?;
        self.admit(&names)?;
        if names.node >= self.node {
            return Err(CloseCode::WrongSide);
        }
        let greeting = match greet(connection, self.life, None).await {
            Ok(greeting) => greeting,
            Err(error) => {
                tracing::debug!(peer = %names.node, %error, "a connection ended before it was in use");
                return Ok(());
            }
        };
        let token = self.tasks.token().child_token();
        let link = Link::new(connection.clone(), names, &greeting, own_not_after_ms, token);
        self.install(link, greeting.control).map(drop)
    }

    // --- messages ---

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

    // --- upkeep ---

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

enum Accepted {
    Joiner(quinn::Connection),
    Late(quinn::Connection),
    Peer,
}

impl Entry {
    fn new(member: Member, token: CancellationToken) -> Self {
        let changed_at = tokio::time::Instant::now();
        let wanted = Arc::new(Notify::new());
        wanted.notify_one();
        Self {
            peer: Peer {
                member,
                state: PeerState::Down,
                rtt: None,
                changed_at,
            },
            link: None,
            was_connected: false,
            stale: false,
            wanted,
            token,
        }
    }

    fn set_state(&mut self, state: PeerState, rtt: Option<Duration>) {
        if self.peer.state != state {
            self.peer.changed_at = tokio::time::Instant::now();
        }
        self.peer.state = state;
        self.peer.rtt = rtt;
    }
}

/// Closes a connection for a reason that somebody should know of.
pub(crate) fn refuse(connection: &quinn::Connection, from: SocketAddr, code: CloseCode) {
    metrics::refused(code.label());
    tracing::warn!(%from, reason = %code, "refused a peer");
    code.close(connection);
}

/// Whom the other side's certificate names. TLS has checked by then that our CA signed it.
pub(crate) fn peer_names(connection: &quinn::Connection) -> Result<CertificateNames, CloseCode> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(CloseCode::NoCertificate)?;
    let leaf = chain.first().ok_or(CloseCode::NoCertificate)?;
    CertificateNames::parse(leaf).map_err(|_| CloseCode::BadCertificate)
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
    pub async fn stop(&self) {
        self.inner.tasks.stop(2 * FAREWELL_TIMEOUT).await;
    }
}
