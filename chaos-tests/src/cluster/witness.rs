//! A witness that joins a cluster of `jarvis up`, as a small third machine would.

use std::fs::OpenOptions;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::process::{free_ports, signal};
use super::{Cluster, NodeProcess, PATIENCE};

/// What it is called.
const NAME: &str = "witness";

/// A running witness. Dropped, it is killed.
pub struct Witness {
    child: Child,
    /// Its process, as `up.json` would name it.
    pub node: NodeProcess,
    _data: TempDir,
}

impl Cluster {
    /// Has a witness join, and waits until everybody votes.
    ///
    /// # Errors
    /// Where it is not let in, or does not get its vote in time.
    pub async fn add_witness(&self) -> Result<Witness> {
        let first = self.nodes.first().context("there are nodes")?;
        let mut invite = self.jarvis();
        invite.args(["invite", "--json", "--role", "witness", "--data"]);
        let invited: Value = serde_json::from_slice(&output(invite.arg(&first.data)).await?)?;
        let token = invited["token"].as_str().context("an invitation is a token")?;

        let data = tempfile::tempdir()?;
        let listen = format!("127.0.0.1:{}", free_ports(1)?);
        let mut join = self.jarvis();
        join.args([
            "join", token, "--json", "--name", NAME, "--listen", &listen, "--data",
        ]);
        let joined: Value = serde_json::from_slice(&output(join.arg(data.path())).await?)?;

        let log = data.path().join("jarvis.log");
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut run = self.jarvis();
        run.arg("run").arg("--data").arg(data.path());
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = run.spawn()?;
        let node = NodeProcess {
            name: NAME.to_owned(),
            id: joined["node_id"].as_u64().context("a member has an id")?,
            pid: child.id().context("it was just started")?,
            url: format!("http://{listen}"),
            data: data.path().to_owned(),
        };
        let members = self.nodes.len() + 1;
        let all_vote = |cluster: &Value| {
            let nodes = cluster["nodes"].as_array();
            nodes
                .is_some_and(|nodes| nodes.len() == members && nodes.iter().all(|node| node["voter"] == true))
        };
        self.wait_cluster(first, all_vote).await?;
        Ok(Witness {
            child,
            node,
            _data: data,
        })
    }

    fn jarvis(&self) -> Command {
        let mut command = Command::new(&self.options.jarvis);
        command
            .envs(self.options.env.iter().map(|(key, value)| (key, value)))
            .env_remove("JARVIS_DATA")
            .kill_on_drop(true);
        command
    }
}

impl Witness {
    /// Stops it as an init system would.
    ///
    /// # Errors
    /// Where it does not end in time, or not with success.
    pub async fn stop(mut self) -> Result<()> {
        signal(self.node.pid, Signal::TERM)?;
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .context("the witness did not stop")??;
        ensure!(status.success(), "the witness ended with {status}");
        Ok(())
    }
}

async fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
