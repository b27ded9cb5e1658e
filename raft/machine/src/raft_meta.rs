//! The replica's own rows: what it has applied, and the membership as of then. They stand in `Meta` under `raft/` so
//! that they change in the same batch as the rows they speak of, and are no part of snapshots and fingerprints.

use crate::keys::META_RAFT_PREFIX;
use crate::storage::{Read, StoreError, Table, Write};

/// What the replica keeps under `name`.
///
/// # Errors
/// [`StoreError`].
pub fn get_meta(read: &dyn Read, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    read.get(Table::Meta, &key(name))
}

/// Keeps `value` under `name`. The bytes are the replica's own affair.
///
/// # Errors
/// [`StoreError`].
pub fn put_meta(write: &mut dyn Write, name: &str, value: &[u8]) -> Result<(), StoreError> {
    write.put(Table::Meta, &key(name), value)
}

/// Forgets what is kept under `name`.
///
/// # Errors
/// [`StoreError`].
pub fn delete_meta(write: &mut dyn Write, name: &str) -> Result<(), StoreError> {
    write.delete(Table::Meta, &key(name))
}

/// Whether a row belongs to the replica rather than to the replicated state.
pub fn is_raft_row(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key.starts_with(META_RAFT_PREFIX)
}

fn key(name: &str) -> Vec<u8> {
    [META_RAFT_PREFIX, name.as_bytes()].concat()
}
