//! What a run may take: a run that goes round in a circle must end, say so and be repeated, like one that breaks a law.
//!
//! Virtual time goes on only when everybody waits. A loop without a pause keeps it from going on for ever, and no check that is
//! made between two steps is ever reached. So another thread watches how much work goes into one simulated second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::system::ThreadTime;
use crate::world::World;

/// Time on a core that one simulated second may take, and the checks behind the last one. A usual one takes 20 ms, five or ten
/// times that in a dev build.
pub const WORK_A_SECOND: Duration = Duration::from_secs(30);
/// The same after a panic, with which the run has failed already: it is only to come to the end of its step.
pub const WORK_AFTER_A_PANIC: Duration = Duration::from_secs(3);
/// Datagrams, acts, applied entries and faults of one simulated second. A stormy one has ten thousand.
pub const EVENTS_A_SECOND: u64 = 400_000;
/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(250);

/// The thread that a run began on, and what it runs.
type Started = (ThreadTime, Arc<World>);

/// How far a run has come, for who watches it.
#[derive(Clone, Default)]
pub struct Progress {
    now_ms: Arc<AtomicU64>,
    started: Arc<Mutex<Option<Started>>>,
}

impl Progress {
    /// The run begins on the thread that calls.
    pub fn start(&self, world: &Arc<World>) {
        let started = ThreadTime::here().map(|time| (time, Arc::clone(world)));
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = started;
    }

    /// It has come so far.
    pub fn reach(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// How far it has come.
    pub fn reached(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    /// What it runs in, once it has begun.
    pub fn world(&self) -> Option<Arc<World>> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.as_ref().map(|(_, world)| Arc::clone(world))
    }

    /// How long its thread has had a core.
    fn spent(&self) -> Option<Duration> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.as_ref().and_then(|(time, _)| time.spent())
    }
}

/// Watches the work of one run.
pub struct Watch {
    progress: Progress,
    second: u64,
    /// What had been spent when that second began.
    spent: Duration,
}

impl Watch {
    /// Over a run that is to begin.
    pub fn new(progress: Progress) -> Self {
        Self {
            progress,
            second: 0,
            spent: Duration::ZERO,
        }
    }

    /// How much the second under way has taken, where that is more than `limit`.
    pub fn exceeded(&mut self, limit: Duration) -> Option<Duration> {
        let spent = self.progress.spent()?;
        let second = self.progress.reached().as_secs();
        if second != self.second {
            (self.second, self.spent) = (second, spent);
        }
        let taken = spent.saturating_sub(self.spent);
        (taken > limit).then_some(taken)
    }
}

/// Counts what happens in a simulated second, which is the same in every run of a seed.
#[derive(Debug, Default)]
pub struct Events {
    second: u64,
    before: u64,
}

impl Events {
    /// There were `events` so far.
    ///
    /// # Errors
    /// Where the second under way has had more than it may.
    pub fn count(&mut self, now: Duration, events: u64) -> Result<(), String> {
        if now.as_secs() != self.second {
            (self.second, self.before) = (now.as_secs(), events);
        }
        let had = events - self.before;
        if had <= EVENTS_A_SECOND {
            Ok(())
        } else {
            Err(format!("second {} has had {had} events", self.second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_in_one_second_is_found_and_as_much_in_two_is_not() {
        let at = Duration::from_millis;
        let mut events = Events::default();
        assert!(events.count(at(10), EVENTS_A_SECOND).is_ok());
        assert!(events.count(at(1_010), EVENTS_A_SECOND + 5).is_ok());
        assert!(events.count(at(1_900), 2 * EVENTS_A_SECOND + 5).is_ok());
        assert!(events.count(at(1_901), 2 * EVENTS_A_SECOND + 6).is_err());
    }
}
