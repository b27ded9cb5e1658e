//! The OpenAI-compatible protocol: `POST /v1/chat/completions`, answered by server-sent events.

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Heard, messages};
use super::{Prompt, ResponderError};

/// Where it is, below the endpoint's address.
pub(super) const PATH: &str = "/v1/chat/completions";

/// What the answer's content type must be.
pub(super) const CONTENT_TYPES: &[&str] = &["text/event-stream"];

pub(super) fn request(model: &str, system: &str, prompt: &Prompt) -> Value {
    json!({ "model": model, "stream": true, "messages": messages(system, prompt) })
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Part,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Part {
    content: Option<String>,
}

/// What a line of the stream says.
pub(super) fn read(line: &str) -> Result<Heard, ResponderError> {
    let Some(data) = line.strip_prefix("data:") else {
        // Comments, other fields and the empty lines between events.
        return Ok(Heard::Nothing);
    };
    let data = data.trim();
    if data == "[DONE]" {
        return Ok(Heard::End);
    }
    let chunk: Chunk = serde_json::from_str(data).map_err(|e| ResponderError::Malformed(e.to_string()))?;
    if let Some(error) = chunk.error {
        return Err(ResponderError::Reported(super::http::error_text(&error)));
    }
    let Some(choice) = chunk.choices.into_iter().next() else {
        return Ok(Heard::Nothing);
    };
    let finished = choice.finish_reason.is_some();
    Ok(match choice.delta.content {
        Some(text) if finished => Heard::LastText(text),
        Some(text) => Heard::Text(text),
        None if finished => Heard::LastText(String::new()),
        None => Heard::Alive,
    })
}
