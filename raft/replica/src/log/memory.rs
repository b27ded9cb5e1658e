//! A log in memory that knows what was synced: a simulated crash loses the rest.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{LogDisk, LogHead, LogWrite};

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
}

/// A log in memory. Clones are the same disk, so that a node can be started again on it.
#[derive(Debug, Default, Clone)]
pub struct MemoryLog(Arc<Mutex<Disk>>);

impl MemoryLog {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not synced, as a power cut does.
    pub fn crash(&self) {
        let mut disk = self.disk();
        disk.current = disk.synced.clone();
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogDisk for MemoryLog {
    fn head(&self) -> io::Result<LogHead> {
        let disk = self.disk();
        let content = &disk.current;
        Ok(LogHead {
            vote: content.vote.clone(),
            purged: content.purged.clone(),
            committed: content.committed.clone(),
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
        for write in writes {
            let content = &mut disk.current;
            match write {
                LogWrite::Append(records) => content.records.extend(records.iter().cloned()),
                LogWrite::Vote(vote) => content.vote = Some(vote.clone()),
                LogWrite::TruncateFrom(from) => drop(content.records.split_off(from)),
                LogWrite::Purge { upto, marker } => {
                    content.records = content.records.split_off(&(upto + 1));
                    content.purged = Some(marker.clone());
                }
                LogWrite::Committed(committed) => content.committed = Some(committed.clone()),
            }
        }
        if sync {
            disk.synced = disk.current.clone();
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
