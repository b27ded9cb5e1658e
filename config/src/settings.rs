//! What there is to set. Field names are the keys of the file.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jarvis_types::NodeName;
use jarvis_types::limits::MAX_NAME_CHARS;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::automation::AutomationSettings;
use crate::document::{Document, LISTS, SECTIONS};
use crate::home::HomeSettings;
use crate::mqtt::MqttSettings;
use crate::problem::Problem;
use crate::reader::{Reader, unknown};
use crate::reference::{Reference, Target};
use crate::value::{Secret, serialize_duration};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The one port, TCP for people and programs and UDP for the mesh.
pub(crate) const DEFAULT_PORT: u16 = 8007;

/// All settings of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Settings {
    /// The node itself.
    pub node: NodeSettings,
    /// Between nodes.
    pub mesh: MeshSettings,
    /// The replicated log.
    pub raft: RaftSettings,
    /// What a client may do.
    pub limits: LimitSettings,
    /// Logs.
    pub log: LogSettings,
    /// The home.
    pub home: HomeSettings,
    /// Conversations.
    pub session: SessionSettings,
    /// The home's MQTT broker.
    pub mqtt: MqttSettings,
    /// Automations.
    pub automation: AutomationSettings,
    /// Language models that answer, the preferred one first. None: only what is built in answers.
    #[serde(rename = "responder", skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<ResponderSettings>,
}

/// The node itself. What `init` or `join` was told goes before what stands here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeSettings {
    /// Its name; none: the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it listens, TCP and UDP.
    pub listen: SocketAddr,
    /// Where others meet it, `host:port`; none: found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// What this machine has that some work needs: `microphone`, `gpu`, `mqtt`, any name.
    pub capabilities: BTreeSet<String>,
    /// How much work it takes on compared with the others.
    pub capacity: u32,
}

/// How much work a node takes on unless told otherwise.
const DEFAULT_CAPACITY: u32 = 100;
/// Most capabilities of a node.
const MAX_CAPABILITIES: usize = 32;

impl Default for NodeSettings {
    fn default() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
        Self {
            name: None,
            listen,
            advertise: None,
            capabilities: BTreeSet::new(),
            capacity: DEFAULT_CAPACITY,
        }
    }
}

/// How patient timers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Cables and SSDs.
    #[default]
    Lan,
    /// Radio: round trips of tens of milliseconds, short losses.
    Wifi,
    /// SD cards: a sync may take hundreds of milliseconds.
    SlowDisk,
}

/// Between nodes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeshSettings {
    /// How patient timers are.
    pub profile: Profile,
    /// How long a node's certificate is good; renewed at half of it.
    #[serde(serialize_with = "serialize_duration")]
    pub certificate_ttl: Duration,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            profile: Profile::Lan,
            certificate_ttl: DAY,
        }
    }
}

/// The replicated log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RaftSettings {
    /// Entries between two snapshots, unless they are large.
    pub snapshot_every: u64,
    /// A voter that does not answer for so long loses its vote to one that does; 0: never.
    #[serde(serialize_with = "serialize_duration")]
    pub replace_after: Duration,
    /// Whether a voter whose disk is too slow may lose its vote to one whose is not.
    pub demote_slow_disk: bool,
}

impl Default for RaftSettings {
    fn default() -> Self {
        Self {
            snapshot_every: 10_000,
            replace_after: 10 * MINUTE,
            demote_slow_disk: false,
        }
    }
}

/// What a client may do. 0: no limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitSettings {
    /// Longest message, in characters.
    pub message_chars: u64,
    /// Messages a minute and user.
    pub messages_per_minute: u64,
    /// New sockets a minute and address.
    pub sockets_per_minute: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            message_chars: 4_096,
            messages_per_minute: 30,
            sockets_per_minute: 10,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Logs, to stderr.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: directives such as `info,jarvis_mesh=debug`.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        // openraft and quinn tell at `info` what only their authors need.
        Self {
            format: LogFormat::Pretty,
            filter: "info,openraft=error,quinn=warn,ractor=error".to_owned(),
        }
    }
}

/// Conversations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionSettings {
    /// IANA name of the zone in which times are told; none: the home's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Messages of the past that a language model is shown.
    pub history_messages: u64,
    /// What a language model is told before the conversation; none: the built-in text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            time_zone: None,
            history_messages: 20,
            system_prompt: None,
        }
    }
}

/// Which protocol a language model's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponderKind {
    /// `/v1/chat/completions`.
    OpenAi,
    /// `/api/chat`.
    Ollama,
}

/// A language model that answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResponderSettings {
    /// Its protocol.
    pub kind: ResponderKind,
    /// Its address: `http://host:port`, with the path up to, without `/chat/completions` or `/api/chat`.
    pub url: String,
    /// Which model.
    pub model: String,
    /// The key itself; better in a file or a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// A file that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<String>,
    /// A variable that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// After this long without a first word the next one is asked.
    #[serde(serialize_with = "serialize_duration")]
    pub first_token_timeout: Duration,
    /// A reply that takes longer is ended where it is.
    #[serde(serialize_with = "serialize_duration")]
    pub total_timeout: Duration,
}

impl Settings {
    /// All settings of `document`, all that is wrong with it, and what it names outside of itself.
    pub(crate) fn read(mut document: Document) -> (Self, Vec<Problem>, Vec<Reference>) {
        let mut problems = std::mem::take(&mut document.problems);
        let mut keys: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
        let mut settings = Settings::default();
        let mut references = Vec::new();
        for name in SECTIONS {
            let section = document.sections.remove(name).unwrap_or_default();
            let mut reader = Reader::new(name, section, &mut problems);
            settings.read_section(name, &mut reader, &mut references);
            keys.push((name, reader.finish()));
        }
        for (index, section) in document
            .lists
            .remove(LISTS[0])
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            let mut reader = Reader::new(format!("{}[{index}]", LISTS[0]), section, &mut problems);
            settings
                .responders
                .extend(ResponderSettings::read(&mut reader, &mut references));
            reader.finish();
        }
        for (name, origin) in document.strangers {
            let home = keys.iter().find(|(_, keys)| keys.contains(&name.as_str()));
            let what = match home {
                Some((section, _)) => format!("a key outside its section; it belongs under [{section}]"),
                None => unknown("section", &name, SECTIONS.into_iter().chain(LISTS)),
            };
            problems.push(Problem {
                origin,
                key: name,
                what,
            });
        }
        (settings, problems, references)
    }

    fn read_section(&mut self, name: &str, from: &mut Reader<'_>, references: &mut Vec<Reference>) {
        match name {
            "node" => self.node.read(from),
            "mesh" => self.mesh.read(from),
            "raft" => self.raft.read(from),
            "limits" => self.limits.read(from),
            "log" => self.log.read(from),
            "home" => self.home.read(from),
            "session" => self.session.read(from),
            "mqtt" => self.mqtt.read(from, references),
            "automation" => self.automation.read(from),
            _ => debug_assert!(false, "every section is read"),
        }
    }

    /// The home's time zone; none: the machine's.
    pub fn home_time_zone(&self) -> Option<&str> {
        let either = self.home.time_zone.as_ref().or(self.session.time_zone.as_ref());
        either.map(String::as_str)
    }

    /// The time zone in which conversations tell times; none: the machine's.
    pub fn session_time_zone(&self) -> Option<&str> {
        let either = self.session.time_zone.as_ref().or(self.home.time_zone.as_ref());
        either.map(String::as_str)
    }

    /// What is right but leaves something wanting, in sentences.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.home.place().is_none() {
            notes.push(
                "[home] latitude and longitude are not set: triggers and conditions by the sun are reckoned for the \
                 Gulf of Guinea (0, 0)"
                    .to_owned(),
            );
        }
        notes
    }

    /// The settings in force as a configuration file, secrets masked.
    pub fn effective(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
    }
}

pub(crate) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

impl NodeSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        let expected = "a name such as \"kitchen\": 1 to 63 letters, digits, '-', '_' or '.'";
        self.name = from.text_that("name", expected, |name| name.parse::<NodeName>().is_ok());
        set(&mut self.listen, from.socket("listen"));
        let expected = "a host and port such as \"192.168.1.10:8007\"";
        self.advertise = from.text_that("advertise", expected, is_host_and_port);
        let expected = format!(
            "a list of at most {MAX_CAPABILITIES} names such as [\"microphone\", \"gpu\"], each of 1 to \
             {MAX_NAME_CHARS} letters, digits, '-', '_' or '.'"
        );
        let capabilities = from.texts_that("capabilities", &expected, |names| {
            names.len() <= MAX_CAPABILITIES && names.iter().all(|name| name.parse::<NodeName>().is_ok())
        });
        set(
            &mut self.capabilities,
            capabilities.map(|names| names.into_iter().collect()),
        );
        let capacity = from
            .number("capacity", 1, 1_000)
            .and_then(|n| u32::try_from(n).ok());
        set(&mut self.capacity, capacity);
    }
}

impl RaftSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        set(
            &mut self.snapshot_every,
            from.number("snapshot_every", 100, 10_000_000),
        );
        set(
            &mut self.replace_after,
            from.duration_or_zero("replace_after", 10 * SECOND, 30 * DAY),
        );
        set(&mut self.demote_slow_disk, from.flag("demote_slow_disk"));
    }
}

/// Whether `text` is `host:port`, the host a name or an address, an IPv6 one in brackets.
fn is_host_and_port(text: &str) -> bool {
    if text
        .parse::<SocketAddr>()
        .is_ok_and(|a| a.port() != 0 && !a.ip().is_unspecified())
    {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_name = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
        && host.bytes().any(|b| b.is_ascii_alphabetic());
    is_name && host.len() <= 253 && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl MeshSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        let profiles = [
            ("lan", Profile::Lan),
            ("wifi", Profile::Wifi),
            ("slow-disk", Profile::SlowDisk),
        ];
        set(&mut self.profile, from.choice("profile", &profiles));
        set(
            &mut self.certificate_ttl,
            from.duration("certificate_ttl", MINUTE, 365 * DAY),
        );
    }
}

impl LimitSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        set(
            &mut self.message_chars,
            from.number("message_chars", 0, 1_000_000),
        );
        set(
            &mut self.messages_per_minute,
            from.number("messages_per_minute", 0, 1_000_000_000),
        );
        set(
            &mut self.sockets_per_minute,
            from.number("sockets_per_minute", 0, 1_000_000_000),
        );
    }
}

impl LogSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        set(
            &mut self.format,
            from.choice(
                "format",
                &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)],
            ),
        );
        set(
            &mut self.filter,
            from.text_that(
                "filter",
                "directives such as \"info,jarvis_mesh=debug\"",
                |text| !text.trim().is_empty() && EnvFilter::try_new(text).is_ok(),
            ),
        );
    }
}

impl SessionSettings {
    fn read(&mut self, from: &mut Reader<'_>) {
        self.time_zone = from.time_zone("time_zone");
        set(
            &mut self.history_messages,
            from.number("history_messages", 0, 1_000),
        );
        self.system_prompt = from.any_text("system_prompt");
    }
}

impl ResponderSettings {
    fn read(from: &mut Reader<'_>, references: &mut Vec<Reference>) -> Option<Self> {
        let kinds = [
            ("openai", ResponderKind::OpenAi),
            ("ollama", ResponderKind::Ollama),
        ];
        let kind = required(from, "kind", |from| from.choice("kind", &kinds));
        let url = required(from, "url", |from| {
            from.text_that("url", "an address such as \"http://localhost:11434\"", |text| {
                url::Url::parse(text)
                    .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some())
            })
        });
        let model = required(from, "model", |from| from.text("model", "the name of a model"));
        let api_key = from.text("api_key", "a key").map(Secret::new);
        let places = ["api_key_file", "api_key_env"].map(|key| (from.origin(key), from.full_key(key)));
        let api_key_file = from.text("api_key_file", "the path of a file");
        let api_key_env = from.text("api_key_env", "the name of a variable");
        let targets = [
            api_key_file.clone().map(|path| Target::File(path.into())),
            api_key_env.clone().map(Target::Variable),
        ];
        for ((origin, key), target) in places.into_iter().zip(targets) {
            if let (Some(origin), Some(target)) = (origin, target) {
                references.push(Reference { origin, key, target });
            }
        }
        if [api_key.is_some(), api_key_file.is_some(), api_key_env.is_some()]
            .iter()
            .filter(|set| **set)
            .count()
            > 1
        {
            from.complain(
                "api_key",
                "only one of api_key, api_key_file and api_key_env may be set",
            );
        }
        let first = from
            .duration("first_token_timeout", SECOND / 10, HOUR)
            .unwrap_or(20 * SECOND);
        let total = from
            .duration("total_timeout", SECOND / 10, HOUR)
            .unwrap_or(2 * MINUTE);
        Some(Self {
            kind: kind?,
            url: url?,
            model: model?,
            api_key,
            api_key_file,
            api_key_env,
            first_token_timeout: first,
            total_timeout: total,
        })
    }
}

/// A key that has no default: missing is a problem, wrong is one already.
fn required<'a, T>(
    from: &mut Reader<'a>,
    key: &'static str,
    take: impl FnOnce(&mut Reader<'a>) -> Option<T>,
) -> Option<T> {
    let given = from.has(key);
    let value = take(from);
    if !given {
        from.complain(key, "missing; a responder needs kind, url and model");
    }
    value
}
