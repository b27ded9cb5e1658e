//! Speaks to a cluster from outside: the HTTP API, the chat socket, and a check of what the chat socket promised.
//!
//! Used by the command line, by drills and by load tests. Knows only what INTERFACES promises, nothing of a node's
//! inside.
//!
//! - [`Api`]: one HTTP call after the other, errors told as what failed and why.
//! - [`ChatClient`]: a conversation that outlives sockets and nodes: reconnects, resumes, says again what was not
//!   confirmed.
//! - [`conversation`]: the deciding part of it, pure.
//! - [`history`]: whether what was seen keeps the transcript's law.
mod chat;
pub mod conversation;
pub mod history;
mod http;

pub use chat::{ChatClient, ChatError, ChatEvent, ChatOptions};
pub use http::{Api, ApiError};
