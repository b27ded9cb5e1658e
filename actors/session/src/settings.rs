//! Settings of the responders, as plain data; the binary fills them from the configuration.

use std::fmt;
use std::time::Duration;

/// How messages are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponderSettings {
    /// Language models, in the order in which they are tried; none: only the built-in responder answers.
    pub endpoints: Vec<EndpointSettings>,
    /// How many earlier entries of the transcript a model is shown.
    pub history_entries: usize,
    /// What a model is told before the conversation.
    pub system_prompt: String,
    /// IANA name of the time zone whose time is told; none: this machine's.
    pub time_zone: Option<String>,
}

impl Default for ResponderSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            history_entries: 20,
            system_prompt:
                "You are Jarvis, the assistant of this home. Answer briefly, in the language of the question."
                    .to_owned(),
            time_zone: None,
        }
    }
}

/// What an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `POST …/v1/chat/completions` with server-sent events.
    OpenAi,
    /// `POST …/api/chat` of Ollama, one JSON object a line.
    Ollama,
}

/// A language model's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// What logs and metrics call it.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its address: the protocol's path is added where it is missing.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// How long an endpoint may take before the next one is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until it is connected.
    pub connect: Duration,
    /// From the request to the first part of the reply.
    pub first_token: Duration,
    /// From one part to the next.
    pub between_tokens: Duration,
    /// For the whole reply.
    pub whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_token: Duration::from_secs(20),
            between_tokens: Duration::from_secs(10),
            whole: Duration::from_secs(120),
        }
    }
}

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps the key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(
            format!("{:?}", Some(ApiKey::new("sk-secret"))),
            "Some(ApiKey(***))"
        );
    }
}
