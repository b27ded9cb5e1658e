//! `up`: a whole cluster on this machine, one process a node, each started again when it dies.
//!
//! ```text
//!  up ─┬─ child 1: jarvis run --supervised ── stdin held open: ends when `up` does
//!      ├─ child 2                           └─ stderr ─► DATA/nodeN/jarvis.log
//!      ├─ child 3          DATA/up.json: who they are, kept current
//!      └─ mosquitto, unless a broker is configured
//! ```
mod broker;
mod child;
mod logfile;
mod login;
mod ready;
mod state;

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jarvis_client::Api;
use jarvis_config::Settings;
use jarvis_host::Tasks;
use reqwest::Method;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::cli::args::{NodeArgs, UpArgs};
use crate::cli::output::{Output, Progress, ask, complain, line};
use crate::commands::config::settings;
use crate::commands::init::{make_first_node, node_folder};
use crate::commands::join::join_cluster;
use crate::data::{DataError, DataFolder, LockedFolder};
use crate::fail::Failure;
use crate::places::{UP_FOLDER, data_folder, local_url};
pub(crate) use child::kill;
pub use child::{Fleet, Spec};
pub(crate) use ready::missing;
pub use state::{UpNode, UpState};

/// Between the ports of two nodes.
const PORT_STEP: u16 = 10;
/// How long a new cluster may take until it is whole: a slow card syncs hundreds of times on the way.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nodes of an earlier start may take to end.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(10);
/// As many as the command line takes.
const MAX_NODES: usize = 9;
/// How long an invitation of a cluster's own node is good.
const INVITE_TTL_S: u64 = 300;

/// `jarvis up`.
///
/// # Errors
/// Says which node did not start, why, and where its log is.
pub async fn up(args: &UpArgs, output: Output) -> Result<(), Failure> {
    let what = "the cluster did not start";
    check_ports(args)?;
    let folder = args
        .data
        .clone()
        .unwrap_or_else(|| data_folder(None).join(UP_FOLDER));
    let folder = std::path::absolute(&folder).map_err(|error| Failure::new(what, error))?;
    if folder.join("node.toml").exists() {
        let why = format!("{} is the data folder of a single node", folder.display());
        return Err(Failure::new(what, why).next("give another folder with --data"));
    }
    // Found out here, not by each node in its log.
    let loaded = settings(args.config.as_deref(), &folder)?;
    let mut stop = Stop::new().map_err(|error| Failure::new(what, error))?;
    let locked = DataFolder::new(&folder).lock().map_err(|error| match &error {
        DataError::Locked { pid: Some(pid), .. } => Failure::new(what, &error).next(format!(
            "it runs already: see `jarvis status --data {}`, or stop it: kill {pid}",
            folder.display()
        )),
        _ => error.failure(what),
    })?;
    if args.reset {
        tokio::select! {
            done = reset(&locked, args.yes, output) => done?,
            () = stop.wait() => return Err(Failure::new(what, "it was told to stop")),
        }
    }
    let began = Instant::now();
    let progress = output.progress("starting the cluster");
    let tasks = Tasks::new();
    let config = loaded
        .file
        .filter(|_| args.config.is_some())
        .map(|path| std::path::absolute(&path).unwrap_or(path));
    let plan = Plan::new(args, &folder, config);
    let fleet = Arc::new(Fleet::new(&folder, !args.no_restart, args.verbose, tasks.clone()));
    let broker = own_broker(args, &plan, &fleet, &loaded.settings, &tasks).await;
    let started = tokio::select! {
        started = Box::pin(start(&plan, &fleet, &loaded.settings, &progress)) => started,
        () = stop.wait() => Err(Failure::new(what, "it was told to stop")),
    };
    progress.done();
    let ended = match started {
        Ok(login) => {
            output_ready(&fleet.state(), &login, &folder, began.elapsed(), output);
            stop.wait().await;
            output.note("stopping");
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    fleet.stop(&mut stop).await;
    // Nodes say goodbye to it.
    if let Some(broker) = broker {
        broker.stop().await;
    }
    tasks.stop(Duration::from_secs(1)).await;
    ended
}

/// Starts a broker where none is configured, for all nodes.
async fn own_broker(
    args: &UpArgs,
    plan: &Plan,
    fleet: &Fleet,
    loaded: &Settings,
    tasks: &Tasks,
) -> Option<broker::Running> {
    let configured = (plan.specs.iter())
        .filter_map(|spec| settings(spec.config.as_deref(), &spec.data).ok())
        .find_map(|loaded| loaded.settings.mqtt.url)
        .or_else(|| loaded.mqtt.url.clone());
    if configured.is_some() || args.no_broker {
        fleet.set_mqtt(configured, false);
        return None;
    }
    let (program, earlier) = (args.mosquitto.clone(), fleet.earlier_mqtt());
    let started = broker::Running::start(fleet.folder(), program, earlier.as_deref(), tasks).await;
    match started {
        Ok(broker) => {
            fleet.set_mqtt(Some(broker.url()), true);
            Some(broker)
        }
        Err(error) => {
            complain(&broker::without(&error));
            fleet.set_mqtt(None, false);
            None
        }
    }
}

fn output_ready(state: &UpState, login: &login::Login, folder: &Path, took: Duration, output: Output) {
    if output.is_json() {
        line(&serde_json::to_string(state).unwrap_or_default());
        return;
    }
    let names: Vec<_> = state
        .nodes
        .iter()
        .map(|node| format!("{} (pid {})", node.name, node.pid.unwrap_or(0)))
        .collect();
    line(&format!(
        "{} nodes are ready after {:.1} s: {}",
        state.nodes.len(),
        took.as_secs_f64(),
        names.join(", ")
    ));
    line(&format!(
        "\n  page:  {}/#token={}",
        state.url,
        state.token.as_deref().unwrap_or_default()
    ));
    match &login.password {
        Some(password) => line(&format!(
            "  login: {} / {password}   (shown this once)",
            crate::node::FIRST_USER
        )),
        None => line(&format!(
            "  login: {}, with the password of the first start",
            crate::node::FIRST_USER
        )),
    }
    line(&format!("  chat:  jarvis chat --data {}", folder.display()));
    if let Some(url) = &state.mqtt {
        line(&format!("  mqtt:  {url}"));
    }
    line("\nCtrl-C stops all of it; started again it has everything it had.");
}

/// Every node's port must be one.
fn check_ports(args: &UpArgs) -> Result<(), Failure> {
    let beyond_first = u16::from(args.nodes.saturating_sub(1)) * PORT_STEP;
    if args.port.checked_add(beyond_first).is_some() {
        return Ok(());
    }
    let why = format!(
        "with --port {} node{} would have port {}, and the highest there is is {}",
        args.port,
        args.nodes,
        u32::from(args.port) + u32::from(beyond_first),
        u16::MAX
    );
    Err(Failure::new("the cluster did not start", why)
        .next(format!("choose --port {} or less", u16::MAX - beyond_first))
        .usage())
}

/// Which nodes there are to be.
struct Plan {
    specs: Vec<Spec>,
}

impl Plan {
    fn new(args: &UpArgs, folder: &Path, config: Option<PathBuf>) -> Self {
        let ip = if args.listen_all {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        let specs = (0..args.nodes).map(|index| Spec {
            name: format!("node{}", index + 1),
            listen: SocketAddr::new(
                IpAddr::V4(ip),
                // None is cut off: `check_ports` has seen to that.
                args.port.saturating_add(u16::from(index) * PORT_STEP),
            ),
            data: node_folder(folder, usize::from(index)),
            config: config.clone(),
        });
        Self {
            specs: specs.collect(),
        }
    }
}

/// Starts what is there, makes what is not, waits until all of it is whole.
async fn start(
    plan: &Plan,
    fleet: &Arc<Fleet>,
    settings: &Settings,
    progress: &Progress,
) -> Result<login::Login, Failure> {
    let what = "the cluster did not start";
    let [first, ..] = plan.specs.as_slice() else {
        return Err(Failure::new(what, "there must be at least one node").usage());
    };
    let made = made_nodes(fleet.folder());
    if made > plan.specs.len() {
        let why = format!(
            "this cluster has {made} nodes, and {} of them alone may be no majority",
            plan.specs.len()
        );
        return Err(Failure::new(what, why).next(format!(
            "start it with --nodes {made}; or begin anew with --reset"
        )));
    }
    let places: Vec<_> = plan.specs.iter().map(|spec| spec.data.clone()).collect();
    until_let_go(&places, progress).await;
    for spec in &plan.specs {
        spec.check_address(fleet.earlier())?;
        spec.check_port()?;
    }
    let is_made = |spec: &Spec| {
        let identity = DataFolder::new(&spec.data).identity();
        identity
            .map(|found| found.is_some())
            .map_err(|error| error.failure(what))
    };
    let mut made = Vec::new();
    let mut strangers = Vec::new();
    for spec in &plan.specs {
        if is_made(spec)? {
            made.push(spec);
        } else {
            strangers.push(spec.clone());
        }
    }
    // Whoever is there lets the others in, whichever it is: nothing is begun anew beside what is left of a cluster.
    let host = match made.split_first() {
        Some((host, members)) => {
            for spec in members {
                fleet.start(spec)?;
            }
            *host
        }
        None => {
            strangers.remove(0);
            make_first_node(&first.data, &node_args(first), &made_with(first, settings))?;
            first
        }
    };
    fleet.start(host)?;
    let deadline = Instant::now() + READY_TIMEOUT;
    let api = host.api()?;
    progress.say(&format!("waiting until {} serves", host.name));
    // A majority may have to come up before anyone can be invited.
    ready::until_ready(&api, fleet, &host.name, deadline).await?;
    // One after the other, so that ids follow names; each starts while the next is invited.
    for spec in &strangers {
        progress.say(&format!("{} joins", spec.name));
        invite_and_start(&api, spec, fleet, settings).await?;
    }
    progress.say("waiting until every node serves and every partition has an owner");
    let known = fleet.known_token();
    let (whole, login) = tokio::join!(
        ready::until_whole(&plan.specs, fleet, deadline),
        login::login(&api, known.as_deref())
    );
    whole?;
    let login = login?;
    fleet.ready(local_url(first.listen), login.token.clone());
    Ok(login)
}

async fn invite_and_start(
    api: &Api,
    spec: &Spec,
    fleet: &Arc<Fleet>,
    settings: &Settings,
) -> Result<(), Failure> {
    let body = json!({"role": "voter", "ttl_s": INVITE_TTL_S});
    let what = format!("{} was not invited", spec.name);
    let invite = api
        .call(
            Method::POST,
            "/api/v1/invites",
            Some(body),
            Duration::from_secs(15),
        )
        .await;
    let invite = invite.map_err(|error| Failure::from_error(what.clone(), &error))?;
    let token = invite
        .get("token")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let joined = Box::pin(join_cluster(
        token,
        &spec.data,
        &node_args(spec),
        &made_with(spec, settings),
    ))
    .await;
    joined.map_err(|failure| Failure {
        what: format!("{} did not join", spec.name),
        ..failure
    })?;
    fleet.start(spec)
}

/// The nodes of an `up` that was killed end by themselves, but not in the same moment.
async fn until_let_go(folders: &[PathBuf], progress: &Progress) {
    let deadline = Instant::now() + LET_GO_TIMEOUT;
    let mut told = false;
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let locked = || matches!(DataFolder::new(folder).lock_only(), Err(DataError::Locked { .. }));
        while locked() && Instant::now() < deadline {
            if !told {
                progress.say("waiting until the nodes of an earlier start have ended");
                told = true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// How many nodes earlier starts made.
fn made_nodes(folder: &Path) -> usize {
    (0..MAX_NODES)
        .filter(|index| node_folder(folder, *index).join("node.toml").exists())
        .count()
}

/// Where a node listens is written down when it is started, since `--port` may differ from start to start.
fn node_args(spec: &Spec) -> NodeArgs {
    NodeArgs {
        name: Some(spec.name.clone()),
        listen: None,
        advertise: None,
    }
}

/// The settings under which a node is made.
fn made_with(spec: &Spec, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    (settings.node.listen, settings.node.advertise) = (spec.listen, Some(spec.advertised()));
    settings
}

/// Deletes everything but the lock. Nothing is deleted below a node that runs.
async fn reset(locked: &LockedFolder, yes: bool, output: Output) -> Result<(), Failure> {
    let path = locked.path();
    let what = "nothing was deleted";
    let nodes: Vec<PathBuf> = (0..MAX_NODES)
        .map(|index| node_folder(path, index))
        .filter(|folder| folder.exists())
        .collect();
    if nodes.is_empty() && !UpState::path(path).exists() {
        return Ok(());
    }
    let question = format!("Delete everything that is in {}?", path.display());
    if !yes && std::io::stdin().is_terminal() && ask(&question) != Some(true) {
        return Err(Failure::new(what, "it was not confirmed").next("start without --reset, or answer y"));
    }
    let progress = output.progress("deleting what was there");
    until_let_go(&nodes, &progress).await;
    progress.done();
    // All are held before the first is deleted: no node starts in one of them meanwhile.
    let mut held = Vec::new();
    for folder in &nodes {
        match DataFolder::new(folder).lock_only() {
            Ok(lock) => held.push(lock),
            Err(error @ DataError::Locked { .. }) => return Err(error.failure(what)),
            // Whatever it is unfit for, no node runs on it.
            Err(_) => {}
        }
    }
    let broker = path.join(broker::FOLDER);
    for folder in nodes.into_iter().chain(broker.exists().then_some(broker)) {
        let removed = std::fs::remove_dir_all(&folder);
        removed.map_err(|error| Failure::new(format!("{} was not deleted", folder.display()), error))?;
    }
    match std::fs::remove_file(UpState::path(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::new(
            format!("{} was not deleted", UpState::path(path).display()),
            error,
        )),
        _ => Ok(()),
    }
}

/// Ctrl-C or SIGTERM.
pub struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Completes each time it is told.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(line: &[&str]) -> UpArgs {
        match Cli::try_parse_from([&["jarvis", "up"], line].concat()).map(|cli| cli.command) {
            Ok(Command::Up(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_without_a_port_is_wrong_usage() {
        assert_eq!(check_ports(&args(&["--port", "65515"])), Ok(()));
        assert_eq!(check_ports(&args(&["--port", "65535", "--nodes", "1"])), Ok(()));
        let failure = check_ports(&args(&["--port", "65516"])).expect_err("node3 has none");
        assert_eq!(failure.code, 2);
        assert!(
            failure.why.contains("node3 would have port 65536") && failure.next.contains("--port 65515"),
            "{failure}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn reset_deletes_nothing_below_a_node_that_runs() {
        let dir = tempfile::tempdir().expect("a folder");
        let up = DataFolder::new(dir.path()).lock().expect("free");
        let (first, second) = (node_folder(dir.path(), 0), node_folder(dir.path(), 1));
        drop(DataFolder::new(&first).lock().expect("free"));
        let running = DataFolder::new(&second).lock().expect("free");
        let failure = reset(&up, true, Output::new(true)).await.expect_err("node2 runs");
        let pid = std::process::id().to_string();
        assert!(
            failure.why.contains("node2") && failure.why.contains(&pid) && failure.next.contains(&pid),
            "{failure}"
        );
        assert!(first.join("lock").exists() && second.join("lock").exists());
        drop(running);
        assert_eq!(reset(&up, true, Output::new(true)).await, Ok(()));
        assert!(!first.exists() && !second.exists());
    }
}
