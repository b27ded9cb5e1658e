//! A cluster of real processes, started as a person would start it.
//!
//! Either by `jarvis up`, all nodes on this machine's loopback, for any user ([`up`]); or each node on a machine of its own,
//! as far as the network can tell ([`machines`]), where cables can be cut.

mod machines;
mod process;
mod shape;
mod up;
mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use self::machines::Machines;
use self::process::free_ports;
pub(crate) use self::process::wait_gone;
pub use self::process::{Stopped, signal};
pub use self::shape::Shape;
use self::up::{Up, UpFile};
pub use self::witness::Witness;
use crate::net::Weather;

/// Longest wait for a cluster to start or stop: a debug build on a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a machine's supervisor waits before it starts a node again that died, as `jarvis up` does.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

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

/// What keeps the nodes' processes.
enum Hosting {
    Up(Up),
    Machines(Machines),
}

/// A running cluster.
pub struct Cluster {
    hosting: Hosting,
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
    http: reqwest::Client,
}

impl Cluster {
    /// Starts one in `data` by `jarvis up` and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not get ready; with what it said.
    pub async fn start(data: &TempDir, options: Options) -> Result<Self> {
        let port = free_ports(options.nodes)?;
        Self::start_at(data.path(), options, port).await
    }

    /// Starts one in `data`, each node on a machine of its own. Only where [`crate::net::enter`] has led.
    ///
    /// # Errors
    /// Where it does not get ready.
    pub async fn start_on_machines(data: &TempDir, options: Options) -> Result<Self> {
        let started = Instant::now();
        let (machines, token) = Box::pin(Machines::start(data.path(), &options)).await?;
        let nodes = machines.nodes();
        let mut cluster = Self {
            hosting: Hosting::Machines(machines),
            url: nodes.first().context("there are nodes")?.url.clone(),
            token,
            nodes,
            ready_after: started.elapsed(),
            data: data.path().to_owned(),
            options,
            http: http_client()?,
        };
        cluster.wait_whole().await?;
        cluster.ready_after = started.elapsed();
        Ok(cluster)
    }

    async fn start_at(data: &Path, options: Options, port: u16) -> Result<Self> {
        let started = Instant::now();
        let (up, file) = Up::start(data, &options, port).await?;
        let UpFile {
            url, token, nodes, ..
        } = file;
        Ok(Self {
            hosting: Hosting::Up(up),
            url,
            token,
            nodes,
            ready_after: started.elapsed(),
            data: data.to_owned(),
            options,
            http: http_client()?,
        })
    }

    /// Learns again which processes there are: pids change when a node is started again.
    ///
    /// # Errors
    /// Where the file is not as promised.
    pub fn refresh(&mut self) -> Result<()> {
        self.nodes = match &self.hosting {
            Hosting::Up(up) => up.nodes()?,
            Hosting::Machines(machines) => machines.nodes(),
        };
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
        self.signal(name, Signal::KILL)
    }

    /// Signals a node's process.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn signal(&mut self, name: &str, what: Signal) -> Result<u32> {
        self.refresh()?;
        let pid = self.node(name)?.pid;
        signal(pid, what)?;
        Ok(pid)
    }

    /// Whether a node's process is there, as of the last [`Cluster::refresh`].
    pub fn is_running(&self, name: &str) -> bool {
        self.node(name).is_ok_and(|node| process::is_running(node.pid))
    }

    /// Starts a node's process, as a machine's init system would.
    ///
    /// # Errors
    /// Where `jarvis up` does that by itself.
    pub fn start_node(&mut self, name: &str) -> Result<()> {
        match &mut self.hosting {
            Hosting::Up(_) => bail!("jarvis up starts its nodes by itself"),
            Hosting::Machines(machines) => machines.run(name)?,
        }
        self.refresh()
    }

    /// Waits until a node whose process was `old_pid` runs again under another.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn wait_restarted(&mut self, name: &str, old_pid: u32) -> Result<()> {
        if let Hosting::Machines(machines) = &mut self.hosting {
            machines.wait_ended(name).await?;
            sleep(RESTART_PAUSE).await;
            machines.run(name)?;
        }
        let started = Instant::now();
        loop {
            self.refresh()?;
            if self.node(name)?.pid != old_pid {
                return Ok(());
            }
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "{name} was not started again"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sets what the network between the machines does to packets, from now on.
    ///
    /// # Errors
    /// Where the nodes are not on machines of their own.
    pub async fn weather(&self, weather: &Weather) -> Result<()> {
        match &self.hosting {
            Hosting::Up(_) => bail!("nodes that share one loopback have no cables to cut"),
            Hosting::Machines(machines) => machines.weather(weather).await,
        }
    }

    /// `GET path` at a node, as JSON.
    ///
    /// # Errors
    /// Where it does not answer with success.
    pub async fn get(&self, node: &NodeProcess, path: &str) -> Result<serde_json::Value> {
        let text = self.get_text(node, path).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// `GET path` at a node.
    ///
    /// # Errors
    /// Where it does not answer with success.
    pub async fn get_text(&self, node: &NodeProcess, path: &str) -> Result<String> {
        self.eyes().get(node, path).await
    }

    /// What looks at nodes from elsewhere, while the cluster is in other hands.
    pub fn eyes(&self) -> Eyes {
        Eyes {
            http: self.http.clone(),
            token: self.token.clone(),
        }
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
    /// Where a process cannot be signalled, or the nodes are on machines of their own.
    pub async fn power_cut(mut self) -> Result<(PathBuf, Options, u16)> {
        self.refresh()?;
        let Hosting::Up(up) = &mut self.hosting else {
            bail!("only what jarvis up started is cut as one");
        };
        up.kill().await?;
        for node in &self.nodes {
            // Those that noticed the supervisor's end may be gone already.
            let _ = signal(node.pid, Signal::KILL);
        }
        for node in &self.nodes {
            wait_gone(node.pid).await?;
        }
        Ok((self.data.clone(), self.options.clone(), up.port))
    }

    /// Starts again what [`Cluster::power_cut`] ended, on the same ports.
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
    pub async fn stop(mut self) -> Result<()> {
        match &mut self.hosting {
            Hosting::Up(up) => up.stop().await,
            Hosting::Machines(machines) => machines.stop().await,
        }
    }
}

/// Looks at nodes over HTTP.
#[derive(Clone)]
pub struct Eyes {
    http: reqwest::Client,
    token: String,
}

impl Eyes {
    /// `GET path` at a node.
    ///
    /// # Errors
    /// Where it does not answer with success.
    pub async fn get(&self, node: &NodeProcess, path: &str) -> Result<String> {
        let url = format!("{}{path}", node.url.trim_end_matches('/'));
        let answer = self.http.get(&url).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(answer.text().await?)
    }

    /// `POST path` at a node.
    ///
    /// # Errors
    /// Where it does not answer with success.
    pub async fn post(&self, node: &NodeProcess, path: &str, body: &serde_json::Value) -> Result<String> {
        let (status, text) = self.ask(node, path, body).await?;
        ensure!(status.is_success(), "{}{path} answers {status}: {text}", node.url);
        Ok(text)
    }

    /// `POST path` at a node: whatever it answers.
    ///
    /// # Errors
    /// Where no whole answer comes.
    pub async fn ask(
        &self,
        node: &NodeProcess,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(StatusCode, String), reqwest::Error> {
        let url = format!("{}{path}", node.url.trim_end_matches('/'));
        let asked = self.http.post(&url).bearer_auth(&self.token).json(body);
        let answer = asked.send().await?;
        Ok((answer.status(), answer.text().await?))
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
