//! What the tests of real processes share: a cluster of `jarvis up` that ends with the test.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test.
pub(crate) const JARVIS: &str = env!("CARGO_BIN_EXE_jarvis");

/// A port such that those ten and twenty above it are free too.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
    };
    (0..100)
        .map(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("bound").port()
        })
        .find(|port| *port < 65_000 && [0, 10, 20].iter().all(|step| is_free(port + step)))
        .expect("three free ports")
}

/// Runs a command to its end, without the caller's own Jarvis settings.
pub(crate) fn jarvis(args: &[&str]) -> Output {
    command()
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// The binary, without the caller's own Jarvis settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(JARVIS);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JARVIS_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command with this stdin.
pub(crate) fn jarvis_with(args: &[&str], stdin: &str) -> Output {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), stdin.as_bytes()).expect("taken");
    child.wait_with_output().expect("it ends")
}

/// What a command wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cluster of `jarvis up`.
pub(crate) struct Up {
    child: Child,
    pub(crate) data: PathBuf,
    pub(crate) ready: Value,
}

impl Up {
    /// Starts one, and waits until it says that it is ready.
    pub(crate) fn start(data: &Path, port: u16, nodes: usize) -> Self {
        Self::start_with(data, port, nodes, &[])
    }

    /// As [`Up::start`], with more on its command line.
    pub(crate) fn start_with(data: &Path, port: u16, nodes: usize, more: &[&str]) -> Self {
        let mut child = command()
            .args([
                "up",
                "--json",
                "--nodes",
                &nodes.to_string(),
                "--port",
                &port.to_string(),
                "--data",
            ])
            .arg(data)
            .args(more)
            .env("JARVIS_LIMITS__MESSAGES_PER_MINUTE", "0")
            .env("JARVIS_LIMITS__SOCKETS_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped"))
            .read_line(&mut line)
            .expect("a line or the end");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut why = String::new();
            let _ = child
                .stderr
                .take()
                .map(|mut stderr| stderr.read_to_string(&mut why));
            panic!("not ready: {line}{why}")
        });
        Self {
            child,
            data: data.to_owned(),
            ready,
        }
    }

    /// The process of `up` itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `up.json` says.
    pub(crate) fn state(&self) -> Value {
        let text = std::fs::read(self.data.join("up.json")).expect("up.json is there");
        serde_json::from_slice(&text).expect("up.json is JSON at any time")
    }

    /// Sends a signal to `up` itself.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits until it ends.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "jarvis up does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // The nodes end by themselves when `up` is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node of `jarvis run`, killed when the test ends.
pub(crate) struct Running(Child);

impl Running {
    /// Starts the node of a folder, and waits until it has its port.
    pub(crate) fn start(data: &Path) -> Self {
        let child = command()
            .args(["run", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut running = Self(child);
        let folder = jarvis_node::data::DataFolder::new(data);
        eventually("the node's start", || {
            let ended = running.0.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended: {ended:?}");
            folder.running_at().expect("readable")
        });
        running
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `check` gives something.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Whether a process is there.
pub(crate) fn is_running(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie waits only for its parent.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}
