//! The replicated state machine. PURE: no clock, no randomness, no task, no socket, no file, no map-order.
//!
//! ```text
//!  command ──► apply(meta, command) ──► (reply | refusal, changes)
//!                    │  reads and writes
//!                    ▼
//!              tables: ordered key ranges behind `storage::{Read, Write}`
//! ```
//!
//! Time and ids come in the command; ledger time never runs backwards. Whoever applies the same commands in the same
//! order has the same tables, byte for byte.
//!
//! - [`command`]: what may be proposed. Append only: variants and fields are promises to disk and wire.
//! - [`reply`]: what a command gives back, or why it is refused.
//! - [`rows`]: what the tables hold.
//! - [`change`]: what others learn of by watching the applied log.
//! - [`keys`], [`row_codec`]: how rows stand in the tables as bytes.
//! - [`storage`]: the trait that stores implement, [`memory`] the one that holds all in memory.
//! - [`mod@apply`]: the machine itself; [`query`]: typed reads of what it wrote.
//! - [`raft_meta`]: the replica's own rows, which change in the same batches and are no part of the state.
//! - [`snapshot`]: all rows as chunks and back; [`conformance`]: what every store must do.
//! - [`level`]: which of all this a cluster may use while some of its nodes run an earlier build.
//! - [`planner`]: where partitions should be, and who should vote.

pub mod apply;
pub mod change;
pub mod command;
pub mod conformance;
pub mod keys;
pub mod level;
pub mod memory;
pub mod planner;
mod proposal_codec;
pub mod query;
pub mod raft_meta;
pub mod reply;
pub mod row_codec;
pub mod rows;
pub mod snapshot;
pub mod storage;

pub use apply::{Applied, apply};
pub use level::LEVEL;
pub use memory::MemoryStore;
pub use proposal_codec::ProposalError;
pub use query::Query;
