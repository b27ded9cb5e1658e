//! Clusters of real processes under load and faults, and a checker that trusts nobody.
//!
//! Nothing here uses the product's own client: the frames are read and written as INTERFACES has them, so that what the
//! product promises to programs that others wrote is what is checked.
//!
//! - [`cluster`]: a `jarvis up` of its own, on ports that the system chose, with its processes at hand.
//! - [`chat`]: a bare client of the chat socket. [`talker`]: one that talks without end and reconnects.
//! - [`history`]: what talkers saw. [`laws`]: what must hold of it, one file each.
//! - [`faults`]: kills, by pid. [`gaps`]: how long a client was without answers. [`storm`]: all of it together.
pub mod about;
pub mod bench;
pub mod bench_calls;
pub mod chat;
pub mod cluster;
pub mod crowd;
pub mod faults;
pub mod gaps;
pub mod history;
pub mod home;
pub mod laws;
pub mod measure;
pub mod net;
pub mod report;
pub mod storm;
pub mod talker;
