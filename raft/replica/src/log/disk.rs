//! What the log asks of a disk. redb implements it for the product, memory for tests and simulation; a preallocated
//! segment file may one day.

use std::io;

/// One change of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogWrite {
    /// Adds sealed records by index, which follow the last one.
    Append(Vec<(u64, Vec<u8>)>),
    /// Keeps a sealed vote.
    Vote(Vec<u8>),
    /// Removes all records from this index on.
    TruncateFrom(u64),
    /// Removes all records up to this index and keeps the sealed id of the last one.
    Purge {
        /// Index of the last record to remove.
        upto: u64,
        /// Its sealed log id.
        marker: Vec<u8>,
    },
    /// Keeps the sealed id of the last entry known to be committed. A hint: it need not be synced on its own.
    Committed(Vec<u8>),
}

impl LogWrite {
    /// Whether Raft's promises rest on this being synced before it counts.
    pub(crate) fn needs_sync(&self) -> bool {
        matches!(
            self,
            LogWrite::Append(_) | LogWrite::Vote(_) | LogWrite::TruncateFrom(_)
        )
    }
}

/// What stood on the disk when the log was opened. Records are still sealed.
#[derive(Debug, Default)]
pub(crate) struct LogHead {
    /// The sealed vote.
    pub(crate) vote: Option<Vec<u8>>,
    /// The sealed id of the last purged entry.
    pub(crate) purged: Option<Vec<u8>>,
    /// The sealed id of the last entry known to be committed.
    pub(crate) committed: Option<Vec<u8>>,
    /// The last record.
    pub(crate) last: Option<(u64, Vec<u8>)>,
}

/// Keeps the log.
pub(crate) trait LogDisk: Send + Sync + 'static {
    /// Reads everything but the records.
    fn head(&self) -> io::Result<LogHead>;

    /// Records with indexes in `from..to`, ascending, until their bytes exceed `max_bytes`; at least one if any is there.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>>;

    /// Does all of `writes` or none, in order. Synced on return if `sync`.
    fn write(&self, writes: &[LogWrite], sync: bool) -> io::Result<()>;

    /// The number [`LogDisk::next_incarnation`] returned last; 0 on a disk that nobody ever used.
    fn incarnation(&self) -> io::Result<u64>;

    /// A number larger than any it returned before, and not smaller than `at_least`; synced on return.
    fn next_incarnation(&self, at_least: u64) -> io::Result<u64>;

    /// Lets go of the file. Everything fails afterwards.
    fn close(&self);
}
