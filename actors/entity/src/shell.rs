//! The ractor actor around an entity: receives, hands on, and says when it has nothing to do.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use jarvis_host::Tasks;
use jarvis_replica::api::Replica;
use jarvis_types::{EntityId, Epoch, PartitionIndex};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::api::{Cx, Entity, EntityError, Inbound, Leases};

/// What an entity's actor receives.
pub(crate) enum ShellMessage<E> {
    /// From outside, through a router.
    Inbound(Inbound),
    /// From one of its own tasks.
    Event(E),
    /// Letters wait.
    Letters,
}

impl<E: Send + 'static> ractor::Message for ShellMessage<E> {}

/// What host and shell share about one activation.
pub(crate) struct Pulse {
    /// Messages and events taken and not yet handled.
    pub(crate) depth: AtomicUsize,
    /// Whether the entity said that it may be passivated.
    pub(crate) idle: AtomicBool,
    /// Set by every message and event; the sweeper clears it.
    pub(crate) used: AtomicBool,
    /// Whether it has been told of letters and has not looked yet.
    told: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            depth: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            used: AtomicBool::new(true),
            told: AtomicBool::new(false),
        }
    }

    /// Something is about to be queued.
    fn enter(&self) {
        self.depth.fetch_add(1, Ordering::AcqRel);
        self.used.store(true, Ordering::Release);
    }

    /// It was handled, or not queued after all.
    fn leave(&self) {
        self.depth.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A running activation, with the entity's type erased.
pub(crate) struct Activation {
    pub(crate) cell: ActorCell,
    pub(crate) epoch: Epoch,
    pub(crate) partition: PartitionIndex,
    pub(crate) pulse: Arc<Pulse>,
    tasks: Tasks,
    send: Box<dyn Fn(Inbound) -> Result<(), ()> + Send + Sync>,
    tell: Box<dyn Fn() -> Result<(), ()> + Send + Sync>,
    /// Starts it, where it stands by.
    start: Option<oneshot::Sender<()>>,
}

impl Activation {
    /// Queues a message; `Err` if the actor has ended.
    pub(crate) fn deliver(&self, message: Inbound) -> Result<(), ()> {
        self.pulse.enter();
        (self.send)(message).inspect_err(|()| self.pulse.leave())
    }

    /// Tells it of letters, unless it has been told and has not looked yet.
    pub(crate) fn tell(&self) {
        if !self.pulse.told.swap(true, Ordering::AcqRel) {
            self.pulse.enter();
            // One that has ended finds them when it starts again.
            if (self.tell)().is_err() {
                self.pulse.leave();
            }
        }
    }

    /// Ends the actor and its tasks where they stand; waiting messages are dropped, which their senders notice.
    pub(crate) fn kill(&self) {
        self.tasks.cancel();
        self.cell.kill();
    }

    /// Whether it only waits for its partition.
    pub(crate) fn stands_by(&self) -> bool {
        self.start.is_some()
    }

    /// Its partition has come.
    pub(crate) fn begin(&mut self) {
        if let Some(start) = self.start.take() {
            // One that has ended in between is found to have, like any other.
            let _ = start.send(());
        }
    }

    /// Ends the actor after the message at hand.
    pub(crate) fn stop(&self) {
        self.tasks.cancel();
        self.cell.stop(None);
    }
}

/// Where and as whom an entity runs.
pub(crate) struct Seat {
    pub(crate) entity: EntityId,
    pub(crate) partition: PartitionIndex,
    pub(crate) epoch: Epoch,
    pub(crate) replica: Replica,
    pub(crate) tasks: Tasks,
    pub(crate) leases: Leases,
}

/// Starts an entity's actor under `supervisor`. It takes messages at once and handles them when it has started, which one
/// that stands by does not before [`Activation::begin`].
pub(crate) fn activate<T: Entity>(
    entity: T,
    seat: Seat,
    supervisor: ActorCell,
    stands_by: bool,
) -> Result<Activation, SpawnErr> {
    let pulse = Arc::new(Pulse::new());
    let (begin, begins) = oneshot::channel();
    // One that waits in vain may go.
    pulse.idle.store(stands_by, Ordering::Release);
    let (epoch, partition, tasks) = (seat.epoch, seat.partition, seat.tasks.clone());
    let start = Start {
        entity,
        seat,
        pulse: Arc::clone(&pulse),
        begins: stands_by.then_some(begins),
    };
    let (actor, _starting) =
        ractor::ActorRuntime::<Shell<T>>::spawn_linked_instant(None, Shell(PhantomData), start, supervisor)?;
    let cell = actor.get_cell();
    let told = actor.clone();
    let tell = Box::new(move || told.cast(ShellMessage::Letters).map_err(|_| ()));
    let send = Box::new(move |message| actor.cast(ShellMessage::Inbound(message)).map_err(|_| ()));
    Ok(Activation {
        cell,
        epoch,
        partition,
        pulse,
        tasks,
        send,
        tell,
        start: stands_by.then_some(begin),
    })
}

struct Shell<T>(PhantomData<fn() -> T>);

struct Start<T> {
    entity: T,
    seat: Seat,
    pulse: Arc<Pulse>,
    begins: Option<oneshot::Receiver<()>>,
}

struct Running<T: Entity> {
    entity: T,
    cx: Cx<T::Event>,
    pulse: Arc<Pulse>,
    begins: Option<oneshot::Receiver<()>>,
}

#[async_trait]
impl<T: Entity> Actor for Shell<T> {
    type Msg = ShellMessage<T::Event>;
    type State = Running<T>;
    type Arguments = Start<T>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        start: Start<T>,
    ) -> Result<Running<T>, ActorProcessingErr> {
        let Start {
            entity,
            seat,
            pulse,
            begins,
        } = start;
        let counted = Arc::clone(&pulse);
        let events = Arc::new(move |event| {
            counted.enter();
            // An event for an actor that has ended has nobody to tell.
            if myself.cast(ShellMessage::Event(event)).is_err() {
                counted.leave();
            }
        });
        let Seat {
            entity: id,
            partition,
            epoch,
            replica,
            tasks,
            leases,
        } = seat;
        Ok(Running {
            entity,
            cx: Cx {
                entity: id,
                partition,
                epoch,
                replica,
                tasks,
                events,
                leases,
            },
            pulse,
            begins,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut Running<T>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(begins) = state.begins.take() {
            let ready = state.entity.on_standby(&state.cx).await;
            if begins.await.is_err() {
                // It is started anew when it is needed.
                myself.stop(None);
                return Ok(());
            }
            if ready.is_err() {
                // It is needed: what it was told of meanwhile is found when it is started again.
                return state.settle(&myself, ready);
            }
        }
        let mut result = state.entity.on_start(&state.cx).await;
        if result.is_ok() {
            result = match state.cx.has_letters() {
                Ok(true) => state.entity.on_letters(&state.cx).await,
                Ok(false) => Ok(()),
                Err(error) => Err(EntityError::Fault(error.to_string())),
            };
        }
        state.settle(&myself, result)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Running<T>,
    ) -> Result<(), ActorProcessingErr> {
        let result = match message {
            ShellMessage::Inbound(inbound) => {
                let span = tracing::debug_span!(
                    "message",
                    request_id = inbound.request.as_ref().map(tracing::field::display),
                    entity = %state.cx.entity,
                );
                state.entity.on_message(&state.cx, inbound).instrument(span).await
            }
            ShellMessage::Event(event) => state.entity.on_event(&state.cx, event).await,
            ShellMessage::Letters => {
                // Before it looks: what comes from here on is told of again.
                state.pulse.told.store(false, Ordering::Release);
                state.entity.on_letters(&state.cx).await
            }
        };
        let settled = state.settle(&myself, result);
        // Only here: the sweeper must not see nothing waiting before it can see whether the entity is idle.
        state.pulse.leave();
        settled
    }
}

impl<T: Entity> Running<T> {
    fn settle(
        &self,
        myself: &ActorRef<ShellMessage<T::Event>>,
        result: Result<(), EntityError>,
    ) -> Result<(), ActorProcessingErr> {
        self.pulse.idle.store(self.entity.is_idle(), Ordering::Release);
        match result {
            Ok(()) => Ok(()),
            Err(EntityError::Deposed(epoch)) => {
                tracing::debug!(entity = %self.cx.entity, %epoch, "deposed");
                self.cx.tasks.cancel();
                myself.stop(None);
                Ok(())
            }
            Err(fault) => {
                self.cx.tasks.cancel();
                Err(fault.into())
            }
        }
    }
}
