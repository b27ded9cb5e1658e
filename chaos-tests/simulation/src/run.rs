//! One run of one seed. A process runs only one: some counters are a process's own.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use jarvis_host::SeededEntropy;
use jarvis_replica::MemoryDisk;
use jarvis_replica::simulated::Bite;
use jarvis_types::ClusterId;
use turmoil::{Builder, Sim};

use crate::bound::{Events, LOOK, Progress, WORK_A_SECOND, WORK_AFTER_A_PANIC, Watch};
use crate::clock::{EPOCH, TICK};
use crate::faults::{Fault, kept_ppm, plan, way};
use crate::laws::{Broken, same};
use crate::machine::Machine;
use crate::operator::{self, Order};
use crate::rng::Rng;
use crate::teller::BEACONS;
use crate::world::{PEOPLE, Phase, World};
use crate::{caller, system, talker, teller};

/// Longest way of a datagram unless a fault makes it longer.
const LATENCY: Duration = Duration::from_millis(5);
/// How long things go wrong unless told otherwise, in virtual milliseconds.
pub const FAULTS_MS: u64 = 15_000;
/// Stack of the thread that simulates: the search for an order of reads and writes goes deep.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// How long a cluster may take to come into being.
const SETUP_LIMIT: Duration = Duration::from_secs(30);
/// How long all may take to be well again once everything is healed.
const CALM_LIMIT: Duration = Duration::from_secs(60);
/// How long a node that ended by itself stays down.
const RESTART_PAUSE_MS: u64 = 1_000;
/// Between two comparisons of all tables.
const COMPARE_EVERY_MS: u64 = 500;
/// Between two looks at all wall clocks.
const CLOCKS_EVERY_MS: u64 = 20;
/// How long a run may be in all; never reached.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Whether to write the trace to stderr.
    pub lines: bool,
    /// The fault to put back.
    pub bite: Option<Bite>,
    /// How long things go wrong, in milliseconds.
    pub faults_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash of the trace.
    pub hash: u64,
    /// Events in the trace.
    pub events: u64,
    /// Virtual time it took.
    pub simulated: Duration,
    /// Log entries applied.
    pub entries: u64,
    /// Messages and replies in them.
    pub messages: u64,
    /// Linearizable reads.
    pub reads: u64,
    /// Acts on the world.
    pub acts: u64,
    /// What automations said.
    pub told: u64,
    /// What was broken; nothing, where all is well.
    pub broken: Vec<Broken>,
}

impl Report {
    fn unfinished(seed: u64, progress: &Progress) -> Self {
        let world = progress.world();
        let (hash, events) = world.as_ref().map_or((0, 0), |world| world.trace.hash());
        Self {
            seed,
            hash,
            events,
            simulated: progress.reached(),
            entries: 0,
            messages: 0,
            reads: 0,
            acts: 0,
            told: 0,
            broken: world.map_or_else(Vec::new, |world| world.oracle.broken_if_idle()),
        }
    }

    fn with(mut self, law: &'static str, what: impl IntoIterator<Item = String>) -> Self {
        let more = what.into_iter().map(|what| Broken { law, what });
        self.broken.extend(more);
        self
    }
}

/// Panics of this process: tokio swallows those of tasks, and a run with one has failed.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    fn watch() -> Self {
        let panics = Self::default();
        let noting = panics.clone();
        std::panic::set_hook(Box::new(move |info| {
            let trace = std::backtrace::Backtrace::capture();
            let mut held = noting.0.lock().unwrap_or_else(PoisonError::into_inner);
            held.push(match trace.status() {
                std::backtrace::BacktraceStatus::Captured => format!("{info}\n{trace}"),
                _ => info.to_string(),
            });
        }));
        panics
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

const PANICS: &str = "nothing panics";

/// Runs a seed, in a thread of its own: what a thread remembers, such as the keys of its hash maps, begins with the seed. It ends
/// however the run goes; one that does too much for a simulated second is left to itself, until the process ends.
#[allow(clippy::disallowed_methods, reason = "the one thread of a simulation")]
pub fn run(options: Options) -> Report {
    let (panics, progress) = (Panics::watch(), Progress::default());
    let (sender, finished) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("seed {}", options.seed))
        .stack_size(STACK_BYTES);
    let (watched, noted) = (progress.clone(), panics.clone());
    let started = thread.spawn(move || {
        let _gone = sender.send(run_here(options, noted, &watched));
    });
    if let Err(error) = started {
        return Report::unfinished(options.seed, &progress).with("a thread starts", [error.to_string()]);
    }
    let mut watch = Watch::new(progress.clone());
    loop {
        match finished.recv_timeout(LOOK) {
            Ok(report) => return report,
            // The simulation itself panicked.
            Err(RecvTimeoutError::Disconnected) => {
                return Report::unfinished(options.seed, &progress).with(PANICS, panics.take());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let limit = if panics.is_empty() {
            WORK_A_SECOND
        } else {
            WORK_AFTER_A_PANIC
        };
        if let Some(taken) = watch.exceeded(limit) {
            let what = format!(
                "{taken:?} on a core went into it at {:?}: something goes round without a pause",
                progress.reached()
            );
            return Report::unfinished(options.seed, &progress)
                .with(PANICS, panics.take())
                .with(BOUNDED, [what]);
        }
    }
}

fn run_here(options: Options, panics: Panics, progress: &Progress) -> Report {
    let Options {
        seed,
        lines,
        bite,
        faults_ms,
    } = options;
    system::install(seed, EPOCH);
    let world = World::new(seed, lines, bite);
    progress.start(&world);
    let mut runner = Runner {
        sim: simulation(seed),
        down: vec![None; world.machines.len()],
        reachable: vec![true; world.machines.len()],
        chance: Rng::new(seed, "runner"),
        events: Events::default(),
        progress: progress.clone(),
        copies: vec![None; world.machines.len()],
        put_back: None,
        world,
        panics,
    };
    runner.populate();
    let well = runner.setup() && runner.faults(faults_ms) && runner.calm();
    if well {
        runner.world.oracle.finish();
    }
    let simulated = runner.sim.elapsed();
    let world = Arc::clone(&runner.world);
    drop(runner);
    let (hash, events) = world.trace.hash();
    let (entries, messages, reads, acts) = world.oracle.counts();
    system::uninstall();
    Report {
        seed,
        hash,
        events,
        simulated,
        entries,
        messages,
        reads,
        acts,
        told: world.oracle.told(),
        broken: world.oracle.broken(),
    }
}

fn simulation(seed: u64) -> Sim<'static> {
    let mut builder = Builder::new();
    builder
        .epoch(UNIX_EPOCH + EPOCH)
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(LATENCY)
        .udp_capacity(4_096)
        .tcp_capacity(4_096)
        .simulation_duration(LONGEST)
        .enable_random_order();
    builder.build()
}

struct Runner {
    sim: Sim<'static>,
    world: Arc<World>,
    /// When a machine's power comes back.
    down: Vec<Option<u64>>,
    /// Whether people reach a machine.
    reachable: Vec<bool>,
    chance: Rng,
    events: Events,
    progress: Progress,
    panics: Panics,
    /// Copies of disks.
    copies: Vec<Option<MemoryDisk>>,
    /// The machine whose disk is an older copy.
    put_back: Option<usize>,
}

/// Of fewer voters' clocks one that is far off may be the one that counts.
const FEWEST_VOTERS: usize = 3;
/// The law that automations come to their end.
const FIRED: &str = "once healed, every timer fires";
/// The law of disks that are older copies.
const PUT_BACK: &str = "who was put back takes no part";
/// The law that a run ends.
const BOUNDED: &str = "a simulated second takes bounded work";

impl Runner {
    fn populate(&mut self) {
        let entropy = SeededEntropy::new(self.world.seed);
        self.world.machines[0].found(ClusterId(1), &entropy, self.world.settings.mesh.certificate_ttl);
        for machine in &self.world.machines {
            let (machine, world) = (Arc::clone(machine), Arc::clone(&self.world));
            self.sim.host(machine.ip, move || {
                Box::pin(Arc::clone(&machine).run(Arc::clone(&world)))
            });
        }
        let world = Arc::clone(&self.world);
        self.sim.client(PEOPLE, async move {
            for (session, number) in talker::all(&world) {
                tokio::task::spawn_local(talker::talk(Arc::clone(&world), session, number));
            }
            for beacon in 0..BEACONS {
                tokio::task::spawn_local(teller::tell(Arc::clone(&world), beacon));
            }
            tokio::task::spawn_local(caller::load(Arc::clone(&world)));
            for rule in world.house.rules.clone() {
                tokio::task::spawn_local(caller::call(Arc::clone(&world), rule));
            }
            operator::work(world).await;
            Ok(())
        });
        (1..self.world.size.nodes).for_each(|machine| self.world.order(Order::Add(machine)));
    }

    fn now_ms(&self) -> u64 {
        self.sim.elapsed().as_millis() as u64
    }

    /// One tick, and all checks that go with it. False: something is broken, and the run ends.
    fn step(&mut self) -> bool {
        let stepped = self.sim.step();
        let elapsed = self.sim.elapsed();
        system::set_elapsed(elapsed);
        self.world.trace.stepped(elapsed);
        self.progress.reach(elapsed);
        let oracle = &self.world.oracle;
        if let Err(what) = self.events.count(elapsed, self.world.trace.hash().1) {
            oracle.report(BOUNDED, what);
        }
        if let Err(error) = stepped {
            oracle.report("the simulation goes on", error.to_string());
        }
        for panic in self.panics.take() {
            oracle.report(PANICS, panic);
        }
        let now_ms = self.now_ms();
        for index in 0..self.world.machines.len() {
            self.look_at(index, now_ms);
        }
        if now_ms.is_multiple_of(CLOCKS_EVERY_MS) {
            self.look_at_clocks(elapsed);
        }
        if now_ms.is_multiple_of(COMPARE_EVERY_MS)
            && let Err(what) = self.compare()
        {
            self.world.oracle.report("all nodes hold the same", what);
        }
        self.world.oracle.broken().is_empty()
    }

    fn look_at_clocks(&self, elapsed: Duration) {
        for machine in &self.world.machines {
            let clock = &machine.clock;
            self.world
                .oracle
                .clock(clock.ahead_ms(elapsed), clock.is_far_off());
        }
    }

    fn look_at(&mut self, index: usize, now_ms: u64) {
        let machine = Arc::clone(&self.world.machines[index]);
        if let Some(replica) = machine.replica() {
            if replica.runs_on_an_older_copy() && self.put_back != Some(index) {
                let what = format!("{} takes its own disk for an older copy", machine.name);
                self.world.oracle.report(PUT_BACK, what);
            }
            let state = replica.state();
            let state = state.borrow();
            if let Some(leader) = state.leader {
                self.world.oracle.leads(state.term, leader.0, index);
            }
            if self.put_back == Some(index) && state.caught_up {
                let what = format!("{} follows on a disk that is an older copy", machine.name);
                self.world.oracle.report(PUT_BACK, what);
            }
            if self.world.phase() != Phase::Setup && state.caught_up && state.voters.len() < FEWEST_VOTERS {
                self.world.oracle.one_votes_alone();
                for machine in &self.world.machines {
                    machine.clock.set_far_off_ms(0);
                }
            }
        }
        if let Some(why) = machine.ended() {
            self.world
                .trace
                .event(format_args!("{} is down: {why}", machine.name));
            if !machine.is_gone() {
                self.switch_off(index, now_ms + RESTART_PAUSE_MS);
            }
        }
        if self.down[index].is_some_and(|until_ms| until_ms <= now_ms) {
            self.switch_on(index);
        }
    }

    fn switch_off(&mut self, index: usize, until_ms: u64) {
        let kept_ppm = kept_ppm(&self.chance);
        self.crash(index, kept_ppm);
        self.down[index] = Some(until_ms);
    }

    fn crash(&mut self, index: usize, kept_ppm: u64) {
        let machine = Arc::clone(&self.world.machines[index]);
        machine.let_go();
        self.sim.crash(machine.ip);
        machine.disk.crash_with(kept_ppm);
        self.world.oracle.restarted(index);
    }

    fn switch_on(&mut self, index: usize) {
        let machine = &self.world.machines[index];
        self.down[index] = None;
        self.world.trace.event(format_args!("{} starts", machine.name));
        self.sim.bounce(machine.ip);
    }

    fn compare(&self) -> Result<(), String> {
        let replicas: Vec<_> = self
            .world
            .machines
            .iter()
            .filter_map(|machine| Some((machine.name.as_str(), machine.replica()?)))
            .collect();
        same::check(replicas.iter().map(|(name, replica)| (*name, replica)))
    }

    /// Until `done`, or nothing more can come of it.
    fn until(&mut self, what: &'static str, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let give_up = self.sim.elapsed() + limit;
        while !done(self) {
            if self.sim.elapsed() >= give_up {
                let standing = self.standing();
                self.world
                    .oracle
                    .report(what, format!("not within {limit:?}: {standing}"));
                return false;
            }
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Where everybody stands, for whoever has to find out why nothing goes on.
    fn standing(&self) -> String {
        let nodes = self.world.machines.iter().map(|machine| match machine.replica() {
            None => format!("{} down", machine.name),
            Some(replica) => {
                let state = replica.state();
                let state = state.borrow();
                format!(
                    "{} node {} term {} leader {:?} leads {} committed {} applied {} voters {:?} learners {:?} caught up {}",
                    machine.name,
                    replica.node(),
                    state.term,
                    state.leader,
                    state.leads,
                    state.committed,
                    state.applied,
                    state.voters,
                    state.learners,
                    state.caught_up,
                )
            }
        });
        let nodes: Vec<String> = nodes.collect();
        let (content, all) = (self.world.content(), talker::all(&self.world).len() + BEACONS);
        format!("{content} of {all} people content; {}", nodes.join("; "))
    }

    fn setup(&mut self) -> bool {
        let nodes = self.world.size.nodes;
        self.until("a cluster comes into being", SETUP_LIMIT, |runner| {
            runner.world.machines[..nodes].iter().all(|machine| {
                machine
                    .replica()
                    .is_some_and(|replica| replica.state().borrow().caught_up)
            })
        })
    }

    fn faults(&mut self, faults_ms: u64) -> bool {
        self.world.enter(Phase::Faults);
        let began_ms = self.now_ms();
        let mut plan = plan(self.world.seed, self.world.size, faults_ms)
            .into_iter()
            .peekable();
        while self.now_ms() < began_ms + faults_ms {
            while let Some((_, fault)) = plan.next_if(|(at_ms, _)| began_ms + at_ms <= self.now_ms()) {
                self.world.trace.event(format_args!("fault {fault:?}"));
                self.inflict(fault);
            }
            if !self.step() {
                return false;
            }
        }
        true
    }

    fn inflict(&mut self, fault: Fault) {
        let now_ms = self.now_ms();
        match fault {
            Fault::Crash {
                machine,
                kept_ppm,
                down_ms,
            } => {
                if self.down[machine].is_none() && !self.world.machines[machine].is_gone() {
                    self.crash(machine, kept_ppm);
                    self.down[machine] = Some(now_ms + down_ms);
                }
            }
            Fault::PowerCut { down_ms } => {
                for machine in 0..self.world.machines.len() {
                    if self.down[machine].is_none() && !self.world.machines[machine].is_gone() {
                        let later_ms = self.chance.range(0, 500);
                        self.switch_off(machine, now_ms + down_ms + later_ms);
                    }
                }
            }
            Fault::Restart { machine } => self.world.machines[machine].go.notify_waiters(),
            Fault::Cut { ways, .. } => {
                let now = self.sim.elapsed();
                self.world.net.cut(now, |from, to| ways & way(from, to) != 0);
            }
            Fault::Unreachable { machine, is } => self.reach(machine, !is),
            Fault::Disturb { loss_ppm, double_ppm } => self.world.net.disturb(loss_ppm, double_ppm),
            Fault::Latency { max_ms } => self.sim.set_max_message_latency(Duration::from_millis(max_ms)),
            Fault::SlowDisk { machine, by } => self.world.machines[machine].disk.slow_down(by),
            Fault::FullDisk { machine, is } => self.world.machines[machine].disk.fill(is),
            Fault::Clock {
                machine,
                offset_ms,
                drift_ppm,
                gains_every_ms,
            } => {
                let clock = &self.world.machines[machine].clock;
                clock.set_offset_ms(offset_ms);
                clock.set_drift_ppm(drift_ppm);
                clock.set_gains_every_ms(gains_every_ms);
                self.look_at_clocks(self.sim.elapsed());
            }
            Fault::FarClock { machine, offset_ms } => {
                let clock = &self.world.machines[machine].clock;
                // One that votes alone goes by its clock: what is due waits as long as that was off.
                clock.set_far_off_ms(if self.world.oracle.has_voted_alone() {
                    0
                } else {
                    offset_ms
                });
                self.look_at_clocks(self.sim.elapsed());
            }
            Fault::CopyDisk { machine } => {
                self.copies[machine] = Some(self.world.machines[machine].disk.copy())
            }
            Fault::OldDisk { machine, down_ms } => {
                if let Some(copy) = self.copies[machine]
                    .take()
                    .filter(|copy| self.is_known_to_be_old(machine, copy))
                {
                    if self.down[machine].is_none() {
                        self.crash(machine, 0);
                    }
                    self.world.machines[machine].disk.put_back(&copy);
                    self.down[machine] = Some(now_ms + down_ms);
                    self.put_back = Some(machine);
                }
            }
            Fault::Order(order) => self.world.order(order),
        }
    }

    /// Whether every other machine has heard that the node of this one acknowledged more than is on the copy.
    fn is_known_to_be_old(&self, machine: usize, copy: &MemoryDisk) -> bool {
        let Some(node) = self.world.machines[machine].node() else {
            return false;
        };
        let mut others = self.world.machines.iter().filter(|other| {
            let member = other.node();
            other.index != machine && member.is_some_and(|node| !self.world.oracle.is_removed(node.0))
        });
        others.all(|other| {
            let replica = other.replica();
            let marks = replica.and_then(|replica| replica.local().ok()?.query().log_marks().ok());
            let mut marks = marks.into_iter().flatten();
            marks.any(|(known, mark)| known == node && mark.index > copy.last_index())
        })
    }

    fn reach(&mut self, machine: usize, can: bool) {
        if self.reachable[machine] != can {
            self.reachable[machine] = can;
            let ip = self.world.machines[machine].ip;
            if can {
                self.sim.repair(PEOPLE, ip);
            } else {
                self.sim.partition(PEOPLE, ip);
            }
        }
    }

    /// Everything is healed; then every talker has its answer and all nodes hold the same before long.
    fn calm(&mut self) -> bool {
        self.look_at_clocks(self.sim.elapsed());
        self.world.net.cut(self.sim.elapsed(), |_, _| false);
        self.world.net.disturb(0, 0);
        self.sim.set_max_message_latency(LATENCY);
        for machine in 0..self.world.machines.len() {
            self.reach(machine, true);
            self.world.machines[machine].clock.set_right();
            let disk = &self.world.machines[machine].disk;
            disk.slow_down(Duration::ZERO);
            disk.fill(false);
            if self.down[machine].is_some() {
                self.switch_on(machine);
            }
        }
        (0..self.world.size.nodes).for_each(|machine| self.world.order(Order::Undrain(machine)));
        if let Some(machine) = self.put_back {
            self.world.order(Order::Remove(machine));
        }
        self.world.enter(Phase::Calm);
        let everyone = talker::all(&self.world).len() + BEACONS + self.world.house.rules.len();
        let calm = self.sim.elapsed();
        let since = self.world.house.pattern.then_some(calm);
        self.until("once healed, every session answers", CALM_LIMIT, |runner| {
            runner.world.content() == everyone
        }) && self.all_fired(since)
            && self.until(
                "once healed, all nodes come to the same",
                CALM_LIMIT,
                Self::is_one,
            )
            && self.until("who was removed learns it", CALM_LIMIT, |runner| {
                let machines = runner.world.machines.iter();
                let removed = |machine: &&Arc<Machine>| {
                    machine
                        .node()
                        .is_some_and(|node| runner.world.oracle.is_removed(node.0))
                };
                machines
                    .filter(removed)
                    .all(|machine| machine.knows_its_removal())
            })
    }

    /// All that automations have to do is done before long.
    fn all_fired(&mut self, since: Option<Duration>) -> bool {
        let give_up = self.sim.elapsed() + CALM_LIMIT;
        while let Some(left) = self.world.oracle.timers_left(since) {
            if self.sim.elapsed() >= give_up {
                let what = format!("not within {CALM_LIMIT:?}: {left}");
                self.world.oracle.report(FIRED, what);
                return false;
            }
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Whether all members stand at the same entry with the same tables.
    fn is_one(&self) -> bool {
        let running: Vec<_> = self
            .world
            .machines
            .iter()
            .filter(|machine| {
                machine
                    .node()
                    .is_some_and(|node| !self.world.oracle.is_removed(node.0))
            })
            .map(|machine| machine.replica().map(|replica| replica.state().borrow().applied))
            .collect();
        running
            .iter()
            .all(|applied| applied.is_some() && *applied == running[0])
            && self.compare().is_ok()
    }
}
