//! Starting and stopping a replica, and what stands behind its public face.
//!
//! ```text
//!  Replica ─► ReplicaInner ─┬─ openraft ─┬─ LogStore ─► redb
//!                           │            ├─ StateMachine ─► tables
//!                           │            └─ Network ─► Transport (mesh)
//!                           ├─ Proposer / Forwarder     proposals, retried until answered
//!                           ├─ Intake                   what the leader takes into the log
//!                           ├─ ReadRounds               read indexes
//!                           ├─ StateWatcher             who leads, how far we are
//!                           ├─ Reconciler               the membership, on the leader
//!                           ├─ Compactor                snapshots and purges by the log's bytes
//!                           ├─ Reporter                 disks, clocks and log marks, between all members
//!                           └─ Upkeep                   log marks and ledger time, on the leader
//! ```
//!
//! Tasks hold openraft's handle but never [`ReplicaInner`]: dropping the last [`Replica`] cancels them, which ends openraft
//! and lets go of the files. That is a crash; [`Replica::stop`] is the clean end.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jarvis_host::{Clock, Faults, StopReport, Tasks};
use jarvis_types::{Incarnation, NodeId};
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::absence::Absences;
use crate::api::{CHANGES_CAPACITY, Replica, ReplicaState, SMALL_CHANGES_CAPACITY};
use crate::cluster_time::ClusterTime;
use crate::compaction::{Compactor, Streams};
use crate::config::{ReplicaConfig, ReplicaDeps, StoreChoice};
use crate::error::StartError;
use crate::files::OpenError;
use crate::intake::Intake;
use crate::leadership::StateWatcher;
use crate::log::disk::LogDisk;
use crate::log::{FaultyLog, LogStore, RedbLog, Runner};
use crate::members::{Reconciler, Rules};
use crate::network::Network;
use crate::pilot::Pilot;
use crate::proposer::Proposer;
use crate::reads::{MAX_WAITING_READS, ReadRounds, Waiting};
use crate::renewal::Renewal;
use crate::report::{LogCheck, Reporter};
use crate::state::{StateMachine, StateShared, StateStore};
use crate::transport::Transport;
use crate::types::{LogId, Raft};
use crate::upkeep::Upkeep;
use crate::{metrics, server};

pub(crate) const LOG_FILE: &str = "raft/log.redb";
pub(crate) const STATE_FOLDER: &str = "state";

/// A node that was killed lets go of its files in its own time; whoever starts it again waits this long for that.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two looks whether a file was let go of.
const UNLOCK_PAUSE: Duration = Duration::from_millis(20);

/// How long a clean stop waits for each of its parts.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node whose disk is an older copy stays to tell the others, before it ends.
const TELL_REVERTED_FOR: Duration = Duration::from_secs(1);

/// An append may take this many leases before it counts as lost.
const APPEND_TIMEOUT_LEASES: u32 = 3;

/// What stands behind a [`Replica`].
pub struct ReplicaInner {
    pub(crate) node: NodeId,
    pub(crate) raft: Raft,
    pub(crate) state: Arc<StateShared>,
    pub(crate) proposer: Arc<Proposer>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) reads: mpsc::Sender<Waiting>,
    pub(crate) replica_state: watch::Receiver<ReplicaState>,
    pub(crate) leader: watch::Receiver<Option<NodeId>>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) tasks: Tasks,
    pub(crate) pilot: Arc<Pilot>,
    pub(crate) log: LogStore,
    pub(crate) renewal: Arc<Renewal>,
    pub(crate) time: Arc<ClusterTime>,
    pub(crate) check: LogCheck,
    pub(crate) started: Instant,
}

impl Drop for ReplicaInner {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// Log and tables, opened.
struct Stores {
    disk: Arc<dyn LogDisk>,
    runner: Runner,
    state: StateStore,
}

impl Replica {
    /// Opens the stores and starts taking part. A fresh node waits to be bootstrapped or to be found by a leader.
    ///
    /// # Errors
    /// [`StartError`], which says what to do.
    pub async fn start(config: ReplicaConfig, deps: ReplicaDeps) -> Result<Self, StartError> {
        metrics::describe();
        let tasks = deps.tasks.child();
        let stores = open_stores(&config, &tasks, &deps.faults).await?;
        Self::start_on(config, deps, tasks, stores).await
    }

    async fn start_on(
        config: ReplicaConfig,
        deps: ReplicaDeps,
        tasks: Tasks,
        stores: Stores,
    ) -> Result<Self, StartError> {
        let raft_config = config.openraft().map_err(|e| StartError::Timers(e.to_string()))?;
        let log_path = log_path(&config.store);
        let log_error = |error| StartError::from_io(&log_path, error);
        if config.expect_existing && stores.disk.incarnation().map_err(log_error)? == 0 {
            return Err(StartError::LogMissing {
                node: config.node,
                path: log_path,
            });
        }
        let incarnation = stores
            .disk
            .next_incarnation(deps.clock.now_ms())
            .map_err(log_error)?;
        let log = LogStore::open(stores.disk, &stores.runner).map_err(log_error)?;
        if config.small {
            log.be_small();
        }
        let limits = config.log_limits();
        log.count_records(limits.snapshot_every_bytes)
            .map_err(log_error)?;
        let state_error = |error| StartError::from_io(&state_path(&config.store), error);
        let changes_capacity = if config.small {
            SMALL_CHANGES_CAPACITY
        } else {
            CHANGES_CAPACITY
        };
        let state = Arc::new(StateShared::new(stores.state, changes_capacity).map_err(state_error)?);
        let (applied, purged) = (state.mark().map_err(state_error)?.applied, log.purged());
        if applied < purged {
            log.close().await;
            let index = |log_id: Option<LogId>| log_id.map_or(0, |l| l.index);
            let what = format!(
                "it ends at entry {}, the log begins after {}",
                index(applied),
                index(purged)
            );
            return Err(StartError::Damaged {
                path: state_path(&config.store),
                what,
            });
        }
        state.follows(log.clone());
        let machine = StateMachine::new(Arc::clone(&state))
            .map_err(state_error)?
            .speaking(config.speaks_level);
        let check = LogCheck::new();
        let streams = Streams::default();
        let network = Network {
            node: config.node,
            streams: streams.clone(),
            transport: Arc::clone(&deps.transport),
            append_timeout: config.timers.election_max * APPEND_TIMEOUT_LEASES,
            check: check.clone(),
        };
        let raft = match Raft::build(
            config.node.0,
            Arc::new(raft_config),
            network,
            log.clone(),
            machine,
        )
        .await
        {
            Ok(raft) => raft,
            Err(error) => {
                log.close().await;
                state.store.close();
                return Err(StartError::Raft(error.to_string()));
            }
        };

        let (state_sender, replica_state) = watch::channel(ReplicaState::default());
        let (leader_sender, leader) = watch::channel(None);
        let time = ClusterTime::new(
            config.node,
            Arc::clone(&deps.clock),
            replica_state.clone(),
            Arc::clone(&state),
        );
        let time = Arc::new(time);
        let intake = Arc::new(Intake::new(
            config.node,
            Arc::clone(&time),
            Arc::clone(&state),
            replica_state.clone(),
            config.speaks_level,
        ));
        let (proposer, forwarder) = Proposer::new(
            config.node,
            Incarnation(incarnation),
            Arc::clone(&time) as Arc<dyn Clock>,
            (raft.clone(), Arc::clone(&intake)),
            Arc::clone(&deps.transport),
            leader.clone(),
            tasks.token().clone(),
        );
        let proposer = Arc::new(proposer);
        let (reads, read_queue) = mpsc::channel(MAX_WAITING_READS);
        let rounds = ReadRounds {
            node: config.node,
            raft: raft.clone(),
            transport: Arc::clone(&deps.transport),
            leader: leader.clone(),
            queue: read_queue,
        };
        let watcher = StateWatcher {
            node: config.node,
            raft: raft.clone(),
            shared: Arc::clone(&state),
            lease: config.timers.election_max,
            state: state_sender,
            leader: leader_sender,
        };
        let rules = Rules {
            replace_after: config.replace_after,
            demote_slow_disk: config.demote_slow_disk,
            lease: config.timers.election_max,
        };
        let (notes, notes_here) = watch::channel(Vec::new());
        let pilot = Arc::new(Pilot::new(
            rules.slow_at(),
            log.sync_meter(),
            notes_here,
            Arc::clone(&time),
            Arc::clone(&state),
        ));
        let reconciler = Reconciler {
            node: config.node,
            raft: raft.clone(),
            shared: Arc::clone(&state),
            state: replica_state.clone(),
            rules,
            own_disk: log.sync_meter(),
            disks: pilot.disks(),
            reverted: pilot.reverted(),
            time: Arc::clone(&time),
            notes,
            absences: Absences::default(),
            leads_since: None,
        };
        let reporter = Reporter {
            node: config.node,
            transport: Arc::clone(&deps.transport),
            state: replica_state.clone(),
            shared: Arc::clone(&state),
            time: Arc::clone(&time),
            check: check.clone(),
            own_disk: log.sync_meter(),
            log: log.clone(),
            heard: pilot.heard(),
        };
        let upkeep = Upkeep {
            node: config.node,
            raft: raft.clone(),
            state: replica_state.clone(),
            shared: Arc::clone(&state),
            time: Arc::clone(&time),
            proposer: Arc::clone(&proposer),
            log: log.clone(),
            ahead_since: None,
            marked: None,
        };

        let compactor = Compactor {
            raft: raft.clone(),
            log: log.clone(),
            state: Arc::clone(&state),
            limits,
            lease: config.timers.election_max,
            streams,
        };
        let marker = log.clone().keep_marker(state.applied.subscribe());
        let renewal = Arc::new(Renewal::new(
            config.timers.election_max,
            config.timers.election_min,
        ));
        let kept = (Arc::clone(&renewal), raft.clone());
        let inner = Arc::new(ReplicaInner {
            node: config.node,
            raft: raft.clone(),
            state,
            proposer,
            intake,
            reads,
            replica_state,
            leader,
            transport: Arc::clone(&deps.transport),
            tasks: tasks.clone(),
            pilot,
            log,
            renewal,
            time,
            check,
            started: Instant::now(),
        });
        server::serve(&inner, &*deps.transport);
        raft.run();
        tasks.spawn_until_cancelled(forwarder.run());
        tasks.spawn_until_cancelled(rounds.run());
        tasks.spawn_until_cancelled(watcher.run());
        tasks.spawn_until_cancelled(reconciler.run());
        tasks.spawn_until_cancelled(reporter.run());
        tasks.spawn_until_cancelled(upkeep.run());
        tasks.spawn_until_cancelled(compactor.run());
        tasks.spawn_until_cancelled(marker);
        tasks.spawn_until_cancelled(async move { kept.0.keep_timer(kept.1).await });
        tracing::info!(node = %config.node, incarnation, "the replica has started");
        Ok(Self { inner })
    }

    /// Ends it where it stands, as dropping all clones does: for tests in which others still hold some. Must be called in
    /// a tokio runtime.
    pub fn kill(&self) {
        self.inner.tasks.cancel();
        let raft = self.inner.raft.clone();
        let mut ending = Box::pin(async move { raft.shutdown().await });
        // Telling openraft takes effect when it is first polled. The rest is waiting, which must go on to its end: dropped
        // in between, it makes whoever asks openraft for anything later panic.
        if futures_util::FutureExt::now_or_never(&mut ending).is_none() {
            self.inner.tasks.spawn(async move { drop(ending.await) });
        }
    }

    /// Completes with the reason when Raft has ended on this node by itself, as when its disk fails: nothing works any more,
    /// and the process had better be started again. A disk that was put back to an older copy ends it as well.
    pub async fn failed(&self) -> String {
        tokio::select! {
            why = self.raft_failed() => why,
            reverted = self.inner.check.reverted() => {
                tokio::time::sleep(TELL_REVERTED_FOR).await;
                let node = self.node();
                format!(
                    "this node's disk was put back to an older copy: {reverted}. The others cannot count on it: run `jarvis \
                     remove {node} --force` on another node, then `jarvis invite` there and `jarvis join` here with an empty \
                     data folder"
                )
            }
        }
    }

    async fn raft_failed(&self) -> String {
        let mut now = self.inner.raft.metrics();
        loop {
            if let Err(error) = &now.borrow_watched().running_state {
                return error.to_string();
            }
            if now.changed().await.is_err() {
                return "raft has ended".to_owned();
            }
        }
    }

    /// Ends it in order: nothing more is taken on, everything applied is synced, the files are let go of.
    pub async fn stop(&self) {
        let inner = &self.inner;
        if let StopReport::Late { still_running } = inner.tasks.stop(STOP_TIMEOUT).await {
            tracing::warn!(still_running, "tasks of the replica did not end in time");
        }
        match tokio::time::timeout(STOP_TIMEOUT, inner.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "raft ended with an error"),
            Err(_) => tracing::warn!("raft did not end in time"),
        }
        if let Err(error) = inner.state.sync().await {
            tracing::warn!(%error, "the tables were not synced; the log will be replayed");
        }
        inner.log.close().await;
        inner.state.store.close();
    }
}

async fn open_stores(config: &ReplicaConfig, tasks: &Tasks, faults: &Faults) -> Result<Stores, StartError> {
    let folder = match &config.store {
        StoreChoice::Memory(disk) => {
            return Ok(Stores {
                disk: Arc::new(disk.log.clone()),
                runner: Runner::Task(tasks.clone(), disk.sync_takes, disk.log.clone()),
                state: StateStore::memory(disk),
            });
        }
        StoreChoice::Redb(folder) => folder,
    };
    let log_path = folder.join(LOG_FILE);
    if config.expect_existing && !log_path.exists() {
        return Err(StartError::LogMissing {
            node: config.node,
            path: log_path,
        });
    }
    let log = when_unlocked(&log_path, || {
        if config.small {
            RedbLog::open_small(&log_path)
        } else {
            RedbLog::open(&log_path)
        }
    })
    .await?;
    let state_folder = folder.join(STATE_FOLDER);
    let state = when_unlocked(&state_folder, || {
        if config.small {
            StateStore::open_small(&state_folder)
        } else {
            StateStore::open(&state_folder)
        }
    })
    .await?;
    Ok(Stores {
        disk: Arc::new(FaultyLog::new(Arc::new(log), faults.clone())),
        runner: Runner::Thread,
        state,
    })
}

async fn when_unlocked<T>(path: &Path, open: impl Fn() -> Result<T, OpenError>) -> Result<T, StartError> {
    let give_up = tokio::time::Instant::now() + UNLOCK_TIMEOUT;
    loop {
        match open() {
            Err(OpenError::Locked) if tokio::time::Instant::now() < give_up => {
                tokio::time::sleep(UNLOCK_PAUSE).await
            }
            result => return result.map_err(|error| StartError::from_open(path, error)),
        }
    }
}

fn log_path(store: &StoreChoice) -> std::path::PathBuf {
    match store {
        StoreChoice::Redb(folder) => folder.join(LOG_FILE),
        StoreChoice::Memory(_) => "memory".into(),
    }
}

fn state_path(store: &StoreChoice) -> std::path::PathBuf {
    match store {
        StoreChoice::Redb(folder) => folder.join(STATE_FOLDER),
        StoreChoice::Memory(_) => "memory".into(),
    }
}

/// Locks a mutex whose holders never leave it half changed.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod ended_tests;
#[cfg(test)]
mod full_disk_tests;
