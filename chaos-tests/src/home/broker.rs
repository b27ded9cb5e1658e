//! Mosquitto as a home has it, under the hands of a test: ended in order, killed, started again.
//!
//! Tests reach it on loopback; nodes there too, or from machines of their own by the address that the clients have.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::signal;
use crate::net::address;

/// Where it is installed.
const PROGRAMS: [&str; 2] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
/// How long it may take to listen or to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ports that are tried: another process may take one between its choice and the broker's start.
const MOST_PORTS: usize = 10;

/// How often a broker writes down what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saves {
    /// As it comes, but for `persistence true`: every half an hour, and when it ends in order.
    Seldom,
    /// Every second.
    EverySecond,
    /// After so many changes.
    EveryChanges(u32),
}

impl Saves {
    fn lines(self) -> String {
        match self {
            Saves::Seldom => String::new(),
            Saves::EverySecond => "autosave_interval 1\n".to_owned(),
            Saves::EveryChanges(count) => {
                format!("autosave_on_changes true\nautosave_interval {count}\n")
            }
        }
    }
}

/// Where the nodes are that reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On this machine's loopback.
    Loopback,
    /// On machines of their own, as [`crate::net`] makes them. Only where [`crate::net::enter`] has led: it is reached from all
    /// of that network.
    Machines,
}

impl Reach {
    /// What it listens on.
    fn listens_on(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Machines => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Where nodes find it.
    fn address(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::Machines => address(None),
        }
    }
}

/// A broker with a folder of its own. Killed when dropped.
pub struct Mosquitto {
    /// Where it listens.
    pub port: u16,
    reach: Reach,
    dir: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one.
    ///
    /// # Errors
    /// Where it is not installed or does not listen.
    pub async fn start(saves: Saves, reach: Reach) -> Result<Self> {
        let mut broker = Self {
            port: 0,
            reach,
            dir: tempfile::tempdir()?,
            child: None,
        };
        for _ in 0..MOST_PORTS {
            broker.port = TcpListener::bind((reach.listens_on(), 0))?.local_addr()?.port();
            broker.configure(saves)?;
            if broker.run().await? {
                return Ok(broker);
            }
        }
        bail!(
            "mosquitto does not start; see {}",
            broker.dir.path().join("log").display()
        )
    }

    /// Its address, as `[mqtt] url` has it.
    pub fn url(&self) -> String {
        format!("mqtt://{}:{}", self.reach.address(), self.port)
    }

    /// The environment of nodes that use it, and publish as fast as they can.
    pub fn env(&self) -> Vec<(String, String)> {
        let env = [
            ("JARVIS_MQTT__URL", self.url()),
            ("JARVIS_MQTT__MESSAGES_PER_SECOND", "0".to_owned()),
        ];
        env.map(|(key, value)| (key.to_owned(), value)).into()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("mosquitto.conf")
    }

    fn configure(&self, saves: Saves) -> Result<()> {
        let user = if rustix::process::geteuid().is_root() {
            "user root\n"
        } else {
            ""
        };
        // Its bound of messages under way is off: with one it miscounts before 2.0.13.
        let text = format!(
            "{user}persistence true\npersistence_location {}/\n{}max_queued_messages 100000\nmax_inflight_messages 0\n\
             set_tcp_nodelay true\nallow_anonymous true\nlistener {} {}\n",
            self.dir.path().display(),
            saves.lines(),
            self.port,
            self.reach.listens_on()
        );
        std::fs::write(self.config(), text).context("its settings cannot be written")
    }

    /// Starts the process; false where it ends at once.
    async fn run(&mut self) -> Result<bool> {
        let program = PROGRAMS.into_iter().find(|path| PathBuf::from(path).is_file());
        let log = std::fs::File::create(self.dir.path().join("log"))?;
        let mut child =
            Command::new(program.context("mosquitto is not installed: apt-get install mosquitto")?)
                .arg("-c")
                .arg(self.config())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .is_err()
        {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            ensure!(began.elapsed() < PATIENCE, "mosquitto does not listen");
            sleep(Duration::from_millis(5)).await;
        }
        self.child = Some(child);
        Ok(true)
    }

    /// Ends it in order: it writes what it keeps.
    ///
    /// # Errors
    /// Where it does not run or does not end.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(Signal::TERM).await
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL).await
    }

    async fn end(&mut self, how: Signal) -> Result<()> {
        let mut child = self.child.take().context("the broker does not run")?;
        signal(child.id().context("the broker runs")?, how)?;
        timeout(PATIENCE, child.wait())
            .await
            .context("the broker does not end")??;
        Ok(())
    }

    /// Starts it again, on the same port with what it kept.
    ///
    /// # Errors
    /// Where it does not listen.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.run().await?, "mosquitto does not start again");
        Ok(())
    }
}
