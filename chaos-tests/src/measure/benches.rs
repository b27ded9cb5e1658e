//! Rates, latencies and what a node costs.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Tool;
use crate::report::{keep, say};
use crate::{bench, bench_calls};

/// Everything but faults.
///
/// # Errors
/// Where one of them fails.
pub async fn all(tool: &Tool) -> Result<()> {
    idle(tool, Duration::from_secs(30)).await?;
    messages(tool, Duration::from_secs(10)).await?;
    calls(tool, Duration::from_secs(5)).await?;
    sockets(tool, 10_000, 3_000).await
}

/// Messages a second: one client, and 64.
///
/// # Errors
/// Where a client is refused.
pub async fn messages(tool: &Tool, lasting: Duration) -> Result<()> {
    let (_data, cluster) = tool.cluster().await?;
    // A first, unmeasured run warms the file system and the branch predictors alike.
    bench::messages(&cluster, 8, Duration::from_secs(2)).await?;
    let mut all = Vec::new();
    for clients in [1, 64] {
        all.push(bench::messages(&cluster, clients, lasting).await?);
    }
    keep(&tool.report, "messages", &all)?;
    cluster.stop().await
}

/// Entity calls between two nodes.
///
/// # Errors
/// Where the other process does not answer.
pub async fn calls(tool: &Tool, lasting: Duration) -> Result<()> {
    let report = bench_calls::calls(std::env::current_exe()?, lasting).await?;
    keep(&tool.report, "calls", &report)
}

/// Nodes that nobody talks to.
///
/// # Errors
/// Where `/proc` does not tell.
pub async fn idle(tool: &Tool, lasting: Duration) -> Result<()> {
    let (_data, cluster) = tool.cluster().await?;
    say(&format!("ready after {:?}", cluster.ready_after));
    // Start-up is not idleness.
    tokio::time::sleep(Duration::from_secs(10)).await;
    keep(&tool.report, "idle", &bench::idle(&cluster, lasting).await?)?;
    cluster.stop().await
}

/// Idle sockets, and many that talk at once.
///
/// # Errors
/// Where a socket is refused.
pub async fn sockets(tool: &Tool, idle: usize, talking: usize) -> Result<()> {
    let (_data, cluster) = tool.cluster().await?;
    let node = cluster.nodes.first().context("there are nodes")?.clone();
    let idle = bench::idle_sockets(&cluster, &node, idle).await?;
    keep(&tool.report, "sockets-idle", &idle)?;
    let talking = bench::talking(&cluster, talking, 5).await?;
    keep(&tool.report, "sockets-talking", &talking)?;
    cluster.stop().await
}
