//! The chat socket: `GET /ws`, subprotocol `jarvis.v1`.
//!
//! ```text
//!  upgrade (limits, credential, origin) ──► socket task ──► hello ──► welcome ──► live: reads, feed, says, pings
//!                                              ▲
//!                                   registry: drain, recheck, close
//! ```
//!
//! One task a socket, and no queue towards the client: what comes from the feed waits in the feed while a frame is on
//! its way, and a client that does not read for the write deadline is disconnected.
pub(crate) mod frames;
pub(crate) mod live;
pub(crate) mod registry;
pub(crate) mod say;
pub(crate) mod socket;
pub(crate) mod upgrade;
