//! A network in memory, for tests with many replicas in one process: nodes can be cut off and come back.

mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jarvis_mesh::api::{Answer, Call, CallError, Handler, Lane, Service};
use jarvis_types::NodeId;
use tokio::sync::{oneshot, watch};

pub use self::member::{start_member, voters_settled};
use crate::replica::lock;
use crate::transport::{Pipe, PipeHandler, Transport};

/// Bytes a pipe holds before its writer waits.
const PIPE_BYTES: usize = 64 * 1024;

/// Carries calls between all nodes that have joined. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Shared>);

#[derive(Default)]
struct Shared {
    nodes: Mutex<BTreeMap<NodeId, Handlers>>,
    cut: watch::Sender<BTreeSet<NodeId>>,
}

#[derive(Default, Clone)]
struct Handlers {
    calls: BTreeMap<u16, Arc<dyn Handler>>,
    pipes: BTreeMap<u16, PipeHandler>,
}

impl MemoryNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The transport of one node. Joining again takes the place of the node that was there.
    pub fn join(&self, node: NodeId) -> Arc<dyn Transport> {
        lock(&self.0.nodes).insert(node, Handlers::default());
        self.port(node)
    }

    /// Calls in a node's name beside what it calls itself.
    pub fn port(&self, node: NodeId) -> Arc<dyn Transport> {
        Arc::new(Port {
            node,
            network: self.clone(),
        })
    }

    /// Cuts these nodes off from everyone, what is under way included; all others are connected again.
    pub fn cut(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.0.cut.send_replace(nodes.into_iter().collect());
    }

    /// Connects everyone again.
    pub fn heal(&self) {
        self.cut([]);
    }

    fn connected(&self, a: NodeId, b: NodeId) -> bool {
        let cut = self.0.cut.borrow();
        !cut.contains(&a) && !cut.contains(&b)
    }

    /// Completes when the two are cut off from one another.
    async fn lost(&self, a: NodeId, b: NodeId) {
        let mut cut = self.0.cut.subscribe();
        if cut
            .wait_for(|cut| cut.contains(&a) || cut.contains(&b))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    fn handlers(&self, from: NodeId, to: NodeId) -> Result<Handlers, CallError> {
        if !self.connected(from, to) {
            return Err(CallError::NotConnected(to));
        }
        lock(&self.0.nodes)
            .get(&to)
            .cloned()
            .ok_or(CallError::NotConnected(to))
    }
}

/// One node's place in the network.
struct Port {
    node: NodeId,
    network: MemoryNetwork,
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        _lane: Lane,
        service: Service,
        _order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let (from, network) = (self.node, self.network.clone());
        Box::pin(async move {
            let handlers = network.handlers(from, to)?;
            let refused = |message: String| CallError::Refused { node: to, message };
            let handler = handlers
                .calls
                .get(&service.0)
                .ok_or_else(|| refused("unknown service".to_owned()))?;
            let (sender, answered) = oneshot::channel();
            let answer = Answer::local(move |result| drop(sender.send(result)));
            handler.handle(Call {
                from,
                service,
                body,
                answer,
            });
            tokio::select! {
                () = network.lost(from, to) => Err(CallError::ConnectionLost(to)),
                () = tokio::time::sleep(timeout) => Err(CallError::Timeout { node: to, after: timeout }),
                answer = answered => match answer {
                    Ok(answer) => answer.map_err(refused),
                    Err(_) => Err(CallError::ConnectionLost(to)),
                },
            }
        })
    }

    fn open(&self, to: NodeId, _lane: Lane, service: Service) -> BoxFuture<'static, Result<Pipe, CallError>> {
        let (from, network) = (self.node, self.network.clone());
        Box::pin(async move {
            let handlers = network.handlers(from, to)?;
            let handler = handlers
                .pipes
                .get(&service.0)
                .ok_or(CallError::NotConnected(to))?;
            let (near, far) = (tokio::io::duplex(PIPE_BYTES), tokio::io::duplex(PIPE_BYTES));
            handler(Pipe {
                peer: from,
                send: Box::new(far.0),
                recv: Box::new(near.1),
            });
            Ok(Pipe {
                peer: to,
                send: Box::new(near.0),
                recv: Box::new(far.1),
            })
        })
    }

    fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        lock(&self.network.0.nodes)
            .entry(self.node)
            .or_default()
            .calls
            .insert(service.0, handler);
    }

    fn serve_pipes(&self, service: Service, handler: PipeHandler) {
        lock(&self.network.0.nodes)
            .entry(self.node)
            .or_default()
            .pipes
            .insert(service.0, handler);
    }
}

/// A number that is the same where two views hold the same rows.
///
/// # Errors
/// Where the store fails.
pub fn fingerprint(view: &crate::api::View) -> Result<u64, jarvis_machine::storage::StoreError> {
    jarvis_machine::snapshot::fingerprint(&*view.tables)
}
