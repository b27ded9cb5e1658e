//! Faults at random on real processes under live sessions and a home with a real broker, for as long as asked: phases of faults,
//! each followed by a heal after which everything must be well within a bound; and all laws in the end, when all that the home was
//! told has come in.
//!
//! - [`schedule`]: which faults happen when, from a seed. [`field`]: puts them in. [`life`]: what must be so after a heal.
//! - [`acts`]: what acts on the world meanwhile. [`household`]: sensors, events, waits and reminders.
mod acts;
mod field;
mod household;
mod life;
mod logs;
pub mod schedule;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::acts::Acts;
use self::field::{Field, Struck};
use self::household::{Household, Standing};
pub use self::life::Bounds;
use self::life::{Life, comes_back};
use self::schedule::Phase;
use super::watcher::Watcher;
use super::{Tool, told};
use crate::about::About;
use crate::bench::Usage;
use crate::cluster::Cluster;
use crate::crowd::{Crowd, Order};
use crate::home::{Mosquitto, Reach, Saves};
use crate::laws::{Broken, one_owner};
use crate::report::{keep, say};

/// Pause of a session between an answer and its next message.
const CHAT: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(600);
/// Longest wait until a new cluster is whole, balanced, and everyone votes.
const BALANCE: Duration = Duration::from_secs(120);
/// Calm between a heal that was borne out and the next phase.
const CALM: Duration = Duration::from_secs(1);

/// What is borne.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the schedule is drawn from.
    pub seed: u64,
    /// Phases begin for so long.
    pub lasting: Duration,
    /// No more phases than this.
    pub phases: u32,
    /// Each has faults for so many seconds, or up to half as long again.
    pub phase_s: u64,
    /// Live sessions.
    pub sessions: usize,
    /// How soon after each heal all must be well.
    pub bounds: Bounds,
}

/// One phase and what came of it.
#[derive(Debug, Serialize)]
struct Lived {
    plan: Phase,
    /// Whom the leader's faults hit, and what could not be put in.
    hits: Vec<String>,
    answered: u64,
    #[serde(flatten)]
    life: Life,
    resident_mb: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: About,
    seed: u64,
    nodes: u32,
    nodes_on_machines_of_their_own: bool,
    sessions: usize,
    bounds: Bounds,
    repeat: String,
    phases: Vec<Lived>,
    faults_by_kind: BTreeMap<String, u64>,
    answered: u64,
    unavailable: u64,
    other_errors: u64,
    lost_sockets: u64,
    acts_ordered: u64,
    acts_done: usize,
    home: Option<household::Report>,
    refused_copies: u64,
    warnings: BTreeMap<String, u64>,
    laws_broken: Vec<String>,
    failed: Option<String>,
    remarks: Vec<String>,
}

/// What lives beside the faults.
struct Load<'c> {
    crowd: &'c Crowd,
    watcher: &'c Watcher,
    household: &'c Household,
}

/// Runs it.
///
/// # Errors
/// Where a law was broken or something was not well in time after a heal; with the command that repeats the schedule.
pub async fn run(tool: &Tool, name: &str, plan: &Plan) -> Result<()> {
    let repeat = |phases: usize| {
        let place = if tool.machines { "" } else { " --no-machines" };
        let (seed, nodes, sessions) = (plan.seed, tool.options.nodes, plan.sessions);
        format!(
            "jarvis-load soak --seed {seed} --nodes {nodes} --sessions {sessions} --phases {phases}{place}"
        )
    };
    let machine = About::read();
    let reach = if tool.machines {
        Reach::Machines
    } else {
        Reach::Loopback
    };
    let broker = Mosquitto::start(Saves::EverySecond, reach).await?;
    let (_data, mut cluster) = tool.cluster_with(broker.env()).await?;
    everyone_votes(&mut cluster).await?;
    let household = Household::move_in(&cluster, broker, plan.seed).await?;
    let crowd = Crowd::gather(&cluster, plan.sessions, &Order::chat(CHAT)).await?;
    let watcher = Watcher::start(&cluster);
    let acts = Acts::start(&cluster, tool.machines).await?;
    say(&format!("seed {}: {}", plan.seed, repeat(plan.phases as usize)));

    let mut phases = Vec::new();
    let mut field = Field::new(&mut cluster, tool.machines)?;
    let load = Load {
        crowd: &crowd,
        watcher: &watcher,
        household: &household,
    };
    let lived = live(tool, plan, &mut field, &load, &mut phases).await;
    let ended = std::mem::take(&mut field.ended_by_themselves);
    let clocks = std::mem::take(&mut field.clocks);
    let (served_on_a_copy, refused_copies) =
        (std::mem::take(&mut field.served_on_a_copy), field.refused_copies);

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = crowd.counts();
    let totals = [
        &counts.answered,
        &counts.unavailable,
        &counts.errors,
        &counts.lost_sockets,
    ]
    .map(count);
    let remarks = crowd.remarks();
    let done = acts.end().await?;
    let mut broken = one_owner::check(&watcher.sightings());
    drop(watcher);
    broken.extend(done.broken);
    broken.extend(ended.into_iter().map(|node| Broken {
        law: "a node does not end by itself",
        session: node.clone(),
        what: format!("the process of {node} ended, and nobody had meant it to"),
    }));
    broken.extend(served_on_a_copy.into_iter().map(|node| Broken {
        law: "a disk that was put back takes no part",
        session: node.clone(),
        what: format!("{node} served on an older copy of its disk"),
    }));
    let mut failed = lived.err().map(|why| format!("{why:#}"));
    say("all is healed; what the home was told is to come in");
    let logs = tool.report.join(format!("{name}-logs"));
    let home = match household.come_to_rest(&mut cluster, &clocks, &logs).await {
        Ok((home, more)) => {
            broken.extend(more);
            Some(home)
        }
        Err(why) => {
            failed.get_or_insert(format!("the home: {why:#}"));
            None
        }
    };
    match crowd.end(&cluster, plan.sessions).await {
        Ok(more) => broken.extend(more),
        Err(why) => {
            failed.get_or_insert(format!("{why:#}"));
        }
    }
    broken.extend(logs::panics(&cluster.nodes)?);
    let warnings = logs::warnings(&cluster.nodes)?;
    let mut faults_by_kind = BTreeMap::new();
    for lived in &phases {
        for fault in &lived.plan.faults {
            let kind = format!("{:?}", fault.what);
            let end = kind
                .find(|c: char| " ({".contains(c) && !kind.starts_with("Cut("))
                .unwrap_or(kind.len());
            *faults_by_kind.entry(kind[..end].to_owned()).or_default() += 1;
        }
    }
    let report = Report {
        machine,
        seed: plan.seed,
        nodes: tool.options.nodes,
        nodes_on_machines_of_their_own: tool.machines,
        sessions: plan.sessions,
        bounds: plan.bounds,
        repeat: repeat(phases.len()),
        phases,
        faults_by_kind,
        answered: totals[0],
        unavailable: totals[1],
        other_errors: totals[2],
        lost_sockets: totals[3],
        acts_ordered: done.orders,
        acts_done: done.acts,
        home,
        refused_copies,
        warnings,
        laws_broken: told(&broken),
        failed,
        remarks,
    };
    keep(&tool.report, name, &report)?;
    if report.failed.is_some() || !report.laws_broken.is_empty() {
        let kept = logs::keep_all(&cluster.nodes, &logs)?;
        say(&format!("the nodes' logs are in {}", kept.display()));
        say(&format!("again: {}", report.repeat));
    }
    if report.failed.is_none() {
        cluster.stop().await?;
    }
    ensure!(
        report.failed.is_none() && report.laws_broken.is_empty(),
        "seed {}: {}\nagain: {}",
        report.seed,
        report
            .failed
            .iter()
            .chain(&report.laws_broken)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n"),
        report.repeat
    );
    ensure!(
        report.acts_done > 0,
        "nothing acted: the proof of single ownership is none"
    );
    let untried = report
        .home
        .as_ref()
        .map(household::Report::untried)
        .unwrap_or_default();
    ensure!(
        untried.is_empty(),
        "the home was not tried enough, let it run for longer: {}",
        untried.join("; ")
    );
    Ok(())
}

/// Phase after phase.
async fn live(
    tool: &Tool,
    plan: &Plan,
    field: &mut Field<'_>,
    load: &Load<'_>,
    phases: &mut Vec<Lived>,
) -> Result<()> {
    let (started, nodes) = (Instant::now(), u8::try_from(tool.options.nodes)?);
    for number in 1..=plan.phases {
        if started.elapsed() >= plan.lasting {
            break;
        }
        let phase = Phase::draw(plan.seed, number, nodes, plan.phase_s);
        let seconds = started.elapsed().as_secs();
        say(&format!(
            "phase {number}, after {seconds} s: {} ms of faults",
            phase.lasts_ms
        ));
        let answered_before = load.crowd.answered();
        let mut lived = Lived {
            plan: phase,
            hits: Vec::new(),
            answered: 0,
            life: Life::default(),
            resident_mb: Vec::new(),
        };
        let done = one(plan, field, load, &mut lived).await;
        lived.answered = load.crowd.answered() - answered_before;
        say(&format!(
            "  healed: {} answers; sessions answered after {} ms at most, one owner each after {} ms; resident {:?} MB",
            lived.answered, lived.life.to_answer.max_ms, lived.life.one_owner_after_ms, lived.resident_mb
        ));
        let Standing {
            messages,
            events,
            recorded,
        } = load.household.standing();
        say(&format!(
            "  home so far: {messages} messages and {events} events told, {recorded} acts recorded"
        ));
        phases.push(lived);
        done.with_context(|| format!("phase {number}"))?;
    }
    Ok(())
}

async fn one(plan: &Plan, field: &mut Field<'_>, load: &Load<'_>, lived: &mut Lived) -> Result<()> {
    let hits = &mut lived.hits;
    let tell = |struck: &Struck| {
        let skipped = struck
            .skipped
            .as_ref()
            .map_or(String::new(), |why| format!(" (not put in: {why})"));
        let line = format!("{} at {}{skipped}", struck.fault, struck.node);
        say(&format!("  {line}"));
        hits.push(line);
    };
    field.live_through(&lived.plan, tell, load.watcher).await?;
    let healed = Instant::now();
    let life = comes_back(field, load.crowd, plan.bounds, healed, load.watcher).await;
    for node in &field.cluster().nodes {
        lived
            .resident_mb
            .extend(Usage::of(node.pid).map(|usage| usage.resident_bytes / 1_000_000));
    }
    lived.life = life?;
    load.crowd.go_home().await?;
    sleep(CALM).await;
    Ok(())
}

/// Waits until a new cluster bears the loss of as many nodes as it is meant to.
async fn everyone_votes(cluster: &mut Cluster) -> Result<()> {
    cluster.wait_balanced(BALANCE).await?;
    let count = cluster.nodes.len();
    let node = cluster.nodes.first().context("there are nodes")?.clone();
    let all_vote = |view: &serde_json::Value| {
        let nodes = view["nodes"].as_array().into_iter().flatten();
        nodes.filter(|node| node["voter"] == true).count() == count
    };
    cluster.wait_cluster(&node, all_vote).await
}
