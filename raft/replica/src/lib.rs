//! openraft around the machine: log store, table store, network, proposals, reads, watches.
pub mod api;
