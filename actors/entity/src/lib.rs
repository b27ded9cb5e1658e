//! The actor framework: kinds, partitions, placement, router, supervision, activation.
//!
//! ```text
//!  Router::ask(session/01J…) ─► placement map ─► own Host ──────────────► entity's mailbox (ractor)
//!                                    │                                        ▲
//!                                    └─► mesh, actors lane ─► peer's Host ────┘
//!
//!  applied log ─► placement map ─► Host: what was lost is stopped, what was gained goes on where it stood
//!  leader only: Controller: who answers? ─► planner ─► `Place` ─► applied log
//! ```
//!
//! - [`api`]: what a kind implements and what others call.
//! - [`runtime`]: puts the parts together; start here.
//! - `placement`: who owns what, as applied here. `router`: finds the owner and follows it.
//! - `host`, `shell`, `supervisor`: activation, the ractor actor around an entity, restarts and quarantine.
//! - `gains`: what was taken up with a partition, for people who ask.
//! - `controller`: the leader's loop that keeps every partition on a node that answers.
//! - `succession`: stands for election when the leader's connection is lost.
//! - `follow`: brings the map up to the applied log and tells host and leases what moved.
//! - `lease`: who may act on the world, and when.
//! - `warm`: makes a new owner ready before partitions move between nodes that live.
//! - `wire`: messages between routers and hosts.
pub mod api;
mod controller;
mod follow;
mod gains;
mod host;
mod lease;
mod letters;
pub mod metrics;
mod placement;
mod router;
pub mod runtime;
mod shell;
mod succession;
mod supervisor;
mod warm;
mod wire;
