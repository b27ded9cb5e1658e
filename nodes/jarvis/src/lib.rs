//! The binary's parts: command line, data folder, composition root, `up`, drills.
//!
//! ```text
//!  main ─► cli::args ─► commands::* ──HTTP──► a running node
//!                  ├──► commands::run ─► node::Node::run(config, deps): mesh, replica, entities, sessions, gateway
//!                  ├──► up: one `jarvis run` process a node, kept alive
//!                  └──► drill: kills those processes under load and checks the laws
//! ```
pub mod cli;
pub mod commands;
pub mod data;
pub mod drill;
pub mod fail;
pub mod node;
pub mod places;
pub mod target;
pub mod token;
pub mod up;
