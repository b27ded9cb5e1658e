//! Requests of other nodes' replicas to this one.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::Tasks;
use jarvis_mesh::api::{Call, Service};
use jarvis_types::{NodeId, codec};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::intake::Intake;
use crate::log::LogStore;
use crate::renewal::Renewal;
use crate::replica::{ReplicaInner, lock};
use crate::snapshot;
use crate::state::StateShared;
use crate::transport::{Pipe, Transport, services};
use crate::types::{RPC_VERSION, Raft, TypeConfig};
use crate::{forward, heartbeat, leadership, reads};

/// Requests served at once. openraft has one append and one vote a peer under way; the rest are forwarded batches.
const MAX_REQUESTS: usize = 512;

/// How long a forwarded batch may take: whoever sent it has given up by then.
const FORWARDED_TIMEOUT: Duration = Duration::from_secs(30);

/// What serving needs. Nothing of it keeps the replica alive once its tasks are cancelled.
struct Server {
    /// Dropped replicas serve nobody.
    replica: Weak<ReplicaInner>,
    tasks: Tasks,
    places: Arc<Semaphore>,
}

/// Registers everything that other replicas ask for.
pub(crate) fn serve(replica: &Arc<ReplicaInner>, transport: &dyn Transport) {
    let server = Arc::new(Server {
        replica: Arc::downgrade(replica),
        tasks: replica.tasks.clone(),
        places: Arc::new(Semaphore::new(MAX_REQUESTS)),
    });
    for service in [
        services::APPEND,
        services::VOTE,
        services::PRE_VOTE,
        services::TRANSFER_LEADER,
        services::PROPOSE,
        services::READ_INDEX,
        services::HAND_OVER,
        services::REPORT,
    ] {
        let server = Arc::clone(&server);
        transport.serve(service, Arc::new(move |call: Call| server.take(call)));
    }
    let latest = Mutex::new(server.tasks.token().child_token());
    transport.serve_pipes(
        services::SNAPSHOT,
        Arc::new(move |pipe| server.take_snapshot(pipe, &latest)),
    );
}

impl Server {
    fn take(&self, call: Call) {
        // While it stops, openraft may have ended already, and would complain of each request.
        let Some(replica) = self
            .replica
            .upgrade()
            .filter(|_| !self.tasks.token().is_cancelled())
        else {
            return call.answer.refuse("the replica has stopped");
        };
        if call.service == services::REPORT {
            return match replica.pilot.hear(call.from, &call.body) {
                Ok(body) => call.answer.send(Bytes::from(body)),
                Err(error) => call.answer.refuse(error.to_string()),
            };
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return call.answer.refuse("too many requests are being served");
        };
        let asked = Asked {
            raft: replica.raft.clone(),
            log: replica.log.clone(),
            intake: Arc::clone(&replica.intake),
            renewal: Arc::clone(&replica.renewal),
            state: Arc::clone(&replica.state),
        };
        let check = replica.check.clone();
        drop(replica);
        self.tasks.spawn_until_cancelled(async move {
            if is_of_raft(call.service) && !check.passes(call.from).await {
                return call.answer.refuse("the logs were not compared yet");
            }
            match asked.answer(call.service, call.from, &call.body).await {
                Ok(body) => call.answer.send(Bytes::from(body)),
                Err(why) => call.answer.refuse(why),
            }
            drop(place);
        });
    }

    /// A new stream takes the place of the one before: its sender has given up, or leads no more.
    fn take_snapshot(&self, pipe: Pipe, latest: &Mutex<CancellationToken>) {
        let Some(replica) = self.replica.upgrade() else {
            return;
        };
        let (raft, state) = (replica.raft.clone(), Arc::clone(&replica.state));
        let check = replica.check.clone();
        drop(replica);
        let replaced = self.tasks.token().child_token();
        std::mem::replace(&mut *lock(latest), replaced.clone()).cancel();
        self.tasks.spawn(async move {
            if !check.passes(pipe.peer).await {
                return;
            }
            tokio::select! {
                () = replaced.cancelled() => tracing::info!("a snapshot stream was replaced or stopped"),
                () = receive_snapshot(&raft, &state, pipe) => {}
            }
        });
    }
}

/// Whether a service is a word of Raft itself, by which a node counts.
fn is_of_raft(service: Service) -> bool {
    matches!(
        service,
        services::APPEND | services::VOTE | services::PRE_VOTE | services::TRANSFER_LEADER
    )
}

async fn receive_snapshot(raft: &Raft, state: &StateShared, mut pipe: Pipe) {
    let peer = pipe.peer;
    tracing::info!(%peer, "receiving a snapshot");
    let install = |vote, snapshot| async move {
        let installed = raft.install_full_snapshot(vote, snapshot).await;
        installed.map(|answer| answer.vote).map_err(|e| e.to_string())
    };
    match snapshot::receive(&mut pipe, || state.store.stage(), install).await {
        Ok(()) => tracing::info!(%peer, "the snapshot is installed"),
        Err(error) => tracing::warn!(%peer, %error, "the snapshot was not installed; it will be sent again"),
    }
}

/// A request and what answers it.
struct Asked {
    raft: Raft,
    log: LogStore,
    intake: Arc<Intake>,
    renewal: Arc<Renewal>,
    state: Arc<StateShared>,
}

impl Asked {
    async fn answer(&self, service: Service, from: NodeId, body: &[u8]) -> Result<Vec<u8>, String> {
        let raft = &self.raft;
        match service {
            services::APPEND => {
                let (request, arrived): (AppendEntriesRequest<TypeConfig>, _) =
                    (decode(body)?, Instant::now());
                let vote = request.vote;
                let answer = if request.entries.is_empty() {
                    heartbeat::answer(raft, &self.log, request).await?
                } else {
                    raft.append_entries(request).await.map_err(|e| e.to_string())?
                };
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    self.renewal.heard(vote, arrived);
                }
                encode(&answer)
            }
            services::VOTE => {
                let request: VoteRequest<TypeConfig> = decode(body)?;
                match self
                    .renewal
                    .refusal(raft)
                    .filter(|_| !request.leadership_transfer)
                {
                    Some(refusal) => encode(&refusal),
                    None => encode(&raft.vote(request).await.map_err(|e| e.to_string())?),
                }
            }
            services::PRE_VOTE => {
                let request: VoteRequest<TypeConfig> = decode(body)?;
                match self.renewal.refusal(raft) {
                    Some(refusal) => encode(&refusal),
                    None => encode(&raft.pre_vote(request).await.map_err(|e| e.to_string())?),
                }
            }
            services::TRANSFER_LEADER => {
                let request: TransferLeaderRequest<TypeConfig> = decode(body)?;
                self.renewal.forget();
                encode(
                    &raft
                        .handle_transfer_leader(request)
                        .await
                        .map_err(|e| e.to_string())?,
                )
            }
            services::PROPOSE => {
                let deciding = forward::decide_for(raft, &self.intake, from, body);
                let decided = tokio::time::timeout(FORWARDED_TIMEOUT, deciding).await;
                encode(&decided.map_err(|_| "no majority answered".to_owned())??)
            }
            services::READ_INDEX => {
                let index = reads::index_here(raft).await?;
                codec::encode(RPC_VERSION, &index).map_err(|e| e.to_string())
            }
            services::HAND_OVER => {
                let to: Option<u64> = decode(body)?;
                leadership::hand_over_here(raft, &self.state, to.map(NodeId)).await?;
                encode(&())
            }
            Service(other) => Err(format!("unknown service {other:#06x}")),
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    codec::decode_serde(RPC_VERSION, body).map_err(|e| e.to_string())
}

fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, String> {
    codec::encode_serde(RPC_VERSION, answer).map_err(|e| e.to_string())
}
