//! Opening redb files so that every failure says what is wrong and what to do.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableTable, StorageError, TableDefinition, WriteTransaction};

const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const FORMAT_KEY: &str = "format";

const UNFINISHED_SUFFIX: &str = ".unfinished";

/// Why a file did not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another process, or another replica of this one, has it.
    #[error("it is open elsewhere")]
    Locked,
    /// A newer build wrote it.
    #[error("it has format {found}, this build knows {known}")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest this build knows.
        known: u64,
    },
    /// It is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Opens the database at `path` or makes it, with all tables that `tables` opens, and checks its format.
pub(crate) fn open(
    path: &Path,
    cache_bytes: usize,
    format: u64,
    tables: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<Database, OpenError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if path.exists() {
        let db = builder(cache_bytes).create(path).map_err(open_error)?;
        if prepare(&db, format, tables)? {
            sync_folder_of(path)?;
        }
        return Ok(db);
    }
    // Made under another name: a power cut in between leaves no file of this name that is not a database yet.
    let unfinished = unfinished(path);
    let db = match builder(cache_bytes).create(&unfinished).map_err(open_error) {
        Err(OpenError::Damaged(_)) => {
            fs::remove_file(&unfinished)?;
            builder(cache_bytes).create(&unfinished).map_err(open_error)?
        }
        opened => opened?,
    };
    prepare(&db, format, tables)?;
    fs::rename(&unfinished, path)?;
    sync_folder_of(path)?;
    Ok(db)
}

/// What a file is called until it is one.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    name.into()
}

/// As [`open`], on a disk of the test's making.
#[cfg(test)]
pub(crate) fn open_on(
    backend: impl redb::StorageBackend,
    cache_bytes: usize,
    format: u64,
    tables: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<Database, OpenError> {
    let db = builder(cache_bytes)
        .create_with_backend(backend)
        .map_err(open_error)?;
    prepare(&db, format, tables)?;
    Ok(db)
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked,
        DatabaseError::UpgradeRequired(version) => OpenError::Damaged(format!("redb file format {version}")),
        DatabaseError::Storage(StorageError::Io(e)) if e.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io(e)
        }
        other => OpenError::Damaged(other.to_string()),
    }
}

/// Checks the format, and makes the tables of a file that has none. True where it did.
fn prepare(
    db: &Database,
    format: u64,
    tables: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<bool, OpenError> {
    let prepare = || -> Result<Option<u64>, redb::Error> {
        let txn = db.begin_write()?;
        let found = {
            let mut numbers = txn.open_table(NUMBERS)?;
            let found = numbers.get(FORMAT_KEY)?.map(|v| v.value());
            if found.is_none() {
                numbers.insert(FORMAT_KEY, format)?;
            }
            found
        };
        // Format and tables come in one commit, so a file either has all of them or counts as new.
        if found.is_none() {
            tables(&txn)?;
            txn.commit()?;
        }
        Ok(found)
    };
    let found = prepare().map_err(|e| match e {
        redb::Error::Io(e) => OpenError::Io(e),
        other => OpenError::Damaged(other.to_string()),
    })?;
    match found {
        Some(found) if found > format => Err(OpenError::Newer { found, known: format }),
        found => Ok(found.is_none()),
    }
}

/// Makes the names in the folder of `path` survive a power cut.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// redb's errors as the store traits of openraft want them.
pub(crate) fn io_error(error: impl Into<redb::Error>) -> io::Error {
    match error.into() {
        redb::Error::Io(e)
            if matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            let text = format!("the disk is full: free some space and start this node again ({e})");
            io::Error::new(e.kind(), text)
        }
        redb::Error::Io(e) => e,
        redb::Error::Corrupted(what) => io::Error::new(io::ErrorKind::InvalidData, what),
        other => io::Error::other(other),
    }
}
