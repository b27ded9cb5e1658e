//! The chat socket's frames (`jarvis.v1`), one JSON object a text frame. Used by the gateway and by clients.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "jarvis.v1";

/// What a client sends. Ids stay text here: the gateway answers a bad one with `bad_frame`, naming the field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// First frame of a socket.
    Hello {
        /// A bearer token, where no header or cookie carries one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// The session to resume; none: a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// Everything later than this is replayed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// A message of the user's.
    Say {
        /// The client's own id: the same id again is the same message.
        id: String,
        /// What is said.
        text: String,
    },
    /// Stops the reply being written to that message.
    Cancel {
        /// The message's id.
        id: String,
    },
    /// Answered by `pong` with the same `t`.
    Ping {
        /// Anything.
        #[serde(default)]
        t: Value,
    },
}

/// Who wrote an entry of the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// Jarvis.
    Assistant,
}

/// What a client may do, told in `welcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest message, in characters; 0: unlimited but by the frame size.
    pub message_chars: u64,
    /// Messages a minute and user; 0: unlimited.
    pub messages_per_minute: u64,
    /// Largest frame, in bytes.
    pub frame_bytes: u64,
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answer to `hello`.
    Welcome {
        /// The session's id.
        session: String,
        /// Name of the node that holds this socket.
        node: String,
        /// Name of the node where the session's actor runs.
        owner: String,
        /// Epoch of that ownership.
        epoch: u64,
        /// Last entry of the transcript.
        last_seq: u64,
        /// Every gateway's socket address, this one first.
        endpoints: Vec<String>,
        /// What the client may do.
        limits: Limits,
    },
    /// A user's message, committed.
    Said {
        /// Its place in the transcript.
        seq: u64,
        /// The client's id of it.
        id: String,
        /// Always `user`.
        role: Role,
        /// What was said.
        text: String,
        /// Ledger time, Unix milliseconds.
        at: u64,
    },
    /// Part of a reply as it is written.
    Delta {
        /// The message it answers.
        reply_to: String,
        /// Characters from the reply's start.
        offset: u64,
        /// The part.
        text: String,
    },
    /// A whole reply, committed.
    Reply {
        /// Its place in the transcript.
        seq: u64,
        /// The reply's own id.
        id: String,
        /// The message it answers; none: nobody asked, Jarvis speaks up by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<String>,
        /// Always `assistant`.
        role: Role,
        /// The reply.
        text: String,
        /// Ledger time, Unix milliseconds.
        at: u64,
        /// Set when the user stopped it: the text is what was written until then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cancelled: bool,
    },
    /// The session's actor runs elsewhere; the socket stays open.
    Moved {
        /// Name of the new owner.
        owner: String,
        /// Its epoch.
        epoch: u64,
    },
    /// This gateway is going away.
    Draining {
        /// Where to go.
        endpoints: Vec<String>,
    },
    /// What could not be done, and why.
    Error {
        /// One of [`ErrorCode`].
        code: ErrorCode,
        /// For a person.
        message: String,
        /// The message it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// When trying again makes sense.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// Answer to `ping`.
    Pong {
        /// What the ping carried.
        t: Value,
    },
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No valid credential.
    Unauthorized,
    /// A valid credential that may not do this.
    Forbidden,
    /// Not a frame of this protocol.
    BadFrame,
    /// Longer than the limit.
    TooLong,
    /// More than the limit; `retry_after_ms` says when.
    RateLimited,
    /// No majority, or nobody answered in time; the same id may be sent again.
    Unavailable,
    /// No such session for this user.
    NotFound,
    /// A fault of the server's.
    Internal,
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_as_the_interface_has_them() {
        let hello: ClientFrame =
            serde_json::from_str(r#"{"type":"hello","x":1}"#).expect("unknown fields are ignored");
        assert_eq!(
            hello,
            ClientFrame::Hello {
                token: None,
                session: None,
                after: None
            }
        );
        let said = ServerFrame::Said {
            seq: 1,
            id: "a".into(),
            role: Role::User,
            text: "hi".into(),
            at: 5,
        };
        assert_eq!(
            serde_json::to_string(&said).expect("serialises"),
            r#"{"type":"said","seq":1,"id":"a","role":"user","text":"hi","at":5}"#
        );
        let told = ServerFrame::Reply {
            seq: 2,
            id: "b".into(),
            reply_to: None,
            role: Role::Assistant,
            text: "It rains.".into(),
            at: 6,
            cancelled: false,
        };
        let json = r#"{"type":"reply","seq":2,"id":"b","role":"assistant","text":"It rains.","at":6}"#;
        assert_eq!(serde_json::to_string(&told).expect("serialises"), json);
        assert_eq!(serde_json::from_str::<ServerFrame>(json).expect("is read"), told);
        let error = ServerFrame::Error {
            code: ErrorCode::Unavailable,
            message: "m".into(),
            id: None,
            retry_after_ms: Some(250),
        };
        assert_eq!(
            serde_json::to_string(&error).expect("serialises"),
            r#"{"type":"error","code":"unavailable","message":"m","retry_after_ms":250}"#
        );
    }
}
