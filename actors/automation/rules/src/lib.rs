//! Automations as a pure machine: no clock, no socket, no task, no file.
//!
//! ```text
//!  YAML ──load──► Automation ──compile──► Program        facts (states, events, the time) come in,
//!   (file, line, what to write instead)      │            effects (calls, events, wake-ups) go out
//!                                            ▼
//!        trigger ──► Run { pc, variables, waits } ──advance──► effects
//! ```
//!
//! A [`model::Automation`] is what somebody wrote, in Home Assistant's own terms. A run of it is plain data, so that it can be
//! replicated after every step and go on elsewhere.

pub mod clock;
mod earth;
pub mod facts;
pub mod load;
pub mod model;
pub mod program;
pub mod run;
pub mod template;
pub mod triggers;
mod yaml;
