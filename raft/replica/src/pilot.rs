//! The autopilot's exchange with the rest of the replica: what members reported, and what `status` says of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_machine::query::Query;
use jarvis_machine::rows::LogMark;
use jarvis_types::NodeId;
use jarvis_types::codec::CodecError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::absence::Disks;
use crate::cluster_time::ClusterTime;
use crate::log::{SyncMeter, SyncTime};
use crate::notes::Note;
use crate::replica::lock;
use crate::report::{self, Heard, NOTES_GOOD_FOR, Reverted};
use crate::state::StateShared;

/// Members whose disks are older copies, as they told themselves.
pub(crate) type RevertedNodes = Arc<Mutex<BTreeMap<NodeId, Reverted>>>;

/// Told and to tell.
pub(crate) struct Pilot {
    slow_at: Duration,
    own_disk: SyncMeter,
    disks: Arc<Mutex<Disks>>,
    reverted: RevertedNodes,
    heard: Heard,
    time: Arc<ClusterTime>,
    shared: Arc<StateShared>,
    /// As this node finds, if it leads.
    notes: watch::Receiver<Vec<Note>>,
}

impl Pilot {
    /// Nothing was told yet.
    pub(crate) fn new(
        slow_at: Duration,
        own_disk: SyncMeter,
        notes: watch::Receiver<Vec<Note>>,
        time: Arc<ClusterTime>,
        shared: Arc<StateShared>,
    ) -> Self {
        Self {
            slow_at,
            own_disk,
            disks: Arc::default(),
            reverted: Arc::default(),
            heard: Arc::default(),
            time,
            shared,
            notes,
        }
    }

    /// For the reconciler.
    pub(crate) fn disks(&self) -> Arc<Mutex<Disks>> {
        Arc::clone(&self.disks)
    }

    /// For the reconciler.
    pub(crate) fn reverted(&self) -> RevertedNodes {
        Arc::clone(&self.reverted)
    }

    /// For the reporter.
    pub(crate) fn heard(&self) -> Heard {
        Arc::clone(&self.heard)
    }

    /// How long this node's disk takes to sync.
    pub(crate) fn sync_time(&self) -> SyncTime {
        self.own_disk.read()
    }

    /// Takes a member's report, and answers it.
    ///
    /// # Errors
    /// Where it does not decode.
    pub(crate) fn hear(&self, from: NodeId, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let report = report::read(body)?;
        lock(&self.disks).note(from, report.sync, self.slow_at, Instant::now());
        match report.reverted {
            Some(reverted) => drop(lock(&self.reverted).insert(from, reverted)),
            None => drop(lock(&self.reverted).remove(&from)),
        }
        report::answer(
            self.time.own_ms(),
            self.mark_of(from),
            self.notes.borrow().clone(),
        )
    }

    fn mark_of(&self, node: NodeId) -> Option<LogMark> {
        let marks = self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).log_marks());
        let marks = marks.unwrap_or_default();
        marks
            .into_iter()
            .find(|(known, _)| *known == node)
            .map(|(_, mark)| mark)
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
