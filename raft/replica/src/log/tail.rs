//! The part of the log that is held in memory: what is not synced yet, and the last of what is.

use std::collections::VecDeque;

use openraft::entry::RaftEntry;

use super::disk::LogWrite;
use super::sizes::RecordSizes;
use crate::types::{Entry, LogId, Vote};

/// Bytes of records that the tail in memory may hold once they are synced.
pub(super) const TAIL_BYTES: usize = 2 * 1024 * 1024;

/// The same where a node is to be small.
pub(super) const SMALL_TAIL_BYTES: usize = 128 * 1024;

/// What is known of the log without reading the disk.
pub(super) struct Tail {
    /// The last entries, without a gap, with the size of their records.
    pub(super) entries: VecDeque<(Entry, usize)>,
    pub(super) bytes: usize,
    /// How many of them may be held once they are synced.
    pub(super) max_bytes: usize,
    /// Everything below this index is on the disk.
    pub(super) synced_below: u64,
    /// Truncations that have not reached the disk, oldest first: from which index on. A sync of entries that was queued before
    /// one says nothing of what has taken their places.
    pub(super) truncating: VecDeque<u64>,
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) committed: Option<LogId>,
    /// The last hint of it that was written.
    pub(super) committed_written: u64,
    /// Of all records in the log.
    pub(super) sizes: RecordSizes,
}

impl Tail {
    /// The hint of what is committed, if it is time to write it.
    pub(super) fn committed_hint(&mut self, lag: u64) -> Option<LogId> {
        let committed = self.committed?;
        if committed.index < self.committed_written + lag {
            return None;
        }
        self.committed_written = committed.index;
        Some(committed)
    }

    /// Adds the entry that follows the last one.
    pub(super) fn push(&mut self, entry: Entry, record_bytes: usize) {
        self.last = Some(entry.log_id());
        self.sizes.push(entry.index(), record_bytes);
        self.bytes += record_bytes;
        self.entries.push_back((entry, record_bytes));
    }

    /// Forgets the entries from `from` on, which the disk still has for a while.
    pub(super) fn truncate(&mut self, from: u64, last: Option<LogId>) {
        self.pop_back_from(from);
        self.last = last.or(self.purged);
        self.synced_below = self.synced_below.min(from);
        self.truncating.push_back(from);
    }

    /// Notes what has reached the disk.
    pub(super) fn on_synced(&mut self, writes: &[LogWrite]) {
        for write in writes {
            match write {
                LogWrite::Append(records) => {
                    if let Some((index, _)) = records.last() {
                        let replaced = self.truncating.iter().min().copied().unwrap_or(u64::MAX);
                        self.synced_below = self.synced_below.max((index + 1).min(replaced));
                    }
                }
                LogWrite::TruncateFrom(_) => drop(self.truncating.pop_front()),
                _ => {}
            }
        }
        self.trim();
    }

    /// Lets go of synced entries beyond the memory the tail may take.
    fn trim(&mut self) {
        while self.bytes > self.max_bytes {
            match self.entries.front() {
                Some((entry, size)) if entry.index() < self.synced_below => {
                    self.bytes -= size;
                    self.entries.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Lets go of all entries up to `index`.
    pub(super) fn pop_front_through(&mut self, index: u64) {
        self.sizes.purge(index);
        while let Some((entry, size)) = self.entries.front() {
            if entry.index() > index {
                break;
            }
            self.bytes -= size;
            self.entries.pop_front();
        }
    }

    /// Lets go of all entries from `index` on.
    fn pop_back_from(&mut self, index: u64) {
        self.sizes.truncate(index);
        while let Some((entry, size)) = self.entries.back() {
            if entry.index() < index {
                break;
            }
            self.bytes -= size;
            self.entries.pop_back();
        }
    }

    /// Index of the first entry held.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.index())
    }
}
