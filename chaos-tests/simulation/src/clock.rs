//! The wall clock of one machine: the simulation's, with an offset and a drift.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jarvis_host::Clock;

/// When simulations begin.
pub const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// One machine's wall clock.
#[derive(Debug, Default)]
pub struct SimClock {
    offset_ms: AtomicI64,
    drift_ppm: AtomicI64,
}

impl SimClock {
    /// Sets it ahead, or behind.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// How much too fast it runs, in millionths.
    pub fn set_drift_ppm(&self, drift_ppm: i64) {
        self.drift_ppm.store(drift_ppm, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        let now = turmoil::since_epoch().unwrap_or(EPOCH);
        let drifted =
            now.saturating_sub(EPOCH).as_millis() as i64 * self.drift_ppm.load(Ordering::Relaxed) / 1_000_000;
        let ahead_ms = self.offset_ms.load(Ordering::Relaxed) + drifted;
        (now.as_millis() as u64).saturating_add_signed(ahead_ms)
    }
}
