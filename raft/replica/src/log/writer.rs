//! Takes the log's changes from a bounded queue and makes all that wait durable in one commit.
//!
//! ```text
//!  openraft ── append / vote / truncate / purge ──► queue ──► gather ──► one commit, one sync ──► tell each caller
//! ```
//!
//! Batching is the largest lever of every store: while one commit syncs, the next one fills.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::Tasks;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::disk::{LogDisk, LogWrite};
use super::memory::MemoryLog;
use super::sync_meter::SyncMeter;
use crate::types::TypeConfig;
use crate::{metrics, threads};

/// Jobs that may wait for the writer. Beyond it openraft waits, which is its own back-pressure.
pub(crate) const QUEUE_JOBS: usize = 4_096;

/// Most jobs in one commit: bounds how long the first of them waits.
const MAX_BATCH_JOBS: usize = 1_024;

/// Who is told that a job is durable.
pub(crate) enum Done {
    /// Nobody.
    Nobody,
    /// openraft's callback of an append.
    Flushed(IOFlushed<TypeConfig>),
    /// A caller that waits.
    Caller(oneshot::Sender<io::Result<()>>),
}

/// What the queue carries.
pub(crate) enum Job {
    /// A change.
    Write(LogWrite, Done),
    /// Close the disk and end.
    Close(oneshot::Sender<()>),
}

/// Where the writer runs.
#[derive(Debug, Clone)]
pub(crate) enum Runner {
    /// On a thread of its own: the disk blocks.
    Thread,
    /// As a task on the runtime's time: the disk is memory, and a sync takes this long.
    Task(Tasks, Duration, MemoryLog),
}

/// Starts a writer and gives its queue.
pub(crate) fn start(
    disk: Arc<dyn LogDisk>,
    runner: &Runner,
    meter: SyncMeter,
    flushed: impl Fn(&[LogWrite]) + Send + 'static,
) -> io::Result<mpsc::Sender<Job>> {
    let (queue, mut jobs) = mpsc::channel(QUEUE_JOBS);
    match runner {
        Runner::Thread => threads::spawn("jarvis-log", move || {
            let mut failed = None;
            while let Some(first) = jobs.blocking_recv() {
                let batch = Batch::gather(first, &mut jobs);
                if batch.commit(&*disk, &mut failed, Instant::now(), &meter, &flushed) {
                    return;
                }
            }
            disk.close();
        })?,
        Runner::Task(tasks, sync_takes, memory) => {
            let (sync_takes, memory) = (*sync_takes, memory.clone());
            // Dropped where it waits when the node is killed: what it had not synced is lost, as in a crash.
            tasks.spawn_until_cancelled(async move {
                let mut failed = None;
                while let Some(first) = jobs.recv().await {
                    let batch = Batch::gather(first, &mut jobs);
                    let began = Instant::now();
                    // What will be refused is on its way to no disk.
                    let takes = match failed {
                        None => sync_takes + memory.begin(&batch.writes),
                        Some(_) => Duration::ZERO,
                    };
                    if !takes.is_zero() {
                        tokio::time::sleep(takes).await;
                    }
                    if batch.commit(&*disk, &mut failed, began, &meter, &flushed) {
                        return;
                    }
                }
            });
        }
    }
    Ok(queue)
}

/// All that waited.
struct Batch {
    writes: Vec<LogWrite>,
    done: Vec<Done>,
    close: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Self {
        let mut batch = Self {
            writes: Vec::new(),
            done: Vec::new(),
            close: None,
        };
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Write(write, done) => {
                    batch.writes.push(write);
                    batch.done.push(done);
                }
                Job::Close(closed) => {
                    batch.close = Some(closed);
                    break;
                }
            }
            if batch.writes.len() >= MAX_BATCH_JOBS {
                break;
            }
            next = jobs.try_recv().ok();
        }
        batch
    }

    /// Makes it durable and tells everyone. True when the disk was closed.
    ///
    /// Once something could not be written nothing more is: what follows rests on it, and of a purge or a truncation that
    /// failed nobody is told but by this. A disk that has room again is written to when the node has started again.
    fn commit(
        self,
        disk: &dyn LogDisk,
        failed: &mut Option<io::ErrorKind>,
        began: Instant,
        meter: &SyncMeter,
        flushed: &impl Fn(&[LogWrite]),
    ) -> bool {
        // A clean end leaves nothing unsynced, not even hints.
        let sync = self.close.is_some() || self.writes.iter().any(LogWrite::needs_sync);
        let result = if self.writes.is_empty() && self.close.is_none() {
            Ok(())
        } else if let Some(kind) = *failed {
            Err(io::Error::new(kind, "an earlier write to the raft log failed"))
        } else {
            let result = disk.write(&self.writes, sync);
            if sync {
                let took = began.elapsed();
                meter.note(took);
                metrics::log_synced(took, self.writes.len());
            }
            result
        };
        if let Err(error) = &result {
            *failed = Some(error.kind());
            tracing::error!(%error, "the raft log cannot be written: this node stops taking part; free or replace its disk");
        } else {
            flushed(&self.writes);
        }
        for done in self.done {
            let result = result
                .as_ref()
                .copied()
                .map_err(|e| io::Error::new(e.kind(), e.to_string()));
            match done {
                Done::Nobody => {}
                Done::Flushed(callback) => callback.io_completed(result),
                Done::Caller(caller) => drop(caller.send(result)),
            }
        }
        match self.close {
            Some(closed) => {
                disk.close();
                let _ = closed.send(());
                true
            }
            None => false,
        }
    }
}
