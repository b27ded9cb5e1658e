//! Chat sessions: the transcript's law, the responders, the feed that gateways read.
pub mod api;
