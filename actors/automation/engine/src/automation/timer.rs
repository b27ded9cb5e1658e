//! The one task of an automation that waits for the time of day.

use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, Tasks};
use tokio::task::JoinHandle;

/// The longest sleep: after it the clock is looked at, which may have been set forward.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// A task that rings at some time, unless it is dropped before.
pub(super) struct Timer {
    at_ms: i64,
    task: JoinHandle<()>,
}

impl Timer {
    /// Rings once the clock shows `at_ms`, Unix milliseconds.
    pub(super) fn set(
        tasks: &Tasks,
        clock: Arc<dyn Clock>,
        at_ms: i64,
        ring: impl FnOnce() + Send + 'static,
    ) -> Self {
        let task = tasks.spawn_until_cancelled(async move {
            loop {
                let now_ms = i64::try_from(clock.now_ms()).unwrap_or(i64::MAX);
                let left = Duration::from_millis(at_ms.saturating_sub(now_ms).max(0).unsigned_abs());
                if left.is_zero() {
                    return ring();
                }
                tokio::time::sleep(left.min(SLEEP_MAX)).await;
            }
        });
        Self { at_ms, task }
    }

    /// Whether it will ring at that time.
    pub(super) fn is_set_to(&self, at_ms: i64) -> bool {
        self.at_ms == at_ms && !self.task.is_finished()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use jarvis_host::ManualClock;
    use tokio::sync::oneshot;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn set(clock: &Arc<ManualClock>, at_ms: i64) -> (Timer, oneshot::Receiver<()>) {
        let (rings, rung) = oneshot::channel();
        let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
        let ring = move || rings.send(()).expect("somebody listens");
        (Timer::set(&Tasks::new(), clock, at_ms, ring), rung)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_forward_is_noticed_within_a_minute() {
        let clock = Arc::new(ManualClock::new(1_000));
        let (timer, mut rung) = set(&clock, 3_601_000);
        assert!(timer.is_set_to(3_601_000) && !timer.is_set_to(5));
        assert!(timeout(Duration::from_secs(59), &mut rung).await.is_err());
        clock.advance_ms(3_600_000);
        let since = Instant::now();
        rung.await.expect("it rings");
        assert!(since.elapsed() <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_ring_before_the_clock_says_so_nor_when_dropped() {
        let clock = Arc::new(ManualClock::new(1_000));
        let (timer, mut rung) = set(&clock, 1_500);
        // The clock stands still.
        assert!(timeout(Duration::from_secs(600), &mut rung).await.is_err());
        drop(timer);
        assert!(rung.await.is_err());
    }
}
