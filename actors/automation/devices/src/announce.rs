//! How Jarvis shows itself to Home Assistant: every automation, node, drill and timer as a device of its own.
//!
//! Pure functions from plain structs to retained messages, and from the topics on which commands come back to commands.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thiserror::Error;

use crate::discovery::OWN_ORIGIN;
use crate::registry::moment;
use crate::service::Publish;
use crate::text::quoted;

/// Longest id that is read back from a topic, in bytes.
const MAX_ID_BYTES: usize = 256;

/// An automation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomationShown {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub alias: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// When it last ran, Unix milliseconds.
    pub last_triggered_ms: Option<i64>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeShown {
    /// Its name.
    pub name: String,
    /// What it is at the moment: `leader`, `voter`, `draining` …
    pub state: String,
    /// Whether it answers.
    pub online: bool,
    /// What it runs.
    pub version: Option<String>,
}

/// A drill that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillShown {
    /// Its name: `kill-leader`.
    pub name: String,
    /// What it does, in a few words.
    pub title: String,
    /// What came of it last.
    pub last: Option<String>,
}

/// A timer that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerShown {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub text: String,
    /// When it is due, Unix milliseconds.
    pub due_ms: i64,
}

/// What somebody asked for on a command topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Switch an automation on or off.
    Enable {
        /// Its id.
        automation: String,
        /// Whether it is to be on.
        on: bool,
    },
    /// Run an automation.
    Trigger {
        /// Its id.
        automation: String,
    },
    /// Let a node hand over what it has.
    Drain {
        /// Its name.
        node: String,
    },
    /// Let a node take part again.
    Undrain {
        /// Its name.
        node: String,
    },
    /// Start a drill.
    Drill {
        /// Its name.
        name: String,
    },
    /// Stop a timer.
    Cancel {
        /// Its id.
        timer: String,
    },
}

/// Why a message on a command topic was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// The broker kept it: it was asked for some other time.
    #[error("a command must not be retained: publish it without the retain flag, and clear the retained one")]
    Retained,
    /// It is not what the topic takes.
    #[error("\"{given}\" is not {wanted}")]
    Payload {
        /// What came.
        given: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// The topic names nothing.
    #[error("the topic names nothing that could exist")]
    Id,
}

/// Where and as what Jarvis shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcer {
    /// Home Assistant's discovery prefix.
    pub discovery_prefix: String,
    /// What all of Jarvis's own topics begin with.
    pub base: String,
    /// The version that runs.
    pub version: String,
}

impl Announcer {
    /// With the usual topics.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            discovery_prefix: "homeassistant".to_owned(),
            base: "jarvis".to_owned(),
            version: version.into(),
        }
    }

    /// Where it is told whether Jarvis is there at all: `online` once connected, `offline` as the last will.
    pub fn status_topic(&self) -> String {
        format!("{}/status", self.base)
    }

    /// The message that says whether Jarvis is there.
    pub fn status(&self, online: bool) -> Publish {
        retained(self.status_topic(), if online { "online" } else { "offline" })
    }

    /// The filters on which commands come.
    pub fn filters(&self) -> Vec<String> {
        [
            "automation/+/set",
            "automation/+/trigger",
            "node/+/drain",
            "node/+/undrain",
            "drill/+/run",
            "timer/+/cancel",
        ]
        .map(|rest| format!("{}/{rest}", self.base))
        .to_vec()
    }

    /// An automation: a switch, when it last ran, a button to run it.
    pub fn automation(&self, shown: &AutomationShown) -> Vec<Publish> {
        let topic = self.topic("automation", &shown.id);
        let parts = json!({
            "enabled": {
                "platform": "switch",
                "name": null,
                "icon": "mdi:robot",
                "command_topic": format!("{topic}/set"),
                "state_topic": format!("{topic}/state"),
            },
            "last_triggered": {
                "platform": "sensor",
                "name": "Last triggered",
                "device_class": "timestamp",
                "state_topic": format!("{topic}/last_triggered"),
            },
            "trigger": {
                "platform": "button",
                "name": "Run",
                "command_topic": format!("{topic}/trigger"),
            },
        });
        let last = shown.last_triggered_ms.map_or_else(|| "None".to_owned(), moment);
        vec![
            self.device("automation", &shown.id, &shown.alias, "Automation", None, parts),
            retained(format!("{topic}/state"), if shown.enabled { "ON" } else { "OFF" }),
            retained(format!("{topic}/last_triggered"), last),
        ]
    }

    /// A node: its state, whether it answers, buttons to drain it and to have it back.
    pub fn node(&self, shown: &NodeShown) -> Vec<Publish> {
        let topic = self.topic("node", &shown.name);
        let parts = json!({
            "state": {
                "platform": "sensor",
                "name": "State",
                "icon": "mdi:server",
                "state_topic": format!("{topic}/state"),
            },
            "online": {
                "platform": "binary_sensor",
                "name": "Online",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": format!("{topic}/online"),
            },
            "drain": {
                "platform": "button",
                "name": "Drain",
                "entity_category": "config",
                "icon": "mdi:server-off",
                "command_topic": format!("{topic}/drain"),
            },
            "undrain": {
                "platform": "button",
                "name": "Undrain",
                "entity_category": "config",
                "icon": "mdi:server",
                "command_topic": format!("{topic}/undrain"),
            },
        });
        let name = format!("Jarvis node {}", shown.name);
        vec![
            self.device(
                "node",
                &shown.name,
                &name,
                "Node",
                shown.version.as_deref(),
                parts,
            ),
            retained(format!("{topic}/state"), shown.state.clone()),
            retained(format!("{topic}/online"), if shown.online { "ON" } else { "OFF" }),
        ]
    }

    /// A drill: a button to start it, and what came of it last.
    pub fn drill(&self, shown: &DrillShown) -> Vec<Publish> {
        let topic = self.topic("drill", &shown.name);
        let parts = json!({
            "run": {
                "platform": "button",
                "name": "Start",
                "entity_category": "config",
                "icon": "mdi:fire-alert",
                "command_topic": format!("{topic}/run"),
            },
            "last": {
                "platform": "sensor",
                "name": "Last result",
                "entity_category": "diagnostic",
                "state_topic": format!("{topic}/last"),
            },
        });
        let name = format!("Jarvis drill: {}", shown.title);
        let last = shown.last.clone().unwrap_or_else(|| "None".to_owned());
        vec![
            self.device("drill", &shown.name, &name, "Drill", None, parts),
            retained(format!("{topic}/last"), last),
        ]
    }

    /// A timer: when it is due, and a button to stop it.
    pub fn timer(&self, shown: &TimerShown) -> Vec<Publish> {
        let topic = self.topic("timer", &shown.id);
        let parts = json!({
            "due": {
                "platform": "sensor",
                "name": "Due",
                "device_class": "timestamp",
                "icon": "mdi:timer-outline",
                "state_topic": format!("{topic}/due"),
            },
            "cancel": {
                "platform": "button",
                "name": "Cancel",
                "command_topic": format!("{topic}/cancel"),
            },
        });
        let text = if shown.text.is_empty() {
            "Timer"
        } else {
            shown.text.as_str()
        };
        vec![
            self.device("timer", &shown.id, text, "Timer", None, parts),
            retained(format!("{topic}/due"), moment(shown.due_ms)),
        ]
    }

    /// What was asked for. None: the topic is not one of ours.
    ///
    /// # Errors
    /// Why it is not done.
    pub fn asked(&self, topic: &str, payload: &[u8], is_retained: bool) -> Option<Result<Asked, AskError>> {
        let rest = topic.strip_prefix(&self.base)?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [kind, id, what] = parts.as_slice() else {
            return None;
        };
        let known = [
            ("automation", "set"),
            ("automation", "trigger"),
            ("node", "drain"),
            ("node", "undrain"),
            ("drill", "run"),
            ("timer", "cancel"),
        ];
        if !known.contains(&(*kind, *what)) || payload.is_empty() && is_retained {
            return None;
        }
        Some(read(kind, what, id, payload, is_retained))
    }

    fn topic(&self, kind: &str, id: &str) -> String {
        format!("{}/{kind}/{}", self.base, escape(id))
    }

    /// The discovery message of a device with its parts.
    fn device(
        &self,
        kind: &str,
        id: &str,
        name: &str,
        model: &str,
        version: Option<&str>,
        mut parts: Value,
    ) -> Publish {
        let unique = format!("jarvis_{kind}_{}", escape(id));
        if let Some(parts) = parts.as_object_mut() {
            for (part, said) in parts.iter_mut() {
                said["unique_id"] = json!(format!("{unique}_{part}"));
            }
        }
        let said = json!({
            "device": {
                "identifiers": [unique],
                "name": name,
                "manufacturer": "Jarvis",
                "model": model,
                "sw_version": version.unwrap_or(&self.version),
            },
            "origin": { "name": OWN_ORIGIN, "sw_version": self.version },
            "availability_topic": self.status_topic(),
            "qos": 1,
            "components": parts,
        });
        retained(
            format!("{}/device/{unique}/config", self.discovery_prefix),
            said.to_string(),
        )
    }
}

/// The messages that bring a broker from what was shown before to what is shown now: what changed, and what is gone as empty
/// retained messages, which take it away.
pub fn difference(before: &[Publish], after: &[Publish]) -> Vec<Publish> {
    let old: BTreeMap<&str, &Publish> = before.iter().map(|one| (one.topic.as_str(), one)).collect();
    let new: BTreeMap<&str, &Publish> = after.iter().map(|one| (one.topic.as_str(), one)).collect();
    // Discovery goes first, so that Home Assistant does not keep states that it cannot place.
    let gone = before.iter().filter(|one| !new.contains_key(one.topic.as_str()));
    let mut out: Vec<Publish> = gone.map(|one| retained(one.topic.clone(), "")).collect();
    out.extend(
        after
            .iter()
            .filter(|one| old.get(one.topic.as_str()) != Some(one))
            .cloned(),
    );
    out
}

/// The messages that take away what these showed.
pub fn removal(shown: &[Publish]) -> Vec<Publish> {
    difference(shown, &[])
}

fn read(kind: &str, what: &str, id: &str, payload: &[u8], is_retained: bool) -> Result<Asked, AskError> {
    if is_retained {
        return Err(AskError::Retained);
    }
    let id = unescape(id).ok_or(AskError::Id)?;
    let given = || quoted(&String::from_utf8_lossy(&payload[..payload.len().min(256)]));
    if (kind, what) == ("automation", "set") {
        return match payload {
            b"ON" => Ok(Asked::Enable {
                automation: id,
                on: true,
            }),
            b"OFF" => Ok(Asked::Enable {
                automation: id,
                on: false,
            }),
            _ => Err(AskError::Payload {
                given: given(),
                wanted: "ON or OFF",
            }),
        };
    }
    if payload != b"PRESS" {
        return Err(AskError::Payload {
            given: given(),
            wanted: "PRESS",
        });
    }
    Ok(match (kind, what) {
        ("automation", _) => Asked::Trigger { automation: id },
        ("node", "drain") => Asked::Drain { node: id },
        ("node", _) => Asked::Undrain { node: id },
        ("drill", _) => Asked::Drill { name: id },
        _ => Asked::Cancel { timer: id },
    })
}

fn retained(topic: String, payload: impl Into<String>) -> Publish {
    Publish {
        topic,
        payload: payload.into(),
        qos: 1,
        retain: true,
        entity: None,
    }
}

/// An id as a level of a topic and an id of discovery: letters, digits and underscores as they are, other bytes as `-` and two
/// hexadecimal digits.
fn escape(id: &str) -> String {
    id.bytes().fold(String::with_capacity(id.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("-{byte:02x}"));
        }
        out
    })
}

fn unescape(level: &str) -> Option<String> {
    if level.is_empty() || level.len() > 3 * MAX_ID_BYTES || !level.is_ascii() {
        return None;
    }
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level;
    while let Some(first) = rest.chars().next() {
        if first == '-' {
            let code = rest.get(1..3)?;
            // A sign is no digit, though numbers may have one.
            if !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &rest[3..];
        } else {
            bytes.push(first as u8);
            rest = &rest[1..];
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|id| id.len() <= MAX_ID_BYTES)
}
