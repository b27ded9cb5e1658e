//! What writes replies: one trait, the built-in responder, language models behind HTTP, and the chain that tries them.

mod builtin;
mod chain;
mod http;
mod lines;
mod ollama;
mod openai;
mod pump;
mod sink;

use std::time::Duration;

use async_trait::async_trait;
use jarvis_types::{Seq, SessionId};

use crate::logic::intents::Facts;

pub use builtin::BuiltIn;
pub use chain::{Chain, SetUpError};
pub use http::Model;
pub(crate) use pump::pump;
pub use sink::{DeltaSink, Piece, SinkError};

/// What is to be answered.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The session.
    pub session: SessionId,
    /// The message's place in it: with the session it names the message, whoever answers it, and however often.
    pub seq: Seq,
    /// The user's message.
    pub text: String,
    /// What was said before it, oldest first.
    pub history: Vec<Line>,
    /// What is known.
    pub facts: Facts,
}

/// An earlier line of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whether Jarvis said it.
    pub by_jarvis: bool,
    /// What was said.
    pub text: String,
}

/// A reply is written; its text is in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Who wrote it.
    pub responder: String,
}

/// Writes replies.
#[async_trait]
pub trait Responder: Send + Sync + 'static {
    /// What logs and metrics call it.
    fn name(&self) -> &str;

    /// Writes the reply to `prompt` into `sink`, part by part. Dropping the future stops it.
    ///
    /// # Errors
    /// [`ResponderError`]; what is in the sink by then is no whole reply.
    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError>;
}

/// Why a responder wrote no whole reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponderError {
    /// It could not be reached, or the connection broke.
    #[error("connection: {0}")]
    Connection(String),
    /// It refused.
    #[error("it answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It answered with something else than a stream.
    #[error("it answered with content of type {0:?}")]
    ContentType(String),
    /// The first part did not come in time.
    #[error("nothing came within {0:?}")]
    FirstTokenLate(Duration),
    /// It stopped in the middle, without closing the stream.
    #[error("nothing more came within {0:?}")]
    Stalled(Duration),
    /// It went on for too long.
    #[error("the reply was not finished within {0:?}")]
    TooSlow(Duration),
    /// The stream ended before the reply did.
    #[error("the stream ended in the middle")]
    Truncated,
    /// The stream's bytes are not what the protocol says.
    #[error("malformed stream: {0}")]
    Malformed(String),
    /// It reported an error within the stream.
    #[error("it reported: {0}")]
    Reported(String),
    /// It finished without having said anything.
    #[error("the reply is empty")]
    Empty,
    /// Nobody waits for the reply.
    #[error("nobody waits for the reply")]
    Unwanted,
    /// The message is about something that it knows nothing of: another is to answer.
    #[error("the message is for another responder")]
    Passed,
}

impl ResponderError {
    /// For metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Status { .. } => "status",
            Self::ContentType(_) => "content_type",
            Self::FirstTokenLate(_) => "first_token_late",
            Self::Stalled(_) => "stalled",
            Self::TooSlow(_) => "too_slow",
            Self::Truncated => "truncated",
            Self::Malformed(_) => "malformed",
            Self::Reported(_) => "reported",
            Self::Empty => "empty",
            Self::Unwanted => "unwanted",
            Self::Passed => "passed",
        }
    }
}
