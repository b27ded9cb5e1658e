//! What a kind of entity implements, and how others reach entities.

use std::sync::Arc;
use std::time::Duration;

pub use crate::gains::TakenUp;
pub use crate::host::{EntityLimits, QuarantinedEntity};
pub use crate::lease::{LeaseSettings, Leases, Permit, Report};
pub use crate::letters::{Ledger, LedgerError, Step};
pub use crate::placement::PlacementTable;
pub use crate::router::RouterInner;
use async_trait::async_trait;
use bytes::Bytes;
use jarvis_host::Tasks;
use jarvis_machine::command::{Command, Fence};
use jarvis_machine::reply::Reply;
use jarvis_mesh::api::Answer;
use jarvis_replica::api::{ProposeError, ReadError, Replica, View};
use jarvis_types::{EntityId, Epoch, KindId, NodeId, PartitionIndex, RequestId};

/// One kind of entity: how many partitions it has, how an entity of it is made.
pub trait EntityKind: Send + Sync + 'static {
    /// What its entities are.
    type Entity: Entity;

    /// Its number.
    fn id(&self) -> KindId;
    /// Its name.
    fn name(&self) -> &'static str;
    /// How many partitions, for ever.
    fn partitions(&self) -> u16;
    /// Whether its entities do something outside the cluster that no fence of the machine's can refuse: a lamp is switched,
    /// a sound is played. They may do so only while [`Cx::may_act`] or under [`Cx::permit`].
    fn acts_on_world(&self) -> bool {
        false
    }
    /// The first cluster level whose builds know this kind: before the cluster is at it, no node is given any of it.
    fn since_level(&self) -> u32 {
        1
    }
    /// What a node must have to carry its entities: `microphone`, `gpu`, …
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }
    /// What a node should have to carry its entities, as long as any node that may carry some has it.
    fn prefers(&self) -> &'static [&'static str] {
        &[]
    }
    /// An entity, not yet started.
    fn create(&self, id: &EntityId) -> Self::Entity;
    /// Keys of entities of a partition that must run at once when it is gained: those with work left undone.
    ///
    /// # Errors
    /// [`ReadError`].
    fn unfinished(&self, view: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError>;
}

/// An entity. Its methods run one at a time. A method that fails or panics is a crash: the entity is restarted within
/// limits, then set aside. No correctness may depend on `on_stop`.
#[async_trait]
pub trait Entity: Send + Sized + 'static {
    /// What the entity's own tasks tell it.
    type Event: Send + 'static;

    /// Makes itself ready on a node that is about to own its partition: reads ahead, say. It does nothing else yet, since
    /// it still runs elsewhere, and may never be started here; [`Entity::on_start`] follows when the partition has come.
    async fn on_standby(&mut self, _: &Cx<Self::Event>) -> Result<(), EntityError> {
        Ok(())
    }
    /// Loads what it needs; runs before the first message.
    async fn on_start(&mut self, cx: &Cx<Self::Event>) -> Result<(), EntityError>;
    /// A message. It may come a second time: after a lost connection the router sends it again.
    async fn on_message(&mut self, cx: &Cx<Self::Event>, message: Inbound) -> Result<(), EntityError>;
    /// News from one of its own tasks.
    async fn on_event(&mut self, cx: &Cx<Self::Event>, event: Self::Event) -> Result<(), EntityError>;
    /// Letters wait for it ([`Ledger::letters`]): after a start with some, and whenever more have come. Those that it does not
    /// take in a [`Ledger::write`] go on waiting; it is told again when the next one comes, or when it starts the next time.
    async fn on_letters(&mut self, _: &Cx<Self::Event>) -> Result<(), EntityError> {
        Ok(())
    }
    /// Whether it may be passivated when nothing has come for a while.
    fn is_idle(&self) -> bool;
}

/// What comes in for an entity.
pub struct Inbound {
    /// The node it was sent from.
    pub from: NodeId,
    /// The request it serves.
    pub request: Option<RequestId>,
    /// The message, in the kind's own format.
    pub body: Bytes,
    /// Where the answer goes.
    pub answer: Answer,
}

/// Why an entity's method ended it.
#[derive(Debug, thiserror::Error)]
pub enum EntityError {
    /// Its partition has another owner: it ends quietly.
    #[error("the partition has moved on from epoch {0}")]
    Deposed(Epoch),
    /// A fault; counts towards the restart limit.
    #[error("{0}")]
    Fault(String),
}

/// What an entity has at hand.
pub struct Cx<E> {
    /// Which entity.
    pub entity: EntityId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The epoch of this node's ownership.
    pub epoch: Epoch,
    /// For reads; proposals go through [`Cx::propose`].
    pub replica: Replica,
    /// Tasks that end with this activation.
    pub tasks: Tasks,
    pub(crate) events: Arc<dyn Fn(E) + Send + Sync>,
    pub(crate) leases: Leases,
}

impl<E> Clone for Cx<E> {
    fn clone(&self) -> Self {
        Self {
            entity: self.entity.clone(),
            partition: self.partition,
            epoch: self.epoch,
            replica: self.replica.clone(),
            tasks: self.tasks.clone(),
            events: Arc::clone(&self.events),
            leases: self.leases.clone(),
        }
    }
}

impl<E: Send + 'static> Cx<E> {
    /// Proposes under this ownership.
    ///
    /// # Errors
    /// [`ProposeError`]; `Refused(StaleEpoch)` means deposed.
    pub async fn propose(
        &self,
        command: Command,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Reply, ProposeError> {
        let fence = Some(self.fence());
        self.replica
            .propose(
                command,
                jarvis_replica::api::ProposeOptions {
                    fence,
                    request,
                    deadline,
                },
            )
            .await
    }

    /// What guards this entity's proposals.
    pub fn fence(&self) -> Fence {
        Fence {
            kind: self.entity.kind,
            partition: self.partition,
            epoch: self.epoch,
        }
    }

    /// Whether this entity may act on the world at this moment: its node's lease runs, and nobody acts by an earlier
    /// ownership of its partition any more. Never for kinds that do not say that they act.
    pub fn may_act(&self) -> bool {
        self.acting().now()
    }

    /// Permission for one act that takes no longer than `takes`, to be held while it lasts: the lease runs that much longer,
    /// and whoever takes the partition over waits for the permit's end.
    pub fn permit(&self, takes: Duration) -> Option<Permit> {
        self.acting().permit(takes)
    }

    /// The same for the entity's own tasks.
    pub fn acting(&self) -> Acting {
        Acting {
            leases: self.leases.clone(),
            fence: self.fence(),
        }
    }

    /// Gives the entity's own tasks a way to tell it something.
    pub fn events(&self) -> Arc<dyn Fn(E) + Send + Sync> {
        Arc::clone(&self.events)
    }
}

/// Whether one ownership of a partition may act. Clones are of the same ownership.
#[derive(Clone)]
pub struct Acting {
    leases: Leases,
    fence: Fence,
}

impl Acting {
    /// As [`Cx::may_act`].
    pub fn now(&self) -> bool {
        let Fence {
            kind,
            partition,
            epoch,
        } = self.fence;
        self.leases.permits(kind, partition, epoch, Duration::ZERO)
    }

    /// As [`Cx::permit`].
    pub fn permit(&self, takes: Duration) -> Option<Permit> {
        let Fence {
            kind,
            partition,
            epoch,
        } = self.fence;
        self.leases.permit(kind, partition, epoch, takes)
    }

    /// Waits at most `patience` for the permission that [`Acting::permit`] gives.
    pub async fn wait(&self, takes: Duration, patience: Duration) -> Option<Permit> {
        let mut news = self.leases.news();
        let waiting = async {
            loop {
                news.mark_unchanged();
                if let Some(permit) = self.permit(takes) {
                    return Some(permit);
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.ok().flatten()
    }
}

/// Why an entity was not reached or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No owner answered in time. Whether the message was taken is unknown.
    #[error("{entity} was not reached within {waited:?}; try again")]
    Unavailable {
        /// The entity.
        entity: EntityId,
        /// How long was tried.
        waited: Duration,
    },
    /// Its mailbox, or the way to it, is full; it did not take the message.
    #[error("{0} has too many messages waiting; try again")]
    Overloaded(EntityId),
    /// It kept crashing and was set aside.
    #[error("{entity} was set aside after {restarts} restarts: {last_error}")]
    Quarantined {
        /// The entity.
        entity: EntityId,
        /// How often it was restarted.
        restarts: u32,
        /// What it died of last.
        last_error: String,
    },
    /// It refused, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// Who owns a partition, as applied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner; none until first placed.
    pub owner: Option<NodeId>,
    /// Its epoch.
    pub epoch: Epoch,
}

/// Reaches entities wherever they run. Clones share it.
#[derive(Clone)]
pub struct Router {
    pub(crate) inner: Arc<RouterInner>,
}
