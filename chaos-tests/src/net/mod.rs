//! Machines of our own, as far as the network can tell.
//!
//! ```text
//!   jarvis-load ──► setpriv ──► unshare ──► jarvis-load, as process 1 of namespaces of its own
//!                                             │ hub 10.77.0.254, a bridge: the clients are here
//!                                  ┌──────────┼──────────┐
//!                                machine 1  machine 2  machine 3     10.77.0.N, one node each
//! ```
//!
//! Everything lives in namespaces that end with the process that made them: whatever ends the tool, a key, a panic or
//! SIGKILL, leaves no process, no interface and no rule behind. [`enter`] leads inside; [`Weather`] says what is done to
//! packets, and is put in force on the receiving side, so that no sender is told.

mod inside;
mod lan;
mod weather;

pub use self::inside::{INTERRUPTED, Way, enter, interrupted, is_inside, possible};
pub use self::lan::{Lan, address};
pub use self::weather::{Place, Weather};
