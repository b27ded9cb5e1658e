//! Devices and entities of a home, as MQTT discovery describes them. Pure: no socket, no clock, no task.
//!
//! ```text
//!   messages ──► Registry ──► changes (states, entities, topics to follow)
//!                   │
//!                   └──view──► View: Facts for rules, names for words
//!                                │
//!   light.turn_on ──► service::call ──► messages to publish
//!   « éteins la cuisine » ──► words::understand ──► a call, a question or an answer
//! ```
//!
//! [`Registry`] reads Home Assistant's discovery, bare Zigbee2MQTT and bare Tasmota; its rows are replicated one by one.
//! [`announce`] is the way out: how Jarvis shows itself to Home Assistant.

pub mod announce;
mod apply;
mod bare;
mod colour;
pub mod component;
pub mod config;
mod discovery;
pub mod entity;
pub mod limits;
mod naming;
mod plan;
mod registry;
pub mod service;
mod template;
mod text;
pub mod topic;
pub mod words;

#[cfg(test)]
mod fuzz;

pub use apply::Known;
pub use bare::tasmota::Note;
pub use registry::{
    Area, Assignment, Change, GroupOf, Live, PeopleError, Problem, Registry, Row, RowError, RowKey, Settings,
    Table, Thing, UNAVAILABLE, UNKNOWN, View, moment,
};
pub use text::slug;
