//! A partition has at most one owner whose writes count: what is applied under a fence was proposed by the owner of that
//! epoch, in that epoch.

use std::collections::BTreeMap;

use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::Outcome;
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};

/// Who owns what, by the oracle's own book.
#[derive(Debug, Default)]
pub struct SingleWriter {
    placed: BTreeMap<(KindId, PartitionIndex), (Epoch, NodeId)>,
}

impl SingleWriter {
    /// An entry was applied for the first time.
    ///
    /// # Errors
    /// Where somebody wrote who is not the owner.
    pub fn applied(&mut self, index: u64, proposal: &Proposal, outcome: &Outcome) -> Result<(), String> {
        if outcome.is_err() {
            return Ok(());
        }
        if let Some(fence) = &proposal.fence {
            let owner = self.placed.get(&(fence.kind, fence.partition));
            let by = proposal.origin.map(|origin| origin.node);
            if owner.map(|(epoch, node)| (*epoch, Some(*node))) != Some((fence.epoch, by)) {
                return Err(format!(
                    "entry {index} of node {by:?} under {fence:?} counts, while {owner:?} owns it"
                ));
            }
        }
        if let Command::Place { moves, .. } | Command::PlaceBecause { moves, .. } = &proposal.command {
            for moved in moves {
                let place = self
                    .placed
                    .entry((moved.kind, moved.partition))
                    .or_insert((Epoch(0), moved.to));
                *place = (Epoch(place.0.0 + 1), moved.to);
            }
        }
        Ok(())
    }
}
