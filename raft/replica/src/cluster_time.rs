//! Cluster time: what the wall clocks of the voters agree on.
//!
//! ```text
//!  Reporter ── wall clocks of the members, with each report ──► ClusterTime ──► Intake: the time of what is decided
//!                                                                  │      └──► Upkeep: is ledger time ahead?
//!                                                                  └──► `status`: whose clock is wrong
//! ```
//!
//! A reading is kept with the monotonic instant at which it was taken, so that it goes on by itself and a jump of this node's
//! own wall clock moves no other. Cluster time is the median of the voters' readings, this node's included: of three clocks
//! one may be anywhere. Of two that contradict one another the earlier one counts that is not behind ledger time, which never
//! runs ahead of clocks that agree: time that was given out too late can be taken back only by a correction, time that was
//! given out too early mends itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_host::Clock;
use jarvis_machine::query::Query;
use jarvis_types::NodeId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::ReplicaState;
use crate::replica::lock;
use crate::simulated::Bite;
use crate::state::StateShared;

/// How far a proposal's time may be ahead of cluster time, in milliseconds, and how far two clocks may be apart and still agree:
/// machines that are told the time differ by less.
pub const MAX_CLOCK_LEAD_MS: u64 = 5_000;

/// How long a reading counts: that of a voter that is away for a while still helps to tell which of two clocks is wrong, and a
/// monotonic clock drifts by some milliseconds at most in this time.
const READING_GOOD_FOR: Duration = Duration::from_secs(600);

/// A member's wall clock, as it was read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    wall_ms: u64,
    at: Instant,
}

impl Reading {
    fn now_ms(&self, now: Instant) -> u64 {
        let gone = now.saturating_duration_since(self.at);
        self.wall_ms
            .saturating_add(u64::try_from(gone.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A member whose clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongClock {
    pub(crate) node: NodeId,
    /// How far ahead of cluster time it is, in milliseconds.
    pub(crate) ahead_ms: i64,
}

/// The members' clocks as one node knows them.
pub(crate) struct ClusterTime {
    node: NodeId,
    own: Arc<dyn Clock>,
    readings: Mutex<BTreeMap<NodeId, Reading>>,
    state: watch::Receiver<ReplicaState>,
    shared: Arc<StateShared>,
}

impl ClusterTime {
    pub(crate) fn new(
        node: NodeId,
        own: Arc<dyn Clock>,
        state: watch::Receiver<ReplicaState>,
        shared: Arc<StateShared>,
    ) -> Self {
        Self {
            node,
            own,
            readings: Mutex::default(),
            state,
            shared,
        }
    }

    /// This node's own wall clock, Unix milliseconds.
    pub(crate) fn own_ms(&self) -> u64 {
        self.own.now_ms()
    }

    /// Takes a reading of a member's clock.
    pub(crate) fn note(&self, node: NodeId, wall_ms: u64, at: Instant) {
        let mut readings = lock(&self.readings);
        readings.retain(|_, reading| at.saturating_duration_since(reading.at) < READING_GOOD_FOR);
        readings.insert(node, Reading { wall_ms, at });
    }

    /// Cluster time, Unix milliseconds; none where no other voter's clock is known.
    pub(crate) fn agreed_ms(&self) -> Option<u64> {
        let voters = self.state.borrow().voters.clone();
        let believes_itself = self.shared.store.bite() == Some(Bite::OwnClockBelieved);
        if voters.is_empty() || voters == [self.node] || believes_itself {
            return Some(self.own.now_ms());
        }
        let now = Instant::now();
        let mut shown: Vec<u64> = Vec::with_capacity(voters.len());
        {
            let readings = lock(&self.readings);
            for voter in &voters {
                if *voter == self.node {
                    shown.push(self.own.now_ms());
                } else if let Some(reading) = readings.get(voter)
                    && now.saturating_duration_since(reading.at) < READING_GOOD_FOR
                {
                    shown.push(reading.now_ms(now));
                }
            }
        }
        agreement(shown, || self.ledger_ms())
    }

    /// The time that this node goes by: its own clock's where that agrees with the voters', since a reading of another's is only
    /// as good as the way there and back; else cluster time. Its own, too, where too little is known of the others', as while
    /// members of an earlier build, which tell nothing of theirs, are the majority.
    pub(crate) fn deciding_ms(&self) -> u64 {
        let own_ms = self.own.now_ms();
        let agreed_ms = self
            .agreed_ms()
            .filter(|agreed| agreed.abs_diff(own_ms) > MAX_CLOCK_LEAD_MS);
        agreed_ms.unwrap_or(own_ms)
    }

    /// Ledger time, as applied here; 0 where the tables do not read.
    pub(crate) fn ledger_ms(&self) -> u64 {
        let read = self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).ledger_ms());
        read.unwrap_or_default()
    }

    /// How far ledger time is ahead of cluster time, where that is more than clocks differ.
    pub(crate) fn ledger_ahead_ms(&self) -> Option<u64> {
        let ahead_ms = self.ledger_ms().checked_sub(self.agreed_ms()?)?;
        (ahead_ms > MAX_CLOCK_LEAD_MS).then_some(ahead_ms)
    }

    /// The members whose clocks are off.
    pub(crate) fn wrong_clocks(&self) -> Vec<WrongClock> {
        let Some(agreed_ms) = self.agreed_ms() else {
            return Vec::new();
        };
        let now = Instant::now();
        let mut shown: BTreeMap<NodeId, u64> = lock(&self.readings)
            .iter()
            .map(|(node, reading)| (*node, reading.now_ms(now)))
            .collect();
        shown.insert(self.node, self.own.now_ms());
        shown
            .into_iter()
            .filter(|(_, shown_ms)| shown_ms.abs_diff(agreed_ms) > MAX_CLOCK_LEAD_MS)
            .map(|(node, shown_ms)| WrongClock {
                node,
                ahead_ms: signed(shown_ms).saturating_sub(signed(agreed_ms)),
            })
            .collect()
    }
}

impl Clock for ClusterTime {
    fn now_ms(&self) -> u64 {
        self.deciding_ms()
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// What clocks agree on; none where fewer than two are known. Two are enough: ledger time decides where they do not agree, and a
/// node that has just started goes by what it knows rather than by its own alone.
fn agreement(mut shown: Vec<u64>, ledger_ms: impl FnOnce() -> u64) -> Option<u64> {
    if shown.len() < 2 {
        return None;
    }
    shown.sort_unstable();
    let (low, high) = (shown[(shown.len() - 1) / 2], shown[shown.len() / 2]);
    if high - low <= MAX_CLOCK_LEAD_MS {
        Some(low + (high - low) / 2)
    } else if low.saturating_add(MAX_CLOCK_LEAD_MS) >= ledger_ms() {
        Some(low)
    } else {
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn clocks_agree_on_their_median_and_ledger_time_decides_between_two() {
        let agreed = |shown: &[u64], ledger_ms| agreement(shown.to_vec(), || ledger_ms);
        for (shown, ledger_ms, expected) in [
            (&[NOW][..], 0, None),
            (&[NOW + 10 * HOUR, NOW, NOW + 20], 0, Some(NOW + 20)),
            (&[NOW - 10 * HOUR, NOW, NOW + 20], 0, Some(NOW)),
            (&[NOW, NOW + 1_000], 0, Some(NOW + 500)),
            (&[NOW + 10 * HOUR, NOW], NOW - 100, Some(NOW)),
            (&[NOW - 10 * HOUR, NOW], NOW - 100, Some(NOW)),
            (&[NOW + 10 * HOUR, NOW], NOW + 20 * HOUR, Some(NOW + 10 * HOUR)),
            (&[NOW + HOUR, NOW + HOUR, NOW, NOW + 9], NOW, Some(NOW + 9)),
        ] {
            assert_eq!(agreed(shown, ledger_ms), expected, "{shown:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_goes_on_by_itself() {
        let reading = Reading {
            wall_ms: NOW,
            at: Instant::now(),
        };
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(reading.now_ms(Instant::now()), NOW + 90_000);
    }
}
