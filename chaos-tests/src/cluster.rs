//! A cluster of real processes, started by `jarvis up` as a person would start it.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for a cluster to start or stop: a debug build on a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node as `up.json` names it.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeProcess {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// Its process.
    pub pid: u32,
    /// Where people meet it.
    pub url: String,
    /// Its data folder.
    pub data: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
struct UpFile {
    ready: bool,
    url: String,
    token: String,
    nodes: Vec<NodeProcess>,
}

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary.
    pub jarvis: PathBuf,
    /// How many nodes.
    pub nodes: u32,
    /// Further environment, such as limits.
    pub env: Vec<(String, String)>,
    /// Whether a node that died is started again.
    pub restart: bool,
}

impl Options {
    /// Three nodes without rate limits.
    pub fn unlimited(jarvis: PathBuf) -> Self {
        let off = ["MESSAGES_PER_MINUTE", "SOCKETS_PER_MINUTE"];
        let env = off
            .iter()
            .map(|key| (format!("JARVIS_LIMITS__{key}"), "0".to_owned()))
            .collect();
        Self {
            jarvis,
            nodes: 3,
            env,
            restart: true,
        }
    }
}

/// The binary beside the running test or tool, unless `JARVIS_BIN` names another.
///
/// # Errors
/// Where it has not been built.
pub fn find_jarvis() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("JARVIS_BIN") {
        return Ok(path.into());
    }
    let here = std::env::current_exe()?;
    let folders = here.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("jarvis"))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no jarvis binary beside {}: cargo build --bin jarvis",
            here.display()
        )
    })
}

/// A running cluster.
pub struct Cluster {
    up: Child,
    /// Where the page is.
    pub url: String,
    /// A bearer token.
    pub token: String,
    /// The nodes as of the last [`Cluster::refresh`].
    pub nodes: Vec<NodeProcess>,
    /// How long it took until every node was ready.
    pub ready_after: Duration,
    data: PathBuf,
    options: Options,
    port: u16,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts one in `data` and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not get ready; with what it said.
    pub async fn start(data: &TempDir, options: Options) -> Result<Self> {
        let port = free_ports(options.nodes)?;
        Self::start_at(data.path(), options, port).await
    }

    async fn start_at(data: &Path, options: Options, port: u16) -> Result<Self> {
        let started = Instant::now();
        let mut command = Command::new(&options.jarvis);
        command.args([
            "up",
            "--json",
            "--nodes",
            &options.nodes.to_string(),
            "--port",
            &port.to_string(),
        ]);
        command.arg("--data").arg(data);
        if !options.restart {
            command.arg("--no-restart");
        }
        command.envs(options.env.iter().map(|(key, value)| (key, value)));
        command.env_remove("JARVIS_DATA");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut up = command
            .spawn()
            .with_context(|| format!("{} does not start", options.jarvis.display()))?;
        let out = up.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(out).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .context("the cluster did not get ready")??;
        let line = line.context("jarvis up ended before it was ready")?;
        let file: UpFile =
            serde_json::from_str(&line).with_context(|| format!("not the promised line: {line}"))?;
        ensure!(file.ready, "jarvis up said it was not ready");
        let ready_after = started.elapsed();
        let http = http_client()?;
        let UpFile {
            url, token, nodes, ..
        } = file;
        Ok(Self {
            up,
            url,
            token,
            nodes,
            ready_after,
            data: data.to_owned(),
            options,
            port,
            http,
        })
    }

    /// Reads `up.json` again: pids change when a node is started again.
    ///
    /// # Errors
    /// Where the file is not as promised.
    pub fn refresh(&mut self) -> Result<()> {
        let text = std::fs::read(self.data.join("up.json"))?;
        let file: UpFile = serde_json::from_slice(&text)?;
        self.nodes = file.nodes;
        Ok(())
    }

    /// The node of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn node(&self, name: &str) -> Result<&NodeProcess> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| format!("there is no node {name}"))
    }

    /// The chat sockets of all nodes.
    pub fn sockets(&self) -> Vec<String> {
        self.nodes.iter().map(|node| socket_of(&node.url)).collect()
    }

    /// Kills a node's process with SIGKILL.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn kill(&mut self, name: &str) -> Result<u32> {
        self.refresh()?;
        let pid = self.node(name)?.pid;
        signal(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// `GET path` at a node, as JSON.
    ///
    /// # Errors
    /// Where it does not answer with success.
    pub async fn get(&self, node: &NodeProcess, path: &str) -> Result<serde_json::Value> {
        let url = format!("{}{path}", node.url.trim_end_matches('/'));
        let answer = self.http.get(&url).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(answer.json().await?)
    }

    /// Name of the leader, as some node that answers sees it.
    ///
    /// # Errors
    /// Where nobody knows one in time.
    pub async fn leader(&self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for node in &self.nodes {
                if let Ok(cluster) = self.get(node, "/api/v1/cluster").await
                    && let Some(leader) = cluster["leader"].as_str()
                {
                    return Ok(leader.to_owned());
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("no node knows a leader")
    }

    /// Waits until every node is ready and has all that is committed, under whatever pid it now runs.
    ///
    /// # Errors
    /// Where that takes too long.
    pub async fn wait_whole(&mut self) -> Result<Duration> {
        let started = Instant::now();
        loop {
            self.refresh()?;
            let mut ready = 0;
            for node in &self.nodes {
                let url = format!("{}/readyz", node.url.trim_end_matches('/'));
                let answer = self.http.get(url).timeout(Duration::from_secs(2)).send().await;
                ready += usize::from(answer.is_ok_and(|a| a.status().is_success()));
            }
            if ready == self.nodes.len() {
                return Ok(started.elapsed());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "only {ready} of {} nodes are ready",
                self.nodes.len()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until `what` holds of a node's `/api/v1/cluster`.
    ///
    /// # Errors
    /// Where that takes too long.
    pub async fn wait_cluster(
        &self,
        node: &NodeProcess,
        what: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            let last = self.get(node, "/api/v1/cluster").await;
            if last.as_ref().is_ok_and(&what) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "it never came to hold; last seen: {last:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills every node and the supervisor, as a power cut would.
    ///
    /// # Errors
    /// Where a process cannot be signalled.
    pub async fn power_cut(mut self) -> Result<(PathBuf, Options, u16)> {
        self.refresh()?;
        let up = self.up.id().context("the supervisor runs")?;
        signal(up, Signal::KILL)?;
        for node in &self.nodes {
            // Those that noticed the supervisor's end may be gone already.
            let _ = signal(node.pid, Signal::KILL);
        }
        self.up.wait().await?;
        for node in &self.nodes {
            wait_gone(node.pid).await?;
        }
        Ok((self.data.clone(), self.options.clone(), self.port))
    }

    /// Starts again what [`Cluster::power_cut`] or [`Cluster::stop`] ended, on the same ports.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_again((data, options, port): (PathBuf, Options, u16)) -> Result<Self> {
        Self::start_at(&data, options, port).await
    }

    /// Stops it as Ctrl-C does.
    ///
    /// # Errors
    /// Where it does not end in time, or not with success.
    pub async fn stop(mut self) -> Result<(PathBuf, Options, u16)> {
        signal(self.up.id().context("the supervisor runs")?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.up.wait())
            .await
            .context("jarvis up did not stop")??;
        ensure!(status.success(), "jarvis up ended with {status}");
        Ok((self.data.clone(), self.options.clone(), self.port))
    }
}

/// `ws://…/ws` of a node's `http://…`.
pub fn socket_of(url: &str) -> String {
    format!("{}/ws", url.trim_end_matches('/').replacen("http", "ws", 1))
}

/// A client without TLS of its own: everything here speaks to loopback.
///
/// # Errors
/// Where its TLS settings are refused.
pub fn http_client() -> Result<reqwest::Client> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(Duration::from_secs(10))
        .build()?)
}

/// Signals a process by its id.
///
/// # Errors
/// Where there is none.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("pid 0 is nobody")?;
    kill_process(pid, signal).with_context(|| format!("process {pid:?} cannot be signalled"))
}

async fn wait_gone(pid: u32) -> Result<()> {
    let started = Instant::now();
    let status = PathBuf::from(format!("/proc/{pid}/stat"));
    // A zombie has ended: whoever inherits it reaps it.
    while std::fs::read_to_string(&status).is_ok_and(|text| !text.contains(") Z ")) {
        ensure!(started.elapsed() < PATIENCE, "process {pid} did not end");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A port such that it, and every tenth after it for the other nodes, is free for TCP and UDP.
fn free_ports(nodes: u32) -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let step = |n: u32| port.checked_add(u16::try_from(n * 10).ok()?);
        let all: Option<Vec<u16>> = (0..nodes).map(step).collect();
        let free = |port: &u16| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
        };
        if all.is_some_and(|all| all.iter().all(free)) {
            return Ok(port);
        }
    }
    bail!("no free ports")
}
