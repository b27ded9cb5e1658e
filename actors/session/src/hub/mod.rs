//! One a node: wakes the feeds here when transcripts grow or move, and carries deltas from owners to followers.
//!
//! ```text
//!  replica.changes() ──► dispatcher ──► feeds of the session here      (one task a node)
//!                            └────────► the session's actor, if it may have missed a message
//!  actor writes a part ──► publish ──► feeds here, and 0x0402 to the nodes that sent 0x0401 "watch"
//! ```
//!
//! Nothing here decides what stands in a transcript: all of it may be lost, and only comfort is lost with it.

mod board;
mod follower;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jarvis_entity::api::Router;
use jarvis_host::Tasks;
use jarvis_machine::change::Change;
use jarvis_machine::rows::MessageBody;
use jarvis_mesh::api::{Call, Lane, Mesh, PeerState, Service};
use jarvis_replica::api::{Applied, ReadError, Replica, View};
use jarvis_types::limits::SESSION_PARTITIONS;
use jarvis_types::{EntityId, Epoch, KindId, NodeId, PartitionIndex, Seq, SessionId};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use crate::entity::SessionEvent;
use crate::message::{self, Delta, ToSession, Watch};
use crate::metrics;
use board::{Board, Letter};
pub(crate) use follower::{Follower, Part};

/// A node follows sessions, or does so no longer.
const WATCH: Service = Service(0x0401);

/// Part of a reply.
const DELTA: Service = Service(0x0402);

/// How often owners that could not be told are told again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long an actor may take to look at its transcript; the next change or owner looks again.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// How an activation is told of news.
type Tell = Arc<dyn Fn(SessionEvent) + Send + Sync>;

/// The hub of one node. Clones share it.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    replica: Replica,
    mesh: Mesh,
    tasks: Tasks,
    router: OnceLock<Router>,
    board: Mutex<Board>,
    active: Mutex<Active>,
}

#[derive(Default)]
struct Active {
    counter: u64,
    actors: HashMap<SessionId, (u64, Tell)>,
}

impl Hub {
    /// The hub of the node of `replica` and `mesh`; it begins to take other nodes' messages at once.
    pub fn new(replica: Replica, mesh: Mesh, tasks: Tasks) -> Self {
        metrics::describe();
        let node = replica.node();
        let board = Mutex::new(Board::new(node));
        let inner = Inner {
            node,
            replica,
            mesh,
            tasks,
            router: OnceLock::new(),
            board,
            active: Mutex::default(),
        };
        let hub = Self {
            inner: Arc::new(inner),
        };
        hub.serve();
        hub
    }

    /// Starts the dispatcher. Once; `router` is for waking actors.
    pub(crate) fn start(&self, router: Router) {
        if self.inner.router.set(router).is_ok() {
            let hub = self.clone();
            self.inner
                .tasks
                .spawn_until_cancelled(async move { hub.dispatch().await });
        }
    }

    /// The replica of this node.
    pub(crate) fn replica(&self) -> &Replica {
        &self.inner.replica
    }

    /// Owner and epoch of a session's partition, as the dispatcher last saw them.
    pub(crate) fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch) {
        self.board().owner(session)
    }

    /// Adds a reader.
    pub(crate) fn follow(&self, session: SessionId, follower: Arc<Follower>) {
        let mut board = self.board();
        let letters = board.follow(session, follower);
        self.send(&mut board, letters);
    }

    /// Takes a reader off.
    pub(crate) fn unfollow(&self, session: SessionId, follower: &Arc<Follower>) {
        let mut board = self.board();
        let letters = board.unfollow(session, follower);
        self.send(&mut board, letters);
    }

    /// Shows a part of a reply to all who follow.
    pub(crate) fn publish(&self, delta: Delta) {
        let mut board = self.board();
        let letters = board.publish(delta);
        self.send(&mut board, letters);
    }

    /// No reply of the session is being written here.
    pub(crate) fn settled(&self, session: SessionId) {
        self.board().settled(session);
    }

    /// Notes that a session's actor runs here, until the guard is dropped.
    pub(crate) fn register(&self, session: SessionId, tell: Tell) -> Registration {
        let mut active = self.active();
        active.counter += 1;
        let number = active.counter;
        active.actors.insert(session, (number, tell));
        metrics::active(1.0);
        Registration {
            hub: self.clone(),
            session,
            number,
        }
    }

    fn serve(&self) {
        let weak = Arc::downgrade(&self.inner);
        let watch = move |call: Call| {
            let Some(hub) = weak.upgrade().map(|inner| Self { inner }) else {
                return;
            };
            match message::decode::<Watch>(&call.body) {
                Ok(watch) => {
                    let mut board = hub.board();
                    let letters = board.watch(call.from, &watch);
                    hub.send(&mut board, letters);
                }
                Err(error) => tracing::warn!(from = %call.from, %error, "a peer's watch was not understood"),
            }
        };
        self.inner.mesh.serve(WATCH, Arc::new(watch));
        let weak = Arc::downgrade(&self.inner);
        let delta = move |call: Call| {
            let Some(hub) = weak.upgrade().map(|inner| Self { inner }) else {
                return;
            };
            match message::decode::<Delta>(&call.body) {
                Ok(delta) => {
                    let mut board = hub.board();
                    let letters = board.arrived(call.from, &delta);
                    hub.send(&mut board, letters);
                }
                Err(error) => tracing::warn!(from = %call.from, %error, "a peer's delta was not understood"),
            }
        };
        self.inner.mesh.serve(DELTA, Arc::new(delta));
    }

    /// Sends under the board's lock, which is what keeps a session's parts in order; sending never waits.
    fn send(&self, board: &mut Board, letters: Vec<Letter>) {
        for letter in letters {
            match letter {
                Letter::Watch(to, watch) => {
                    let order = watch.sessions.first().map_or(0, |(session, _)| order(*session));
                    if !self.cast(to, WATCH, order, message::encode(&watch)) && watch.on {
                        board.not_sent(&watch);
                    }
                }
                Letter::Delta(to, delta) => {
                    if !self.cast(to, DELTA, order(delta.session), message::encode(&delta)) {
                        metrics::deltas_dropped(1);
                    }
                }
            }
        }
    }

    fn cast<E>(&self, to: NodeId, service: Service, order: u64, body: Result<Bytes, E>) -> bool {
        body.is_ok_and(|body| {
            self.inner
                .mesh
                .cast(to, Lane::Actors, service, order, body)
                .is_ok()
        })
    }

    async fn dispatch(self) {
        let mut changes = self.inner.replica.changes();
        let mut peers = self.inner.mesh.peers();
        let mut up: Vec<NodeId> = Vec::new();
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.everything_changed();
        loop {
            tokio::select! {
                applied = changes.recv() => match applied {
                    Ok(applied) => self.applied(&applied),
                    Err(RecvError::Lagged(_)) => self.everything_changed(),
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = peers.changed() => {
                    let now_up: Vec<NodeId> = {
                        let peers = peers.borrow_and_update();
                        peers.iter().filter(|p| p.state == PeerState::Up).map(|p| p.member.node).collect()
                    };
                    for peer in now_up.iter().filter(|peer| !up.contains(peer)) {
                        let mut board = self.board();
                        let letters = board.reconnected(*peer);
                        self.send(&mut board, letters);
                    }
                    up = now_up;
                },
                _ = retry.tick() => {
                    let mut board = self.board();
                    let letters = board.retry();
                    self.send(&mut board, letters);
                }
            }
        }
    }

    fn applied(&self, applied: &Applied) {
        let mut placed = false;
        for change in applied.changes.iter() {
            match change {
                Change::Appended { session, seq } => {
                    self.board().grown(*session);
                    self.look(*session, *seq);
                }
                Change::Placed { kind, .. } => placed |= *kind == KindId::SESSION,
                Change::KindRegistered(kind) => placed |= *kind == KindId::SESSION,
                Change::NodeRemoved(node) => self.board().removed(*node),
                Change::Replaced => return self.everything_changed(),
                _ => {}
            }
        }
        if placed {
            self.placed();
        }
    }

    /// Something was missed: all feeds read anew, all actors look, and work left undone is found.
    fn everything_changed(&self) {
        self.placed();
        self.board().all_grown();
        let tells: Vec<Tell> = self
            .active()
            .actors
            .values()
            .map(|(_, tell)| Arc::clone(tell))
            .collect();
        for tell in tells {
            tell(SessionEvent::Look { seq: Seq(u64::MAX) });
        }
        match self.undone() {
            Ok(sessions) => sessions.into_iter().for_each(|session| self.wake(session)),
            Err(error) => tracing::error!(%error, "unanswered messages could not be read"),
        }
    }

    fn placed(&self) {
        let placement = self
            .local()
            .and_then(|view| view.query().placement(KindId::SESSION).map_err(ReadError::from));
        match placement {
            Ok(placement) => {
                let mut board = self.board();
                let letters = board.placed(placement);
                self.send(&mut board, letters);
            }
            Err(error) => tracing::error!(%error, "the placement could not be read"),
        }
    }

    /// Sees to it that a message that this node's actor has to answer is known to it. Actors know what they proposed
    /// themselves, but a proposal whose outcome stayed unknown may be committed long after.
    fn look(&self, session: SessionId, seq: Seq) {
        let tell = self
            .active()
            .actors
            .get(&session)
            .map(|(_, tell)| Arc::clone(tell));
        match tell {
            Some(tell) => tell(SessionEvent::Look { seq }),
            None if self.owner(session).0 == Some(self.inner.node) => {
                let message = self
                    .local()
                    .ok()
                    .and_then(|view| view.query().message(session, seq).ok().flatten());
                if message.is_some_and(|row| matches!(row.body, MessageBody::Said { reply: None, .. })) {
                    self.wake(session);
                }
            }
            None => {}
        }
    }

    fn wake(&self, session: SessionId) {
        let Some(router) = self.inner.router.get().cloned() else {
            return;
        };
        let Ok(body) = message::encode(&ToSession::Look) else {
            return;
        };
        self.inner.tasks.spawn_until_cancelled(async move {
            if let Err(error) = router
                .ask(&EntityId::session(session), None, body, LOOK_DEADLINE)
                .await
            {
                tracing::warn!(%session, %error, "a session with an unanswered message was not reached");
            }
        });
    }

    /// Sessions of this node with unanswered messages that no actor here knows of.
    fn undone(&self) -> Result<Vec<SessionId>, ReadError> {
        let view = self.local()?;
        let placement = view.query().placement(KindId::SESSION)?;
        let mut sessions = Vec::new();
        for (index, row) in (0..SESSION_PARTITIONS).zip(&placement) {
            if row.owner == Some(self.inner.node) {
                let open = view.query().open_turns(PartitionIndex(index))?;
                sessions.extend(open.into_iter().map(|(session, _)| session));
            }
        }
        sessions.dedup();
        let active = self.active();
        sessions.retain(|session| !active.actors.contains_key(session));
        Ok(sessions)
    }

    fn local(&self) -> Result<View, ReadError> {
        self.inner.replica.local()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.inner.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.inner.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's actor runs here as long as this lives.
pub(crate) struct Registration {
    hub: Hub,
    session: SessionId,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        metrics::active(-1.0);
        let mut active = self.hub.active();
        // A next activation may have registered already: that one stays, with its reply.
        if active
            .actors
            .get(&self.session)
            .is_some_and(|(number, _)| *number == self.number)
        {
            active.actors.remove(&self.session);
            drop(active);
            self.hub.settled(self.session);
        }
    }
}

/// Messages about one session take one stream.
fn order(session: SessionId) -> u64 {
    (session.0 >> 64) as u64 ^ session.0 as u64
}
