//! Which faults happen when: drawn from a seed before anything is done, so that the same seed is the same schedule. Pure.
//!
//! ```text
//!  phase ──┬── kill node2 ──┐      ┌── node1 from node3 only ──┐            heal │ live │ next phase
//!          └─────── loss 12 % ─────┴───────────┘   └─ pause leader ─┘            │      │
//! ```
//!
//! What takes a node away is drawn only while the others are still a majority, whatever overlaps; what makes it merely
//! bad (loss, delay, a slow disk) may happen at any time, everywhere.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use crate::crowd::jitter::Jitter;

/// Before the first fault.
const FIRST: Duration = Duration::from_millis(500);
/// From one fault's beginning to the next one's.
const BETWEEN: Range<Duration> = Duration::from_millis(150)..Duration::from_millis(3_500);
/// A node that was away is not counted on for so long afterwards.
const RECOVERY: Duration = Duration::from_millis(1_500);
/// After all was cut off, nothing else is for so long.
const POWER_CUT: Duration = Duration::from_secs(6);
/// A clock that is off by more than this is far off: nothing may go by it, while no other is wrong.
pub const FAR_OFF_MS: u64 = 3_600_000;
/// Clocks that are far off are off by a day at the most.
const FAR_MS: usize = 24 * 3_600_000;
/// Faults that do not fit are drawn again so often.
const ATTEMPTS: usize = 20;

/// Faults, then a heal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Counted from 1.
    pub number: u32,
    /// After this, everything heals.
    pub lasts_ms: u64,
    /// In the order of their beginning.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// When it begins, in its phase.
    pub at_ms: u64,
    /// How long it lasts.
    pub lasts_ms: u64,
    /// Whom it hits.
    pub who: Who,
    /// What it is.
    pub what: What,
}

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// A node, counted from 0.
    Node(u8),
    /// Who leads when it begins.
    Leader,
    /// All.
    All,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// SIGKILL; started again in the end.
    Kill,
    /// SIGSTOP; SIGCONT in the end.
    Pause,
    /// The network does not carry everything.
    Cut(Shape),
    /// Clients do not reach it.
    CutClients,
    /// Of a hundred datagrams between nodes, so many are lost on each way.
    Loss(u8),
    /// What it sends comes late, and may be overtaken.
    Late {
        /// By this at least.
        delay_ms: u64,
        /// And up to this besides.
        jitter_ms: u64,
        /// Whether datagrams may overtake one another.
        reorder: bool,
    },
    /// Each sync of its log takes so many milliseconds longer.
    SlowDisk(u64),
    /// Its log has no room.
    FullDisk,
    /// Its wall clock is wrong by so many milliseconds.
    WrongClock(i64),
    /// SIGKILL, and started again on an older copy of its disk: it is to end, and gets its disk back.
    OldDisk,
    /// SIGKILL of all.
    PowerCut,
}

/// How a node is cut off from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// From all others.
    Alone,
    /// It hears nobody.
    Deaf,
    /// Nobody hears it.
    Mute,
    /// Nobody hears it, and it hears nobody: clients neither.
    Vanished,
    /// From so many of its next neighbours only.
    Some(u8),
    /// It does not hear so many of its next neighbours.
    DeafToSome(u8),
    /// With its next neighbour, from all others.
    WithNext,
}

impl What {
    /// Nodes that are as good as away meanwhile.
    fn costs(&self) -> usize {
        match self {
            Self::Kill | Self::Pause | Self::FullDisk | Self::OldDisk => 1,
            Self::Cut(Shape::WithNext) => 2,
            Self::Cut(_) => 1,
            Self::PowerCut => usize::MAX,
            _ => 0,
        }
    }

    /// Whether it stops or ends processes: two such things at once are one.
    fn is_of_process(&self) -> bool {
        matches!(
            self,
            Self::Kill | Self::Pause | Self::FullDisk | Self::OldDisk | Self::PowerCut
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.at_ms, self.at_ms + self.lasts_ms);
        write!(f, "{from:>6} to {to:>6} ms  {:?}: {:?}", self.who, self.what)
    }
}

impl Phase {
    /// Draws a phase of a cluster of so many nodes: it lasts so many seconds, or up to half as long again.
    pub fn draw(seed: u64, number: u32, nodes: u8, seconds: u64) -> Self {
        // Neighbouring seeds are one sequence, a step apart: what is drawn from them is not.
        let mixed = |number: u64| Jitter::new(number).draw();
        let mut jitter = Jitter::new(mixed(seed) ^ mixed(!u64::from(number)));
        let shortest = Duration::from_secs(seconds);
        let lasts = jitter.within(&(shortest..shortest * 3 / 2));
        let mut phase = Self {
            number,
            lasts_ms: ms(lasts),
            faults: Vec::new(),
        };
        let mut at = FIRST;
        while at + RECOVERY < lasts {
            for _ in 0..ATTEMPTS {
                let mut fault = draw(&mut jitter, nodes);
                fault.at_ms = ms(at);
                fault.lasts_ms = fault.lasts_ms.min(ms(lasts - at));
                if phase.bears(&fault, nodes) {
                    phase.faults.push(fault);
                    break;
                }
            }
            at += jitter.within(&BETWEEN);
        }
        phase
    }

    /// Whether the others are still a majority while this one lasts.
    fn bears(&self, fault: &Fault, nodes: u8) -> bool {
        let meanwhile = |other: &&Fault| other.busy_until() > fault.at_ms;
        let others: Vec<&Fault> = self.faults.iter().filter(meanwhile).collect();
        let doubled =
            |other: &&Fault| other.what.is_of_process() && (other.who == fault.who || other.who == Who::All);
        if fault.what.is_of_process() && others.iter().any(doubled) {
            return false;
        }
        let is_clock = |what: &What| matches!(what, What::WrongClock(_));
        if is_clock(&fault.what) && others.iter().any(|other| is_clock(&other.what)) {
            // Of three clocks, two that are wrong prove nothing.
            return false;
        }
        let parts = |what: &What| matches!(what, What::Cut(_) | What::CutClients | What::Loss(_));
        let put_back = |what: &What| *what == What::OldDisk;
        let (here, there) = (&fault.what, |is: &dyn Fn(&What) -> bool| {
            others.iter().any(|other| is(&other.what))
        });
        if put_back(here) && there(&parts) || parts(here) && there(&put_back) {
            // Nobody tells a node that meets nobody.
            return false;
        }
        if fault.what == What::PowerCut {
            return others.iter().all(|other| other.what.costs() == 0);
        }
        let away = away(others.into_iter().chain([fault]));
        fault.what.costs() == 0 || away <= usize::from((nodes - 1) / 2)
    }
}

impl Fault {
    fn busy_until(&self) -> u64 {
        let recovers = if self.what.costs() > 0 { ms(RECOVERY) } else { 0 };
        self.at_ms + self.lasts_ms + recovers
    }
}

/// How many nodes are as good as away, if all these last. Several faults of one node take away one; who leads when a fault
/// begins may each time be another.
fn away<'f>(faults: impl Iterator<Item = &'f Fault>) -> usize {
    let mut known = BTreeSet::new();
    let mut away = 0usize;
    for fault in faults {
        match (fault.what.costs(), fault.who) {
            (0, _) => {}
            (1, Who::Node(node)) => {
                known.insert(node);
            }
            (costs, _) => away = away.saturating_add(costs),
        }
    }
    away.saturating_add(known.len())
}

/// A fault at no time yet.
fn draw(jitter: &mut Jitter, nodes: u8) -> Fault {
    let who = match jitter.below(usize::from(nodes) + 2) {
        n if n < usize::from(nodes) => Who::Node(n as u8),
        _ => Who::Leader,
    };
    let anyone = |jitter: &mut Jitter| if jitter.below(2) == 0 { Who::All } else { who };
    let span = |jitter: &mut Jitter, from: u64, to: u64| {
        jitter.within(&(Duration::from_millis(from)..Duration::from_millis(to)))
    };
    let (who, what, lasts) = match jitter.below(100) {
        0..13 => (who, What::Kill, span(jitter, 200, 5_000)),
        13..20 => (who, What::OldDisk, span(jitter, 200, 1_000)),
        20..38 => {
            // Most stops are short: those must not be mistaken for the end of a node.
            let longest = [150, 400, 1_500, 5_000][jitter.below(4)];
            (who, What::Pause, span(jitter, 50, longest))
        }
        38..62 => (who, What::Cut(shape(jitter, nodes)), span(jitter, 300, 7_000)),
        62..66 => (who, What::CutClients, span(jitter, 500, 4_000)),
        66..75 => {
            let percent = 1 + jitter.below(30) as u8;
            (Who::All, What::Loss(percent), span(jitter, 1_000, 8_000))
        }
        75..84 => {
            let late = What::Late {
                delay_ms: jitter.below(80) as u64,
                jitter_ms: 1 + jitter.below(120) as u64,
                reorder: jitter.below(2) == 0,
            };
            (anyone(jitter), late, span(jitter, 1_000, 8_000))
        }
        84..90 => {
            let slow = What::SlowDisk(10 + jitter.below(400) as u64);
            (anyone(jitter), slow, span(jitter, 1_000, 6_000))
        }
        90..93 => (who, What::FullDisk, span(jitter, 500, 4_000)),
        93..97 => {
            let offset = if jitter.below(2) == 0 {
                jitter.below(240_000) as i64 - 120_000
            } else {
                let by = FAR_OFF_MS as i64 + jitter.below(FAR_MS) as i64;
                if jitter.below(2) == 0 { by } else { -by }
            };
            (
                who,
                What::WrongClock(if offset == 0 { 1 } else { offset }),
                span(jitter, 1_000, 6_000),
            )
        }
        _ => (Who::All, What::PowerCut, POWER_CUT),
    };
    Fault {
        at_ms: 0,
        lasts_ms: ms(lasts),
        who,
        what,
    }
}

fn shape(jitter: &mut Jitter, nodes: u8) -> Shape {
    let some = 1 + jitter.below(usize::from(nodes - 2).max(1)) as u8;
    match jitter.below(if nodes > 4 { 8 } else { 7 }) {
        0 | 1 => Shape::Alone,
        2 => Shape::Deaf,
        3 => Shape::Mute,
        4 => Shape::Vanished,
        5 => Shape::Some(some),
        6 => Shape::DeafToSome(some),
        _ => Shape::WithNext,
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(Phase::draw(7, 3, 3, 20), Phase::draw(7, 3, 3, 20));
        for (seed, number) in [(8, 3), (7, 4)] {
            assert_ne!(
                Phase::draw(7, 3, 3, 20).faults,
                Phase::draw(seed, number, 3, 20).faults
            );
        }
    }

    /// Every instant of a phase, by the faults that have begun and not ended.
    #[test]
    fn a_majority_is_left_at_every_instant_and_everything_ends_with_its_phase() {
        for (seed, nodes) in (0..300).flat_map(|seed| [(seed, 3u8), (seed, 5)]) {
            let phase = Phase::draw(seed, 1, nodes, 20);
            assert!(phase.faults.len() >= 4, "seed {seed}: {phase:?}");
            for fault in &phase.faults {
                assert!(
                    fault.at_ms + fault.lasts_ms <= phase.lasts_ms,
                    "seed {seed}: {fault}"
                );
                let now = phase.faults.iter();
                let now =
                    now.filter(|other| (other.at_ms..other.at_ms + other.lasts_ms).contains(&fault.at_ms));
                let now: Vec<&Fault> = now.filter(|other| other.what.costs() > 0).collect();
                let all = now.iter().any(|other| other.what == What::PowerCut);
                assert!(!all || now.len() == 1, "seed {seed}: {now:?}");
                let away = away(now.iter().copied());
                assert!(all || away <= usize::from(nodes / 2), "seed {seed}: {now:?}");
            }
        }
    }

    #[test]
    fn all_kinds_come_up() {
        let all: Vec<Fault> = (0..200)
            .flat_map(|seed| Phase::draw(seed, 1, 5, 20).faults)
            .collect();
        let named = |what: &str| {
            all.iter()
                .any(|fault| format!("{:?}", fault.what).starts_with(what))
        };
        for what in [
            "Kill",
            "Pause",
            "Cut(Alone",
            "Cut(Deaf)",
            "Cut(Mute",
            "Cut(Vanished",
            "Cut(Some",
            "Cut(DeafTo",
            "Cut(WithNext",
            "CutClients",
            "Loss",
            "Late",
            "SlowDisk",
            "FullDisk",
            "WrongClock",
            "OldDisk",
            "PowerCut",
        ] {
            assert!(named(what), "no {what}");
        }
        assert!(all.iter().any(|fault| fault.who == Who::Leader));
    }
}
