//! Syncs of the log that take longer, on every node, by the fault that a drill would use.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::Cluster;

/// A fault ends by itself after this, the longest that a node allows; it is set anew then.
const LASTS: Duration = Duration::from_secs(600);

/// Slows all nodes' syncs until the cluster is stopped.
pub(super) async fn slow_all(cluster: &Cluster, sync_delay_ms: u64) -> Result<JoinSet<Result<()>>> {
    let poster = cluster.eyes();
    let nodes = cluster.nodes.clone();
    let order = json!({
        "kind": "slow_disk", "sync_delay_ms": sync_delay_ms, "lasts_ms": LASTS.as_millis() as u64,
    });
    for node in &nodes {
        poster.post(node, "/api/v1/drill/faults", &order).await?;
    }
    let mut keeper = JoinSet::new();
    keeper.spawn(async move {
        loop {
            sleep(LASTS).await;
            for node in &nodes {
                poster.post(node, "/api/v1/drill/faults", &order).await?;
            }
        }
    });
    Ok(keeper)
}
