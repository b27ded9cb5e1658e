//! Homes of real processes, each node made and joined by hand: two nodes, with and without a witness, and what is left
//! after a disaster.

#[path = "../common/mod.rs"]
mod common;
mod home;
mod newcomers;
mod recover;
mod reminders;
mod removed;
mod two_nodes;
mod witness;
