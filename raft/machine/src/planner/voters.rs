//! Who should vote.

use std::collections::BTreeSet;

use jarvis_types::NodeId;

use crate::rows::{NodeIntent, NodeRole, NodeRow};

/// Most voters: with more, every write waits for more disks and gains little.
pub const MAX_VOTERS: usize = 5;

/// The members that should vote: the largest odd number up to [`MAX_VOTERS`] of those whose role allows it and who have
/// reported for work, present voters before others, then the lowest ids.
///
/// Nobody becomes a voter who does not answer, and nobody ceases to be one only for not answering: a voter that is down
/// for a minute must not cost two changes of membership. There is always at least one, whatever the members are.
pub fn desired_voters(nodes: &[(NodeId, NodeRow)], current: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut able: Vec<(u8, NodeId)> = nodes
        .iter()
        .filter(|(_, row)| row.role != NodeRole::Worker && row.intent != NodeIntent::Joining)
        .filter_map(|(id, row)| match (current.contains(id), row.healthy) {
            (true, true) => Some((0, *id)),
            // Only where some must go does it matter that this one does not answer.
            (true, false) => Some((1, *id)),
            (false, true) => Some((2, *id)),
            (false, false) => None,
        })
        .collect();
    able.sort_unstable();
    let most = able.len().min(MAX_VOTERS);
    let wanted = if most.is_multiple_of(2) {
        most.saturating_sub(1)
    } else {
        most
    };
    if wanted == 0 {
        return fall_back(nodes, current);
    }
    able.into_iter().take(wanted).map(|(_, id)| id).collect()
}

/// Nobody is able: stay with who votes, or take the member that would be the first choice if it answered.
fn fall_back(nodes: &[(NodeId, NodeRow)], current: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    if !current.is_empty() {
        return current.clone();
    }
    let first = nodes
        .iter()
        .min_by_key(|(id, row)| (row.role == NodeRole::Worker, *id));
    first.map(|(id, _)| *id).into_iter().collect()
}
