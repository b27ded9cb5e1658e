//! Who owns what, as applied here: a map in memory that follows the applied log.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jarvis_replica::api::{ReadError, View};
use jarvis_types::{EntityId, KindId, PartitionIndex, partition_of};
use tokio::sync::watch;

use crate::api::Ownership;

/// All partitions of all kinds.
pub type PlacementTable = BTreeMap<KindId, Vec<Ownership>>;

/// The placement as applied on this node.
pub(crate) struct Placement {
    table: ArcSwap<PlacementTable>,
    revision: watch::Sender<u64>,
}

/// A partition whose owner or epoch differs between two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) kind: KindId,
    pub(crate) partition: PartitionIndex,
    pub(crate) now: Ownership,
}

impl Placement {
    pub(crate) fn new() -> Self {
        Self {
            table: ArcSwap::default(),
            revision: watch::Sender::new(0),
        }
    }

    /// Owner and epoch of an entity's partition; the partition itself where the kind is known.
    pub(crate) fn of(&self, entity: &EntityId) -> Option<(PartitionIndex, Ownership)> {
        let table = self.table.load();
        let partitions = table.get(&entity.kind)?;
        let index = partition_of(&entity.key, u16::try_from(partitions.len()).ok()?);
        partitions
            .get(usize::from(index.0))
            .map(|&ownership| (index, ownership))
    }

    pub(crate) fn table(&self) -> Arc<PlacementTable> {
        self.table.load_full()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Takes over what `view` holds and tells what differs from before.
    pub(crate) fn refresh(&self, view: &View) -> Result<Vec<Moved>, ReadError> {
        let query = view.query();
        let mut next = PlacementTable::new();
        for (kind, _) in query.kinds()? {
            let rows = query.placement(kind)?;
            next.insert(
                kind,
                rows.iter()
                    .map(|r| Ownership {
                        owner: r.owner,
                        epoch: r.epoch,
                    })
                    .collect(),
            );
        }
        let moved = differences(&self.table.load(), &next);
        if !moved.is_empty() {
            self.table.store(Arc::new(next));
            self.revision.send_modify(|revision| *revision += 1);
        }
        Ok(moved)
    }
}

fn differences(before: &PlacementTable, after: &PlacementTable) -> Vec<Moved> {
    let mut moved = Vec::new();
    for (&kind, partitions) in after {
        for (index, &now) in partitions.iter().enumerate() {
            if before.get(&kind).and_then(|p| p.get(index)) != Some(&now) {
                moved.push(Moved {
                    kind,
                    partition: PartitionIndex(index as u16),
                    now,
                });
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::{Epoch, NodeId};

    #[test]
    fn only_what_differs_has_moved() {
        let own = |n, e| Ownership {
            owner: Some(NodeId(n)),
            epoch: Epoch(e),
        };
        let before = PlacementTable::from([(KindId(1), vec![own(1, 1), own(2, 1)])]);
        let after = PlacementTable::from([
            (KindId(1), vec![own(1, 1), own(1, 2)]),
            (KindId(2), vec![own(1, 1)]),
        ]);
        let moved: Vec<_> = differences(&before, &after)
            .iter()
            .map(|m| (m.kind.0, m.partition.0))
            .collect();
        assert_eq!(moved, [(1, 1), (2, 0)]);
        assert!(differences(&after, &after).is_empty());
    }
}
