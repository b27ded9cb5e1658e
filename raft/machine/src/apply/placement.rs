//! Where partitions are: plans are checked as a whole, then executed as a whole.

use std::collections::BTreeSet;

use jarvis_types::{Epoch, NodeId};

use super::context::{Context, Halt, invalid, not_found};
use super::limits::{MAX_NOTED_MOVES, PLACEMENT_LOG_ROWS};
use super::nodes;
use crate::change::Change;
use crate::command::{Move, MoveReason, Seat};
use crate::keys;
use crate::reply::{Refusal, Reply};
use crate::rows::{
    Cause, NodeIntent, NodeNews, NodeRole, NodeRow, PlacementLogRow, PlacementNoteRow, PlacementRow,
};
use crate::storage::Table;

pub(super) fn place(
    cx: &mut Context<'_>,
    based_on: u64,
    health: &[(NodeId, bool)],
    moves: &[Move],
    reason: MoveReason,
    causes: Option<&Vec<Cause>>,
) -> Result<Reply, Halt> {
    let current = cx.query().placement_revision()?;
    if based_on != current {
        return Err(Refusal::StaleRevision { current }.into());
    }
    if health.is_empty() && moves.is_empty() {
        return Err(invalid("the plan does nothing"));
    }
    let flags = checked_health(cx, health)?;
    let steps = checked_moves(cx, moves)?;
    for (id, row) in flags {
        cx.put(Table::Nodes, &keys::node(id), &row)?;
        cx.changes.push(Change::Node(id));
    }
    for (step, before) in steps {
        let note = causes.map(|causes| PlacementNoteRow {
            cause: cause_of(causes, before.owner, step.to),
            took_ms: None,
        });
        execute(cx, step, before, reason, note)?;
    }
    cx.bump_placement_revision()?;
    Ok(Reply::Done)
}

/// The rows of nodes whose health changes.
fn checked_health(cx: &Context<'_>, health: &[(NodeId, bool)]) -> Result<Vec<(NodeId, NodeRow)>, Halt> {
    let mut named = BTreeSet::new();
    let mut changed = Vec::new();
    for &(id, healthy) in health {
        if !named.insert(id) {
            return Err(invalid(format!("node {id} is named twice")));
        }
        let before = nodes::member(cx, id)?;
        if before.healthy != healthy {
            changed.push((id, NodeRow { healthy, ..before }));
        }
    }
    Ok(changed)
}

/// The moves with what stands in their partitions.
fn checked_moves(cx: &Context<'_>, moves: &[Move]) -> Result<Vec<(Move, PlacementRow)>, Halt> {
    let mut named = BTreeSet::new();
    let mut targets = BTreeSet::new();
    let mut steps = Vec::with_capacity(moves.len());
    for &step in moves {
        let Move { kind, partition, to } = step;
        if !named.insert((kind, partition)) {
            return Err(invalid(format!(
                "partition {partition} of kind {} moves twice",
                kind.0
            )));
        }
        let before = cx.query().placement_of(kind, partition)?;
        let before = before.ok_or_else(|| not_found(format!("partition {partition} of kind {}", kind.0)))?;
        if before.owner == Some(to) {
            return Err(invalid(format!(
                "node {to} owns partition {partition} of kind {} already",
                kind.0
            )));
        }
        if targets.insert(to) {
            check_target(to, &nodes::member(cx, to)?)?;
        }
        steps.push((step, before));
    }
    Ok(steps)
}

fn check_target(id: NodeId, row: &NodeRow) -> Result<(), Halt> {
    if row.intent != NodeIntent::Active {
        return Err(invalid(format!("node {id} is not active")));
    }
    if row.role == NodeRole::Witness {
        return Err(invalid(format!("node {id} is a witness and carries no actors")));
    }
    Ok(())
}

/// What was seen that made a partition move from `from` to `to`.
fn cause_of(causes: &[Cause], from: Option<NodeId>, to: NodeId) -> Option<Cause> {
    let concerns = |cause: &&Cause| match cause.news {
        NodeNews::Returned | NodeNews::Joined => cause.node == to,
        _ => Some(cause.node) == from,
    };
    causes.iter().find(concerns).copied()
}

/// Keeps how long moves took with those of them that are still known and of which nothing was kept yet.
pub(super) fn note_take_over(cx: &mut Context<'_>, moves: &[Seat], took_ms: u32) -> Result<Reply, Halt> {
    if moves.len() > MAX_NOTED_MOVES {
        return Err(Refusal::LimitReached(format!("{MAX_NOTED_MOVES} moves of one note")).into());
    }
    for seat in moves {
        let key = keys::placement_log(seat.kind, seat.partition, seat.epoch);
        let Some(note) = cx.get::<PlacementNoteRow>(Table::PlacementNotes, &key)? else {
            continue;
        };
        if note.took_ms.is_none() {
            let took_ms = Some(took_ms);
            cx.put(Table::PlacementNotes, &key, &PlacementNoteRow { took_ms, ..note })?;
        }
    }
    Ok(Reply::Done)
}

fn execute(
    cx: &mut Context<'_>,
    step: Move,
    before: PlacementRow,
    reason: MoveReason,
    note: Option<PlacementNoteRow>,
) -> Result<(), Halt> {
    let Move { kind, partition, to } = step;
    let epoch = Epoch(before.epoch.0 + 1);
    let from = before.owner;
    cx.put(
        Table::Placement,
        &keys::placement(kind, partition),
        &PlacementRow {
            owner: Some(to),
            epoch,
        },
    )?;
    let row = PlacementLogRow {
        from,
        to,
        reason,
        at_ms: cx.now_ms,
    };
    cx.put(
        Table::PlacementLog,
        &keys::placement_log(kind, partition, epoch),
        &row,
    )?;
    if let Some(note) = note {
        cx.put(
            Table::PlacementNotes,
            &keys::placement_log(kind, partition, epoch),
            &note,
        )?;
    }
    if let Some(oldest) = epoch.0.checked_sub(PLACEMENT_LOG_ROWS) {
        // Epochs have no gaps, so one row goes for each that comes.
        let oldest = keys::placement_log(kind, partition, Epoch(oldest));
        cx.delete(Table::PlacementLog, &oldest)?;
        cx.delete(Table::PlacementNotes, &oldest)?;
    }
    cx.changes.push(Change::Placed {
        kind,
        partition,
        from,
        to,
        epoch,
    });
    Ok(())
}
