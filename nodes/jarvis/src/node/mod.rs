//! The composition root: a node is a value that is started, runs, and is stopped in the reverse order.
//!
//! ```text
//!  start:  mesh ─► replica ─► entities + session kind ─► sessions ─► gateway          stop: the other way round
//!            │        │                                                  │
//!            │        └─ members follower ─► mesh.set_members            └─ admin ─► replica
//!            └─ joins, renewals of certificates
//! ```
//!
//! Everything a node takes from the machine is handed in, so that many can live in one process and a simulation can start
//! them as often as it likes. Dropping a [`Node`] kills it.
mod activity;
mod admin;
mod agent;
mod agreed_clock;
mod announce;
mod attempts;
mod automations;
mod beacon;
pub mod disk;
mod faults;
mod faulty_listener;
mod handover;
mod join_server;
mod members;
pub mod protocol;
mod responders;
mod tether;
mod why;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jarvis_automation::{AutomationKind, Automations, BridgeKind, HomeResponder, Late};
use jarvis_beacon::{BeaconKind, Lamp};
use jarvis_config::{Profile, Settings};
use jarvis_entity::api::{LeaseSettings, Leases};
use jarvis_entity::runtime::{ControllerSettings, EntityDeps, EntityRuntime};
use jarvis_gateway::{
    AutomationBackend, ClusterBackend, DiskWrittenPerDay, Gateway, GatewayDeps, GatewaySettings, Listen,
    RenderMetrics, TetherKeeper, secret_hash,
};
use jarvis_host::telemetry::LogControl;
use jarvis_host::{Clock, Entropy, Faults, FaultyClock, Tasks};
use jarvis_machine::rows::NodeRole;
use jarvis_mesh::api::{Member, Mesh, Removal};
use jarvis_mesh::control::{AgentNotice, ControlPlane};
use jarvis_mesh::faulty::FaultySocket;
use jarvis_mesh::identity::{ClusterCa, NodeIdentity};
use jarvis_mesh::mesh::{MeshConfig, MeshDeps};
use jarvis_mesh::renew::{AskPeers, Renewer, SaveIdentity, SelfIssue, keep_renewed, serve_renewals};
use jarvis_mesh::transport::{BindError, MeshTimers, bind_udp};
use jarvis_mqtt::Dial;
use jarvis_replica::api::Replica;
use jarvis_replica::config::DEFAULT_KEEP_ENTRIES;
use jarvis_replica::{RaftTimers, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_session::api::{Sessions, SessionsDeps};
use jarvis_session::entity::{SessionKind, SessionKindDeps};
use jarvis_session::hub::Hub;
use jarvis_session::responder::Chain;
use jarvis_types::{ClusterId, NodeId, NodeName};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::data::KnownPeer;
use crate::fail::Failure;
use admin::NodeAdmin;
use agreed_clock::AgreedClock;
use announce::Announcer;
use faults::NodeFaults;
use faulty_listener::FaultyListener;
use join_server::{JoinAnswerer, JoinServer};
use members::MembersFollower;
use protocol::BUILD;
use responders::responders;
use tether::MeshTethers;

/// Name of the first user.
pub const FIRST_USER: &str = "admin";
/// How long each part may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Which node this is.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it does. A witness votes and is small; it lets nobody answer.
    pub role: NodeRole,
    /// Where the mesh meets it, `host:port`.
    pub mesh_address: String,
    /// Where people meet it, `http://host:port`.
    pub http_url: String,
    /// Whether it is the cluster's first, which brings it into being.
    pub founder: bool,
    /// Whether it had a log before: then it must be there.
    pub expect_log: bool,
    /// The highest cluster level it speaks: the build's, but in tests of upgrades.
    pub speaks_level: u32,
    /// Members known from before.
    pub known_peers: Vec<KnownPeer>,
    /// Where log and tables are.
    pub store: StoreChoice,
    /// Settings, checked.
    pub settings: Settings,
}

/// What a node writes down for its next start. Small synced writes.
pub trait Keeper: Send + Sync + 'static {
    /// The members as they are.
    ///
    /// # Errors
    /// Text for the log.
    fn save_peers(&self, peers: &[KnownPeer]) -> Result<(), String>;
    /// Whether it went away in order and is to serve again when it comes back.
    ///
    /// # Errors
    /// Text for the log.
    fn save_handed_over(&self, handed_over: bool) -> Result<(), String>;
}

/// What a node takes from the machine.
pub struct NodeDeps {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What is wrong on purpose, while a drill runs.
    pub faults: Faults,
    /// What beacons act with.
    pub lamp: Arc<dyn Lamp>,
    /// How the home's broker is reached.
    pub dial: Arc<dyn Dial>,
    /// For people and programs.
    pub tcp: Box<dyn Listen>,
    /// For the mesh.
    pub udp: Arc<dyn quinn::AsyncUdpSocket>,
    /// Timers and tasks of QUIC.
    pub quic: Arc<dyn quinn::Runtime>,
    /// Who it is.
    pub identity: NodeIdentity,
    /// Where it may admit others.
    pub ca: Option<ClusterCa>,
    /// The local administrator's credential.
    pub admin_token: Option<String>,
    /// Whether it went away in order the last time.
    pub handed_over: bool,
    /// Writes a renewed certificate down.
    pub save_identity: SaveIdentity,
    /// Writes the rest down.
    pub keeper: Arc<dyn Keeper>,
    /// What `/metrics` prints.
    pub metrics: RenderMetrics,
    /// For `status`.
    pub disk: DiskWrittenPerDay,
    /// What only a process that is one node may have: ractor's registries and probes of the machine's own network. None
    /// where many nodes share a process.
    pub process: Option<ProcessWide>,
}

/// What concerns a whole process.
#[derive(Clone)]
pub struct ProcessWide {
    /// Changes what is logged.
    pub logs: LogControl,
    /// Drills that Home Assistant may start on this machine.
    pub drills: jarvis_automation::Drills,
}

/// The two sockets of a node, on one port.
pub struct Sockets {
    /// For people and programs.
    pub tcp: TcpListener,
    /// For the mesh.
    pub udp: Arc<dyn quinn::AsyncUdpSocket>,
    /// Where both are bound.
    pub address: SocketAddr,
}

impl Sockets {
    /// Binds both. Port 0: one that is free.
    ///
    /// # Errors
    /// Says which is taken, and what to do.
    pub async fn bind(listen: SocketAddr) -> Result<Self, Failure> {
        let what = format!("the node cannot listen on {listen}");
        let next =
            "stop the other program, or choose another port with --listen at init or join, or [node] listen";
        let tcp = TcpListener::bind(listen)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    Failure::new(what.clone(), format!("tcp port {} is in use", listen.port())).next(next)
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    Failure::new(what.clone(), "this machine has no such address")
                        .next("listen on 0.0.0.0, or correct it")
                }
                std::io::ErrorKind::PermissionDenied => {
                    Failure::new(what.clone(), error).next("ports below 1024 need root; choose another")
                }
                _ => Failure::new(what.clone(), error),
            })?;
        let address = tcp
            .local_addr()
            .map_err(|error| Failure::new(what.clone(), error))?;
        let udp = bind_udp(address).map_err(|error| match error {
            BindError::InUse { address } => {
                Failure::new(what, format!("udp port {} is in use", address.port())).next(next)
            }
            error => Failure::from_error(what, &error).next(next),
        })?;
        Ok(Self { tcp, udp, address })
    }
}

/// A running node. Dropping it kills it.
pub struct Node {
    tasks: Tasks,
    mesh: Mesh,
    replica: Replica,
    /// What stands on mesh and replica: entities, sessions, followers.
    upper: Tasks,
    /// Taken out to be stopped.
    gateway: Option<Gateway>,
    address: SocketAddr,
    keeper: Arc<dyn Keeper>,
    removed: CancellationToken,
    control: Arc<dyn ControlPlane>,
    leases: Leases,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Node {
    /// Starts a node. It serves as soon as it has caught up.
    ///
    /// # Errors
    /// Says which part did not start, why, and what to do.
    pub async fn run(config: NodeConfig, mut deps: NodeDeps) -> Result<Self, Failure> {
        deps.clock = Arc::new(FaultyClock::new(deps.clock, deps.faults.clone()));
        let faults = deps.faults.clone();
        let what = format!("node {} did not start", config.name);
        let tasks = Tasks::new();
        let upper = tasks.child();
        let agreed = AgreedClock::new(Arc::clone(&deps.clock));
        let clock: Arc<dyn Clock> = Arc::clone(&agreed) as Arc<dyn Clock>;
        let mut engine = automations::engine(&config, &clock, &deps.entropy, deps.dial)?;
        if let Some(process) = &deps.process {
            engine = engine.with_drills(process.drills.clone());
        }
        let ca_sha256 = jarvis_mesh::identity::fingerprint_of(deps.identity.ca());
        let ca = deps.ca.map(Arc::new);
        let mesh_tasks = tasks.child();
        let mesh_deps = MeshDeps {
            identity: deps.identity.clone(),
            socket: FaultySocket::new(deps.udp, faults.clone(), Arc::clone(&deps.entropy), &mesh_tasks),
            runtime: deps.quic,
            clock: Arc::clone(&deps.clock),
            entropy: Arc::clone(&deps.entropy),
            tasks: mesh_tasks,
        };
        let mesh =
            start_mesh(&config, mesh_deps).map_err(|error| Failure::from_error(what.clone(), &error))?;
        renewals(
            &mesh,
            &config,
            &deps.identity,
            ca.as_ref(),
            &deps.clock,
            &deps.entropy,
            deps.save_identity,
        );

        let tethers = (deps.process.as_ref())
            .and_then(|_| tether::port_of(&config.http_url))
            .map(|port| mesh.keep_tethers(port));
        let control = agent::start(&mesh, &config, deps.process)
            .await
            .map_err(|error| Failure::from_error(what.clone(), &error))?;
        let removed = CancellationToken::new();
        let replica = Box::pin(start_replica(&config, &mesh, &deps.clock, &faults, &tasks))
            .await
            .map_err(|error| Failure::from_error(what.clone(), &error))?;
        agreed.agree(replica.cluster_clock());
        let follower = MembersFollower {
            replica: replica.clone(),
            mesh: mesh.clone(),
            known: config.known_peers.clone(),
            keeper: Arc::clone(&deps.keeper),
            removed: removed.clone(),
        };
        upper.spawn_until_cancelled(follower.run());
        upper.spawn_until_cancelled(MembersFollower::hear_of_removal(mesh.clone(), replica.clone()));

        let mut settings = config.settings.clone();
        if config.role == NodeRole::Witness {
            // Nothing is ever placed on a witness: it needs nobody who answers.
            settings.responders.clear();
        }
        let home = Late::default();
        let responder = Chain::from_settings(&responders(&settings)?)
            .map_err(|error| Failure::from_error(what.clone(), &error).next("correct [[responder]]"))?
            .asking_first(Arc::new(HomeResponder::new(&engine, home.clone())));
        let hub = Hub::new(replica.clone(), mesh.clone(), upper.clone());
        let kind = SessionKind::new(SessionKindDeps {
            hub: hub.clone(),
            responder: Arc::new(responder),
            clock: Arc::clone(&clock),
            time_zone: config.settings.session_time_zone().map(str::to_owned),
            history_entries: config.settings.session.history_messages as usize,
        });
        let entity_deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: upper.clone(),
        };
        let beacon = BeaconKind::new(Arc::clone(&deps.lamp), Arc::clone(&deps.clock));
        let entities = EntityRuntime::new(entity_deps)
            .kind(kind)
            .kind(beacon)
            .kind(BridgeKind::new(engine.clone()))
            .kind(AutomationKind::new(engine.clone()))
            .clock(Arc::clone(&deps.clock))
            .controller(ControllerSettings {
                speaks_level: config.speaks_level,
                ..ControllerSettings::default()
            })
            .leases(match config.settings.mesh.profile {
                Profile::Lan => LeaseSettings::lan(),
                Profile::Wifi => LeaseSettings::wifi(),
                Profile::SlowDisk => LeaseSettings::slow_disk(),
            });
        let router = Box::pin(entities.start())
            .await
            .map_err(|error| Failure::from_error(what.clone(), &error))?;
        let automations = Automations::new(engine, router.clone(), replica.clone());
        home.set(automations.clone());
        activity::serve(&mesh, router.clone());
        let needs = router.needs();
        let faults = NodeFaults::new(faults, replica.clone(), mesh.clone());
        faults.serve(&upper);
        let sessions = Sessions::new(SessionsDeps {
            router: router.clone(),
            hub,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&deps.entropy),
        });

        if let Some(ca) = &ca {
            let ttl = config.settings.mesh.certificate_ttl;
            mesh.serve_join(Arc::new(JoinAnswerer::new(JoinServer {
                cluster: config.cluster,
                ca: Arc::clone(ca),
                replica: replica.clone(),
                clock: Arc::clone(&clock),
                entropy: Arc::clone(&deps.entropy),
                certificate_ttl: ttl,
            })));
        }
        let leases = router.leases();
        // A witness carries none and is asked for none.
        let automations =
            (config.role != NodeRole::Witness).then(|| Arc::new(automations) as Arc<dyn AutomationBackend>);
        let admin = NodeAdmin {
            replica: replica.clone(),
            router,
            mesh_address: config.mesh_address.clone(),
            mesh: mesh.clone(),
            cluster: config.cluster,
            ca_sha256,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&deps.entropy),
            faults: faults.clone(),
        };
        let gateway_deps = GatewayDeps {
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&deps.entropy),
            tasks: tasks.clone(),
            backend: Arc::new(ClusterBackend::new(replica.clone(), sessions, mesh.clone()).with_needs(needs)),
            automations,
            admin: Arc::new(admin),
            admin_token_hash: deps.admin_token.as_deref().map(secret_hash),
            metrics: deps.metrics,
            disk_written_per_day_bytes: deps.disk,
            tethers: tethers.map(|tethers| Arc::new(MeshTethers(tethers)) as Arc<dyn TetherKeeper>),
        };
        let listener = FaultyListener::over(deps.tcp, deps.faults);
        let gateway = Gateway::start(gateway_settings(&config.settings), gateway_deps, listener)
            .map_err(|error| Failure::from_error(what, &error))?;
        let (handed_over, keeper) = (deps.handed_over, Arc::clone(&deps.keeper));
        let announcer = Announcer {
            replica: replica.clone(),
            config,
            handed_over,
            keeper,
        };
        upper.spawn_until_cancelled(announcer.run());
        let address = gateway.address();
        Ok(Self {
            tasks,
            mesh,
            replica,
            upper,
            gateway: Some(gateway),
            address,
            keeper: deps.keeper,
            removed,
            control,
            leases,
        })
    }

    /// Where people and programs reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Completes when the cluster has removed this node.
    pub async fn removed(&self) {
        self.removed.cancelled().await;
    }

    /// Whether a member has told this node, when it came to connect, that it is out of the cluster for good. It goes on
    /// running, so that whoever looks finds out why it does not serve.
    pub fn removal(&self) -> watch::Receiver<Option<Removal>> {
        self.mesh.removal()
    }

    /// Completes, with the reason, when the node cannot go on: its disk failed, or Raft ended by itself.
    pub async fn failed(&self) -> String {
        self.replica.failed().await
    }

    /// Tasks that end with the node.
    pub fn background(&self) -> &Tasks {
        &self.upper
    }

    /// The replica, for tests.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Hands its work over: sockets go elsewhere, partitions and leadership move. Bounded; loses nothing.
    pub async fn hand_over(&self) {
        self.control.tell_all(AgentNotice::Draining(true));
        let drain = async {
            if let Some(gateway) = &self.gateway {
                gateway.drain().await;
            }
        };
        tokio::join!(drain, handover::hand_over(&self.replica, &*self.keeper));
    }

    /// Stops all parts, the last started first.
    pub async fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop(STOP_TIMEOUT).await;
        }
        self.leases.let_go().await;
        self.upper.stop(STOP_TIMEOUT).await;
        self.replica.stop().await;
        self.mesh.stop().await;
        self.tasks.stop(STOP_TIMEOUT).await;
    }
}

fn start_mesh(config: &NodeConfig, deps: MeshDeps) -> Result<Mesh, jarvis_mesh::mesh::MeshError> {
    let timers = match config.settings.mesh.profile {
        Profile::Lan => MeshTimers::lan(),
        Profile::Wifi => MeshTimers::wifi(),
        Profile::SlowDisk => MeshTimers::slow_disk(),
    };
    let mesh = Mesh::start(
        MeshConfig {
            cluster: config.cluster,
            node: config.node,
            timers,
        },
        deps,
    )?;
    let known = config.known_peers.iter();
    let known = known.map(|p| Member {
        node: p.node,
        name: p.name.clone(),
        address: p.address.clone(),
    });
    mesh.set_list_current(false);
    mesh.set_members(known.collect());
    Ok(mesh)
}

fn renewals(
    mesh: &Mesh,
    config: &NodeConfig,
    identity: &NodeIdentity,
    ca: Option<&Arc<ClusterCa>>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    save: SaveIdentity,
) {
    let ttl = config.settings.mesh.certificate_ttl;
    let renewer: Arc<dyn Renewer> = match ca {
        Some(ca) => {
            serve_renewals(mesh, Arc::clone(ca), ttl);
            Arc::new(SelfIssue {
                ca: Arc::clone(ca),
                identity: identity.clone(),
                name: config.name.clone(),
                ttl,
                clock: Arc::clone(clock),
                entropy: Arc::clone(entropy),
            })
        }
        None => Arc::new(AskPeers::new(mesh)),
    };
    keep_renewed(mesh, renewer, save);
}

async fn start_replica(
    config: &NodeConfig,
    mesh: &Mesh,
    clock: &Arc<dyn Clock>,
    faults: &Faults,
    tasks: &Tasks,
) -> Result<Replica, jarvis_replica::StartError> {
    let timers = match config.settings.mesh.profile {
        Profile::Lan => RaftTimers::lan(),
        Profile::Wifi => RaftTimers::wifi(),
        Profile::SlowDisk => RaftTimers::slow_disk(),
    };
    let replica_config = ReplicaConfig {
        timers,
        snapshot_every_entries: config.settings.raft.snapshot_every,
        // No more than lies between two snapshots: it would never be used.
        keep_entries: config.settings.raft.snapshot_every.min(DEFAULT_KEEP_ENTRIES),
        replace_after: config.settings.raft.replace_after,
        demote_slow_disk: config.settings.raft.demote_slow_disk,
        small: config.role == NodeRole::Witness,
        expect_existing: config.expect_log,
        speaks_level: config.speaks_level,
        ..ReplicaConfig::new(config.node, config.store.clone())
    };
    let deps = ReplicaDeps {
        transport: Arc::new(mesh.clone()),
        clock: Arc::clone(clock),
        faults: faults.clone(),
        tasks: tasks.child(),
    };
    Replica::start(replica_config, deps).await
}

fn gateway_settings(settings: &Settings) -> GatewaySettings {
    GatewaySettings {
        message_chars: settings.limits.message_chars,
        messages_per_minute: settings.limits.messages_per_minute,
        sockets_per_minute: settings.limits.sockets_per_minute,
        version: BUILD.to_owned(),
        ..GatewaySettings::default()
    }
}
