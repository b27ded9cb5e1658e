//! `run`: this machine's node, in the foreground, until it is told to stop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jarvis_beacon::UdpLamp;
use jarvis_config::{LogFormat, Settings};
use jarvis_host::telemetry::{self, LogControl, LogFormat as HostLogFormat};
use jarvis_host::{Faults, SystemClock, SystemEntropy};
use jarvis_mesh::store::TlsStore;
use jarvis_replica::StoreChoice;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::settings;
use crate::cli::args::RunArgs;
use crate::data::{DataError, DataFolder, KnownPeer, LockedFolder, NodeFile};
use crate::drill;
use crate::fail::Failure;
use crate::node::disk::DiskMeter;
use crate::node::protocol::role_of;
use crate::node::{Keeper, Node, NodeConfig, NodeDeps, ProcessWide, Sockets};
use crate::places::{advertised, data_folder, local_url};

/// The whole of going away: then the process ends whatever is left.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// A supervised node's stop: its cluster stops with it, nothing needs to move.
const QUICK_STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// How often a node whose disk is full looks for room.
const ROOM_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Less than this is no room: a store grows by a few megabytes at a time.
const LEAST_ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// `jarvis run`.
///
/// # Errors
/// Says which part did not start, why, and what to do.
pub async fn run(args: &RunArgs) -> Result<(), Failure> {
    let data = data_folder(args.data.data.as_deref());
    let what = "the node cannot start";
    let locked = Arc::new(open_folder(&DataFolder::new(&data)).map_err(|error| error.failure(what))?);
    let file = locked.member().map_err(|error| error.failure(what))?;
    if file.recovering.is_some() {
        return Err(
            Failure::new(what, "a recovery of this node was begun and not ended")
                .next(format!("end it: jarvis recover --data {} --yes", data.display())),
        );
    }
    let settings = settings(args.config.as_deref(), &data)?.settings;
    let logs = start_logs(&settings)?;
    let metrics = telemetry::start_metrics().map_err(|error| Failure::from_error(what, &error))?;
    let mut signals = Signals::new(args.supervised).map_err(|error| Failure::new(what, error))?;

    let store = TlsStore::new(&data);
    let identity = check_keys(&locked, &file, &store)?;
    let ca = store
        .load_ca()
        .map_err(|error| Failure::from_error(what, &error))?;
    let listen = file.listen.unwrap_or(settings.node.listen);
    let sockets = Sockets::bind(listen).await?;
    let address = sockets.address;
    tracing::info!(
        pid = std::process::id(), node = %file.node, name = %file.name, cluster = %file.cluster, %address,
        data = %data.display(), "the node starts"
    );
    let keeper = Arc::new(FileKeeper {
        locked: Arc::clone(&locked),
        file: Mutex::new(file.clone()),
    });
    let config = node_config(&file, &settings, address, StoreChoice::Redb(data.clone()));
    let saved = store.clone();
    let meter = DiskMeter::default();
    let metrics_upkeep = telemetry::keep_metrics_small(metrics.clone());
    let faults = Faults::new();
    let deps = NodeDeps {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::default()),
        faults: faults.clone(),
        lamp: Arc::new(UdpLamp::default()),
        dial: Arc::new(jarvis_mqtt::Tcp),
        tcp: sockets.tcp.into(),
        udp: sockets.udp,
        quic: Arc::new(quinn::TokioRuntime),
        identity,
        ca,
        admin_token: DataFolder::new(&data)
            .admin_token()
            .map_err(|error| error.failure(what))?,
        handed_over: file.handed_over,
        save_identity: Arc::new(move |identity| saved.save_identity(identity)),
        keeper: Arc::clone(&keeper) as Arc<dyn Keeper>,
        metrics: Arc::new(move || metrics.render()),
        disk: meter.per_day(),
        process: Some(ProcessWide {
            logs,
            drills: drill::drills(&data),
        }),
    };
    let node = Box::pin(Node::run(config, deps)).await?;
    node.background().spawn_until_cancelled(meter.run());
    node.background().spawn_until_cancelled(metrics_upkeep);
    keeper.note_log().map_err(|why| Failure::new(what, why))?;
    locked
        .note_address(&local_url(address))
        .map_err(|error| error.failure(what))?;
    let reason = tokio::select! {
        reason = signals.next() => reason,
        () = node.removed() => Reason::Removed,
        why = node.failed() => {
            // Whoever supervises the process starts it again; what was committed is on the disks of the majority.
            drop(node);
            until_there_is_room(&data, &faults, &mut signals).await;
            return Err(Failure::new("the node cannot go on", why).next("see the log above; start it again"));
        }
    };
    finish(node, reason, &mut signals).await
}

/// Without room on its disk a node could only start and fail, again and again: it waits, off the network, until there is some.
async fn until_there_is_room(data: &std::path::Path, faults: &Faults, signals: &mut Signals) {
    let mut told = false;
    while faults.disk_is_full() || !has_room(data) {
        if !told {
            tracing::error!(
                data = %data.display(),
                "the disk is full: the node has stopped and takes no part until there is room; free some space"
            );
            told = true;
        }
        tokio::select! {
            () = tokio::time::sleep(ROOM_LOOK_INTERVAL) => {}
            () = faults.disk_has_room(), if faults.disk_is_full() => {}
            _ = signals.next() => return,
        }
    }
}

/// Whether the file system of `data` has room. Where it cannot say, the next start finds out.
fn has_room(data: &std::path::Path) -> bool {
    rustix::fs::statvfs(data).map_or(true, |found| found.f_bavail * found.f_frsize >= LEAST_ROOM_BYTES)
}

async fn finish(node: Node, reason: Reason, signals: &mut Signals) -> Result<(), Failure> {
    tracing::info!(?reason, "the node stops");
    let limit = if reason == Reason::StdinEnded {
        QUICK_STOP_TIMEOUT
    } else {
        STOP_TIMEOUT
    };
    let stop = async {
        if reason == Reason::Signal {
            node.hand_over().await;
        }
        node.stop().await;
    };
    tokio::select! {
        result = tokio::time::timeout(limit, stop) => match result {
            Ok(()) => tracing::info!("the node has stopped"),
            Err(_) => tracing::warn!("the node did not stop in time and is ended; nothing committed is lost"),
        },
        () = signals.again() => tracing::warn!("told a second time: the node ends at once; nothing committed is lost"),
    }
    if reason == Reason::Removed {
        return Err(
            Failure::new("the node has stopped", "it was removed from the cluster")
                .next(jarvis_gateway::REJOIN_ADVICE),
        );
    }
    Ok(())
}

/// Locks a folder in which a node was made.
pub(crate) fn open_folder(folder: &DataFolder) -> Result<LockedFolder, DataError> {
    // A folder that is not there is not made: `run` begins nothing new.
    if folder.identity()?.is_none() {
        return Err(DataError::NotAMember {
            path: folder.path().to_owned(),
        });
    }
    folder.lock()
}

/// Starts logging as configured.
pub(crate) fn start_logs(settings: &Settings) -> Result<LogControl, Failure> {
    let format = match settings.log.format {
        LogFormat::Pretty => HostLogFormat::Pretty,
        LogFormat::Json => HostLogFormat::Json,
    };
    telemetry::start_logs(format, &settings.log.filter).map_err(|error| {
        Failure::from_error("logging did not start", &error)
            .next("correct [log] filter, such as \"info,jarvis_mesh=debug\"")
    })
}

/// Keys, log and identity must be of one node.
pub(crate) fn check_keys(
    locked: &LockedFolder,
    file: &NodeFile,
    store: &TlsStore,
) -> Result<jarvis_mesh::identity::NodeIdentity, Failure> {
    let what = "the node cannot start";
    let path = locked.path().to_owned();
    let name = file.name.to_string();
    let identity = store
        .load_identity()
        .map_err(|error| Failure::from_error(what, &error))?;
    let Some(identity) = identity else {
        return Err(DataError::NoKeys { path, name }.failure(what));
    };
    let names = identity.names();
    if (names.cluster, names.node) != (file.cluster, file.node) {
        let (named, keys) = (file.cluster.to_string(), names.cluster.to_string());
        return Err(DataError::OtherCluster { path, named, keys }.failure(what));
    }
    if file.has_log && !path.join("raft").is_dir() {
        return Err(DataError::Wiped { path, name }.failure(what));
    }
    Ok(identity)
}

fn node_config(file: &NodeFile, settings: &Settings, address: SocketAddr, store: StoreChoice) -> NodeConfig {
    let given = file.advertise.as_deref().or(settings.node.advertise.as_deref());
    let advertised = advertised(given, address);
    NodeConfig {
        cluster: file.cluster,
        node: file.node,
        name: file.name.clone(),
        role: role_of(&file.role),
        http_url: format!("http://{advertised}"),
        mesh_address: advertised,
        founder: file.founder,
        expect_log: file.has_log,
        speaks_level: jarvis_machine::LEVEL,
        known_peers: file.peers.clone(),
        store,
        settings: settings.clone(),
    }
}

/// Writes to `DATA/node.toml`.
struct FileKeeper {
    locked: Arc<LockedFolder>,
    file: Mutex<NodeFile>,
}

impl FileKeeper {
    fn change(&self, change: impl FnOnce(&mut NodeFile)) -> Result<(), String> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = file.clone();
        change(&mut next);
        if next != *file {
            self.locked
                .save_identity(&next)
                .map_err(|error| error.to_string())?;
            *file = next;
        }
        Ok(())
    }

    fn note_log(&self) -> Result<(), String> {
        self.change(|file| file.has_log = true)
    }
}

impl Keeper for FileKeeper {
    fn save_peers(&self, peers: &[KnownPeer]) -> Result<(), String> {
        self.change(|file| file.peers = peers.to_vec())
    }

    fn save_handed_over(&self, handed_over: bool) -> Result<(), String> {
        self.change(|file| file.handed_over = handed_over)
    }
}

/// Why a node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Signal,
    StdinEnded,
    Removed,
}

/// What tells a node to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    supervised: bool,
}

impl Signals {
    fn new(supervised: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            supervised,
        })
    }

    async fn next(&mut self) -> Reason {
        let supervised = self.supervised;
        tokio::select! {
            _ = self.terminate.recv() => Reason::Signal,
            _ = self.interrupt.recv() => Reason::Signal,
            () = stdin_end(), if supervised => Reason::StdinEnded,
        }
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whoever started this process holds the other end; when it is gone, so is its purpose.
async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut bytes = [0; 64];
    while !matches!(stdin.read(&mut bytes).await, Ok(0) | Err(_)) {}
}
