//! The Raft log: entries, vote, purge marker, and the hint of what is committed.
//!
//! ```text
//!  openraft ──► LogStore ── tail of the log in memory: readable at once
//!                  │
//!                  └──► writer (own thread) ──► LogDisk: redb, or memory
//! ```
//!
//! An append is readable when it returns and counts when it is synced. Followers that keep up and the state machine are
//! served from memory; only those that lag read the disk.

#[cfg(test)]
pub(crate) mod bad_disk;
pub(crate) mod disk;
mod faulty;
mod memory;
#[cfg(test)]
mod power_tests;
mod redb;
mod sizes;
#[cfg(test)]
mod suite_tests;
mod sync_meter;
mod tail;
mod traits;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_machine::rows::LogMark;
use openraft::entry::RaftEntry;
use tokio::sync::{mpsc, oneshot, watch};

use self::disk::{LogDisk, LogWrite};
pub(crate) use self::faulty::FaultyLog;
pub use self::memory::MemoryLog;
pub(crate) use self::redb::RedbLog;
pub(crate) use self::sizes::RecordSizes;
pub(crate) use self::sync_meter::SyncMeter;
pub use self::sync_meter::SyncTime;
use self::tail::{SMALL_TAIL_BYTES, TAIL_BYTES, Tail};
pub(crate) use self::writer::Runner;
use self::writer::{Done, Job};
use crate::types::{Entry, LogId, open_record, seal_record};

/// When nothing was applied for so long, what is committed is written down: once for each bustle.
const QUIET: Duration = Duration::from_secs(5);

/// Bytes that stand in memory at a time while records are counted.
const COUNT_READ_BYTES: usize = 1024 * 1024;

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    meter: SyncMeter,
}

struct Shared {
    disk: Arc<dyn LogDisk>,
    tail: Mutex<Tail>,
}

impl LogStore {
    /// Opens the log on `disk`. Every record that is read is checked.
    pub(crate) fn open(disk: Arc<dyn LogDisk>, runner: &Runner) -> io::Result<Self> {
        let head = disk.head()?;
        let vote = head
            .vote
            .as_deref()
            .map(|v| open_record("the vote", v))
            .transpose()?;
        let purged = head
            .purged
            .as_deref()
            .map(|p| open_record("the purge marker", p))
            .transpose()?;
        let committed = head
            .committed
            .as_deref()
            .map(|c| open_record("the commit marker", c))
            .transpose()?;
        let last = match head.last {
            Some((index, record)) => Some(open_entry(index, &record)?.log_id()),
            None => purged,
        };
        let synced_below = last.map_or(0, |l: LogId| l.index + 1);
        let committed_written = committed.map_or(0, |c: LogId| c.index);
        let tail = Tail {
            entries: VecDeque::new(),
            bytes: 0,
            max_bytes: TAIL_BYTES,
            synced_below,
            truncating: VecDeque::new(),
            vote,
            purged,
            last,
            committed,
            committed_written,
            sizes: RecordSizes::new(),
        };
        let shared = Arc::new(Shared {
            disk: Arc::clone(&disk),
            tail: Mutex::new(tail),
        });
        let weak = Arc::downgrade(&shared);
        let meter = SyncMeter::default();
        let queue = writer::start(disk, runner, meter.clone(), move |writes| {
            if let Some(shared) = weak.upgrade() {
                shared.on_synced(writes);
            }
        })?;
        Ok(Self { shared, queue, meter })
    }

    /// Writes down what is committed whenever nothing was applied for a while, so that a node whose cluster is lost can tell
    /// what is certain. While there is much to do, appends take it along.
    pub(crate) async fn keep_marker(self, mut applied: watch::Receiver<u64>) {
        while applied.changed().await.is_ok() {
            while let Ok(Ok(())) = tokio::time::timeout(QUIET, applied.changed()).await {}
            let committed = self.shared.tail().committed_hint(1);
            let Some(record) = committed.and_then(|committed| seal_record(&committed).ok()) else {
                continue;
            };
            // The empty append is what has it synced.
            for write in [LogWrite::Committed(record), LogWrite::Append(Vec::new())] {
                if self.send(write, Done::Nobody).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether `log_id` is in the log and on the disk.
    pub(crate) fn has_synced(&self, log_id: Option<LogId>) -> io::Result<bool> {
        let Some(log_id) = log_id else {
            return Ok(true);
        };
        {
            let tail = self.shared.tail();
            if tail.purged.is_some_and(|purged| log_id.index <= purged.index) {
                // What is purged was committed: there is one entry of that index, and the tables that hold it are synced.
                return Ok(true);
            }
            if log_id.index >= tail.synced_below {
                return Ok(false);
            }
        }
        let found = self.read(log_id.index, log_id.index + 1, usize::MAX)?;
        Ok(found.first().is_some_and(|entry| entry.log_id() == log_id))
    }

    /// The term this node voted in last, and its last entry, synced or not.
    pub(crate) fn end(&self) -> LogMark {
        let tail = self.shared.tail();
        LogMark {
            term: tail.vote.map_or(0, |vote| vote.leader_id().term),
            index: tail.last.map_or(0, |last| last.index),
        }
    }

    /// Index of the last entry of the log that is on the disk.
    pub(crate) fn synced_index(&self) -> u64 {
        self.shared.tail().synced_below.saturating_sub(1)
    }

    /// Waits until everything that was written so far is on the disk.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        // The empty append is what has it synced.
        self.send_and_wait(LogWrite::Append(Vec::new())).await
    }

    /// How long the disk takes to sync.
    pub(crate) fn sync_meter(&self) -> SyncMeter {
        self.meter.clone()
    }

    /// Holds little in memory from here on.
    pub(crate) fn be_small(&self) {
        self.shared.tail().max_bytes = SMALL_TAIL_BYTES;
    }

    /// Counts the bytes of the records that the disk already has, the earliest first, as far as `enough`.
    pub(crate) fn count_records(&self, enough: u64) -> io::Result<()> {
        let mut next = self.purged().map_or(0, |purged| purged.index + 1);
        loop {
            let records = self.shared.disk.read(next, u64::MAX, COUNT_READ_BYTES)?;
            let mut tail = self.shared.tail();
            for (index, record) in &records {
                tail.sizes.push(*index, record.len());
                next = index + 1;
            }
            if records.is_empty() || tail.sizes.total() >= enough {
                return Ok(());
            }
        }
    }

    /// Looks at the sizes of the records in it.
    pub(crate) fn sizes<T>(&self, look: impl FnOnce(&RecordSizes) -> T) -> T {
        look(&self.shared.tail().sizes)
    }

    /// The last entry that is gone from it.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared.tail().purged
    }

    /// Syncs what is left and lets go of the file.
    pub(crate) async fn close(&self) {
        let committed = self.shared.tail().committed_hint(1);
        if let Some(record) = committed.and_then(|committed| seal_record(&committed).ok()) {
            let _ = self.send(LogWrite::Committed(record), Done::Nobody).await;
        }
        let (closed, done) = oneshot::channel();
        if self.queue.send(Job::Close(closed)).await.is_ok() {
            let _ = done.await;
        }
    }

    async fn send(&self, write: LogWrite, done: Done) -> io::Result<()> {
        self.queue
            .send(Job::Write(write, done))
            .await
            .map_err(|_| closed())
    }

    async fn send_and_wait(&self, write: LogWrite) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.send(write, Done::Caller(done)).await?;
        result.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Entries of `from..to` that exist, until their bytes exceed `max_bytes`.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (from, held_from, held, next) = {
            let tail = self.shared.tail();
            // What is purged is gone at once, even where the disk still has it.
            let from = from.max(tail.purged.map_or(0, |purged| purged.index + 1));
            let next = tail.last.map_or(0, |last| last.index + 1);
            let first = tail.first().unwrap_or(next);
            // Entries stand at `index - first`; what lies before comes from the disk.
            let skip = usize::try_from(from.max(first) - first).unwrap_or(usize::MAX);
            let mut held = Vec::new();
            let mut bytes = 0;
            for (entry, size) in tail.entries.iter().skip(skip) {
                bytes += size;
                if entry.index() >= to || (bytes > max_bytes && !held.is_empty()) {
                    break;
                }
                held.push(entry.clone());
            }
            (from, first, held, next)
        };
        let end = to.min(next);
        if from >= end.min(held_from) {
            return Ok(held);
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        for (index, record) in self.shared.disk.read(from, end.min(held_from), max_bytes)? {
            bytes += record.len();
            found.push(open_entry(index, &record)?);
        }
        // What is held follows without a gap only if the disk gave all it had below: it gives nothing only where it has
        // nothing.
        if found.last().is_none_or(|entry| entry.index() + 1 == held_from) {
            for entry in held {
                bytes += size_of_entry(&entry);
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push(entry);
            }
        }
        Ok(found)
    }
}

impl Shared {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_synced(&self, writes: &[LogWrite]) {
        self.tail().on_synced(writes);
    }
}

/// A record as the entry it is.
pub(crate) fn open_entry(index: u64, record: &[u8]) -> io::Result<Entry> {
    let entry: Entry = open_record(format_args!("log entry {index}"), record)?;
    if entry.index() == index {
        Ok(entry)
    } else {
        let text = format!(
            "log entry {index} is damaged: it says that it is entry {}",
            entry.index()
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

fn size_of_entry(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(blob) => blob.0.len(),
        _ => 0,
    }
}

fn closed() -> io::Error {
    io::Error::other("the log's writer has ended")
}
