//! Puts the parts of a node's entities together, in the order in which they depend on one another.

use std::sync::Arc;

use jarvis_host::Tasks;
use jarvis_machine::change::Change;
use jarvis_mesh::api::Mesh;
use jarvis_replica::api::Replica;
use tokio::sync::broadcast::error::RecvError;

use crate::api::{EntityKind, EntityLimits, Router};
use crate::controller::Controller;
pub use crate::controller::ControllerSettings;
use crate::host::{Host, Kinds};
use crate::metrics;
use crate::placement::{Moved, Placement};

/// What entities stand on.
pub struct EntityDeps {
    /// Connections to the other nodes.
    pub mesh: Mesh,
    /// The replicated state.
    pub replica: Replica,
    /// The owner of all tasks started here.
    pub tasks: Tasks,
}

/// The entities of a node could not start.
#[derive(Debug, thiserror::Error)]
#[error("entities could not start: {0}")]
pub struct EntityStartError(String);

/// Collects the kinds, then starts.
pub struct EntityRuntime {
    deps: EntityDeps,
    kinds: Kinds,
    limits: EntityLimits,
    controller: ControllerSettings,
}

impl EntityRuntime {
    /// A runtime without kinds.
    pub fn new(deps: EntityDeps) -> Self {
        Self {
            deps,
            kinds: Kinds::default(),
            limits: EntityLimits::default(),
            controller: ControllerSettings::default(),
        }
    }

    /// Adds a kind.
    #[must_use]
    pub fn kind<K: EntityKind>(mut self, kind: K) -> Self {
        self.kinds.add(kind);
        self
    }

    /// Sets other bounds than the usual.
    #[must_use]
    pub fn limits(mut self, limits: EntityLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets other times for the leader's controller than the usual.
    #[must_use]
    pub fn controller(mut self, settings: ControllerSettings) -> Self {
        self.controller = settings;
        self
    }

    /// Starts routing, following the placement, and, whenever this node leads, placing.
    ///
    /// # Errors
    /// Where a supervisor does not start.
    pub async fn start(self) -> Result<Router, EntityStartError> {
        metrics::describe();
        let EntityDeps { mesh, replica, tasks } = self.deps;
        let placement = Arc::new(Placement::new());
        let specs = self.kinds.specs();
        let names: Vec<_> = specs.iter().map(|spec| (spec.id, spec.name)).collect();
        let host = Host::start(
            replica.clone(),
            Arc::clone(&placement),
            self.kinds,
            self.limits,
            tasks.clone(),
        )
        .await
        .map_err(|e| EntityStartError(e.to_string()))?;
        let follower = Follower {
            replica: replica.clone(),
            placement: Arc::clone(&placement),
            host: Arc::clone(&host),
            names,
        };
        tasks.spawn_until_cancelled(follower.run());
        tasks.spawn_until_cancelled(crate::succession::follow_leader(mesh.clone(), replica.clone()));
        let controller = Controller::new(self.controller, specs, replica, mesh.clone());
        tasks.spawn_until_cancelled(controller.run());
        Ok(Router::new(host, placement, mesh))
    }
}

/// Follows the applied log: refreshes the placement map and tells the host what moved.
struct Follower {
    replica: Replica,
    placement: Arc<Placement>,
    host: Arc<Host>,
    names: Vec<(jarvis_types::KindId, &'static str)>,
}

impl Follower {
    async fn run(self) {
        let mut changes = self.replica.changes();
        let mut state = self.replica.state();
        self.refresh();
        loop {
            let opened = self.host.is_open();
            tokio::select! {
                batch = changes.recv() => match batch {
                    Ok(batch) if batch.changes.iter().any(concerns_placement) => self.refresh(),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => self.refresh(),
                    Err(RecvError::Closed) => return,
                },
                caught_up = state.wait_for(|s| s.caught_up), if !opened => {
                    if caught_up.is_err() {
                        return;
                    }
                    drop(caught_up);
                    self.host.open();
                    self.resume();
                }
            }
        }
    }

    fn refresh(&self) {
        let moved = self.replica.local().and_then(|view| {
            let moved = self.placement.refresh(&view)?;
            self.host.follow(&view, &moved);
            Ok(moved)
        });
        match moved {
            Ok(moved) => self.report(&moved),
            Err(error) => tracing::error!(%error, "the placement could not be read"),
        }
    }

    /// All that this node owns counts as gained when it starts to act.
    fn resume(&self) {
        self.refresh();
        let all: Vec<Moved> = (self.placement.table().iter())
            .flat_map(|(&kind, partitions)| {
                (0u16..).zip(partitions).map(move |(index, &now)| Moved {
                    kind,
                    partition: jarvis_types::PartitionIndex(index),
                    now,
                })
            })
            .collect();
        match self.replica.local() {
            Ok(view) => self.host.follow(&view, &all),
            Err(error) => tracing::error!(%error, "unfinished work could not be read"),
        }
    }

    fn report(&self, moved: &[Moved]) {
        if moved.is_empty() {
            return;
        }
        let (node, table) = (self.replica.node(), self.placement.table());
        for (kind, name) in &self.names {
            let owned = table
                .get(kind)
                .map_or(0, |all| all.iter().filter(|o| o.owner == Some(node)).count());
            ::metrics::gauge!(metrics::OWNED, "kind" => *name).set(owned as f64);
            tracing::info!(kind = name, owned, moved = moved.len(), "placement changed");
        }
    }
}

fn concerns_placement(change: &Change) -> bool {
    matches!(
        change,
        Change::Placed { .. } | Change::KindRegistered(_) | Change::Replaced
    )
}
