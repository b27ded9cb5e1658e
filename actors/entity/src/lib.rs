//! The actor framework: kinds, partitions, router, supervision, activation.
pub mod api;
