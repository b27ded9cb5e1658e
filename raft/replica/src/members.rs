//! Keeps Raft's membership as the table of nodes wants it. Works on the leader only.
//!
//! ```text
//!  table of nodes ─► every member is a learner at least ─► caught up? ─► voters as the planner wants ─► others leave
//! ```
//!
//! One step at a time, each derived anew from what is there: a leader that fails in the middle leaves the rest to the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jarvis_machine::change::Change;
use jarvis_machine::planner::desired_voters;
use jarvis_machine::query::Query;
use jarvis_machine::rows::NodeRow;
use jarvis_types::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::api::ReplicaState;
use crate::state::StateShared;
use crate::types::Raft;

/// A learner this close to the end of the log may vote: it keeps up.
const CAUGHT_UP_ENTRIES: u64 = 128;

/// Pause after a step that failed, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between steps that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a leader looks whether learners have caught up, while it waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A membership change that takes longer has lost its majority; the next leader begins anew.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the membership right.
pub(crate) struct Reconciler {
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<StateShared>,
    pub(crate) state: watch::Receiver<ReplicaState>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as it should be.
    Nothing,
    /// These must catch up first.
    Wait(BTreeSet<NodeId>),
    /// These become learners.
    AddLearners(BTreeSet<NodeId>),
    /// These are the voters from here on; those who were stay as learners.
    SetVoters(BTreeSet<NodeId>),
    /// These leave; they do not vote.
    RemoveLearners(BTreeSet<NodeId>),
}

/// Decides the next step.
pub(crate) fn next_step(
    nodes: &[(NodeId, NodeRow)],
    voters: &BTreeSet<NodeId>,
    learners: &BTreeSet<NodeId>,
    caught_up: impl Fn(NodeId) -> bool,
) -> Step {
    let members: BTreeSet<NodeId> = nodes.iter().map(|(node, _)| *node).collect();
    if members.is_empty() {
        // Nobody has initialised the cluster yet.
        return Step::Nothing;
    }
    let known: BTreeSet<NodeId> = voters | learners;
    let new: BTreeSet<NodeId> = &members - &known;
    if !new.is_empty() {
        return Step::AddLearners(new);
    }
    let desired = desired_voters(nodes, voters);
    let behind: BTreeSet<NodeId> = (&desired - voters)
        .into_iter()
        .filter(|node| !caught_up(*node))
        .collect();
    let removed: BTreeSet<NodeId> = voters - &members;
    if desired != *voters && behind.is_empty() {
        return Step::SetVoters(desired);
    }
    if !removed.is_empty() {
        // Who is out must not vote, even while its successor still catches up.
        let remaining: BTreeSet<NodeId> = &(voters & &members) | &(&desired - &behind);
        if !remaining.is_empty() {
            return Step::SetVoters(remaining);
        }
    }
    let gone: BTreeSet<NodeId> = learners - &members;
    if !gone.is_empty() {
        return Step::RemoveLearners(gone);
    }
    if behind.is_empty() {
        Step::Nothing
    } else {
        Step::Wait(behind)
    }
}

impl Reconciler {
    /// Until the replica ends.
    pub(crate) async fn run(mut self) {
        let mut changes = self.shared.changes.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            if self.state.wait_for(|state| state.leads).await.is_err() {
                return;
            }
            let step = self.step();
            let wait = match self.take(&step).await {
                Ok(()) if step == Step::Nothing => {
                    pause = FIRST_PAUSE;
                    None
                }
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    Some(if matches!(step, Step::Wait(_)) {
                        LOOK_EVERY
                    } else {
                        Duration::ZERO
                    })
                }
                Err(error) => {
                    tracing::warn!(?step, %error, "a change of membership failed; it is tried again");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Some(pause)
                }
            };
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    // A new leader looks anew; otherwise only the table of nodes can ask for another step.
                    let term = self.state.borrow().term;
                    tokio::select! {
                        ended = self.state.wait_for(|state| !state.leads || state.term != term) => if ended.is_err() { return },
                        asked = nodes_changed(&mut changes) => if !asked { return },
                    }
                }
            }
        }
    }

    fn step(&self) -> Step {
        let nodes = match self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).nodes())
        {
            Ok(nodes) => nodes,
            Err(error) => {
                tracing::error!(%error, "the table of nodes cannot be read");
                return Step::Nothing;
            }
        };
        let now = self.raft.metrics().borrow_watched().clone();
        let members = now.membership_config.membership();
        let voters = members.voter_ids().map(NodeId).collect();
        let learners = members.learner_ids().map(NodeId).collect();
        let last = now.last_log_index.unwrap_or(0);
        let replication = now.replication.unwrap_or_default();
        next_step(&nodes, &voters, &learners, |node| {
            let matched = replication.get(&node.0).copied().flatten();
            matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last)
        })
    }

    async fn take(&self, step: &Step) -> Result<(), String> {
        let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|node| node.0).collect::<BTreeSet<u64>>();
        let change = match step {
            Step::Nothing | Step::Wait(_) => return Ok(()),
            Step::AddLearners(nodes) => {
                ChangeMembers::AddNodes(nodes.iter().map(|node| (node.0, ())).collect())
            }
            Step::SetVoters(nodes) => ChangeMembers::ReplaceAllVoters(ids(nodes)),
            Step::RemoveLearners(nodes) => ChangeMembers::RemoveNodes(ids(nodes)),
        };
        tracing::info!(?step, "changing raft's membership");
        match tokio::time::timeout(STEP_TIMEOUT, self.raft.change_membership(change, true)).await {
            Ok(changed) => changed.map(drop).map_err(|e| e.to_string()),
            Err(_) => Err("no majority answered".to_owned()),
        }
    }
}

/// Completes when the table of nodes may have changed; false when nothing is applied any more.
async fn nodes_changed(changes: &mut tokio::sync::broadcast::Receiver<crate::api::Applied>) -> bool {
    loop {
        match changes.recv().await {
            Ok(applied) => {
                let asks = |change: &Change| {
                    matches!(
                        change,
                        Change::Node(_) | Change::NodeRemoved(_) | Change::Replaced
                    )
                };
                if applied.changes.iter().any(asks) {
                    return true;
                }
            }
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use jarvis_machine::rows::{NodeIntent, NodeRole};

    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn row(node: u64) -> (NodeId, NodeRow) {
        let row = NodeRow {
            name: format!("node-{node}").parse().expect("a name"),
            role: NodeRole::Voter,
            intent: NodeIntent::Active,
            healthy: true,
            mesh_address: String::new(),
            http_url: String::new(),
            version: String::new(),
            level: 1,
            joined_at_ms: 0,
        };
        (NodeId(node), row)
    }

    #[track_caller]
    fn check(nodes: &[u64], voters: &[u64], learners: &[u64], behind: &[u64], expected: Step) {
        let rows: Vec<_> = nodes.iter().copied().map(row).collect();
        let behind = set(behind);
        let step = next_step(&rows, &set(voters), &set(learners), |node| {
            !behind.contains(&node)
        });
        assert_eq!(step, expected);
    }

    #[test]
    fn each_step_follows_from_what_is_there() {
        check(&[], &[1], &[], &[], Step::Nothing);
        check(&[1], &[1], &[], &[], Step::Nothing);
        check(&[1, 2, 3], &[1], &[], &[], Step::AddLearners(set(&[2, 3])));
        check(&[1, 2, 3], &[1], &[2, 3], &[2, 3], Step::Wait(set(&[2, 3])));
        check(&[1, 2, 3], &[1], &[2, 3], &[3], Step::Wait(set(&[3])));
        check(&[1, 2, 3], &[1], &[2, 3], &[], Step::SetVoters(set(&[1, 2, 3])));
        check(&[1, 2, 3, 4], &[1, 2, 3], &[4], &[], Step::Nothing);
    }

    #[test]
    fn who_is_removed_stops_voting_at_once() {
        check(
            &[1, 2, 4],
            &[1, 2, 3],
            &[4],
            &[],
            Step::SetVoters(set(&[1, 2, 4])),
        );
        check(&[1, 2, 4], &[1, 2, 3], &[4], &[4], Step::SetVoters(set(&[1, 2])));
        check(
            &[1, 2, 4],
            &[1, 2],
            &[3, 4],
            &[4],
            Step::RemoveLearners(set(&[3])),
        );
        check(&[1, 2, 4], &[1, 2, 4], &[3], &[], Step::RemoveLearners(set(&[3])));
        check(&[2], &[1], &[2], &[2], Step::Wait(set(&[2])));
    }
}
