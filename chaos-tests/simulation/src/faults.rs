//! The faults of a seed: a plan made before the run begins.

use std::time::Duration;

use crate::clock::LEAST_GAIN_EVERY_MS;
use crate::operator::Order;
use crate::rng::Rng;
use crate::world::Size;

/// Something goes wrong, or gets well again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The power of a machine fails; what was being synced may be there all the same, wholly or torn.
    Crash {
        /// Which machine.
        machine: usize,
        /// How much of what was being synced is there, in millionths.
        kept_ppm: u64,
        /// Until the power is back.
        down_ms: u64,
    },
    /// The power of all machines fails.
    PowerCut {
        /// Until it is back.
        down_ms: u64,
    },
    /// A node is told to go away, as by SIGTERM, and is started again.
    Restart {
        /// Which machine.
        machine: usize,
    },
    /// The ways for which the bit `from * 8 + to` is set are cut, all others open.
    Cut {
        /// Which.
        ways: u64,
        /// What it looks like.
        shape: &'static str,
    },
    /// People cannot reach a machine, or can again.
    Unreachable {
        /// Which machine.
        machine: usize,
        /// Whether it is so.
        is: bool,
    },
    /// Datagrams are lost and doubled.
    Disturb {
        /// Of a million.
        loss_ppm: u64,
        /// Of a million.
        double_ppm: u64,
    },
    /// The way between machines takes as long as this at most.
    Latency {
        /// Longest.
        max_ms: u64,
    },
    /// A disk's syncs take longer.
    SlowDisk {
        /// Which machine.
        machine: usize,
        /// By how much.
        by: Duration,
    },
    /// A disk is full, or has room again.
    FullDisk {
        /// Which machine.
        machine: usize,
        /// Whether it is so.
        is: bool,
    },
    /// A machine's wall clock jumps, and both of its clocks run at another pace from there on.
    Clock {
        /// Which machine.
        machine: usize,
        /// How far ahead it is.
        offset_ms: i64,
        /// How much too fast it runs, in millionths.
        drift_ppm: i64,
        /// In so many milliseconds the monotonic clock gains one; 0: it does not.
        gains_every_ms: u64,
    },
    /// A machine's wall clock is hours off, or not any more.
    FarClock {
        /// Which machine.
        machine: usize,
        /// How far ahead it is.
        offset_ms: i64,
    },
    /// A machine's disk is copied, to be put back some day.
    CopyDisk {
        /// Which machine.
        machine: usize,
    },
    /// A machine's power fails, and its disk is the copy when it is back.
    OldDisk {
        /// Which machine.
        machine: usize,
        /// Until the power is back.
        down_ms: u64,
    },
    /// The operator does something.
    Order(Order),
}

/// How long after a copy was made it is put back at the soonest: no disk is known to have been put back before the others have
/// been told what it has acknowledged.
const LEAST_COPY_AGE_MS: u64 = 7_000;
/// And how much later at the most.
const MORE_COPY_AGE_MS: u64 = 3_000;
/// Clocks that are far off are off by a day at the most.
const FAR_MS: u64 = 24 * 3_600_000;

/// Faults in the order of their times, in milliseconds since the beginning of the phase of faults.
pub type Plan = Vec<(u64, Fault)>;

/// Bit of a way between two machines.
pub fn way(from: usize, to: usize) -> u64 {
    1 << (from * 8 + to)
}

/// The faults of a seed over `during_ms`.
pub fn plan(seed: u64, size: Size, during_ms: u64) -> Plan {
    let rng = Rng::new(seed, "faults");
    let mut plan = Plan::new();
    // Some seeds are stormy, some nearly quiet.
    let apart_ms = rng.range(250, 2_500);
    let mut at_ms = rng.range(0, apart_ms);
    let mut planner = Planner {
        added: false,
        removed: false,
        far_until_ms: 0,
    };
    if rng.chance_ppm(100_000) && during_ms > LEAST_COPY_AGE_MS + MORE_COPY_AGE_MS {
        // Who comes back on an older copy has to be removed: no other is, then.
        planner.removed = true;
        let machine = rng.range(0, size.nodes as u64) as usize;
        let copied_ms = rng.range(0, during_ms - LEAST_COPY_AGE_MS - MORE_COPY_AGE_MS);
        let back_ms = copied_ms + rng.range(LEAST_COPY_AGE_MS, LEAST_COPY_AGE_MS + MORE_COPY_AGE_MS);
        let down_ms = rng.range(20, 1_000);
        plan.push((copied_ms, Fault::CopyDisk { machine }));
        plan.push((back_ms, Fault::OldDisk { machine, down_ms }));
    }
    while at_ms < during_ms {
        planner.one(&rng, size, at_ms, during_ms, &mut plan);
        at_ms += rng.range(apart_ms / 4, apart_ms * 2);
    }
    plan.sort_by_key(|(at_ms, _)| *at_ms);
    plan
}

struct Planner {
    added: bool,
    removed: bool,
    /// One clock at a time is far off: of three, two that are prove nothing.
    far_until_ms: u64,
}

impl Planner {
    fn one(&mut self, rng: &Rng, size: Size, at_ms: u64, during_ms: u64, plan: &mut Plan) {
        let machine = rng.range(0, size.nodes as u64) as usize;
        let lasts_ms = rng.range(100, 4_000).min(during_ms - at_ms);
        let until_ms = at_ms + lasts_ms;
        match rng.range(0, 100) {
            0..22 => plan.push((
                at_ms,
                Fault::Crash {
                    machine,
                    kept_ppm: kept_ppm(rng),
                    down_ms: rng.range(20, 3_000),
                },
            )),
            22..26 => plan.push((
                at_ms,
                Fault::PowerCut {
                    down_ms: rng.range(20, 1_500),
                },
            )),
            26..31 => plan.push((at_ms, Fault::Restart { machine })),
            31..53 => {
                let (ways, shape) = shape(rng, size.nodes + size.spares);
                plan.push((at_ms, Fault::Cut { ways, shape }));
                plan.push((
                    until_ms,
                    Fault::Cut {
                        ways: 0,
                        shape: "none",
                    },
                ));
            }
            53..58 => {
                plan.push((at_ms, Fault::Unreachable { machine, is: true }));
                plan.push((until_ms, Fault::Unreachable { machine, is: false }));
            }
            58..66 => {
                let (loss_ppm, double_ppm) = (rng.range(0, 250_000), rng.range(0, 100_000));
                plan.push((at_ms, Fault::Disturb { loss_ppm, double_ppm }));
                plan.push((
                    until_ms,
                    Fault::Disturb {
                        loss_ppm: 0,
                        double_ppm: 0,
                    },
                ));
            }
            66..72 => {
                plan.push((
                    at_ms,
                    Fault::Latency {
                        max_ms: rng.range(20, 200),
                    },
                ));
                plan.push((
                    until_ms,
                    Fault::Latency {
                        max_ms: rng.range(2, 10),
                    },
                ));
            }
            72..79 => {
                let by = Duration::from_millis(rng.range(20, 700));
                plan.push((at_ms, Fault::SlowDisk { machine, by }));
                plan.push((
                    until_ms,
                    Fault::SlowDisk {
                        machine,
                        by: Duration::ZERO,
                    },
                ));
            }
            79..82 => {
                plan.push((at_ms, Fault::FullDisk { machine, is: true }));
                plan.push((until_ms, Fault::FullDisk { machine, is: false }));
            }
            82..84 if at_ms >= self.far_until_ms => {
                self.far_until_ms = until_ms;
                let by_ms = rng.range(3_600_000, FAR_MS) as i64;
                let offset_ms = if rng.coin() { by_ms } else { -by_ms };
                plan.push((at_ms, Fault::FarClock { machine, offset_ms }));
                plan.push((
                    until_ms,
                    Fault::FarClock {
                        machine,
                        offset_ms: 0,
                    },
                ));
            }
            82..88 => plan.push((
                at_ms,
                Fault::Clock {
                    machine,
                    offset_ms: rng.range(0, 20_000) as i64 - 10_000,
                    drift_ppm: rng.range(0, 40_000) as i64 - 20_000,
                    gains_every_ms: gains_every_ms(rng),
                },
            )),
            88..93 => {
                plan.push((at_ms, Fault::Order(Order::Drain(machine))));
                plan.push((until_ms, Fault::Order(Order::Undrain(machine))));
            }
            93..96 if !self.added => {
                self.added = true;
                plan.push((at_ms, Fault::Order(Order::Add(size.nodes))));
            }
            96..98 if !self.removed => {
                self.removed = true;
                plan.push((at_ms, Fault::Order(Order::Remove(machine))));
            }
            98..100 if !self.removed => {
                self.removed = true;
                removed_while_away(machine, size, at_ms, until_ms, plan);
            }
            _ => {}
        }
    }
}

/// A machine is cut off from all others, and taken out of the cluster before it is back.
fn removed_while_away(machine: usize, size: Size, at_ms: u64, until_ms: u64, plan: &mut Plan) {
    let ways = alone(machine, size.nodes + size.spares);
    let cut = Fault::Cut {
        ways,
        shape: "one alone, to be removed",
    };
    plan.push((at_ms, cut));
    plan.push((at_ms + 1, Fault::Order(Order::Remove(machine))));
    let healed = Fault::Cut {
        ways: 0,
        shape: "none",
    };
    plan.push((until_ms, healed));
}

/// All ways of one machine, of so many.
fn alone(machine: usize, machines: usize) -> u64 {
    (0..machines)
        .filter(|other| *other != machine)
        .fold(0, |ways, other| ways | way(machine, other) | way(other, machine))
}

/// In how many milliseconds a monotonic clock gains one; 0, in every other case: it does not.
pub fn gains_every_ms(rng: &Rng) -> u64 {
    if rng.coin() {
        0
    } else {
        rng.range(LEAST_GAIN_EVERY_MS, 10 * LEAST_GAIN_EVERY_MS)
    }
}

/// How much is there of what a disk was syncing when its power failed: nothing, all, or a part.
pub fn kept_ppm(rng: &Rng) -> u64 {
    match rng.range(0, 4) {
        0 | 1 => 0,
        2 => 1_000_000,
        _ => rng.range(0, 1_000_000),
    }
}

/// Ways that are cut, of so many machines.
fn shape(rng: &Rng, machines: usize) -> (u64, &'static str) {
    let all = || (0..machines).flat_map(move |from| (0..machines).map(move |to| (from, to)));
    let collect = |cut: &dyn Fn(usize, usize) -> bool| {
        all()
            .filter(|(from, to)| from != to && cut(*from, *to))
            .fold(0, |ways, (from, to)| ways | way(from, to))
    };
    let (a, b) = (
        rng.range(0, machines as u64) as usize,
        rng.range(0, machines as u64) as usize,
    );
    let side = rng.next();
    let is_left = |machine: usize| side >> machine & 1 == 1;
    match rng.range(0, 6) {
        0 => (alone(a, machines), "one alone"),
        1 => (collect(&|from, to| is_left(from) != is_left(to)), "two sides"),
        // Two sides, and one machine that hears both.
        2 => (
            collect(&|from, to| is_left(from) != is_left(to) && from != a && to != a),
            "a bridge",
        ),
        3 => (collect(&|from, _| from == a), "one is not heard"),
        4 => (collect(&|_, to| to == a), "one does not hear"),
        _ => (collect(&|from, to| from == a && to == b), "one way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(nodes: usize) -> Size {
        Size {
            nodes,
            spares: 1,
            sessions: 1,
            talkers_each: 2,
        }
    }

    #[test]
    fn every_kind_of_fault_is_among_few_seeds_and_a_seed_has_one_plan() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..400 {
            let made = plan(seed, size(3), 15_000);
            assert_eq!(made, plan(seed, size(3), 15_000));
            assert!(
                made.windows(2).all(|two| two[0].0 <= two[1].0),
                "in the order of time"
            );
            for (_, fault) in made {
                seen.insert(match fault {
                    Fault::Crash { kept_ppm: 0, .. } => "crash, unsynced lost",
                    Fault::Crash {
                        kept_ppm: 1_000_000, ..
                    } => "crash, sync finished",
                    Fault::Crash { .. } => "crash, last write torn",
                    Fault::PowerCut { .. } => "power cut",
                    Fault::Restart { .. } => "restart",
                    Fault::Cut { shape, .. } => shape,
                    Fault::Unreachable { .. } => "unreachable",
                    Fault::Disturb { .. } => "loss and doubles",
                    Fault::Latency { .. } => "latency",
                    Fault::SlowDisk { .. } => "slow disk",
                    Fault::FullDisk { .. } => "full disk",
                    Fault::Clock {
                        gains_every_ms: 0, ..
                    } => "wall clock",
                    Fault::Clock { .. } => "both clocks",
                    Fault::FarClock { .. } => "wall clock far off",
                    Fault::CopyDisk { .. } => "disk copied",
                    Fault::OldDisk { .. } => "disk put back",
                    Fault::Order(Order::Add(_)) => "added",
                    Fault::Order(Order::Drain(_)) => "drained",
                    Fault::Order(Order::Undrain(_)) => "undrained",
                    Fault::Order(Order::Remove(_)) => "removed",
                });
            }
        }
        let shapes = [
            "one alone",
            "two sides",
            "a bridge",
            "one is not heard",
            "one does not hear",
            "one way",
            "one alone, to be removed",
            "none",
        ];
        let missing: Vec<_> = shapes.iter().filter(|shape| !seen.contains(**shape)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(seen.len(), shapes.len() + 19, "{seen:?}");
    }
}
