//! What a command works with: the tables, ledger time, and the list of what it changed.

use bincode::{Decode, Encode};

use crate::change::Change;
use crate::keys;
use crate::level::MARKS_LEVEL;
use crate::query::Query;
use crate::reply::Refusal;
use crate::row_codec::{get_row, put_row};
use crate::storage::{StoreError, Table, Write};

/// Why a command ended early.
pub(super) enum Halt {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A refusal that says what is wrong with the command.
pub(super) fn invalid(what: impl Into<String>) -> Halt {
    Halt::Refused(Refusal::Invalid(what.into()))
}

/// A refusal of something that would have expired when it is made: the clock of the node that was asked is behind the cluster's.
pub(super) fn ends_before_it_begins(what: &str, expires_at_ms: u64, now_ms: u64) -> Halt {
    let ago = crate::reply::span(now_ms - expires_at_ms);
    invalid(format!(
        "{what} would have expired {ago} ago by the cluster's time: the clock of the node that was asked is wrong; `jarvis status` \
         names it"
    ))
}

/// A refusal that says what is not there.
pub(super) fn not_found(what: impl Into<String>) -> Halt {
    Halt::Refused(Refusal::NotFound(what.into()))
}

pub(super) struct Context<'a> {
    pub(super) tables: &'a mut dyn Write,
    /// Ledger time: the time of the command, or of an earlier one where that was later.
    pub(super) now_ms: u64,
    /// The time of the command.
    at_ms: u64,
    pub(super) changes: Vec<Change>,
}

impl<'a> Context<'a> {
    pub(super) fn begin(tables: &'a mut dyn Write, at_ms: u64) -> Result<Self, StoreError> {
        let before_ms = get_row(&*tables, Table::Meta, keys::META_LEDGER_MS)?.unwrap_or(0);
        if at_ms > before_ms {
            put_row(tables, Table::Meta, keys::META_LEDGER_MS, &at_ms)?;
        }
        Ok(Self {
            tables,
            now_ms: at_ms.max(before_ms),
            at_ms,
            changes: Vec::new(),
        })
    }

    /// The time by which things expire. The leader keeps the time of a command close to what the voters' clocks agree on, so it
    /// is right while ledger time is ahead. Up to level 3 it is ledger time.
    pub(super) fn expiry_ms(&self) -> Result<u64, StoreError> {
        let by_command = self.query().cluster_level()? >= MARKS_LEVEL;
        Ok(if by_command { self.at_ms } else { self.now_ms })
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query(&*self.tables)
    }

    pub(super) fn get<T: Decode<()>>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        get_row(&*self.tables, table, key)
    }

    pub(super) fn put<T: Encode>(&mut self, table: Table, key: &[u8], row: &T) -> Result<(), StoreError> {
        put_row(self.tables, table, key, row)
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.tables.delete(table, key)
    }

    /// Adds one to a counter in `Meta` and gives its new value.
    pub(super) fn count_up(&mut self, name: &[u8]) -> Result<u64, StoreError> {
        let next = self.query().counter(name)? + 1;
        self.put(Table::Meta, name, &next)?;
        Ok(next)
    }

    /// Makes plans that were made from the tables as they were stale.
    pub(super) fn bump_placement_revision(&mut self) -> Result<u64, StoreError> {
        self.count_up(keys::META_PLACEMENT_REVISION)
    }
}
