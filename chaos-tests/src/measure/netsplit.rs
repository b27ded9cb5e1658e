//! One node is cut off from the others for a while, and clients still reach it: the minority must say so, and the heal must
//! leave neither a twin nor an orphan.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::watcher::{Watcher, metrics, sum};
use super::witness::Witness;
use super::{Times, Tool, told, verdict};
use crate::about::About;
use crate::cluster::{Cluster, socket_of};
use crate::crowd::{Crowd, Handle, Order};
use crate::laws::minority::Cut;
use crate::laws::{Broken, minority, one_owner};
use crate::net::Weather;
use crate::report::{keep, say};

/// Pause of a session that is merely alive.
const CHAT: std::ops::Range<Duration> = Duration::from_millis(2_000)..Duration::from_millis(4_000);
/// Longest wait until a cluster is whole and balanced, and until every session has answered.
const BALANCE: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);
/// A refusal is promised within two seconds; the machine is busy.
const REFUSAL: Duration = Duration::from_millis(2_500);
/// Sockets that watch the minority.
const WITNESSES: usize = 8;
/// The nodes need a moment to notice; what was on its way may still be committed.
const NOTICE: Duration = Duration::from_millis(100);
const SAMPLE: usize = 200;

/// What is cut.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Live sessions.
    pub sessions: usize,
    /// How often; the leader in every second round, the others in turn.
    pub rounds: usize,
    /// For how long.
    pub cut_ms: u64,
}

#[derive(Debug, Serialize)]
struct Round {
    node: String,
    led: bool,
    sessions_reachable: usize,
    /// From the heal until every session had answered a question about itself.
    all_answered_after_ms: u128,
    to_answer: Times,
    asked_of_the_minority: usize,
    refused_by_the_minority: usize,
    partitions_owned_by_all_nodes_together: f64,
    partitions: usize,
    balanced_after_ms: u128,
    #[serde(skip)]
    broken: Vec<Broken>,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: About,
    plan: Plan,
    rounds: Vec<Round>,
    twins: usize,
    orphans: usize,
    answered: u64,
    unavailable: u64,
    laws_broken: Vec<String>,
    remarks: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// Where a law was broken, or a session was left behind.
pub async fn run(tool: &Tool, plan: &Plan) -> Result<()> {
    let machine = About::read();
    let (_data, mut cluster) = tool.cluster().await?;
    let crowd = Crowd::gather(&cluster, plan.sessions, &Order::chat(CHAT)).await?;
    cluster.wait_balanced(BALANCE).await?;
    let watcher = Watcher::start(&cluster);
    let mut rounds = Vec::new();
    for number in 0..plan.rounds {
        let round = round(&mut cluster, &crowd, plan, number).await?;
        say(&format!("{round:?}"));
        rounds.push(round);
    }
    let mut broken: Vec<Broken> = rounds
        .iter_mut()
        .flat_map(|round| std::mem::take(&mut round.broken))
        .collect();
    let owners = one_owner::check(&watcher.sightings());
    drop(watcher);
    let (answered, unavailable) = (
        crowd.answered(),
        crowd.counts().unavailable.load(Ordering::Relaxed),
    );
    let remarks = crowd.remarks();
    let twins = owners.len();
    broken.extend(owners);
    broken.extend(crowd.end(&cluster, SAMPLE).await?);
    let orphans = rounds
        .iter()
        .map(|round| plan.sessions - round.sessions_reachable)
        .sum();
    let report = Report {
        machine,
        plan: plan.clone(),
        rounds,
        twins,
        orphans,
        answered,
        unavailable,
        laws_broken: told(&broken),
        remarks,
    };
    keep(&tool.report, "netsplit", &report)?;
    cluster.stop().await?;
    verdict(&report.laws_broken)?;
    ensure!(orphans == 0, "{orphans} sessions did not answer after the heal");
    Ok(())
}

async fn round(cluster: &mut Cluster, crowd: &Crowd, plan: &Plan, number: usize) -> Result<Round> {
    let leader = cluster.leader().await?;
    let found = if number.is_multiple_of(2) {
        cluster.nodes.iter().position(|node| node.name == leader)
    } else {
        let turn = number / 2 % (cluster.nodes.len() - 1);
        let others = cluster
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.name != leader);
        others.map(|(n, _)| n).nth(turn)
    };
    let cut_off = found.context("there is such a node")?;
    let node = cluster.nodes.get(cut_off).context("it is a node")?.clone();
    let weather = Weather::split(u8::try_from(cut_off)?, u8::try_from(cluster.nodes.len())?);
    let mut witnesses = Vec::new();
    for _ in 0..WITNESSES {
        witnesses.push(Witness::open(&socket_of(&node.url), &cluster.token).await?);
    }
    cluster.weather(&weather).await?;
    let heal_at = Instant::now() + Duration::from_millis(plan.cut_ms);
    let from = Instant::now() + NOTICE;
    let mut watching = JoinSet::new();
    for witness in witnesses {
        watching.spawn(witness.ask(from, heal_at));
    }
    sleep_until(heal_at).await;
    let to = Instant::now();
    cluster.weather(&Weather::fair()).await?;
    let healed = Instant::now();
    // Everyone asks, and everyone must be answered.
    crowd.members.iter().for_each(|member| {
        member.take_answers();
        member.change(|order| {
            order.record = true;
            order.call += 1;
        });
    });
    let since = |member: &Handle| {
        member.with_answers(|answers| {
            let mut after = answers.iter().filter(|answer| answer.replied.0 > healed);
            after.next().map(|answer| answer.replied.0 - healed)
        })
    };
    let mut times = Vec::new();
    while healed.elapsed() < PATIENCE {
        times = crowd.members.iter().filter_map(since).collect();
        if times.len() == crowd.members.len() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    crowd.order_all(&Order::chat(CHAT));
    let mut attempts = Vec::new();
    while let Some(found) = watching.join_next().await {
        attempts.extend(found?);
    }
    let balanced = cluster.wait_balanced(BALANCE).await;
    let balanced_after_ms = healed.elapsed().as_millis();
    balanced?;
    let mut owned = 0.0;
    for node in &cluster.nodes {
        owned += sum(
            &metrics(&cluster.eyes(), node).await?,
            "jarvis_entity_owned_partitions",
        );
    }
    let partitions = cluster.shape(&node).await?.partitions.len();
    let patience = REFUSAL;
    let mut broken = minority::check(&attempts, &Cut { from, to, patience });
    if (owned - partitions as f64).abs() > 0.1 {
        broken.push(Broken {
            law: "a partition has at most one owner",
            session: node.name.clone(),
            what: format!("nodes own {owned} of {partitions} partitions after the heal"),
        });
    }
    Ok(Round {
        led: node.name == leader,
        node: node.name,
        sessions_reachable: times.len(),
        all_answered_after_ms: times.iter().max().map_or(0, Duration::as_millis),
        to_answer: Times::of(times),
        asked_of_the_minority: attempts.len(),
        refused_by_the_minority: attempts
            .iter()
            .filter(|attempt| attempt.refused.is_some())
            .count(),
        partitions_owned_by_all_nodes_together: owned,
        partitions,
        balanced_after_ms,
        broken,
    })
}
