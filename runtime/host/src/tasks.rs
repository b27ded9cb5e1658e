//! Every task has an owner: spawned here, tracked, cancelled, awaited.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// A group of tasks that stop together. Clones are the same group; [`Tasks::child`] makes a smaller one.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

/// How a group of tasks ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReport {
    /// All tasks returned.
    Clean,
    /// Some were still running at the deadline.
    Late {
        /// How many.
        still_running: usize,
    },
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            token: CancellationToken::new(),
        }
    }

    /// A group that is cancelled when this one is, and can be stopped before it.
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            token: self.token.child_token(),
        }
    }

    /// Runs `future` to its end; it should watch [`Tasks::cancelled`] itself where it must leave things in order.
    #[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(future)
    }

    /// Runs `future` until it ends or the group is cancelled: then it is dropped where it waits.
    pub fn spawn_until_cancelled<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = future => {}
            }
        })
    }

    /// The token that tells tasks to stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Completes when the group is told to stop.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// Tells all tasks to stop, without waiting.
    pub fn cancel(&self) {
        self.token.cancel();
        self.tracker.close();
    }

    /// Tells all tasks to stop and waits for them.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        self.cancel();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => StopReport::Clean,
            Err(_) => StopReport::Late {
                still_running: self.tracker.len(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_awaits_all_and_names_the_late() {
        let tasks = Tasks::new();
        let child = tasks.child();
        let inner = child.clone();
        child.spawn(async move { inner.cancelled().await });
        assert_eq!(child.stop(Duration::from_secs(1)).await, StopReport::Clean);
        tasks.spawn(std::future::pending::<()>());
        tasks.spawn_until_cancelled(std::future::pending());
        assert_eq!(
            tasks.stop(Duration::from_secs(1)).await,
            StopReport::Late { still_running: 1 }
        );
    }
}
