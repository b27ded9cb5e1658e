//! The bridge itself: owned by one node at a time, given up in order or dropped.
//!
//! ```text
//!  own() ─► remembered ─► connect ─► [new session: keep its epoch] ─► serve ─► trouble ─► pause ─┐
//!                            ▲                                         │                        │
//!                            └─────────────────────────────────────────┼────────────────────────┘
//!                                                                      └─ release ─► drain ─► farewell
//! ```

use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, Entropy, Tasks};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::link::connect::connect;
use crate::link::dial::Dial;
use crate::link::serve::{Books, MAX_IDENTIFIER, Serving};
use crate::metrics;
use crate::options::Options;
use crate::pause::Pauses;
use crate::pipeline::partition::KeyOf;
use crate::pipeline::sink::{DeadLetters, Memory, Sink, SinkError};
use crate::pipeline::{self, MAX_REPLAYS, Pipeline};
use crate::publish::{MAX_WAITING, Publisher};
use crate::session::Session;
use crate::status::{State, Status};
use crate::trouble::Trouble;
use crate::wanted::Wanted;

/// How long the broker may take to close after a farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whether this node may act on the world at this moment. Asked before every publication is encoded, and before any of its
/// bytes are written.
pub type Gate = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a bridge needs of its surroundings.
#[derive(Clone)]
pub struct Parts {
    /// Who decides on messages.
    pub sink: Arc<dyn Sink>,
    /// What was decided on, over nodes.
    pub memory: Arc<dyn Memory>,
    /// What could not be decided on.
    pub letters: Arc<dyn DeadLetters>,
    /// Which messages keep their order among each other: [`crate::device_of`].
    pub key_of: KeyOf,
    /// Whether this node may act.
    pub gate: Gate,
    /// How brokers are reached: [`crate::Tcp`].
    pub dial: Arc<dyn Dial>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Why a dead letter was not decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no such letter.
    #[error("there is no such dead letter")]
    Unknown,
    /// It failed again.
    #[error("it failed again: {0}")]
    Failed(String),
    /// It was decided on, and could not be removed from the dead letters.
    #[error("it was decided on, but could not be removed: {0}")]
    Kept(String),
    /// The letters cannot be read.
    #[error("the dead letters cannot be read: {0}")]
    Unavailable(String),
    /// Enough are tried at the moment.
    #[error("{MAX_REPLAYS} are being tried; wait for one of them")]
    Busy,
    /// This node does not own the bridge any more.
    #[error("this node does not own the bridge to the broker")]
    Released,
}

/// A bridge that this node owns. Dropped, it is gone at once: the broker and the next owner see a crash.
pub struct Bridge {
    publisher: Publisher,
    status: watch::Receiver<Status>,
    wanted: watch::Sender<Wanted>,
    commands: mpsc::Sender<Replay>,
    release: watch::Sender<Option<Instant>>,
    letters: Arc<dyn DeadLetters>,
    tasks: Tasks,
}

/// A wish to try a dead letter again.
struct Replay {
    id: u128,
    reply: oneshot::Sender<Result<(), ReplayError>>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Bridge {
    /// Takes the bridge over: from here on messages come to `parts.sink`, whatever happens to the broker.
    pub fn own(tasks: &Tasks, options: Options, parts: Parts) -> Self {
        metrics::describe();
        let tasks = tasks.child();
        let (requests, requests_rx) = mpsc::channel(MAX_WAITING);
        let (commands, commands_rx) = mpsc::channel(MAX_REPLAYS);
        let (wanted, wanted_rx) = watch::channel(Wanted::of(options.topics.iter().cloned()));
        let (release, release_rx) = watch::channel(None);
        let (status, status_rx) = watch::channel(Status {
            broker: options.broker(),
            state: State::Connecting,
            connections: 0,
            epoch: 0,
            settled: None,
            caught_up: false,
            refused_topics: Default::default(),
        });
        let letters = Arc::clone(&parts.letters);
        let books = Books::new(
            &options,
            requests_rx,
            wanted_rx,
            Arc::clone(&parts.gate),
            Arc::clone(&parts.clock),
            first_identifier(&*parts.entropy),
        );
        let owner = Owner {
            pauses: Pauses::new(options.patience),
            tasks: tasks.clone(),
            options,
            parts,
            books,
            commands: commands_rx,
            release: release_rx,
            status,
            old_only: false,
            unkept_epoch: None,
            drained: false,
        };
        tasks.spawn_until_cancelled(owner.run());
        Self {
            publisher: Publisher { requests },
            status: status_rx,
            wanted,
            commands,
            release,
            letters,
            tasks,
        }
    }

    /// Sends to the broker through this bridge.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// How it stands, and every change of that.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What is subscribed to from here on: what is new is asked for, what is missing given up.
    pub fn subscribe(&self, wish: Wanted) {
        self.wanted.send_if_modified(|wanted| {
            let differs = *wanted != wish;
            *wanted = wish;
            differs
        });
    }

    /// The dead letters.
    pub fn letters(&self) -> Arc<dyn DeadLetters> {
        Arc::clone(&self.letters)
    }

    /// Has a dead letter decided on once more; it is forgotten if that goes well.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn replay(&self, id: u128) -> Result<(), ReplayError> {
        let (reply, mut answer) = oneshot::channel();
        let replay = Replay { id, reply };
        let sent = self.commands.send(replay).await;
        sent.map_err(|_| ReplayError::Released)?;
        tokio::select! {
            biased;
            answered = &mut answer => answered.unwrap_or(Err(ReplayError::Released)),
            // A wish that came in while the bridge went is not dropped with it.
            () = self.commands.closed() => Err(ReplayError::Released),
        }
    }

    /// Gives the bridge up: takes nothing more, finishes what is under way, acknowledges it, says farewell. The broker keeps
    /// the session. What is not done within `patience` comes again to the next owner. Says whether all was done.
    pub async fn release(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        self.release.send_replace(Some(deadline));
        let mut status = self.status.clone();
        let released = status.wait_for(|status| matches!(status.state, State::Released { .. }));
        match timeout_at(deadline + 2 * FAREWELL, released).await {
            Ok(Ok(status)) => status.state == State::Released { all_done: true },
            _ => false,
        }
    }
}

/// The task behind a bridge.
struct Owner {
    options: Options,
    parts: Parts,
    books: Books,
    commands: mpsc::Receiver<Replay>,
    release: watch::Receiver<Option<Instant>>,
    status: watch::Sender<Status>,
    pauses: Pauses,
    tasks: Tasks,
    /// The broker has refused MQTT 5.
    old_only: bool,
    /// A session that the broker began and the cluster has not kept.
    unkept_epoch: Option<u64>,
    /// All that was taken in is decided on and acknowledged.
    drained: bool,
}

/// Why serving ended.
enum End {
    Trouble(Trouble, Option<Duration>),
    /// Given up, or deposed.
    Over,
}

impl Owner {
    async fn run(mut self) {
        let Some(mut pipeline) = self.begin().await else {
            return self.over(true);
        };
        loop {
            self.set_state(State::Connecting);
            let dial = Arc::clone(&self.parts.dial);
            let connecting = connect(&*dial, &self.options, &mut self.old_only);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = released(&mut self.release) => break,
                () = pipeline.shared.deposed.notified() => break,
            };
            let end = match connected {
                Ok(link) => self.serve(link, &mut pipeline).await,
                Err(trouble) => End::Trouble(trouble, None),
            };
            metrics::connected(false);
            let End::Trouble(trouble, stood) = end else { break };
            if self.pause(&pipeline, trouble, stood).await.is_none() {
                break;
            }
        }
        let deadline = self.release.borrow().unwrap_or_else(Instant::now);
        // What is not decided on by then comes again.
        let finished = timeout_at(deadline, pipeline.finish()).await.is_ok();
        self.over(self.drained && finished);
    }

    fn over(&self, all_done: bool) {
        metrics::connected(false);
        self.set_state(State::Released { all_done });
    }

    fn set_state(&self, state: State) {
        self.status.send_modify(|status| {
            status.settled = None;
            status.caught_up = false;
            status.state = state;
        });
    }

    /// Reads what was decided on, however long it takes; none when given up meanwhile.
    async fn begin(&mut self) -> Option<Pipeline> {
        let remembered = loop {
            let why = tokio::select! {
                remembered = self.parts.memory.remembered() => match remembered {
                    Ok(remembered) => break remembered,
                    Err(SinkError::Deposed) => return None,
                    Err(error) => Trouble::Memory(error.to_string()),
                },
                () = released(&mut self.release) => return None,
            };
            let pause = self.pauses.after(&why, None, &*self.parts.entropy);
            self.set_state(State::Waiting { why, pause });
            tokio::select! {
                () = sleep(pause) => {}
                () = released(&mut self.release) => return None,
            }
        };
        self.status.send_modify(|status| status.epoch = remembered.epoch);
        let parts = pipeline::Parts {
            session: Session::new(&remembered),
            sink: Arc::clone(&self.parts.sink),
            letters: Arc::clone(&self.parts.letters),
            clock: Arc::clone(&self.parts.clock),
            entropy: Arc::clone(&self.parts.entropy),
            key_of: self.parts.key_of,
        };
        Some(Pipeline::start(&self.tasks, &self.options, parts))
    }

    /// Uses a connection until it ends.
    async fn serve(&mut self, link: crate::link::connect::Link, pipeline: &mut Pipeline) -> End {
        let (version, session_present) = (link.version, link.session_present);
        let expiry_s = link.terms.session_expiry_s;
        let since = Instant::now();
        let new_epoch = pipeline.shared.session().connected(session_present);
        self.unkept_epoch = new_epoch.or(self.unkept_epoch);
        if let Err(trouble) = self.keep_epoch().await {
            return trouble;
        }
        self.tell_of_connection(version, session_present, expiry_s, pipeline);
        let mut serving = Serving::new(link, &mut self.books);
        loop {
            let deposed = Arc::clone(&pipeline.shared);
            let worked = serving.work(&mut self.books, pipeline);
            self.tell_of_service(serving.is_caught_up());
            if let Err(trouble) = worked {
                return End::Trouble(trouble, Some(since.elapsed()));
            }
            tokio::select! {
                turned = serving.turn(&mut self.books, pipeline) => if let Err(trouble) = turned {
                    return End::Trouble(trouble, Some(since.elapsed()));
                },
                replay = self.commands.recv() => if let Some(replay) = replay {
                    start_replay(&*self.parts.letters, pipeline, replay).await;
                },
                () = released(&mut self.release) => break,
                () = deposed.deposed.notified() => return End::Over,
            }
        }
        let deadline = self.release.borrow().unwrap_or_else(Instant::now);
        serving.drain();
        while !serving.is_drained(&self.books, pipeline) {
            if serving.work(&mut self.books, pipeline).is_err() {
                return End::Over;
            }
            tokio::select! {
                turned = serving.turn(&mut self.books, pipeline) => if turned.is_err() {
                    return End::Over;
                },
                () = sleep_until(deadline) => break,
            }
        }
        self.drained = serving.is_drained(&self.books, pipeline);
        let _ = timeout(FAREWELL, serving.farewell(&self.books.gate)).await;
        End::Over
    }

    /// A new session is kept before anything of it is asked for: whoever comes next must not take its packet ids for old ones.
    async fn keep_epoch(&mut self) -> Result<(), End> {
        let Some(epoch) = self.unkept_epoch else {
            return Ok(());
        };
        let patience = self.options.patience.keep_alive;
        let memory = Arc::clone(&self.parts.memory);
        let kept = tokio::select! {
            kept = timeout(patience, memory.began(epoch)) => kept,
            () = released(&mut self.release) => return Err(End::Over),
        };
        let why = match kept {
            Ok(Ok(())) => {
                self.unkept_epoch = None;
                return Ok(());
            }
            Ok(Err(SinkError::Deposed)) => return Err(End::Over),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        Err(End::Trouble(Trouble::Memory(why), None))
    }

    fn tell_of_connection(
        &self,
        version: crate::Version,
        session_present: bool,
        expiry_s: Option<u32>,
        pipeline: &Pipeline,
    ) {
        let epoch = pipeline.shared.session().epoch();
        let broker = self.options.broker();
        metrics::connected(true);
        metrics::connection(if version == crate::Version::V5 {
            "5"
        } else {
            "3.1.1"
        });
        let before = self.status.borrow().connections;
        if session_present {
            tracing::info!(broker, %version, epoch, "connected to the broker; it still had the session");
        } else if epoch <= 1 {
            tracing::info!(broker, %version, epoch, "connected to the broker; a session begins");
        } else {
            metrics::session_lost();
            tracing::warn!(
                broker, %version, epoch, connections = before,
                "the broker had forgotten the session: messages that it kept for this cluster are lost, all topics are \
                 subscribed to anew; see that it keeps its state over restarts (Mosquitto: persistence true)"
            );
        }
        if expiry_s == Some(0) {
            tracing::warn!(
                broker,
                "the broker keeps no sessions: what comes while no node is connected is lost"
            );
        }
        self.status.send_modify(|status| {
            status.connections += 1;
            status.epoch = epoch;
            status.state = State::Connected {
                version,
                session_present,
            };
        });
    }

    fn tell_of_service(&self, caught_up: bool) {
        let refused = self.books.subscriptions.refused();
        let settled = self.books.subscriptions.settled();
        self.status.send_if_modified(|status| {
            let differs = (status.settled, status.caught_up) != (settled, caught_up)
                || status.refused_topics != *refused;
            if differs {
                (status.settled, status.caught_up) = (settled, caught_up);
                status.refused_topics.clone_from(refused);
            }
            differs
        });
    }

    /// Waits before the next try; none when given up meanwhile.
    async fn pause(&mut self, pipeline: &Pipeline, why: Trouble, stood: Option<Duration>) -> Option<()> {
        metrics::trouble(why.label());
        let pause = self.pauses.after(&why, stood, &*self.parts.entropy);
        let broker = self.options.broker();
        tracing::warn!(broker, %why, pause_ms = pause.as_millis() as u64, "no connection to the broker");
        self.set_state(State::Waiting { why, pause });
        let over_at = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(over_at) => return Some(()),
                replay = self.commands.recv() => if let Some(replay) = replay {
                    start_replay(&*self.parts.letters, pipeline, replay).await;
                },
                () = released(&mut self.release) => return None,
                () = pipeline.shared.deposed.notified() => return None,
            }
        }
    }
}

/// The number of this owner's first subscription: drawn, so that it is hardly ever one of those of an earlier owner.
fn first_identifier(entropy: &dyn Entropy) -> usize {
    let mut drawn = [0; 4];
    entropy.fill(&mut drawn);
    1 + u32::from_le_bytes(drawn) as usize % MAX_IDENTIFIER
}

/// Completes when the bridge is to be given up.
async fn released(release: &mut watch::Receiver<Option<Instant>>) {
    if release.wait_for(Option::is_some).await.is_err() {
        // The handle is gone: the tasks are cancelled with it.
        std::future::pending::<()>().await;
    }
}

async fn start_replay(letters: &dyn DeadLetters, pipeline: &Pipeline, replay: Replay) {
    let Replay { id, reply } = replay;
    let error = match letters.get(id).await {
        Ok(Some(letter)) => {
            let mut message = letter.message;
            message.id = None;
            message.replay_of = Some(id);
            return pipeline.replay(id, message, reply);
        }
        Ok(None) => ReplayError::Unknown,
        Err(error) => ReplayError::Unavailable(error.to_string()),
    };
    // Who no longer waits need not be told.
    drop(reply.send(Err(error)));
}
