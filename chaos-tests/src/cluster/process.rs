//! Processes, by id only, and ports that are free.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::PATIENCE;

/// Signals a process by its id.
///
/// # Errors
/// Where there is none.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("pid 0 is nobody")?;
    kill_process(pid, signal).with_context(|| format!("process {pid:?} cannot be signalled"))
}

/// A process that is stopped for a while, and goes on when this is dropped, whatever happened meanwhile.
pub struct Stopped(u32);

impl Stopped {
    /// Stops it.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn stop(pid: u32) -> Result<Self> {
        signal(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // One that has ended needs nothing any more.
        let _ = signal(self.0, Signal::CONT);
    }
}

/// Whether there is such a process. A zombie has ended: whoever inherits it reaps it.
pub(super) fn is_running(pid: u32) -> bool {
    let status = PathBuf::from(format!("/proc/{pid}/stat"));
    std::fs::read_to_string(&status).is_ok_and(|text| !text.contains(") Z "))
}

pub(crate) async fn wait_gone(pid: u32) -> Result<()> {
    let started = Instant::now();
    while is_running(pid) {
        ensure!(started.elapsed() < PATIENCE, "process {pid} did not end");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A port such that it, and every tenth after it for the other nodes, is free for TCP and UDP.
pub(super) fn free_ports(nodes: u32) -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let step = |n: u32| port.checked_add(u16::try_from(n * 10).ok()?);
        let all: Option<Vec<u16>> = (0..nodes).map(step).collect();
        let free = |port: &u16| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
        };
        if all.is_some_and(|all| all.iter().all(free)) {
            return Ok(port);
        }
    }
    bail!("no free ports")
}
