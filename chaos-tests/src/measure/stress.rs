//! A busy board on a bad radio link, for a long time: nothing fails, so nothing may fail over.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::slow_disk::slow_all;
use super::watcher::{Changes, Watcher, metrics, sum, warnings};
use super::{Tool, told, verdict};
use crate::about::{About, Busy};
use crate::cluster::{Cluster, NodeProcess, Stopped};
use crate::crowd::jitter::Jitter;
use crate::crowd::{Crowd, Order, lock};
use crate::laws::one_owner;
use crate::net::Weather;
use crate::report::{keep, say};

/// Partitions may still be moving when a cluster has just started.
const BALANCE: Duration = Duration::from_secs(120);
/// Wait after the load began, before anything is counted.
const SETTLE: Duration = Duration::from_secs(5);
/// Transcripts that are read from every node in the end.
const SAMPLE: usize = 50;

/// What is borne.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// For how long.
    pub minutes: u64,
    /// Live sessions.
    pub sessions: usize,
    /// Of a hundred mesh datagrams, how many are lost on each way.
    pub loss_percent: u8,
    /// Processes that do nothing but work.
    pub busy: usize,
    /// A node's process is stopped for so many milliseconds, a random one every so many seconds.
    pub pauses: Option<Pauses>,
    /// Every sync of the log takes so many milliseconds more, on every node.
    pub sync_delay_ms: Option<u64>,
    /// Timers, if not the default ones.
    pub profile: Option<String>,
}

/// Stops of a random node.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pauses {
    /// How long.
    pub for_ms: u64,
    /// How often.
    pub every_s: u64,
}

#[derive(Debug, Serialize)]
struct Minute {
    minute: u64,
    changes: Changes,
    answered: u64,
    machine_busy_percent: f64,
    reply_p50_us: u64,
    reply_p99_us: u64,
    reply_max_us: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: About,
    plan: Plan,
    minutes: Vec<Minute>,
    changes: Changes,
    /// What the nodes' own counters grew by.
    leader_changes_by_metrics: f64,
    moves_by_metrics: f64,
    pauses_done: u64,
    answered: u64,
    unavailable: u64,
    other_errors: u64,
    lost_sockets: u64,
    warnings: BTreeMap<String, u64>,
    uncaused: Vec<String>,
    laws_broken: Vec<String>,
    remarks: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// Where something failed over, or a law was broken.
pub async fn run(tool: &Tool, name: &str, plan: Plan) -> Result<()> {
    let machine = About::read();
    let mut tool_options = tool.options.clone();
    if let Some(profile) = &plan.profile {
        tool_options
            .env
            .push(("JARVIS_MESH__PROFILE".into(), profile.clone()));
    }
    let tool = Tool {
        options: tool_options,
        report: tool.report.clone(),
        machines: tool.machines,
    };
    let (_data, mut cluster) = tool.cluster().await?;
    cluster.wait_balanced(BALANCE).await?;
    let pause = Duration::from_secs(1)..Duration::from_secs(3);
    let crowd = Crowd::gather(&cluster, plan.sessions, &Order::chat(pause)).await?;
    let busy = busy(plan.busy)?;
    if plan.loss_percent > 0 {
        cluster.weather(&Weather::lossy(plan.loss_percent)).await?;
    }
    let slow = match plan.sync_delay_ms {
        Some(ms) => Some(slow_all(&cluster, ms).await?),
        None => None,
    };
    sleep(SETTLE).await;
    let logs: Vec<u64> = cluster.nodes.iter().map(log_length).collect();
    let counters = counters(&cluster).await?;
    let watcher = Watcher::start(&cluster);
    let pauses = pauses(&cluster, plan.pauses);
    let mut minutes = Vec::new();
    for minute in 1..=plan.minutes {
        let line = one_minute(minute, &crowd, &watcher).await?;
        say(&format!("{line:?}"));
        minutes.push(line);
    }
    let pauses_done = pauses.stop();
    drop((busy, slow));
    let changes = watcher.changes();
    let after = self::counters(&cluster).await?;
    let (leader_changes, moves) = (after.0 - counters.0, after.1 - counters.1);
    let mut all_warnings = BTreeMap::new();
    for (node, from) in cluster.nodes.iter().zip(logs) {
        for (what, count) in warnings(&node.data.join("jarvis.log"), from)? {
            *all_warnings.entry(what).or_default() += count;
        }
    }
    if tool.machines {
        cluster.weather(&Weather::fair()).await?;
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let counts = crowd.counts();
    let totals = [
        &counts.answered,
        &counts.unavailable,
        &counts.errors,
        &counts.lost_sockets,
    ]
    .map(count);
    let remarks = crowd.remarks();
    let mut broken = one_owner::check(&watcher.sightings());
    drop(watcher);
    broken.extend(crowd.end(&cluster, SAMPLE).await?);
    let report = Report {
        machine,
        plan,
        minutes,
        uncaused: uncaused(&changes, leader_changes, moves),
        changes,
        leader_changes_by_metrics: leader_changes,
        moves_by_metrics: moves,
        pauses_done,
        answered: totals[0],
        unavailable: totals[1],
        other_errors: totals[2],
        lost_sockets: totals[3],
        warnings: all_warnings,
        laws_broken: told(&broken),
        remarks,
    };
    keep(&tool.report, name, &report)?;
    cluster.stop().await?;
    verdict(&report.laws_broken)?;
    ensure!(
        report.uncaused.is_empty(),
        "failed over without a cause: {:?}",
        report.uncaused
    );
    Ok(())
}

/// What must not have happened.
fn uncaused(changes: &Changes, leader_changes: f64, moves: f64) -> Vec<String> {
    let counted = [
        ("terms began", changes.terms as f64),
        ("times a node named another leader", changes.leaders as f64),
        ("partitions moved", changes.moves as f64),
        ("times a node was called not up", changes.not_up as f64),
        ("leader changes in the nodes' metrics", leader_changes),
        ("moves in the nodes' metrics", moves),
    ];
    let bad = counted.into_iter().filter(|(_, count)| *count > 0.0);
    bad.map(|(what, count)| format!("{count} {what}")).collect()
}

async fn one_minute(minute: u64, crowd: &Crowd, watcher: &Watcher) -> Result<Minute> {
    let (before, answered, busy) = (watcher.changes(), crowd.answered(), Busy::read()?);
    let load = crowd.load(Duration::from_secs(60)).await?;
    let now = watcher.changes();
    Ok(Minute {
        minute,
        changes: Changes {
            terms: now.terms - before.terms,
            leaders: now.leaders - before.leaders,
            leaderless: now.leaderless - before.leaderless,
            moves: now.moves - before.moves,
            not_up: now.not_up - before.not_up,
            unanswered: now.unanswered - before.unanswered,
        },
        answered: crowd.answered() - answered,
        machine_busy_percent: Busy::read()?.percent_since(busy),
        reply_p50_us: load.reply.p50_us,
        reply_p99_us: load.reply.p99_us,
        reply_max_us: load.reply.max_us,
    })
}

/// Leader changes and moves as all nodes count them.
async fn counters(cluster: &Cluster) -> Result<(f64, f64)> {
    let mut all = (0.0, 0.0);
    for node in &cluster.nodes {
        let metrics = metrics(&cluster.eyes(), node).await?;
        all.0 += sum(&metrics, "jarvis_raft_leader_changes_total");
        all.1 += sum(&metrics, "jarvis_placement_moves_total");
    }
    Ok(all)
}

fn log_length(node: &NodeProcess) -> u64 {
    std::fs::metadata(node.data.join("jarvis.log")).map_or(0, |data| data.len())
}

/// Processes that do nothing but work; they end when they are dropped.
fn busy(count: usize) -> Result<Vec<Child>> {
    let tool = std::env::current_exe()?;
    let start = |_| {
        let mut command = Command::new(&tool);
        command.arg("busy").stdin(Stdio::piped()).kill_on_drop(true);
        command.spawn().context("a busy process does not start")
    };
    (0..count).map(start).collect()
}

/// Works until its standard input ends: then whoever wanted it is gone.
pub fn work() -> Result<()> {
    let input = std::io::stdin();
    rustix::fs::fcntl_setfl(&input, rustix::fs::OFlags::NONBLOCK)?;
    let mut jitter = Jitter::new(u64::from(std::process::id()));
    loop {
        for _ in 0..10_000_000 {
            std::hint::black_box(jitter.draw());
        }
        if matches!(rustix::io::read(&input, &mut [0u8; 1]), Ok(0)) {
            return Ok(());
        }
    }
}

/// Stops of random nodes, one at a time.
struct Stops {
    done: std::sync::Arc<std::sync::Mutex<u64>>,
    _task: JoinSet<()>,
}

impl Stops {
    fn stop(self) -> u64 {
        *lock(&self.done)
    }
}

fn pauses(cluster: &Cluster, pauses: Option<Pauses>) -> Stops {
    let done = std::sync::Arc::default();
    let mut task = JoinSet::new();
    if let Some(pauses) = pauses {
        let nodes: Vec<u32> = cluster.nodes.iter().map(|node| node.pid).collect();
        let done = std::sync::Arc::clone(&done);
        task.spawn(async move {
            let mut jitter = Jitter::new(3);
            let mut ticks = interval(Duration::from_secs(pauses.every_s.max(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(pid) = nodes.get(jitter.below(nodes.len())) else {
                    return;
                };
                let (stopped, started) = (Stopped::stop(*pid), Instant::now());
                sleep(Duration::from_millis(pauses.for_ms)).await;
                if stopped.is_ok() {
                    *lock(&done) += 1;
                }
                drop(stopped);
                tracing::debug!(pid, took = ?started.elapsed(), "a node was stopped for a while");
            }
        });
    }
    Stops { done, _task: task }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_that_moved_is_without_a_cause() {
        assert!(uncaused(&Changes::default(), 0.0, 0.0).is_empty());
        let unanswered = Changes {
            unanswered: 3,
            ..Changes::default()
        };
        assert!(
            uncaused(&unanswered, 0.0, 0.0).is_empty(),
            "a slow answer is no failover"
        );
        let moved = Changes {
            moves: 1,
            ..Changes::default()
        };
        assert_eq!(uncaused(&moved, 0.0, 0.0), ["1 partitions moved"]);
        assert_eq!(uncaused(&Changes::default(), 1.0, 2.0).len(), 2);
    }
}
