//! The bridge to an MQTT broker: one persistent session for the whole cluster, acknowledged when what follows is kept.
//!
//! ```text
//!             ┌────────────────────────── Bridge ──────────────────────────┐
//!  broker ◄──►│ link: connect, serve ─► session ─► pipeline ─► Sink        │──► decisions, kept by the cluster
//!             │        ▲                                └─► DeadLetters    │
//!  Publisher ─┼► outbox┘                                                   │
//!             └────────────────────────────────────────────────────────────┘
//! ```
//!
//! - [`Bridge::own`]: the node that owns the bridge calls it; [`Bridge::release`] gives it up, dropping it is a crash.
//! - [`Sink`], [`Memory`], [`DeadLetters`]: what the cluster keeps; this crate knows no replica.
//! - [`Publisher`]: messages to the broker, confirmed by it.
//! - [`Options`], [`Status`], [`Trouble`]: what it is told, how it stands, what is wrong.
//! - [`broker`]: a broker for a home that has none.
//! - `session`, `outbox`, `link/wire`, `link/subscriptions`, `pause`: what decides, PURE; `link/serve`, `pipeline`: what acts.
mod bridge;
pub mod broker;
mod link;
mod message;
mod metrics;
mod options;
mod outbox;
mod pause;
mod pipeline;
mod publish;
mod session;
mod status;
mod trouble;
mod wanted;

pub use bridge::{Bridge, Gate, Parts, ReplayError};
pub use link::dial::{Dial, Stream, Tcp};
pub use link::wire::{INTENT_PROPERTY, Version};
pub use message::{Digest, MAX_REMEMBERED, Message, MessageId, Remembered};
pub use options::{Batches, Options, OptionsError, Patience, Will};
pub use pipeline::partition::{KeyOf, device_of};
pub use pipeline::sink::{
    DeadLetter, DeadLetters, LettersInMemory, Memory, MemoryInProcess, Outcome, Sink, SinkError,
};
pub use publish::{Confirmation, MAX_PAYLOAD_BYTES, Publication, PublishError, Publisher};
pub use status::{State, Status};
pub use trouble::Trouble;
pub use wanted::Wanted;
