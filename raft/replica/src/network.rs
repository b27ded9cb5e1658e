//! openraft's requests to other nodes, over the transport.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_mesh::api::{CallError, Lane, Service};
use jarvis_types::{NodeId, codec};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::compaction::Streams;
use crate::report::LogCheck;
use crate::snapshot;
use crate::state::SnapshotData;
use crate::transport::{Transport, orders, services};
use crate::types::{RPC_VERSION, Snapshot, TypeConfig, Vote};

/// Makes a client for each peer.
pub(crate) struct Network {
    pub(crate) node: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
    /// How long an append may take, the follower's sync included. Longer than openraft's own limit: a slow card must
    /// not look like a lost message.
    pub(crate) append_timeout: Duration,
    /// With whom a word may be spoken.
    pub(crate) check: LogCheck,
    pub(crate) streams: Streams,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, (): &()) -> Client {
        self.client(target, orders::APPEND, Some(self.append_timeout))
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Client {
        self.client(target, orders::VOTE, None)
    }
}

impl Network {
    fn client(&self, target: u64, append_order: u64, append_timeout: Option<Duration>) -> Client {
        Client {
            node: self.node,
            target: NodeId(target),
            transport: Arc::clone(&self.transport),
            append_order,
            append_timeout,
            check: self.check.clone(),
            streams: self.streams.clone(),
        }
    }
}

/// Talks to one peer.
pub(crate) struct Client {
    node: NodeId,
    target: NodeId,
    transport: Arc<dyn Transport>,
    append_order: u64,
    append_timeout: Option<Duration>,
    check: LogCheck,
    streams: Streams,
}

/// This node has not compared its log with the peer's mark of it, or its disk is an older copy.
#[derive(Debug, thiserror::Error)]
#[error("the logs were not compared with node {0} yet")]
struct NotCompared(NodeId);

impl Client {
    async fn must_pass(&self) -> Result<(), Unreachable<TypeConfig>> {
        if self.check.passes(self.target).await {
            Ok(())
        } else {
            Err(Unreachable::new(&NotCompared(self.target)))
        }
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        action: RPCTypes,
        service: Service,
        order: u64,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, RPCError<TypeConfig>> {
        self.must_pass().await.map_err(RPCError::Unreachable)?;
        let body = codec::encode_serde(RPC_VERSION, request).map_err(|e| NetworkError::new(&e))?;
        let call = self.transport.call(
            self.target,
            Lane::Raft,
            service,
            order,
            Bytes::from(body),
            timeout,
        );
        let answer = call.await.map_err(|e| match e {
            CallError::Timeout { after, .. } => RPCError::Timeout(Timeout {
                action,
                id: self.node.0,
                target: self.target.0,
                timeout: after,
            }),
            CallError::Overloaded(_) | CallError::ConnectionLost(_) => {
                RPCError::Network(NetworkError::new(&e))
            }
            other => RPCError::Unreachable(Unreachable::new(&other)),
        })?;
        codec::decode_serde(RPC_VERSION, &answer).map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        if !rpc.entries.is_empty() && self.streams.purges_after(rpc.prev_log_id) {
            let reason = io::Error::other("it is too far behind: these entries are to be purged");
            return Err(RPCError::Unreachable(Unreachable::new(&reason)));
        }
        let timeout = self.append_timeout.unwrap_or(option.soft_ttl());
        self.call(
            RPCTypes::AppendEntries,
            services::APPEND,
            self.append_order,
            &rpc,
            timeout,
        )
        .await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(
            RPCTypes::Vote,
            services::VOTE,
            orders::VOTE,
            &rpc,
            option.soft_ttl(),
        )
        .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(
            RPCTypes::Vote,
            services::PRE_VOTE,
            orders::VOTE,
            &rpc,
            option.soft_ttl(),
        )
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        self.streams.sending(self.target.0, snapshot.meta.last_log_id);
        let sending = async {
            self.must_pass().await?;
            let pipe = self
                .transport
                .open(self.target, Lane::Snapshot, services::SNAPSHOT)
                .await;
            let pipe = pipe.map_err(|e| Unreachable::<TypeConfig>::new(&e))?;
            // No limit on the whole: what matters is that bytes go on flowing, which `send` watches.
            snapshot::send(pipe, vote, snapshot).await.map_err(|e| {
                tracing::warn!(peer = %self.target, error = %e, "a snapshot was not taken; it is sent again");
                StreamingError::Unreachable(Unreachable::<TypeConfig>::new(&e))
            })
        };
        let sent = tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent,
        };
        if sent.is_err() {
            self.streams.gave_up(self.target.0);
        }
        sent
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(
            RPCTypes::TransferLeader,
            services::TRANSFER_LEADER,
            orders::VOTE,
            &req,
            option.soft_ttl(),
        )
        .await
    }
}
