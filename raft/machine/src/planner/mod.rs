//! Where partitions should be, and who should vote. Pure: what is there in, moves out; the same input gives the same
//! plan, and a plan's result gives an empty one.
//!
//! ```text
//!  tables ─► PlanInput ─► rescue: partitions without a fit owner go to the least loaded fit nodes
//!                         balance: one at a time from the most to the least loaded, per kind, then in all, until it is
//!                                  even or as many have moved as may
//!                         └─► Plan ─► Command::Place, based on the revision that the input was read at
//! ```

mod input;
mod loads;
mod voters;

use std::collections::BTreeMap;

use jarvis_types::{KindId, NodeId, PartitionIndex};

use crate::command::{Move, MoveReason};

pub use self::input::{Balance, NodeState, PlanInput, PlanKind, PlanNode, PlanPlacement};
pub use self::voters::{MAX_VOTERS, Standing, desired_voters};

use self::loads::Loads;

/// What to move, in the order of kinds and partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The moves.
    pub moves: Vec<PlannedMove>,
    /// Partitions that have no fit owner and for which there is no fit node either.
    pub stranded: Vec<(KindId, PartitionIndex)>,
}

/// One partition goes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedMove {
    /// The kind.
    pub kind: KindId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The owner before.
    pub from: Option<NodeId>,
    /// The owner to be.
    pub to: NodeId,
    /// Why.
    pub reason: MoveReason,
}

impl Plan {
    /// The moves by reason, most urgent first, since a `Place` has one reason. Each `Place` that succeeds adds one to
    /// the revision that the next is based on.
    pub fn batches(&self) -> Vec<(MoveReason, Vec<Move>)> {
        let order = [
            MoveReason::OwnerLost,
            MoveReason::Drain,
            MoveReason::FirstPlacement,
            MoveReason::Balance,
        ];
        let of = |reason| {
            let moves = self.moves.iter().filter(|planned| planned.reason == reason);
            let moves = moves.map(
                |&PlannedMove {
                     kind, partition, to, ..
                 }| Move { kind, partition, to },
            );
            (reason, moves.collect::<Vec<_>>())
        };
        order
            .into_iter()
            .map(of)
            .filter(|(_, moves)| !moves.is_empty())
            .collect()
    }
}

/// A partition by its kind's place in the input and its index.
type Slot = (usize, PartitionIndex);

/// The moves that give every partition a fit owner and spread them evenly as far as `balance` allows; no more than needed.
pub fn plan(input: &PlanInput) -> Plan {
    let before = owners_before(input);
    let mut loads = Loads::new(input);
    let mut after: BTreeMap<Slot, NodeId> = BTreeMap::new();
    for (&slot, owner) in &before {
        if let Some(node) = owner.and_then(|id| loads.fit_node(slot.0, id)) {
            loads.add(slot.0, node);
            after.insert(slot, loads.id(node));
        }
    }
    let mut stranded = Vec::new();
    for &slot in before.keys() {
        if after.contains_key(&slot) {
            continue;
        }
        match loads.least_loaded(slot.0) {
            Some(node) => {
                loads.add(slot.0, node);
                after.insert(slot, loads.id(node));
            }
            None => stranded.push((input.kinds[slot.0].kind, slot.1)),
        }
    }
    let mut left = match input.balance {
        Balance::Off => None,
        Balance::AtMost(moves) => Some(moves),
        Balance::Full => Some(u32::MAX),
    };
    while let Some(may_move) = left
        && let Some((kind, from, to)) = loads.next_step()
    {
        let slot = pick(&before, &after, kind, loads.id(from));
        // What moves anyway costs nothing to be sent elsewhere.
        let costs = u32::from(before[&slot] == Some(loads.id(from)));
        left = may_move.checked_sub(costs);
        if left.is_some() {
            loads.shift(kind, from, to);
            after.insert(slot, loads.id(to));
        }
    }
    let moves = after
        .into_iter()
        .filter(|(slot, to)| before[slot] != Some(*to))
        .map(|(slot, to)| {
            let from = before[&slot];
            let kind = input.kinds[slot.0].kind;
            PlannedMove {
                kind,
                partition: slot.1,
                from,
                to,
                reason: reason_of(input, &loads, slot.0, from),
            }
        })
        .collect();
    Plan { moves, stranded }
}

fn owners_before(input: &PlanInput) -> BTreeMap<Slot, Option<NodeId>> {
    let known: BTreeMap<_, _> = input
        .placements
        .iter()
        .map(|p| ((p.kind, p.partition), p.owner))
        .collect();
    let mut owners = BTreeMap::new();
    for (index, kind) in input.kinds.iter().enumerate() {
        for partition in (0..kind.partitions).map(PartitionIndex) {
            owners.insert(
                (index, partition),
                known.get(&(kind.kind, partition)).copied().flatten(),
            );
        }
    }
    owners
}

/// Which of a node's partitions goes: one that moves anyway if there is any, else the last.
fn pick(
    before: &BTreeMap<Slot, Option<NodeId>>,
    after: &BTreeMap<Slot, NodeId>,
    kind: usize,
    from: NodeId,
) -> Slot {
    let mut own = after
        .range((kind, PartitionIndex(0))..=(kind, PartitionIndex(u16::MAX)))
        .rev();
    let mut last = None;
    let moving = own.find(|(slot, owner)| {
        let theirs = **owner == from;
        if theirs {
            last.get_or_insert(**slot);
        }
        theirs && before[slot] != Some(from)
    });
    moving
        .map(|(slot, _)| *slot)
        .or(last)
        .expect("a node that gives a partition away has one of that kind")
}

fn reason_of(input: &PlanInput, loads: &Loads<'_>, kind: usize, from: Option<NodeId>) -> MoveReason {
    let Some(from) = from else {
        return MoveReason::FirstPlacement;
    };
    if loads.fit_node(kind, from).is_some() {
        return MoveReason::Balance;
    }
    match input.nodes.iter().find(|node| node.id == from) {
        Some(node) if node.state != NodeState::Lost => MoveReason::Drain,
        _ => MoveReason::OwnerLost,
    }
}
