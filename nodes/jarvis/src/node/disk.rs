//! What this process writes to disk a day, extrapolated from what it has written since it had settled down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jarvis_gateway::DiskWrittenPerDay;
use tokio::time::Instant;

const DAY_SECONDS: f64 = 86_400.0;
/// What starting writes says nothing of a day: the first measurement begins this long after it.
const SETTLE: Duration = Duration::from_secs(10);
/// Below this a single write would look like a flood.
const LEAST_WINDOW: Duration = Duration::from_secs(10);
/// What was written long ago says little of today: the window begins anew every so often, at the mark before.
const MARK_INTERVAL: Duration = Duration::from_secs(1_800);

/// When, and how much had been written by then.
type Mark = (Instant, u64);

/// Measures what this process writes.
#[derive(Clone, Default)]
pub struct DiskMeter {
    /// The mark before last, and the last one.
    marks: Arc<Mutex<(Option<Mark>, Option<Mark>)>>,
}

impl DiskMeter {
    /// Sets marks, for as long as the node runs.
    pub async fn run(self) {
        let mut pause = SETTLE;
        loop {
            tokio::time::sleep(pause).await;
            let Some(bytes) = written_bytes() else { return };
            let mut marks = self.marks();
            *marks = (marks.1, Some((Instant::now(), bytes)));
            pause = MARK_INTERVAL;
        }
    }

    /// What `status` is told.
    pub fn per_day(&self) -> DiskWrittenPerDay {
        let meter = self.clone();
        Arc::new(move || meter.since_mark(written_bytes()?))
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, (Option<Mark>, Option<Mark>)> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_mark(&self, now_bytes: u64) -> Option<u64> {
        let marks = self.marks();
        let (since, bytes) = marks.0.or(marks.1)?;
        let age = since.elapsed();
        let written = now_bytes.saturating_sub(bytes);
        (age >= LEAST_WINDOW).then(|| (written as f64 / age.as_secs_f64() * DAY_SECONDS) as u64)
    }
}

/// What the kernel counts: bytes this process caused to be sent to the storage layer.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_day_is_extrapolated_from_what_came_after_the_start() {
        let meter = DiskMeter::default();
        assert_eq!(meter.since_mark(5_000_000), None, "starting does not count");
        meter.marks().1 = Some((Instant::now(), 5_000_000));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(meter.since_mark(5_001_000), None, "too soon to tell");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(meter.since_mark(5_001_000), Some(1_000 * 8_640));
        assert!(
            written_bytes().is_some(),
            "this machine counts what processes write"
        );
    }
}
