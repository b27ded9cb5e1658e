//! Ollama's own protocol: `POST /api/chat`, answered by one JSON object a line.

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Heard, messages};
use super::{Prompt, ResponderError};

/// Where it is, below the endpoint's address.
pub(super) const PATH: &str = "/api/chat";

/// What the answer's content type must be.
pub(super) const CONTENT_TYPES: &[&str] = &["application/x-ndjson", "application/json"];

pub(super) fn request(model: &str, system: &str, prompt: &Prompt) -> Value {
    json!({ "model": model, "stream": true, "messages": messages(system, prompt) })
}

#[derive(Deserialize)]
struct Chunk {
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
}

/// What a line of the stream says.
pub(super) fn read(line: &str) -> Result<Heard, ResponderError> {
    if line.trim().is_empty() {
        return Ok(Heard::Nothing);
    }
    let chunk: Chunk = serde_json::from_str(line).map_err(|e| ResponderError::Malformed(e.to_string()))?;
    if let Some(error) = chunk.error {
        return Err(ResponderError::Reported(super::http::error_text(&error)));
    }
    let text = chunk.message.map(|message| message.content).unwrap_or_default();
    Ok(match (chunk.done, text.is_empty()) {
        (true, _) => Heard::LastText(text),
        (false, true) => Heard::Alive,
        (false, false) => Heard::Text(text),
    })
}
