//! Where the applied tables stand, and how a received snapshot takes their place.
//!
//! ```text
//!  DATA/state/state.redb      the tables
//!  DATA/state/staging-N.redb  a snapshot being received; renamed over the other when it is whole, dropped at start
//! ```
//!
//! A crash before the rename leaves the old tables, one after it the new ones; both are consistent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use jarvis_machine::memory::MemoryStore;
use jarvis_machine::raft_meta::{get_meta, put_meta};
use jarvis_machine::storage::{Read, StoreError, TableStore, Write};

use super::redb::RedbTables;
use crate::config::MemoryDisk;
use crate::files::OpenError;
use crate::replica::lock;
use crate::simulated::{Bite, Observer};
use crate::threads;
use crate::types::{LogId, StoredMembership, open_record, seal_record};

const STATE_FILE: &str = "state.redb";
const STAGING_PREFIX: &str = "staging-";

/// Names of the replica's own rows in the tables.
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";

/// What is applied, and who the members were then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppliedMark {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl AppliedMark {
    /// Reads it from one picture of the tables.
    pub(crate) fn read(tables: &dyn Read) -> io::Result<Self> {
        let get = |name| get_meta(tables, name).map_err(io::Error::other);
        Ok(Self {
            applied: get(APPLIED)?
                .map(|row| open_record("the applied mark", &row))
                .transpose()?,
            membership: get(MEMBERSHIP)?
                .map(|row| open_record("the membership", &row))
                .transpose()?
                .unwrap_or_default(),
        })
    }

    /// Writes it in the batch of the rows it speaks of; the membership only where it changed.
    pub(crate) fn write(&self, tables: &mut dyn Write, with_membership: bool) -> Result<(), StoreError> {
        let seal = |record: io::Result<Vec<u8>>| record.map_err(|e| StoreError(e.to_string()));
        if let Some(applied) = &self.applied {
            put_meta(tables, APPLIED, &seal(seal_record(applied))?)?;
        }
        if with_membership {
            put_meta(tables, MEMBERSHIP, &seal(seal_record(&self.membership))?)?;
        }
        Ok(())
    }
}

/// Tables of one of the two kinds.
enum Tables {
    Redb(RedbTables),
    Memory(MemoryStore),
}

impl Tables {
    fn store(&self) -> &dyn TableStore {
        match self {
            Tables::Redb(tables) => tables,
            Tables::Memory(tables) => tables,
        }
    }
}

/// Where tables are found again.
enum Place {
    /// With the number of the next staging file: one that is given up must not be in the way of the next; and whether
    /// caches are small.
    Folder(PathBuf, AtomicU64, bool),
    Memory(MemoryDisk),
}

/// The applied tables.
pub(crate) struct StateStore {
    place: Place,
    /// None: closed.
    current: ArcSwapOption<Tables>,
}

/// Tables that a snapshot is received into. Dropped without being promoted, they are gone.
pub(crate) struct Staged {
    tables: Option<Tables>,
    path: Option<PathBuf>,
}

impl Staged {
    /// Writes one batch, not synced on its own.
    pub(crate) fn write(
        &self,
        batch: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> io::Result<()> {
        let tables = self.tables.as_ref().ok_or_else(|| io::Error::other("promoted"))?;
        tables.store().write(false, batch).map_err(io::Error::other)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let (Some(_), Some(path)) = (&self.tables, &self.path)
            && let Err(error) = remove_if_there(path)
        {
            tracing::warn!(%error, path = %path.display(), "a snapshot that was given up is still there");
        }
    }
}

impl StateStore {
    /// Tables in memory, which outlive this.
    pub(crate) fn memory(disk: &MemoryDisk) -> Self {
        let tables = lock(&disk.state).clone();
        Self {
            place: Place::Memory(disk.clone()),
            current: ArcSwapOption::from_pointee(Tables::Memory(tables)),
        }
    }

    /// Tables in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_sized(folder, false)
    }

    /// As [`Self::open`], for a node that is to be small.
    pub(crate) fn open_small(folder: &Path) -> Result<Self, OpenError> {
        Self::open_sized(folder, true)
    }

    fn open_sized(folder: &Path, small: bool) -> Result<Self, OpenError> {
        fs::create_dir_all(folder)?;
        for file in fs::read_dir(folder)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                remove_if_there(&file.path())?;
            }
        }
        let tables = RedbTables::open(&folder.join(STATE_FILE), small)?;
        Ok(Self {
            place: Place::Folder(folder.to_owned(), AtomicU64::new(1), small),
            current: ArcSwapOption::from_pointee(Tables::Redb(tables)),
        })
    }

    /// Who watches what is applied.
    pub(crate) fn observer(&self) -> Option<&dyn Observer> {
        match &self.place {
            Place::Memory(disk) => disk.observer.as_deref(),
            Place::Folder(..) => None,
        }
    }

    /// The fault that was put back.
    pub(crate) fn bite(&self) -> Option<Bite> {
        match &self.place {
            Place::Memory(disk) => disk.log.bite(),
            Place::Folder(..) => None,
        }
    }

    fn current(&self) -> Result<Arc<Tables>, StoreError> {
        self.current
            .load_full()
            .ok_or_else(|| StoreError("closed".to_owned()))
    }

    /// One consistent picture.
    pub(crate) fn read(&self) -> Result<Box<dyn Read + Send + Sync>, StoreError> {
        self.current()?.store().read()
    }

    /// Writes one batch.
    pub(crate) fn write(
        &self,
        batch: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.current()?.store().write(false, batch)
    }

    /// Makes all batches so far durable, without holding up the caller's thread.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let tables = self.current().map_err(io::Error::other)?;
        sync(tables).await
    }

    /// Tables to receive a snapshot into.
    pub(crate) fn stage(&self) -> io::Result<Staged> {
        match &self.place {
            Place::Memory(_) => Ok(Staged {
                tables: Some(Tables::Memory(MemoryStore::new())),
                path: None,
            }),
            Place::Folder(folder, next, small) => {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let path = folder.join(format!("{STAGING_PREFIX}{number}.redb"));
                let tables = RedbTables::open(&path, *small).map_err(io::Error::other)?;
                Ok(Staged {
                    tables: Some(Tables::Redb(tables)),
                    path: Some(path),
                })
            }
        }
    }

    /// Makes what was staged the tables. Pictures of the old ones stay as they were.
    pub(crate) async fn promote(&self, mut staged: Staged) -> io::Result<()> {
        let tables = Arc::new(
            staged
                .tables
                .take()
                .ok_or_else(|| io::Error::other("promoted before"))?,
        );
        sync(Arc::clone(&tables)).await?;
        match (&self.place, &*tables) {
            (Place::Folder(folder, ..), Tables::Redb(file)) => file.rename(&folder.join(STATE_FILE))?,
            (Place::Memory(disk), Tables::Memory(staged)) => *lock(&disk.state) = staged.clone(),
            _ => return Err(io::Error::other("staged in another kind of store")),
        }
        self.current.store(Some(tables));
        Ok(())
    }

    /// Lets go of the file once nobody reads it.
    pub(crate) fn close(&self) {
        self.current.store(None);
    }
}

async fn sync(tables: Arc<Tables>) -> io::Result<()> {
    match &*tables {
        Tables::Memory(tables) => tables.write(true, &mut |_| Ok(())).map_err(io::Error::other),
        Tables::Redb(_) => {
            threads::run("jarvis-state", move || {
                tables
                    .store()
                    .write(true, &mut |_| Ok(()))
                    .map_err(io::Error::other)
            })
            .await
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
