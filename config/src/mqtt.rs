//! `[mqtt]`: the home's broker. A password is never shown, and never part of the address.

use std::time::Duration;

use serde::Serialize;
use url::Url;

use crate::document::Raw;
use crate::reader::Reader;
use crate::reference::{Reference, Target};
use crate::settings::{DAY, MINUTE, set};
use crate::value::{Secret, serialize_duration};

const PLAIN_SCHEME: &str = "mqtt";
const TLS_SCHEME: &str = "mqtts";
const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
/// Most topics to begin with. What devices announce is subscribed to besides.
const MAX_TOPICS: usize = 256;
/// Longest topic or filter that the protocol can carry.
const MAX_TOPIC_BYTES: usize = 65_535;
/// Longest client id. Brokers must take 23 bytes, and all in use take far more.
const MAX_CLIENT_ID_CHARS: usize = 128;
const URL_EXPECTED: &str = "expected an address such as \"mqtt://user@host:1883\" or \"mqtts://host:8883\"";

/// The home's MQTT broker. Without an address there is no bridge to one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MqttSettings {
    /// `mqtt://user@host:1883`, or `mqtts://` for TLS; none: no broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The password itself; better in a file or a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The authorities that may vouch for the broker, PEM; none: the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// This cluster's certificate for the broker, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<String>,
    /// Its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The name of the one session that all nodes share. Two clusters at one broker need two.
    pub client_id: String,
    /// What is subscribed to from the start.
    pub topics: Vec<String>,
    /// How long the broker keeps the session while no node is there (MQTT 5; 3.1.1 knows no end).
    #[serde(serialize_with = "serialize_duration")]
    pub session_expiry: Duration,
    /// Most messages under way that are not acknowledged yet, each way.
    pub receive_maximum: u64,
    /// Messages a second that are taken in; the broker keeps the rest. 0: no limit.
    pub messages_per_second: u64,
    /// Largest packet that is taken, in KiB.
    pub max_packet_kib: u64,
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            client_id: "jarvis".to_owned(),
            topics: ["homeassistant/#", "zigbee2mqtt/#", "tele/#", "stat/#"]
                .map(str::to_owned)
                .to_vec(),
            session_expiry: DAY,
            receive_maximum: 100,
            messages_per_second: 2_000,
            max_packet_kib: 4_096,
        }
    }
}

/// What an address of a broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttAddress {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who logs in; none: nobody in particular.
    pub user: Option<String>,
}

impl MqttAddress {
    /// Reads `mqtt://user@host:port`. The error never repeats the text, which may hold a password.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("{URL_EXPECTED}: {error}"))?;
        let tls = match url.scheme() {
            PLAIN_SCHEME => false,
            TLS_SCHEME => true,
            "ws" | "wss" | "http" | "https" => {
                return Err(format!("{URL_EXPECTED}: MQTT over WebSocket is not spoken"));
            }
            _ => return Err(URL_EXPECTED.to_owned()),
        };
        if url.password().is_some() {
            return Err(
                "a password in an address ends up in histories and logs; leave it out and set password_file \
                 or JARVIS_MQTT__PASSWORD"
                    .to_owned(),
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{URL_EXPECTED}, with nothing after the port"));
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port().unwrap_or(if tls { TLS_PORT } else { PLAIN_PORT });
        if host.is_empty() || port == 0 {
            return Err(URL_EXPECTED.to_owned());
        }
        let user = match url.username() {
            "" => None,
            encoded => Some(percent_decoded(encoded).ok_or("the user in the address is not UTF-8")?),
        };
        Ok(Self {
            tls,
            host,
            port,
            user,
        })
    }
}

/// Takes `%40` and its kind apart; none where that gives no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// Whether `text` is a topic filter: `+` and `#` stand alone between slashes, `#` last.
fn is_filter(text: &str) -> bool {
    let mut levels = text.split('/').rev();
    let last_fits = levels
        .next()
        .is_some_and(|last| last.len() == 1 || !last.contains(['+', '#']));
    let others_fit = levels.all(|level| level == "+" || !level.contains(['+', '#']));
    !text.is_empty() && text.len() <= MAX_TOPIC_BYTES && !text.contains('\0') && last_fits && others_fit
}

impl MqttSettings {
    /// The address, taken apart; none without one. What [`crate::load`] gave is right already.
    pub fn address(&self) -> Option<Result<MqttAddress, String>> {
        self.url.as_deref().map(MqttAddress::parse)
    }

    pub(crate) fn read(&mut self, from: &mut Reader<'_>, references: &mut Vec<Reference>) {
        let text = |raw: &Raw| match raw {
            Raw::Text(text) | Raw::String(text) => Some(text.trim().to_owned()),
            _ => None,
        };
        self.url = from.take_unshown("url", |raw| {
            let url = text(raw).ok_or_else(|| URL_EXPECTED.to_owned())?;
            MqttAddress::parse(&url).map(|_| url)
        });
        self.password = from.take_unshown("password", |raw| match raw {
            Raw::Text(text) | Raw::String(text) if !text.is_empty() => Ok(Secret::new(text.clone())),
            _ => Err("expected a password in quotes".to_owned()),
        });
        let mut file = |key: &'static str| {
            let place = (from.origin(key), from.full_key(key));
            let path = from.text(key, "the path of a file");
            if let ((Some(origin), key), Some(path)) = (place, &path) {
                let target = Target::File(path.into());
                references.push(Reference { origin, key, target });
            }
            path
        };
        self.password_file = file("password_file");
        self.ca_file = file("ca_file");
        self.certificate_file = file("certificate_file");
        self.key_file = file("key_file");
        let expected = format!("a name of 1 to {MAX_CLIENT_ID_CHARS} characters");
        let client_id = from.text_that("client_id", &expected, |id| {
            (1..=MAX_CLIENT_ID_CHARS).contains(&id.chars().count()) && !id.chars().any(char::is_control)
        });
        set(&mut self.client_id, client_id);
        let expected = format!("a list of at most {MAX_TOPICS} topic filters such as [\"zigbee2mqtt/#\"]");
        let topics = from.texts_that("topics", &expected, |topics| {
            topics.len() <= MAX_TOPICS && topics.iter().all(|topic| is_filter(topic))
        });
        set(&mut self.topics, topics);
        set(
            &mut self.session_expiry,
            from.duration("session_expiry", MINUTE, 365 * DAY),
        );
        set(
            &mut self.receive_maximum,
            from.number("receive_maximum", 1, 1_000),
        );
        set(
            &mut self.messages_per_second,
            from.number("messages_per_second", 0, 1_000_000),
        );
        set(&mut self.max_packet_kib, from.number("max_packet_kib", 1, 16_384));
        self.check_whole(from);
    }

    /// What no single key says.
    fn check_whole(&self, from: &mut Reader<'_>) {
        let address = self.url.as_deref().and_then(|url| MqttAddress::parse(url).ok());
        if self.password.is_some() && self.password_file.is_some() {
            from.complain("password", "only one of password and password_file may be set");
        }
        let has_password = self.password.is_some() || self.password_file.is_some();
        if has_password && address.as_ref().is_some_and(|address| address.user.is_none()) {
            from.complain("password", "a password needs a user: url = \"mqtt://USER@host\"");
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            from.complain(
                "certificate_file",
                "certificate_file and key_file belong together",
            );
        }
        let has_files = self.ca_file.is_some() || self.certificate_file.is_some();
        if has_files && address.is_some_and(|address| !address.tls) {
            from.complain("ca_file", "certificates are for TLS: url = \"mqtts://…\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parse = |text: &str| MqttAddress::parse(text).map(|a| (a.tls, a.host, a.port, a.user));
        let user = |name: &str| Some(name.to_owned());
        assert_eq!(
            parse("mqtt://ha@broker.lan:1884"),
            Ok((false, "broker.lan".to_owned(), 1884, user("ha")))
        );
        assert_eq!(
            parse("mqtts://[fd00::1]"),
            Ok((true, "fd00::1".to_owned(), 8883, None))
        );
        assert_eq!(
            parse(" mqtt://a%40b%25@10.0.0.1/ "),
            Ok((false, "10.0.0.1".to_owned(), 1883, user("a@b%")))
        );
        for bad in [
            "",
            "mqtt://",
            "mqtt:host",
            "tcp://h",
            "wss://h/mqtt",
            "mqtt://h:0",
            "mqtt://h/x",
            "mqtt://%ff@h",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let refused = parse("mqtt://ha:hunter2@broker.lan").expect_err("a password is refused");
        assert!(refused.contains("JARVIS_MQTT__PASSWORD") && !refused.contains("hunter2"));
    }

    #[test]
    fn filters_are_told_from_what_is_none() {
        for good in [
            "#",
            "+",
            "a/b",
            "a/+/b/#",
            "/",
            "homeassistant/+/+/config",
            "$SYS/#",
        ] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "a#", "#/a", "a+/b", "a/#/b", "a\0b"] {
            assert!(!is_filter(bad), "{bad:?}");
        }
    }
}
