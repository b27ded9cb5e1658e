//! HTTP, WebSocket and the web page of one node; authentication at the edge.
//!
//! ```text
//!  TcpListener ──► accept ──► http (routes, callers, problems) ──► dyn Backend ──► sessions, replica, mesh
//!                                │ GET /ws                     └──► dyn Admin ────► the node itself
//!                                └──► ws (one task a socket) ◄── watch: credentials, members
//! ```
//!
//! Nothing is kept here that must not be lost: a gateway may die at any moment, its clients go on at another.
//!
//! - [`GatewaySettings`], [`GatewayDeps`], [`Admin`]: what is handed in.
//! - [`Backend`]: what the gateway needs of the layers below; [`ClusterBackend`] is the real one.
//! - [`AutomationBackend`]: what it needs of automations, where the node has them.
//! - [`Gateway`]: start, drain, stop.
mod accept;
mod api;
mod auth;
mod automations;
mod backend;
mod gateway;
mod http;
mod limiter;
mod listen;
mod members;
mod metrics;
mod places;
mod removal;
mod shared;
mod watch;
mod ws;

#[cfg(test)]
mod tests;

pub use api::{
    Admin, AdminError, DiskWrittenPerDay, GatewayDeps, GatewaySettings, Invite, KeepTether, RenderMetrics,
    TetherKeeper,
};
pub use auth::password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, PasswordError, hash_password};
pub use auth::secret_hash;
pub use automations::{AutomationBackend, PassedOver};
pub use backend::{Backend, BackendError, ClusterBackend, ClusterView, FeedSource, KindNeeds};
pub use gateway::{Gateway, StartError};
pub use listen::{Connection, Duplex, Listen};
pub use removal::REJOIN_ADVICE;
