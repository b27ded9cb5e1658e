//! Which change of the membership comes next, and whether it is safe now. Pure: what is seen goes in, one step comes out.
//!
//! ```text
//!  table of nodes, who answers, who is gone or slow ─► who should vote (planner) ─► next step ─► safe? ─► Decision
//! ```
//!
//! One step at a time, each derived anew from what is there: a leader that fails in the middle leaves the rest to the next.

use std::collections::BTreeSet;

use jarvis_machine::planner::{Standing, desired_voters};
use jarvis_machine::rows::{NodeRole, NodeRow};
use jarvis_types::NodeId;

use crate::leadership::leads_gladly;

/// What the leader sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture {
    /// The leader.
    pub(crate) own: NodeId,
    /// The table of nodes.
    pub(crate) nodes: Vec<(NodeId, NodeRow)>,
    /// Who votes.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Who follows without a vote.
    pub(crate) learners: BTreeSet<NodeId>,
    /// Who answers at this moment, the leader included.
    pub(crate) answering: BTreeSet<NodeId>,
    /// Whose log is near the leader's end.
    pub(crate) caught_up: BTreeSet<NodeId>,
    /// Who has not answered for longer than is borne.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Whose disk is so slow that it may lose its vote.
    pub(crate) slow: BTreeSet<NodeId>,
    /// Whether the leader has led for long enough that the turmoil which made it one is over.
    pub(crate) settled: bool,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as it should be, or must stay as it is.
    Nothing,
    /// These must catch up first.
    Wait(BTreeSet<NodeId>),
    /// These become learners.
    AddLearners(BTreeSet<NodeId>),
    /// These are the voters from here on; those who were stay as learners.
    SetVoters(BTreeSet<NodeId>),
    /// These leave; they do not vote.
    RemoveLearners(BTreeSet<NodeId>),
    /// Leadership goes to this voter: the leader's own vote is to go, or it is a witness.
    HandOver(NodeId),
}

/// The next step, and what was not done though it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What to do.
    pub(crate) step: Step,
    /// Voters that are wanted but could cost the majority now.
    pub(crate) held: Option<BTreeSet<NodeId>>,
}

impl Picture {
    fn members(&self) -> BTreeSet<NodeId> {
        self.nodes.iter().map(|(node, _)| *node).collect()
    }

    /// Whether a node is a member.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.nodes.iter().any(|(member, _)| *member == node)
    }

    fn standing(&self, node: NodeId, row: &NodeRow) -> Standing {
        if self.gone.contains(&node) {
            Standing::Gone
        } else if !self.answering.contains(&node) || !row.healthy && !self.voters.contains(&node) {
            Standing::Silent
        } else if self.slow.contains(&node) {
            Standing::Slow
        } else if self.caught_up.contains(&node) {
            Standing::Fit
        } else {
            Standing::Behind
        }
    }

    /// How many of `voters` answer beyond what a majority of them needs; negative where that is missing. Who is removed
    /// does not count: nobody speaks with it any more.
    pub(crate) fn spare(&self, voters: &BTreeSet<NodeId>) -> i64 {
        let answer = |voter: &&NodeId| self.answering.contains(voter) && self.has(**voter);
        voters.iter().filter(answer).count() as i64 - (voters.len() as i64 / 2 + 1)
    }

    /// Whether `wanted` may take the place of the voters at this moment: a majority of each must answer, since a change in
    /// between needs both; and where one more loss can be borne, it still can be afterwards.
    fn is_safe(&self, wanted: &BTreeSet<NodeId>) -> bool {
        let (before, after) = (self.spare(&self.voters), self.spare(wanted));
        before >= 0 && after >= 0 && (before == 0 || after > 0)
    }

    /// Decides the next step.
    pub(crate) fn decide(&self) -> Decision {
        let members = self.members();
        let done = |step| Decision { step, held: None };
        if members.is_empty() {
            // Nobody has initialised the cluster yet.
            return done(Step::Nothing);
        }
        let known: BTreeSet<NodeId> = &self.voters | &self.learners;
        let new: BTreeSet<NodeId> = &members - &known;
        if !new.is_empty() {
            return done(Step::AddLearners(new));
        }
        let desired = desired_voters(&self.nodes, &self.voters, |node, row| self.standing(node, row));
        let behind: BTreeSet<NodeId> = (&desired - &self.voters)
            .into_iter()
            .filter(|node| !self.caught_up.contains(node) || !self.answering.contains(node))
            .collect();
        let mut wanted: Option<BTreeSet<NodeId>> = None;
        if desired != self.voters && behind.is_empty() {
            wanted = Some(desired);
        } else if !self.voters.is_subset(&members) {
            // Who is out must not vote, even while its successor still catches up.
            let remaining: BTreeSet<NodeId> = &(&self.voters & &members) | &(&desired - &behind);
            wanted = Some(remaining).filter(|remaining| !remaining.is_empty());
        }
        let held = match wanted {
            Some(wanted) if self.is_safe(&wanted) => return done(self.towards(wanted, &members)),
            held => held,
        };
        let gone = &self.learners - &members;
        let step = if !gone.is_empty() {
            Step::RemoveLearners(gone)
        } else if behind.is_empty() {
            self.abler_leader().map_or(Step::Nothing, Step::HandOver)
        } else {
            Step::Wait(behind)
        };
        Decision { step, held }
    }

    /// Whom a witness hands the leadership to: a small machine that only votes should not have to decide for all. Not a node
    /// that was drained: it is about to be stopped.
    fn abler_leader(&self) -> Option<NodeId> {
        let row = |id: NodeId| {
            self.nodes
                .iter()
                .find(|(node, _)| *node == id)
                .map(|(_, row)| row)
        };
        if !self.settled || row(self.own).is_none_or(|row| row.role != NodeRole::Witness) {
            return None;
        }
        let able = |node: &&NodeId| {
            row(**node).is_some_and(leads_gladly)
                && self.answering.contains(node)
                && self.caught_up.contains(node)
                && !self.slow.contains(node)
        };
        self.voters.iter().find(able).copied()
    }

    /// A member that leads and is to lose its vote hands over first: nobody need notice.
    fn towards(&self, wanted: BTreeSet<NodeId>, members: &BTreeSet<NodeId>) -> Step {
        if members.contains(&self.own) && self.voters.contains(&self.own) && !wanted.contains(&self.own) {
            let takes = |node: &&NodeId| {
                self.voters.contains(node) && self.answering.contains(node) && self.caught_up.contains(node)
            };
            if let Some(successor) = wanted.iter().find(takes) {
                return Step::HandOver(*successor);
            }
        }
        Step::SetVoters(wanted)
    }
}

#[cfg(test)]
#[path = "autopilot_tests.rs"]
mod tests;
