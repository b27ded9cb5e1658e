//! Follows the applied log: brings the placement map up to date, and tells host and leases what moved.

use std::sync::{Arc, Mutex, PoisonError};

use jarvis_machine::change::Change;
use jarvis_replica::api::{ReadError, Replica};
use jarvis_types::{KindId, PartitionIndex};
use tokio::sync::broadcast::error::RecvError;

use crate::api::Leases;
use crate::host::Host;
use crate::metrics;
use crate::placement::{Moved, Placement};

/// One a node.
pub(crate) struct Follower {
    replica: Replica,
    placement: Arc<Placement>,
    host: Arc<Host>,
    leases: Leases,
    names: Vec<(KindId, &'static str)>,
    /// Index up to which the placement was followed. Held while it is: a view must not be followed after a newer one.
    followed: Mutex<u64>,
}

impl Follower {
    pub(crate) fn new(
        replica: Replica,
        placement: Arc<Placement>,
        host: Arc<Host>,
        leases: Leases,
        names: Vec<(KindId, &'static str)>,
    ) -> Self {
        Self {
            replica,
            placement,
            host,
            leases,
            names,
            followed: Mutex::new(0),
        }
    }

    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = self.replica.changes();
        let mut state = self.replica.state();
        self.refresh();
        loop {
            let opened = self.host.is_open();
            tokio::select! {
                batch = changes.recv() => match batch {
                    Ok(batch) => {
                        if batch.changes.iter().any(|change| matches!(change, Change::Replaced)) {
                            self.resume();
                        } else if batch.changes.iter().any(concerns_placement) {
                            self.refresh();
                        }
                        for change in batch.changes.iter() {
                            if let Change::Letters { to, .. } = change {
                                self.host.tell(to);
                            }
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.resume(),
                    Err(RecvError::Closed) => return,
                },
                () = self.host.has_room() => self.resume(),
                caught_up = state.wait_for(|s| s.caught_up), if !opened => {
                    if caught_up.is_err() {
                        return;
                    }
                    drop(caught_up);
                    self.host.open();
                    self.leases.open();
                    self.resume();
                }
            }
        }
    }

    /// Brings everything up to what the tables hold.
    pub(crate) fn refresh(&self) {
        if let Err(error) = self.follow() {
            tracing::error!(%error, "the placement could not be read");
        }
    }

    fn follow(&self) -> Result<(), ReadError> {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.replica.local()?;
        if view.applied < *followed {
            return Ok(());
        }
        let moved = self.placement.refresh(&view)?;
        *followed = view.applied;
        self.host.follow(&view, &moved);
        self.leases.follow(view.applied, &moved);
        self.report(&moved);
        Ok(())
    }

    /// Brings everything up to what the tables hold, and wakes whoever has work left undone: when this node starts to act, and
    /// when changes were missed or came whole in a snapshot, with letters for anybody.
    fn resume(&self) {
        self.refresh();
        if !self.host.is_open() {
            return;
        }
        let all: Vec<Moved> = (self.placement.table().iter())
            .flat_map(|(&kind, partitions)| {
                (0u16..).zip(partitions).map(move |(index, &now)| Moved {
                    kind,
                    partition: PartitionIndex(index),
                    now,
                })
            })
            .collect();
        match self.replica.local() {
            Ok(view) => self.host.resume(&view, &all),
            Err(error) => tracing::error!(%error, "unfinished work could not be read"),
        }
    }

    fn report(&self, moved: &[Moved]) {
        if moved.is_empty() {
            return;
        }
        let (node, table) = (self.replica.node(), self.placement.table());
        for (kind, name) in &self.names {
            let owned = table
                .get(kind)
                .map_or(0, |all| all.iter().filter(|o| o.owner == Some(node)).count());
            ::metrics::gauge!(metrics::OWNED, "kind" => *name).set(owned as f64);
            tracing::info!(kind = name, owned, moved = moved.len(), "placement changed");
        }
    }
}

fn concerns_placement(change: &Change) -> bool {
    matches!(change, Change::Placed { .. } | Change::KindRegistered(_))
}
