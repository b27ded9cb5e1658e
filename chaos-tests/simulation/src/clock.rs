//! The clocks of one machine. The wall clock is the simulation's, with an offset and a drift. The monotonic one, by which all
//! timers and leases run, may go too fast; of two machines the other one is then too slow.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jarvis_host::Clock;

/// When simulations begin.
pub const EPOCH: Duration = Duration::from_secs(1_800_000_000);
/// Virtual time goes on by this much a step, which is also the least a datagram takes.
pub const TICK: Duration = Duration::from_millis(1);
/// The fastest monotonic clock gains a tick in so many milliseconds and the step it is pushed in: a twelfth. Leases allow for a
/// tenth, as it may lie between two clocks of which each is 5 % off.
pub const LEAST_GAIN_EVERY_MS: u64 = 11;
/// Between two looks whether the clock is to run faster.
const LOOK: Duration = Duration::from_millis(200);

/// One machine's clocks.
#[derive(Debug, Default)]
pub struct SimClock {
    offset_ms: AtomicI64,
    drift_ppm: AtomicI64,
    gains_every_ms: AtomicU64,
    /// Hours that it is off besides.
    far_off_ms: AtomicI64,
}

impl SimClock {
    /// Sets the wall clock ahead, or behind.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// How much too fast the wall clock runs, in millionths.
    pub fn set_drift_ppm(&self, drift_ppm: i64) {
        self.drift_ppm.store(drift_ppm, Ordering::Relaxed);
    }

    /// The monotonic clock gains a tick in so many milliseconds; 0: it is right.
    pub fn set_gains_every_ms(&self, every_ms: u64) {
        self.gains_every_ms.store(every_ms, Ordering::Relaxed);
    }

    /// Sets the wall clock hours off besides; 0: it is not.
    pub fn set_far_off_ms(&self, far_off_ms: i64) {
        self.far_off_ms.store(far_off_ms, Ordering::Relaxed);
    }

    /// Whether it is hours off.
    pub fn is_far_off(&self) -> bool {
        self.far_off_ms.load(Ordering::Relaxed) != 0
    }

    /// Both are right from here on.
    pub fn set_right(&self) {
        self.set_far_off_ms(0);
        self.set_offset_ms(0);
        self.set_drift_ppm(0);
        self.set_gains_every_ms(0);
    }

    /// How far ahead the wall clock is after so much of the run, in milliseconds.
    pub fn ahead_ms(&self, elapsed: Duration) -> i64 {
        let drifted = elapsed.as_millis() as i64 * self.drift_ppm.load(Ordering::Relaxed) / 1_000_000;
        self.offset_ms.load(Ordering::Relaxed) + self.far_off_ms.load(Ordering::Relaxed) + drifted
    }

    /// Makes the monotonic clock of the machine on which it runs gain. A machine has a runtime of its own with a clock of its
    /// own, and each step of the simulation lets that go on by a tick at least: by two, where it is pushed by as much.
    pub async fn keep_pace(&self) {
        loop {
            match self.gains_every_ms.load(Ordering::Relaxed) {
                0 => tokio::time::sleep(LOOK).await,
                every_ms => {
                    tokio::time::sleep(Duration::from_millis(every_ms)).await;
                    tokio::time::advance(2 * TICK).await;
                }
            }
        }
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        let now = turmoil::since_epoch().unwrap_or(EPOCH);
        let ahead_ms = self.ahead_ms(now.saturating_sub(EPOCH));
        (now.as_millis() as u64).saturating_add_signed(ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What two machines' clocks show of a simulated second, of which the first gains.
    fn shown(gains_every_ms: u64) -> (Duration, Duration) {
        let mut sim = turmoil::Builder::new().tick_duration(TICK).build();
        let shown: [Arc<Mutex<Duration>>; 2] = Default::default();
        for (index, shown) in shown.iter().enumerate() {
            let shown = Arc::clone(shown);
            sim.host(format!("m{index}"), move || {
                let shown = Arc::clone(&shown);
                async move {
                    let clock = SimClock::default();
                    clock.set_gains_every_ms(if index == 0 { gains_every_ms } else { 0 });
                    let began = tokio::time::Instant::now();
                    tokio::task::spawn_local(async move { clock.keep_pace().await });
                    loop {
                        tokio::time::sleep(TICK).await;
                        *shown.lock().expect("nobody panics") = began.elapsed();
                    }
                }
            });
        }
        for _ in 0..1_000 {
            sim.step().expect("nobody ends");
        }
        let [fast, right] = shown.map(|shown| *shown.lock().expect("nobody panics"));
        (fast, right)
    }

    #[test]
    fn one_machines_time_runs_faster_than_anothers() {
        let ms = Duration::from_millis;
        let (fast, right) = shown(LEAST_GAIN_EVERY_MS);
        assert!(right >= ms(990) && right <= ms(1_000), "{right:?}");
        let gained = fast - right;
        assert!(gained > ms(80) && gained <= ms(90), "{gained:?}");
        let (fast, right) = shown(100);
        assert!(
            fast - right >= ms(8) && fast - right <= ms(12),
            "{fast:?} {right:?}"
        );
        let (fast, right) = shown(0);
        assert!(fast.abs_diff(right) <= TICK, "{fast:?} {right:?}");
    }
}
