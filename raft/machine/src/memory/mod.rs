//! Tables held in memory, for simulation and tests. Batches that were not durable are lost at [`MemoryStore::crash`],
//! as what was not synced is lost at a power cut.

mod table;

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::table::CowTable;
use crate::storage::{KeyValue, Read, StoreError, Table, TableStore, Write};

/// Keeps tables in memory. Clones share them, as two openings of one file do.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Held while a batch runs: there is one writer at a time, and readers do not wait for it.
    writer: Mutex<()>,
    versions: Mutex<Versions>,
}

#[derive(Default)]
struct Versions {
    current: Picture,
    durable: Picture,
}

/// All tables at one moment; cloning shares what is the same.
#[derive(Clone, Default)]
struct Picture {
    tables: [CowTable; Table::ALL.len()],
}

impl MemoryStore {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tables of their own with what is durable in these.
    #[must_use]
    pub fn copy(&self) -> Self {
        let durable = lock(&self.shared.versions).durable.clone();
        let versions = Mutex::new(Versions {
            current: durable.clone(),
            durable,
        });
        let writer = Mutex::default();
        Self {
            shared: Arc::new(Shared { writer, versions }),
        }
    }

    /// What a crash of the machine does: the tables are as after the last durable batch.
    pub fn crash(&self) {
        let _no_batch_runs = lock(&self.shared.writer);
        let mut versions = lock(&self.shared.versions);
        versions.current = versions.durable.clone();
    }
}

/// A panic while the lock was held leaves pictures that are whole: they are only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TableStore for MemoryStore {
    fn read(&self) -> Result<Box<dyn Read + Send + Sync>, StoreError> {
        Ok(Box::new(lock(&self.shared.versions).current.clone()))
    }

    fn write(
        &self,
        durable: bool,
        batch: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = lock(&self.shared.writer);
        let mut next = lock(&self.shared.versions).current.clone();
        batch(&mut next)?;
        let mut versions = lock(&self.shared.versions);
        if durable {
            versions.durable = next.clone();
        }
        versions.current = next;
        Ok(())
    }
}

impl Read for Picture {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables[table as usize].get(key).map(<[u8]>::to_vec))
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self.tables[table as usize].scan(from, to, backwards, limit))
    }
}

impl Write for Picture {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.tables[table as usize].put(key, value);
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.tables[table as usize].delete(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn it_is_a_table_store() {
        conformance::check_store(&mut || Box::new(MemoryStore::new()));
    }

    #[test]
    fn it_keeps_what_was_durable() {
        let disk = MemoryStore::new();
        conformance::check_reopen(&mut || {
            disk.crash();
            Box::new(disk.clone())
        });
    }

    #[test]
    fn a_crash_loses_what_was_not_durable() {
        let store = MemoryStore::new();
        store
            .write(true, &mut |w| w.put(Table::Meta, b"a", b"1"))
            .expect("memory does not fail");
        store
            .write(false, &mut |w| w.put(Table::Meta, b"b", b"2"))
            .expect("memory does not fail");
        let before = store.read().expect("memory does not fail");
        store.crash();
        let after = store.read().expect("memory does not fail");
        assert_eq!(after.get(Table::Meta, b"a"), Ok(Some(b"1".to_vec())));
        assert_eq!(after.get(Table::Meta, b"b"), Ok(None));
        assert_eq!(before.get(Table::Meta, b"b"), Ok(Some(b"2".to_vec())));
    }
}
