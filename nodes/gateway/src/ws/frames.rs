//! Reading what a client sends: text to frame, or what is wrong with it.

use jarvis_types::chat::{ClientFrame, ErrorCode, ServerFrame};
use serde_json::Value;

/// Longest message about a bad frame, in characters: it may quote what was sent.
const MAX_COMPLAINT_CHARS: usize = 200;

/// Longest id that is sent back with a complaint, in bytes.
const MAX_ECHOED_ID_BYTES: usize = 128;

/// A frame that is none of this protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// What is wrong with it.
    pub(crate) message: String,
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
}

impl BadFrame {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            id: None,
        }
    }

    /// About the message of this id.
    pub(crate) fn about(id: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            id: echoed(id),
        }
    }
}

/// An id as it is sent back, unless it is too long for that.
pub(crate) fn echoed(id: &str) -> Option<String> {
    (id.len() <= MAX_ECHOED_ID_BYTES).then(|| id.to_owned())
}

impl From<BadFrame> for ServerFrame {
    fn from(bad: BadFrame) -> Self {
        ServerFrame::Error {
            code: ErrorCode::BadFrame,
            message: bad.message,
            id: bad.id,
            retry_after_ms: None,
        }
    }
}

/// An error that is about no message in particular.
pub(crate) fn error(code: ErrorCode, message: impl Into<String>) -> ServerFrame {
    ServerFrame::Error {
        code,
        message: message.into(),
        id: None,
        retry_after_ms: None,
    }
}

/// Reads one text frame.
pub(crate) fn parse(text: &str) -> Result<ClientFrame, BadFrame> {
    serde_json::from_str(text).map_err(|error| explain(text, &error))
}

/// Finds better words than the parser's, off the path that good frames take.
#[cold]
fn explain(text: &str, error: &serde_json::Error) -> BadFrame {
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => return BadFrame::new(shorten(format!("not JSON: {error}"))),
    };
    let Some(object) = value.as_object() else {
        return BadFrame::new("a frame is one JSON object");
    };
    let id = object.get("id").and_then(Value::as_str).and_then(echoed);
    let message = match object.get("type") {
        None => "the frame has no `type`".to_owned(),
        Some(Value::String(kind)) if !["hello", "say", "cancel", "ping"].contains(&kind.as_str()) => {
            format!("unknown type {kind:?}: expected hello, say, cancel or ping")
        }
        Some(Value::String(kind)) => format!("malformed {kind}: {error}"),
        Some(_) => "`type` is not a string".to_owned(),
    };
    BadFrame {
        message: shorten(message),
        id,
    }
}

fn shorten(message: String) -> String {
    if message.chars().count() <= MAX_COMPLAINT_CHARS {
        return message;
    }
    message.chars().take(MAX_COMPLAINT_CHARS).chain(['…']).collect()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_frames_are_named() {
        let message = |text: &str| parse(text).expect_err("is bad").message;
        assert!(message("hello").starts_with("not JSON: "));
        assert!(message("").starts_with("not JSON: "));
        assert_eq!(message("[1]"), "a frame is one JSON object");
        assert_eq!(message(r#"{"id":"x"}"#), "the frame has no `type`");
        assert_eq!(message(r#"{"type":3}"#), "`type` is not a string");
        assert!(message(r#"{"type":"shout"}"#).contains("unknown type \"shout\""));
        assert!(message(r#"{"type":"say","id":"x"}"#).contains("missing field `text`"));
        assert!(message(r#"{"type":"hello","after":-1}"#).starts_with("malformed hello: "));
        assert!(
            message(&format!(r#"{{"type":"{}"}}"#, "x".repeat(9_000)))
                .chars()
                .count()
                <= 201
        );
        assert!(
            message(&"[".repeat(60_000)).starts_with("not JSON: "),
            "depth is bounded"
        );
        assert_eq!(
            parse(r#"{"type":"say","id":"x"}"#).expect_err("is bad").id,
            Some("x".to_owned())
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_the_ping_keeps_its_t() {
        let ping = parse(r#"{"type":"ping","t":{"a":[1,null]},"x":1}"#).expect("reads");
        assert_eq!(
            ping,
            ClientFrame::Ping {
                t: serde_json::json!({"a": [1, null]})
            }
        );
        assert!(parse(r#"{"type":"hello","token":null,"session":null,"after":null}"#).is_ok());
    }
}
