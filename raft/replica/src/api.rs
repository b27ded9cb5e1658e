//! The public face of the replica.

use std::sync::Arc;
use std::time::Duration;

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::query::Query;
use jarvis_machine::storage::Read;
use jarvis_types::{NodeId, RequestId};
use tokio::sync::{broadcast, watch};

/// What goes with a command.
#[derive(Debug, Clone)]
pub struct ProposeOptions {
    /// The ownership it depends on.
    pub fence: Option<Fence>,
    /// The request it serves.
    pub request: Option<RequestId>,
    /// How long to try, over changes of leader. A proposal is retried under its own name, so it is applied once.
    pub deadline: Duration,
}

/// Why a proposal was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No majority in time. Whether it was or will be applied is unknown.
    #[error("no majority answered within {waited:?}; try again")]
    Unavailable {
        /// How long was tried.
        waited: Duration,
    },
    /// Applied by nobody: the machine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too large for the log.
    #[error("the command has {len} bytes, more than {max}")]
    TooLarge {
        /// Its size.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Too many proposals are under way on this node.
    #[error("too many proposals are under way; try again")]
    Overloaded,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a read could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No majority confirmed the read index in time.
    #[error("no majority answered within {waited:?}; try again")]
    Unavailable {
        /// How long was tried.
        waited: Duration,
    },
    /// The store failed.
    #[error("the state store failed")]
    Store(#[source] std::io::Error),
}

/// Where the replica stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaState {
    /// The leader this node follows, itself included.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// Last index known to be committed.
    pub committed: u64,
    /// Last index applied here.
    pub applied: u64,
    /// Whether this node leads, and a majority confirmed it lately.
    pub leads: bool,
    /// Voters, ascending.
    pub voters: Vec<NodeId>,
    /// Learners, ascending.
    pub learners: Vec<NodeId>,
    /// Whether this node has caught up with what was committed when it started.
    pub caught_up: bool,
}

/// What one applied batch changed, in order.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Index of the last entry of the batch.
    pub index: u64,
    /// The changes.
    pub changes: Arc<[Change]>,
}

/// A consistent picture of the tables at one applied index.
pub struct View {
    /// Index up to which it is applied.
    pub applied: u64,
    pub(crate) tables: Box<dyn Read + Send + Sync>,
}

impl View {
    /// Typed reads.
    pub fn query(&self) -> Query<'_> {
        Query(&*self.tables)
    }
}

/// (replaced by the real one)
pub struct ReplicaInner;

/// The replica of one node. Clones share it.
#[derive(Clone)]
pub struct Replica {
    pub(crate) inner: Arc<ReplicaInner>,
}

impl Replica {
    /// This node.
    pub fn node(&self) -> NodeId {
        unimplemented!()
    }

    /// Has `command` decided by the majority and applied once, whichever node leads.
    ///
    /// # Errors
    /// [`ProposeError`]; only after `Unavailable` and `Stopping` is the outcome unknown.
    pub async fn propose(&self, _command: Command, _options: ProposeOptions) -> Result<Reply, ProposeError> {
        unimplemented!()
    }

    /// The tables as applied here.
    ///
    /// # Errors
    /// `ReadError::Store`.
    pub fn local(&self) -> Result<View, ReadError> {
        unimplemented!()
    }

    /// The tables with everything that was committed before the call (read index).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn linearizable(&self, _deadline: Duration) -> Result<View, ReadError> {
        unimplemented!()
    }

    /// Every batch applied from this call on. A watcher that lags is told so (`RecvError::Lagged`) and reads the tables
    /// anew.
    pub fn changes(&self) -> broadcast::Receiver<Applied> {
        unimplemented!()
    }

    /// Where the replica stands, and every change of that.
    pub fn state(&self) -> watch::Receiver<ReplicaState> {
        unimplemented!()
    }

    /// Hands leadership to `to`, or to the voter that is furthest along.
    ///
    /// # Errors
    /// `Unavailable` where nobody took it within `deadline`.
    pub async fn transfer_leadership(&self, _to: Option<NodeId>, _deadline: Duration) -> Result<(), ProposeError> {
        unimplemented!()
    }
}
