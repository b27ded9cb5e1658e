//! Automations as actors: what the pure crates decide, kept by the cluster and done once.
//!
//! ```text
//!  broker ─► bridge/home ── letters ──► automation/ID ── letters ──► bridge/home ─► broker
//!            registry, watch            runs, timers                 acts
//!               │  rows                    │  rows                      │ outcome: a letter back
//!               └───────── the log, on every node ──────────────────────┘
//! ```
//!
//! - [`bridge`]: the one entity that hears the home and acts on it: devices' states, what triggers what, intents under way.
//! - [`automation`]: an entity for each automation: its runs and their timers.
//! - [`mirror`]: what the bridge knows, on every node, read from its rows.
//! - [`api`]: how the rest of a node uses all this.
//! - [`responder`]: does in chat sessions what people say of their home.
//! - [`wire`], [`rows`]: what letters and rows say.
//!
//! What happens and all that follows from it is one entry of the log: the ids of messages, states, letters to the automations that
//! it concerns. A run and the letters by which it asks for something are one entry too. So nothing is decided on twice and nothing
//! asked for is forgotten, whoever dies; what is done in the home itself may be done twice, under the same id.

pub mod api;
pub mod automation;
pub mod bridge;
mod library;
mod metrics;
pub mod mirror;
pub mod ran;
mod responder;
pub mod rows;
mod services;
pub mod settings;
mod shown;
mod webhooks;
pub mod wire;

pub use api::{AutomationError, Automations, LoadReport, Summary};
pub use automation::AutomationKind;
pub use bridge::BridgeKind;
pub use library::{Definition, Library};
pub use responder::{HomeResponder, Late};
pub use settings::{Drills, Engine, EngineSettings, StartDrill};
