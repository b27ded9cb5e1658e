//! From a fault to the first answer of a session's next owner, as its client sees it, with thousands of sessions alive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Times, Tool, told, verdict};
use crate::about::About;
use crate::cluster::{Cluster, signal};
use crate::crowd::answers::Fault;
use crate::crowd::{Crowd, Handle, Load, Order, Whereabouts};
use crate::net::Weather;
use crate::report::{keep, say};

/// Pause of a session that is merely alive.
const CHAT: std::ops::Range<Duration> = Duration::from_millis(2_000)..Duration::from_millis(4_000);
/// Pause of a probe: none of them is in the same state when the fault comes.
const PROBE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_millis(150);
/// Probes talk for so long before the fault.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Longest wait for a session's next owner.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for partitions to come back to a node that was away.
const BALANCE: Duration = Duration::from_secs(180);
/// Transcripts that are read from every node in the end.
const SAMPLE: usize = 100;

/// What happens to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// SIGKILL of a node that owns sessions and does not lead.
    Owner,
    /// SIGKILL of the leader, which owns sessions too.
    Leader,
    /// The machine of such an owner vanishes without a word.
    VanishOwner,
    /// The leader's machine vanishes without a word.
    VanishLeader,
}

impl Victim {
    /// Whether it takes machines that can be cut off.
    pub fn vanishes(self) -> bool {
        matches!(self, Self::VanishOwner | Self::VanishLeader)
    }

    fn leads(self) -> bool {
        matches!(self, Self::Leader | Self::VanishLeader)
    }
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Live sessions.
    pub sessions: usize,
    /// How many of the victim's sessions ask without end; 0: in the moment of the fault every session of the victim asks.
    pub probes: usize,
    /// Faults of each kind.
    pub rounds: usize,
    /// Which kinds.
    pub victims: Vec<Victim>,
    /// The load is watched for so long before.
    pub watch: Duration,
}

/// One fault.
#[derive(Debug, Serialize)]
struct Round {
    victim: Victim,
    node: String,
    /// How long the fault took to be put in; it counts.
    fault_took_ms: f64,
    to_reply: Times,
    to_said: Times,
    /// Of those whose own socket was on the victim, and which had to connect elsewhere first.
    to_reply_reconnecting: Times,
    whole_and_balanced_after_ms: u128,
    #[serde(skip)]
    samples: Samples,
}

#[derive(Debug, Default)]
struct Samples {
    reply: Vec<Duration>,
    said: Vec<Duration>,
    reconnecting: Vec<Duration>,
}

/// All faults of one kind.
#[derive(Debug, Serialize)]
pub struct Kind {
    /// Which kind.
    pub victim: Victim,
    /// How many.
    pub rounds: usize,
    /// From the fault to the first reply of the session's next owner.
    pub to_reply: Times,
    /// To the first `said` of that owner; where the old one had committed the message already, there is none.
    pub to_said: Times,
    /// To the first reply of sessions that lost their socket too.
    pub to_reply_reconnecting: Times,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: About,
    sessions: usize,
    asking: String,
    nodes_on_machines_of_their_own: bool,
    load: Load,
    laws_broken: Vec<String>,
    answered: u64,
    unavailable: u64,
    other_errors: u64,
    kinds: Vec<Kind>,
    rounds: Vec<Round>,
    remarks: Vec<String>,
}

/// Runs it: what came of each kind of fault.
///
/// # Errors
/// Where a law was broken, or the cluster did not come back.
pub async fn run(tool: &Tool, name: &str, plan: &Plan) -> Result<Vec<Kind>> {
    let machine = About::read();
    let (_data, mut cluster) = tool.cluster().await?;
    let crowd = Crowd::gather(&cluster, plan.sessions, &Order::chat(CHAT)).await?;
    cluster.wait_balanced(BALANCE).await?;
    let load = crowd.load(plan.watch).await?;
    say(&format!("{} sessions: {load:?}", plan.sessions));
    let mut rounds = Vec::new();
    for number in 0..plan.rounds {
        for &victim in &plan.victims {
            let round = round(&mut cluster, &crowd, plan, victim, number)
                .await
                .with_context(|| format!("round {number}, {victim:?}; {:?}", crowd.remarks()))?;
            say(&format!(
                "{victim:?} {} of {}: {} first replies, p50 {} ms, longest {} ms; balanced again after {} ms",
                number + 1,
                plan.rounds,
                round.to_reply.count,
                round.to_reply.p50_ms,
                round.to_reply.max_ms,
                round.whole_and_balanced_after_ms
            ));
            rounds.push(round);
        }
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let counts = crowd.counts();
    let (answered, unavailable) = (count(&counts.answered), count(&counts.unavailable));
    let (other_errors, remarks) = (count(&counts.errors), crowd.remarks());
    let laws_broken = told(&crowd.end(&cluster, SAMPLE).await?);
    let kinds = plan.victims.iter().map(|victim| kind(*victim, &rounds)).collect();
    let report = Report {
        machine,
        sessions: plan.sessions,
        asking: match plan.probes {
            0 => "every session of the victim, at the fault".to_owned(),
            probes => format!("{probes} of the victim's sessions, without end"),
        },
        nodes_on_machines_of_their_own: tool.machines,
        load,
        laws_broken,
        answered,
        unavailable,
        other_errors,
        kinds,
        rounds,
        remarks,
    };
    keep(&tool.report, name, &report)?;
    cluster.stop().await?;
    verdict(&report.laws_broken)?;
    Ok(report.kinds)
}

fn kind(victim: Victim, rounds: &[Round]) -> Kind {
    let own: Vec<&Round> = rounds.iter().filter(|round| round.victim == victim).collect();
    let all = |of: fn(&Samples) -> &Vec<Duration>| {
        Times::of(
            own.iter()
                .flat_map(|round| of(&round.samples).iter().copied())
                .collect(),
        )
    };
    Kind {
        victim,
        rounds: own.len(),
        to_reply: all(|samples| &samples.reply),
        to_said: all(|samples| &samples.said),
        to_reply_reconnecting: all(|samples| &samples.reconnecting),
    }
}

/// One fault, from calm to calm.
async fn round(
    cluster: &mut Cluster,
    crowd: &Crowd,
    plan: &Plan,
    victim: Victim,
    number: usize,
) -> Result<Round> {
    let leader = cluster.leader().await?;
    let node = if victim.leads() {
        leader
    } else {
        other_than(cluster, &leader, number)?
    };
    let asking = choose(crowd, &node, plan, number)?;
    let order = match plan.probes {
        0 => Order {
            record: true,
            reconnect: Duration::from_millis(1)..Duration::from_millis(50),
            ..Order::chat(CHAT)
        },
        _ => Order::probe(PROBE),
    };
    asking.iter().for_each(|member| member.order(order.clone()));
    sleep(SETTLE).await;
    // Where each of them is in the moment before.
    let places: Vec<Whereabouts> = asking.iter().map(|member| member.whereabouts()).collect();
    ensure!(
        places.iter().all(|place| place.owner == node),
        "sessions of {node} moved although nothing was done to it"
    );
    let old_pid = cluster.node(&node)?.pid;
    let (before, after) = inject(cluster, victim, &node, old_pid).await?;
    asking
        .iter()
        .for_each(|member| member.change(|order| order.call += 1));
    let fault = |place: &Whereabouts| Fault {
        before,
        after,
        epoch: place.epoch,
    };
    let answered = |(member, place): (&&Handle, &Whereabouts)| {
        member.with_answers(|answers| fault(place).to_reply(answers).is_some())
    };
    while !asking.iter().zip(&places).all(answered) {
        ensure!(
            before.elapsed() < PATIENCE,
            "{} of {} sessions of {node} had no answer of a next owner after {PATIENCE:?}",
            asking.iter().zip(&places).filter(|pair| !answered(*pair)).count(),
            asking.len()
        );
        sleep(Duration::from_millis(20)).await;
    }
    let mut samples = Samples::default();
    for (member, place) in asking.iter().zip(&places) {
        let answers = member.take_answers();
        let reply = fault(place).to_reply(&answers);
        if place.gateway == node {
            samples.reconnecting.extend(reply);
        } else {
            samples.reply.extend(reply);
            samples.said.extend(fault(place).to_said(&answers));
        }
        member.order(Order::chat(CHAT));
    }
    let ended = Instant::now();
    if victim.vanishes() {
        cluster.weather(&Weather::fair()).await?;
    } else {
        cluster.wait_restarted(&node, old_pid).await?;
    }
    cluster.wait_balanced(BALANCE).await?;
    let whole_and_balanced_after_ms = ended.elapsed().as_millis();
    crowd.go_home().await?;
    Ok(Round {
        victim,
        node,
        fault_took_ms: (after - before).as_secs_f64() * 1e3,
        to_reply: Times::of(samples.reply.clone()),
        to_said: Times::of(samples.said.clone()),
        to_reply_reconnecting: Times::of(samples.reconnecting.clone()),
        whole_and_balanced_after_ms,
        samples,
    })
}

/// A node that does not lead, in turn.
fn other_than(cluster: &Cluster, leader: &str, number: usize) -> Result<String> {
    let mut others: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    others.retain(|name| *name != leader);
    let found = others.get(number % others.len().max(1));
    Ok((*found.context("there are other nodes")?).to_owned())
}

/// Whose gaps are measured: sessions of that owner, the probes among those whose gateway will live.
fn choose<'a>(crowd: &'a Crowd, node: &str, plan: &Plan, number: usize) -> Result<Vec<&'a Handle>> {
    let of_node = |member: &&Handle| {
        let place = member.whereabouts();
        place.owner == node && !place.gateway.is_empty() && (plan.probes == 0 || place.gateway != node)
    };
    let mut found: Vec<&Handle> = crowd.members.iter().filter(of_node).collect();
    ensure!(
        found.len() >= plan.probes.max(1),
        "only {} sessions of {node} have a socket elsewhere",
        found.len()
    );
    if plan.probes > 0 {
        let turn = number * plan.probes % found.len();
        found.rotate_left(turn);
        found.truncate(plan.probes);
    }
    Ok(found)
}

/// Does it: the instants before and after.
async fn inject(cluster: &Cluster, victim: Victim, node: &str, pid: u32) -> Result<(Instant, Instant)> {
    if !victim.vanishes() {
        let before = Instant::now();
        signal(pid, rustix::process::Signal::KILL)?;
        return Ok((before, Instant::now()));
    }
    let machines = cluster.nodes.iter().position(|found| found.name == node);
    let machine = u8::try_from(machines.context("it is a node")?)?;
    let weather = Weather::vanished(machine, u8::try_from(cluster.nodes.len())?);
    let before = Instant::now();
    cluster.weather(&weather).await?;
    Ok((before, Instant::now()))
}
