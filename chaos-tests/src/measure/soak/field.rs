//! Puts the faults of a phase into a cluster of real processes, and ends them: by signals, by the rules of the network
//! between machines, by the nodes' own faults.
//!
//! ```text
//!  Fault ──► signals (kill, pause)        ──► the process, started again by this or by `jarvis up`
//!        ──► Weather, on machines         ──► nftables where packets arrive
//!        ──► POST /api/v1/drill/faults    ──► the node itself: delay, disks, clocks; all of it on one loopback
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::schedule::{FAR_OFF_MS, Fault, Phase, Shape, What, Who};
use crate::cluster::{Cluster, NodeProcess, Shape as Seen, Stopped, signal, wait_gone};
use crate::home::Clocks;
use crate::measure::watcher::Watcher;
use crate::net::{Place, Weather};

/// A node whose clock is far off goes by the others', which it reads to half the way there and back: the longest delay and jitter
/// that are drawn.
const READING_OFF_MS: i64 = 200;

/// How long a node may take to answer while others are being hit.
const ANSWER: Duration = Duration::from_millis(700);
/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(50);
/// A node that ended by itself is started again after this, as a supervisor would.
const RESTART: Duration = Duration::from_secs(1);
/// How much later than it was told a node may have begun with a fault, where it did not say so in time: it was stopped, or cut off.
const BELATED: Duration = Duration::from_secs(15);
/// Longest wait for a process to be there again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A copy is put back when it is as old as this: the others have been told by then what the node acknowledged since.
const COPY_AGE: Duration = Duration::from_secs(15);
/// How soon a node that meets the others on an older copy of its disk has to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// What a copy holds.
const COPIED: [&str; 2] = ["raft", "state"];

/// A node's process, as far as its faults are concerned.
#[derive(Default)]
struct Process {
    /// The last that was known of it.
    pid: u32,
    /// Somebody meant it to end.
    may_end: bool,
    /// It is down, and to be started then.
    start_at: Option<Instant>,
    /// A copy of its log and tables, made while it was down.
    copy: Option<(Instant, TempDir)>,
}

/// Something that lasts.
enum Lasting {
    Stopped(#[expect(dead_code, reason = "it goes on when this is dropped")] Stopped),
    Weather(Weather),
}

/// What came of a fault.
#[derive(Debug)]
pub(super) struct Struck {
    /// Which fault, as it was planned.
    pub(super) fault: Fault,
    /// Whom it hit.
    pub(super) node: String,
    /// Why it could not be put in, if so.
    pub(super) skipped: Option<String>,
}

/// A cluster under faults.
pub(super) struct Field<'c> {
    cluster: &'c mut Cluster,
    machines: bool,
    processes: BTreeMap<String, Process>,
    lasting: BTreeMap<usize, Lasting>,
    /// Processes that ended though nobody meant them to.
    pub(super) ended_by_themselves: Vec<String>,
    /// Wall clocks that were wrong.
    pub(super) clocks: Clocks,
    /// Nodes whose process is another than it was, by their number.
    restarted: Vec<usize>,
    /// Nodes that served on an older copy of their disk.
    pub(super) served_on_a_copy: Vec<String>,
    /// How many ended on one.
    pub(super) refused_copies: u64,
}

impl<'c> Field<'c> {
    pub(super) fn new(cluster: &'c mut Cluster, machines: bool) -> Result<Self> {
        cluster.refresh()?;
        let processes = cluster.nodes.iter().map(|node| {
            let process = Process {
                pid: node.pid,
                ..Process::default()
            };
            (node.name.clone(), process)
        });
        Ok(Self {
            processes: processes.collect(),
            cluster,
            machines,
            lasting: BTreeMap::new(),
            ended_by_themselves: Vec::new(),
            clocks: Clocks::default(),
            restarted: Vec::new(),
            served_on_a_copy: Vec::new(),
            refused_copies: 0,
        })
    }

    pub(super) fn cluster(&mut self) -> &mut Cluster {
        self.cluster
    }

    /// Goes through a phase: tells each fault that was put in, and heals everything in the end.
    pub(super) async fn live_through(
        &mut self,
        phase: &Phase,
        mut tell: impl FnMut(&Struck),
        watcher: &Watcher,
    ) -> Result<()> {
        for process in self.processes.values_mut() {
            process.may_end = false;
        }
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut events: Vec<(u64, bool, usize)> = Vec::new();
        for (number, fault) in phase.faults.iter().enumerate() {
            events.push((fault.at_ms, true, number));
            events.push((fault.at_ms + fault.lasts_ms, false, number));
        }
        events.sort_unstable();
        for (ms, begins, number) in events {
            self.until(at(ms), watcher).await?;
            let fault = phase.faults.get(number).context("it was just counted")?;
            if begins {
                tell(&self.strike(number, fault, watcher).await?);
            } else if self
                .lasting
                .remove(&number)
                .is_some_and(|it| matches!(it, Lasting::Weather(_)))
            {
                self.weather().await?;
            }
        }
        self.until(at(phase.lasts_ms), watcher).await?;
        self.heal(watcher).await
    }

    /// Ends whatever lasts, and waits until every process is there.
    async fn heal(&mut self, watcher: &Watcher) -> Result<()> {
        self.lasting.clear();
        if self.machines {
            self.weather().await?;
        }
        let now = Instant::now();
        for process in self.processes.values_mut() {
            process.start_at = process.start_at.map(|at| at.min(now));
        }
        let names: Vec<String> = self.processes.keys().cloned().collect();
        loop {
            self.look(watcher)?;
            let there = |name: &String| self.cluster.is_running(name);
            if names.iter().all(there) {
                break;
            }
            ensure!(now.elapsed() < PATIENCE, "a process was not started again");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits, and keeps an eye on the processes.
    async fn until(&mut self, at: Instant, watcher: &Watcher) -> Result<()> {
        while Instant::now() < at {
            self.look(watcher)?;
            sleep_until(at.min(Instant::now() + LOOK)).await;
        }
        Ok(())
    }

    /// Starts what is to be started; notes what ended.
    pub(super) fn look(&mut self, watcher: &Watcher) -> Result<()> {
        self.cluster.refresh()?;
        let now = Instant::now();
        let nodes = self.cluster.nodes.clone();
        for (number, node) in nodes.iter().enumerate() {
            let process = self.processes.get_mut(&node.name).context("all are known")?;
            if self.machines {
                if self.cluster.is_running(&node.name) {
                    continue;
                }
                match process.start_at {
                    Some(at) if at <= now => {
                        self.cluster.start_node(&node.name)?;
                        process.start_at = None;
                        process.pid = self.cluster.node(&node.name)?.pid;
                        self.restarted.push(number);
                    }
                    Some(_) => {}
                    None => {
                        if !process.may_end {
                            self.ended_by_themselves.push(node.name.clone());
                        }
                        process.start_at = Some(now + RESTART);
                    }
                }
            } else if node.pid != process.pid {
                if !process.may_end {
                    self.ended_by_themselves.push(node.name.clone());
                }
                process.pid = node.pid;
                self.restarted.push(number);
            }
        }
        self.restarted.drain(..).for_each(|node| watcher.restarted(node));
        Ok(())
    }

    /// Whom a fault hits; none: nobody is known to lead.
    async fn victim(&self, who: Who) -> Option<usize> {
        match who {
            Who::Node(node) => Some(usize::from(node)),
            Who::All => Some(0),
            Who::Leader => {
                let mut newest: Option<(u64, String)> = None;
                for node in &self.cluster.nodes {
                    let Ok(Ok(view)) = timeout(ANSWER, self.cluster.get(node, "/api/v1/cluster")).await
                    else {
                        continue;
                    };
                    let Ok(seen) = Seen::of(&view) else { continue };
                    if let Some(leader) = seen.leader
                        && newest.as_ref().is_none_or(|(term, _)| *term < seen.term)
                    {
                        newest = Some((seen.term, leader));
                    }
                }
                let (_, leader) = newest?;
                self.cluster.nodes.iter().position(|node| node.name == leader)
            }
        }
    }

    async fn strike(&mut self, number: usize, fault: &Fault, watcher: &Watcher) -> Result<Struck> {
        let mut struck = Struck {
            fault: fault.clone(),
            node: "all".to_owned(),
            skipped: None,
        };
        let Some(victim) = self.victim(fault.who).await else {
            struck.skipped = Some("nobody is known to lead".to_owned());
            return Ok(struck);
        };
        self.cluster.refresh()?;
        let node = self.cluster.nodes.get(victim).context("it is a node")?.clone();
        if fault.who != Who::All {
            struck.node.clone_from(&node.name);
        }
        struck.skipped = match &fault.what {
            What::Kill => {
                let failed = self.kill(&node, fault.lasts_ms);
                if failed.is_none() {
                    self.copy_disk(&node).await?;
                }
                failed
            }
            What::OldDisk => {
                // It is started twice: on the copy, which knows less than it has said, and on its own disk.
                watcher.restarted(victim);
                self.put_back(&node, fault.lasts_ms).await?
            }
            What::PowerCut => {
                for node in self.cluster.nodes.clone() {
                    // One that is down already has no power to lose.
                    let _ = self.kill(&node, 0);
                }
                None
            }
            What::Pause if !self.cluster.is_running(&node.name) => Some("it is down".to_owned()),
            What::Pause => match Stopped::stop(node.pid) {
                Ok(stopped) => {
                    self.lasting.insert(number, Lasting::Stopped(stopped));
                    None
                }
                Err(why) => Some(format!("{why:#}")),
            },
            What::Cut(_) | What::CutClients | What::Loss(_) if self.machines => {
                let weather = weather_of(&fault.what, victim, self.cluster.nodes.len())?;
                self.lasting.insert(number, Lasting::Weather(weather));
                self.weather().await?;
                None
            }
            what => {
                if *what == What::FullDisk
                    && let Some(process) = self.processes.get_mut(&node.name)
                {
                    process.may_end = true;
                }
                let told = Instant::now();
                let failed = self.order(fault, victim).await;
                if let What::WrongClock(offset_ms) = what {
                    let offset_ms = match offset_ms.unsigned_abs() < FAR_OFF_MS {
                        true => *offset_ms,
                        false => READING_OFF_MS,
                    };
                    let lasts = Duration::from_millis(fault.lasts_ms);
                    let belated = failed.as_ref().map_or(LOOK, |_| BELATED);
                    self.clocks
                        .wrong(told, Instant::now() + lasts + belated, offset_ms);
                }
                failed
            }
        };
        Ok(struck)
    }

    /// Why it could not be killed, if so.
    fn kill(&mut self, node: &NodeProcess, down_ms: u64) -> Option<String> {
        if !self.cluster.is_running(&node.name) {
            return Some("it is down".to_owned());
        }
        let process = self.processes.get_mut(&node.name)?;
        process.may_end = true;
        if self.machines {
            process.start_at = Some(Instant::now() + Duration::from_millis(down_ms));
        }
        signal(node.pid, Signal::KILL).err().map(|why| format!("{why:#}"))
    }

    /// Copies log and tables of a node that was just killed, where there is no copy yet.
    async fn copy_disk(&mut self, node: &NodeProcess) -> Result<()> {
        let process = self.processes.get_mut(&node.name).context("all are known")?;
        if !self.machines || process.copy.is_some() {
            return Ok(());
        }
        wait_gone(node.pid).await?;
        let copy = tempfile::tempdir()?;
        for part in COPIED {
            copy_folder(&node.data.join(part), &copy.path().join(part))?;
        }
        process.copy = Some((Instant::now(), copy));
        Ok(())
    }

    /// Starts a node on an older copy of its disk, sees that it ends, and gives it its own disk back. Why not, if so.
    async fn put_back(&mut self, node: &NodeProcess, down_ms: u64) -> Result<Option<String>> {
        let process = self.processes.get_mut(&node.name).context("all are known")?;
        if process
            .copy
            .as_ref()
            .is_none_or(|(at, _)| at.elapsed() < COPY_AGE)
        {
            return Ok(Some("there is no copy that is old enough".to_owned()));
        }
        if let Some(why) = self.kill(node, down_ms) {
            return Ok(Some(why));
        }
        wait_gone(node.pid).await?;
        let process = self.processes.get_mut(&node.name).context("all are known")?;
        let (_, copy) = process.copy.take().context("it was just there")?;
        // Not before it has its own disk back.
        process.start_at = None;
        let own = |part: &str| node.data.join(format!("{part}.own"));
        for part in COPIED {
            std::fs::rename(node.data.join(part), own(part))?;
            copy_folder(&copy.path().join(part), &node.data.join(part))?;
        }
        self.cluster.start_node(&node.name)?;
        let (pid, began) = (self.cluster.node(&node.name)?.pid, Instant::now());
        let mut skipped = Some("it met nobody".to_owned());
        while self.cluster.is_running(&node.name) && began.elapsed() < ENDS_WITHIN {
            if let Ok(Ok(_)) = timeout(ANSWER, self.cluster.get_text(node, "/readyz")).await {
                self.served_on_a_copy.push(node.name.clone());
                skipped = None;
                break;
            }
            sleep(LOOK).await;
        }
        if self.cluster.is_running(&node.name) {
            signal(pid, Signal::KILL)?;
            wait_gone(pid).await?;
        } else {
            self.refused_copies += 1;
            skipped = None;
        }
        for part in COPIED {
            std::fs::remove_dir_all(node.data.join(part))?;
            std::fs::rename(own(part), node.data.join(part))?;
        }
        let process = self.processes.get_mut(&node.name).context("all are known")?;
        process.start_at = Some(Instant::now() + Duration::from_millis(down_ms));
        Ok(skipped)
    }

    /// All that lasts, as one weather.
    async fn weather(&self) -> Result<()> {
        let mut all = Weather::fair();
        for lasting in self.lasting.values() {
            if let Lasting::Weather(weather) = lasting {
                all = all.and(weather);
            }
        }
        self.cluster.weather(&all).await
    }

    /// Has nodes put a fault into themselves; it ends by itself. Why that was not possible, if so.
    async fn order(&self, fault: &Fault, victim: usize) -> Option<String> {
        let names: Vec<String> = self.cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let victims: Vec<usize> = match (&fault.what, fault.who) {
            (What::Cut(Shape::WithNext), _) => vec![victim, (victim + 1) % names.len()],
            (_, Who::All) => (0..names.len()).collect(),
            _ => vec![victim],
        };
        let mut failed = None;
        for at in &victims {
            for order in orders(&fault.what, *at, &victims, &names) {
                if let Err(why) = self.post(*at, order, fault.lasts_ms).await {
                    failed = Some(format!("{why:#}"));
                }
            }
        }
        failed
    }

    async fn post(&self, victim: usize, mut order: Value, lasts_ms: u64) -> Result<()> {
        let nodes = &self.cluster.nodes;
        let name = &nodes.get(victim).context("it is a node")?.name;
        order["lasts_ms"] = lasts_ms.max(1).into();
        order["node"] = name.as_str().into();
        // A node whose clients are cut off could not answer: another one passes it on.
        let others_only = order["kind"] == "http_cut";
        let first = usize::from(others_only);
        let asked = (first..nodes.len()).map(|step| (victim + step) % nodes.len());
        let mut last = None;
        for at in asked {
            let node = nodes.get(at).context("it is a node")?;
            let eyes = self.cluster.eyes();
            match timeout(ANSWER, eyes.post(node, "/api/v1/drill/faults", &order)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(why)) => last = Some(why),
                Err(_) => last = Some(anyhow::anyhow!("{} does not answer", node.name)),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("there is nobody to ask")))
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// The neighbours of a node, the next one first.
fn next_ones(victim: usize, nodes: usize, count: u8) -> Vec<usize> {
    let steps = 1..=usize::from(count).min(nodes - 1);
    steps.map(|step| (victim + step) % nodes).collect()
}

/// What the network between machines does.
fn weather_of(what: &What, victim: usize, nodes: usize) -> Result<Weather> {
    let place = |machine: usize| u8::try_from(machine).map(Place::Machine);
    let here = place(victim)?;
    let mut weather = Weather::fair();
    let shape = match what {
        What::Loss(percent) => return Ok(Weather::lossy(*percent)),
        What::CutClients => return Ok(weather.cut(here, Place::Clients)),
        What::Cut(shape) => shape,
        _ => return Ok(weather),
    };
    let all = u8::try_from(nodes)?;
    let (peers, hears, heard) = match shape {
        Shape::Alone | Shape::Vanished | Shape::WithNext => (next_ones(victim, nodes, all), false, false),
        Shape::Deaf => (next_ones(victim, nodes, all), false, true),
        Shape::Mute => (next_ones(victim, nodes, all), true, false),
        Shape::Some(count) => (next_ones(victim, nodes, *count), false, false),
        Shape::DeafToSome(count) => (next_ones(victim, nodes, *count), false, true),
    };
    let with = (*shape == Shape::WithNext).then(|| (victim + 1) % nodes);
    for peer in peers.into_iter().filter(|peer| Some(*peer) != with) {
        let there = place(peer)?;
        if !hears {
            weather = weather.cut_one_way(there, here);
        }
        if !heard {
            weather = weather.cut_one_way(here, there);
        }
        if let Some(with) = with {
            weather = weather.cut(place(with)?, there);
        }
    }
    if *shape == Shape::Vanished {
        weather = weather.cut(here, Place::Clients);
    }
    Ok(weather)
}

/// What a node is told to do to itself.
fn orders(what: &What, at: usize, victims: &[usize], names: &[String]) -> Vec<Value> {
    let drop = |direction: &str, peers: Vec<usize>| {
        let peers: Vec<&String> = peers.iter().filter_map(|peer| names.get(*peer)).collect();
        json!({"kind": "network", "drop": direction, "peers": peers})
    };
    let all = || (0..names.len()).filter(|peer| *peer != at).collect();
    match what {
        What::Cut(shape) => match shape {
            Shape::Alone => vec![drop("both", all())],
            Shape::Deaf => vec![drop("in", all())],
            Shape::Mute => vec![drop("out", all())],
            // The clients last: a node that they do not reach is told by others.
            Shape::Vanished => vec![json!({"kind": "http_cut"}), drop("both", all())],
            Shape::Some(count) => vec![drop("both", next_ones(at, names.len(), *count))],
            Shape::DeafToSome(count) => vec![drop("in", next_ones(at, names.len(), *count))],
            Shape::WithNext => {
                let others = (0..names.len()).filter(|peer| !victims.contains(peer)).collect();
                vec![drop("both", others)]
            }
        },
        What::CutClients => vec![json!({"kind": "http_cut"})],
        What::Loss(percent) => vec![json!({"kind": "network", "loss_percent": percent})],
        What::Late {
            delay_ms,
            jitter_ms,
            reorder,
        } => vec![json!({
            "kind": "network", "delay_ms": delay_ms, "jitter_ms": jitter_ms, "keep_order": !reorder,
        })],
        What::SlowDisk(ms) => vec![json!({"kind": "slow_disk", "sync_delay_ms": ms})],
        What::FullDisk => vec![json!({"kind": "full_disk"})],
        What::WrongClock(ms) => vec![json!({"kind": "clock", "offset_ms": ms})],
        What::Kill | What::Pause | What::OldDisk | What::PowerCut => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(n: u8) -> Place {
        Place::Machine(n)
    }

    #[test]
    fn each_shape_cuts_what_it_says() {
        let cut = |shape| weather_of(&What::Cut(shape), 1, 5).expect("few nodes");
        let fair = Weather::fair;
        assert_eq!(cut(Shape::Alone), Weather::split(1, 5));
        assert_eq!(cut(Shape::Vanished), Weather::vanished(1, 5));
        assert_eq!(
            cut(Shape::Some(2)),
            fair().cut(machine(1), machine(2)).cut(machine(1), machine(3))
        );
        assert_eq!(
            cut(Shape::DeafToSome(1)),
            fair().cut_one_way(machine(2), machine(1))
        );
        let others = [0, 2, 3, 4].map(machine);
        let deaf = others
            .iter()
            .fold(fair(), |all, there| all.cut_one_way(*there, machine(1)));
        let mute = others
            .iter()
            .fold(fair(), |all, there| all.cut_one_way(machine(1), *there));
        assert_eq!((cut(Shape::Deaf), cut(Shape::Mute)), (deaf, mute));
        let pair = [0, 3, 4].map(machine);
        let pair = pair.iter().fold(fair(), |all, there| {
            all.cut(machine(1), *there).cut(machine(2), *there)
        });
        assert_eq!(cut(Shape::WithNext), pair);
    }

    #[test]
    fn nodes_are_told_the_same_in_their_own_words() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let order = |shape| orders(&What::Cut(shape), 2, &[2], &names);
        assert_eq!(
            order(Shape::Some(1)),
            [json!({"kind": "network", "drop": "both", "peers": ["a"]})]
        );
        assert_eq!(
            order(Shape::Deaf),
            [json!({"kind": "network", "drop": "in", "peers": ["a", "b"]})]
        );
        assert_eq!(order(Shape::Vanished).len(), 2);
        let five = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(
            orders(&What::Cut(Shape::WithNext), 4, &[4, 0], &five),
            [json!({"kind": "network", "drop": "both", "peers": ["b", "c", "d"]})]
        );
    }
}
