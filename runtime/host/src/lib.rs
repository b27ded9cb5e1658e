//! What a node takes from the machine it runs on: wall clock, randomness, tasks, logs and metrics. The one place each.
//!
//! Everything above is handed these as arguments, so that many nodes can live in one process, under a clock and a
//! randomness of the test's choosing. `clippy.toml` forbids the direct way.
mod clock;
mod entropy;
pub mod faults;
mod tasks;
pub mod telemetry;

pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy, new_ulid, random_token};
pub use faults::{Fault, FaultId, Faults, FaultyClock, FaultyPeers, NetworkFault};
pub use tasks::{StopReport, Tasks};
