//! The public face of the replica.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::Clock;
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence};
use jarvis_machine::query::Query;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::storage::{Read, StoreError};
use jarvis_types::{NodeId, RequestId};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::leadership;
use crate::log::SyncTime;
use crate::notes::Note;
pub use crate::replica::ReplicaInner;
use crate::simulated::Bite;
pub use crate::stand::Standing;
use crate::state::AppliedMark;

/// Batches of changes that a watcher may lag behind before it is told to read the tables anew.
pub const CHANGES_CAPACITY: usize = 4_096;

/// The same on a node that is to be small: room for one is there whether it is used or not.
pub(crate) const SMALL_CHANGES_CAPACITY: usize = 512;

/// A node that has met no other member for so long after its start shows what it has.
const MEETS_NOBODY_AFTER: Duration = Duration::from_secs(3);

/// Between two tries to learn a read index, unless a new leader is known sooner.
const READ_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What goes with a command.
#[derive(Debug, Clone)]
pub struct ProposeOptions {
    /// The ownership it depends on.
    pub fence: Option<Fence>,
    /// The request it serves.
    pub request: Option<RequestId>,
    /// How long to try, over changes of leader; [`Duration::MAX`]: until it is known what became of it. A proposal is retried
    /// under its own name, so it is applied once.
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

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(io::Error::other(error))
    }
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
    /// Whether the voters are being changed: until that is done, decisions need a majority of the earlier voters too.
    pub joint: bool,
    /// Whether this node has caught up with what was committed when it started.
    pub caught_up: bool,
}

/// A node's leadership as it knows of it; another may have been elected since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leading {
    /// Its term.
    pub term: u64,
    /// When that was sent which a majority has answered to: nobody else had been elected by then.
    pub quorum_acked_at: Option<Instant>,
    /// Last index of its log.
    pub last_log: u64,
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

/// The replica of one node. Clones share it.
#[derive(Clone)]
pub struct Replica {
    pub(crate) inner: Arc<ReplicaInner>,
}

impl Replica {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Makes this node the first of a new cluster: its only voter, and `command` (an
    /// [`Initialise`](Command::Initialise)) the first thing decided. Again does no harm; the command is then refused.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn bootstrap(&self, command: Command, options: ProposeOptions) -> Result<Reply, ProposeError> {
        use openraft::errors::{InitializeError, RaftError};

        match self
            .inner
            .raft
            .initialize(BTreeSet::from([self.inner.node.0]))
            .await
        {
            // Some log is there already: this node, or another, did it before.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => {
                tracing::error!(%error, "raft cannot be initialised");
                return Err(ProposeError::Stopping);
            }
        }
        self.propose(command, options).await
    }

    /// Has `command` decided by the majority and applied once, whichever node leads.
    ///
    /// # Errors
    /// [`ProposeError`]; only after `Unavailable` and `Stopping` is the outcome unknown.
    pub async fn propose(&self, command: Command, options: ProposeOptions) -> Result<Reply, ProposeError> {
        self.inner.proposer.propose(command, options).await
    }

    /// The tables as applied here.
    ///
    /// # Errors
    /// `ReadError::Store`.
    pub fn local(&self) -> Result<View, ReadError> {
        let tables = self
            .inner
            .state
            .store
            .read()
            .map_err(|e| ReadError::Store(io::Error::other(e)))?;
        let mark = AppliedMark::read(&*tables).map_err(ReadError::Store)?;
        Ok(View {
            applied: mark.applied.map_or(0, |log_id| log_id.index),
            tables,
        })
    }

    /// The tables with everything that was committed before the call (read index).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn linearizable(&self, deadline: Duration) -> Result<View, ReadError> {
        if self.inner.state.store.bite() == Some(Bite::StaleRead) {
            return self.local();
        }
        let began = Instant::now();
        let caught_up = tokio::time::timeout(deadline, self.wait_for_read_index()).await;
        match caught_up {
            Ok(true) => self.local(),
            Ok(false) | Err(_) => Err(ReadError::Unavailable {
                waited: began.elapsed(),
            }),
        }
    }

    /// False when the replica is stopping.
    async fn wait_for_read_index(&self) -> bool {
        let mut leader = self.inner.leader.clone();
        let mut applied = self.inner.state.applied.subscribe();
        loop {
            if leader.wait_for(Option::is_some).await.is_err() {
                return false;
            }
            let (asker, index) = oneshot::channel();
            if self.inner.reads.send(asker).await.is_err() {
                return false;
            }
            match index.await {
                Ok(index) => return applied.wait_for(|applied| *applied >= index).await.is_ok(),
                Err(_) => {
                    // No majority, or another leader, whose coming ends the pause.
                    if let Ok(Err(_)) = tokio::time::timeout(READ_RETRY_PAUSE, leader.changed()).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Every batch applied from this call on. A watcher that lags is told so (`RecvError::Lagged`) and reads the tables
    /// anew.
    pub fn changes(&self) -> broadcast::Receiver<Applied> {
        self.inner.state.changes.subscribe()
    }

    /// Where the replica stands, and every change of that.
    pub fn state(&self) -> watch::Receiver<ReplicaState> {
        self.inner.replica_state.clone()
    }

    /// This node's leadership, if it leads as far as it knows.
    pub fn leading(&self) -> Option<Leading> {
        // What openraft said last still stands when it has ended.
        let goes_on = self.inner.leader.has_changed().is_ok();
        goes_on.then(|| leadership::leading(&self.inner.raft)).flatten()
    }

    /// The wall clock that the voters' clocks agree on: for what expires, whichever node is asked.
    pub fn cluster_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.time) as Arc<dyn Clock>
    }

    /// Whether what stands on this node's disk may be shown: it has been compared with another member's mark of it, or nobody
    /// was met for a while. An older copy of a disk would show what clients know to be past.
    pub fn may_show_its_disk(&self) -> bool {
        let inner = &self.inner;
        if inner.check.is_reverted() {
            return false;
        }
        let is_alone = inner.replica_state.borrow().voters == [inner.node];
        is_alone || inner.check.is_passed() || inner.started.elapsed() >= MEETS_NOBODY_AFTER
    }

    /// Whether this node has found that its disk is an older copy.
    pub fn runs_on_an_older_copy(&self) -> bool {
        self.inner.check.is_reverted()
    }

    /// How long this node's disk takes to sync the log.
    pub fn sync_time(&self) -> SyncTime {
        self.inner.pilot.sync_time()
    }

    /// What is to be said of the voters and their disks, and what to do about it: as this node finds if it leads, as its
    /// leader told otherwise. Empty where all is well, or nobody knows.
    pub fn notes(&self) -> Vec<Note> {
        self.inner.pilot.notes()
    }

    /// How long ago each other member last answered this node, if this node leads; `None` for who never did. Empty
    /// elsewhere.
    pub fn acked_ago(&self) -> BTreeMap<NodeId, Option<Duration>> {
        leadership::acked_ago(&self.inner.raft)
    }

    /// The fault that a simulation has put back; none on a real disk.
    #[doc(hidden)]
    pub fn bite(&self) -> Option<Bite> {
        self.inner.state.store.bite()
    }

    /// Hands leadership to `to`, or to the voter that is furthest along.
    ///
    /// # Errors
    /// `Unavailable` where nobody took it within `deadline`.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        deadline: Duration,
    ) -> Result<(), ProposeError> {
        let began = Instant::now();
        leadership::transfer(&self.inner, to, deadline)
            .await
            .map_err(|_| ProposeError::Unavailable {
                waited: began.elapsed(),
            })
    }
}
