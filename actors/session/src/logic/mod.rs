//! The deciding parts, pure: values in, values out. No clock, no task, no socket.
//!
//! - [`turn`]: what a session does next.
//! - [`intents`]: what the built-in responder understands.
//! - [`breaker`]: when a failing endpoint is tried again.

pub mod breaker;
pub mod intents;
pub mod turn;
