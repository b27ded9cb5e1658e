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

pub(crate) mod disk;
mod memory;
mod redb;
#[cfg(test)]
mod suite_tests;
mod writer;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use tokio::sync::{mpsc, oneshot};

use self::disk::{LogDisk, LogWrite};
pub use self::memory::MemoryLog;
pub(crate) use self::redb::RedbLog;
pub(crate) use self::writer::Runner;
use self::writer::{Done, Job};
use crate::types::{Entry, LogId, TypeConfig, Vote, open_record, seal_record};

/// Bytes of records that the tail in memory may hold once they are synced.
const TAIL_BYTES: usize = 2 * 1024 * 1024;

/// Most bytes of entries in one append to a follower, far below the mesh's frame limit.
const MAX_READ_BYTES: usize = 1024 * 1024;

/// How far the hint of what is committed may lag on the disk: writing it with every append would cost a page each.
const COMMITTED_LAG_ENTRIES: u64 = 256;

/// Entries read at a time where a long range is streamed.
const STREAM_ENTRIES: u64 = 256;

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
}

struct Shared {
    disk: Arc<dyn LogDisk>,
    tail: Mutex<Tail>,
}

/// What is known of the log without reading the disk.
struct Tail {
    /// The last entries, without a gap, with the size of their records.
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    /// Everything below this index is on the disk.
    synced_below: u64,
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    committed: Option<LogId>,
    /// The last hint of it that was written.
    committed_written: u64,
}

impl Tail {
    /// The hint of what is committed, if it is time to write it.
    fn committed_hint(&mut self, lag: u64) -> Option<LogId> {
        let committed = self.committed?;
        if committed.index < self.committed_written + lag {
            return None;
        }
        self.committed_written = committed.index;
        Some(committed)
    }

    /// Lets go of synced entries beyond the memory the tail may take.
    fn trim(&mut self) {
        while self.bytes > TAIL_BYTES {
            match self.entries.front() {
                Some((entry, size)) if entry.index() < self.synced_below => {
                    self.bytes -= size;
                    self.entries.pop_front();
                }
                _ => break,
            }
        }
    }

    fn pop_front_through(&mut self, index: u64) {
        while let Some((entry, size)) = self.entries.front() {
            if entry.index() > index {
                break;
            }
            self.bytes -= size;
            self.entries.pop_front();
        }
    }

    fn pop_back_from(&mut self, index: u64) {
        while let Some((entry, size)) = self.entries.back() {
            if entry.index() < index {
                break;
            }
            self.bytes -= size;
            self.entries.pop_back();
        }
    }

    /// Index of the first entry held.
    fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.index())
    }
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
        let entries = VecDeque::new();
        let tail = Tail {
            entries,
            bytes: 0,
            synced_below,
            vote,
            purged,
            last,
            committed,
            committed_written,
        };
        let shared = Arc::new(Shared {
            disk: Arc::clone(&disk),
            tail: Mutex::new(tail),
        });
        let weak = Arc::downgrade(&shared);
        let queue = writer::start(disk, runner, move |writes| {
            if let Some(shared) = weak.upgrade() {
                shared.on_synced(writes);
            }
        })?;
        Ok(Self { shared, queue })
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
        let mut tail = self.tail();
        for write in writes {
            match write {
                LogWrite::Append(records) => {
                    if let Some((index, _)) = records.last() {
                        tail.synced_below = index + 1;
                    }
                }
                LogWrite::TruncateFrom(from) => tail.synced_below = tail.synced_below.min(*from),
                _ => {}
            }
        }
        tail.trim();
    }
}

fn open_entry(index: u64, record: &[u8]) -> io::Result<Entry> {
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

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, MAX_READ_BYTES)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let log = self.clone();
        // Read in pieces: a long range must not stand in memory whole.
        stream::unfold(Some(from), move |next| {
            let log = log.clone();
            async move {
                let from = next.filter(|from| *from < to)?;
                match log.read(from, to.min(from.saturating_add(STREAM_ENTRIES)), MAX_READ_BYTES) {
                    Ok(found) => {
                        let next = found.last().map(|entry| entry.index() + 1)?;
                        Some((found.into_iter().map(Ok).collect::<Vec<_>>(), Some(next)))
                    }
                    Err(error) => Some((vec![Err(error)], None)),
                }
            }
        })
        .map(stream::iter)
        .flatten()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.tail().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.shared.tail();
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.send_and_wait(LogWrite::Vote(seal_record(vote)?)).await?;
        self.shared.tail().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Kept in memory and written with the next append: a hint need not wake the disk.
        self.shared.tail().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let committed = {
            let mut tail = self.shared.tail();
            for entry in entries {
                let record = seal_record(&entry)?;
                let log_id = entry.log_id();
                tail.bytes += record.len();
                tail.entries.push_back((entry, record.len()));
                tail.last = Some(log_id);
                records.push((log_id.index, record));
            }
            tail.committed_hint(COMMITTED_LAG_ENTRIES)
        };
        if let Some(committed) = committed {
            self.send(LogWrite::Committed(seal_record(&committed)?), Done::Nobody)
                .await?;
        }
        self.send(LogWrite::Append(records), Done::Flushed(callback))
            .await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |last| last.index + 1);
        {
            let mut tail = self.shared.tail();
            if tail.last <= last_log_id {
                return Ok(());
            }
            tail.pop_back_from(from);
            tail.last = last_log_id.or(tail.purged);
        }
        self.send(LogWrite::TruncateFrom(from), Done::Nobody).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut tail = self.shared.tail();
            tail.pop_front_through(log_id.index);
            tail.purged = Some(log_id);
            tail.last = tail.last.max(Some(log_id));
        }
        self.send(
            LogWrite::Purge {
                upto: log_id.index,
                marker: seal_record(&log_id)?,
            },
            Done::Nobody,
        )
        .await
    }
}
