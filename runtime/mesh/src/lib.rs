//! QUIC between nodes: identity, peers, lanes.
//!
//! ```text
//!  callers ── call/cast(lane, service, order) ──► Mesh ── one QUIC connection a pair ──► peer's Mesh ──► Handler
//!                                                  │  raft │ snapshot │ actors ×N │ audio │ control
//!                                                  └─ join endpoint (ALPN of its own): no client certificate
//! ```
//!
//! - [`api`]: what others use: [`Mesh`](api::Mesh), calls, streams, handlers, peers.
//! - [`mesh`]: start, members, who is let in, end.
//! - [`identity`]: the cluster's CA and the nodes' certificates; [`store`]: their files.
//! - [`renew`]: how certificates stay young.
//! - [`transport`]: sockets and timers.
//! - [`join`]: how someone without a certificate asks to become a node.
//! - [`control`]: agents of nodes, by ractor_cluster over the control lane.
//! - [`tether`]: how a peer's crash is noticed at once; `probe`: how it is noticed besides.
//! - [`testing`]: several meshes in one process, for tests of this crate and those above.
mod accept;
pub mod api;
mod close;
pub mod control;
mod dial;
mod doors;
pub mod faulty;
mod frame;
pub mod identity;
pub mod join;
mod knock;
mod late;
mod link;
mod members;
pub mod mesh;
mod metrics;
mod outgoing;
mod probe;
pub mod renew;
pub mod store;
#[doc(hidden)]
pub mod testing;
pub mod tether;
mod tls;
pub mod transport;
