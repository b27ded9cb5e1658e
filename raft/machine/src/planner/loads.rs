//! How many partitions each node would have, per kind and in all, and which step evens that out most.
//!
//! Loads count in proportion to weight: a node of weight 2 with four partitions carries as much as one of weight 1 with
//! two. A step from one node to another is worth it where the giver carries more than the taker would after it; with
//! equal weights that leaves no two nodes more than one apart.

use std::cmp::Ordering;

use jarvis_types::NodeId;

use super::input::{NodeState, PlanInput};

pub(super) struct Loads<'a> {
    input: &'a PlanInput,
    /// Places in `input.nodes` of the nodes that are fit for each kind, by id.
    fit: Vec<Vec<usize>>,
    /// By kind, then node.
    of_kind: Vec<Vec<u64>>,
    total: Vec<u64>,
}

impl<'a> Loads<'a> {
    pub(super) fn new(input: &'a PlanInput) -> Self {
        let fit_for = |kind: &super::PlanKind| {
            let eligible = (0..input.nodes.len()).filter(|&node| {
                let node = &input.nodes[node];
                node.state == NodeState::Eligible && kind.needs.is_subset(&node.capabilities)
            });
            let mut fit: Vec<usize> = eligible.collect();
            fit.sort_by_key(|&node| input.nodes[node].id);
            fit
        };
        Self {
            input,
            fit: input.kinds.iter().map(fit_for).collect(),
            of_kind: vec![vec![0; input.nodes.len()]; input.kinds.len()],
            total: vec![0; input.nodes.len()],
        }
    }

    pub(super) fn id(&self, node: usize) -> NodeId {
        self.input.nodes[node].id
    }

    /// The node's place in the input, if it may own partitions of that kind.
    pub(super) fn fit_node(&self, kind: usize, id: NodeId) -> Option<usize> {
        self.fit[kind].iter().copied().find(|&node| self.id(node) == id)
    }

    pub(super) fn add(&mut self, kind: usize, node: usize) {
        self.of_kind[kind][node] += 1;
        self.total[node] += 1;
    }

    pub(super) fn shift(&mut self, kind: usize, from: usize, to: usize) {
        self.of_kind[kind][from] -= 1;
        self.total[from] -= 1;
        self.add(kind, to);
    }

    /// Who should take one more of that kind: least of the kind, then least in all, then lowest id.
    pub(super) fn least_loaded(&self, kind: usize) -> Option<usize> {
        let loads = &self.of_kind[kind];
        self.fit[kind].iter().copied().min_by(|&a, &b| {
            let by_kind = self.compare(loads[a] + 1, a, loads[b] + 1, b);
            by_kind.then_with(|| self.compare(self.total[a] + 1, a, self.total[b] + 1, b))
        })
    }

    /// The next step towards an even spread (kind, giver, taker); none where it is even.
    pub(super) fn next_step(&self) -> Option<(usize, usize, usize)> {
        let kinds = 0..self.input.kinds.len();
        kinds.clone().find_map(|kind| self.step_within(kind)).or_else(|| {
            // Kinds are even each: trade the odd ones so that the totals are, without making any kind uneven.
            kinds.clone().find_map(|kind| self.step_between(kind))
        })
    }

    fn step_within(&self, kind: usize) -> Option<(usize, usize, usize)> {
        let loads = &self.of_kind[kind];
        let to = self.least_loaded(kind)?;
        let givers = self.fit[kind]
            .iter()
            .copied()
            .filter(|&from| self.relieves(loads, from, to) == Ordering::Greater);
        let from = givers.max_by(|&a, &b| {
            let by_kind = self.compare(loads[a], a, loads[b], b);
            by_kind.then_with(|| self.compare(self.total[a], a, self.total[b], b))
        })?;
        Some((kind, from, to))
    }

    fn step_between(&self, kind: usize) -> Option<(usize, usize, usize)> {
        let loads = &self.of_kind[kind];
        let fit = &self.fit[kind];
        let pairs = fit.iter().flat_map(|&from| fit.iter().map(move |&to| (from, to)));
        let useful = pairs.filter(|&(from, to)| {
            loads[from] > 0
                && self.relieves(&self.total, from, to) == Ordering::Greater
                && self.relieves(loads, from, to) != Ordering::Less
        });
        let (from, to) = useful.max_by(|&(a, x), &(b, y)| {
            let most = self.compare(self.total[a], a, self.total[b], b);
            most.then_with(|| self.compare(self.total[y] + 1, y, self.total[x] + 1, x))
                .then_with(|| (b, y).cmp(&(a, x)))
        })?;
        Some((kind, from, to))
    }

    /// What the giver carries against what the taker would carry after one step.
    fn relieves(&self, loads: &[u64], from: usize, to: usize) -> Ordering {
        self.compare(loads[from], from, loads[to] + 1, to)
    }

    /// Compares loads in proportion to the nodes' weights, without fractions.
    fn compare(&self, load_a: u64, a: usize, load_b: u64, b: usize) -> Ordering {
        (load_a * self.weight(b)).cmp(&(load_b * self.weight(a)))
    }

    fn weight(&self, node: usize) -> u64 {
        u64::from(self.input.nodes[node].weight.max(1))
    }
}
