//! Upkeep of the replicated state by whoever leads: log marks of the voters, and ledger time where a clock has moved it ahead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jarvis_machine::command::Command;
use jarvis_machine::level::MARKS_LEVEL;
use jarvis_machine::query::Query;
use jarvis_machine::rows::LogMark;
use jarvis_machine::storage::StoreError;
use jarvis_types::NodeId;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{ProposeOptions, ReplicaState};
use crate::cluster_time::{ClusterTime, MAX_CLOCK_LEAD_MS};
use crate::log::LogStore;
use crate::proposer::Proposer;
use crate::state::StateShared;
use crate::types::Raft;

/// How often the leader looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two entries that raise marks: what a voter acknowledged later than that is not missed on an older copy of its disk.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// Entries that a mark may be behind for good: the one that raised it and one that keeps house. A cluster in which nothing
/// happens writes nothing.
const IDLE_ENTRIES: u64 = 2;

/// How long ledger time must be ahead before it is corrected: a clock that is being set moves in steps.
const AHEAD_FOR: Duration = Duration::from_secs(6);

/// How long a proposal may take; the next look proposes anew.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The leader's upkeep.
pub(crate) struct Upkeep {
    pub(crate) node: NodeId,
    pub(crate) raft: Raft,
    pub(crate) state: watch::Receiver<ReplicaState>,
    pub(crate) shared: Arc<StateShared>,
    pub(crate) time: Arc<ClusterTime>,
    pub(crate) proposer: Arc<Proposer>,
    pub(crate) log: LogStore,
    /// Since when ledger time has been ahead, as far as this leader has seen.
    pub(crate) ahead_since: Option<Instant>,
    /// When marks were raised last.
    pub(crate) marked: Option<Instant>,
}

impl Upkeep {
    /// Until the replica ends.
    pub(crate) async fn run(mut self) {
        let mut state = self.state.clone();
        while state
            .wait_for(|state| state.leads && state.caught_up)
            .await
            .is_ok()
        {
            if self.shared.level() >= MARKS_LEVEL {
                match self.due() {
                    Ok(commands) => {
                        for command in commands {
                            self.propose(command).await;
                        }
                    }
                    Err(error) => tracing::error!(%error, "the tables could not be read for upkeep"),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn propose(&self, command: Command) {
        let options = ProposeOptions {
            fence: None,
            request: None,
            deadline: PROPOSE_DEADLINE,
        };
        if let Err(error) = self.proposer.propose(command, options).await {
            tracing::debug!(%error, "upkeep was not decided; it is proposed anew");
        }
    }

    fn due(&mut self) -> Result<Vec<Command>, StoreError> {
        let tables = self.shared.store.read()?;
        let query = Query(&*tables);
        let now = Instant::now();
        let mut due = Vec::new();
        due.extend(self.correction(query.ledger_ms()?, now));
        if self.marked.is_none_or(|at| now - at >= MARK_EVERY) {
            let members = query.nodes()?.into_iter().map(|(node, _)| node).collect();
            let known = query.log_marks()?;
            let marks = self.acknowledged().map(|now| now.risen(&members, &known));
            if let Some(marks) = marks.filter(|marks| !marks.is_empty()) {
                self.marked = Some(now);
                due.push(Command::NoteLogs { marks });
            }
        }
        Ok(due)
    }

    /// Takes ledger time back to cluster time once it has been ahead for a while.
    fn correction(&mut self, found_ms: u64, now: Instant) -> Option<Command> {
        let agreed_ms = self.time.agreed_ms()?;
        if found_ms <= agreed_ms.saturating_add(MAX_CLOCK_LEAD_MS) {
            self.ahead_since = None;
            return None;
        }
        let since = *self.ahead_since.get_or_insert(now);
        if now - since < AHEAD_FOR {
            return None;
        }
        tracing::warn!(
            ahead_ms = found_ms - agreed_ms,
            "ledger time is ahead of the voters' clocks, because a clock was: it is corrected"
        );
        Some(Command::CorrectTime {
            found_ms,
            to_ms: agreed_ms,
        })
    }

    /// What each voter has acknowledged, as the leader knows it.
    fn acknowledged(&self) -> Option<Acknowledged> {
        let now = self.raft.metrics().borrow_watched().clone();
        if now.state != ServerState::Leader {
            return None;
        }
        let replication = now.replication.unwrap_or_default();
        let acknowledged = |voter: u64| match voter == self.node.0 {
            true => Some(self.log.synced_index()),
            false => Some(replication.get(&voter).copied().flatten()?.index),
        };
        let voters = now.membership_config.membership().voter_ids();
        Some(Acknowledged {
            term: now.current_term,
            committed: now.local_committed.map_or(0, |last| last.index),
            voters: voters
                .filter_map(|voter| Some((NodeId(voter), acknowledged(voter)?)))
                .collect(),
        })
    }
}

/// How far the logs of the voters go.
struct Acknowledged {
    term: u64,
    committed: u64,
    voters: Vec<(NodeId, u64)>,
}

impl Acknowledged {
    /// The voters' marks where one of them has risen by more than upkeep itself adds. Only what is committed is marked: the
    /// command may be decided by a later leader, which has cut off what this one could not commit.
    fn risen(&self, members: &BTreeSet<NodeId>, known: &[(NodeId, LogMark)]) -> Vec<(NodeId, LogMark)> {
        let mark = |index: u64| LogMark {
            term: self.term,
            index: index.min(self.committed),
        };
        let of_members = self.voters.iter().filter(|(voter, _)| members.contains(voter));
        let marks: Vec<_> = of_members.map(|(voter, index)| (*voter, mark(*index))).collect();
        let before = |node: NodeId| {
            let mark = known.iter().find(|(known, _)| *known == node);
            mark.map_or(0, |(_, mark)| mark.index)
        };
        let has_risen = |(node, mark): &(NodeId, LogMark)| mark.index > before(*node) + IDLE_ENTRIES;
        if marks.iter().any(has_risen) {
            marks
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_of_members_and_of_what_is_committed() {
        let members = BTreeSet::from([1, 2, 3].map(NodeId));
        let known = [1, 2, 3].map(|node| (NodeId(node), LogMark { term: 3, index: 100 }));
        let risen = |committed, voters: &[(u64, u64)]| {
            let acknowledged = Acknowledged {
                term: 4,
                committed,
                voters: voters
                    .iter()
                    .map(|(node, index)| (NodeId(*node), *index))
                    .collect(),
            };
            let marks = acknowledged.risen(&members, &known);
            assert!(marks.iter().all(|(_, mark)| mark.term == 4));
            let marks = marks.into_iter().map(|(node, mark)| (node.0, mark.index));
            marks.collect::<Vec<_>>()
        };
        for (committed, voters, expected) in [
            (
                110,
                &[(1, 110), (2, 108), (3, 90)][..],
                &[(1, 110), (2, 108), (3, 90)][..],
            ),
            // The leader's own log goes on while it is cut off.
            (
                110,
                &[(1, 300), (2, 110), (3, 105)],
                &[(1, 110), (2, 110), (3, 105)],
            ),
            (102, &[(1, 300), (2, 102), (3, 102)], &[]),
            // One that was removed takes none with it.
            (110, &[(1, 110), (2, 110), (9, 110)], &[(1, 110), (2, 110)]),
        ] {
            assert_eq!(risen(committed, voters), expected, "{voters:?}");
        }
    }
}
