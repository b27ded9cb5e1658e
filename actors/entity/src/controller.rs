//! The leader's loop that keeps every partition on a node that answers.
//!
//! ```text
//!  peers ─► Sight ─┐
//!  tables ─────────┴─► decide ─► planner ─► Step ─► proposed, refused if anything changed meanwhile
//! ```
//!
//! Plan, check, execute: what is seen (peers, members, placement) goes into the pure planner; its plan is proposed with
//! the revision it was made from, and the machine refuses it if anything changed meanwhile. Every node runs the loop;
//! only one that leads, confirmed by a majority, acts. Where all is as it should be, nothing is proposed.

mod noted;
mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_machine::command::{Command, Move, MoveReason, Seat};
use jarvis_machine::planner::{self, Balance, Plan, PlanInput};
use jarvis_machine::query::Query;
use jarvis_machine::rows::{Cause, NodeIntent, NodeNews, NodeRow};
use jarvis_machine::storage::StoreError;
use jarvis_mesh::api::Mesh;
use jarvis_replica::api::{Applied, ProposeError, ProposeOptions, Replica};
use jarvis_types::{Epoch, NodeId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use self::noted::Noted;
use self::sight::Sight;
use crate::host::KindSpec;
use crate::warm::Warm;

/// Times of the controller.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// How long a peer whose connection was closed may be gone before its partitions move. One whose process has ended is not
    /// waited for, and for one that fell silent the mesh has waited its own idle time.
    pub lost_after: Duration,
    /// How long a new node must have answered before partitions move only to be balanced.
    pub balance_after: Duration,
    /// The same for a node that was lost and has come back: it may go again.
    pub balance_after_return: Duration,
    /// A node that comes back is given its share in so many steps, so that nobody notices; one that is new to the cluster gets
    /// it at once.
    pub balance_steps: u32,
    /// Between two such steps.
    pub balance_step_every: Duration,
    /// How often the loop looks when nothing wakes it.
    pub look_every: Duration,
    /// The highest cluster level this node speaks.
    pub speaks_level: u32,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_millis(50),
            balance_after: Duration::from_millis(300),
            balance_after_return: Duration::from_secs(5),
            balance_steps: 8,
            balance_step_every: Duration::from_secs(1),
            look_every: Duration::from_millis(500),
            speaks_level: jarvis_machine::LEVEL,
        }
    }
}

/// Deadline of one proposal: past it the world has changed and a new plan is due.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The level at which moves say what was seen of nodes.
const CAUSES_LEVEL: u32 = 2;

/// The loop.
pub(crate) struct Controller {
    settings: ControllerSettings,
    kinds: Vec<KindSpec>,
    replica: Replica,
    mesh: Mesh,
    sight: Sight,
    /// Has new owners make ready.
    warm: Option<Warm>,
    /// When partitions were last moved only to be balanced, a few at a time.
    stepped: Option<Instant>,
}

/// Something to be proposed.
struct Step {
    command: Command,
    noted: Noted,
    /// Since when the work had nobody, and what is moved for it; where that is to be kept.
    rescue: Option<(Instant, Vec<Seat>)>,
    /// It moves a few partitions of many that are to be balanced.
    is_part: bool,
}

impl Step {
    fn new(noted: Noted, command: Command) -> Self {
        Self {
            command,
            noted,
            rescue: None,
            is_part: false,
        }
    }
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
            sight: Sight::new(replica.node()),
            replica,
            mesh,
            warm: None,
            stepped: None,
        }
    }

    /// Has partitions handed over warm where both owners live.
    pub(crate) fn warm(mut self, warm: Warm) -> Self {
        self.warm = Some(warm);
        self
    }

    pub(crate) async fn run(mut self) {
        let mut peers = self.mesh.peers();
        let mut state = self.replica.state();
        let mut changes = None;
        loop {
            self.sight.look(&peers.borrow_and_update());
            let leads = state.borrow_and_update().leads;
            // Whatever is not read is kept for who may still read it: thousands of changes. Only who leads listens.
            changes = match changes {
                Some(changes) if leads => Some(changes),
                _ => leads.then(|| self.replica.changes()),
            };
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
                open = next_change(&mut changes) => if !open { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// A peer that has just gone is looked at again as soon as it counts as lost, and a step is taken when it is due.
    fn next_look(&self) -> Duration {
        let tick = Duration::from_millis(1);
        let loss = self.sight.next_loss(&self.settings).map(|wait| wait + tick);
        let step = self.until_step().map(|wait| wait + tick);
        let look = Some(self.settings.look_every);
        [loss, step, look].into_iter().flatten().min().unwrap_or(tick)
    }

    /// How long until partitions may be moved again a few at a time; none where they may.
    fn until_step(&self) -> Option<Duration> {
        let gone = self.stepped?.elapsed();
        (self.settings.balance_step_every)
            .checked_sub(gone)
            .filter(|wait| !wait.is_zero())
    }

    async fn act(&mut self) -> Result<(), ControlError> {
        self.register_kinds().await?;
        for step in self.decide()? {
            match self.carry_out(step).await {
                Ok(()) => {}
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

    /// Has one step decided, and what came of it kept.
    async fn carry_out(&mut self, step: Step) -> Result<(), ControlError> {
        let mut peers = self.mesh.peers();
        let lost = peers.wait_for(|peers| self.sight.misses_any(peers));
        tokio::select! {
            biased;
            ready = self.make_ready(&step.command) => ready?,
            // Who has just gone comes first, and may be the very node that was to take over: another plan is due.
            _ = lost => return Ok(()),
        }
        self.propose(step.command).await?;
        step.noted.note();
        if step.is_part {
            self.stepped = Some(Instant::now());
        }
        if let Some((since, moves)) = step.rescue {
            let took_ms = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
            tracing::info!(took_ms, partitions = moves.len(), "taken over");
            self.propose(Command::NoteTakeOver { moves, took_ms }).await?;
        }
        Ok(())
    }

    /// Has the new owners of what moves from nodes that live make ready for it. Bounded, and never a reason not to move.
    async fn make_ready(&self, command: &Command) -> Result<(), ControlError> {
        let (Command::Place { moves, reason, .. } | Command::PlaceBecause { moves, reason, .. }) = command
        else {
            return Ok(());
        };
        let Some(warm) = &self.warm else {
            return Ok(());
        };
        if !matches!(reason, MoveReason::Drain | MoveReason::Balance) || moves.is_empty() {
            return Ok(());
        }
        let mut owners = BTreeMap::new();
        let view = self.replica.local()?;
        for Move { kind, partition, .. } in moves {
            let placed = view.query().placement_of(*kind, *partition)?;
            owners.insert((*kind, *partition), placed.and_then(|row| row.owner));
        }
        drop(view);
        warm.prepare(moves, |place| owners.get(&place).copied().flatten())
            .await;
        Ok(())
    }

    async fn register_kinds(&self) -> Result<(), ControlError> {
        let view = self.replica.local()?;
        let (known, level) = (view.query().kinds()?, view.query().cluster_level()?);
        drop(view);
        for spec in self.kinds.iter().filter(|spec| spec.since_level <= level) {
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
    fn decide(&self) -> Result<Vec<Step>, ControlError> {
        let view = self.replica.local()?;
        let query = view.query();
        let nodes = query.nodes()?;
        let based_on = query.placement_revision()?;
        let answers = |node| self.sight.answers(node, &self.settings);
        let health: Vec<(NodeId, bool)> = (nodes.iter())
            .filter(|(_, row)| row.intent != NodeIntent::Joining)
            .map(|(node, row)| (*node, row.healthy, answers(*node)))
            .filter(|(_, was, is)| was != is)
            .map(|(node, _, is)| (node, is))
            .collect();
        let mut input = PlanInput::read(&query, Balance::Off)?;
        for (node, row) in &nodes {
            input.set_health(*node, row, answers(*node));
        }
        for spec in &self.kinds {
            input.set_needs(spec.id, spec.needs);
            input.add_preferences(spec.id, spec.prefers);
        }
        let (plan, is_part) = self.plan(&mut input, &query, &nodes)?;
        if let Some((reason, moves)) = plan.batches().into_iter().next() {
            let noted = Noted::Moves {
                reason,
                count: moves.len(),
                health: health.clone(),
            };
            let place = Place {
                based_on,
                health,
                moves,
                reason,
            };
            let step = if query.cluster_level()? >= CAUSES_LEVEL {
                self.place_because(place, noted, &plan, &input, &query)?
            } else {
                Step::new(noted, place.plain())
            };
            return Ok(vec![Step {
                is_part: is_part && reason == MoveReason::Balance,
                ..step
            }]);
        }
        if !health.is_empty() {
            let reason = MoveReason::Balance;
            let noted = Noted::Moves {
                reason,
                count: 0,
                health: health.clone(),
            };
            let moves = Vec::new();
            let place = Place {
                based_on,
                health,
                moves,
                reason,
            };
            return Ok(vec![Step::new(noted, place.plain())]);
        }
        let mut steps = drained(&nodes, &query, &self.kinds)?;
        if steps.is_empty() {
            steps.extend(self.raised(&nodes, &query)?);
        }
        Ok(steps)
    }

    /// The plan, and whether it moves only some of what is to be balanced. Nodes that never carried anything get their share at
    /// once: in a cluster that forms, or grows, nobody is used to them yet. One that comes back gets it a few at a time.
    fn plan(
        &self,
        input: &mut PlanInput,
        query: &Query<'_>,
        nodes: &[(NodeId, NodeRow)],
    ) -> Result<(Plan, bool), StoreError> {
        if self.until_step().is_some() {
            // What comes with the next step is found out then.
            return Ok((planner::plan(input), false));
        }
        if self.sight.is_calm(nodes, &self.settings) {
            input.balance = Balance::Full;
        }
        let full = planner::plan(input);
        let balancing = || {
            full.moves
                .iter()
                .filter(|planned| planned.reason == MoveReason::Balance)
        };
        let takers: BTreeSet<NodeId> = balancing().map(|planned| planned.to).collect();
        let mut is_part = false;
        for &taker in &takers {
            is_part = is_part || query.has_owned(taker)?;
        }
        if !is_part {
            return Ok((full, false));
        }
        let share = |to: NodeId| {
            let given = balancing().filter(|planned| planned.to == to).count();
            let owned = input.placements.iter().filter(|p| p.owner == Some(to)).count();
            u32::try_from(given + owned).unwrap_or(u32::MAX)
        };
        let largest = takers.iter().map(|&taker| share(taker)).max().unwrap_or(0);
        let steps = self.settings.balance_steps.max(1);
        input.balance = Balance::AtMost(largest.div_ceil(steps).max(1));
        Ok((planner::plan(input), true))
    }

    /// The same with what was seen of the nodes that partitions move from or to.
    fn place_because(
        &self,
        place: Place,
        noted: Noted,
        plan: &Plan,
        input: &PlanInput,
        query: &Query<'_>,
    ) -> Result<Step, StoreError> {
        let mut causes: Vec<Cause> = Vec::new();
        let mut since: Option<Instant> = None;
        for planned in plan.moves.iter().filter(|m| m.reason == place.reason) {
            let node = if place.reason == MoveReason::Balance {
                planned.to
            } else {
                let Some(from) = planned.from else { continue };
                from
            };
            if causes.iter().any(|known| known.node == node) {
                continue;
            }
            let news = match place.reason {
                MoveReason::FirstPlacement => continue,
                MoveReason::Balance if query.has_owned(node)? => NodeNews::Returned,
                MoveReason::Balance => NodeNews::Joined,
                MoveReason::Drain | MoveReason::OwnerLost => match query.node(node)? {
                    None => NodeNews::Removed,
                    Some(_) if place.reason == MoveReason::OwnerLost => {
                        let (at, news) = self.sight.loss(node).unzip();
                        since = since.into_iter().chain(at).min();
                        news.unwrap_or(NodeNews::Silent)
                    }
                    Some(row) if row.intent == NodeIntent::Active => NodeNews::Unfit,
                    Some(_) => NodeNews::Drained,
                },
            };
            causes.push(Cause { node, news });
        }
        let rescue = since.map(|since| (since, place.seats(input)));
        Ok(Step {
            rescue,
            ..Step::new(noted, place.because(causes))
        })
    }

    /// Raises the level as far as all members allow and this node knows.
    fn raised(&self, nodes: &[(NodeId, NodeRow)], query: &Query<'_>) -> Result<Option<Step>, StoreError> {
        let allowed = nodes.iter().map(|(_, row)| row.level).min().unwrap_or(0);
        let to = allowed.min(self.settings.speaks_level);
        let rises = query.cluster()?.is_some() && to > query.cluster_level()?;
        Ok(rises.then(|| Step::new(Noted::Level(to), Command::RaiseLevel { to })))
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

/// What a plan comes to, before it is known in which words it is proposed.
struct Place {
    based_on: u64,
    health: Vec<(NodeId, bool)>,
    moves: Vec<Move>,
    reason: MoveReason,
}

impl Place {
    fn plain(self) -> Command {
        Command::Place {
            based_on: self.based_on,
            health: self.health,
            moves: self.moves,
            reason: self.reason,
        }
    }

    fn because(self, causes: Vec<Cause>) -> Command {
        Command::PlaceBecause {
            based_on: self.based_on,
            health: self.health,
            moves: self.moves,
            reason: self.reason,
            causes,
        }
    }

    /// The partitions in the epochs that they will be in.
    fn seats(&self, input: &PlanInput) -> Vec<Seat> {
        let seat = |step: &Move| {
            let before = (input.placements.iter())
                .find(|p| p.kind == step.kind && p.partition == step.partition)
                .map_or(0, |p| p.epoch.0);
            Seat {
                kind: step.kind,
                partition: step.partition,
                epoch: Epoch(before + 1),
            }
        };
        self.moves.iter().map(seat).collect()
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

/// Waits for a change and passes over what came with it; for ever where nobody listens. False: no more will come.
async fn next_change(changes: &mut Option<broadcast::Receiver<Applied>>) -> bool {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    if matches!(changes.recv().await, Err(RecvError::Closed)) {
        return false;
    }
    while changes.try_recv().is_ok() {}
    true
}

/// Draining nodes that own nothing any more.
fn drained(
    nodes: &[(NodeId, NodeRow)],
    query: &Query<'_>,
    kinds: &[KindSpec],
) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    for (node, _) in nodes.iter().filter(|(_, row)| row.intent == NodeIntent::Draining) {
        let mut owns = false;
        for kind in kinds {
            owns |= query
                .placement(kind.id)?
                .iter()
                .any(|row| row.owner == Some(*node));
        }
        if !owns {
            let (node, intent) = (*node, NodeIntent::Drained);
            steps.push(Step::new(
                Noted::Drained(node),
                Command::SetIntent { node, intent },
            ));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_machine::rows::NodeRole;

    pub(super) fn row() -> NodeRow {
        NodeRow {
            name: "n".parse().expect("a name"),
            role: NodeRole::Voter,
            intent: NodeIntent::Active,
            healthy: true,
            mesh_address: String::new(),
            http_url: String::new(),
            version: String::new(),
            level: 1,
            joined_at_ms: 0,
        }
    }
}
