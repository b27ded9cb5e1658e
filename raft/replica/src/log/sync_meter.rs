//! How long this node's disk takes to make the log durable: an average that forgets, and the slow end of the last minute.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::replica::lock;

/// What the slow end is taken from.
const WINDOW: Duration = Duration::from_secs(60);

/// Measurements kept: a busy node syncs more often than this in a minute, and the last ones tell enough.
const MAX_SAMPLES: usize = 1_024;

/// What one measurement weighs in the average, as one part in so many. A single stall does not make a disk slow.
const AVERAGE_OVER: u32 = 8;

/// How long syncs of a node's log take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncTime {
    /// The average, of which the last few syncs are most.
    pub average: Duration,
    /// All but one in a hundred of the last minute took no longer.
    pub p99: Duration,
    /// How many syncs of the last minute this is from; 0: the disk was not asked.
    pub samples: u32,
}

#[derive(Debug, Default)]
struct Measured {
    average: Option<Duration>,
    last: VecDeque<(Instant, Duration)>,
}

/// Takes the measurements. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncMeter(Arc<Mutex<Measured>>);

impl SyncMeter {
    /// Notes a sync that has just ended.
    pub(crate) fn note(&self, took: Duration) {
        let mut measured = lock(&self.0);
        measured.average = Some(match measured.average {
            None => took,
            Some(average) => (average * (AVERAGE_OVER - 1) + took) / AVERAGE_OVER,
        });
        if measured.last.len() == MAX_SAMPLES {
            measured.last.pop_front();
        }
        measured.last.push_back((Instant::now(), took));
    }

    /// What is known at the moment.
    pub(crate) fn read(&self) -> SyncTime {
        let mut measured = lock(&self.0);
        while measured.last.front().is_some_and(|(at, _)| at.elapsed() > WINDOW) {
            measured.last.pop_front();
        }
        let mut took: Vec<Duration> = measured.last.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        let rank = (took.len() * 99).div_ceil(100).saturating_sub(1);
        SyncTime {
            average: measured.average.unwrap_or_default(),
            p99: took.get(rank).copied().unwrap_or_default(),
            samples: took.len() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn one_stall_is_told_but_does_not_make_the_average() {
        let meter = SyncMeter::default();
        assert_eq!(meter.read(), SyncTime::default());
        for _ in 0..99 {
            meter.note(2 * MS);
        }
        meter.note(400 * MS);
        let now = meter.read();
        assert_eq!((now.p99, now.samples), (2 * MS, 100));
        assert!(now.average > 40 * MS && now.average < 60 * MS, "{now:?}");
        meter.note(400 * MS);
        assert_eq!(meter.read().p99, 400 * MS);
        for _ in 0..40 {
            meter.note(300 * MS);
        }
        assert!(meter.read().average > 290 * MS);
        tokio::time::advance(WINDOW + MS).await;
        let later = meter.read();
        assert_eq!((later.p99, later.samples), (Duration::ZERO, 0));
        for _ in 0..MAX_SAMPLES * 2 {
            meter.note(MS);
        }
        assert_eq!(meter.read().samples as usize, MAX_SAMPLES);
    }
}
