//! Who leads: what this node knows of it, as a watch, and handing it over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_machine::query::Query;
use jarvis_machine::rows::{NodeIntent, NodeRole, NodeRow};
use jarvis_mesh::api::Lane;
use jarvis_types::{NodeId, codec};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::sync::watch;

use crate::api::{Leading, ReplicaState};
use crate::metrics;
use crate::replica::ReplicaInner;
use crate::state::StateShared;
use crate::transport::{orders, services};
use crate::types::{LogId, RPC_VERSION, Raft, TypeConfig};

/// Between two looks at whether the majority still answers the leader, as a part of its lease.
const LOOKS_A_LEASE: u32 = 4;

/// How long a leader elsewhere may take to answer that it was asked to hand over.
const ASK_PATIENCE: Duration = Duration::from_millis(500);

/// At most this often are changes told that are only of indexes: under load they come with every entry.
const INDEX_CHANGES_APART: Duration = Duration::from_millis(5);

/// Keeps the watches current.
pub(crate) struct StateWatcher {
    pub(crate) node: NodeId,
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<StateShared>,
    pub(crate) lease: Duration,
    pub(crate) state: watch::Sender<ReplicaState>,
    pub(crate) leader: watch::Sender<Option<NodeId>>,
}

impl StateWatcher {
    /// Until openraft ends. The last thing told is that nobody leads: openraft may end without a word, by a panic, and whoever
    /// went on with what was known before would ask in vain, again and again.
    pub(crate) async fn run(self) {
        self.watch().await;
        let last = self.state.borrow().clone();
        self.publish(ReplicaState {
            leader: None,
            leads: false,
            caught_up: false,
            ..last
        });
        tracing::error!("raft has ended on this node");
    }

    async fn watch(&self) {
        let mut raft_metrics = self.raft.metrics();
        let mut applied = self.shared.applied.subscribe();
        let mut catch_up_to: Option<u64> = None;
        loop {
            let now = raft_metrics.borrow_watched().clone();
            let mut state = self.state_of(&now, *applied.borrow_and_update());
            if catch_up_to.is_none() {
                catch_up_to = confirmed_commit(&now).map(|log_id| log_id.index);
            }
            state.caught_up = catch_up_to.is_some_and(|index| state.applied >= index);
            if let Err(error) = &now.running_state {
                tracing::error!(%error, "raft cannot go on");
                return;
            }
            let news = self.publish(state);
            if news == News::Indexes {
                tokio::time::sleep(INDEX_CHANGES_APART).await;
            }
            // Losing the majority changes nothing that could be watched, so a leader looks now and then.
            let look = async {
                if now.state == ServerState::Leader {
                    tokio::time::sleep(self.lease / LOOKS_A_LEASE).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = look => {}
                changed = raft_metrics.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    fn state_of(&self, now: &RaftMetrics<TypeConfig>, applied: u64) -> ReplicaState {
        let members = now.membership_config.membership();
        let voters: Vec<NodeId> = members.voter_ids().map(NodeId).collect();
        let alone = voters == [self.node];
        let confirmed = now.last_quorum_acked.is_some_and(|at| at.elapsed() < self.lease);
        let index = |log_id: Option<LogId>| log_id.map_or(0, |l| l.index);
        ReplicaState {
            leader: now.current_leader.map(NodeId),
            term: now.current_term,
            committed: index(now.cluster_committed.max(now.local_committed)).max(applied),
            applied,
            leads: now.state == ServerState::Leader && (alone || confirmed),
            learners: members.learner_ids().map(NodeId).collect(),
            voters,
            joint: members.get_joint_config().len() > 1,
            caught_up: false,
        }
    }

    /// Tells who watches.
    fn publish(&self, state: ReplicaState) -> News {
        let (leader, term) = (state.leader, state.term);
        let mut news = News::None;
        self.state.send_if_modified(|old| {
            if *old == state {
                return false;
            }
            metrics::state(&state);
            let same_indexes = ReplicaState {
                committed: state.committed,
                applied: state.applied,
                ..old.clone()
            };
            news = if same_indexes == state {
                News::Indexes
            } else {
                News::More
            };
            *old = state;
            true
        });
        // After the state, so that whoever waited for a leader finds it there.
        let changed = self
            .leader
            .send_if_modified(|old| std::mem::replace(old, leader) != leader);
        if let (true, Some(leader)) = (changed, leader) {
            metrics::leader_changed();
            tracing::info!(%leader, term, "a leader is known");
        }
        news
    }
}

/// What a look at openraft's metrics brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Indexes,
    More,
}

/// What is committed as far as a leader of this term has said: everything that was committed before it is included,
/// which an earlier leader's word would not assure.
fn confirmed_commit(now: &RaftMetrics<TypeConfig>) -> Option<LogId> {
    now.current_leader?;
    now.cluster_committed
        .filter(|committed| committed.leader_id.term == now.current_term)
}

/// This node's leadership, if it leads as far as it knows.
pub(crate) fn leading(raft: &Raft) -> Option<Leading> {
    let now = raft.metrics().borrow_watched().clone();
    if now.state != ServerState::Leader || now.running_state.is_err() {
        return None;
    }
    let members = now.membership_config.membership();
    let alone = members.get_joint_config().len() == 1 && members.voter_ids().eq([*raft.node_id()]);
    // Looked at before the time that has passed is: the difference errs to the earlier side.
    let looked = tokio::time::Instant::now();
    let quorum_acked_at = if alone {
        Some(looked)
    } else {
        now.last_quorum_acked
            .and_then(|at| looked.checked_sub(at.elapsed()))
    };
    Some(Leading {
        term: now.current_term,
        quorum_acked_at,
        last_log: now.last_log_index.unwrap_or(0),
    })
}

/// How long ago each other node last answered this one, if this one leads.
pub(crate) fn acked_ago(raft: &Raft) -> BTreeMap<NodeId, Option<Duration>> {
    let heartbeat = raft.metrics().borrow_watched().heartbeat.clone();
    let own = *raft.node_id();
    heartbeat
        .into_iter()
        .flatten()
        .filter(|(node, _)| *node != own)
        .map(|(node, at)| (NodeId(node), at.map(|at| at.elapsed())))
        .collect()
}

/// Asks `to`, or the voter that suits best, to stand. Only the leader can.
pub(crate) async fn hand_over_here(
    raft: &Raft,
    tables: &StateShared,
    to: Option<NodeId>,
) -> Result<(), String> {
    let to = match to {
        Some(to) => to.0,
        None => best_successor(raft, tables).ok_or("there is no other voter")?,
    };
    if !raft.is_leader() {
        return Err("this node does not lead".to_owned());
    }
    raft.trigger()
        .transfer_leader(to)
        .await
        .map_err(|e| e.to_string())
}

/// Has whoever leads hand over to `to`, and waits until it has. An error where nobody took it in time.
pub(crate) async fn transfer(
    replica: &ReplicaInner,
    to: Option<NodeId>,
    deadline: Duration,
) -> Result<(), tokio::time::error::Elapsed> {
    let mut leader = replica.leader.clone();
    let from = *leader.borrow();
    // So long a successor waits for the last entries to reach its disk; where they came too late it does nothing, and the
    // leader, which proposes nothing from the moment it was asked, has to be asked again.
    let ask_again = Duration::from_millis(replica.raft.config().election_timeout_min);
    let done = move |now: &Option<NodeId>| match to {
        Some(_) => *now == to,
        None => now.is_some() && *now != from,
    };
    tokio::time::timeout(deadline, async {
        while !done(&leader.borrow_and_update()) {
            if let Err(error) = ask_to_hand_over(replica, to).await {
                tracing::debug!(%error, "leadership is not handed over yet");
            }
            let taken = tokio::time::timeout(ask_again, leader.wait_for(|now| done(now))).await;
            let raft_has_ended = matches!(taken, Ok(Err(_)));
            drop(taken);
            if raft_has_ended {
                // Nobody will be seen to take it any more.
                std::future::pending::<()>().await;
            }
        }
    })
    .await
}

async fn ask_to_hand_over(replica: &ReplicaInner, to: Option<NodeId>) -> Result<(), String> {
    let leader = *replica.leader.borrow();
    match leader {
        None => Err("no leader is known".to_owned()),
        Some(leader) if leader == replica.node => hand_over_here(&replica.raft, &replica.state, to).await,
        Some(leader) => {
            let body = codec::encode_serde(RPC_VERSION, &to.map(|node| node.0)).map_err(|e| e.to_string())?;
            let (body, order) = (Bytes::from(body), orders::READ);
            let call =
                replica
                    .transport
                    .call(leader, Lane::Raft, services::HAND_OVER, order, body, ASK_PATIENCE);
            call.await.map(drop).map_err(|e| e.to_string())
        }
    }
}

fn best_successor(raft: &Raft, tables: &StateShared) -> Option<u64> {
    let now = raft.metrics().borrow_watched().clone();
    let own = *raft.node_id();
    let voters: Vec<u64> = now
        .membership_config
        .membership()
        .voter_ids()
        .filter(|voter| *voter != own)
        .collect();
    let nodes = tables.store.read().and_then(|tables| Query(&*tables).nodes());
    let nodes = nodes.unwrap_or_default();
    let suits = |voter: u64| {
        let row = nodes.iter().find(|(node, _)| node.0 == voter);
        row.is_some_and(|(_, row)| row.healthy && leads_gladly(row))
    };
    let matched = now.replication.unwrap_or_default();
    // Of equals the one that answered last: a dead node may be as far along as a live one.
    let answered = now.heartbeat.unwrap_or_default();
    voters.into_iter().max_by_key(|voter| {
        (
            suits(*voter),
            answered.get(voter).copied().flatten().map(|at| at.into_inner()),
            matched.get(voter).copied().flatten(),
        )
    })
}

/// Whether a node is one to lead: a witness is small and only votes, and one that was drained is about to go.
pub(crate) fn leads_gladly(row: &NodeRow) -> bool {
    row.role == NodeRole::Voter && row.intent == NodeIntent::Active
}
