//! The broker of a cluster on this machine, where none is configured: Mosquitto on loopback, as a child that ends with `up`.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jarvis_config::MqttAddress;
use jarvis_host::{Entropy, SystemEntropy, Tasks};
use jarvis_mqtt::broker::{Broker, BrokerError, BrokerOptions};

use crate::fail::chain;

/// The folder of what it keeps, below that of the cluster.
pub(super) const FOLDER: &str = "broker";
/// How long the one of an `up` that was killed may take to end.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Ports that are tried: each was free a moment before.
const MOST_PORTS: usize = 3;
/// It writes all that it keeps after so many changes.
const SAVE_EVERY_CHANGES: u32 = 100;

/// A broker that runs, and where it is met.
pub(super) struct Running {
    broker: Broker,
}

impl Running {
    /// Starts one, on the port of before if that is free.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub(super) async fn start(
        folder: &Path,
        program: Option<PathBuf>,
        earlier: Option<&str>,
        tasks: &Tasks,
    ) -> Result<Self, BrokerError> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let mut options = BrokerOptions {
            dir: folder.join(FOLDER),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            login: None,
            save_every_changes: SAVE_EVERY_CHANGES,
            program,
            through: through(),
        };
        if let Some(port) = earlier.and_then(port_of) {
            options.listen.set_port(port);
            let waited = tokio::time::timeout(LET_GO_TIMEOUT, async {
                loop {
                    match Broker::start(tasks, &options, &entropy).await {
                        Err(BrokerError::Taken { .. }) => tokio::time::sleep(LOOK_EVERY).await,
                        other => return other,
                    }
                }
            });
            if let Ok(started) = waited.await {
                return started.map(|broker| Self { broker });
            }
        }
        let mut tried = 1;
        loop {
            options.listen.set_port(free_port());
            match Broker::start(tasks, &options, &entropy).await {
                Err(BrokerError::Taken { .. }) if tried < MOST_PORTS => tried += 1,
                other => return other.map(|broker| Self { broker }),
            }
        }
    }

    /// Where clients meet it.
    pub(super) fn url(&self) -> String {
        format!("mqtt://{}", self.broker.address())
    }

    /// Ends it in order: it writes what it keeps.
    pub(super) async fn stop(self) {
        self.broker.stop().await;
    }
}

/// What a person is told where there is none.
pub(super) fn without(error: &BrokerError) -> String {
    match error {
        BrokerError::NotInstalled => {
            "there is no MQTT broker: mosquitto is not installed, and no other is configured; the cluster runs without \
             one. Install it (Debian: apt-get install mosquitto) or set [mqtt] url"
                .to_owned()
        }
        other => format!(
            "there is no MQTT broker: {}; the cluster runs without one",
            chain(other)
        ),
    }
}

/// Has it end when this process does, however that ends.
fn through() -> Vec<OsString> {
    match std::env::current_exe() {
        Ok(program) => vec![
            program.into(),
            "with-parent".into(),
            std::process::id().to_string().into(),
        ],
        // Then it outlives an `up` that is killed.
        Err(_) => Vec::new(),
    }
}

fn port_of(url: &str) -> Option<u16> {
    let address = MqttAddress::parse(url).ok()?;
    (address.host == Ipv4Addr::LOCALHOST.to_string()).then_some(address.port)
}

/// A port that nobody uses at the moment; 0 where there is none, which the start reports.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_or(0, |address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_without_mosquitto_is_told_what_to_install() {
        let (folder, tasks) = (tempfile::tempdir().expect("a folder"), Tasks::new());
        let program = Some(folder.path().join("mosquitto"));
        let error = Running::start(folder.path(), program, None, &tasks)
            .await
            .err()
            .expect("there is none");
        let told = without(&error);
        assert!(
            told.contains("apt-get install mosquitto") && told.contains("runs without"),
            "{told}"
        );
    }

    #[test]
    fn the_port_of_before_is_taken_again_where_it_was_ours() {
        assert_eq!(port_of("mqtt://127.0.0.1:40123"), Some(40_123));
        assert_eq!(port_of("mqtt://broker.lan:1883"), None);
        assert_eq!(port_of("nonsense"), None);
    }
}
