//! Which index a linearizable read has to wait for. Reads that come together share one round with the majority.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_mesh::api::Lane;
use jarvis_types::{NodeId, codec};
use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot, watch};

use crate::transport::{Transport, orders, services};
use crate::types::{RPC_VERSION, Raft};

/// Reads that may wait for a round.
pub(crate) const MAX_WAITING_READS: usize = 1_024;

/// How long the leader may take to confirm itself before the round is given up and begun anew.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);

/// Who waits for an index; dropped without one: try again.
pub(crate) type Waiting = oneshot::Sender<u64>;

/// Answers reads in rounds.
pub(crate) struct ReadRounds {
    pub(crate) node: NodeId,
    pub(crate) raft: Raft,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) leader: watch::Receiver<Option<NodeId>>,
    pub(crate) queue: mpsc::Receiver<Waiting>,
}

impl ReadRounds {
    /// Answers until nobody can ask any more.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::new();
        // Only who asked before a round began may be answered by it.
        while self.queue.recv_many(&mut waiting, MAX_WAITING_READS).await > 0 {
            let index = self.round().await;
            for reader in waiting.drain(..) {
                if let Some(index) = index {
                    let _ = reader.send(index);
                }
            }
        }
    }

    async fn round(&mut self) -> Option<u64> {
        let leader = (*self.leader.borrow_and_update())?;
        let asking = async {
            if leader == self.node {
                return index_here(&self.raft).await.ok();
            }
            let ask = Bytes::from_static(&[RPC_VERSION]);
            let call = self.transport.call(
                leader,
                Lane::Raft,
                services::READ_INDEX,
                orders::READ,
                ask,
                ROUND_TIMEOUT,
            );
            codec::decode::<u64>(RPC_VERSION, &call.await.ok()?).ok()
        };
        tokio::select! {
            _ = self.leader.wait_for(|now| *now != Some(leader)) => None,
            index = tokio::time::timeout(ROUND_TIMEOUT, asking) => index.ok().flatten(),
        }
    }
}

/// The index up to which everything was committed before the call, confirmed by a majority. Only the leader has one.
pub(crate) async fn index_here(raft: &Raft) -> Result<u64, String> {
    let (read, _) = raft
        .get_read_log_id(ReadPolicy::ReadIndex)
        .await
        .map_err(|e| e.to_string())?;
    Ok(read.index())
}
