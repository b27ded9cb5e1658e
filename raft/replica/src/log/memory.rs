//! A log in memory that knows what was synced: a simulated crash loses the rest.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::entry::RaftEntry;

use super::disk::{LogDisk, LogHead, LogWrite};
use super::open_entry;
use crate::simulated::Bite;
use crate::types::seal_record;

/// What the disk holds.
#[derive(Debug, Default, Clone)]
struct Content {
    records: BTreeMap<u64, Vec<u8>>,
    vote: Option<Vec<u8>>,
    purged: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    incarnation: u64,
}

#[derive(Debug, Default)]
struct Disk {
    synced: Content,
    current: Content,
    /// What is being synced: it counts for nothing yet, and may be found after a crash.
    in_flight: Vec<LogWrite>,
    slower_by: Duration,
    full: bool,
    bite: Option<Bite>,
}

/// A log in memory. Clones are the same disk, so that a node can be started again on it.
#[derive(Debug, Default, Clone)]
pub struct MemoryLog(Arc<Mutex<Disk>>);

impl MemoryLog {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not synced, as a power cut does. Of what was just being synced the first `kept_ppm` millionths may be
    /// there all the same: redb finishes such a commit or forgets it, a log in a file of its own would be torn anywhere.
    pub fn crash(&self, kept_ppm: u64) {
        let mut disk = self.disk();
        let in_flight = std::mem::take(&mut disk.in_flight);
        if kept_ppm > 0 && disk.bite.is_none() && !disk.full {
            disk.apply(&torn(in_flight, kept_ppm));
            disk.synced = disk.current.clone();
        }
        disk.current = disk.synced.clone();
    }

    /// Another disk with what is synced on this one.
    pub(crate) fn copy(&self) -> Self {
        let synced = self.disk().synced.clone();
        Self(Arc::new(Mutex::new(Disk {
            current: synced.clone(),
            synced,
            ..Disk::default()
        })))
    }

    /// What is synced on another disk takes the place of what is on this one.
    pub(crate) fn put_back(&self, copy: &Self) {
        let old = copy.disk().synced.clone();
        let mut disk = self.disk();
        disk.current = old.clone();
        disk.synced = old;
        disk.in_flight.clear();
    }

    /// The last synced entry.
    pub(crate) fn last_index(&self) -> u64 {
        let disk = self.disk();
        let last = disk.synced.records.last_key_value();
        last.map_or(0, |(index, _)| *index)
    }

    pub(crate) fn slow_down(&self, by: Duration) {
        self.disk().slower_by = by;
    }

    pub(crate) fn bytes(&self) -> u64 {
        let disk = self.disk();
        disk.current
            .records
            .values()
            .map(|record| record.len() as u64)
            .sum()
    }

    pub(crate) fn fill(&self, full: bool) {
        self.disk().full = full;
    }

    pub(crate) fn set_bite(&self, bite: Option<Bite>) {
        self.disk().bite = bite;
    }

    pub(crate) fn bite(&self) -> Option<Bite> {
        self.disk().bite
    }

    /// Begins to sync `writes`, and says how much longer than usual that takes.
    pub(crate) fn begin(&self, writes: &[LogWrite]) -> Duration {
        let mut disk = self.disk();
        disk.in_flight = writes.to_vec();
        disk.slower_by
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first of `writes`, torn between two records perhaps.
fn torn(writes: Vec<LogWrite>, kept_ppm: u64) -> Vec<LogWrite> {
    let pieces = |write: &LogWrite| match write {
        LogWrite::Append(records) => records.len().max(1),
        _ => 1,
    };
    let all: usize = writes.iter().map(pieces).sum();
    let mut left = (all as u64 * kept_ppm / 1_000_000) as usize;
    let mut kept = Vec::new();
    for write in writes {
        let (room, needs) = (left, pieces(&write));
        left = left.saturating_sub(needs);
        match write {
            _ if room == 0 => break,
            LogWrite::Append(mut records) => {
                records.truncate(room);
                kept.push(LogWrite::Append(records));
            }
            write => kept.push(write),
        }
    }
    kept
}

impl Disk {
    fn apply(&mut self, writes: &[LogWrite]) {
        let too_far = u64::from(self.bite == Some(Bite::TruncateOneTooFar));
        let content = &mut self.current;
        for write in writes {
            match write {
                LogWrite::Append(records) => content.records.extend(records.iter().cloned()),
                LogWrite::Vote(vote) => content.vote = Some(vote.clone()),
                LogWrite::TruncateFrom(from) => drop(content.records.split_off(&(from - too_far))),
                LogWrite::Purge { upto, marker } => {
                    content.records = content.records.split_off(&(upto + 1));
                    content.purged = Some(marker.clone());
                }
                LogWrite::Committed(committed) => content.committed = Some(committed.clone()),
            }
        }
    }
}

impl LogDisk for MemoryLog {
    fn head(&self) -> io::Result<LogHead> {
        let disk = self.disk();
        let content = &disk.current;
        let mut committed = content.committed.clone();
        if let (Some(Bite::ApplyBeforeCommit), Some((index, record))) =
            (disk.bite, content.records.last_key_value())
        {
            committed = Some(seal_record(&open_entry(*index, record)?.log_id())?);
        }
        Ok(LogHead {
            vote: content.vote.clone(),
            purged: content.purged.clone(),
            committed,
            last: content
                .records
                .last_key_value()
                .map(|(index, record)| (*index, record.clone())),
        })
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let disk = self.disk();
        let mut found = Vec::new();
        let mut bytes = 0;
        for (index, record) in disk.current.records.range(from..to.max(from)) {
            bytes += record.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push((*index, record.clone()));
        }
        Ok(found)
    }

    fn write(&self, writes: &[LogWrite], sync: bool) -> io::Result<()> {
        let mut disk = self.disk();
        disk.in_flight.clear();
        if disk.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let late = (disk.bite == Some(Bite::AppendNotSynced)).then(|| disk.current.clone());
        disk.apply(writes);
        if sync {
            let vote = disk.synced.vote.clone();
            disk.synced = late.unwrap_or_else(|| disk.current.clone());
            if disk.bite == Some(Bite::VoteNotSynced) {
                disk.synced.vote = vote;
            }
        }
        Ok(())
    }

    fn incarnation(&self) -> io::Result<u64> {
        Ok(self.disk().current.incarnation)
    }

    fn next_incarnation(&self, at_least: u64) -> io::Result<u64> {
        let mut disk = self.disk();
        let next = (disk.current.incarnation + 1).max(at_least);
        disk.current.incarnation = next;
        disk.synced.incarnation = next;
        Ok(next)
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64) -> (u64, Vec<u8>) {
        (index, vec![index as u8])
    }

    /// What is found after a crash while a vote and three records were being synced.
    fn found(kept_ppm: u64) -> (bool, Vec<u64>) {
        let log = MemoryLog::new();
        let before = [LogWrite::Append(vec![record(1)])];
        log.begin(&before);
        log.write(&before, true).expect("there is room");
        log.begin(&[
            LogWrite::Vote(vec![1]),
            LogWrite::Append((2..=4).map(record).collect()),
        ]);
        log.crash(kept_ppm);
        let records = log.read(0, 10, usize::MAX).expect("memory");
        let vote = log.head().expect("memory").vote;
        (
            vote.is_some(),
            records.into_iter().map(|(index, _)| index).collect(),
        )
    }

    #[test]
    fn the_last_write_is_there_wholly_in_part_or_not_at_all() {
        assert_eq!(found(0), (false, vec![1]));
        assert_eq!(found(250_000), (true, vec![1]));
        assert_eq!(found(750_000), (true, vec![1, 2, 3]));
        assert_eq!(found(1_000_000), (true, vec![1, 2, 3, 4]));
    }
}
