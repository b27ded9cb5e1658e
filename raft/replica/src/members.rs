//! Keeps Raft's membership as the table of nodes wants it, and the voters at one, three or five that answer. Every node
//! watches who is away; only the leader acts.
//!
//! ```text
//!  table of nodes ─► every member is a learner at least ─► caught up? ─► voters as the planner wants ─► others leave
//!                                                   heartbeats, disks ──────┘
//! ```
//!
//! What comes next is decided in [`crate::autopilot`]; here it is looked for, done, and told to whoever reads `status`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_machine::change::Change;
use jarvis_machine::query::Query;
use jarvis_types::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::absence::{Absences, Disks};
use crate::api::ReplicaState;
use crate::autopilot::{Picture, Step};
use crate::cluster_time::ClusterTime;
use crate::leadership;
use crate::log::SyncMeter;
use crate::notes::{self, Note};
use crate::pilot::RevertedNodes;
use crate::replica::lock;
use crate::state::StateShared;
use crate::types::Raft;

/// A learner this close to the end of the log may vote: it keeps up.
const CAUGHT_UP_ENTRIES: u64 = 128;

/// Pause after a step that failed, doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between steps that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a leader looks while something waits: for a learner to catch up, for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a leader looks whether somebody has been away for too long, or a disk has become slow.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(2);

/// A membership change that takes longer has lost its majority; the next leader begins anew.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Who has not been heard for so many leases does not answer. More than one: a heartbeat is sent less than three times a
/// lease, and one may be lost.
const SILENT_AFTER_LEASES: u32 = 2;

/// A log that takes this part of the leader's lease to sync is slow: a few of those, and elections fail.
const SLOW_PART_OF_LEASE: u32 = 4;

/// A leader that has led for so long is not in the middle of a failover.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What decides when a voter is replaced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long a voter may be away; zero: for ever.
    pub(crate) replace_after: Duration,
    /// Whether a slow disk may cost its node the vote.
    pub(crate) demote_slow_disk: bool,
    /// The leader's lease.
    pub(crate) lease: Duration,
}

impl Rules {
    /// Average sync time from which on a disk is slow.
    pub(crate) fn slow_at(&self) -> Duration {
        self.lease / SLOW_PART_OF_LEASE
    }
}

/// Keeps the membership right.
pub(crate) struct Reconciler {
    pub(crate) node: NodeId,
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<StateShared>,
    pub(crate) state: watch::Receiver<ReplicaState>,
    pub(crate) rules: Rules,
    pub(crate) own_disk: SyncMeter,
    /// The members' disks, which tell of themselves.
    pub(crate) disks: Arc<Mutex<Disks>>,
    /// The members whose disks are older copies.
    pub(crate) reverted: RevertedNodes,
    /// The members' clocks.
    pub(crate) time: Arc<ClusterTime>,
    /// What people should know, for this node and those that ask it.
    pub(crate) notes: watch::Sender<Vec<Note>>,
    pub(crate) absences: Absences,
    /// Since when it leads.
    pub(crate) leads_since: Option<Instant>,
}

impl Reconciler {
    /// Until the replica ends.
    pub(crate) async fn run(mut self) {
        let mut changes = self.shared.changes.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            // Only who has applied what was decided before it led knows who the members are.
            let acts = |state: &ReplicaState| state.leads && state.caught_up;
            let leads = acts(&self.state.borrow_and_update());
            if !leads {
                self.leads_since = None;
            }
            let wait = if leads {
                let step = self.look_and_decide();
                match self.take(&step).await {
                    Ok(()) => {
                        pause = FIRST_PAUSE;
                        match step {
                            Step::Nothing => LOOK_AROUND_EVERY,
                            Step::Wait(_) | Step::HandOver(_) => LOOK_EVERY,
                            _ => Duration::ZERO,
                        }
                    }
                    Err(error) => {
                        tracing::warn!(?step, %error, "a change of membership failed; it is tried again");
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        pause
                    }
                }
            } else {
                self.watch_absences();
                self.notes
                    .send_if_modified(|notes| !std::mem::take(notes).is_empty());
                Duration::MAX
            };
            let asleep = async {
                if wait == Duration::MAX {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                () = asleep => {}
                turned = self.state.wait_for(|state| acts(state) != leads) => if turned.is_err() { return },
                // A step that failed is not tried again sooner because of it.
                asked = nodes_changed(&mut changes), if pause == FIRST_PAUSE => if !asked { return },
            }
        }
    }

    /// Whoever the table says does not answer is away.
    fn watch_absences(&mut self) {
        let Some(nodes) = self.nodes() else { return };
        let away = nodes
            .iter()
            .filter(|(node, row)| *node != self.node && !row.healthy)
            .map(|(node, _)| *node)
            .collect();
        self.absences.note(&away, Instant::now());
    }

    fn nodes(&self) -> Option<Vec<(NodeId, jarvis_machine::rows::NodeRow)>> {
        let read = self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).nodes());
        read.inspect_err(|error| tracing::error!(%error, "the table of nodes cannot be read"))
            .ok()
    }

    fn look_and_decide(&mut self) -> Step {
        let Some(nodes) = self.nodes() else {
            return Step::Nothing;
        };
        let at = Instant::now();
        let now = self.raft.metrics().borrow_watched().clone();
        let members = now.membership_config.membership();
        let last = now.last_log_index.unwrap_or(0);
        let replication = now.replication.unwrap_or_default();
        let silent_after = self.rules.lease * SILENT_AFTER_LEASES;
        let mut answering: BTreeSet<NodeId> = leadership::acked_ago(&self.raft)
            .into_iter()
            .filter(|(_, ago)| ago.is_some_and(|ago| ago <= silent_after))
            .map(|(node, _)| node)
            .collect();
        answering.insert(self.node);
        let reverted = lock(&self.reverted).clone();
        answering.retain(|node| !reverted.contains_key(node));
        let keeps_up = |node: &u64| {
            let matched = replication.get(node).copied().flatten();
            matched.is_some_and(|matched| matched.index + CAUGHT_UP_ENTRIES >= last)
        };
        let mut picture = Picture {
            own: self.node,
            voters: members.voter_ids().map(NodeId).collect(),
            learners: members.learner_ids().map(NodeId).collect(),
            caught_up: replication
                .keys()
                .filter(|node| keeps_up(node))
                .copied()
                .map(NodeId)
                .collect(),
            answering,
            nodes,
            ..Picture::default()
        };
        picture.caught_up.insert(self.node);
        picture.settled = self.leads_since.get_or_insert(at).elapsed() >= SETTLED_AFTER;
        let away = picture
            .nodes
            .iter()
            .filter(|(node, row)| *node != self.node && (!row.healthy || !picture.answering.contains(node)))
            .map(|(node, _)| *node)
            .collect();
        self.absences.note(&away, at);
        picture.gone = &self.absences.longer_than(self.rules.replace_after, at) - &picture.answering;
        let notes = {
            let mut disks = lock(&self.disks);
            disks.note(self.node, self.own_disk.read(), self.rules.slow_at(), at);
            disks.forget_old(at);
            if self.rules.demote_slow_disk {
                picture.slow = disks.slow_for_long(at);
            }
            let decision = picture.decide();
            let wrong_clocks = self.time.wrong_clocks();
            let clocks = (&*wrong_clocks, self.time.ledger_ahead_ms());
            let disks = (&*disks, &reverted);
            let notes = notes::tell(
                &picture,
                &decision,
                &self.absences,
                disks,
                clocks,
                &self.rules,
                at,
            );
            (decision.step, notes)
        };
        self.notes
            .send_if_modified(|told| std::mem::replace(told, notes.1.clone()) != notes.1);
        notes.0
    }

    async fn take(&self, step: &Step) -> Result<(), String> {
        let ids = |nodes: &BTreeSet<NodeId>| nodes.iter().map(|node| node.0).collect::<BTreeSet<u64>>();
        let change = match step {
            Step::Nothing | Step::Wait(_) => return Ok(()),
            Step::HandOver(to) => {
                tracing::info!(%to, "handing the leadership over: this node is a witness, or its disk is slow");
                return leadership::hand_over_here(&self.raft, &self.shared, Some(*to)).await;
            }
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
