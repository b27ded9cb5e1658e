//! Which nodes can carry what, and which of them hold the cluster's level back: the part of `status` that is about upgrades and
//! devices.

use jarvis_machine::rows::{NodeFacts, NodeRole, NodeRow};
use jarvis_types::{KindId, NodeId, NodeName};

use crate::backend::ClusterView;

/// Whether a node answers and serves.
type Serves<'a> = dyn Fn(NodeId, &NodeRow) -> bool + 'a;

/// What a node has; the usual where it has not said.
pub(super) fn facts(view: &ClusterView, node: NodeId) -> NodeFacts {
    view.facts.get(&node).cloned().unwrap_or_default()
}

/// The nodes without which the level would be higher: those that speak less than another does.
pub(super) fn held_back_by(view: &ClusterView) -> Vec<&NodeName> {
    let highest = view.nodes.iter().map(|(_, row)| row.level).max().unwrap_or(0);
    let behind = view
        .nodes
        .iter()
        .filter(|(_, row)| highest > view.level && row.level < highest);
    behind.map(|(_, row)| &row.name).collect()
}

/// Whether no node that serves has what the kind needs.
pub(super) fn nobody_has(view: &ClusterView, kind: KindId, serves: &Serves<'_>) -> bool {
    let needs = view.needs.get(&kind).copied().unwrap_or_default();
    !needs.is_empty()
        && !view.nodes.iter().any(|(id, row)| {
            serves(*id, row) && row.role != NodeRole::Witness && has_all(&facts(view, *id), needs)
        })
}

/// Tells `add` what is wrong, and what to do about it.
pub(super) fn degraded(view: &ClusterView, serves: &Serves<'_>, add: &mut dyn FnMut(String, String)) {
    let behind: Vec<_> = held_back_by(view).into_iter().map(NodeName::as_str).collect();
    if !behind.is_empty() {
        let behind = behind.join(", ");
        add(
            format!(
                "the cluster stays at level {}: {behind} runs an earlier jarvis",
                view.level
            ),
            format!("install the version that the other nodes run on {behind} and restart it"),
        );
    }
    for (kind, row, partitions) in &view.kinds {
        if !nobody_has(view, *kind, serves) {
            continue;
        }
        let needs = view.needs.get(kind).copied().unwrap_or_default();
        let had: Vec<_> = (view.nodes.iter())
            .filter(|(id, _)| has_all(&facts(view, *id), needs))
            .map(|(_, row)| row.name.as_str())
            .collect();
        let needed = needs.join(" and ");
        let advice = if had.is_empty() {
            format!("add it to `[node] capabilities` of a node that has {needed}, and restart that node")
        } else {
            format!(
                "bring {} back, or add it to `[node] capabilities` of another node that has {needed}",
                had.join(" or ")
            )
        };
        let count = partitions.len();
        add(
            format!(
                "{count} partitions of {} wait for a node that has {needed}",
                row.name
            ),
            advice,
        );
    }
}

fn has_all(facts: &NodeFacts, needs: &[&str]) -> bool {
    needs.iter().all(|&need| facts.capabilities.contains(need))
}
