//! What must hold, whatever was killed: each law in its own file.
pub mod answered_once;
pub mod minority;
pub mod nothing_lost;
pub mod one_owner;
pub mod same_everywhere;
pub mod sequence;

/// A law that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which law.
    pub law: &'static str,
    /// Which session.
    pub session: String,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in session {}: {}", self.law, self.session, self.what)
    }
}
