//! What a plan is made from.

use std::collections::{BTreeMap, BTreeSet};

use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};

use crate::query::Query;
use crate::rows::{NodeFacts, NodeIntent, NodeRole, NodeRow};
use crate::storage::StoreError;

/// Nodes, kinds and placement as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanInput {
    /// Members.
    pub nodes: Vec<PlanNode>,
    /// Kinds.
    pub kinds: Vec<PlanKind>,
    /// Partitions that have had an owner; those of a known kind that are not named count as never placed.
    pub placements: Vec<PlanPlacement>,
    /// How many partitions may move only to spread the load.
    pub balance: Balance,
}

/// How many partitions may move although their owner is fit, so that the load is spread evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// None: a node has only just come, and may go again.
    Off,
    /// So many in one plan: what a node that came back gets is handed to it little by little.
    AtMost(u32),
    /// As many as it takes: a cluster that forms has nobody yet who could notice.
    Full,
}

/// Whether a node may own partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It answers, is active and carries actors.
    Eligible,
    /// It answers, but is to own nothing: it drains, joins, or is a witness.
    Retiring,
    /// It does not answer.
    Lost,
}

/// A node as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    /// Which.
    pub id: NodeId,
    /// Whether it may own partitions.
    pub state: NodeState,
    /// How much it carries compared with others, its capacity; at least 1.
    pub weight: u32,
    /// What it has: `microphone`, `gpu`, …
    pub capabilities: BTreeSet<String>,
}

/// A kind as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanKind {
    /// Which.
    pub kind: KindId,
    /// How many partitions.
    pub partitions: u16,
    /// What a node must have to own any of them.
    pub needs: BTreeSet<String>,
}

/// Where a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanPlacement {
    /// The kind.
    pub kind: KindId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its owner.
    pub owner: Option<NodeId>,
    /// Its epoch.
    pub epoch: Epoch,
}

impl PlanInput {
    /// What stands in the tables, with kinds that need nothing. Whoever plans adds needs, which builds know, and what it
    /// knows of health beyond the tables.
    ///
    /// # Errors
    /// The store's.
    pub fn read(query: &Query<'_>, balance: Balance) -> Result<Self, StoreError> {
        let mut facts: BTreeMap<NodeId, NodeFacts> = query.all_node_facts()?.into_iter().collect();
        let nodes = query
            .nodes()?
            .into_iter()
            .map(|(id, row)| PlanNode::new(id, &row, facts.remove(&id).unwrap_or_default()))
            .collect();
        let mut kinds = Vec::new();
        let mut placements = Vec::new();
        for (kind, row) in query.kinds()? {
            kinds.push(PlanKind {
                kind,
                partitions: row.partitions,
                needs: BTreeSet::new(),
            });
            placements.extend(
                (0..)
                    .zip(query.placement(kind)?)
                    .map(|(index, row)| PlanPlacement {
                        kind,
                        partition: PartitionIndex(index),
                        owner: row.owner,
                        epoch: row.epoch,
                    }),
            );
        }
        Ok(Self {
            nodes,
            kinds,
            placements,
            balance,
        })
    }

    /// What a node must have to own partitions of a kind.
    pub fn set_needs(&mut self, kind: KindId, needs: &[&str]) {
        for found in self.kinds.iter_mut().filter(|found| found.kind == kind) {
            found.needs = needs.iter().map(|&need| need.to_owned()).collect();
        }
    }

    /// What a node should have to own partitions of a kind, wherever any node that may own some has it. Comes after health.
    pub fn add_preferences(&mut self, kind: KindId, wished: &[&str]) {
        let can_be_had = |wish: &&&str| {
            let mut nodes = self.nodes.iter();
            nodes.any(|node| node.state == NodeState::Eligible && node.capabilities.contains(**wish))
        };
        let met: Vec<String> = (wished.iter().filter(can_be_had))
            .map(|&wish| wish.to_owned())
            .collect();
        for found in self.kinds.iter_mut().filter(|found| found.kind == kind) {
            found.needs.extend(met.iter().cloned());
        }
    }

    /// Puts what is known of a node's health in the place of what the tables have.
    pub fn set_health(&mut self, id: NodeId, row: &NodeRow, healthy: bool) {
        for node in self.nodes.iter_mut().filter(|node| node.id == id) {
            node.state = NodeState::of(row, healthy);
        }
    }
}

impl PlanNode {
    /// A node as the tables have it.
    pub fn new(id: NodeId, row: &NodeRow, facts: NodeFacts) -> Self {
        Self {
            id,
            state: NodeState::of(row, row.healthy),
            weight: facts.capacity,
            capabilities: facts.capabilities,
        }
    }
}

impl NodeState {
    /// What a node's role, intent and health make of it.
    pub fn of(row: &NodeRow, healthy: bool) -> Self {
        match (healthy, row.intent, row.role) {
            (false, ..) => Self::Lost,
            (true, NodeIntent::Active, NodeRole::Voter | NodeRole::Worker) => Self::Eligible,
            (true, ..) => Self::Retiring,
        }
    }
}
