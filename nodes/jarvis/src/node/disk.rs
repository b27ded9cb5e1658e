//! What this process writes to disk a day, extrapolated from what it has written since it was ready.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jarvis_gateway::DiskWrittenPerDay;
use tokio::time::Instant;

const DAY_SECONDS: f64 = 86_400.0;
/// Below this a single write would look like a flood.
const LEAST_WINDOW: Duration = Duration::from_secs(10);
/// What came to be long ago says little of today: the window begins anew after this, keeping half of it.
const LONGEST_WINDOW: Duration = Duration::from_secs(3_600);

struct Window {
    since: Instant,
    bytes: u64,
    half: Option<(Instant, u64)>,
}

/// Measures from now on.
pub fn disk_meter() -> DiskWrittenPerDay {
    let start = written_bytes().map(|bytes| Window { since: Instant::now(), bytes, half: None });
    let window = Arc::new(Mutex::new(start));
    Arc::new(move || {
        let now_bytes = written_bytes()?;
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.as_mut()?;
        let now = Instant::now();
        let age = now.duration_since(window.since);
        match window.half {
            None if age > LONGEST_WINDOW / 2 => window.half = Some((now, now_bytes)),
            Some((since, bytes)) if age > LONGEST_WINDOW => {
                *window = Window { since, bytes, half: Some((now, now_bytes)) };
            }
            _ => {}
        }
        let age = now.duration_since(window.since);
        if age < LEAST_WINDOW {
            return None;
        }
        let written = now_bytes.saturating_sub(window.bytes);
        Some((written as f64 / age.as_secs_f64() * DAY_SECONDS) as u64)
    })
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
    async fn nothing_is_told_before_there_is_a_window() {
        let meter = disk_meter();
        assert_eq!(meter(), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(meter().is_some(), "this machine counts what processes write");
    }
}
