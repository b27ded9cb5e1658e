//! What this node took up when it gained its partitions, for `jarvis why`. One entry a partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_types::{Epoch, KindId, PartitionIndex};
use tokio::time::Instant;

/// Keys that are remembered of one gain; of more only the number is.
const MAX_KEYS: usize = 256;

/// The gains of one node.
#[derive(Default)]
pub(crate) struct Gains(Mutex<BTreeMap<(KindId, PartitionIndex), Gain>>);

struct Gain {
    epoch: Epoch,
    at: Instant,
    count: usize,
    keys: BTreeSet<String>,
}

/// How this node took a partition up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenUp {
    /// In which epoch.
    pub epoch: Epoch,
    /// How long ago.
    pub ago: Duration,
    /// How many of its entities had work left undone and were started at once.
    pub resumed: usize,
    /// Whether the entity that was asked for was one of them.
    pub resumed_this: bool,
}

impl Gains {
    /// Notes a gain, with the keys of the entities that were started for their unfinished work. What is started for more of
    /// it later in the same epoch was not taken up with the partition.
    pub(crate) fn note(&self, kind: KindId, partition: PartitionIndex, epoch: Epoch, keys: &[String]) {
        let gain = Gain {
            epoch,
            at: Instant::now(),
            count: keys.len(),
            keys: keys.iter().take(MAX_KEYS).cloned().collect(),
        };
        let mut gains = self.lock();
        if gains
            .get(&(kind, partition))
            .is_none_or(|noted| noted.epoch < epoch)
        {
            gains.insert((kind, partition), gain);
        }
    }

    /// The last gain of a partition in that epoch, as it concerns one entity.
    pub(crate) fn of(
        &self,
        kind: KindId,
        partition: PartitionIndex,
        epoch: Epoch,
        key: &str,
    ) -> Option<TakenUp> {
        let gains = self.lock();
        let gain = gains.get(&(kind, partition)).filter(|gain| gain.epoch == epoch)?;
        Some(TakenUp {
            epoch,
            ago: gain.at.elapsed(),
            resumed: gain.count,
            resumed_this: gain.keys.contains(key),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(KindId, PartitionIndex), Gain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_gain_of_an_epoch_is_told() {
        let gains = Gains::default();
        let (kind, partition) = (KindId::SESSION, PartitionIndex(3));
        let keys: Vec<String> = (0..MAX_KEYS + 1).map(|n| format!("k{n:04}")).collect();
        gains.note(kind, partition, Epoch(1), &[]);
        gains.note(kind, partition, Epoch(2), &keys);
        tokio::time::advance(Duration::from_secs(7)).await;
        gains.note(kind, partition, Epoch(2), &["other".to_owned()]);
        let told = |epoch, key| gains.of(kind, partition, Epoch(epoch), key);
        assert_eq!(told(1, "k0000"), None);
        let found = told(2, "k0000").expect("it was noted");
        assert_eq!(
            (found.resumed, found.resumed_this, found.ago),
            (MAX_KEYS + 1, true, Duration::from_secs(7))
        );
        assert_eq!(told(2, "other").map(|t| t.resumed_this), Some(false));
    }
}
