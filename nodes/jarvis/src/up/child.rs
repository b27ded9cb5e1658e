//! The node processes: started, watched, started again, stopped; `up.json` follows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jarvis_client::Api;
use jarvis_host::Tasks;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::logfile::LogFile;
use super::{Stop, UpNode, UpState};
use crate::cli::output::complain;
use crate::data::DataFolder;
use crate::fail::Failure;
use crate::places::{advertised, local_url};

/// A node that died is started again after this.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A node that dies sooner than this is not well: the pause grows.
const WELL_AFTER: Duration = Duration::from_secs(2);
/// Longest pause.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(30);
/// How long nodes have to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// A line of a log longer than this is cut, in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One node as it is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its data folder.
    pub data: PathBuf,
    /// Settings for it.
    pub config: Option<PathBuf>,
}

impl Spec {
    /// Where others meet it.
    pub fn advertised(&self) -> String {
        advertised(None, self.listen)
    }

    /// Its API, as its local administrator.
    ///
    /// # Errors
    /// Where its credential cannot be read.
    pub fn api(&self) -> Result<Api, Failure> {
        let what = format!("{} cannot be asked", self.name);
        let token = DataFolder::new(&self.data)
            .admin_token()
            .map_err(|error| error.failure(&what))?;
        Api::new(&local_url(self.listen), token).map_err(|error| Failure::from_error(what, &error))
    }

    /// Members find one another where they were at last: a node alone may change its address, all at once may not.
    pub(super) fn check_address(&self, earlier: &[UpNode]) -> Result<(), Failure> {
        let url = local_url(self.listen);
        match earlier
            .iter()
            .find(|node| node.name == self.name && node.data.join("node.toml").exists())
        {
            Some(node) if node.url != url => {
                let why = format!(
                    "{} was at {} before, and would now be at {url}",
                    self.name, node.url
                );
                let next = "start with the --port of before; or begin anew with --reset";
                Err(Failure::new("the cluster did not start", why).next(next))
            }
            _ => Ok(()),
        }
    }

    /// Found out here rather than by the node: a port in use needs another `--port`.
    pub(super) fn check_port(&self) -> Result<(), Failure> {
        if crate::commands::join::port_is_free(self.listen) {
            return Ok(());
        }
        let why = format!(
            "port {} is in use, and {} needs it",
            self.listen.port(),
            self.name
        );
        Err(Failure::new("the cluster did not start", why)
            .next("stop the other program, or choose another with --port"))
    }
}

/// A node that is kept alive.
struct Kept {
    spec: Spec,
    /// Its process, while it runs.
    pid: Option<u32>,
    /// Its latest process: `up.json` names it until another has taken its place.
    last_pid: Option<u32>,
    id: u64,
    /// Held open: when it closes, the node stops.
    stdin: Option<ChildStdin>,
}

/// Writes down with the node where it listens, so that `jarvis run` alone brings it back there, and tells its id.
fn note_place(spec: &Spec) -> Result<u64, crate::data::DataError> {
    let folder = DataFolder::new(&spec.data).lock()?;
    let mut file = folder.member()?;
    let (listen, advertise) = (Some(spec.listen), Some(spec.advertised()));
    if (file.listen, &file.advertise) != (listen, &advertise) {
        (file.listen, file.advertise) = (listen, advertise);
        folder.save_identity(&file)?;
    }
    Ok(file.node.0)
}

/// All nodes of one `up`.
pub struct Fleet {
    folder: PathBuf,
    restart: bool,
    verbose: bool,
    tasks: Tasks,
    nodes: Mutex<BTreeMap<String, Kept>>,
    head: Mutex<UpState>,
    /// Held while the file is written.
    saving: Mutex<()>,
    /// As the last start left it.
    earlier: Vec<UpNode>,
    /// The broker that nodes are told of, where they have none of their own.
    broker: OnceLock<String>,
    alive: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl Fleet {
    /// None yet.
    pub fn new(folder: &Path, restart: bool, verbose: bool, tasks: Tasks) -> Self {
        let mut head = UpState::load(folder).ok().flatten().unwrap_or_default();
        head.ready = false;
        let earlier = std::mem::take(&mut head.nodes);
        Self {
            folder: folder.to_owned(),
            restart,
            verbose,
            tasks,
            nodes: Mutex::default(),
            head: Mutex::new(head),
            saving: Mutex::default(),
            earlier,
            broker: OnceLock::new(),
            alive: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }
    }

    /// Where all of it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The nodes of an earlier start.
    pub fn earlier(&self) -> &[UpNode] {
        &self.earlier
    }

    /// The broker of an earlier start.
    pub fn earlier_mqtt(&self) -> Option<String> {
        lock(&self.head).mqtt.clone()
    }

    /// Where the broker is; with `tell`, nodes that start from here on are told of it. Once.
    pub fn set_mqtt(&self, url: Option<String>, tell: bool) {
        if let Some(url) = url.clone().filter(|_| tell) {
            self.broker.get_or_init(|| url);
        }
        lock(&self.head).mqtt = url;
    }

    /// The token of an earlier start.
    pub fn known_token(&self) -> Option<String> {
        lock(&self.head).token.clone()
    }

    /// Starts a node and keeps it alive from then on.
    ///
    /// # Errors
    /// Where its data cannot be read or the program cannot be started.
    pub fn start(self: &Arc<Self>, spec: &Spec) -> Result<(), Failure> {
        let what = format!("{} did not start", spec.name);
        let id = note_place(spec).map_err(|error| error.failure(&what))?;
        let kept = Kept {
            spec: spec.clone(),
            pid: None,
            last_pid: None,
            id,
            stdin: None,
        };
        lock(&self.nodes).insert(spec.name.clone(), kept);
        let child = self.spawn(spec).map_err(|error| Failure::new(what, error))?;
        self.alive.send_modify(|alive| *alive += 1);
        let fleet = Arc::clone(self);
        let name = spec.name.clone();
        self.tasks.spawn(async move { fleet.keep(name, child).await });
        Ok(())
    }

    fn spawn(&self, spec: &Spec) -> std::io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("run")
            .arg("--supervised")
            .arg("--data")
            .arg(&spec.data);
        if let Some(config) = &spec.config {
            command.arg("--config").arg(config);
        }
        if let Some(url) = self.broker.get() {
            command.env("JARVIS_MQTT__URL", url);
        }
        command
            .env_remove("JARVIS_NODE__LISTEN")
            .env_remove("JARVIS_NODE__ADVERTISE")
            .env_remove("JARVIS_NODE__NAME")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for `up`, which tells its nodes in its own way.
            .process_group(0)
            .kill_on_drop(true);
        // A node looks for it, to know that it is one of a cluster of `up`.
        self.save();
        let mut child = command.spawn()?;
        if let Some(kept) = lock(&self.nodes).get_mut(&spec.name) {
            (kept.pid, kept.stdin) = (child.id(), child.stdin.take());
            kept.last_pid = kept.pid;
        }
        if let Some(stderr) = child.stderr.take() {
            let log = LogFile::open(&spec.data.join("jarvis.log"))?;
            let shown = self.verbose.then(|| spec.name.clone());
            self.tasks.spawn(copy_log(BufReader::new(stderr), log, shown));
        }
        self.save();
        Ok(child)
    }

    async fn keep(self: Arc<Self>, name: String, mut child: Child) {
        let mut pause = RESTART_PAUSE;
        let mut stopping = self.stopping.subscribe();
        loop {
            let began = Instant::now();
            let status = child.wait().await;
            let Some(spec) = self.note_death(&name) else {
                return;
            };
            if *stopping.borrow_and_update() {
                break;
            }
            let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            complain(&format!(
                "{name} died ({how}); its log: {}",
                spec.data.join("jarvis.log").display()
            ));
            if !self.restart {
                break;
            }
            pause = if began.elapsed() < WELL_AFTER {
                pause
            } else {
                RESTART_PAUSE
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stopping| *stopping) => break,
            }
            if began.elapsed() < WELL_AFTER {
                pause = (pause * 2).min(MAX_RESTART_PAUSE);
            }
            child = match self.spawn(&spec) {
                Ok(child) => child,
                Err(error) => {
                    complain(&format!("{name} could not be started again: {error}"));
                    break;
                }
            };
        }
        self.alive.send_modify(|alive| *alive -= 1);
    }

    fn note_death(&self, name: &str) -> Option<Spec> {
        let spec = {
            let mut nodes = lock(&self.nodes);
            let kept = nodes.get_mut(name)?;
            (kept.pid, kept.stdin) = (None, None);
            kept.spec.clone()
        };
        self.save();
        Some(spec)
    }

    /// Whether the node's process is there.
    pub fn is_alive(&self, name: &str) -> bool {
        lock(&self.nodes).get(name).is_some_and(|kept| kept.pid.is_some())
    }

    /// The cluster is whole: says so in `up.json`.
    pub fn ready(&self, url: String, token: String) {
        {
            let mut head = lock(&self.head);
            (head.ready, head.url, head.token) = (true, url, Some(token));
        }
        self.save();
    }

    /// As it stands.
    pub fn state(&self) -> UpState {
        let mut state = lock(&self.head).clone();
        state.nodes = lock(&self.nodes)
            .values()
            .map(|kept| UpNode {
                name: kept.spec.name.clone(),
                id: kept.id,
                pid: kept.last_pid,
                url: local_url(kept.spec.listen),
                data: kept.spec.data.clone(),
            })
            .collect();
        state
    }

    fn save(&self) {
        // One writer at a time, and each writes what is true when its turn comes.
        let _turn = lock(&self.saving);
        if let Err(error) = self.state().save(&self.folder) {
            complain(&format!(
                "{} could not be written: {error}",
                UpState::path(&self.folder).display()
            ));
        }
    }

    /// Stops all nodes: their stdin closes; who does not go gets a signal, then is killed. A second Ctrl-C kills at once.
    pub async fn stop(&self, told: &mut Stop) {
        self.stopping.send_replace(true);
        lock(&self.head).ready = false;
        for kept in lock(&self.nodes).values_mut() {
            kept.stdin = None;
        }
        let mut alive = self.alive.subscribe();
        let all_gone = async { alive.wait_for(|alive| *alive == 0).await.is_ok() };
        let in_time = tokio::select! {
            gone = tokio::time::timeout(STOP_TIMEOUT, all_gone) => gone.is_ok(),
            () = told.wait() => false,
        };
        if !in_time {
            for pid in lock(&self.nodes).values().filter_map(|kept| kept.pid) {
                kill(pid);
            }
            let mut alive = self.alive.subscribe();
            let _ = tokio::time::timeout(STOP_TIMEOUT, alive.wait_for(|alive| *alive == 0)).await;
        }
        self.save();
    }
}

/// SIGKILL, by id.
pub(crate) fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Whoever is gone already needs no signal.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

async fn copy_log(mut from: BufReader<tokio::process::ChildStderr>, mut to: LogFile, shown: Option<String>) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match from.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        bytes.truncate(MAX_LINE_BYTES);
        let text = String::from_utf8_lossy(&bytes);
        to.line(text.trim_end());
        if let Some(name) = &shown {
            complain(&format!("{name}: {}", text.trim_end()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
