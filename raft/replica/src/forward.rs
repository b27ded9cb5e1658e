//! Proposals on their way to another node that leads, in batches, and that leader's side of it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jarvis_mesh::api::Lane;
use jarvis_types::{NodeId, codec};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::intake::{Admission, Intake};
use crate::transport::{Transport, orders, services};
use crate::types::{Blob, RPC_VERSION, Raft};

/// Batches under way at once.
const MAX_BATCHES: usize = 16;

/// Most bytes of proposals in one batch, below the mesh's frame limit by far.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// One try of one proposal.
pub(crate) struct Item {
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
    /// Dropped without an answer: try again.
    pub(crate) answer: oneshot::Sender<Bytes>,
}

/// What the batches need.
pub(crate) struct Forwarder {
    pub(crate) node: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) leader: watch::Receiver<Option<NodeId>>,
    pub(crate) queue: mpsc::Receiver<Item>,
}

impl Forwarder {
    /// Sends batches until the proposing side is gone.
    pub(crate) async fn run(mut self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                first = self.queue.recv(), if under_way.len() < MAX_BATCHES => {
                    let Some(first) = first else { return };
                    let batch = gather(first, &mut self.queue);
                    under_way.push(send(
                        self.node,
                        Arc::clone(&self.transport),
                        self.leader.clone(),
                        batch,
                    ));
                }
            }
        }
    }
}

fn gather(first: Item, queue: &mut mpsc::Receiver<Item>) -> Vec<Item> {
    let mut bytes = first.body.len();
    let mut batch = vec![first];
    while bytes < MAX_BATCH_BYTES {
        let Ok(item) = queue.try_recv() else { break };
        bytes += item.body.len();
        batch.push(item);
    }
    // Whoever gave up meanwhile need not be served.
    batch.retain(|item| !item.answer.is_closed());
    batch
}

/// Has one batch decided by whoever leads. Items without an answer are dropped, which tells their callers to try again.
async fn send(
    node: NodeId,
    transport: Arc<dyn Transport>,
    mut leader: watch::Receiver<Option<NodeId>>,
    batch: Vec<Item>,
) {
    let Some(to) = leader.borrow_and_update().filter(|to| *to != node) else {
        return;
    };
    let deadline = batch
        .iter()
        .map(|item| item.deadline)
        .max()
        .unwrap_or_else(Instant::now);
    tokio::select! {
        () = tokio::time::sleep_until(deadline) => {}
        // A new leader answers sooner than an old one that was cut off, and dedupes what the old one still managed.
        _ = leader.wait_for(|now| *now != Some(to)) => {}
        () = decide_there(&*transport, to, batch, deadline) => {}
    }
}

async fn decide_there(transport: &dyn Transport, to: NodeId, batch: Vec<Item>, deadline: Instant) {
    let bodies: Vec<Blob> = batch.iter().map(|item| Blob(item.body.clone())).collect();
    let Ok(body) = codec::encode_serde(RPC_VERSION, &bodies) else {
        return;
    };
    let timeout = deadline.saturating_duration_since(Instant::now());
    let call = transport.call(
        to,
        Lane::Raft,
        services::PROPOSE,
        orders::PROPOSE,
        Bytes::from(body),
        timeout,
    );
    let answers: Vec<Option<Blob>> = match call.await {
        Ok(answer) => codec::decode_serde(RPC_VERSION, &answer).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(leader = %to, %error, "proposals did not reach the leader");
            return;
        }
    };
    for (item, answer) in batch.into_iter().zip(answers) {
        if let Some(outcome) = answer {
            let _ = item.answer.send(outcome.0);
        }
    }
}

/// The leader's side of [`decide_there`]: `None` for what it did not decide. Each proposal is taken or refused for itself.
pub(crate) async fn decide_for(
    raft: &Raft,
    intake: &Intake,
    from: NodeId,
    body: &[u8],
) -> Result<Vec<Option<Blob>>, String> {
    let bodies: Vec<Blob> = codec::decode_serde(RPC_VERSION, body).map_err(|e| e.to_string())?;
    // A node that does not lead refuses nothing for good: the one that does may know more.
    let leads = raft.metrics().borrow_watched().current_leader == Some(intake.node().0);
    let mut decided = Vec::with_capacity(bodies.len());
    let mut places = Vec::with_capacity(bodies.len());
    let mut admitted = Vec::with_capacity(bodies.len());
    for body in bodies {
        match intake.admit(from, body.0)? {
            Admission::Admitted(body) => {
                places.push(decided.len());
                admitted.push(Blob(body));
                decided.push(None);
            }
            Admission::Refused(outcome) => decided.push(leads.then_some(Blob(outcome))),
            Admission::NotYet => decided.push(None),
        }
    }
    if admitted.is_empty() {
        return Ok(decided);
    }
    let mut answers = raft
        .client_write_many(admitted)
        .await
        .map_err(|e| e.to_string())?;
    for place in places {
        match answers.next().await {
            Some(Ok(Ok(written))) => decided[place] = Some(written.response),
            Some(_) => {}
            // It has ended with the leadership: nothing more is known.
            None => break,
        }
    }
    Ok(decided)
}
