//! The state machine as openraft sees it: applies entries to the tables, gives and takes snapshots.
//!
//! ```text
//!  committed entries ──► StateMachine ── one batch ──► tables, applied mark, membership
//!                             │
//!                             └──► answers to proposers, applied index, changes
//! ```

mod redb;
mod store;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jarvis_machine::apply;
use jarvis_machine::change::Change;
use jarvis_machine::command::Proposal;
use jarvis_machine::query::Query;
use jarvis_machine::storage::{Read, StoreError, Table, Write};
use jarvis_types::codec;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{Mutex, broadcast, watch};

pub(crate) use self::store::{AppliedMark, Staged, StateStore};
use crate::api::Applied;
use crate::log::LogStore;
use crate::metrics;
use crate::simulated::{AppliedEntry, Bite};
use crate::snapshot;
use crate::types::{Blob, Entry, LogId, RPC_VERSION, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries applied in one batch: bounds how long a batch holds the runtime's thread.
const APPLY_BATCH_ENTRIES: usize = 256;

/// What a snapshot is made of.
pub(crate) enum SnapshotData {
    /// This node's tables, to be sent.
    Picture(Box<dyn Read + Send + Sync>),
    /// Another node's, received.
    Staged(Staged),
}

/// What the state machine shares with the replica.
pub(crate) struct StateShared {
    /// The tables.
    pub(crate) store: StateStore,
    /// Index of the last applied entry.
    pub(crate) applied: watch::Sender<u64>,
    /// Index up to which this life has made the tables durable; 0: not yet.
    pub(crate) durable: watch::Sender<u64>,
    /// What was changed.
    pub(crate) changes: broadcast::Sender<Applied>,
    /// The cluster level, as applied.
    level: AtomicU32,
    /// The log behind the tables, which must never be behind them on the disk.
    log: OnceLock<LogStore>,
    /// Held by whoever writes: redb lets one write at a time, and a sync may take long, so waiting must not block.
    writing: Mutex<()>,
}

impl StateShared {
    /// Around `store`, whose watchers may lag by `capacity` batches.
    pub(crate) fn new(store: StateStore, capacity: usize) -> io::Result<Self> {
        let tables = store.read().map_err(io::Error::other)?;
        let mark = AppliedMark::read(&*tables)?;
        let level = Query(&*tables).cluster_level().map_err(io::Error::other)?;
        drop(tables);
        Ok(Self {
            store,
            applied: watch::Sender::new(mark.applied.map_or(0, |l| l.index)),
            durable: watch::Sender::new(0),
            changes: broadcast::Sender::new(capacity),
            level: AtomicU32::new(level),
            log: OnceLock::new(),
            writing: Mutex::new(()),
        })
    }

    /// Has `log` synced before the tables are.
    pub(crate) fn follows(&self, log: LogStore) {
        // Once, at the start.
        let _ = self.log.set(log);
    }

    /// The cluster level, as applied here.
    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    /// Makes everything applied durable.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        self.sync_written().await
    }

    /// The same for who holds the right to write. The log first: a node may apply what others have synced before its own disk
    /// has, and tables that are ahead of the log are of a state that the log cannot tell of.
    async fn sync_written(&self) -> io::Result<()> {
        self.flush_log().await?;
        self.store.sync().await
    }

    async fn flush_log(&self) -> io::Result<()> {
        match self.log.get() {
            Some(log) => log.flush().await,
            None => Ok(()),
        }
    }

    /// What is applied in the tables.
    pub(crate) fn mark(&self) -> io::Result<AppliedMark> {
        self.store
            .read()
            .map_err(io::Error::other)
            .and_then(|tables| AppliedMark::read(&*tables))
    }

    fn snapshot(&self) -> io::Result<Option<Snapshot>> {
        let tables = self.store.read().map_err(io::Error::other)?;
        let mark = AppliedMark::read(&*tables)?;
        Ok(mark.applied.map(|applied| Snapshot {
            meta: SnapshotMeta {
                last_log_id: Some(applied),
                last_membership: mark.membership,
            },
            snapshot: SnapshotData::Picture(tables),
        }))
    }
}

/// openraft's state machine. Clones share the tables; only the one that openraft holds applies.
pub(crate) struct StateMachine {
    shared: Arc<StateShared>,
    mark: AppliedMark,
    speaks: u32,
}

impl StateMachine {
    /// Over what `shared` holds.
    pub(crate) fn new(shared: Arc<StateShared>) -> io::Result<Self> {
        let mark = shared.mark()?;
        Ok(Self {
            shared,
            mark,
            speaks: jarvis_machine::LEVEL,
        })
    }

    /// Takes no command of a level above `speaks`.
    pub(crate) fn speaking(self, speaks: u32) -> Self {
        Self { speaks, ..self }
    }

    async fn apply_batch(&mut self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let Some((last, _)) = batch.last() else {
            return Ok(());
        };
        let last = last.log_id();
        let mut mark = AppliedMark {
            applied: Some(last),
            membership: self.mark.membership.clone(),
        };
        let with_membership = batch
            .iter()
            .any(|(entry, _)| matches!(entry.payload, EntryPayload::Membership(_)));
        for (entry, _) in &batch {
            if let EntryPayload::Membership(members) = &entry.payload {
                mark.membership = StoredMembership::new(Some(entry.log_id()), members.clone());
            }
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut changes = Vec::new();
        {
            let _writing = self.shared.writing.lock().await;
            self.shared
                .store
                .write(&mut |tables| {
                    for (entry, _) in &batch {
                        let bite = self.shared.store.bite();
                        outcomes.push(apply_entry(self.speaks, tables, entry, &mut changes, bite)?);
                    }
                    mark.write(tables, with_membership)
                })
                .map_err(io::Error::other)?;
        }
        self.mark = mark;
        for change in &changes {
            if let Change::LevelRaised(level) = change {
                self.shared.level.store(*level, Ordering::Release);
            }
        }
        self.observe(&batch, &outcomes);
        self.shared.applied.send_replace(last.index);
        for ((_, responder), outcome) in batch.into_iter().zip(outcomes) {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        self.announce(last, changes);
        Ok(())
    }

    fn observe(&self, batch: &[EntryResponder<TypeConfig>], outcomes: &[Blob]) {
        let Some(observer) = self.shared.store.observer() else {
            return;
        };
        for ((entry, _), outcome) in batch.iter().zip(outcomes) {
            observer.applied(&AppliedEntry {
                index: entry.index(),
                term: entry.log_id().leader_id.term,
                proposal: match &entry.payload {
                    EntryPayload::Normal(proposal) => Some(&proposal.0),
                    _ => None,
                },
                outcome: &outcome.0,
            });
        }
    }

    fn announce(&self, last: LogId, changes: Vec<Change>) {
        if !changes.is_empty() {
            // Nobody may watch.
            let _ = self.shared.changes.send(Applied {
                index: last.index,
                changes: changes.into(),
            });
        }
    }
}

/// Applies one entry to the tables.
pub(crate) fn apply_entry(
    speaks: u32,
    tables: &mut dyn Write,
    entry: &Entry,
    changes: &mut Vec<Change>,
    bite: Option<Bite>,
) -> Result<Blob, StoreError> {
    let EntryPayload::Normal(proposal) = &entry.payload else {
        return Ok(Blob::default());
    };
    let mut proposal = Proposal::decode_at(speaks, &proposal.0);
    if let Some(bite) = bite {
        proposal = bite.before(tables, proposal)?;
    }
    let proposal = proposal.map_err(|e| {
        let index = entry.index();
        StoreError(format!(
            "log entry {index} cannot be applied by this version of jarvis ({e}); upgrade this node"
        ))
    })?;
    let applied = apply(tables, &proposal)?;
    if let Some(request) = &proposal.request {
        let applied_well = applied.outcome.is_ok();
        tracing::debug!(request_id = %request, index = entry.index(), applied = applied_well, "entry applied");
    }
    changes.extend(applied.changes);
    let outcome = codec::encode(RPC_VERSION, &applied.outcome).map_err(|e| StoreError(e.to_string()))?;
    Ok(Blob(Bytes::from(outcome)))
}

/// Removes what a fault that was put back keeps out of snapshots.
fn forget(tables: &mut dyn Write, bite: Bite) -> Result<(), StoreError> {
    for table in Table::ALL.into_iter().filter(|table| bite.leaves_out(*table)) {
        for (key, _) in jarvis_machine::keys::scan_prefix(tables, table, &[], false, usize::MAX)? {
            tables.delete(table, &key)?;
        }
    }
    Ok(())
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.mark.applied, self.mark.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let mut batch = Vec::new();
            while batch.len() < APPLY_BATCH_ENTRIES {
                match entries.next().await {
                    Some(entry) => batch.push(entry?),
                    None => return self.apply_batch(batch).await,
                }
            }
            self.apply_batch(batch).await?;
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(Arc::clone(&self.shared))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let staged = match data {
            SnapshotData::Staged(staged) => staged,
            SnapshotData::Picture(tables) => {
                let staged = self.shared.store.stage()?;
                snapshot::copy(&*tables, &staged)?;
                staged
            }
        };
        let mark = AppliedMark {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        staged.write(&mut |tables| mark.write(tables, true))?;
        if let Some(bite) = self.shared.store.bite() {
            staged.write(&mut |tables| forget(tables, bite))?;
        }
        {
            let _writing = self.shared.writing.lock().await;
            // What openraft had truncated for it must be gone first: a log that ends behind the tables, and holds another entry
            // of their index, would not be opened.
            self.shared.flush_log().await?;
            self.shared.store.promote(staged).await?;
        }
        self.mark = mark;
        let tables = self.shared.store.read().map_err(io::Error::other)?;
        let level = Query(&*tables).cluster_level().map_err(io::Error::other)?;
        drop(tables);
        self.shared.level.store(level, Ordering::Release);
        if let Some(last) = meta.last_log_id {
            if let Some(observer) = self.shared.store.observer() {
                observer.replaced(last.index);
            }
            self.shared.durable.send_replace(last.index);
            self.shared.applied.send_replace(last.index);
            self.announce(last, vec![Change::Replaced]);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.shared.snapshot()
    }
}

/// Makes snapshots, which are pictures of durable tables.
pub(crate) struct Builder(Arc<StateShared>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let _writing = self.0.writing.lock().await;
        // openraft drops log entries up to the snapshot: what they did must be on the disk first.
        self.0.sync_written().await?;
        metrics::snapshot("built");
        let empty = || Snapshot {
            meta: SnapshotMeta::default(),
            snapshot: SnapshotData::Picture(Box::new(snapshot::Nothing)),
        };
        let snapshot = self.0.snapshot()?.unwrap_or_else(empty);
        let last = snapshot.meta.last_log_id.map_or(0, |last| last.index);
        self.0.durable.send_replace(last);
        Ok(snapshot)
    }
}
