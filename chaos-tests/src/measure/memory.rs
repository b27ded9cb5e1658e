//! What memory two nodes and their witness take: idle, while there is much to do, and when it is quiet again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::Tool;
use crate::bench::Usage;
use crate::chat::Chat;
use crate::cluster::{Cluster, NodeProcess};
use crate::report::keep;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nobody talks before memory counts as that of a quiet node.
const CALM: Duration = Duration::from_secs(15);

/// What is done.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// Messages said and answered, over the two nodes.
    pub exchanges: u64,
    /// Clients that say them, each as soon as it has its answer.
    pub clients: usize,
    /// Looks at the memory meanwhile.
    pub looks: u64,
    /// Whether to wait for calm before the first look and before the last.
    pub calm: bool,
}

/// Memory of one node at one time, in megabytes (10^6 bytes).
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// The node.
    pub node: String,
    /// All that is resident.
    pub resident_mb: f64,
    /// Of it, what is neither code nor files.
    pub own_mb: f64,
    /// The most that was resident so far.
    pub peak_mb: f64,
}

impl Memory {
    fn of(node: &NodeProcess) -> Result<Self> {
        let usage = Usage::of(node.pid)?;
        let mb = |bytes: u64| (bytes as f64 / 1e4).round() / 100.0;
        Ok(Self {
            node: node.name.clone(),
            resident_mb: mb(usage.resident_bytes),
            own_mb: mb(usage.own_bytes),
            peak_mb: mb(usage.peak_bytes),
        })
    }
}

/// One look at all nodes.
#[derive(Debug, Clone, Serialize)]
pub struct Look {
    /// Exchanges so far.
    pub exchanges: u64,
    /// Of these, since the look before: how many a second.
    pub per_second: f64,
    /// Every node; the witness comes last.
    pub nodes: Vec<Memory>,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done.
    pub plan: Plan,
    /// Idle first, then under load; the last is after it.
    pub looks: Vec<Look>,
}

/// Two nodes and a witness, and clients that talk to the two.
///
/// # Errors
/// Where the cluster does not stand, or a client is not answered.
pub async fn run(tool: &Tool, plan: &Plan) -> Result<Report> {
    let tool = Tool {
        options: crate::cluster::Options {
            nodes: 2,
            ..tool.options.clone()
        },
        report: tool.report.clone(),
        machines: false,
    };
    let (_data, cluster) = tool.cluster().await?;
    let witness = cluster.add_witness().await?;
    let look = |exchanges, per_second| -> Result<Look> {
        let nodes = cluster.nodes.iter().chain([&witness.node]).map(Memory::of);
        Ok(Look {
            exchanges,
            per_second,
            nodes: nodes.collect::<Result<_>>()?,
        })
    };
    let calm = if plan.calm { CALM } else { Duration::ZERO };
    sleep(calm).await;
    let mut looks = vec![look(0, 0.0)?];
    for number in 1..=plan.looks {
        let (before, after) = (
            plan.exchanges * (number - 1) / plan.looks,
            plan.exchanges * number / plan.looks,
        );
        let started = Instant::now();
        exchange(&cluster, plan.clients, after - before).await?;
        let per_second = (after - before) as f64 / started.elapsed().as_secs_f64();
        looks.push(look(after, per_second.round())?);
    }
    sleep(calm).await;
    looks.push(look(plan.exchanges, 0.0)?);
    let report = Report { plan: *plan, looks };
    keep(&tool.report, "memory", &report)?;
    witness.stop().await?;
    cluster.stop().await?;
    Ok(report)
}

/// `count` messages, each said and answered, by as many clients as are told.
async fn exchange(cluster: &Cluster, clients: usize, count: u64) -> Result<()> {
    let sockets = cluster.sockets();
    let begun = Arc::new(AtomicU64::new(0));
    let mut talkers = JoinSet::new();
    for n in 0..clients {
        let url = sockets
            .get(n % sockets.len())
            .context("there are sockets")?
            .clone();
        let (token, begun) = (cluster.token.clone(), Arc::clone(&begun));
        talkers.spawn(async move {
            let (mut chat, _) = Chat::hello(&url, &token, None, None).await?;
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let id = format!("m{number}");
                let answered = timeout(PATIENCE, ask(&mut chat, &id)).await;
                answered.context("no answer")??;
            }
        });
    }
    while let Some(talker) = talkers.join_next().await {
        talker??;
    }
    Ok(())
}

/// Says one thing until it is answered: where the machine has much else to do, a client may be told to try again.
async fn ask(chat: &mut Chat, id: &str) -> Result<()> {
    loop {
        chat.say(id, "what is 2 plus 2?").await?;
        let retry_after_ms = loop {
            let frame = chat.next().await?;
            match frame["type"].as_str() {
                Some("reply") => return Ok(()),
                Some("error") => break frame["retry_after_ms"].as_u64().unwrap_or(250),
                _ => {}
            }
        };
        sleep(Duration::from_millis(retry_after_ms)).await;
    }
}
