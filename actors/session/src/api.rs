//! How the gateway uses sessions.

use std::time::Duration;

use jarvis_machine::rows::SessionRow;
use jarvis_types::chat::ServerFrame;
use jarvis_types::{ClientMessageId, Epoch, NodeId, RequestId, Seq, SessionId, UserId};

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
    /// A fault of ours; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
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

/// Sessions, as one node's gateway sees them. Clones share it.
#[derive(Clone)]
pub struct Sessions {}

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Sessions {
    /// Makes a session; committed when it returns.
    pub async fn create(
        &self,
        user: UserId,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<SessionId, SessionError> {
        unimplemented!()
    }
    /// The session's row, if it is this user's. Sees everything committed before the call, if a majority answers in
    /// `deadline`; else what this node has.
    pub async fn open(&self, user: UserId, session: SessionId, deadline: Duration) -> Result<SessionRow, SessionError> {
        unimplemented!()
    }
    /// Says something; committed when it returns. Fails early with `Unavailable` when no majority is known.
    pub async fn say(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        text: String,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Said, SessionError> {
        unimplemented!()
    }
    /// Stops the reply to a message, if it is being written; the reply is committed as far as it is.
    pub async fn cancel(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        deadline: Duration,
    ) -> Result<(), SessionError> {
        unimplemented!()
    }
    /// Entries later than `after`, as applied here.
    pub fn messages(&self, user: UserId, session: SessionId, after: Seq, limit: usize) -> Result<Page, SessionError> {
        unimplemented!()
    }
    /// The user's sessions, newest first, as applied here.
    pub fn list(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, SessionError> {
        unimplemented!()
    }
    /// Owner and epoch of the session's partition, as applied here.
    pub fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch) {
        unimplemented!()
    }
    /// Everything later than `after`, in order, without gap or repeat, and deltas and moves as they come. Local: never
    /// fails, goes on over changes of owner.
    pub fn follow(&self, session: SessionId, after: Seq) -> Feed {
        unimplemented!()
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

/// A session as it goes on. Small: there are ten thousand of them on a node.
pub struct Feed {}

impl Feed {
    /// The next event. Safe to drop while it waits.
    pub async fn next(&mut self) -> FeedEvent {
        unimplemented!()
    }
}
