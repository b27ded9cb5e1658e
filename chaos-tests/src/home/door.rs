//! Asks a cluster about its home, at whichever node answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Eyes, NodeProcess};

/// How long things may take that follow from something: a debug build on a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The way to a cluster's home over HTTP.
#[derive(Clone)]
pub struct Door {
    /// Speaks to nodes.
    pub eyes: Eyes,
    /// All of them; their processes may be others by now.
    pub nodes: Vec<NodeProcess>,
}

impl Door {
    /// That of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            eyes: cluster.eyes(),
            nodes: cluster.nodes.clone(),
        }
    }

    /// `GET` at the first node that answers.
    ///
    /// # Errors
    /// Where none does.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let mut last = None;
        for node in &self.nodes {
            match self.eyes.get(node, path).await {
                Ok(text) => return Ok(serde_json::from_str(&text)?),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there are nodes")?)
    }

    /// Loads automations, at the first node that takes them.
    ///
    /// # Errors
    /// Where none does, or something is wrong with them.
    pub async fn load(&self, yaml: &str) -> Result<()> {
        let body = json!({"files": [{"name": "test.yaml", "text": yaml}]});
        let mut last = None;
        for node in &self.nodes {
            match self.eyes.post(node, "/api/v1/automations", &body).await {
                Ok(report) => return is_clean(&serde_json::from_str(&report)?),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there are nodes")?)
    }

    /// Waits until the bridge says what is waited for.
    ///
    /// # Errors
    /// Where it does not in time, with what it said last.
    pub async fn until_bridge(&self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let began = Instant::now();
        loop {
            let found = self.get("/api/v1/bridge").await;
            match found {
                Ok(bridge) if fits(&bridge) => return Ok(bridge),
                last => ensure!(began.elapsed() < PATIENCE, "the bridge last said: {last:?}"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the bridge hears what sensors say.
    ///
    /// # Errors
    /// Where it does not in time.
    pub async fn until_connected(&self) -> Result<()> {
        self.until_bridge(is_connected).await.map(drop)
    }
}

/// Whether the bridge hears what sensors say.
pub(super) fn is_connected(bridge: &Value) -> bool {
    bridge["state"] == "connected" && bridge["subscribed"] == true
}

fn is_clean(report: &Value) -> Result<()> {
    let clean = |key: &str| report[key].as_array().is_none_or(Vec::is_empty);
    ensure!(clean("problems") && clean("warnings"), "not loaded: {report}");
    Ok(())
}
