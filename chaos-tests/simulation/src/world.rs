//! What all parts of one run share.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_config::{Profile, Settings};
use jarvis_replica::MemoryDisk;
use jarvis_replica::simulated::Bite;

use crate::clock::SimClock;
use crate::faults::gains_every_ms;
use crate::house::House;
use crate::machine::Machine;
use crate::net::Net;
use crate::operator::Order;
use crate::oracle::{Oracle, Witness};
use crate::rng::Rng;
use crate::trace::Trace;

/// Where people are.
pub const PEOPLE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The cluster comes into being.
    Setup = 0,
    /// Anything may fail.
    Faults = 1,
    /// Everything is healed; all must be well before long.
    Calm = 2,
}

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Machines that are nodes from the start.
    pub nodes: usize,
    /// Machines that may be added.
    pub spares: usize,
    /// Chat sessions.
    pub sessions: usize,
    /// People who talk in each.
    pub talkers_each: usize,
}

impl Size {
    fn of(seed: u64) -> Self {
        let rng = Rng::new(seed, "size");
        Self {
            nodes: if rng.chance_ppm(750_000) { 3 } else { 5 },
            spares: 1,
            sessions: rng.range(1, 4) as usize,
            talkers_each: 2,
        }
    }
}

/// What all parts of one run share.
pub struct World {
    /// What everything follows from.
    pub seed: u64,
    /// How large it is.
    pub size: Size,
    /// What all nodes are configured with.
    pub settings: Settings,
    /// The machine that is to be a witness.
    pub witness: Option<usize>,
    /// Its automations.
    pub house: House,
    /// What happened.
    pub trace: Arc<Trace>,
    /// The network's faults.
    pub net: Net,
    /// All machines, those included that are not nodes yet.
    pub machines: Vec<Arc<Machine>>,
    /// Checks the laws.
    pub oracle: Arc<Oracle>,
    /// What the operator is to do.
    pub orders: Mutex<VecDeque<Order>>,
    sessions: Mutex<Vec<Option<String>>>,
    loaded: AtomicBool,
    phase: AtomicU8,
    content: AtomicUsize,
}

impl World {
    /// The world of a seed, with nothing running in it.
    pub fn new(seed: u64, lines: bool, bite: Option<Bite>) -> Arc<Self> {
        let size = Size::of(seed);
        let trace = Arc::new(Trace::new(lines));
        let oracle = Arc::new(Oracle::new(Arc::clone(&trace)));
        let rng = Rng::new(seed, "machines");
        let count = size.nodes + size.spares;
        let machines = (0..count).map(|index| {
            let mut disk = MemoryDisk::new();
            disk.sync_takes = Duration::from_millis(rng.range(0, 4));
            disk.observer = Some(Arc::new(Witness::new(&oracle, index)));
            disk.bite(bite);
            let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, index as u8 + 1));
            Arc::new(Machine::new(index, format!("m{}", index + 1), ip, disk))
        });
        let machines: Vec<Arc<Machine>> = machines.collect();
        let mut settings = Settings::default();
        settings.limits.messages_per_minute = 0;
        settings.limits.sockets_per_minute = 0;
        // Not that of whatever machine this runs on.
        settings.home.time_zone = Some("UTC".to_owned());
        settings.raft.snapshot_every = rng.range(20, 200);
        settings.mesh.profile = match rng.range(0, 10) {
            0 => Profile::Wifi,
            1 => Profile::SlowDisk,
            _ => Profile::Lan,
        };
        // In some seeds every certificate is renewed, more than once, in the midst of everything.
        if rng.chance_ppm(250_000) {
            settings.mesh.certificate_ttl = Duration::from_secs(rng.range(20, 40));
        }
        // No two machines show the same time, however quiet the seed.
        if rng.chance_ppm(750_000) {
            for machine in &machines {
                let clock: &SimClock = &machine.clock;
                clock.set_offset_ms(rng.range(0, 4_000) as i64 - 2_000);
                clock.set_drift_ppm(rng.range(0, 2_000) as i64 - 1_000);
                clock.set_gains_every_ms(gains_every_ms(&rng));
            }
        }
        let witness = (size.nodes == 3 && rng.chance_ppm(200_000)).then_some(2);
        Arc::new(Self {
            seed,
            size,
            settings,
            witness,
            house: House::of(seed),
            trace,
            net: Net::new(seed, count),
            machines,
            oracle,
            orders: Mutex::default(),
            sessions: Mutex::new(vec![None; size.sessions]),
            loaded: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Setup as u8),
            content: AtomicUsize::new(0),
        })
    }

    /// The machine at an address.
    pub fn machine_at(&self, ip: IpAddr) -> Option<usize> {
        self.machines.iter().position(|machine| machine.ip == ip)
    }

    /// What the run is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Setup,
            1 => Phase::Faults,
            _ => Phase::Calm,
        }
    }

    /// The run goes on to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.trace.event(format_args!("phase {phase:?}"));
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The automations are loaded.
    pub fn house_is_loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn is_house_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// One more talker has all that it wanted.
    pub fn one_is_content(&self) {
        self.content.fetch_add(1, Ordering::Relaxed);
    }

    /// How many talkers have all that they wanted.
    pub fn content(&self) -> usize {
        self.content.load(Ordering::Relaxed)
    }

    fn held_sessions(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a session, once it was made.
    pub fn session(&self, number: usize) -> Option<String> {
        self.held_sessions()[number].clone()
    }

    /// A session was made.
    pub fn note_session(&self, number: usize, id: String) {
        self.held_sessions()[number] = Some(id);
    }

    /// Has the operator do something.
    pub fn order(&self, order: Order) {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(order);
    }

    /// The operator's next.
    pub fn next_order(&self) -> Option<Order> {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}
