//! Finds the owner of an entity and follows it when it moves.
//!
//! A message may reach an entity twice: a lost connection leaves unknown whether it arrived, and the router sends it
//! again. Entities take the same message id as the same message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_mesh::api::{Call, CallError, Lane, Mesh};
use jarvis_types::{EntityId, Epoch, NodeId, RequestId, partition_of};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::api::{AskError, Leases, Ownership, Router};
use crate::gains::TakenUp;
use crate::host::{Host, QuarantinedEntity};
use crate::metrics;
use crate::placement::{Placement, PlacementTable};
use crate::wire::{AskFrame, AskReply, SERVICE_ASK};

/// First wait before asking again; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_millis(2);
/// Longest wait before asking again: a fraction of what a person notices.
const MAX_RETRY: Duration = Duration::from_millis(25);

/// The router's parts.
pub struct RouterInner {
    pub(crate) host: Arc<Host>,
    pub(crate) placement: Arc<Placement>,
    pub(crate) mesh: Mesh,
    pub(crate) leases: Leases,
}

impl Router {
    pub(crate) fn new(host: Arc<Host>, placement: Arc<Placement>, mesh: Mesh, leases: Leases) -> Self {
        let weak = Arc::downgrade(&host);
        mesh.serve(
            SERVICE_ASK,
            Arc::new(move |call: Call| {
                let Call {
                    from, body, answer, ..
                } = call;
                let Some(host) = weak.upgrade() else {
                    return answer.refuse("the node is stopping");
                };
                match AskFrame::decode(&body) {
                    Ok(frame) => {
                        host.deliver(from, frame, Box::new(move |reply| answer.send(reply.encode())))
                    }
                    Err(error) => answer.refuse(format!("malformed message: {error}")),
                }
            }),
        );
        Self {
            inner: Arc::new(RouterInner {
                host,
                placement,
                mesh,
                leases,
            }),
        }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.host.node()
    }

    /// Sends to the entity, wherever it is, and waits for its answer; follows it when it moves.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        to: &EntityId,
        request: Option<RequestId>,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, AskError> {
        let started = Instant::now();
        let span = tracing::debug_span!(
            "ask",
            request_id = request.as_ref().map(tracing::field::display),
            entity = %to,
        );
        let asking = async {
            let result = self.ask_until(to, request, body, started, deadline).await;
            tracing::debug!(elapsed = ?started.elapsed(), error = result.as_ref().err().map(tracing::field::display), "asked");
            result
        };
        let result = asking.instrument(span).await;
        ::metrics::histogram!(metrics::ASK_SECONDS).record(started.elapsed().as_secs_f64());
        result
    }

    async fn ask_until(
        &self,
        to: &EntityId,
        request: Option<RequestId>,
        body: Bytes,
        started: Instant,
        deadline: Duration,
    ) -> Result<Bytes, AskError> {
        let end = started + deadline;
        let unavailable = || AskError::Unavailable {
            entity: to.clone(),
            waited: started.elapsed(),
        };
        let frame = AskFrame {
            to: to.clone(),
            request,
            body: body.to_vec(),
        };
        let encoded = frame.encode().map_err(|e| AskError::Refused(e.to_string()))?;
        let mut retry = MIN_RETRY;
        let mut placement = self.inner.placement.watch();
        let mut hint: Option<(NodeId, Epoch)> = None;
        loop {
            placement.mark_unchanged();
            let known = self.ownership(to);
            let target = match hint.take() {
                Some((owner, epoch)) if epoch > known.epoch => Some(owner),
                _ => known.owner,
            };
            let reply = match target {
                None => AskReply::NotReady,
                Some(owner) => {
                    let asking = self.ask_once(owner, &frame, &encoded, end);
                    tokio::pin!(asking);
                    // A move while the message is out: the old owner may be dead and never answer.
                    tokio::select! {
                        biased;
                        reply = &mut asking => reply,
                        () = self.moved_on(&mut placement, to, known) => AskReply::NotReady,
                        () = tokio::time::sleep_until(end) => return Err(unavailable()),
                    }
                }
            };
            match reply {
                AskReply::Answer(bytes) => return Ok(Bytes::from(bytes)),
                AskReply::Refused(words) => return Err(AskError::Refused(words)),
                AskReply::Overloaded => return Err(AskError::Overloaded(to.clone())),
                AskReply::Quarantined { restarts, last_error } => {
                    return Err(AskError::Quarantined {
                        entity: to.clone(),
                        restarts,
                        last_error,
                    });
                }
                AskReply::NotOwner {
                    epoch,
                    owner: Some(owner),
                } if epoch > known.epoch => {
                    hint = Some((owner, epoch));
                }
                AskReply::NotOwner { .. } | AskReply::NotReady => {}
            }
            if Instant::now() >= end {
                return Err(unavailable());
            }
            if hint.is_none() {
                let wait = (Instant::now() + retry).min(end);
                let _ = timeout_at(wait, self.moved_on(&mut placement, to, known)).await;
                retry = (retry * 2).min(MAX_RETRY);
            }
        }
    }

    /// Completes when the entity's partition differs from `known`.
    async fn moved_on(&self, placement: &mut watch::Receiver<u64>, entity: &EntityId, known: Ownership) {
        while self.ownership(entity) == known {
            if placement.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn ask_once(&self, owner: NodeId, frame: &AskFrame, encoded: &Bytes, end: Instant) -> AskReply {
        if owner == self.node() {
            let (reply, answer) = oneshot::channel();
            let give = Box::new(move |r| {
                let _ = reply.send(r);
            });
            self.inner.host.deliver(owner, frame.clone(), give);
            return answer.await.unwrap_or(AskReply::NotReady);
        }
        let order = u64::from(partition_of(&frame.to.key, u16::MAX).0);
        let timeout = end.saturating_duration_since(Instant::now());
        match self
            .inner
            .mesh
            .call(owner, Lane::Actors, SERVICE_ASK, order, encoded.clone(), timeout)
            .await
        {
            Ok(bytes) => AskReply::decode(&bytes).unwrap_or_else(|error| {
                tracing::error!(%owner, %error, "a peer's answer is malformed");
                AskReply::NotReady
            }),
            Err(CallError::Overloaded(_)) => AskReply::Overloaded,
            Err(CallError::TooLarge { len, max }) => AskReply::Refused(format!("{len} bytes exceed {max}")),
            Err(_) => AskReply::NotReady,
        }
    }

    /// Who owns the entity's partition, as applied here.
    pub fn ownership(&self, of: &EntityId) -> Ownership {
        self.inner.placement.of(of).map_or(
            Ownership {
                owner: None,
                epoch: Epoch(0),
            },
            |(_, own)| own,
        )
    }

    /// All partitions of all kinds, as applied here.
    pub fn placement(&self) -> Arc<PlacementTable> {
        self.inner.placement.table()
    }

    /// Changes whenever some partition has a new owner.
    pub fn placement_changes(&self) -> watch::Receiver<u64> {
        self.inner.placement.watch()
    }

    /// This node's leases of acting on the world.
    pub fn leases(&self) -> Leases {
        self.inner.leases.clone()
    }

    /// Entities that were set aside on this node.
    pub fn quarantined(&self) -> Vec<QuarantinedEntity> {
        self.inner.host.quarantined()
    }

    /// How this node took up the entity's partition, if it owns it.
    pub fn taken_up(&self, of: &EntityId) -> Option<TakenUp> {
        self.inner.host.taken_up(of)
    }

    /// What a node must have to carry each of the kinds this build knows.
    pub fn needs(&self) -> std::collections::BTreeMap<jarvis_types::KindId, &'static [&'static str]> {
        self.inner.host.needs()
    }

    /// Whether the entity runs on this node, and how often it crashed here lately.
    pub fn activity(&self, of: &EntityId) -> (bool, usize) {
        self.inner.host.activity(of)
    }
}
