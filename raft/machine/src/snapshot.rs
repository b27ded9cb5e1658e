//! All rows as chunks, and back: how a node that fell too far behind gets the state.
//!
//! ```text
//!  tables ─► export(after, max) ─► Chunk ─► encode ─► lane ─► decode ─► import ─► tables
//! ```
//!
//! Rows come in the order of tables and keys. The replica's own rows (`raft/…`) stay out: they speak of one node, and
//! the receiver sets its own from the snapshot's header.

use std::hash::Hasher;
use std::ops::Bound;

use bincode::{Decode, Encode};
use jarvis_types::codec::{self, CodecError};
use xxhash_rust::xxh64::Xxh64;

use crate::raft_meta::is_raft_row;
use crate::storage::{KeyValue, Read, StoreError, Table, Write};

/// The version byte of encoded chunks.
pub const CHUNK_VERSION: u8 = 1;

/// Most bytes of rows in a chunk, whatever is asked for: half of what the codec decodes.
pub const MAX_CHUNK_BYTES: usize = codec::DECODE_LIMIT_BYTES / 2;

/// Rows read from the store at a time.
const SCAN_ROWS: usize = 256;

/// What a row costs in a decoder beside its bytes.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Some rows, in order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Chunk {
    /// The rows.
    pub rows: Vec<ChunkRow>,
    /// Whether no further rows follow.
    pub last: bool,
}

/// A row of any table.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChunkRow {
    /// Number of its table.
    pub table: u8,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Why bytes are not a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// They are damaged, or a newer version wrote them.
    #[error("not a chunk of a snapshot")]
    Codec(#[from] CodecError),
    /// A row belongs to no table that this build knows.
    #[error("a row belongs to table {0}, which this build does not know")]
    UnknownTable(u8),
    /// A row that no snapshot has.
    #[error("a row of table {0:?} is not part of the replicated state")]
    Foreign(Table),
    /// Rows are not in ascending order.
    #[error("the rows of table {0:?} are not in order")]
    Disorder(Table),
}

impl Chunk {
    /// Where the next chunk goes on: after the last row.
    pub fn end(&self) -> Option<(Table, &[u8])> {
        let row = self.rows.last()?;
        Some((table_of(row.table)?, &row.key))
    }

    /// The chunk as sealed bytes.
    ///
    /// # Errors
    /// The chunk is larger than [`export`] makes any.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        Ok(codec::seal(&codec::encode(CHUNK_VERSION, self)?))
    }

    /// The chunk in `bytes`, which may come from anywhere.
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let chunk: Self = codec::decode(CHUNK_VERSION, codec::open(bytes)?)?;
        let mut before: Option<(Table, &[u8])> = None;
        for row in &chunk.rows {
            let table = table_of(row.table).ok_or(ChunkError::UnknownTable(row.table))?;
            if is_raft_row(table, &row.key) {
                return Err(ChunkError::Foreign(table));
            }
            let here = (table, row.key.as_slice());
            if before.is_some_and(|before| before >= here) {
                return Err(ChunkError::Disorder(table));
            }
            before = Some(here);
        }
        Ok(chunk)
    }
}

/// The rows after `after` (none: from the start), as many as `max_bytes` allow but at least one if there is any.
///
/// # Errors
/// [`StoreError`].
pub fn export(read: &dyn Read, after: Option<(Table, &[u8])>, max_bytes: usize) -> Result<Chunk, StoreError> {
    let max_bytes = max_bytes.min(MAX_CHUNK_BYTES);
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut full = false;
    visit(read, after, &mut |table, (key, value)| {
        let size = key.len() + value.len() + ROW_OVERHEAD_BYTES;
        full = bytes + size > max_bytes && !rows.is_empty();
        if !full {
            bytes += size;
            rows.push(ChunkRow {
                table: table as u8,
                key,
                value,
            });
        }
        !full
    })?;
    Ok(Chunk { rows, last: !full })
}

/// Writes a chunk's rows. Before the first chunk the tables are emptied with [`clear`].
///
/// # Errors
/// [`StoreError`], also for a row of no known table.
pub fn import(write: &mut dyn Write, chunk: &Chunk) -> Result<(), StoreError> {
    for row in &chunk.rows {
        let table =
            table_of(row.table).ok_or_else(|| StoreError(ChunkError::UnknownTable(row.table).to_string()))?;
        write.put(table, &row.key, &row.value)?;
    }
    Ok(())
}

/// Removes all rows but the replica's own.
///
/// # Errors
/// [`StoreError`].
pub fn clear(write: &mut dyn Write) -> Result<(), StoreError> {
    for table in Table::ALL {
        let mut from = Bound::Unbounded;
        loop {
            let rows = write.scan(table, as_slice(&from), Bound::Unbounded, false, SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            from = Bound::Excluded(last.clone());
            for (key, _) in rows.iter().filter(|(key, _)| !is_raft_row(table, key)) {
                write.delete(table, key)?;
            }
        }
    }
    Ok(())
}

/// A number that is the same on two nodes where all rows are the same (XXH64 over tables, keys and rows in order).
///
/// # Errors
/// [`StoreError`].
pub fn fingerprint(read: &dyn Read) -> Result<u64, StoreError> {
    let mut hash = Xxh64::new(0);
    visit(read, None, &mut |table, (key, value)| {
        hash.write(&[table as u8]);
        // Lengths go in, so that no two different pictures are the same bytes.
        hash.write(&(key.len() as u64).to_be_bytes());
        hash.write(&key);
        hash.write(&(value.len() as u64).to_be_bytes());
        hash.write(&value);
        true
    })?;
    Ok(hash.finish())
}

/// Shows all rows after `after` to `see`, in order, until it answers `false`.
fn visit(
    read: &dyn Read,
    after: Option<(Table, &[u8])>,
    see: &mut dyn FnMut(Table, KeyValue) -> bool,
) -> Result<(), StoreError> {
    for table in Table::ALL {
        let mut from = match after {
            Some((before, _)) if table < before => continue,
            Some((same, key)) if table == same => Bound::Excluded(key.to_vec()),
            _ => Bound::Unbounded,
        };
        loop {
            let rows = read.scan(table, as_slice(&from), Bound::Unbounded, false, SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            from = Bound::Excluded(last.clone());
            for row in rows {
                if !is_raft_row(table, &row.0) && !see(table, row) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn table_of(number: u8) -> Option<Table> {
    Table::ALL.get(usize::from(number)).copied()
}
