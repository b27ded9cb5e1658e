//! A real broker as a child process, and a sink that remembers.
#![allow(dead_code, reason = "each test file uses its part of this")]

pub(crate) mod fake;
pub(crate) mod sink;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{SystemClock, SystemEntropy, Tasks};
use jarvis_mqtt::{
    Bridge, LettersInMemory, Options, Parts, Patience, Publication, Publisher, State, Status, Tcp, device_of,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use sink::TestSink;

/// Whatever is waited for, it is not waited for longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Mosquitto with a configuration and a folder of its own. Killed when dropped.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one that lets anyone in and keeps its state.
    pub(crate) async fn start() -> Self {
        Self::start_with("allow_anonymous true\n", |_| ()).await
    }

    /// Starts one with more in its configuration; `prepare` puts files into its folder. `DIR` stands for the folder.
    pub(crate) async fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        prepare(dir.path());
        let mut broker = Self {
            port: 0,
            dir,
            child: None,
        };
        // Another process may take the port between its choice and the broker's start.
        for _ in 0..10 {
            broker.port = free_port();
            broker.configure(more);
            if broker.spawn().await {
                return broker;
            }
        }
        panic!("mosquitto does not start; `.ci/setup test` installs it");
    }

    fn configure(&self, more: &str) {
        let dir = self.dir.path().display().to_string();
        let mut text = String::new();
        writeln!(
            text,
            "user root\npersistence true\npersistence_location {dir}/\nmax_queued_messages 20000\nmax_inflight_messages 0\n\
             set_tcp_nodelay true\nlistener {} 127.0.0.1",
            self.port
        )
        .expect("text");
        text.push_str(&more.replace("DIR", &dir));
        std::fs::write(self.config(), text).expect("written");
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("mosquitto.conf")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the process; false where it ends at once.
    async fn spawn(&mut self) -> bool {
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("mosquitto");
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a log");
        let child = Command::new(program)
            .arg("-c")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut child = child.expect("mosquitto starts; `.ci/setup test` installs it");
        loop {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
            {
                self.child = Some(child);
                return true;
            }
            if child.try_wait().expect("it can be asked").is_some() {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it in order: it writes what it keeps.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .expect("it runs");
        while child.try_wait().expect("it can be asked").is_none() {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends it like a power cut.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    pub(crate) async fn start_again(&mut self) {
        assert!(self.spawn().await, "mosquitto starts again");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Options for a broker on this machine, with little patience.
pub(crate) fn options(port: u16, client_id: &str) -> Options {
    let settings = jarvis_config::MqttSettings {
        url: Some(format!("mqtt://127.0.0.1:{port}")),
        client_id: client_id.to_owned(),
        topics: vec!["zigbee2mqtt/#".to_owned()],
        messages_per_second: 0,
        ..jarvis_config::MqttSettings::default()
    };
    let mut options = Options::from_settings(&settings)
        .expect("right")
        .expect("an address");
    options.patience = Patience {
        keep_alive: Duration::from_secs(6),
        connect: Duration::from_secs(2),
        write: Duration::from_secs(2),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
        hopeless_pause: Duration::from_millis(300),
        steady_after: Duration::from_secs(5),
    };
    options.batches.retry_pause = Duration::from_millis(2);
    options
}

/// The surroundings of a bridge that decides by `sink`.
pub(crate) fn parts(sink: &Arc<TestSink>) -> Parts {
    Parts {
        sink: sink.own(),
        memory: sink.memory.clone(),
        letters: Arc::new(LettersInMemory::default()),
        key_of: device_of,
        gate: Arc::new(|| true),
        dial: Arc::new(Tcp),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::default()),
    }
}

/// Something that publishes and listens to nothing.
pub(crate) async fn sensor(tasks: &Tasks, port: u16) -> Bridge {
    let mut options = options(port, "sensor");
    options.topics.clear();
    let bridge = Bridge::own(tasks, options, parts(&TestSink::new()));
    connected(&bridge).await;
    bridge
}

pub(crate) async fn until(
    status: &mut watch::Receiver<Status>,
    what: &str,
    holds: impl FnMut(&Status) -> bool,
) -> Status {
    let waited = timeout(DEADLINE, status.wait_for(holds)).await;
    let waited = waited.map(|found| found.expect("the bridge is there").clone());
    waited.unwrap_or_else(|_| panic!("not in time: {what}; {:?}", status.borrow()))
}

pub(crate) async fn connected(bridge: &Bridge) -> Status {
    until(&mut bridge.status(), "connected", |status| {
        status.state.is_connected() && status.settled.is_some()
    })
    .await
}

/// Waits until the bridge says why it waits, and what fits is said.
pub(crate) async fn trouble(bridge: &Bridge, fits: impl Fn(&jarvis_mqtt::Trouble) -> bool) -> String {
    let status = until(
        &mut bridge.status(),
        "the trouble",
        |status| matches!(&status.state, State::Waiting { why, .. } if fits(why)),
    )
    .await;
    match status.state {
        State::Waiting { why, .. } => why.to_string(),
        _ => unreachable!("waited for"),
    }
}

pub(crate) fn publication(topic: &str, payload: &str) -> Publication {
    Publication {
        intent: format!("{topic}={payload}"),
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        retain: false,
    }
}

/// Publishes `numbers` for each of `devices`, in order for each of them, all confirmed when it returns.
pub(crate) async fn publish_all(publisher: &Publisher, devices: usize, numbers: std::ops::Range<u32>) {
    let tasks = Tasks::new();
    let all: Vec<_> = (0..devices)
        .map(|device| {
            let (publisher, numbers) = (publisher.clone(), numbers.clone());
            tasks.spawn(async move {
                for number in numbers {
                    let message = publication(&format!("zigbee2mqtt/d{device}"), &number.to_string());
                    publisher.publish(message, DEADLINE).await.expect("confirmed");
                }
            })
        })
        .collect();
    for one in all {
        one.await.expect("published");
    }
}

/// Each number of each device once, in order.
pub(crate) fn assert_all_once(sink: &TestSink, devices: usize, numbers: u32) {
    let log = sink.log();
    let seen: BTreeSet<_> = log.iter().collect();
    assert_eq!(seen.len(), log.len(), "decided on twice");
    for device in 0..devices {
        let topic = format!("zigbee2mqtt/d{device}");
        let of_device: Vec<u32> = log
            .iter()
            .filter(|(of, _)| *of == topic)
            .map(|(_, payload)| payload.parse().expect("a number"))
            .collect();
        assert_eq!(of_device, (0..numbers).collect::<Vec<_>>(), "{topic}");
    }
}
