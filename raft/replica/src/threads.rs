//! The one place of this crate that makes threads: syncing a disk blocks, and must not hold up a runtime's worker.
//!
//! Two kinds live here: the log's writer, for as long as the log is open, and one thread for each durable commit of the
//! state, which happens once in thousands of entries. Where there is no disk (tests, simulation) no thread is made.

use std::io;

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own until it returns.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of this crate that makes threads"
)]
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
}

/// Runs `work` on a thread of its own and waits for what it returns.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    spawn(name, move || {
        // Nobody may wait any more; the work was done all the same.
        let _ = done.send(work());
    })?;
    result
        .await
        .unwrap_or_else(|_| Err(io::Error::other(format!("thread {name} died"))))
}
