//! Members: admitted, met, meant to serve or drain, removed for good.

use jarvis_types::NodeId;

use super::context::{Context, Halt, invalid, not_found};
use super::limits::{MAX_CAPABILITIES, MAX_CAPACITY, MAX_NODES};
use super::{dedupe, levels, names};
use crate::change::Change;
use crate::command::NewNode;
use crate::keys;
use crate::level::MARKS_LEVEL;
use crate::reply::{Refusal, Reply};
use crate::row_codec::EMPTY;
use crate::rows::{LogMark, NodeFacts, NodeIntent, NodeRole, NodeRow};
use crate::storage::Table;

/// Where a node is met and what it runs.
pub(super) struct Found<'a> {
    pub(super) mesh_address: &'a str,
    pub(super) http_url: &'a str,
    pub(super) version: &'a str,
    pub(super) level: u32,
}

/// Whether a node of that description could be admitted.
pub(super) fn check_new(cx: &Context<'_>, node: &NewNode) -> Result<(), Halt> {
    names::check_node_name(&node.name)?;
    check_found(&node.mesh_address, &node.http_url, &node.version)?;
    levels::check_speaks(cx, node.level)?;
    let members = cx.query().nodes()?;
    if members
        .iter()
        .any(|(_, row)| row.name.as_str().eq_ignore_ascii_case(node.name.as_str()))
    {
        return Err(Refusal::NameTaken(node.name.to_string()).into());
    }
    if members.len() >= MAX_NODES {
        return Err(Refusal::LimitReached(format!("{MAX_NODES} nodes")).into());
    }
    Ok(())
}

/// Makes a member of a node that [`check_new`] let through.
pub(super) fn admit(cx: &mut Context<'_>, node: &NewNode, intent: NodeIntent) -> Result<NodeId, Halt> {
    let id = NodeId(cx.count_up(keys::META_LAST_NODE)?);
    let row = NodeRow {
        name: node.name.clone(),
        role: node.role,
        intent,
        // Who has not yet reported for work has not been heard either.
        healthy: intent != NodeIntent::Joining,
        mesh_address: node.mesh_address.clone(),
        http_url: node.http_url.clone(),
        version: node.version.clone(),
        level: node.level,
        joined_at_ms: cx.now_ms,
    };
    cx.put(Table::Nodes, &keys::node(id), &row)?;
    cx.bump_placement_revision()?;
    cx.changes.push(Change::Node(id));
    Ok(id)
}

pub(super) fn announce(cx: &mut Context<'_>, id: NodeId, found: Found<'_>) -> Result<Reply, Halt> {
    let before = member(cx, id)?;
    check_found(found.mesh_address, found.http_url, found.version)?;
    levels::check_speaks(cx, found.level)?;
    let mut row = NodeRow {
        mesh_address: found.mesh_address.to_owned(),
        http_url: found.http_url.to_owned(),
        version: found.version.to_owned(),
        level: found.level,
        ..before.clone()
    };
    if row.intent == NodeIntent::Joining {
        (row.intent, row.healthy) = (NodeIntent::Active, true);
        cx.bump_placement_revision()?;
    }
    replace(cx, id, &before, &row)
}

pub(super) fn describe(cx: &mut Context<'_>, id: NodeId, facts: &NodeFacts) -> Result<Reply, Halt> {
    member(cx, id)?;
    names::check_capabilities(&facts.capabilities)?;
    if facts.capabilities.len() > MAX_CAPABILITIES {
        return Err(Refusal::LimitReached(format!("{MAX_CAPABILITIES} capabilities of a node")).into());
    }
    if !(1..=MAX_CAPACITY).contains(&facts.capacity) {
        return Err(invalid(format!(
            "a node's capacity is 1 to {MAX_CAPACITY}, not {}",
            facts.capacity
        )));
    }
    if cx.query().node_facts(id)?.as_ref() != Some(facts) {
        cx.put(Table::NodeFacts, &keys::node(id), facts)?;
        cx.bump_placement_revision()?;
        cx.changes.push(Change::Node(id));
    }
    Ok(Reply::Done)
}

pub(super) fn set_intent(cx: &mut Context<'_>, id: NodeId, intent: NodeIntent) -> Result<Reply, Halt> {
    let before = member(cx, id)?;
    if before.intent == intent {
        return Ok(Reply::Done);
    }
    if intent == NodeIntent::Joining {
        return Err(invalid("a node joins only once"));
    }
    if before.intent == NodeIntent::Joining {
        return Err(invalid(format!("node {id} has not reported for work yet")));
    }
    if intent == NodeIntent::Drained {
        // What the leader found drained may have been undrained since.
        if before.intent != NodeIntent::Draining && cx.query().cluster_level()? >= MARKS_LEVEL {
            return Err(invalid(format!("node {id} is not being drained")));
        }
        check_owns_nothing(cx, id)?;
    }
    cx.bump_placement_revision()?;
    replace(
        cx,
        id,
        &before,
        &NodeRow {
            intent,
            ..before.clone()
        },
    )
}

pub(super) fn remove(cx: &mut Context<'_>, id: NodeId, force: bool) -> Result<Reply, Halt> {
    member(cx, id)?;
    let members = cx.query().nodes()?;
    let may_vote = |row: &NodeRow| row.role != NodeRole::Worker && row.intent != NodeIntent::Joining;
    if !members.iter().any(|(other, row)| *other != id && may_vote(row)) {
        return Err(invalid(format!("node {id} is the last that can vote")));
    }
    if !force {
        check_owns_nothing(cx, id)?;
    }
    cx.delete(Table::Nodes, &keys::node(id))?;
    cx.delete(Table::NodeFacts, &keys::node(id))?;
    if cx.query().cluster_level()? >= MARKS_LEVEL {
        cx.delete(Table::LogMarks, &keys::node(id))?;
    }
    cx.tables.put(Table::RemovedNodes, &keys::node(id), EMPTY)?;
    dedupe::retire(cx.tables, id)?;
    cx.bump_placement_revision()?;
    cx.changes.push(Change::NodeRemoved(id));
    Ok(Reply::Done)
}

/// The same for a removal that was found safe at a revision.
pub(super) fn remove_at(cx: &mut Context<'_>, based_on: u64, id: NodeId, force: bool) -> Result<Reply, Halt> {
    let current = cx.query().placement_revision()?;
    if based_on != current {
        return Err(Refusal::StaleRevision { current }.into());
    }
    remove(cx, id, force)
}

/// Raises the marks of members; a mark that is not higher in both counts changes nothing.
pub(super) fn note_logs(cx: &mut Context<'_>, marks: &[(NodeId, LogMark)]) -> Result<Reply, Halt> {
    if marks.len() > MAX_NODES {
        return Err(Refusal::LimitReached(format!("{MAX_NODES} marks")).into());
    }
    for &(id, mark) in marks {
        if cx.query().node(id)?.is_none() {
            // It was removed while this was under way.
            continue;
        }
        let key = keys::node(id);
        let before = cx.get::<LogMark>(Table::LogMarks, &key)?;
        if before.is_none_or(|before| before.term <= mark.term && before.index < mark.index) {
            cx.put(Table::LogMarks, &key, &mark)?;
        }
    }
    Ok(Reply::Done)
}

/// The row of a member; refused if there is none.
pub(super) fn member(cx: &Context<'_>, id: NodeId) -> Result<NodeRow, Halt> {
    cx.query()
        .node(id)?
        .ok_or_else(|| not_found(format!("node {id}")))
}

fn check_owns_nothing(cx: &Context<'_>, id: NodeId) -> Result<(), Halt> {
    match cx.query().partitions_owned(id)? {
        0 => Ok(()),
        partitions => Err(Refusal::NotDrained { partitions }.into()),
    }
}

fn check_found(mesh_address: &str, http_url: &str, version: &str) -> Result<(), Halt> {
    names::check_node_text("mesh address", mesh_address)?;
    names::check_node_text("URL", http_url)?;
    names::check_node_text("version", version)
}

fn replace(cx: &mut Context<'_>, id: NodeId, before: &NodeRow, row: &NodeRow) -> Result<Reply, Halt> {
    if before != row {
        cx.put(Table::Nodes, &keys::node(id), row)?;
        cx.changes.push(Change::Node(id));
    }
    Ok(Reply::Done)
}
