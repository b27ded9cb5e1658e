//! The leader's loop that keeps every partition on a node that answers.
//!
//! Plan, check, execute: what is seen (peers, members, placement) goes into the pure planner; its plan is proposed with
//! the revision it was made from, and the machine refuses it if anything changed meanwhile. Every node runs the loop;
//! only one that leads, confirmed by a majority, acts.

use std::collections::BTreeMap;
use std::time::Duration;

use jarvis_machine::command::{Command, Move, MoveReason};
use jarvis_machine::planner::{self, PlanInput};
use jarvis_machine::rows::{NodeIntent, NodeRow};
use jarvis_machine::storage::StoreError;
use jarvis_mesh::api::{Mesh, PeerState};
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica};
use jarvis_types::NodeId;
use tokio::time::Instant;

use crate::host::KindSpec;
use crate::metrics;

/// Times of the controller.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// How long a peer may be disconnected before its partitions move. The mesh has waited its own idle time by then.
    pub lost_after: Duration,
    /// How long a new node must have answered before partitions move only to be balanced.
    pub balance_after: Duration,
    /// The same for a node that was lost and has come back: it may go again.
    pub balance_after_return: Duration,
    /// How often the loop looks when nothing wakes it.
    pub look_every: Duration,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_millis(50),
            balance_after: Duration::from_millis(300),
            balance_after_return: Duration::from_secs(5),
            look_every: Duration::from_millis(500),
        }
    }
}

/// Deadline of one proposal: past it the world has changed and a new plan is due.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The loop.
pub(crate) struct Controller {
    settings: ControllerSettings,
    kinds: Vec<KindSpec>,
    replica: Replica,
    mesh: Mesh,
    seen: BTreeMap<NodeId, Seen>,
    started: Instant,
}

/// A peer as this node has seen it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    up: bool,
    since: Instant,
    /// It was lost before.
    returned: bool,
}

impl Controller {
    pub(crate) fn new(
        settings: ControllerSettings,
        kinds: Vec<KindSpec>,
        replica: Replica,
        mesh: Mesh,
    ) -> Self {
        Self {
            settings,
            kinds,
            replica,
            mesh,
            seen: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut peers = self.mesh.peers();
        let mut state = self.replica.state();
        let mut changes = self.replica.changes();
        loop {
            self.look(&peers.borrow_and_update());
            let leads = state.borrow_and_update().leads;
            if leads && let Err(error) = self.act().await {
                tracing::warn!(%error, "placement could not be looked after");
            }
            let wait = if leads {
                self.next_look()
            } else {
                Duration::from_secs(3600)
            };
            tokio::select! {
                changed = peers.changed() => if changed.is_err() { return },
                changed = state.changed() => if changed.is_err() { return },
                change = changes.recv(), if leads => {
                    if matches!(change, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                        return;
                    }
                    while changes.try_recv().is_ok() {}
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn look(&mut self, peers: &[jarvis_mesh::api::Peer]) {
        let now = Instant::now();
        let started = self.started;
        for peer in peers {
            let up = peer.state == PeerState::Up;
            let first = Seen {
                up,
                since: if up { now } else { started },
                returned: false,
            };
            let entry = self.seen.entry(peer.member.node).or_insert(first);
            if entry.up != up {
                // Only one that was connected before can have been lost; a node that joins is met for the first time.
                let returned = entry.returned || entry.up;
                *entry = Seen {
                    up,
                    since: now,
                    returned,
                };
            }
        }
        self.seen
            .retain(|node, _| peers.iter().any(|peer| peer.member.node == *node));
    }

    /// A peer that has just gone is looked at again as soon as it counts as lost.
    fn next_look(&self) -> Duration {
        let lost_after = self.settings.lost_after;
        let pending = self
            .seen
            .values()
            .filter(|seen| !seen.up)
            .map(|seen| seen.since.elapsed());
        pending
            .filter(|gone| *gone <= lost_after)
            .map(|gone| lost_after - gone + Duration::from_millis(1))
            .min()
            .unwrap_or(self.settings.look_every)
    }

    fn answers(&self, node: NodeId) -> bool {
        node == self.replica.node()
            || self
                .seen
                .get(&node)
                .is_some_and(|seen| seen.up || seen.since.elapsed() <= self.settings.lost_after)
    }

    /// Whether every member has answered for long enough that moving for balance's sake makes sense.
    fn is_calm(&self, nodes: &[(NodeId, NodeRow)]) -> bool {
        nodes.iter().all(|(node, row)| {
            *node == self.replica.node()
                || self.seen.get(node).is_some_and(|seen| {
                    let settings = &self.settings;
                    let wait = if seen.returned {
                        settings.balance_after_return
                    } else {
                        settings.balance_after
                    };
                    !seen.up && !row.healthy || seen.up && seen.since.elapsed() >= wait
                })
        })
    }

    async fn act(&self) -> Result<(), ControlError> {
        self.register_kinds().await?;
        for (change, command) in self.decide()? {
            match self.propose(command).await {
                Ok(()) => change.note(),
                // Another plan was applied in between: look again.
                Err(ControlError::Propose(ProposeError::Refused(refusal))) => {
                    tracing::debug!(%refusal, "plan refused");
                    return Ok(());
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    async fn register_kinds(&self) -> Result<(), ControlError> {
        let known = self.replica.local()?.query().kinds()?;
        for spec in &self.kinds {
            if !known.iter().any(|(kind, _)| *kind == spec.id) {
                let (kind, name, partitions) = (spec.id, spec.name.to_owned(), spec.partitions);
                self.propose(Command::RegisterKind {
                    kind,
                    name,
                    partitions,
                })
                .await?;
            }
        }
        Ok(())
    }

    /// What is to be proposed, from one picture of the tables. Only the first `Place` is based on a revision that will
    /// still be true; the rest of a plan follows when that has been applied.
    fn decide(&self) -> Result<Vec<(Noted, Command)>, ControlError> {
        let view = self.replica.local()?;
        let query = view.query();
        let nodes = query.nodes()?;
        let based_on = query.placement_revision()?;
        let health: Vec<(NodeId, bool)> = (nodes.iter())
            .filter(|(_, row)| row.intent != NodeIntent::Joining)
            .map(|(node, row)| (*node, row.healthy, self.answers(*node)))
            .filter(|(_, was, is)| was != is)
            .map(|(node, _, is)| (node, is))
            .collect();
        let mut input = PlanInput::read(&query, self.is_calm(&nodes))?;
        for (node, row) in &nodes {
            input.set_health(*node, row, self.answers(*node));
        }
        let plan = planner::plan(&input);
        let mut commands: Vec<(Noted, Command)> = Vec::new();
        if let Some((reason, moves)) = plan.batches().into_iter().next() {
            commands.push((
                Noted::moves(reason, &moves, &health),
                Command::Place {
                    based_on,
                    health,
                    moves,
                    reason,
                },
            ));
        } else if !health.is_empty() {
            let reason = MoveReason::Balance;
            commands.push((
                Noted::moves(reason, &[], &health),
                Command::Place {
                    based_on,
                    health,
                    moves: Vec::new(),
                    reason,
                },
            ));
        } else {
            commands.extend(drained(&nodes, &query, &self.kinds)?);
        }
        Ok(commands)
    }

    async fn propose(&self, command: Command) -> Result<(), ControlError> {
        let options = ProposeOptions {
            fence: None,
            request: None,
            deadline: PROPOSE_DEADLINE,
        };
        self.replica.propose(command, options).await?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error(transparent)]
    Read(#[from] jarvis_replica::api::ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the log says once a command was applied.
enum Noted {
    Moves {
        reason: MoveReason,
        count: usize,
        health: Vec<(NodeId, bool)>,
    },
    Drained(NodeId),
}

impl Noted {
    fn moves(reason: MoveReason, moves: &[Move], health: &[(NodeId, bool)]) -> Self {
        Self::Moves {
            reason,
            count: moves.len(),
            health: health.to_vec(),
        }
    }

    fn note(self) {
        match self {
            Self::Moves {
                reason,
                count,
                health,
            } => {
                for (node, healthy) in health {
                    if healthy {
                        tracing::info!(%node, "node answers again");
                    } else {
                        tracing::warn!(%node, "node does not answer; its work moves to the others");
                    }
                }
                if count > 0 {
                    let name = format!("{reason:?}");
                    ::metrics::counter!(metrics::MOVES, "reason" => name).increment(count as u64);
                    tracing::info!(?reason, partitions = count, "partitions placed");
                }
            }
            Self::Drained(node) => tracing::info!(%node, "node is drained and may be stopped"),
        }
    }
}

/// Draining nodes that own nothing any more.
fn drained(
    nodes: &[(NodeId, NodeRow)],
    query: &jarvis_machine::query::Query<'_>,
    kinds: &[KindSpec],
) -> Result<Vec<(Noted, Command)>, StoreError> {
    let mut commands = Vec::new();
    for (node, _) in nodes.iter().filter(|(_, row)| row.intent == NodeIntent::Draining) {
        let mut owns = false;
        for kind in kinds {
            owns |= query
                .placement(kind.id)?
                .iter()
                .any(|row| row.owner == Some(*node));
        }
        if !owns {
            commands.push((
                Noted::Drained(*node),
                Command::SetIntent {
                    node: *node,
                    intent: NodeIntent::Drained,
                },
            ));
        }
    }
    Ok(commands)
}
