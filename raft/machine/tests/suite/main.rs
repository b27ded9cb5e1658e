//! The machine as its users meet it: commands in, outcomes, changes and rows out.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails as it should")]

mod balance;
mod cluster;
mod dedupe;
mod entities;
mod fuzz;
mod golden;
mod invites;
mod levels;
mod marks;
mod nodes;
mod placement;
mod planner;
mod properties;
mod sessions;
mod snapshot;
mod users;
mod voters;
mod world;
