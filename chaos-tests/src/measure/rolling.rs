//! A rolling restart under load: each node is told to stop, one after the other, and nobody may notice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Times, Tool, told, verdict};
use crate::about::About;
use crate::cluster::Cluster;
use crate::crowd::answers::longest_silence;
use crate::crowd::{Answer, Counts, Crowd, Handle, Load, Order};
use crate::report::{keep, say};

/// Pause of those who ask without end.
const PROBE: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(15);
/// Pause of the others.
const CHAT: std::ops::Range<Duration> = Duration::from_millis(2_000)..Duration::from_millis(4_000);
/// Longest wait until a cluster is whole and balanced again.
const BALANCE: Duration = Duration::from_secs(180);
/// Calm between two restarts, and how long the calm before all is watched.
const CALM: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(10);
const SAMPLE: usize = 50;
/// The longest gap that is promised, pauses between questions included.
const PROMISED: Duration = Duration::from_millis(100);

/// What is restarted under what load.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Each node is restarted so often.
    pub rounds: usize,
    /// Live sessions.
    pub sessions: usize,
    /// Among them, sessions that ask without end.
    pub probes: usize,
}

#[derive(Debug, Serialize)]
struct Restart {
    node: String,
    led: bool,
    stopped_after_ms: u128,
    whole_and_balanced_after_ms: u128,
    /// The longest silence of each probe, pauses included.
    longest_silence: Times,
    /// Its longest wait for one reply.
    longest_reply: Times,
}

#[derive(Debug, Serialize)]
struct Errors {
    unavailable: u64,
    other: u64,
    sockets_lost: u64,
    sockets_moved: u64,
}

impl Errors {
    fn of(counts: &Counts) -> Self {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            unavailable: count(&counts.unavailable),
            other: count(&counts.errors),
            sockets_lost: count(&counts.lost_sockets),
            sockets_moved: count(&counts.moved_house),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    machine: About,
    plan: Plan,
    load: Load,
    /// With nothing going on: how long the longest silences of the same probes are.
    calm: Times,
    errors: Errors,
    answered: u64,
    longest_silence: Times,
    restarts: Vec<Restart>,
    laws_broken: Vec<String>,
    within_promise: bool,
    remarks: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// Where a law was broken, or a client was told an error.
pub async fn run(tool: &Tool, plan: &Plan) -> Result<()> {
    let machine = About::read();
    let (_data, mut cluster) = tool.cluster().await?;
    cluster.wait_balanced(BALANCE).await?;
    let crowd = Crowd::gather(&cluster, plan.sessions, &Order::chat(CHAT)).await?;
    let step = (plan.sessions / plan.probes.max(1)).max(1);
    let probes: Vec<&Handle> = crowd.members.iter().step_by(step).take(plan.probes).collect();
    probes.iter().for_each(|probe| probe.order(Order::probe(PROBE)));
    sleep(CALM).await;
    let started = Instant::now();
    let load = crowd.load(WATCH).await?;
    let calm = silences(&probes, started).0;
    let mut restarts = Vec::new();
    let mut all = Vec::new();
    for _ in 0..plan.rounds {
        let names: Vec<String> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
        for name in names {
            let (restart, silences) = restart(&mut cluster, &probes, name).await?;
            say(&format!("{restart:?}"));
            restarts.push(restart);
            all.extend(silences);
            sleep(CALM).await;
        }
    }
    let (errors, answered, remarks) = (Errors::of(crowd.counts()), crowd.answered(), crowd.remarks());
    let laws_broken = told(&crowd.end(&cluster, SAMPLE).await?);
    let report = Report {
        machine,
        plan: plan.clone(),
        load,
        calm: Times::of(calm),
        errors,
        answered,
        within_promise: all.iter().all(|silence| *silence < PROMISED),
        longest_silence: Times::of(all),
        restarts,
        laws_broken,
        remarks,
    };
    keep(&tool.report, "rolling", &report)?;
    cluster.stop().await?;
    verdict(&report.laws_broken)?;
    ensure!(
        report.errors.unavailable + report.errors.other + report.errors.sockets_lost == 0,
        "clients noticed: {:?}",
        report.errors
    );
    Ok(())
}

/// Stops a node, waits until it is back, and looks at what the probes saw of it.
async fn restart(
    cluster: &mut Cluster,
    probes: &[&Handle],
    name: String,
) -> Result<(Restart, Vec<Duration>)> {
    let led = cluster.leader().await? == name;
    silences(probes, Instant::now());
    let started = Instant::now();
    let pid = cluster.signal(&name, Signal::TERM)?;
    cluster.wait_restarted(&name, pid).await?;
    let stopped_after_ms = started.elapsed().as_millis();
    cluster.wait_balanced(BALANCE).await?;
    let whole_and_balanced_after_ms = started.elapsed().as_millis();
    // What balancing stirred up belongs to it.
    sleep(Duration::from_millis(500)).await;
    let (silent, waits) = silences(probes, started);
    let restart = Restart {
        node: name,
        led,
        stopped_after_ms,
        whole_and_balanced_after_ms,
        longest_silence: Times::of(silent.clone()),
        longest_reply: Times::of(waits),
    };
    Ok((restart, silent))
}

/// Of each probe since `from`: the longest silence, and the longest wait for one reply. What it recorded is taken.
fn silences(probes: &[&Handle], from: Instant) -> (Vec<Duration>, Vec<Duration>) {
    let to = Instant::now();
    let of = |probe: &&Handle| {
        let answers = probe.take_answers();
        let waits = answers
            .iter()
            .map(|answer: &Answer| answer.replied.0 - answer.sent);
        (
            longest_silence(&answers, from, to),
            waits.max().unwrap_or_default(),
        )
    };
    probes.iter().map(of).unzip()
}
