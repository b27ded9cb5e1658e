//! QUIC between nodes: identity, peers, lanes.
//!
//! ```text
//!  callers ── call/cast(lane, service, order) ──► Mesh ── one QUIC connection a pair ──► peer's Mesh ──► Handler
//!                                                  │  raft │ snapshot │ actors ×N │ audio │ control
//!                                                  └─ join endpoint (ALPN of its own): no client certificate
//! ```
//!
//! - [`api`]: what others use: [`Mesh`](api::Mesh), calls, streams, handlers, peers.
pub mod api;
