//! What the replica asks of the network: the mesh in the product, memory in tests with many replicas in one process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jarvis_mesh::api::{CallError, Handler, Lane, LaneStream, Mesh, Service};
use jarvis_types::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where the replica's calls go within their lanes. Numbers are promises.
pub(crate) mod services {
    use super::Service;

    /// `AppendEntries`, heartbeats included.
    pub(crate) const APPEND: Service = Service(0x0201);
    /// `RequestVote`.
    pub(crate) const VOTE: Service = Service(0x0202);
    /// `RequestPreVote`.
    pub(crate) const PRE_VOTE: Service = Service(0x0203);
    /// The leader asks its successor to stand.
    pub(crate) const TRANSFER_LEADER: Service = Service(0x0204);
    /// Proposals, to the leader.
    pub(crate) const PROPOSE: Service = Service(0x0205);
    /// Which index a linearizable read waits for, of the leader.
    pub(crate) const READ_INDEX: Service = Service(0x0206);
    /// Please hand leadership over, of the leader.
    pub(crate) const HAND_OVER: Service = Service(0x0207);
    /// A snapshot, as a stream.
    pub(crate) const SNAPSHOT: Service = Service(0x0208);
    /// A member's report to another. 0x0209 was that of builds up to level 3.
    pub(crate) const REPORT: Service = Service(0x020A);
}

/// Order keys within the raft lane: what shares one is delivered in order, what does not cannot hold up the other.
pub(crate) mod orders {
    /// Appends with entries.
    pub(crate) const APPEND: u64 = 1;
    /// Heartbeats and votes, which must not wait behind entries.
    pub(crate) const VOTE: u64 = 2;
    /// Forwarded proposals.
    pub(crate) const PROPOSE: u64 = 3;
    /// Read indexes and whatever else is small.
    pub(crate) const READ: u64 = 4;
}

/// A pair of byte streams with one peer.
pub struct Pipe {
    /// The other side.
    pub peer: NodeId,
    /// Towards it.
    pub send: Box<dyn AsyncWrite + Send + Unpin>,
    /// From it.
    pub recv: Box<dyn AsyncRead + Send + Unpin>,
}

/// Takes pipes that were opened; must return at once.
pub type PipeHandler = Arc<dyn Fn(Pipe) + Send + Sync>;

/// Carries calls and pipes between replicas. Peers are authenticated below it.
pub trait Transport: Send + Sync + 'static {
    /// As [`Mesh::call`].
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>>;

    /// As [`Mesh::open`].
    fn open(&self, to: NodeId, lane: Lane, service: Service) -> BoxFuture<'static, Result<Pipe, CallError>>;

    /// As [`Mesh::serve`].
    fn serve(&self, service: Service, handler: Arc<dyn Handler>);

    /// As [`Mesh::serve_streams`].
    fn serve_pipes(&self, service: Service, handler: PipeHandler);
}

impl Transport for Mesh {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let mesh = self.clone();
        Box::pin(async move { mesh.call(to, lane, service, order, body, timeout).await })
    }

    fn open(&self, to: NodeId, lane: Lane, service: Service) -> BoxFuture<'static, Result<Pipe, CallError>> {
        let mesh = self.clone();
        Box::pin(async move { mesh.open(to, lane, service).await.map(pipe) })
    }

    fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        Mesh::serve(self, service, handler);
    }

    fn serve_pipes(&self, service: Service, handler: PipeHandler) {
        self.serve_streams(service, Arc::new(move |stream| handler(pipe(stream))));
    }
}

fn pipe(stream: LaneStream) -> Pipe {
    Pipe {
        peer: stream.peer,
        send: Box::new(stream.send),
        recv: Box::new(stream.recv),
    }
}
