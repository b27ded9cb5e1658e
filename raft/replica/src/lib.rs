//! openraft around the machine: log store, table store, network, proposals, reads, watches.
//!
//! ```text
//!  callers ─► Replica ─► proposals / read rounds ─► openraft ─► log (redb, synced) ─► majority ─► machine ─► tables (redb)
//!                                                     │ ▲                                            │
//!                                                     ▼ │                                            └─► changes, state
//!                                                 the other replicas, over the mesh
//! ```
//!
//! - [`api`]: what others use: [`Replica`](api::Replica), views, watches.
//! - [`config`], [`error`]: how one is started, and why it does not.
//! - [`transport`]: what it asks of the network; [`testing`] has one in memory.
//! - `log`, `state`: the two stores; `snapshot`: from one node's tables to another's.
//! - `compaction`: how much of the log is kept.
//! - `intake`: what a leader takes into the log, and with which time.
//! - `proposer`, `forward`, `reads`, `server`, `network`: both sides of every exchange between replicas.
//! - `cluster_time`: what the voters' clocks agree on. `report`: what members tell one another of disk, clock and log.
//! - `upkeep`: log marks and ledger time, kept by the leader.
//! - `heartbeat`: the leader's word while the disk is slow.
//! - [`recover`]: a cluster from what one node has, when the majority is gone.
//! - `leadership`: who leads. `members`, `autopilot`, `absence`, `notes`: who votes, and what to tell of it.
mod absence;
pub mod api;
mod autopilot;
mod cluster_time;
mod compaction;
pub mod config;
pub mod error;
mod files;
mod forward;
mod heartbeat;
mod intake;
mod leadership;
mod log;
mod members;
mod metrics;
mod network;
mod notes;
mod pilot;
mod proposer;
mod reads;
pub mod recover;
mod renewal;
mod replica;
mod report;
mod server;
pub mod simulated;
mod snapshot;
mod stand;
mod state;
pub mod testing;
mod threads;
pub mod transport;
mod types;
mod upkeep;

pub use api::{Applied, ProposeError, ProposeOptions, ReadError, Replica, ReplicaState, View};
pub use cluster_time::MAX_CLOCK_LEAD_MS;
pub use config::{MemoryDisk, RaftTimers, ReplicaConfig, ReplicaDeps, StoreChoice};
pub use error::StartError;
pub use log::{MemoryLog, SyncTime};
pub use notes::Note;
pub use proposer::MAX_PROPOSALS;
