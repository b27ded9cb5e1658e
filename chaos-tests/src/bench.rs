//! Benchmarks over real processes: what a client sees, and what a node costs.
//!
//! Times are this machine's; compare them only with others of the same run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::chat::Chat;
use crate::cluster::{Cluster, NodeProcess, socket_of};

/// Latencies of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// How many a second, over the whole measurement.
    pub per_second: f64,
    /// Median, in microseconds.
    pub p50_us: u64,
    /// In microseconds.
    pub p99_us: u64,
    /// In microseconds.
    pub max_us: u64,
}

impl Latency {
    /// What `histogram` (of microseconds) holds, measured over `elapsed`.
    pub fn of(histogram: &Histogram<u64>, elapsed: Duration) -> Self {
        Self {
            count: histogram.len(),
            per_second: histogram.len() as f64 / elapsed.as_secs_f64(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        }
    }
}

/// A histogram of microseconds up to a minute.
///
/// # Errors
/// Never with these bounds.
pub fn microseconds() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// What clients that talk as fast as they are answered see.
#[derive(Debug, Clone, Serialize)]
pub struct MessageRates {
    /// How many clients at a time.
    pub clients: usize,
    /// From `say` to `said`: one committed entry.
    pub said: Latency,
    /// From `say` to `reply`: two committed entries.
    pub reply: Latency,
    /// Committed entries a second.
    pub commits_per_second: f64,
}

/// `clients` sessions over all nodes say and wait for the reply, over and over.
///
/// # Errors
/// Where a client is refused or loses its socket.
pub async fn messages(cluster: &Cluster, clients: usize, lasting: Duration) -> Result<MessageRates> {
    let sockets = cluster.sockets();
    let mut talkers = JoinSet::new();
    let start = Instant::now();
    let end = start + lasting;
    for n in 0..clients {
        let url = sockets
            .get(n % sockets.len())
            .context("there are sockets")?
            .clone();
        let token = cluster.token.clone();
        talkers.spawn(async move {
            let (mut said, mut reply) = (microseconds()?, microseconds()?);
            let (mut chat, _) = Chat::hello(&url, &token, None, None).await?;
            let mut message = 0u64;
            while Instant::now() < end {
                let at = Instant::now();
                chat.say(&format!("b{message}"), "2 + 2").await?;
                chat.next_of("said", Duration::from_secs(10)).await?;
                said.saturating_record(at.elapsed().as_micros() as u64);
                chat.next_of("reply", Duration::from_secs(10)).await?;
                reply.saturating_record(at.elapsed().as_micros() as u64);
                message += 1;
            }
            anyhow::Ok((said, reply))
        });
    }
    let (mut said, mut reply) = (microseconds()?, microseconds()?);
    while let Some(talker) = talkers.join_next().await {
        let (s, r) = talker??;
        said.add(s)?;
        reply.add(r)?;
    }
    let elapsed = start.elapsed();
    let commits_per_second = (said.len() + reply.len()) as f64 / elapsed.as_secs_f64();
    Ok(MessageRates {
        clients,
        said: Latency::of(&said, elapsed),
        reply: Latency::of(&reply, elapsed),
        commits_per_second,
    })
}

/// What a node costs while nobody talks.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// The node.
    pub node: String,
    /// Whether it led at the end.
    pub leads: bool,
    /// Resident memory, in megabytes (10^6 bytes).
    pub resident_mb: f64,
    /// Share of one core, in per cent.
    pub cpu_percent: f64,
    /// Bytes written to the device meanwhile, as a day's.
    pub written_bytes_per_day: u64,
    /// What `status` says of that.
    pub written_bytes_per_day_in_status: Option<u64>,
}

/// Watches all nodes for a while.
///
/// # Errors
/// Where `/proc` does not tell.
pub async fn idle(cluster: &Cluster, lasting: Duration) -> Result<Vec<Idle>> {
    let before: Vec<Usage> = cluster
        .nodes
        .iter()
        .map(|node| Usage::of(node.pid))
        .collect::<Result<_>>()?;
    sleep(lasting).await;
    let leader = cluster.leader().await?;
    let mut all = Vec::new();
    for (node, before) in cluster.nodes.iter().zip(before) {
        let now = Usage::of(node.pid)?;
        let days = lasting.as_secs_f64() / 86_400.0;
        let status = cluster.get(node, "/api/v1/cluster").await?;
        let own = status["nodes"]
            .as_array()
            .and_then(|nodes| nodes.iter().find(|n| n["name"] == node.name.as_str()));
        all.push(Idle {
            node: node.name.clone(),
            leads: node.name == leader,
            resident_mb: now.resident_bytes as f64 / 1e6,
            cpu_percent: now.cpu_percent_since(&before, lasting),
            written_bytes_per_day: ((now.written_bytes - before.written_bytes) as f64 / days) as u64,
            written_bytes_per_day_in_status: own.and_then(|n| n["disk_written_per_day_bytes"].as_u64()),
        });
    }
    Ok(all)
}

/// Linux counts CPU time in hundredths of a second on every machine that this runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident memory, the program's own code included.
    pub resident_bytes: u64,
    /// What of it is the process's own: neither code nor files.
    pub own_bytes: u64,
    /// The most that was resident at a time.
    pub peak_bytes: u64,
    /// User and system time.
    pub cpu_ticks: u64,
    /// Sent to the device.
    pub written_bytes: u64,
}

impl Usage {
    /// Share of one core since an earlier reading, in per cent.
    pub fn cpu_percent_since(&self, earlier: &Self, elapsed: Duration) -> f64 {
        let ticks = self.cpu_ticks.saturating_sub(earlier.cpu_ticks);
        100.0 * ticks as f64 / TICKS_PER_SECOND / elapsed.as_secs_f64()
    }

    /// Reads `/proc/PID`.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let field = |text: &str, name: &str| -> Option<u64> {
            text.lines()
                .find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let status = std::fs::read_to_string(folder.join("status"))?;
        let stat = std::fs::read_to_string(folder.join("stat"))?;
        let io = std::fs::read_to_string(folder.join("io"))?;
        let (_, after_name) = stat.rsplit_once(')').context("a stat line has a name")?;
        let times: Vec<u64> = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|t| t.parse().ok())
            .collect();
        Ok(Self {
            resident_bytes: field(&status, "VmRSS:").context("VmRSS")? * 1024,
            own_bytes: field(&status, "RssAnon:").context("RssAnon")? * 1024,
            peak_bytes: field(&status, "VmHWM:").context("VmHWM")? * 1024,
            cpu_ticks: times.iter().sum(),
            written_bytes: field(&io, "write_bytes:").context("write_bytes")?,
        })
    }
}

/// Memory of sockets that nobody talks on.
#[derive(Debug, Clone, Serialize)]
pub struct IdleSockets {
    /// How many.
    pub sockets: usize,
    /// Opened and welcomed a second.
    pub opened_per_second: f64,
    /// Resident memory each, in bytes, on the node that holds them.
    pub resident_bytes_each: f64,
    /// Resident memory of the node before, in megabytes.
    pub resident_before_mb: f64,
    /// And with all of them open.
    pub resident_after_mb: f64,
    /// A message and its reply on one of them meanwhile.
    pub reply_us: u64,
}

/// Opens `count` sockets on one node, each with a session of its own, and looks at its memory.
///
/// # Errors
/// Where a socket is refused.
pub async fn idle_sockets(cluster: &Cluster, node: &NodeProcess, count: usize) -> Result<IdleSockets> {
    let before = Usage::of(node.pid)?;
    let started = Instant::now();
    let mut open = connect_all(cluster, &[socket_of(&node.url)], count).await?;
    let elapsed = started.elapsed();
    // What opening cost for a moment only is not what an idle socket costs.
    sleep(Duration::from_secs(5)).await;
    let after = Usage::of(node.pid)?;
    let at = Instant::now();
    let chat = open.last_mut().context("a socket is open")?;
    chat.say("one", "1 + 1").await?;
    chat.next_of("reply", Duration::from_secs(10)).await?;
    Ok(IdleSockets {
        sockets: open.len(),
        opened_per_second: open.len() as f64 / elapsed.as_secs_f64(),
        resident_bytes_each: (after.resident_bytes as f64 - before.resident_bytes as f64) / open.len() as f64,
        resident_before_mb: before.resident_bytes as f64 / 1e6,
        resident_after_mb: after.resident_bytes as f64 / 1e6,
        reply_us: at.elapsed().as_micros() as u64,
    })
}

/// Many sockets that all talk at once.
#[derive(Debug, Clone, Serialize)]
pub struct Talking {
    /// How many.
    pub sockets: usize,
    /// Messages each.
    pub messages_each: usize,
    /// From `say` to `reply`.
    pub reply: Latency,
    /// Errors of any kind.
    pub errors: u64,
}

/// `count` sockets over all nodes each say `each` messages, all at the same time.
///
/// # Errors
/// Where a socket is refused.
pub async fn talking(cluster: &Cluster, count: usize, each: usize) -> Result<Talking> {
    let open = connect_all(cluster, &cluster.sockets(), count).await?;
    let errors = Arc::new(AtomicU64::new(0));
    let mut talkers = JoinSet::new();
    let start = Instant::now();
    for mut chat in open {
        let errors = Arc::clone(&errors);
        talkers.spawn(async move {
            let mut taken = Vec::new();
            for message in 0..each {
                let at = Instant::now();
                let id = format!("m{message}");
                chat.say(&id, "3 * 3").await?;
                loop {
                    let frame = timeout(Duration::from_secs(60), chat.next())
                        .await
                        .context("no answer")??;
                    if frame["type"] == "reply" {
                        break;
                    }
                    if frame["type"] == "error" {
                        errors.fetch_add(1, Ordering::Relaxed);
                        let wait = frame["retry_after_ms"].as_u64().unwrap_or(250);
                        sleep(Duration::from_millis(wait)).await;
                        chat.say(&id, "3 * 3").await?;
                    }
                }
                taken.push(at.elapsed());
            }
            anyhow::Ok((taken, chat))
        });
    }
    let mut reply = microseconds()?;
    while let Some(talker) = talkers.join_next().await {
        let (taken, _) = talker??;
        for time in taken {
            reply.saturating_record(time.as_micros() as u64);
        }
    }
    let reply = Latency::of(&reply, start.elapsed());
    Ok(Talking {
        sockets: count,
        messages_each: each,
        reply,
        errors: errors.load(Ordering::Relaxed),
    })
}

async fn connect_all(cluster: &Cluster, urls: &[String], count: usize) -> Result<Vec<Chat>> {
    const AT_ONCE: usize = 64;
    let mut open = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for n in 0..count {
        if opening.len() >= AT_ONCE {
            open.push(opening.join_next().await.context("some are opening")???);
        }
        let url = urls.get(n % urls.len()).context("there are sockets")?.clone();
        let token = cluster.token.clone();
        opening.spawn(async move { anyhow::Ok(Chat::hello(&url, &token, None, None).await?.0) });
    }
    while let Some(chat) = opening.join_next().await {
        open.push(chat??);
    }
    ensure!(open.len() == count, "{} of {count} sockets are open", open.len());
    Ok(open)
}
