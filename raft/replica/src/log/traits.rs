//! The log as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use futures_util::{Stream, StreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};

use super::LogStore;
use super::disk::LogWrite;
use super::writer::Done;
use crate::types::{Entry, LogId, TypeConfig, Vote, seal_record};

/// Most bytes of entries in one append to a follower, far below the mesh's frame limit.
const MAX_READ_BYTES: usize = 1024 * 1024;

/// How far the hint of what is committed may lag on the disk: writing it with every append would cost a page each.
const COMMITTED_LAG_ENTRIES: u64 = 256;

/// Entries read at a time where a long range is streamed.
const STREAM_ENTRIES: u64 = 256;

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
                let (index, record) = (entry.index(), seal_record(&entry)?);
                tail.push(entry, record.len());
                records.push((index, record));
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
            tail.truncate(from, last_log_id);
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
