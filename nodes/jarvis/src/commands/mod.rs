//! The commands, one file each: read what is asked, do it, say what came of it.
pub mod automation;
pub mod chat;
pub mod cluster;
pub mod completions;
pub mod config;
pub mod credentials;
pub mod init;
pub mod join;
pub mod recover;
pub mod run;
pub mod status;
pub mod with_parent;
