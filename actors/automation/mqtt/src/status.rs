//! How the bridge stands, for whoever shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::link::wire::Version;
use crate::trouble::Trouble;

/// How the bridge stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The broker's address, without a password.
    pub broker: String,
    /// What it is doing.
    pub state: State,
    /// Connections so far.
    pub connections: u64,
    /// Sessions so far, over all owners: each more than one is a time at which the broker had forgotten what it kept for us.
    pub epoch: u64,
    /// The last wish for which the broker has answered: what comes of it from here on is not missed, and nothing else is
    /// subscribed to. None while something is asked for.
    pub settled: Option<u64>,
    /// Whether what the broker kept while nobody was connected is decided on, as far as can be told: brokers do not say.
    pub caught_up: bool,
    /// Topics that the broker does not allow, with its codes.
    pub refused_topics: BTreeMap<String, u8>,
}

/// What a bridge is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// On its way to the broker.
    Connecting,
    /// There.
    Connected {
        /// What is spoken.
        version: Version,
        /// Whether the broker still had the session. If not, all is subscribed to anew, and what it kept is lost.
        session_present: bool,
    },
    /// It waits before it tries again.
    Waiting {
        /// Why.
        why: Trouble,
        /// For how long, from when this was said.
        pause: Duration,
    },
    /// It has been given up.
    Released {
        /// Whether all that was taken in is acknowledged, and all that was sent is confirmed.
        all_done: bool,
    },
}

impl State {
    /// Whether the broker has let it in.
    pub fn is_connected(&self) -> bool {
        matches!(self, State::Connected { .. })
    }
}
