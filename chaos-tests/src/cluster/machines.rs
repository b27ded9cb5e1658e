//! Nodes on machines of their own: made, joined and run by the commands that a person would give on each.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::process::signal;
use super::{NodeProcess, Options, PATIENCE, http_client};
use crate::net::{Lan, Weather, address};

/// Everybody's port: each machine has an address of its own.
const PORT: u16 = 8007;

struct Machine {
    number: u8,
    name: String,
    data: PathBuf,
    child: Option<Child>,
    pid: u32,
}

/// All machines and the network between them.
pub struct Machines {
    lan: Lan,
    options: Options,
    all: Vec<Machine>,
}

impl Machines {
    /// Makes the cluster; gives a bearer token for it.
    pub(super) async fn start(data: &Path, options: &Options) -> Result<(Self, String)> {
        let count = u8::try_from(options.nodes)?;
        let machine = |number: u8| Machine {
            number,
            name: format!("node{}", number + 1),
            data: data.join(format!("node{}", number + 1)),
            child: None,
            pid: 0,
        };
        let mut machines = Self {
            lan: Lan::lay(count).await?,
            options: options.clone(),
            all: (0..count).map(machine).collect(),
        };
        machines.give("node1", "init", None).await?;
        machines.run("node1")?;
        machines.until_ready("node1").await?;
        let others: Vec<String> = machines.all.iter().skip(1).map(|m| m.name.clone()).collect();
        for name in &others {
            let invite = machines.ask("node1", &["invite"]).await?;
            let token = invite["token"].as_str().context("an invitation is a token")?;
            machines.give(name, "join", Some(token)).await?;
            machines.run(name)?;
        }
        let made = machines
            .ask("node1", &["token", "create", "--label", "load"])
            .await?;
        let token = made["token"].as_str().context("a token is made")?.to_owned();
        Ok((machines, token))
    }

    /// As `up.json` would name them.
    pub(super) fn nodes(&self) -> Vec<NodeProcess> {
        let node = |machine: &Machine| NodeProcess {
            name: machine.name.clone(),
            id: u64::from(machine.number) + 1,
            pid: machine.pid,
            url: url(machine.number),
            data: machine.data.clone(),
        };
        self.all.iter().map(node).collect()
    }

    /// Starts a node.
    pub(super) fn run(&mut self, name: &str) -> Result<()> {
        let mut command = self.jarvis(name)?;
        let machine = self.machine_mut(name)?;
        let log = machine.data.join("jarvis.log");
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        command.arg("run").arg("--data").arg(&machine.data);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn()?;
        machine.pid = child.id().context("it was just started")?;
        machine.child = Some(child);
        Ok(())
    }

    /// Waits until a node's process has ended.
    pub(super) async fn wait_ended(&mut self, name: &str) -> Result<()> {
        let machine = self.machine_mut(name)?;
        if let Some(child) = &mut machine.child {
            timeout(PATIENCE, child.wait())
                .await
                .with_context(|| format!("{name} did not end"))??;
            machine.child = None;
        }
        Ok(())
    }

    /// Stops all as an init system would.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.lan.weather(&Weather::fair()).await?;
        let names: Vec<String> = self.all.iter().map(|machine| machine.name.clone()).collect();
        for name in &names {
            signal(self.machine_mut(name)?.pid, Signal::TERM)?;
        }
        for name in &names {
            self.wait_ended(name).await?;
        }
        Ok(())
    }

    /// Puts a weather in force.
    pub(super) async fn weather(&self, weather: &Weather) -> Result<()> {
        self.lan.weather(weather).await
    }

    fn machine(&self, name: &str) -> Result<&Machine> {
        let found = self.all.iter().find(|machine| machine.name == name);
        found.with_context(|| format!("there is no machine {name}"))
    }

    fn machine_mut(&mut self, name: &str) -> Result<&mut Machine> {
        let found = self.all.iter_mut().find(|machine| machine.name == name);
        found.with_context(|| format!("there is no machine {name}"))
    }

    /// A jarvis command on that machine.
    fn jarvis(&self, name: &str) -> Result<Command> {
        let mut command = self.lan.on(self.machine(name)?.number, &self.options.jarvis);
        command
            .envs(self.options.env.iter().map(|(key, value)| (key, value)))
            .env_remove("JARVIS_DATA")
            .kill_on_drop(true);
        Ok(command)
    }

    /// `init` or `join`.
    async fn give(&self, name: &str, what: &str, token: Option<&str>) -> Result<()> {
        let machine = self.machine(name)?;
        let place = format!("{}:{PORT}", address(Some(machine.number)));
        let mut command = self.jarvis(name)?;
        command.arg(what).args(token).args(["--name", name]);
        command.args(["--listen", &place, "--advertise", &place]);
        command.arg("--data").arg(&machine.data);
        output(command).await.map(drop)
    }

    /// A question to a node's command line, answered in JSON.
    async fn ask(&self, name: &str, arguments: &[&str]) -> Result<Value> {
        let mut command = self.jarvis(name)?;
        command.args(arguments).arg("--json");
        command.arg("--data").arg(&self.machine(name)?.data);
        Ok(serde_json::from_slice(&output(command).await?)?)
    }

    async fn until_ready(&self, name: &str) -> Result<()> {
        let url = format!("{}/readyz", url(self.machine(name)?.number));
        let (http, started) = (http_client()?, Instant::now());
        while !http.get(&url).send().await.is_ok_and(|a| a.status().is_success()) {
            ensure!(started.elapsed() < PATIENCE, "{name} did not get ready");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn url(machine: u8) -> String {
    format!("http://{}:{PORT}", address(Some(machine)))
}

async fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command.output().await?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
