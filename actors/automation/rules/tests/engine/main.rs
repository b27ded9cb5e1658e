//! Automations as a pure machine, construct by construct: one file a family, without a cluster, a broker or a clock.

#![allow(clippy::unwrap_used)]

mod house;

mod actions;
mod branches;
mod conditions;
mod failures;
mod late;
mod loops;
mod parallel;
mod properties;
mod revisions;
mod starts;
mod triggers_events;
mod triggers_states;
mod triggers_templates;
mod triggers_times;
mod waits;
