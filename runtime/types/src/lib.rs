//! The words every other crate speaks: ids, the codec of wire and disk, names and bounds.
//!
//! Data only. This crate knows no clock, no task, no socket and no file; `make verify` checks that it reaches none of
//! the crates that do.
//!
//! - [`ids`]: one type an id, so that a session can never be passed for a node.
//! - [`codec`]: the one place that knows bincode: size limit, version byte, checksum.
//! - [`chat`]: the frames of the chat socket, as people outside see them.
//! - [`limits`]: every bound that more than one crate must agree on.
pub mod chat;
pub mod codec;
pub mod ids;
pub mod limits;

pub use ids::{
    ClientMessageId, ClusterId, EntityId, Epoch, Incarnation, InvalidId, KindId, NodeId, NodeName,
    PartitionIndex, RequestId, Seq, SessionId, UserId, partition_of,
};
