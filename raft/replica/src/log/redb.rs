//! The log on redb: `DATA/raft/log.redb`.
//!
//! | table | key | value |
//! |---|---|---|
//! | `log` | index | sealed entry |
//! | `meta` | `vote`, `purged`, `committed` | sealed vote and log ids |
//! | `numbers` | `format`, `incarnation` | the file's format; the last life of this node |

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::disk::{LogDisk, LogHead, LogWrite};
use crate::files::{self, OpenError};

const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";
const INCARNATION: &str = "incarnation";

/// The format of the file. A newer one is refused.
const FORMAT: u64 = 1;

/// redb's cache for the log: what is read lately stands in [`super::LogStore`]'s own cache.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// The same where a node is to be small.
const SMALL_CACHE_BYTES: usize = 256 * 1024;

/// A log in a file.
pub(crate) struct RedbLog(Mutex<Option<Arc<Database>>>);

impl RedbLog {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with_cache(path, CACHE_BYTES)
    }

    /// As [`Self::open`], with a smaller cache for a node that is to be small.
    pub(crate) fn open_small(path: &Path) -> Result<Self, OpenError> {
        Self::open_with_cache(path, SMALL_CACHE_BYTES)
    }

    fn open_with_cache(path: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let db = files::open(path, cache_bytes, FORMAT, tables)?;
        Ok(Self(Mutex::new(Some(Arc::new(db)))))
    }

    /// As [`Self::open`], on a disk of the test's making.
    #[cfg(test)]
    pub(crate) fn on(backend: impl redb::StorageBackend) -> Result<Self, OpenError> {
        let db = files::open_on(backend, CACHE_BYTES, FORMAT, tables)?;
        Ok(Self(Mutex::new(Some(Arc::new(db)))))
    }

    fn db(&self) -> io::Result<Arc<Database>> {
        let db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        db.clone().ok_or_else(|| io::Error::other("the log is closed"))
    }
}

fn tables(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(LOG)?;
    txn.open_table(META)?;
    txn.open_table(NUMBERS)?;
    Ok(())
}

impl LogDisk for RedbLog {
    fn head(&self) -> io::Result<LogHead> {
        let read = || -> Result<LogHead, redb::Error> {
            let txn = self.db()?.begin_read()?;
            let meta = txn.open_table(META)?;
            let get = |key| -> Result<Option<Vec<u8>>, redb::Error> {
                Ok(meta.get(key)?.map(|v| v.value().to_vec()))
            };
            let last = txn
                .open_table(LOG)?
                .last()?
                .map(|(index, record)| (index.value(), record.value().to_vec()));
            Ok(LogHead {
                vote: get(VOTE)?,
                purged: get(PURGED)?,
                committed: get(COMMITTED)?,
                last,
            })
        };
        read().map_err(files::io_error)
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let table = self.db()?.begin_read()?.open_table(LOG)?;
            let mut found = Vec::new();
            let mut bytes = 0;
            for item in table.range(from..to.max(from))? {
                let (index, record) = item?;
                let record = record.value().to_vec();
                bytes += record.len();
                if bytes > max_bytes && !found.is_empty() {
                    break;
                }
                found.push((index.value(), record));
            }
            Ok(found)
        };
        read().map_err(files::io_error)
    }

    fn write(&self, writes: &[LogWrite], sync: bool) -> io::Result<()> {
        let write = || -> Result<(), redb::Error> {
            let mut txn = self.db()?.begin_write()?;
            txn.set_durability(if sync {
                Durability::Immediate
            } else {
                Durability::None
            })?;
            {
                let mut log = txn.open_table(LOG)?;
                let mut meta = txn.open_table(META)?;
                for write in writes {
                    match write {
                        LogWrite::Append(records) => {
                            for (index, record) in records {
                                log.insert(index, record.as_slice())?;
                            }
                        }
                        LogWrite::Vote(vote) => drop(meta.insert(VOTE, vote.as_slice())?),
                        LogWrite::TruncateFrom(from) => log.retain_in(*from.., |_, _| false)?,
                        LogWrite::Purge { upto, marker } => {
                            log.retain_in(..=*upto, |_, _| false)?;
                            meta.insert(PURGED, marker.as_slice())?;
                        }
                        LogWrite::Committed(committed) => drop(meta.insert(COMMITTED, committed.as_slice())?),
                    }
                }
            }
            txn.commit()?;
            Ok(())
        };
        write().map_err(files::io_error)
    }

    fn incarnation(&self) -> io::Result<u64> {
        let read = || -> Result<u64, redb::Error> {
            let numbers = self.db()?.begin_read()?.open_table(NUMBERS)?;
            Ok(numbers.get(INCARNATION)?.map_or(0, |v| v.value()))
        };
        read().map_err(files::io_error)
    }

    fn next_incarnation(&self, at_least: u64) -> io::Result<u64> {
        let write = || -> Result<u64, redb::Error> {
            let txn = self.db()?.begin_write()?;
            let next = {
                let mut numbers = txn.open_table(NUMBERS)?;
                let last = numbers.get(INCARNATION)?.map_or(0, |v| v.value());
                let next = (last + 1).max(at_least);
                numbers.insert(INCARNATION, next)?;
                next
            };
            txn.commit()?;
            Ok(next)
        };
        write().map_err(files::io_error)
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
