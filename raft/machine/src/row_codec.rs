//! Rows as bytes: a version byte and a body, by the one codec. No checksum of their own: stores checksum their pages,
//! snapshots their chunks.

use bincode::{Decode, Encode};
use jarvis_types::codec;

use crate::rows::ROW_VERSION;
use crate::storage::{Read, StoreError, Table, Write};

/// What stands under keys that say all by being there.
pub const EMPTY: &[u8] = &[];

/// A row's bytes.
///
/// # Errors
/// The row is larger than the codec takes.
pub fn encode_row<T: Encode>(row: &T) -> Result<Vec<u8>, StoreError> {
    codec::encode(ROW_VERSION, row).map_err(|e| StoreError(format!("a row {e}")))
}

/// The row in `bytes`.
///
/// # Errors
/// The bytes are not such a row, or a newer version wrote them.
pub fn decode_row<T: Decode<()>>(bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(ROW_VERSION, bytes).map_err(|e| StoreError(format!("a row does not decode: {e}")))
}

/// The row under `key`.
///
/// # Errors
/// [`StoreError`], also for a row that does not decode; it names the table.
pub fn get_row<T: Decode<()>>(read: &dyn Read, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read.get(table, key)? else {
        return Ok(None);
    };
    decode_row(&bytes)
        .map(Some)
        .map_err(|e| StoreError(format!("table {table:?}: {}", e.0)))
}

/// Sets the row under `key`.
///
/// # Errors
/// [`StoreError`].
pub fn put_row<T: Encode>(
    write: &mut dyn Write,
    table: Table,
    key: &[u8],
    row: &T,
) -> Result<(), StoreError> {
    write.put(table, key, &encode_row(row)?)
}
