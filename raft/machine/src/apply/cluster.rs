//! The cluster itself, and the kinds it knows.

use jarvis_types::limits::MAX_NAME_CHARS;
use jarvis_types::{ClusterId, KindId, PartitionIndex};

use super::context::{Context, Halt, invalid, not_found};
use super::limits::MAX_PARTITIONS;
use super::{names, nodes, users};
use crate::change::Change;
use crate::command::NewNode;
use crate::keys;
use crate::reply::{Refusal, Reply};
use crate::rows::{ClusterRow, KindRow, NodeIntent, NodeRole, PlacementRow};
use crate::storage::Table;

pub(super) fn initialise(
    cx: &mut Context<'_>,
    cluster: ClusterId,
    node: &NewNode,
    admin: &str,
) -> Result<Reply, Halt> {
    if cx.query().cluster()?.is_some() {
        return Err(Refusal::AlreadyInitialised.into());
    }
    nodes::check_new(cx, node)?;
    names::check_user_name(admin)?;
    if node.role == NodeRole::Worker {
        return Err(invalid("the first node must vote"));
    }
    cx.put(
        Table::Meta,
        keys::META_CLUSTER,
        &ClusterRow {
            cluster,
            created_at_ms: cx.now_ms,
        },
    )?;
    let id = nodes::admit(cx, node, NodeIntent::Active)?;
    users::insert(cx, admin, None, true)?;
    Ok(Reply::Joined { node: id })
}

/// Takes ledger time back where it stands as it was found: a correction that comes late must not undo what was decided since.
pub(super) fn correct_time(cx: &mut Context<'_>, found_ms: u64, to_ms: u64) -> Result<Reply, Halt> {
    if to_ms < found_ms && cx.now_ms == found_ms {
        cx.put(Table::Meta, keys::META_LEDGER_MS, &to_ms)?;
    }
    Ok(Reply::Done)
}

/// Refuses commands that would give out ids before the first node and user have theirs.
pub(super) fn check_initialised(cx: &Context<'_>) -> Result<(), Halt> {
    if cx.query().cluster()?.is_some() {
        Ok(())
    } else {
        Err(not_found("the cluster, which is not initialised,"))
    }
}

pub(super) fn register_kind(
    cx: &mut Context<'_>,
    kind: KindId,
    name: &str,
    partitions: u16,
) -> Result<Reply, Halt> {
    let row = KindRow {
        name: name.to_owned(),
        partitions,
    };
    let kinds = cx.query().kinds()?;
    if let Some((_, known)) = kinds.iter().find(|(id, _)| *id == kind) {
        return if *known == row {
            Ok(Reply::Done)
        } else {
            let KindRow { name, partitions } = known;
            Err(invalid(format!(
                "kind {} is {name:?} with {partitions} partitions for ever",
                kind.0
            )))
        };
    }
    if kinds.iter().any(|(_, known)| known.name == name) {
        return Err(Refusal::NameTaken(name.to_owned()).into());
    }
    if partitions == 0 || partitions > MAX_PARTITIONS {
        return Err(invalid(format!(
            "a kind has 1 to {MAX_PARTITIONS} partitions, not {partitions}"
        )));
    }
    if name.is_empty() || name.len() > MAX_NAME_CHARS {
        return Err(invalid(format!(
            "a kind's name has 1 to {MAX_NAME_CHARS} characters"
        )));
    }
    cx.put(Table::Kinds, &keys::kind(kind), &row)?;
    for index in 0..partitions {
        cx.put(
            Table::Placement,
            &keys::placement(kind, PartitionIndex(index)),
            &PlacementRow::default(),
        )?;
    }
    cx.bump_placement_revision()?;
    cx.changes.push(Change::KindRegistered(kind));
    Ok(Reply::Done)
}
