//! How the gateway uses sessions.

use std::sync::Arc;
use std::time::Duration;

use jarvis_entity::api::{AskError, Router};
use jarvis_host::{Clock, Entropy, new_ulid};
use jarvis_machine::command::Command;
use jarvis_machine::reply::Refusal;
use jarvis_machine::rows::SessionRow;
use jarvis_replica::api::{ProposeError, ProposeOptions, ReadError, Replica};
use jarvis_types::chat::ServerFrame;
use jarvis_types::limits::MAX_PAGE_MESSAGES;
use jarvis_types::{ClientMessageId, EntityId, Epoch, NodeId, RequestId, Seq, SessionId, UserId};
use tokio::time::Instant;

pub use crate::feed::Feed;
use crate::feed::frame;
use crate::hub::Hub;
use crate::message::{FromSession, ToSession, decode, encode};

/// How long a missing leader is waited for: an election under way is over by then, a lost majority is not.
const LEADER_PATIENCE: Duration = Duration::from_millis(300);

/// When trying again makes sense after no majority answered, in milliseconds.
pub(crate) const UNAVAILABLE_RETRY_MS: u64 = 250;

/// When trying again makes sense after too much was waiting, in milliseconds.
pub(crate) const OVERLOADED_RETRY_MS: u64 = 500;

/// Pause before a successor is asked: it has to learn of its ownership first.
const MOVED_PAUSE: Duration = Duration::from_millis(20);

/// Why something about a session could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is none of that id, or it is another user's.
    #[error("no such session")]
    NotFound,
    /// No majority or owner in time; the same message id may be sent again.
    #[error("the cluster cannot commit at the moment; send it again with the same id")]
    Unavailable {
        /// When trying again makes sense, in milliseconds.
        retry_after_ms: u64,
    },
    /// Too many messages wait at this session.
    #[error("too many messages are waiting in this session")]
    Overloaded {
        /// When trying again makes sense, in milliseconds.
        retry_after_ms: u64,
    },
    /// The text is longer than a transcript takes.
    #[error("{0}")]
    TooLong(String),
    /// The message can never be taken as it is.
    #[error("{0}")]
    Invalid(String),
    /// The user has as many of something as there may be; the text says of what.
    #[error("limit reached: {0}")]
    LimitReached(String),
    /// A fault of ours; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}

/// A session that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its row.
    pub row: SessionRow,
    /// Whether the row has everything that was committed before the call; else it is what this node has.
    pub certain: bool,
}

/// A committed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its place.
    pub seq: Seq,
    /// Ledger time.
    pub at_ms: u64,
    /// It stood there already.
    pub repeated: bool,
}

/// Part of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// `said` and `reply` frames, in order.
    pub messages: Vec<ServerFrame>,
    /// Last entry of the whole transcript.
    pub last_seq: Seq,
}

/// What sessions need.
pub struct SessionsDeps {
    /// Reaches the actors.
    pub router: Router,
    /// The node's hub, the same that its [`crate::entity::SessionKind`] has; it is started here.
    pub hub: Hub,
    /// For ids.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub entropy: Arc<dyn Entropy>,
}

/// Sessions, as one node's gateway sees them. Clones share it.
#[derive(Clone)]
pub struct Sessions {
    deps: Arc<SessionsDeps>,
}

impl Sessions {
    /// The sessions of a node. Starts the hub's dispatcher.
    pub fn new(deps: SessionsDeps) -> Self {
        deps.hub.start(deps.router.clone());
        Self { deps: Arc::new(deps) }
    }

    /// Makes a session; committed when it returns.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`, and `LimitReached` where the user has too many.
    pub async fn create(
        &self,
        user: UserId,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<SessionId, SessionError> {
        let deadline = self.with_leader(deadline).await?;
        let session = SessionId(new_ulid(&*self.deps.clock, &*self.deps.entropy));
        let options = ProposeOptions {
            fence: None,
            request,
            deadline,
        };
        match self
            .replica()
            .propose(Command::CreateSession { session, user }, options)
            .await
        {
            Ok(_) => Ok(session),
            Err(ProposeError::Refused(Refusal::NotFound(_))) => Err(SessionError::NotFound),
            Err(ProposeError::Refused(Refusal::LimitReached(what))) => Err(SessionError::LimitReached(what)),
            Err(ProposeError::Refused(refusal)) => Err(SessionError::Internal(refusal.to_string())),
            Err(error @ ProposeError::TooLarge { .. }) => Err(SessionError::Internal(error.to_string())),
            Err(_) => Err(unavailable()),
        }
    }

    /// The session's row, if it is this user's. Sees everything committed before the call, if a majority answers in
    /// `deadline`; else what this node has.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` where this node has none and no majority could say whether there is one.
    pub async fn open(
        &self,
        user: UserId,
        session: SessionId,
        deadline: Duration,
    ) -> Result<Opened, SessionError> {
        let (view, certain) = match self.replica().linearizable(deadline).await {
            Ok(view) => (view, true),
            Err(_) => (self.replica().local().map_err(read)?, false),
        };
        match view.query().session(session).map_err(|e| read(e.into()))? {
            Some(row) if row.user == user => Ok(Opened { row, certain }),
            None if !certain => Err(unavailable()),
            _ => Err(SessionError::NotFound),
        }
    }

    /// Says something; committed when it returns. Fails early with `Unavailable` when no majority is known.
    ///
    /// # Errors
    /// [`SessionError`]; after `Unavailable` the message may be said again with the same id.
    pub async fn say(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        text: String,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Said, SessionError> {
        let message = |budget_ms| ToSession::Say {
            user,
            id: id.clone(),
            text: text.clone(),
            budget_ms,
        };
        match self.ask(session, request, message, deadline).await? {
            FromSession::Said { seq, at_ms, repeated } => Ok(Said { seq, at_ms, repeated }),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops the reply to a message; the reply is committed as far as it is.
    ///
    /// # Errors
    /// [`SessionError`]; `NotFound` also where no such message waits for its reply.
    pub async fn cancel(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        deadline: Duration,
    ) -> Result<(), SessionError> {
        let message = |_| ToSession::Cancel { user, id: id.clone() };
        match self.ask(session, None, message, deadline).await? {
            FromSession::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Entries later than `after`, as applied here.
    ///
    /// # Errors
    /// `NotFound`; `Internal` where the store fails.
    pub fn messages(
        &self,
        user: UserId,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Page, SessionError> {
        let view = self.replica().local().map_err(read)?;
        let row = view.query().session(session).map_err(|e| read(e.into()))?;
        let row = row.filter(|row| row.user == user).ok_or(SessionError::NotFound)?;
        let limit = limit.min(MAX_PAGE_MESSAGES);
        let rows = view
            .query()
            .messages(session, after, limit)
            .map_err(|e| read(e.into()))?;
        let messages = rows
            .into_iter()
            .map(|(seq, row)| frame(session, seq, row))
            .collect();
        Ok(Page {
            messages,
            last_seq: row.last_seq,
        })
    }

    /// The user's sessions, newest first, as applied here.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn list(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, SessionError> {
        let view = self.replica().local().map_err(read)?;
        view.query().sessions_of(user, limit).map_err(|e| read(e.into()))
    }

    /// Owner and epoch of the session's partition, as applied here.
    pub fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch) {
        let ownership = self.deps.router.ownership(&EntityId::session(session));
        (ownership.owner, ownership.epoch)
    }

    /// Everything later than `after`, in order, without gap or repeat, and deltas and moves as they come. Local: never
    /// fails, goes on over changes of owner.
    pub fn follow(&self, session: SessionId, after: Seq) -> Feed {
        Feed::new(self.deps.hub.clone(), session, after)
    }

    fn replica(&self) -> &Replica {
        self.deps.hub.replica()
    }

    /// Waits a moment for a leader, and gives what is left of the deadline.
    async fn with_leader(&self, deadline: Duration) -> Result<Duration, SessionError> {
        let started = Instant::now();
        let mut state = self.replica().state();
        let patience = LEADER_PATIENCE.min(deadline);
        let found = tokio::time::timeout(patience, state.wait_for(|state| state.leader.is_some())).await;
        match found {
            Ok(Ok(_)) => Ok(deadline.saturating_sub(started.elapsed())),
            _ => Err(unavailable()),
        }
    }

    /// Asks the session's actor, again and again while the outcome is unknown: messages carry ids, so that is safe.
    async fn ask(
        &self,
        session: SessionId,
        request: Option<RequestId>,
        message: impl Fn(u32) -> ToSession,
        deadline: Duration,
    ) -> Result<FromSession, SessionError> {
        let ends = Instant::now() + self.with_leader(deadline).await?;
        let entity = EntityId::session(session);
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(unavailable());
            }
            let body = encode(&message(left.as_millis() as u32))
                .map_err(|e| SessionError::Internal(e.to_string()))?;
            let answer = match self.deps.router.ask(&entity, request.clone(), body, left).await {
                Ok(answer) => decode(&answer).map_err(|e| SessionError::Internal(e.to_string()))?,
                Err(AskError::Overloaded(_)) => {
                    return Err(SessionError::Overloaded {
                        retry_after_ms: OVERLOADED_RETRY_MS,
                    });
                }
                Err(AskError::Unavailable { .. }) => return Err(unavailable()),
                Err(error @ AskError::Quarantined { .. }) => {
                    return Err(SessionError::Internal(error.to_string()));
                }
                // The actor ended with the message in hand: its successor is asked.
                Err(AskError::Refused(_)) => FromSession::Moved,
            };
            match answer {
                FromSession::NotFound => return Err(SessionError::NotFound),
                FromSession::Unavailable { retry_after_ms } => {
                    return Err(SessionError::Unavailable { retry_after_ms });
                }
                FromSession::Overloaded { retry_after_ms } => {
                    return Err(SessionError::Overloaded { retry_after_ms });
                }
                FromSession::Internal(words) => return Err(SessionError::Internal(words)),
                FromSession::TooLong(words) => return Err(SessionError::TooLong(words)),
                FromSession::Invalid(words) => return Err(SessionError::Invalid(words)),
                FromSession::Moved => tokio::time::sleep(MOVED_PAUSE.min(left)).await,
                done @ (FromSession::Said { .. } | FromSession::Done) => return Ok(done),
            }
        }
    }
}

fn unavailable() -> SessionError {
    SessionError::Unavailable {
        retry_after_ms: UNAVAILABLE_RETRY_MS,
    }
}

fn unexpected(answer: &FromSession) -> SessionError {
    SessionError::Internal(format!("the session answered {answer:?}"))
}

fn read(error: ReadError) -> SessionError {
    match error {
        ReadError::Unavailable { .. } => unavailable(),
        ReadError::Store(_) => SessionError::Internal(error.to_string()),
    }
}

/// What [`Feed::next`] gives.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedEvent {
    /// `said`, `reply` or `delta`, ready to be sent.
    Frame(ServerFrame),
    /// The session's partition has a new owner (its name is the caller's to look up).
    Moved {
        /// The owner.
        owner: NodeId,
        /// Its epoch.
        epoch: Epoch,
    },
}
