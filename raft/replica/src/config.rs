//! What a replica is started with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jarvis_host::{Clock, Faults, Tasks};
use jarvis_machine::memory::MemoryStore;
use jarvis_types::NodeId;

use crate::compaction::LogLimits;
use crate::log::MemoryLog;
use crate::simulated::{Bite, Observer};
use crate::transport::Transport;

/// Log entries between two snapshots, unless told otherwise.
pub const DEFAULT_SNAPSHOT_EVERY_ENTRIES: u64 = 5_000;

/// Log entries that stay behind a snapshot, unless told otherwise: a follower that was away for a moment is served from
/// the log.
pub const DEFAULT_KEEP_ENTRIES: u64 = 1_000;

/// Bytes of log entries between two snapshots, unless told otherwise: an SD card reads them in a few seconds at a start.
pub const DEFAULT_SNAPSHOT_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of log entries that stay behind a snapshot at most, unless told otherwise.
pub const DEFAULT_KEEP_BYTES: u64 = 32 * 1024 * 1024;

/// At most so many log entries between two snapshots of a node that is to be small.
const SMALL_SNAPSHOT_EVERY_ENTRIES: u64 = 2_000;

/// At most so many bytes of log entries between two snapshots of a node that is to be small.
const SMALL_SNAPSHOT_EVERY_BYTES: u64 = 16 * 1024 * 1024;

/// At most so many bytes of log entries behind a snapshot of a node that is to be small.
const SMALL_KEEP_BYTES: u64 = 8 * 1024 * 1024;

/// How long a voter may be away before another takes its vote over, unless told otherwise.
pub const DEFAULT_REPLACE_AFTER: Duration = Duration::from_secs(600);

/// Settings of one replica.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// This node.
    pub node: NodeId,
    /// How fast failures are noticed.
    pub timers: RaftTimers,
    /// Log entries between two snapshots.
    pub snapshot_every_entries: u64,
    /// Log entries that stay behind a snapshot.
    pub keep_entries: u64,
    /// Bytes of log entries between two snapshots, if that many come before `snapshot_every_entries`.
    pub snapshot_every_bytes: u64,
    /// Bytes of applied log entries that stay behind a snapshot at most; more for members that are behind.
    pub keep_bytes: u64,
    /// Where log and tables are kept.
    pub store: StoreChoice,
    /// Whether this node was started before, which its identity file knows: then an empty store is an error, for a node
    /// that forgot its votes may not come back under its old id.
    pub expect_existing: bool,
    /// The highest cluster level this node speaks: the build's, but in tests of upgrades, where a node stands for an earlier build.
    pub speaks_level: u32,
    /// How long a voter may be away before another takes its vote over; zero: for ever.
    pub replace_after: Duration,
    /// Whether it is to be content with little memory: a witness.
    pub small: bool,
    /// Whether a node whose disk is slow may lose its vote to another.
    pub demote_slow_disk: bool,
}

impl ReplicaConfig {
    /// The usual settings.
    pub fn new(node: NodeId, store: StoreChoice) -> Self {
        Self {
            node,
            timers: RaftTimers::lan(),
            snapshot_every_entries: DEFAULT_SNAPSHOT_EVERY_ENTRIES,
            keep_entries: DEFAULT_KEEP_ENTRIES,
            snapshot_every_bytes: DEFAULT_SNAPSHOT_EVERY_BYTES,
            keep_bytes: DEFAULT_KEEP_BYTES,
            store,
            expect_existing: false,
            speaks_level: jarvis_machine::LEVEL,
            replace_after: DEFAULT_REPLACE_AFTER,
            small: false,
            demote_slow_disk: false,
        }
    }
}

/// Where log and tables are kept.
#[derive(Debug, Clone)]
pub enum StoreChoice {
    /// `raft/log.redb` and `state/state.redb` in this folder.
    Redb(PathBuf),
    /// In memory, for tests and simulation.
    Memory(MemoryDisk),
}

/// A disk in memory that outlives the replica on it. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    pub(crate) log: MemoryLog,
    pub(crate) state: Arc<Mutex<MemoryStore>>,
    /// How long each sync takes, on the runtime's time.
    pub sync_takes: Duration,
    /// Sees what is applied.
    pub observer: Option<Arc<dyn Observer>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not synced, as a power cut does. The replica on it must have been dropped.
    pub fn crash(&self) {
        self.crash_with(0);
    }

    /// As [`MemoryDisk::crash`]. The power may fail so late that the first `kept_ppm` millionths of what was just being synced
    /// are there all the same.
    pub fn crash_with(&self, kept_ppm: u64) {
        self.log.crash(kept_ppm);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).crash();
    }

    /// A disk of its own with what is synced on this one, as a copy for safety is.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).copy();
        Self {
            log: self.log.copy(),
            state: Arc::new(Mutex::new(state)),
            sync_takes: self.sync_takes,
            observer: self.observer.clone(),
        }
    }

    /// Puts a copy in the place of what is on it. The replica on it must have been dropped.
    pub fn put_back(&self, copy: &Self) {
        let old = copy.state.lock().unwrap_or_else(PoisonError::into_inner).copy();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = old;
        self.log.put_back(&copy.log);
    }

    /// The last entry that is synced on it.
    pub fn last_index(&self) -> u64 {
        self.log.last_index()
    }

    /// From here on each sync takes this much longer than `sync_takes`.
    pub fn slow_down(&self, by: Duration) {
        self.log.slow_down(by);
    }

    /// Bytes of the records in the log on it.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// From here on nothing more can be written, or everything can again.
    pub fn fill(&self, full: bool) {
        self.log.fill(full);
    }

    /// Has this disk do something wrong, to prove that it would be found.
    pub fn bite(&self, bite: Option<Bite>) {
        self.log.set_bite(bite);
    }
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("sync_takes", &self.sync_takes)
            .finish_non_exhaustive()
    }
}

/// What a replica is given.
pub struct ReplicaDeps {
    /// Carries its calls: the mesh.
    pub transport: Arc<dyn Transport>,
    /// The time that goes with proposals.
    pub clock: Arc<dyn Clock>,
    /// What is wrong with the disk on purpose.
    pub faults: Faults,
    /// Its tasks are a child of this group.
    pub tasks: Tasks,
}

/// How fast failures are noticed, and what it costs.
///
/// A follower stands for election after the leader was silent for `election_max` (its lease) and a random time between
/// `election_min` and `election_max` more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTimers {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// Shortest wait before standing for election.
    pub election_min: Duration,
    /// Longest wait, and the leader's lease.
    pub election_max: Duration,
}

impl RaftTimers {
    /// Wired, disks that sync in a millisecond: a dead leader is replaced after 600 to 800 ms of silence.
    pub const fn lan() -> Self {
        Self::from_ms(180, 200, 400)
    }

    /// Radio links that stall for a moment: 1.5 to 2 s.
    pub const fn wifi() -> Self {
        Self::from_ms(250, 500, 1_000)
    }

    /// SD cards that sync in tens of milliseconds and stall for more: 3 to 4 s.
    pub const fn slow_disk() -> Self {
        Self::from_ms(500, 1_000, 2_000)
    }

    const fn from_ms(heartbeat: u64, election_min: u64, election_max: u64) -> Self {
        Self {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(election_min),
            election_max: Duration::from_millis(election_max),
        }
    }
}

impl ReplicaConfig {
    pub(crate) fn log_limits(&self) -> LogLimits {
        let (most_between, most_kept) = if self.small {
            (SMALL_SNAPSHOT_EVERY_BYTES, SMALL_KEEP_BYTES)
        } else {
            (u64::MAX, u64::MAX)
        };
        LogLimits {
            snapshot_every_bytes: self.snapshot_every_bytes.min(most_between),
            keep_bytes: self.keep_bytes.min(most_kept),
            keep_entries: self.keep_entries,
        }
    }

    pub(crate) fn openraft(&self) -> Result<openraft::Config, openraft::ConfigError> {
        let ms = |d: Duration| d.as_millis() as u64;
        // What was applied since the tables were last synced stands in memory.
        let snapshot_every = if self.small {
            self.snapshot_every_entries.min(SMALL_SNAPSHOT_EVERY_ENTRIES)
        } else {
            self.snapshot_every_entries
        };
        openraft::Config {
            cluster_name: "jarvis".to_owned(),
            heartbeat_interval: ms(self.timers.heartbeat),
            election_timeout_min: ms(self.timers.election_min),
            election_timeout_max: ms(self.timers.election_max),
            enable_pre_vote: Some(true),
            // A leader that restarts stands for election like everyone else.
            enable_leader_restore: Some(false),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(snapshot_every),
            // What is purged, and when, the compactor decides.
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: self
                .snapshot_every_entries
                .saturating_mul(2)
                .max(self.keep_entries),
            max_payload_entries: 1_024,
            api_channel_size: Some(4_096),
            notification_channel_size: Some(4_096),
            backoff: "50ms 100ms 200ms ...500ms".to_owned(),
            ..openraft::Config::default()
        }
        .validate()
    }
}
