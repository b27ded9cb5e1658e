//! Proposals of this node, on their way to the leader and retried under their own names until answered.
//!
//! ```text
//!            ┌─ this node leads ──► openraft, which makes its own batches ──────────────┐
//!  propose() ┤                                                                          ├─► answered, or: try again
//!            └─ another does ─────► queue ──► batches, a few under way ──► mesh ────────┘
//! ```
//!
//! Whoever proposes waits in their own future and decides about another try; there is no task for each proposal. What
//! waits while all batches are under way goes in the next one, so the busier the node, the larger its batches.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::Clock;
use jarvis_machine::ProposalError;
use jarvis_machine::command::{Command, Origin, Proposal};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_types::limits::MAX_COMMAND_BYTES;
use jarvis_types::{Incarnation, NodeId, codec};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api::{ProposeError, ProposeOptions};
use crate::forward::{Forwarder, Item};
use crate::intake::{Intake, LevelCheck};
use crate::metrics;
use crate::transport::Transport;
use crate::types::{Blob, Decided, RPC_VERSION, Raft};

/// Proposals that may be under way on one node.
pub const MAX_PROPOSALS: usize = 4_096;

/// Further places for what keeps the cluster going, such as moving partitions: it must not have to wait until users' proposals
/// are through, which may be waiting for it.
const HOUSEKEEPING_PROPOSALS: usize = 64;

/// How long a node that does not lead waits for a raise of the level that it has not applied yet.
const RAISE_PATIENCE: Duration = Duration::from_millis(500);

/// How long one try may take: a leader that holds a proposal for longer has lost its majority.
const LONGEST_TRY: Duration = Duration::from_secs(30);

/// First pause before another try; doubles up to [`LONGEST_PAUSE`]. A change of leader ends it.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// Names this life's proposals.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    open: BTreeSet<u64>,
}

/// The proposing side of one node.
pub(crate) struct Proposer {
    node: NodeId,
    incarnation: Incarnation,
    clock: Arc<dyn Clock>,
    numbers: Mutex<Numbers>,
    places: Semaphore,
    housekeeping: Semaphore,
    raft: Raft,
    intake: Arc<Intake>,
    queue: mpsc::Sender<Item>,
    leader: watch::Receiver<Option<NodeId>>,
    stopping: CancellationToken,
}

impl Proposer {
    /// The two halves; [`Forwarder::run`] is to be spawned.
    pub(crate) fn new(
        node: NodeId,
        incarnation: Incarnation,
        clock: Arc<dyn Clock>,
        (raft, intake): (Raft, Arc<Intake>),
        transport: Arc<dyn Transport>,
        leader: watch::Receiver<Option<NodeId>>,
        stopping: CancellationToken,
    ) -> (Self, Forwarder) {
        let (queue, items) = mpsc::channel(MAX_PROPOSALS);
        let forwarder = Forwarder {
            node,
            transport,
            leader: leader.clone(),
            queue: items,
        };
        let proposer = Self {
            node,
            incarnation,
            clock,
            numbers: Mutex::default(),
            places: Semaphore::new(MAX_PROPOSALS),
            housekeeping: Semaphore::new(HOUSEKEEPING_PROPOSALS),
            raft,
            intake,
            queue,
            leader,
            stopping,
        };
        (proposer, forwarder)
    }

    /// As [`crate::api::Replica::propose`].
    pub(crate) async fn propose(
        &self,
        command: Command,
        options: ProposeOptions,
    ) -> Result<Reply, ProposeError> {
        let began = Instant::now();
        let result = self.try_until_answered(command, &options, began).await;
        let outcome = match &result {
            Ok(_) => "applied",
            Err(ProposeError::Refused(_)) => "refused",
            Err(ProposeError::Unavailable { .. }) => "unavailable",
            Err(_) => "rejected",
        };
        metrics::proposal(began.elapsed(), outcome);
        if let Some(request) = &options.request {
            tracing::debug!(request_id = %request, outcome, elapsed = ?began.elapsed(), "proposed");
        }
        result
    }

    async fn try_until_answered(
        &self,
        command: Command,
        options: &ProposeOptions,
        began: Instant,
    ) -> Result<Reply, ProposeError> {
        let unavailable = || ProposeError::Unavailable {
            waited: began.elapsed(),
        };
        let _place = self.place(&command)?;
        let deadline = deadline_of(began, options.deadline);
        let mut leader = self.leader.clone();
        self.wait_for_level(&command, deadline, &mut leader).await?;
        // Open until answered or given up; what is given up is never applied later than that: the machine refuses
        // numbers below the lowest that is open.
        let number = OpenNumber::take(&self.numbers);
        let at_ms = self.clock.now_ms();
        let body = self.encode(command, options, &number, at_ms)?;
        let mut pause = FIRST_PAUSE;
        loop {
            if self.stopping.is_cancelled() {
                return Err(ProposeError::Stopping);
            }
            let known = timeout_at(deadline, leader.wait_for(Option::is_some))
                .await
                .map_err(|_| unavailable())?;
            let Ok(to) = known.map(|leader| *leader) else {
                return Err(ProposeError::Stopping);
            };
            let trying = async {
                if to == Some(self.node) {
                    self.decide_here(&body, at_ms, &mut leader).await
                } else {
                    let deadline = deadline.min(Instant::now() + LONGEST_TRY);
                    self.forward(&body, deadline).await
                }
            };
            if let Some(outcome) = timeout_at(deadline, trying).await.map_err(|_| unavailable())? {
                return match codec::decode::<Outcome>(RPC_VERSION, &outcome) {
                    Ok(outcome) => outcome.map_err(ProposeError::Refused),
                    Err(error) => {
                        tracing::warn!(%error, "the leader's answer does not decode; upgrade this node");
                        Err(unavailable())
                    }
                };
            }
            // Not answered: the leader changed, or cannot be reached. A new one ends the pause.
            if let Ok(Err(_)) = tokio::time::timeout(pause, leader.changed()).await {
                // Raft has ended here: trying again would not even pause.
                return Err(ProposeError::Stopping);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if Instant::now() >= deadline {
                return Err(unavailable());
            }
        }
    }

    fn place(&self, command: &Command) -> Result<SemaphorePermit<'_>, ProposeError> {
        let place = self.places.try_acquire().or_else(|full| {
            if command.is_housekeeping() {
                self.housekeeping.try_acquire()
            } else {
                Err(full)
            }
        });
        place.map_err(|_| ProposeError::Overloaded)
    }

    /// Waits until this node knows that the cluster is at the command's level. The leader looks for itself, but one of an
    /// earlier build looks only at what it speaks itself.
    async fn wait_for_level(
        &self,
        command: &Command,
        deadline: Instant,
        leader: &mut watch::Receiver<Option<NodeId>>,
    ) -> Result<(), ProposeError> {
        let began = Instant::now();
        loop {
            match self.intake.check_level(command) {
                LevelCheck::Allowed => return Ok(()),
                LevelCheck::TooLow { needs, level }
                    if self.knows_the_level(leader) || began.elapsed() >= RAISE_PATIENCE =>
                {
                    return Err(ProposeError::Refused(Refusal::LevelTooLow { needs, level }));
                }
                LevelCheck::TooLow { .. } | LevelCheck::NotYet => {}
            }
            if self.stopping.is_cancelled() {
                return Err(ProposeError::Stopping);
            }
            if Instant::now() >= deadline {
                let waited = began.elapsed();
                return Err(ProposeError::Unavailable { waited });
            }
            if let Ok(Err(_)) = tokio::time::timeout(LONGEST_PAUSE / 4, leader.changed()).await {
                return Err(ProposeError::Stopping);
            }
        }
    }

    /// Whether the level was raised no further than this node has applied.
    fn knows_the_level(&self, leader: &watch::Receiver<Option<NodeId>>) -> bool {
        *leader.borrow() == Some(self.node)
    }

    /// None: try again.
    async fn decide_here(
        &self,
        body: &Bytes,
        at_ms: u64,
        leader: &mut watch::Receiver<Option<NodeId>>,
    ) -> Option<Bytes> {
        let body = self.intake.admit_own(body, at_ms);
        let (responder, decided) = oneshot::channel();
        self.raft
            .client_write_ff(Blob(body), Some(Decided(responder)))
            .await
            .ok()?;
        tokio::select! {
            written = decided => written.ok()?.ok().map(|written| written.data.0),
            // A new leader answers sooner than this node can, and dedupes what this one still managed.
            _ = leader.wait_for(|now| *now != Some(self.node)) => None,
        }
    }

    /// None: try again.
    async fn forward(&self, body: &Bytes, deadline: Instant) -> Option<Bytes> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send(Item {
                body: body.clone(),
                deadline,
                answer,
            })
            .await
            .ok()?;
        answered.await.ok()
    }

    fn encode(
        &self,
        command: Command,
        options: &ProposeOptions,
        number: &OpenNumber<'_>,
        at_ms: u64,
    ) -> Result<Bytes, ProposeError> {
        let origin = Origin {
            node: self.node,
            incarnation: self.incarnation,
            sequence: number.sequence,
            answered_below: number.answered_below,
        };
        let proposal = Proposal {
            origin: Some(origin),
            at_ms,
            fence: options.fence,
            request: options.request.clone(),
            command,
        };
        match proposal.encode() {
            Ok(body) => Ok(Bytes::from(body)),
            Err(ProposalError::TooLarge { len, max }) => Err(ProposeError::TooLarge { len, max }),
            // The codec's own limit is far above the log's; of levels only what is read is judged.
            Err(ProposalError::Codec(_) | ProposalError::Newer { .. }) => Err(ProposeError::TooLarge {
                len: codec::DECODE_LIMIT_BYTES,
                max: MAX_COMMAND_BYTES,
            }),
        }
    }
}

/// When a proposal is given up; one without an end counts as thirty years, which every clock can tell.
fn deadline_of(began: Instant, after: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);
    began + after.min(FAR)
}

/// A number that is open until this is dropped.
struct OpenNumber<'p> {
    numbers: &'p Mutex<Numbers>,
    sequence: u64,
    answered_below: u64,
}

impl<'p> OpenNumber<'p> {
    fn take(numbers: &'p Mutex<Numbers>) -> Self {
        let mut held = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        held.last += 1;
        let sequence = held.last;
        held.open.insert(sequence);
        let answered_below = held.open.first().copied().unwrap_or(sequence);
        drop(held);
        Self {
            numbers,
            sequence,
            answered_below,
        }
    }
}

impl Drop for OpenNumber<'_> {
    fn drop(&mut self) {
        self.numbers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .open
            .remove(&self.sequence);
    }
}
