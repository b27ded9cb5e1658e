//! Tables are ordered key ranges. Whatever keeps them passes the suite in [`crate::conformance`].

use std::ops::Bound;

/// The tables, by number. Append only: the numbers stand in files and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "`rows` describes each")]
pub enum Table {
    Meta = 0,
    Nodes = 1,
    RemovedNodes = 2,
    Invites = 3,
    Kinds = 4,
    Placement = 5,
    PlacementLog = 6,
    Users = 7,
    UserNames = 8,
    Credentials = 9,
    UserCredentials = 10,
    Sessions = 11,
    UserSessions = 12,
    Messages = 13,
    MessageIds = 14,
    OpenTurns = 15,
    Proposals = 16,
    Proposers = 17,
    NodeFacts = 18,
    PlacementNotes = 19,
    Entities = 20,
    EntityRows = 21,
    Letters = 22,
    LogMarks = 23,
}

impl Table {
    /// All tables, in the order of their numbers.
    pub const ALL: [Table; 24] = [
        Table::Meta,
        Table::Nodes,
        Table::RemovedNodes,
        Table::Invites,
        Table::Kinds,
        Table::Placement,
        Table::PlacementLog,
        Table::Users,
        Table::UserNames,
        Table::Credentials,
        Table::UserCredentials,
        Table::Sessions,
        Table::UserSessions,
        Table::Messages,
        Table::MessageIds,
        Table::OpenTurns,
        Table::Proposals,
        Table::Proposers,
        Table::NodeFacts,
        Table::PlacementNotes,
        Table::Entities,
        Table::EntityRows,
        Table::Letters,
        Table::LogMarks,
    ];
}

/// The store under the tables failed: the disk, or bytes on it that do not check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state store: {0}")]
pub struct StoreError(pub String);

/// A key and its row's bytes.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Reads one consistent picture of the tables.
pub trait Read {
    /// The row under `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows with keys in `(from, to)`, ascending, or descending if `backwards`; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError>;
}

/// Reads and writes within one atomic batch; reads see the batch's own writes.
pub trait Write: Read {
    /// Sets the row under `key`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes the row under `key`, if any.
    ///
    /// # Errors
    /// [`StoreError`].
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError>;
}

/// Keeps tables.
pub trait TableStore: Send + Sync + 'static {
    /// One consistent picture, unaffected by later batches.
    ///
    /// # Errors
    /// [`StoreError`].
    fn read(&self) -> Result<Box<dyn Read + Send + Sync>, StoreError>;

    /// Runs `batch` and keeps all it wrote, or nothing if it fails. Only `durable` batches, and all before them, are
    /// certain to survive a crash of the machine.
    ///
    /// # Errors
    /// What `batch` returns, or [`StoreError`] of the store itself.
    fn write(
        &self,
        durable: bool,
        batch: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}
