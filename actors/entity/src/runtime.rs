//! Puts the parts of a node's entities together, in the order in which they depend on one another.

use std::sync::Arc;

use jarvis_host::{Clock, SystemClock, Tasks};
use jarvis_mesh::api::Mesh;
use jarvis_replica::api::Replica;

use crate::api::{EntityKind, EntityLimits, LeaseSettings, Leases, Router};
use crate::controller::Controller;
pub use crate::controller::ControllerSettings;
use crate::follow::Follower;
use crate::host::{Host, Kinds};
use crate::metrics;
use crate::placement::Placement;
use crate::warm::Warm;

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
    leases: LeaseSettings,
    clock: Arc<dyn Clock>,
}

impl EntityRuntime {
    /// A runtime without kinds.
    pub fn new(deps: EntityDeps) -> Self {
        Self {
            deps,
            kinds: Kinds::default(),
            limits: EntityLimits::default(),
            controller: ControllerSettings::default(),
            leases: LeaseSettings::default(),
            clock: Arc::new(SystemClock),
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

    /// Sets how long leases of acting last; the same on all nodes.
    #[must_use]
    pub fn leases(mut self, settings: LeaseSettings) -> Self {
        self.leases = settings;
        self
    }

    /// Sets another wall clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
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
        let acting = specs.iter().filter(|spec| spec.acts).map(|spec| spec.id);
        let leases = Leases::new(
            mesh.clone(),
            replica.clone(),
            self.clock,
            self.leases,
            acting.collect(),
        );
        let host = Host::start(
            replica.clone(),
            (Arc::clone(&placement), leases.clone()),
            self.kinds,
            self.limits,
            tasks.clone(),
        )
        .await
        .map_err(|e| EntityStartError(e.to_string()))?;
        let follower = Arc::new(Follower::new(
            replica.clone(),
            Arc::clone(&placement),
            Arc::clone(&host),
            leases.clone(),
            names,
        ));
        tasks.spawn_until_cancelled(Arc::clone(&follower).run());
        tasks.spawn_until_cancelled(leases.clone().run(move || follower.refresh()));
        tasks.spawn_until_cancelled(crate::succession::follow_leader(mesh.clone(), replica.clone()));
        let warm = Warm::new(mesh.clone(), replica.clone(), &host, tasks.clone());
        let controller = Controller::new(self.controller, specs, replica.clone(), mesh.clone()).warm(warm);
        tasks.spawn_until_cancelled(controller.run());
        Ok(Router::new(host, placement, mesh, leases))
    }
}
