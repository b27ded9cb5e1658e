//! Chat sessions: the transcript's law, the responders, the feed that gateways read.
//!
//! ```text
//!  gateway ── Sessions::say ──► router ──► SessionEntity (on the owner) ── propose ──► replica
//!     ▲                                         │ answers by a Responder
//!     │ Feed::next                              ▼
//!     └── rows applied here ◄── Hub ◄── deltas cast to the nodes that follow
//! ```
//!
//! - [`api`]: what the gateway uses.
//! - [`entity`]: the kind and its actor, a thin shell around [`logic::turn`].
//! - [`hub`]: one a node: who follows which session, and how deltas get there.
//! - [`responder`]: what writes replies.
//! - [`settings`]: plain data for the responders.
//! - [`logic`]: what decides, pure.
pub mod api;
pub mod entity;
mod feed;
pub mod hub;
pub mod logic;
mod message;
mod metrics;
pub mod responder;
pub mod settings;
