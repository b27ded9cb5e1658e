//! Bringing a cluster up again from one node's disk, when the majority is gone for good.
//!
//! ```text
//!  inspect ─► what is certain, what may be lost ─► (a person decides) ─► rule_alone ─► finish
//!                                                                        one write     removes the others, without a network
//! ```
//!
//! Everything in this node's log is kept: what was acknowledged up to its end is there. What others acknowledged after it is
//! lost; nobody can tell from here whether there was any.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jarvis_host::{Clock, Faults, Tasks};
use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::query::Query;
use jarvis_machine::rows::{NodeIntent, NodeRow};
use jarvis_mesh::api::{CallError, Handler, Lane, Service};
use jarvis_types::NodeId;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;

use crate::api::{ProposeError, ProposeOptions, Replica};
use crate::config::{MemoryDisk, ReplicaConfig, ReplicaDeps, StoreChoice};
use crate::error::StartError;
use crate::log::disk::{LogDisk, LogWrite};
use crate::log::{RedbLog, open_entry};
use crate::replica::{LOG_FILE, STATE_FOLDER};
use crate::snapshot;
use crate::state::{AppliedMark, StateStore, apply_entry};
use crate::transport::{Pipe, PipeHandler, Transport};
use crate::types::{CommittedLeaderId, Entry, LogId, StoredMembership, Vote, open_record, seal_record};

/// Entries read at a time.
const READ_ENTRIES: u64 = 1_024;

/// Bytes of entries read at a time.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// How long a node that is alone may take to lead and to have applied its log.
const LEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// One decision of a node that is alone.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// What stands on the disk of a node that does not run.
#[derive(Debug, Clone)]
pub struct Found {
    /// The last entry of its log.
    pub last: LogEnd,
    /// Everything up to this index is known here to have been committed.
    pub certain: u64,
    /// When the last entry that carries a time was proposed, Unix milliseconds.
    pub last_entry_at_ms: Option<u64>,
    /// The members with all that the log has applied, certain or not.
    pub nodes: Vec<(NodeId, NodeRow)>,
    /// Who votes according to the log's last word on it.
    pub voters: Vec<NodeId>,
    /// Whether this node is the only voter, by an earlier recovery perhaps.
    pub alone: bool,
}

/// What came of a recovery.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Members that were put out for good.
    pub removed: Vec<(NodeId, NodeRow)>,
    /// Members that could not be, because nobody else may ever vote: a worker was recovered.
    pub kept: Vec<(NodeId, NodeRow)>,
    /// The log's last index, all of it committed.
    pub committed: u64,
}

/// Why a recovery did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The stores do not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The stores do not read or write.
    #[error("the node's log or tables cannot be read or written")]
    Io(#[from] io::Error),
    /// The node has no log.
    #[error("the log is empty: this node has never had anything")]
    Empty,
    /// It did not come to lead.
    #[error("the node did not come to lead within {waited:?}")]
    NotLeading {
        /// How long was waited.
        waited: Duration,
    },
    /// A decision failed.
    #[error("a member could not be removed")]
    Propose(#[from] ProposeError),
}

/// The disk of a node that does not run.
struct Disk {
    log: RedbLog,
    state: StateStore,
    folder: PathBuf,
    purged: Option<LogId>,
    committed: Option<LogId>,
    vote: Option<Vote>,
    last: LogId,
}

impl Disk {
    fn open(folder: &Path) -> Result<Self, RecoverError> {
        let (log_path, state_path) = (folder.join(LOG_FILE), folder.join(STATE_FOLDER));
        if !log_path.exists() {
            return Err(RecoverError::Empty);
        }
        let log = RedbLog::open(&log_path).map_err(|e| StartError::from_open(&log_path, e))?;
        let state = StateStore::open(&state_path).map_err(|e| StartError::from_open(&state_path, e))?;
        let head = log.head()?;
        let id = |what, record: Option<Vec<u8>>| -> io::Result<Option<LogId>> {
            record.map(|record| open_record(what, &record)).transpose()
        };
        let purged = id("the purge marker", head.purged)?;
        let committed = id("the commit marker", head.committed)?;
        let vote = head.vote.map(|vote| open_record("the vote", &vote)).transpose()?;
        let last = match head.last {
            Some((index, record)) => Some(open_entry(index, &record)?.log_id()),
            None => purged,
        };
        Ok(Self {
            log,
            state,
            folder: folder.to_owned(),
            purged,
            committed,
            vote,
            last: last.ok_or(RecoverError::Empty)?,
        })
    }

    fn mark(&self) -> io::Result<AppliedMark> {
        let tables = self.state.read().map_err(io::Error::other)?;
        AppliedMark::read(&*tables)
    }

    fn for_each(&self, after: u64, mut take: impl FnMut(&Entry) -> io::Result<()>) -> io::Result<()> {
        let mut next = after + 1;
        while next <= self.last.index {
            let found = self.log.read(next, next + READ_ENTRIES, READ_BYTES)?;
            if found.is_empty() {
                let text = format!("log entry {next} is missing from {}", self.folder.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            for (index, record) in found {
                take(&open_entry(index, &record)?)?;
                next = index + 1;
            }
        }
        Ok(())
    }

    /// The members after all of the log, found on a copy of the tables.
    fn nodes_at_the_end(&self, applied: u64) -> io::Result<Vec<(NodeId, NodeRow)>> {
        let copy = StateStore::memory(&MemoryDisk::new()).stage()?;
        {
            let tables = self.state.read().map_err(io::Error::other)?;
            snapshot::copy(&*tables, &copy)?;
        }
        self.for_each(applied, |entry| {
            copy.write(&mut |tables| {
                apply_entry(jarvis_machine::LEVEL, tables, entry, &mut Vec::new(), None).map(drop)
            })
        })?;
        let mut nodes = Vec::new();
        copy.write(&mut |tables| {
            nodes = Query(tables).nodes()?;
            Ok(())
        })?;
        Ok(nodes)
    }
}

/// What stands on the disk of `node`, which must not run.
///
/// # Errors
/// [`RecoverError`].
pub fn inspect(node: NodeId, folder: &Path) -> Result<Found, RecoverError> {
    let disk = Disk::open(folder)?;
    let mark = disk.mark()?;
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let mut membership = mark.membership.clone();
    let mut last_entry_at_ms = None;
    let from = index(disk.purged);
    disk.for_each(from, |entry| {
        match &entry.payload {
            EntryPayload::Membership(members) => {
                membership = StoredMembership::new(Some(entry.log_id()), members.clone());
            }
            EntryPayload::Normal(body) => {
                if let Ok(proposal) = Proposal::decode(&body.0) {
                    last_entry_at_ms = last_entry_at_ms.max(Some(proposal.at_ms));
                }
            }
            EntryPayload::Blank => {}
        }
        Ok(())
    })?;
    let voters: Vec<NodeId> = membership.membership().voter_ids().map(NodeId).collect();
    Ok(Found {
        last: LogEnd {
            term: disk.last.leader_id.term,
            index: disk.last.index,
        },
        // What is applied, or gone from the log, was committed.
        certain: index(disk.committed)
            .max(index(mark.applied))
            .max(index(disk.purged)),
        last_entry_at_ms,
        nodes: disk.nodes_at_the_end(index(mark.applied))?,
        alone: voters == [node],
        voters,
    })
}

/// Makes `node` the only member of its Raft group: an entry at the log's end that says so, in a term of its own, and its
/// vote for itself, in one write. From then on it leads alone. Again does no harm.
///
/// # Errors
/// [`RecoverError`].
pub fn rule_alone(node: NodeId, folder: &Path) -> Result<(), RecoverError> {
    if inspect(node, folder)?.alone {
        return Ok(());
    }
    let disk = Disk::open(folder)?;
    let applied = disk
        .mark()?
        .applied
        .filter(|applied| applied.index > disk.last.index);
    let end = applied.unwrap_or(disk.last);
    let voted = disk.vote.as_ref().map_or(0, |vote| vote.leader_id().term);
    let term = voted.max(end.leader_id.term) + 1;
    let id = LogId {
        leader_id: CommittedLeaderId { term },
        index: end.index + 1,
    };
    let members = openraft::Membership::new_with_defaults(vec![BTreeSet::from([node.0])], []);
    let entry: Entry = RaftEntry::new(id, EntryPayload::Membership(members));
    let mut writes = Vec::new();
    if let Some(applied) = applied {
        // The tables are ahead: a snapshot was installed and the log not yet purged, perhaps. What lies between is in the
        // tables, so the log begins anew behind it.
        writes.push(LogWrite::Purge {
            upto: applied.index,
            marker: seal_record(&applied)?,
        });
    }
    writes.push(LogWrite::Append(vec![(id.index, seal_record(&entry)?)]));
    writes.push(LogWrite::Vote(seal_record(&Vote::new(term, node.0))?));
    disk.log.write(&writes, true)?;
    Ok(())
}

/// Lets the node lead, alone and without a network, removes all other members from the cluster, and stops it again.
/// Again does no harm.
///
/// # Errors
/// [`RecoverError`].
pub async fn finish(node: NodeId, folder: &Path, clock: Arc<dyn Clock>) -> Result<Recovered, RecoverError> {
    let tasks = Tasks::new();
    let config = ReplicaConfig {
        expect_existing: true,
        ..ReplicaConfig::new(node, StoreChoice::Redb(folder.to_owned()))
    };
    let deps = ReplicaDeps {
        transport: Arc::new(NoNetwork),
        clock,
        faults: Faults::default(),
        tasks: tasks.clone(),
    };
    let replica = Replica::start(config, deps).await?;
    let result = remove_others(&replica).await;
    replica.stop().await;
    tasks.cancel();
    result
}

async fn remove_others(replica: &Replica) -> Result<Recovered, RecoverError> {
    let own = replica.node();
    let mut state = replica.state();
    let leading = state.wait_for(|state| state.leads && state.caught_up);
    if !matches!(tokio::time::timeout(LEAD_TIMEOUT, leading).await, Ok(Ok(_))) {
        return Err(RecoverError::NotLeading { waited: LEAD_TIMEOUT });
    }
    let options = ProposeOptions {
        fence: None,
        request: None,
        deadline: STEP_TIMEOUT,
    };
    let nodes = replica
        .local()
        .map_err(io::Error::other)?
        .query()
        .nodes()
        .map_err(io::Error::other)?;
    let (mut removed, mut kept) = (Vec::new(), Vec::new());
    for (id, row) in nodes {
        if id != own {
            let command = Command::RemoveNode {
                node: id,
                force: true,
            };
            match replica.propose(command, options.clone()).await {
                Ok(_) => removed.push((id, row)),
                Err(ProposeError::Refused(_)) => kept.push((id, row)),
                Err(error) => return Err(error.into()),
            }
        } else if matches!(row.intent, NodeIntent::Draining | NodeIntent::Drained) {
            // There is nobody else to work.
            let command = Command::SetIntent {
                node: own,
                intent: NodeIntent::Active,
            };
            replica.propose(command, options.clone()).await?;
        }
    }
    // Who is no member follows no more either. Whoever starts the node next sees to it otherwise.
    let no_followers = state.wait_for(|state| state.learners.is_empty());
    let _ = tokio::time::timeout(STEP_TIMEOUT, no_followers).await;
    let committed = replica.state().borrow().applied;
    Ok(Recovered {
        removed,
        kept,
        committed,
    })
}

/// Reaches nobody.
struct NoNetwork;

impl Transport for NoNetwork {
    fn call(
        &self,
        to: NodeId,
        _: Lane,
        _: Service,
        _: u64,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        std::future::ready(Err(CallError::NotConnected(to))).boxed()
    }

    fn open(&self, to: NodeId, _: Lane, _: Service) -> BoxFuture<'static, Result<Pipe, CallError>> {
        std::future::ready(Err(CallError::NotConnected(to))).boxed()
    }

    fn serve(&self, _: Service, _: Arc<dyn Handler>) {}

    fn serve_pipes(&self, _: Service, _: PipeHandler) {}
}
