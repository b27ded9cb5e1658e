//! A language model behind HTTP: sends the conversation, reads the streamed reply, keeps the deadlines.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::lines::LineBuffer;
use super::{DeltaSink, Finished, Prompt, Responder, ResponderError, SinkError, ollama, openai};
use crate::settings::{EndpointSettings, Protocol};

/// Most bytes of one reply's stream: the longest reply, a hundred bytes of wrapping around each character.
const MAX_STREAM_BYTES: usize = 8 * 1024 * 1024;

/// How much of an endpoint's words goes into our logs, in characters.
const MAX_ERROR_CHARS: usize = 200;

/// What a line of a stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing of meaning.
    Nothing,
    /// The model is at work, without text.
    Alive,
    /// The next part.
    Text(String),
    /// The last part; what follows does not matter.
    LastText(String),
    /// The end.
    End,
}

/// A language model.
pub struct Model {
    settings: EndpointSettings,
    system: String,
    url: Url,
    client: Client,
}

impl Model {
    /// A model behind `settings`, told `system` before each conversation. `tls` says which certificates are believed.
    ///
    /// # Errors
    /// Words about what is wrong with the settings.
    pub fn new(settings: EndpointSettings, system: String, tls: &ClientConfig) -> Result<Self, String> {
        let path = match settings.protocol {
            Protocol::OpenAi => openai::PATH,
            Protocol::Ollama => ollama::PATH,
        };
        let url = address(&settings.url, path)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(settings.deadlines.connect)
            // The key must not follow a redirect to somewhere else, and a proxy of the environment is not ours.
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(4)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            settings,
            system,
            url,
            client,
        })
    }

    async fn send(&self, prompt: &Prompt) -> Result<Response, ResponderError> {
        let (body, accept) = match self.settings.protocol {
            Protocol::OpenAi => (
                openai::request(&self.settings.model, &self.system, prompt),
                openai::CONTENT_TYPES,
            ),
            Protocol::Ollama => (
                ollama::request(&self.settings.model, &self.system, prompt),
                ollama::CONTENT_TYPES,
            ),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(ACCEPT, accept[0])
            .json(&body);
        if let Some(key) = &self.settings.api_key {
            request = request.bearer_auth(key.reveal());
        }
        let response = request.send().await.map_err(|e| connection(&e))?;
        let status = response.status();
        if !status.is_success() {
            let header = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let retry_after = header
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs);
            return Err(ResponderError::Status {
                status: status.as_u16(),
                retry_after,
            });
        }
        // A missing content type is a fault of some small servers, and harmless.
        if let Some(kind) = response.headers().get(CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default();
            let plain = kind
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if !accept.contains(&plain.as_str()) {
                return Err(ResponderError::ContentType(shortened(kind)));
            }
        }
        Ok(response)
    }

    fn read(&self, line: &str) -> Result<Heard, ResponderError> {
        match self.settings.protocol {
            Protocol::OpenAi => openai::read(line),
            Protocol::Ollama => ollama::read(line),
        }
    }

    async fn stream(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<(), ResponderError> {
        let mut clock = Deadline::start(&self.settings);
        let mut response = clock.within(self.send(prompt)).await??;
        let mut lines = LineBuffer::default();
        let mut bytes = 0;
        loop {
            let chunk = clock
                .within(response.chunk())
                .await?
                .map_err(|e| connection(&e))?;
            let Some(chunk) = chunk else { break };
            bytes += chunk.len();
            if bytes > MAX_STREAM_BYTES {
                return Err(ResponderError::Malformed(format!(
                    "more than {MAX_STREAM_BYTES} bytes"
                )));
            }
            lines.push(&chunk);
            while let Some(line) = lines.next_line()? {
                if self.take(&line, sink, &mut clock).await? {
                    return finished(sink);
                }
            }
        }
        let line = lines.last_line()?;
        if !line.is_empty() && self.take(&line, sink, &mut clock).await? {
            return finished(sink);
        }
        Err(ResponderError::Truncated)
    }

    /// Takes one line; true when the reply is finished.
    async fn take(
        &self,
        line: &str,
        sink: &mut DeltaSink,
        clock: &mut Deadline,
    ) -> Result<bool, ResponderError> {
        let (text, last) = match self.read(line)? {
            Heard::Nothing => return Ok(false),
            Heard::Alive => {
                clock.alive();
                return Ok(false);
            }
            Heard::Text(text) => (text, false),
            Heard::LastText(text) => (text, true),
            Heard::End => (String::new(), true),
        };
        if !text.is_empty() {
            clock.text();
        }
        match sink.push(&text).await {
            Ok(()) => Ok(last),
            Err(SinkError::Full) => Ok(true),
            Err(SinkError::Closed) => Err(ResponderError::Unwanted),
        }
    }
}

#[async_trait]
impl Responder for Model {
    fn name(&self) -> &str {
        &self.settings.name
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        self.stream(prompt, sink).await?;
        Ok(Finished {
            responder: self.settings.name.clone(),
        })
    }
}

/// What TLS connections to endpoints believe: the machine's certificates, read only if some endpoint needs them.
///
/// # Errors
/// Words about what the provider does not support.
pub(super) fn tls_config(endpoints: &[EndpointSettings]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if endpoints
        .iter()
        .any(|endpoint| endpoint.url.starts_with("https:"))
    {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of this machine could not be read");
        }
        let (taken, refused) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(taken, refused, "loaded the machine's certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The conversation in the form that both protocols share.
pub(super) fn messages(system: &str, prompt: &Prompt) -> Vec<Value> {
    let mut messages = Vec::with_capacity(prompt.history.len() + 2);
    if !system.is_empty() {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for line in &prompt.history {
        let role = if line.by_jarvis { "assistant" } else { "user" };
        messages.push(json!({ "role": role, "content": line.text }));
    }
    messages.push(json!({ "role": "user", "content": prompt.text }));
    messages
}

/// The words of an error object, however it is shaped.
pub(super) fn error_text(error: &Value) -> String {
    let words = error
        .as_str()
        .or_else(|| error.get("message").and_then(Value::as_str));
    shortened(words.unwrap_or("an error without words"))
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_ERROR_CHARS).collect()
}

/// The innermost cause says what happened; the outer ones repeat the address.
fn connection(error: &reqwest::Error) -> ResponderError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    ResponderError::Connection(shortened(&cause.to_string()))
}

fn finished(sink: &DeltaSink) -> Result<(), ResponderError> {
    if sink.text().trim().is_empty() {
        Err(ResponderError::Empty)
    } else {
        Ok(())
    }
}

/// The endpoint's address with the protocol's path: people write it with and without.
fn address(given: &str, path: &str) -> Result<Url, String> {
    let mut url = Url::parse(given).map_err(|e| format!("{given:?} is not an address: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("{given:?} is not an http or https address"));
    }
    let base = url.path().trim_end_matches('/').to_owned();
    // The longest end of the address that is a beginning of the path is not repeated.
    let overlap = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()])
        .rfind(|&at| base.ends_with(&path[..at]));
    url.set_path(&format!("{base}{}", &path[overlap.unwrap_or(0)..]));
    Ok(url)
}

/// Which deadline is next, and which one it was that passed.
struct Deadline {
    first: Duration,
    between: Duration,
    whole: Duration,
    whole_at: Instant,
    next_at: Instant,
    begun: bool,
}

impl Deadline {
    fn start(settings: &EndpointSettings) -> Self {
        let (now, limits) = (Instant::now(), settings.deadlines);
        Self {
            first: limits.first_token,
            between: limits.between_tokens,
            whole: limits.whole,
            whole_at: now + limits.whole,
            next_at: now + limits.first_token,
            begun: false,
        }
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, ResponderError> {
        timeout_at(self.next_at.min(self.whole_at), work)
            .await
            .map_err(|_| {
                if self.whole_at <= self.next_at {
                    ResponderError::TooSlow(self.whole)
                } else if self.begun {
                    ResponderError::Stalled(self.between)
                } else {
                    ResponderError::FirstTokenLate(self.first)
                }
            })
    }

    fn text(&mut self) {
        self.begun = true;
        self.next_at = Instant::now() + self.between;
    }

    /// A sign of life keeps a reply going that has begun, but does not put off the first part.
    fn alive(&mut self) {
        if self.begun {
            self.text();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed() {
        for (given, path, expected) in [
            ("http://nas:11434", ollama::PATH, "http://nas:11434/api/chat"),
            ("http://nas:11434/", ollama::PATH, "http://nas:11434/api/chat"),
            ("http://nas:11434/api", ollama::PATH, "http://nas:11434/api/chat"),
            (
                "https://x.org/v1",
                openai::PATH,
                "https://x.org/v1/chat/completions",
            ),
            (
                "https://x.org/v1/chat/completions",
                openai::PATH,
                "https://x.org/v1/chat/completions",
            ),
            (
                "https://x.org/openai/",
                openai::PATH,
                "https://x.org/openai/v1/chat/completions",
            ),
        ] {
            assert_eq!(
                address(given, path).map(String::from),
                Ok(expected.to_owned()),
                "{given}"
            );
        }
        for bad in ["", "nas:11434", "ftp://nas", "http://"] {
            assert!(address(bad, openai::PATH).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_of_both_protocols() {
        let text = |t: &str| Ok(Heard::Text(t.to_owned()));
        let last = |t: &str| Ok(Heard::LastText(t.to_owned()));
        for (line, heard) in [
            ("", Ok(Heard::Nothing)),
            (": keep-alive", Ok(Heard::Nothing)),
            ("event: x", Ok(Heard::Nothing)),
            ("data: [DONE]", Ok(Heard::End)),
            (r#"data: {"choices":[{"delta":{"content":"hé"}}]}"#, text("hé")),
            (
                r#"data:{"choices":[{"delta":{"role":"assistant"}}]}"#,
                Ok(Heard::Alive),
            ),
            (
                r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
                last(""),
            ),
            (r#"data: {"choices":[],"usage":{}}"#, Ok(Heard::Nothing)),
            (
                r#"data: {"error":{"message":"no"}}"#,
                Err(ResponderError::Reported("no".into())),
            ),
        ] {
            assert_eq!(openai::read(line), heard, "{line}");
        }
        for (line, heard) in [
            ("", Ok(Heard::Nothing)),
            (
                r#"{"message":{"role":"assistant","content":"hé"},"done":false}"#,
                text("hé"),
            ),
            (
                r#"{"message":{"role":"assistant","content":""},"done":true}"#,
                last(""),
            ),
            (r#"{"error":"no"}"#, Err(ResponderError::Reported("no".into()))),
        ] {
            assert_eq!(ollama::read(line), heard, "{line}");
        }
        assert!(openai::read("data: {\"choi").is_err());
        assert!(ollama::read("garbage").is_err());
    }
}
