//! What a bridge is told: the broker, the session, the bounds. Read from `[mqtt]`, files included.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jarvis_config::{MqttSettings, Secret};

use crate::link::tls;

/// Longest password file; a password is a line.
const MAX_PASSWORD_BYTES: usize = 4_096;

/// What a bridge is told.
#[derive(Clone)]
pub struct Options {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// How TLS is spoken; none: it is not.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The session's name.
    pub client_id: String,
    /// What is subscribed to from the start.
    pub topics: Vec<String>,
    /// What earlier owners may have subscribed to.
    pub held: BTreeSet<String>,
    /// How long a broker keeps the session while nobody is there.
    pub session_expiry: Duration,
    /// What the broker says for the cluster once nobody has come back for a while.
    pub will: Option<Will>,
    /// Most messages under way, each way.
    pub receive_maximum: u16,
    /// Messages a second that are taken in; 0: no limit.
    pub messages_per_second: u32,
    /// Largest packet that is taken.
    pub max_packet_bytes: usize,
    /// How long things may take.
    pub patience: Patience,
    /// How messages are gathered.
    pub batches: Batches,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("broker", &self.broker())
            .field("client_id", &self.client_id)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// What a broker says, retained, when a bridge has gone and none has taken its session up in time. Of MQTT 5 only: before, a
/// broker says it at once, and every change of nodes would be taken for the end of the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
    /// How long it waits for a bridge.
    pub delay: Duration,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without a sign of life for so long, a connection is given up. A ping goes out every third of it.
    pub keep_alive: Duration,
    /// From dialling to being let in.
    pub connect: Duration,
    /// How long written bytes may lie before the broker takes any.
    pub write: Duration,
    /// The pause after the first failure; it doubles.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The pause where a person has to change something, and after another client took the session over.
    pub hopeless_pause: Duration,
    /// A connection that stood for so long was a good one: pauses begin anew.
    pub steady_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            connect: Duration::from_secs(10),
            write: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
            hopeless_pause: Duration::from_secs(15),
            steady_after: Duration::from_secs(10),
        }
    }
}

/// How messages are gathered before they are decided on.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    /// Groups of devices that are decided on side by side.
    pub partitions: usize,
    /// Most messages of a batch.
    pub most_messages: usize,
    /// How long a batch waits for more. 0: it takes what is there.
    pub linger: Duration,
    /// Tries of a message before it becomes a dead letter.
    pub most_attempts: u32,
    /// The pause after a failed try; it doubles up to sixteen times that.
    pub retry_pause: Duration,
    /// Messages of QoS 0 that may wait; more are dropped and counted.
    pub most_unconfirmed: usize,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            partitions: 8,
            most_messages: 64,
            linger: Duration::ZERO,
            most_attempts: 5,
            retry_pause: Duration::from_millis(50),
            most_unconfirmed: 1_024,
        }
    }
}

/// What is wrong with what the settings name.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The address is none.
    #[error("[mqtt] url: {0}")]
    Url(String),
    /// A file cannot be read.
    #[error("[mqtt] {key}: {path} cannot be read")]
    Unreadable {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("[mqtt] {key}: {path}: {what}")]
    Unfit {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: String,
        /// What is wrong with it. Never its contents.
        what: String,
    },
    /// TLS cannot be set up.
    #[error("[mqtt]: no TLS with these certificates: {0}")]
    Tls(String),
}

impl Options {
    /// Of the settings, files included; none where there is no broker.
    ///
    /// # Errors
    /// [`OptionsError`]: which file is wrong.
    pub fn from_settings(settings: &MqttSettings) -> Result<Option<Self>, OptionsError> {
        let Some(address) = settings.address() else {
            return Ok(None);
        };
        let address = address.map_err(OptionsError::Url)?;
        let password = match (&settings.password, &settings.password_file) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(path)) => Some(password_of(path)?),
            (None, None) => None,
        };
        let tls = match address.tls {
            true => Some(tls::client(settings)?),
            false => None,
        };
        Ok(Some(Self {
            host: address.host,
            port: address.port,
            user: address.user,
            password,
            tls,
            client_id: settings.client_id.clone(),
            topics: settings.topics.clone(),
            held: BTreeSet::new(),
            session_expiry: settings.session_expiry,
            will: None,
            receive_maximum: u16::try_from(settings.receive_maximum).unwrap_or(u16::MAX),
            messages_per_second: u32::try_from(settings.messages_per_second).unwrap_or(u32::MAX),
            max_packet_bytes: usize::try_from(settings.max_packet_kib * 1_024).unwrap_or(usize::MAX),
            patience: Patience::default(),
            batches: Batches::default(),
        }))
    }

    /// The broker as a person knows it; never with a password.
    pub fn broker(&self) -> String {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        format!("{scheme}://{user}{host}:{}", self.port)
    }
}

pub(crate) fn read(key: &'static str, path: &str) -> Result<Vec<u8>, OptionsError> {
    std::fs::read(path).map_err(|source| OptionsError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

/// The first line of a file.
fn password_of(path: &str) -> Result<Secret, OptionsError> {
    let key = "password_file";
    let unfit = |what: &str| OptionsError::Unfit {
        key,
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let bytes = read(key, path)?;
    if bytes.len() > MAX_PASSWORD_BYTES {
        return Err(unfit("longer than a password is"));
    }
    let text = String::from_utf8(bytes).map_err(|_| unfit("not UTF-8"))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(unfit("empty")),
        Some(password) => Ok(Secret::new(password)),
    }
}
