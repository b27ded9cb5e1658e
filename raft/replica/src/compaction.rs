//! Compaction of the log: snapshots by its bytes, and how much of it stays behind them.
//!
//! ```text
//!  applied, durable ─┐                ┌─► trigger a snapshot   much was applied since the last one
//!  RecordSizes ──────┼─► Compactor ───┤
//!  what peers need ──┘                └─► trigger a purge      what is in a snapshot and nobody needs
//! ```
//!
//! openraft asks for snapshots by the number of entries, and could purge by that. An entry may be a hundred bytes or half a megabyte,
//! so bytes are counted as well; and a purge waits, within a bound, for members that answer. Without that a node that was just
//! sent a snapshot would find the entries after it gone, and be sent another, for as long as there is much to write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;

use crate::log::{LogStore, RecordSizes};
use crate::replica::lock;
use crate::state::StateShared;
use crate::types::{LogId, Raft};
use crate::{leadership, metrics};

/// Between two looks at the log: what is written meanwhile is what it may be larger than its bound.
const LOOKS_APART: Duration = Duration::from_millis(50);

/// For members that answer and are behind, so many times the usual is kept: a slow one, or one that is being sent a snapshot, must
/// not fill the disk.
const KEEP_TIMES: u64 = 4;

/// A member that has not acknowledged anything for so many leases is not waited for.
const AWAY_AFTER_LEASES: u32 = 4;

/// How much of the log there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) snapshot_every_bytes: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) keep_entries: u64,
}

/// Where a node's log stands, by index.
#[derive(Debug, Clone, Copy)]
struct Extent {
    purged: u64,
    /// What a snapshot has.
    in_snapshot: u64,
    applied: u64,
    /// After this, members that answer need entries.
    needed: Option<u64>,
}

impl LogLimits {
    /// The index up to which the log is to be purged, where that is worth a write.
    fn purge_upto(&self, sizes: &RecordSizes, extent: Extent) -> Option<u64> {
        let keeping = |bytes| sizes.keeping(bytes, extent.applied);
        let usual = keeping(self.keep_bytes).max(extent.in_snapshot.saturating_sub(self.keep_entries));
        let bound = keeping(self.keep_bytes.saturating_mul(KEEP_TIMES));
        let upto = usual
            .min(extent.needed.unwrap_or(u64::MAX))
            .max(bound)
            .min(extent.in_snapshot);
        let is_worth_it = upto >= extent.purged + (self.keep_entries / 4).max(1)
            || upto > extent.purged && sizes.between(extent.purged, upto) >= self.keep_bytes / 4;
        is_worth_it.then_some(upto)
    }
}

/// Snapshots under way to peers, and entries that peers cannot have any more: shared by the compactor and the leader's network
/// clients, as by all clones.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Index of the snapshot that a peer is being sent, until it is known to have it.
    snapshots: Mutex<BTreeMap<u64, u64>>,
    /// Up to here the log is being purged.
    purging: AtomicU64,
}

impl Streams {
    /// A snapshot is being sent.
    pub(crate) fn sending(&self, target: u64, last: Option<LogId>) {
        lock(&self.0.snapshots).insert(target, last.map_or(0, |last| last.index));
    }

    /// It did not get there.
    pub(crate) fn gave_up(&self, target: u64) {
        lock(&self.0.snapshots).remove(&target);
    }

    /// Whether entries after `prev` are to be purged. openraft purges nothing that it is sending, and goes on with that as long as
    /// the peer takes it, however slowly: an append that fails has it send a snapshot instead.
    pub(crate) fn purges_after(&self, prev: Option<LogId>) -> bool {
        prev.map_or(0, |prev| prev.index) < self.0.purging.load(Ordering::Acquire)
    }
}

/// Keeps a node's log within its limits.
pub(crate) struct Compactor {
    pub(crate) raft: Raft,
    pub(crate) log: LogStore,
    pub(crate) state: Arc<StateShared>,
    pub(crate) limits: LogLimits,
    pub(crate) lease: Duration,
    pub(crate) streams: Streams,
}

impl Compactor {
    pub(crate) async fn run(self) {
        let (mut applied, mut durable) = (self.state.applied.subscribe(), self.state.durable.subscribe());
        let mut asked = 0;
        loop {
            // First, so that openraft knows of what happened here.
            tokio::time::sleep(LOOKS_APART).await;
            let extent = self.extent(*applied.borrow_and_update(), *durable.borrow_and_update());
            let (bytes, since_snapshot, upto) = self.log.sizes(|sizes| {
                let since_snapshot = sizes.between(extent.in_snapshot.max(asked), extent.applied);
                (
                    sizes.total(),
                    since_snapshot,
                    self.limits.purge_upto(sizes, extent),
                )
            });
            metrics::log_bytes(bytes);
            let mut done = Ok(());
            if since_snapshot > self.limits.snapshot_every_bytes {
                asked = extent.applied;
                done = self.raft.trigger().snapshot().await;
            }
            if let Some(upto) = upto {
                self.streams.0.purging.store(upto, Ordering::Release);
                done = done.and(self.raft.trigger().purge_log(upto).await);
            }
            if done.is_err() {
                // Raft has ended.
                return;
            }
            let changed = tokio::select! {
                changed = applied.changed() => changed,
                changed = durable.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn extent(&self, applied: u64, durable: u64) -> Extent {
        let purged = index(self.log.purged());
        // A snapshot that is not on the disk is none, whatever openraft found when it started.
        let known = index(self.raft.metrics().borrow_watched().snapshot);
        Extent {
            purged,
            in_snapshot: known.min(durable),
            applied,
            needed: self.needed(purged),
        }
    }

    /// What members need that answer, or are being sent a snapshot. One that is behind what is purged needs a snapshot first.
    fn needed(&self, purged: u64) -> Option<u64> {
        let mut snapshots = lock(&self.streams.0.snapshots);
        let Some(replication) = self.raft.metrics().borrow_watched().replication.clone() else {
            snapshots.clear();
            return None;
        };
        snapshots.retain(|node, last| {
            replication
                .get(node)
                .is_some_and(|matched| index(*matched) < *last)
        });
        let away_after = self.lease * AWAY_AFTER_LEASES;
        let answering = leadership::acked_ago(&self.raft).into_iter();
        let answering = answering.filter(|(_, ago)| ago.is_some_and(|ago| ago <= away_after));
        let matched = answering.map(|(node, _)| index(replication.get(&node.0).copied().flatten()));
        let needed = matched.chain(snapshots.values().copied());
        needed.filter(|needed| *needed >= purged).min()
    }
}

fn index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const LIMITS: LogLimits = LogLimits {
        snapshot_every_bytes: 0,
        keep_bytes: 1_000 * KIB as u64,
        keep_entries: 50,
    };

    /// Up to where a log of a hundred records of so many bytes is purged: all applied, ninety in a snapshot.
    fn purged(record_bytes: usize, purged: u64, needed: Option<u64>) -> Option<u64> {
        let mut sizes = RecordSizes::new();
        (1..=100).for_each(|index| sizes.push(index, record_bytes));
        let extent = Extent {
            purged,
            in_snapshot: 90,
            applied: 100,
            needed,
        };
        LIMITS.purge_upto(&sizes, extent)
    }

    #[test]
    fn small_entries_are_kept_by_their_number_and_large_ones_by_their_bytes() {
        assert_eq!(purged(10, 0, None), Some(40));
        assert_eq!(purged(100 * KIB, 0, None), Some(90));
        assert_eq!(purged(50 * KIB, 0, None), Some(80));
        assert_eq!(purged(500 * KIB, 0, None), Some(90), "not what no snapshot has");
        // A handful is not worth a write.
        assert_eq!(purged(10, 30, None), None);
        assert_eq!(purged(10, 28, None), Some(40));
        assert_eq!(purged(100 * KIB, 88, None), None);
        assert_eq!(purged(100 * KIB, 87, None), Some(90));
        assert_eq!(purged(100 * KIB, 90, None), None);
    }

    #[test]
    fn what_a_member_needs_is_kept_within_a_bound() {
        assert_eq!(purged(100 * KIB, 0, Some(70)), Some(70));
        assert_eq!(purged(100 * KIB, 0, Some(95)), Some(90));
        assert_eq!(purged(100 * KIB, 0, Some(20)), Some(60), "no more than the bound");
        assert_eq!(purged(10, 0, Some(20)), Some(20));
        assert_eq!(purged(10, 0, Some(0)), None);
    }
}
