//! A cluster with a broker and a recorder, and what tests do to them.

use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_host::Tasks;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::door::is_connected;
use super::{Door, Mosquitto, Reach, Recorder, Said, Saves, say_all};
use crate::cluster::{Cluster, NodeProcess, Options};

/// See the module.
pub struct Rig {
    /// The broker.
    pub broker: Mosquitto,
    /// The cluster.
    pub cluster: Cluster,
    /// Who sees what is done.
    pub recorder: Recorder,
    door: Door,
    tasks: Tasks,
    _data: TempDir,
}

impl Rig {
    /// Starts all of it; the bridge is connected and subscribed when this returns.
    ///
    /// # Errors
    /// Where something does not start.
    pub async fn start(mut options: Options, saves: Saves) -> Result<Self> {
        let broker = Mosquitto::start(saves, Reach::Loopback).await?;
        let recorder = Recorder::start(broker.port).await?;
        options.env.extend(broker.env());
        let data = tempfile::tempdir()?;
        let cluster = Cluster::start(&data, options).await?;
        let rig = Self {
            broker,
            door: Door::of(&cluster),
            cluster,
            recorder,
            tasks: Tasks::new(),
            _data: data,
        };
        rig.door.until_connected().await?;
        Ok(rig)
    }

    /// Has sensors speak, as [`say_all`] does, while something else is done.
    pub fn talk(&self, devices: &[String], each: u64, pause: Duration) -> JoinHandle<Result<Said>> {
        let (port, devices) = (self.broker.port, devices.to_vec());
        self.tasks
            .spawn(async move { say_all(port, &devices, each, pause).await })
    }

    /// Loads automations.
    ///
    /// # Errors
    /// Where something is wrong with them.
    pub async fn load(&self, yaml: &str) -> Result<()> {
        self.door.load(yaml).await
    }

    /// `GET` at the first node that answers.
    ///
    /// # Errors
    /// Where none does.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.door.get(path).await
    }

    /// Waits until the bridge says what is waited for.
    ///
    /// # Errors
    /// Where it does not in time, with what it said last.
    pub async fn until_bridge(&self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.door.until_bridge(fits).await
    }

    /// The node that has the bridge.
    ///
    /// # Errors
    /// Where nobody knows.
    pub async fn bridge_node(&mut self) -> Result<NodeProcess> {
        self.cluster.refresh()?;
        let bridge = self.until_bridge(|bridge| bridge["node"].is_string()).await?;
        let name = bridge["node"].as_str().context("it has a name")?;
        Ok(self.cluster.node(name)?.clone())
    }

    /// Kills the node that has the bridge, and waits until another has it and the first is started again.
    ///
    /// # Errors
    /// Where that does not come about.
    pub async fn kill_bridge(&mut self) -> Result<Duration> {
        let victim = self.bridge_node().await?;
        self.cluster.kill(&victim.name)?;
        let killed = Instant::now();
        self.until_bridge(|bridge| bridge["node"] != *victim.name && is_connected(bridge))
            .await?;
        let back = killed.elapsed();
        self.cluster.wait_restarted(&victim.name, victim.pid).await?;
        self.cluster.wait_whole().await?;
        Ok(back)
    }
}
