//! Since when members do not answer and disks are slow, as this node has seen it.
//!
//! Whether a node answers stands in the table of nodes, which every node has, so every node knows since when: a new leader
//! need not begin to count. What it counts is time on this node's own clock since it saw the entry; a node that starts
//! counts from there, and an absence that only the leader notices counts from when it did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::time::Instant;

use crate::log::SyncTime;

/// A disk has to be slow for so long before its node may lose its vote: a backup or a card's housekeeping passes.
const SLOW_BEFORE_DEMOTION: Duration = Duration::from_secs(60);

/// What a node told of its disk is forgotten after this, several times as long as between two tellings.
const REPORT_GOOD_FOR: Duration = Duration::from_secs(30);

/// Members that do not answer.
#[derive(Debug, Default)]
pub(crate) struct Absences(BTreeMap<NodeId, Instant>);

impl Absences {
    /// Notes who is away now; whoever is not has returned.
    pub(crate) fn note(&mut self, away: &BTreeSet<NodeId>, now: Instant) {
        self.0.retain(|node, _| away.contains(node));
        for node in away {
            self.0.entry(*node).or_insert(now);
        }
    }

    /// For how long a member has been away.
    pub(crate) fn away_for(&self, node: NodeId, now: Instant) -> Option<Duration> {
        self.0
            .get(&node)
            .map(|since| now.saturating_duration_since(*since))
    }

    /// Who has been away for longer than `limit`; zero: nobody ever is.
    pub(crate) fn longer_than(&self, limit: Duration, now: Instant) -> BTreeSet<NodeId> {
        if limit.is_zero() {
            return BTreeSet::new();
        }
        let gone = self
            .0
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= limit);
        gone.map(|(node, _)| *node).collect()
    }
}

/// A disk as its node told of it.
#[derive(Debug, Clone, Copy)]
struct Told {
    sync: SyncTime,
    at: Instant,
    slow_since: Option<Instant>,
}

/// The members' disks.
#[derive(Debug, Default)]
pub(crate) struct Disks(BTreeMap<NodeId, Told>);

impl Disks {
    /// Notes what a node told. From `slow_at` on its disk counts as slow, until it takes half of that.
    pub(crate) fn note(&mut self, node: NodeId, sync: SyncTime, slow_at: Duration, now: Instant) {
        let since = self.0.get(&node).and_then(|told| told.slow_since);
        let slow_since = match (sync.samples, since) {
            // Nothing was written: nothing is known.
            (0, _) => None,
            (_, Some(since)) if sync.average > slow_at / 2 => Some(since),
            (_, None) if sync.average >= slow_at => Some(now),
            _ => None,
        };
        let at = now;
        self.0.insert(node, Told { sync, at, slow_since });
    }

    /// Forgets what is old.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, told| now.saturating_duration_since(told.at) <= REPORT_GOOD_FOR);
    }

    /// The slow ones and how slow.
    pub(crate) fn slow(&self) -> impl Iterator<Item = (NodeId, SyncTime)> + '_ {
        let slow = self.0.iter().filter(|(_, told)| told.slow_since.is_some());
        slow.map(|(node, told)| (*node, told.sync))
    }

    /// The disks that have been slow for so long that their nodes may lose their votes.
    pub(crate) fn slow_for_long(&self, now: Instant) -> BTreeSet<NodeId> {
        let long = self.0.iter().filter(|(_, told)| {
            told.slow_since
                .is_some_and(|since| now.saturating_duration_since(since) >= SLOW_BEFORE_DEMOTION)
        });
        long.map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_absence_counts_from_its_first_sight_and_ends_with_the_return() {
        let mut absences = Absences::default();
        let (start, three) = (Instant::now(), BTreeSet::from([NodeId(3)]));
        absences.note(&three, start);
        absences.note(&three, start + 5 * SECOND);
        assert_eq!(absences.away_for(NodeId(3), start + 9 * SECOND), Some(9 * SECOND));
        assert_eq!(
            absences.longer_than(10 * SECOND, start + 9 * SECOND),
            BTreeSet::new()
        );
        assert_eq!(absences.longer_than(10 * SECOND, start + 10 * SECOND), three);
        assert_eq!(
            absences.longer_than(Duration::ZERO, start + 99 * SECOND),
            BTreeSet::new()
        );
        absences.note(&BTreeSet::new(), start + 11 * SECOND);
        absences.note(&three, start + 12 * SECOND);
        assert_eq!(absences.away_for(NodeId(3), start + 13 * SECOND), Some(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_slow_until_it_is_quick_again_and_old_word_is_forgotten() {
        let (mut disks, start, slow_at) = (Disks::default(), Instant::now(), Duration::from_millis(100));
        let sync = |ms| SyncTime {
            average: Duration::from_millis(ms),
            p99: Duration::from_millis(ms * 2),
            samples: 9,
        };
        let slow = |disks: &Disks| disks.slow().map(|(node, _)| node).collect::<Vec<_>>();
        disks.note(NodeId(1), sync(99), slow_at, start);
        assert_eq!(slow(&disks), []);
        for (second, average) in [(1, 300), (30, 60), (60, 101)] {
            disks.note(NodeId(1), sync(average), slow_at, start + second * SECOND);
            assert_eq!(slow(&disks), [NodeId(1)], "at {average} ms");
        }
        assert!(disks.slow_for_long(start + 60 * SECOND).is_empty());
        assert_eq!(
            disks.slow_for_long(start + 61 * SECOND),
            BTreeSet::from([NodeId(1)])
        );
        disks.note(NodeId(1), sync(50), slow_at, start + 62 * SECOND);
        assert_eq!(slow(&disks), []);
        disks.note(NodeId(1), sync(200), slow_at, start + 63 * SECOND);
        disks.forget_old(start + 94 * SECOND);
        assert_eq!(slow(&disks), []);
    }
}
