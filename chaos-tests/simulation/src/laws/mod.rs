//! What must hold, whatever fails: each law in its own file.
pub mod acknowledged;
pub mod acts;
pub mod leader;
pub mod log;
pub mod minority;
pub mod owner;
pub mod reads;
pub mod removed;
pub mod repeats;
pub mod same;
pub mod time;
pub mod timers;
pub mod transcript;

pub use jarvis_bare::Entry;

/// A law that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which law.
    pub law: &'static str,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}
