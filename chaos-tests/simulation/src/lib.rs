//! The whole cluster in a deterministic simulation: several whole nodes in one thread on virtual time, faults by seed, and a
//! checker that trusts nobody.
//!
//! ```text
//!             seed
//!              │
//!   faults ◄───┼───► people: talkers (chat sockets), callers, operator (HTTP)
//!      │       │           │ turmoil TCP
//!      ▼       ▼           ▼
//!   network ─ machines: Node::run(config, deps) ─ disk in memory ─► oracle: laws, as entries are applied
//!              │ turmoil UDP, quinn, rustls                            ▲
//!              └────────── readers: linearizable reads ────────────────┘
//! ```
//!
//! The same seed gives the same trace, byte for byte, in a process of its own: the hash of every datagram, fault and applied
//! entry. A failure therefore prints one command that repeats it.
//!
//! - [`system`]: entropy and clocks of the system, overridden. [`rng`]: the seed's own randomness. [`clock`]: the clocks of machines.
//! - [`socket`], [`listen`], [`net`]: what nodes have in place of the machine's network.
//! - [`machine`]: what outlives a node, and how one is started. [`world`]: what a run shares.
//! - [`talker`], [`teller`], [`caller`], [`operator`], [`readers`], [`chat`]: who uses the cluster. [`house`]: its automations.
//! - [`faults`]: what goes wrong when. [`oracle`], [`laws`]: what must hold. [`mod@run`]: one run. [`bound`]: that it ends.
pub mod bites;
pub mod bound;
pub mod caller;
pub mod chat;
pub mod clock;
pub mod faults;
pub mod house;
pub mod laws;
pub mod listen;
pub mod machine;
pub mod net;
pub mod operator;
pub mod oracle;
pub mod readers;
pub mod rng;
pub mod run;
pub mod socket;
pub mod system;
pub mod talker;
pub mod teller;
pub mod trace;
pub mod world;
