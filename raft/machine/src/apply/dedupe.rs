//! A proposal that comes twice is applied once: its outcome is remembered under its name until its proposer has said
//! that it was answered, or begins another life.

use std::ops::Bound;

use jarvis_types::{Incarnation, NodeId};

use super::limits::{FORGOTTEN_PER_PROPOSAL, FORGOTTEN_PER_REMOVAL};
use crate::command::Origin;
use crate::keys;
use crate::reply::{Outcome, Refusal};
use crate::row_codec::{get_row, put_row};
use crate::rows::ProposerRow;
use crate::storage::{StoreError, Table, Write};

/// Stands for a removed node: every proposal that still comes from it is of an earlier life.
const REMOVED: ProposerRow = ProposerRow {
    incarnation: Incarnation(u64::MAX),
    answered_below: u64::MAX,
};

/// Whether a proposal came before.
pub(super) enum Seen {
    Never,
    /// This is its answer.
    Before(Outcome),
}

/// Looks a proposal up; changes nothing. What is still remembered is answered even where the mark says that nobody should
/// ask for it any more: a true answer is better than a refusal.
pub(super) fn look(tables: &dyn Write, origin: Origin) -> Result<Seen, StoreError> {
    let key = keys::proposal(origin.node, origin.incarnation, origin.sequence);
    if let Some(outcome) = get_row(tables, Table::Proposals, &key)? {
        return Ok(Seen::Before(outcome));
    }
    let Some(known) = get_row::<ProposerRow>(tables, Table::Proposers, &keys::node(origin.node))? else {
        return Ok(Seen::Never);
    };
    if origin.incarnation < known.incarnation {
        return Ok(Seen::Before(Err(Refusal::StaleIncarnation)));
    }
    if origin.incarnation == known.incarnation && origin.sequence < known.answered_below {
        return Ok(Seen::Before(Err(Refusal::AlreadyAnswered)));
    }
    Ok(Seen::Never)
}

/// Remembers an outcome, and forgets some that nobody will ask for again.
pub(super) fn remember(tables: &mut dyn Write, origin: Origin, outcome: &Outcome) -> Result<(), StoreError> {
    let proposer = keys::node(origin.node);
    let known = get_row::<ProposerRow>(&*tables, Table::Proposers, &proposer)?;
    if known == Some(REMOVED) {
        // The node had itself removed.
        return Ok(());
    }
    let answered_below = match known {
        Some(row) if row.incarnation == origin.incarnation => row.answered_below.max(origin.answered_below),
        _ => origin.answered_below,
    };
    let row = ProposerRow {
        incarnation: origin.incarnation,
        answered_below,
    };
    if known != Some(row) {
        put_row(tables, Table::Proposers, &proposer, &row)?;
    }
    let key = keys::proposal(origin.node, origin.incarnation, origin.sequence);
    put_row(tables, Table::Proposals, &key, outcome)?;
    // Earlier lives come first in key order, then what this life has had answered: one range holds both.
    let end = keys::proposal(
        origin.node,
        origin.incarnation,
        answered_below.min(origin.sequence),
    );
    forget(tables, origin.node, Bound::Excluded(&end), FORGOTTEN_PER_PROPOSAL)
}

/// Refuses whatever still comes from a removed node.
pub(super) fn retire(tables: &mut dyn Write, node: NodeId) -> Result<(), StoreError> {
    put_row(tables, Table::Proposers, &keys::node(node), &REMOVED)?;
    let end = keys::proposal(node, Incarnation(u64::MAX), u64::MAX);
    forget(tables, node, Bound::Included(&end), FORGOTTEN_PER_REMOVAL)
}

fn forget(tables: &mut dyn Write, node: NodeId, to: Bound<&[u8]>, limit: usize) -> Result<(), StoreError> {
    let from = keys::node(node);
    for (key, _) in tables.scan(Table::Proposals, Bound::Included(&from), to, false, limit)? {
        tables.delete(Table::Proposals, &key)?;
    }
    Ok(())
}
