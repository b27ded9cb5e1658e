//! From a message to what follows from it, in the manner of Broadway: stages bound by demand.
//!
//! ```text
//!  broker ─► take ─► partition by device ─► batch ─► Sink ─► settle ─► acknowledge, in the order of arrival
//!             │            (1 … n)            │        │
//!             │                          rate limit    └─ fails too often ─► dead letters
//!             └─ enough undecided: nothing more is read, so the broker keeps the rest
//! ```
//!
//! The whole holds at most `receive_maximum` messages of QoS 1 and `most_unconfirmed` of QoS 0.

pub(crate) mod partition;
mod rate;
pub(crate) mod sink;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jarvis_host::{Clock, Entropy, Tasks};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bridge::ReplayError;
use crate::message::{Message, MessageId};
use crate::metrics;
use crate::options::{Batches, Options};
use crate::pipeline::partition::{KeyOf, partition_of};
use crate::pipeline::rate::Rate;
use crate::pipeline::sink::{DeadLetters, Sink};
use crate::session::Session;

/// Dead letters that are tried again at the same time.
pub(crate) const MAX_REPLAYS: usize = 16;

/// What the stages share with the connection.
pub(crate) struct Shared {
    session: Mutex<Session>,
    /// A message was decided on.
    pub(crate) settled: Notify,
    /// The sink says that this node may not decide any more.
    pub(crate) deposed: Notify,
    rate: Mutex<Rate>,
    batches: Batches,
    sink: Arc<dyn Sink>,
    letters: Arc<dyn DeadLetters>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Shared {
    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where messages enter.
pub(crate) struct Pipeline {
    pub(crate) shared: Arc<Shared>,
    partitions: Vec<mpsc::Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// Room for messages of QoS 1.
    room: Arc<Semaphore>,
    /// Room for messages of QoS 0.
    spare_room: Arc<Semaphore>,
    replay_room: Arc<Semaphore>,
    key_of: KeyOf,
}

/// A message under way.
struct Job {
    message: Message,
    arrived: Instant,
    attempts: u32,
    end: End,
    /// Given back when the message is settled.
    _room: OwnedSemaphorePermit,
}

/// Who is told that a message was decided on.
enum End {
    /// The broker.
    Acknowledge(MessageId),
    /// Nobody.
    Nobody,
    /// Who asked for another try of a dead letter.
    Replay(u128, oneshot::Sender<Result<(), ReplayError>>),
}

/// What a pipeline is made of.
pub(crate) struct Parts {
    pub(crate) session: Session,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) letters: Arc<dyn DeadLetters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) key_of: KeyOf,
}

impl Pipeline {
    pub(crate) fn start(tasks: &Tasks, options: &Options, parts: Parts) -> Self {
        let batches = options.batches;
        let shared = Arc::new(Shared {
            session: Mutex::new(parts.session),
            settled: Notify::new(),
            deposed: Notify::new(),
            rate: Mutex::new(Rate::new(options.messages_per_second)),
            batches,
            sink: parts.sink,
            letters: parts.letters,
            clock: parts.clock,
            entropy: parts.entropy,
        });
        // Room is taken before a message enters, so that no partition is ever full.
        let room = usize::from(options.receive_maximum.max(1));
        let capacity = room + batches.most_unconfirmed + MAX_REPLAYS;
        let (mut partitions, mut workers) = (Vec::new(), Vec::new());
        for _ in 0..batches.partitions.max(1) {
            let (sender, receiver) = mpsc::channel(capacity);
            partitions.push(sender);
            let work = worker::work(Arc::clone(&shared), receiver);
            workers.push(tasks.spawn_until_cancelled(work));
        }
        Self {
            shared,
            partitions,
            workers,
            room: Arc::new(Semaphore::new(room)),
            spare_room: Arc::new(Semaphore::new(batches.most_unconfirmed)),
            replay_room: Arc::new(Semaphore::new(MAX_REPLAYS)),
            key_of: parts.key_of,
        }
    }

    /// Room for a message of QoS 1, if there is any.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Where room for messages of QoS 1 is waited for.
    pub(crate) fn all_room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    /// Takes in a message of QoS 1 that is new.
    pub(crate) fn take(&self, message: Message, id: MessageId, room: OwnedSemaphorePermit) {
        self.enter(message, End::Acknowledge(id), room);
    }

    /// Takes in a message of QoS 0, or drops it where too many wait.
    pub(crate) fn take_unconfirmed(&self, message: Message) {
        match Arc::clone(&self.spare_room).try_acquire_owned() {
            Ok(room) => self.enter(message, End::Nobody, room),
            Err(_) => metrics::dropped(),
        }
    }

    /// Tries a dead letter again.
    pub(crate) fn replay(
        &self,
        letter_id: u128,
        message: Message,
        reply: oneshot::Sender<Result<(), ReplayError>>,
    ) {
        match Arc::clone(&self.replay_room).try_acquire_owned() {
            Ok(room) => self.enter(message, End::Replay(letter_id, reply), room),
            // Who no longer waits need not be told.
            Err(_) => drop(reply.send(Err(ReplayError::Busy))),
        }
    }

    fn enter(&self, message: Message, end: End, room: OwnedSemaphorePermit) {
        let key = (self.key_of)(&message.topic);
        let partition = &self.partitions[partition_of(key, self.partitions.len())];
        let job = Job {
            message,
            arrived: Instant::now(),
            attempts: 0,
            end,
            _room: room,
        };
        // Never full; closed where the worker was deposed: then the next owner gets the message.
        if partition.try_send(job).is_err() {
            metrics::dropped();
        }
    }

    /// Nothing more comes in: waits until all that is under way is settled.
    pub(crate) async fn finish(self) {
        drop(self.partitions);
        for worker in self.workers {
            // A worker that was cancelled has finished as well.
            let _ = worker.await;
        }
    }
}
