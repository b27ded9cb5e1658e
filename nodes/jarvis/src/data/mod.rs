//! A node's data folder: who it is, that nobody else uses it, that it is fit to be used.
//!
//! ```text
//!  DATA/node.toml     identity (this module)          DATA/tls/    keys (jarvis-mesh)
//!  DATA/lock          pid of the running node         DATA/raft/   log and vote (jarvis-replica)
//!  DATA/admin.token   local administrator, 0600       DATA/state/  tables       DATA/spool/
//! ```
mod folder;
mod identity;

pub(crate) use folder::write_secret;
pub use folder::{DataError, DataFolder, LEAST_FREE_BYTES, LockedFolder};
pub use identity::{FORMAT_VERSION, KnownPeer, NodeFile};
