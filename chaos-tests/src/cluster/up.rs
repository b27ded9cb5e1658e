//! Nodes that `jarvis up` started and starts again.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::process::signal;
use super::{NodeProcess, Options, PATIENCE};

/// What `jarvis up` says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UpFile {
    pub(super) ready: bool,
    pub(super) url: String,
    pub(super) token: String,
    pub(super) nodes: Vec<NodeProcess>,
}

/// A running `jarvis up`.
pub(super) struct Up {
    child: Child,
    data: PathBuf,
    /// Port of its first node.
    pub(super) port: u16,
}

impl Up {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(data: &Path, options: &Options, port: u16) -> Result<(Self, UpFile)> {
        let mut command = Command::new(&options.jarvis);
        command.args(["up", "--json", "--nodes", &options.nodes.to_string()]);
        command.args(["--port", &port.to_string()]);
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
        let mut child = command
            .spawn()
            .with_context(|| format!("{} does not start", options.jarvis.display()))?;
        let out = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(out).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .context("the cluster did not get ready")??;
        let line = line.context("jarvis up ended before it was ready")?;
        let file: UpFile =
            serde_json::from_str(&line).with_context(|| format!("not the promised line: {line}"))?;
        ensure!(file.ready, "jarvis up said it was not ready");
        let data = data.to_owned();
        Ok((Self { child, data, port }, file))
    }

    /// The nodes as they are: pids change when a node is started again.
    pub(super) fn nodes(&self) -> Result<Vec<NodeProcess>> {
        let text = std::fs::read(self.data.join("up.json"))?;
        let file: UpFile = serde_json::from_slice(&text)?;
        Ok(file.nodes)
    }

    /// Kills the supervisor.
    pub(super) async fn kill(&mut self) -> Result<()> {
        signal(self.child.id().context("the supervisor runs")?, Signal::KILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Stops it as Ctrl-C does.
    pub(super) async fn stop(&mut self) -> Result<()> {
        signal(self.child.id().context("the supervisor runs")?, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .context("jarvis up did not stop")??;
        ensure!(status.success(), "jarvis up ended with {status}");
        Ok(())
    }
}
