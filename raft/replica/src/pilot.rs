//! What the autopilot shares with the rest of the replica: the disks it was told of, and what it has to tell.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::sync::watch;

use crate::absence::Disks;
use crate::checkup::{self, Heard, NOTES_GOOD_FOR};
use crate::log::{SyncMeter, SyncTime};
use crate::notes::Note;
use crate::replica::lock;

/// Told and to tell.
pub(crate) struct Pilot {
    slow_at: Duration,
    own_disk: SyncMeter,
    disks: Arc<Mutex<Disks>>,
    heard: Heard,
    /// As this node finds, if it leads.
    notes: watch::Receiver<Vec<Note>>,
}

impl Pilot {
    /// Nothing was told yet.
    pub(crate) fn new(slow_at: Duration, own_disk: SyncMeter, notes: watch::Receiver<Vec<Note>>) -> Self {
        Self {
            slow_at,
            own_disk,
            disks: Arc::default(),
            heard: Arc::default(),
            notes,
        }
    }

    /// For the reconciler.
    pub(crate) fn disks(&self) -> Arc<Mutex<Disks>> {
        Arc::clone(&self.disks)
    }

    /// For the checkup.
    pub(crate) fn heard(&self) -> Heard {
        Arc::clone(&self.heard)
    }

    /// How long this node's disk takes to sync.
    pub(crate) fn sync_time(&self) -> SyncTime {
        self.own_disk.read()
    }

    /// Takes what a member tells, and gives what there is to tell.
    pub(crate) fn hear(&self, from: NodeId, body: &[u8]) -> Result<Vec<u8>, String> {
        checkup::hear(from, body, &self.disks, self.slow_at, &self.notes.borrow())
    }

    /// As this node finds, or as its leader told lately.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let own = self.notes.borrow().clone();
        if !own.is_empty() {
            return own;
        }
        match &*lock(&self.heard) {
            Some((at, notes)) if at.elapsed() <= NOTES_GOOD_FOR => notes.clone(),
            _ => Vec::new(),
        }
    }
}
