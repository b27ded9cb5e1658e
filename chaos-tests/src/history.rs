//! What one talker saw of its session, in the order in which it saw it.

use std::collections::BTreeMap;

pub use jarvis_bare::{Entry, entry_of};
use tokio::time::Instant;

use crate::laws::one_owner::Sighting;

/// What one talker saw.
#[derive(Debug, Default)]
pub struct History {
    /// The session.
    pub session: String,
    /// Every id that was sent, with its text. One that was never acknowledged is unknown, not absent.
    pub sent: BTreeMap<String, String>,
    /// Entries in the order of their coming, over all sockets.
    pub seen: Vec<Entry>,
    /// When each reply came, and to what.
    pub answered: Vec<(Instant, String)>,
    /// What nobody asked for, and when it first came.
    pub unasked: Vec<(Instant, Entry)>,
    /// `unavailable` errors: when, and after how many milliseconds to try again.
    pub unavailable: Vec<(Instant, Option<u64>)>,
    /// Other errors, as they came.
    pub errors: Vec<String>,
    /// How often it had to reconnect.
    pub reconnects: u64,
    /// Per message: from the first say to its said.
    pub said_after: Vec<std::time::Duration>,
    /// Names of gateway and owner over time.
    pub places: Vec<(Instant, String, String)>,
    /// Owners and epochs over time, as it was told them.
    pub sightings: Vec<Sighting>,
}

impl History {
    /// Last place seen.
    pub fn last_seq(&self) -> u64 {
        self.seen.last().map_or(0, |entry| entry.seq)
    }

    /// Gateway and owner at an instant, as this talker knew them.
    pub fn place_at(&self, at: Instant) -> Option<(&str, &str)> {
        let (_, gateway, owner) = self.places.iter().rev().find(|(when, _, _)| *when <= at)?;
        Some((gateway, owner))
    }
}
