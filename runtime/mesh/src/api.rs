//! The public face of the mesh.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jarvis_types::limits::MAX_MESH_FRAME_BYTES;
use jarvis_types::{NodeId, NodeName};
use tokio::sync::watch;

use crate::link::Link;
use crate::mesh::MeshInner;

/// What a stream is for. Lanes cannot block one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lane {
    /// Votes, appends, forwarded proposals.
    Raft = 1,
    /// Snapshots.
    Snapshot = 2,
    /// Messages between entities and gateways.
    Actors = 3,
    /// Audio frames.
    Audio = 4,
    /// ractor_cluster, certificates.
    Control = 5,
}

/// What a call asks for within its lane. Numbers are promises; each crate above defines its own.
/// 0x01xx mesh, 0x02xx replica, 0x03xx entity, 0x04xx session, 0x05xx node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service(pub u16);

/// Why a call or cast failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection to that node.
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// The connection was lost while waiting: whether the other side acted is unknown.
    #[error("the connection to node {0} was lost")]
    ConnectionLost(NodeId),
    /// No answer in time: whether the other side acted is unknown.
    #[error("node {node} did not answer within {after:?}")]
    Timeout {
        /// The node asked.
        node: NodeId,
        /// How long was waited.
        after: Duration,
    },
    /// The queue to that node is full; nothing was sent.
    #[error("the queue to node {0} is full")]
    Overloaded(NodeId),
    /// The message exceeds the frame limit; nothing was sent.
    #[error("{len} bytes exceed the frame limit of {max}")]
    TooLarge {
        /// Its size.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The other side refused it.
    #[error("node {node} refused: {message}")]
    Refused {
        /// The node asked.
        node: NodeId,
        /// Its words.
        message: String,
    },
    /// The mesh is stopping.
    #[error("the mesh is stopping")]
    Stopping,
}

/// A call that has arrived.
pub struct Call {
    /// Who calls: the node id of the peer's certificate.
    pub from: NodeId,
    /// What is asked for.
    pub service: Service,
    /// The message.
    pub body: Bytes,
    /// Where the answer goes. Dropping it answers with a refusal; for a cast nothing is sent.
    pub answer: Answer,
}

/// Takes calls of one service. `handle` runs in the stream's reading loop, in the stream's order: it hands the call to a
/// queue or spawns, and returns at once.
pub trait Handler: Send + Sync + 'static {
    /// Takes one call.
    fn handle(&self, call: Call);
}

impl<F: Fn(Call) + Send + Sync + 'static> Handler for F {
    fn handle(&self, call: Call) {
        self(call);
    }
}

/// Takes the answer, or the words of a refusal, to where it is waited for.
pub(crate) type Deliver = Box<dyn FnOnce(Result<Bytes, String>) + Send>;

/// Where the answer to a call goes.
pub struct Answer(pub(crate) Option<Deliver>);

impl Answer {
    /// An answer that `deliver` takes: for calls that never left the node.
    pub fn local(deliver: impl FnOnce(Result<Bytes, String>) + Send + 'static) -> Self {
        Self(Some(Box::new(deliver)))
    }

    /// Nobody waits.
    pub fn none() -> Self {
        Self(None)
    }

    /// Answers.
    pub fn send(mut self, body: Bytes) {
        if let Some(deliver) = self.0.take() {
            deliver(Ok(body));
        }
    }

    /// Refuses, with words for the caller.
    pub fn refuse(mut self, message: impl Into<String>) {
        if let Some(deliver) = self.0.take() {
            deliver(Err(message.into()));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(Err("dropped without an answer".to_owned()));
        }
    }
}

/// A member as the mesh has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id, which its certificate must carry.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where it is met, `host:port`.
    pub address: String,
}

/// A peer as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The member.
    pub member: Member,
    /// Whether there is a connection.
    pub state: PeerState,
    /// Smoothed round trip of the connection; none while down.
    pub rtt: Option<Duration>,
    /// Since when the state has been as it is.
    pub changed_at: tokio::time::Instant,
    /// How the last connection was lost; none while up, and where there was none yet.
    pub lost: Option<Lost>,
}

/// How a connection was lost, which says how sure it is that the other side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The peer's process has ended without a word: its machine refuses its port, or has closed its tether and QUIC is
    /// silent besides.
    Crashed,
    /// Nothing was heard for the idle time: the machine is gone, or cut off, or stopped.
    Silent,
    /// One of the two closed it in order.
    Closed,
}

/// Whether there is a connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Connected.
    Up,
    /// Not connected; dialled again with back-off where it is this node's part to dial.
    Down,
}

/// That this node is out of the cluster for good, as a member told it when it came to connect. A node that was removed while
/// it was cut off learns it so: nobody sends it the log any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Who said so, by its certificate.
    pub by: NodeId,
}

/// A raw pair of streams on a lane, for what is too long for one message.
pub struct LaneStream {
    /// The other side.
    pub peer: NodeId,
    /// Towards it.
    pub send: quinn::SendStream,
    /// From it.
    pub recv: quinn::RecvStream,
}

/// Takes raw streams of one service; called in the accept loop, must return at once.
pub trait StreamHandler: Send + Sync + 'static {
    /// Takes one stream.
    fn accept(&self, stream: LaneStream);
}

impl<F: Fn(LaneStream) + Send + Sync + 'static> StreamHandler for F {
    fn accept(&self, stream: LaneStream) {
        self(stream);
    }
}

/// Answers people who want to join; runs without a client certificate, so it believes nothing but a valid secret.
pub trait JoinHandler: Send + Sync + 'static {
    /// `request` and the answer are the caller's own format; `from` is the joiner's address.
    fn join(&self, from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// The mesh of one node. Clones share it.
#[derive(Clone)]
pub struct Mesh {
    pub(crate) inner: Arc<MeshInner>,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mesh(node {})", self.node())
    }
}

impl Mesh {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// The peers as they stand, and every change of state. Round trips are refreshed every second in what `borrow` gives,
    /// but wake nobody by themselves.
    pub fn peers(&self) -> watch::Receiver<Arc<Vec<Peer>>> {
        self.inner.watch()
    }

    /// Who may be connected to. Connections of nodes that are listed no longer are closed at once and refused afterwards.
    pub fn set_members(&self, members: Vec<Member>) {
        self.inner.set_members(members);
    }

    /// Whether the list of members is current, as it is until this is called.
    ///
    /// A node that was away has the list of the day it went, and refuses whoever joined since. Where such a newcomer leads,
    /// nobody else sends the log, so the list would stay as it is. Therefore a good certificate of the cluster is enough
    /// while the list is not current: its node is a peer like others, under a name made up for it. When the list is current
    /// those that it does not name are refused again. Whoever is known to be removed stays out all the while.
    ///
    /// The list counts as current once a majority has confirmed that this node has applied everything committed (a read
    /// index), for a leader that this node knows may be one no longer. It has to be asked again when a node is refused
    /// that the list lacks ([`unlisted_refused`](Self::unlisted_refused)): while this node was cut off others may have joined.
    ///
    /// Who was removed meanwhile is heard until then. It holds no more than a member that fell behind: it cannot win an
    /// election or commit an entry without a majority of those who know better, and is issued no certificate.
    pub fn set_list_current(&self, current: bool) {
        self.inner.set_list_current(current);
    }

    /// Completes when a node with a good certificate is refused because the list lacks it, or was since the last time. For one
    /// waiter.
    pub async fn unlisted_refused(&self) {
        self.inner.unlisted_refused.notified().await;
    }

    /// Who is out for good, by the replicated table: told so when it comes, so that it does not go on in vain. Ids never come
    /// back, so nobody is taken off this list.
    pub fn set_removed(&self, removed: impl IntoIterator<Item = NodeId>) {
        self.inner.set_removed(removed);
    }

    /// Whether a member has told this node that it is out for good.
    pub fn removal(&self) -> watch::Receiver<Option<Removal>> {
        self.inner.removal.subscribe()
    }

    /// Asks `to` and waits for the answer. Calls with the same `order` on the same lane reach the handler in the order
    /// in which they were made. To itself: an error `NotConnected` (callers short-circuit).
    ///
    /// # Errors
    /// [`CallError`]; after `ConnectionLost` and `Timeout` the other side may have acted.
    pub async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        check_len(&body)?;
        let (mut body, mut link) = (body, self.inner.link(to)?);
        loop {
            body = match link.call(lane, service, order, body, timeout).await {
                Ok(result) => return result,
                Err(body) => body,
            };
            link = self.successor(to, &link)?;
        }
    }

    /// Sends without an answer and without waiting.
    ///
    /// # Errors
    /// `NotConnected`, `Overloaded`, `TooLarge`, `Stopping`.
    pub fn cast(
        &self,
        to: NodeId,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
    ) -> Result<(), CallError> {
        check_len(&body)?;
        let (mut body, mut link) = (body, self.inner.link(to)?);
        loop {
            body = match link.cast(lane, service, order, body) {
                Ok(result) => return result,
                Err(body) => body,
            };
            link = self.successor(to, &link)?;
        }
    }

    /// The connection that has taken the place of `retired`; there is one, or none at all.
    fn successor(&self, to: NodeId, retired: &Arc<Link>) -> Result<Arc<Link>, CallError> {
        let link = self.inner.link(to)?;
        if Arc::ptr_eq(&link, retired) {
            Err(CallError::NotConnected(to))
        } else {
            Ok(link)
        }
    }

    /// Opens a raw stream.
    ///
    /// # Errors
    /// `NotConnected`, `ConnectionLost`, `Stopping`.
    pub async fn open(&self, to: NodeId, lane: Lane, service: Service) -> Result<LaneStream, CallError> {
        self.inner.link(to)?.open(lane, service).await
    }

    /// Registers who takes calls of `service`, before members are set or later; a call of an unknown service is refused.
    pub fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        self.inner.serve(service, &handler);
    }

    /// Registers who takes raw streams of `service`.
    pub fn serve_streams(&self, service: Service, handler: Arc<dyn StreamHandler>) {
        self.inner.serve_streams(service, &handler);
    }
}

fn check_len(body: &Bytes) -> Result<(), CallError> {
    let (len, max) = (body.len(), MAX_MESH_FRAME_BYTES);
    if len > max {
        Err(CallError::TooLarge { len, max })
    } else {
        Ok(())
    }
}
