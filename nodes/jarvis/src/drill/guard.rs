//! A process that is made to stand still, and what lets it go on even if this drill is killed.
//!
//! ```text
//!  drill ── SIGSTOP ──► node ◄── SIGCONT ── sh -c 'sleep N; kill -CONT PID'   (a process group of its own)
//! ```

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::fail::Failure;

/// The guard comes this much later than the drill would.
const MARGIN: Duration = Duration::from_secs(2);

/// A process that stands still. Dropped, it goes on.
pub(super) struct Paused {
    pid: Pid,
    guard: Child,
}

impl Paused {
    /// Stops a process for at most `lasts`, whatever becomes of this one.
    pub(super) fn stop(pid: u32, lasts: Duration) -> Result<Self, Failure> {
        let what = "the drill cannot go on";
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Failure::new(what, format!("{pid} is no process id")))?;
        let seconds = (lasts + MARGIN).as_secs();
        // Started first: there is no moment in which the process stands still without it.
        let guard = Command::new("sh")
            .arg("-c")
            .arg(format!("sleep {seconds}; kill -CONT {}", pid.as_raw_nonzero()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::new(what, format!("no guard could be started: {error}")))?;
        let paused = Self { pid, guard };
        kill_process(pid, Signal::STOP)
            .map_err(|error| Failure::new(what, format!("process {pid:?} cannot be stopped: {error}")))?;
        Ok(paused)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // Whoever is gone already needs no signal.
        let _ = kill_process(self.pid, Signal::CONT);
        if let Some(group) = i32::try_from(self.guard.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.guard.wait();
    }
}

/// Asks a process to end.
pub(super) fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `T`: it stands still.
    fn state(pid: u32) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        let rest = stat.rsplit(')').next().expect("a state");
        rest.trim_start().chars().next().expect("a state")
    }

    async fn becomes(pid: u32, stopped: bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while (state(pid) == 'T') != stopped {
            assert!(
                tokio::time::Instant::now() < deadline,
                "state {} for too long",
                state(pid)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().expect("it starts")
    }

    #[tokio::test]
    async fn a_process_goes_on_when_the_drill_lets_it() {
        let mut sleeper = sleeper();
        let paused = Paused::stop(sleeper.id(), Duration::from_secs(30)).expect("stopped");
        becomes(sleeper.id(), true).await;
        let guard = paused.guard.id();
        drop(paused);
        becomes(sleeper.id(), false).await;
        assert!(!std::path::Path::new(&format!("/proc/{guard}")).exists());
        sleeper.kill().expect("a child");
        sleeper.wait().expect("a child");
    }

    #[tokio::test]
    async fn a_process_goes_on_even_if_the_drill_is_killed() {
        let mut sleeper = sleeper();
        let paused = Paused::stop(sleeper.id(), Duration::ZERO).expect("stopped");
        becomes(sleeper.id(), true).await;
        // What a killed process does: nothing.
        let mut paused = std::mem::ManuallyDrop::new(paused);
        becomes(sleeper.id(), false).await;
        paused.guard.wait().expect("it has done its part");
        sleeper.kill().expect("a child");
        sleeper.wait().expect("a child");
    }
}
