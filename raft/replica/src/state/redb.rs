//! The machine's tables on redb: one redb table each.
//!
//! Ordinary batches are not synced: after a crash the file reopens at an earlier applied index and the log is replayed.

use std::cell::OnceCell;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jarvis_machine::storage::{KeyValue, Read, StoreError, Table, TableStore, Write};
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use crate::files::{self, OpenError};

/// redb's cache for the state: the whole node is to stay under 60 MB.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// The same where a node is to be small: it applies what is decided and serves little.
const SMALL_CACHE_BYTES: usize = 512 * 1024;

/// The format of the file. A newer one is refused.
const FORMAT: u64 = 1;

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A table opened for reading.
type OpenTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The redb table of a machine's table. Names stand in files.
const fn definition(table: Table) -> Rows {
    TableDefinition::new(match table {
        Table::Meta => "meta",
        Table::Nodes => "nodes",
        Table::RemovedNodes => "removed_nodes",
        Table::Invites => "invites",
        Table::Kinds => "kinds",
        Table::Placement => "placement",
        Table::PlacementLog => "placement_log",
        Table::Users => "users",
        Table::UserNames => "user_names",
        Table::Credentials => "credentials",
        Table::UserCredentials => "user_credentials",
        Table::Sessions => "sessions",
        Table::UserSessions => "user_sessions",
        Table::Messages => "messages",
        Table::MessageIds => "message_ids",
        Table::OpenTurns => "open_turns",
        Table::Proposals => "proposals",
        Table::Proposers => "proposers",
        Table::NodeFacts => "node_facts",
        Table::PlacementNotes => "placement_notes",
        Table::Entities => "entities",
        Table::EntityRows => "entity_rows",
        Table::Letters => "letters",
        Table::LogMarks => "log_marks",
    })
}

const TABLES: usize = Table::ALL.len();

/// The tables in one file.
pub(crate) struct RedbTables {
    db: Arc<Database>,
    path: PathBuf,
}

impl RedbTables {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path, small: bool) -> Result<Self, OpenError> {
        let cache_bytes = if small { SMALL_CACHE_BYTES } else { CACHE_BYTES };
        let db = files::open(path, cache_bytes, FORMAT, |txn| {
            for table in Table::ALL {
                txn.open_table(definition(table))?;
            }
            Ok(())
        })?;
        Ok(Self {
            db: Arc::new(db),
            path: path.to_owned(),
        })
    }

    /// Moves the file. What is open stays open.
    pub(crate) fn rename(&self, to: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, to)?;
        files::sync_folder_of(to)
    }
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError(error.into().to_string())
}

impl TableStore for RedbTables {
    fn read(&self) -> Result<Box<dyn Read + Send + Sync>, StoreError> {
        let txn = self.db.begin_read().map_err(failed)?;
        Ok(Box::new(Picture {
            tables: Default::default(),
            txn,
            _db: Arc::clone(&self.db),
        }))
    }

    fn write(
        &self,
        durable: bool,
        batch: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut txn = self.db.begin_write().map_err(failed)?;
        txn.set_durability(if durable {
            Durability::Immediate
        } else {
            Durability::None
        })
        .map_err(failed)?;
        // A durable commit comes once in thousands of entries; with this, opening after a crash need not walk the file.
        txn.set_quick_repair(durable);
        batch(&mut Batch {
            tables: Default::default(),
            txn: &txn,
        })?;
        txn.commit().map_err(failed)
    }
}

/// One consistent picture.
struct Picture {
    // Opened when first read: most pictures serve one or two tables. None: an earlier build made the file, and nothing has been
    // written to the table since.
    tables: [OnceLock<Option<OpenTable>>; TABLES],
    txn: ReadTransaction,
    // A database that closes makes its pictures fail, so each holds it.
    _db: Arc<Database>,
}

impl Picture {
    fn table(&self, table: Table) -> Result<Option<&OpenTable>, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open.as_ref());
        }
        let open = match self.txn.open_table(definition(table)) {
            Ok(open) => Some(open),
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(cell.get_or_init(|| open).as_ref())
    }
}

impl Read for Picture {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.table(table)?.map_or(Ok(None), |table| get(table, key))
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.table(table)?
            .map_or(Ok(Vec::new()), |table| scan(table, from, to, backwards, limit))
    }
}

/// One write transaction.
struct Batch<'t> {
    tables: [OnceCell<redb::Table<'t, &'static [u8], &'static [u8]>>; TABLES],
    txn: &'t WriteTransaction,
}

impl<'t> Batch<'t> {
    fn table(&self, table: Table) -> Result<&redb::Table<'t, &'static [u8], &'static [u8]>, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.txn.open_table(definition(table)).map_err(failed)?;
        Ok(cell.get_or_init(|| open))
    }

    fn table_mut(
        &mut self,
        table: Table,
    ) -> Result<&mut redb::Table<'t, &'static [u8], &'static [u8]>, StoreError> {
        self.table(table)?;
        self.tables[table as usize]
            .get_mut()
            .ok_or_else(|| StoreError("table not open".to_owned()))
    }
}

impl Read for Batch<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.table(table)?, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        scan(self.table(table)?, from, to, backwards, limit)
    }
}

impl Write for Batch<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?
            .insert(key, value)
            .map(drop)
            .map_err(failed)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.remove(key).map(drop).map_err(failed)
    }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.get(key).map_err(failed)?.map(|row| row.value().to_vec()))
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    backwards: bool,
    limit: usize,
) -> Result<Vec<KeyValue>, StoreError> {
    if is_empty(from, to) {
        return Ok(Vec::new());
    }
    let mut range = table.range::<&[u8]>((from, to)).map_err(failed)?;
    let mut rows = Vec::new();
    while rows.len() < limit {
        let next = if backwards {
            range.next_back()
        } else {
            range.next()
        };
        let Some(item) = next else { break };
        let (key, row) = item.map_err(failed)?;
        rows.push((key.value().to_vec(), row.value().to_vec()));
    }
    Ok(rows)
}

/// Whether no key can lie between the bounds, which redb takes for a programmer's mistake.
fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rules_of_all_stores() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut n = 0;
        jarvis_machine::conformance::check_store(&mut || {
            n += 1;
            Box::new(RedbTables::open(&folder.path().join(format!("{n}.redb")), false).expect("opens"))
        });
        let path = folder.path().join("again.redb");
        jarvis_machine::conformance::check_reopen(&mut || {
            Box::new(RedbTables::open(&path, true).expect("opens"))
        });
    }

    #[test]
    fn a_file_of_an_earlier_build_is_read_and_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("earlier.redb");
        drop(RedbTables::open(&path, true).expect("opens"));
        let raw = Database::open(&path).expect("opens");
        let txn = raw.begin_write().expect("begins");
        for table in [Table::NodeFacts, Table::PlacementNotes, Table::Letters] {
            assert!(txn.delete_table(definition(table)).expect("deletes"));
        }
        txn.commit().expect("commits");
        drop(raw);
        let tables = RedbTables::open(&path, true).expect("opens");
        let get = |key: &[u8]| tables.read().expect("reads").get(Table::NodeFacts, key);
        assert_eq!(get(b"k"), Ok(None));
        let all = tables.read().expect("reads").scan(
            Table::PlacementNotes,
            Bound::Unbounded,
            Bound::Unbounded,
            false,
            9,
        );
        assert_eq!(all, Ok(Vec::new()));
        tables
            .write(true, &mut |w| w.put(Table::NodeFacts, b"k", b"v"))
            .expect("writes");
        assert_eq!(get(b"k"), Ok(Some(b"v".to_vec())));
    }
}
