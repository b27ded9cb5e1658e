//! What happens → which automations and waits it triggers.
//!
//! ```text
//!  messages, states, events, webhooks ──happen──► ┌───────┐ ──► Fire    a run begins, or a wait is over
//!                                                 │ Watch │ ──► Keep    a hold (`for:`) began: kept, so that it outlives the node
//!  the time                           ──tick────► └───────┘ ──► Forget  a hold ended
//!                                       next_due_ms ◄─┘     ──► Missed  what fell due unseen and was not made up for
//! ```
//!
//! A [`Watch`] is derived: it is made anew on every node from automations, waiting runs and the holds that were kept. It finds
//! what an event is for by topic (a trie of filters), entity, event type, webhook, intent or node, so that thousands of
//! automations that are not concerned cost nothing. A template is rendered again only when something changed that it read
//! last time, and once a minute if it asked for the time.
//!
//! **Order.** States are to be known in the facts before [`Watch::happen`] is told that they changed. What fell due by the time of
//! the facts is fired before what happened is looked at.
//!
//! **After a failover.** Times are looked for from the moment until which somebody watched (`since_ms` at insertion). What is seen
//! seconds after it fell due is late, whoever was away or stood still, and the trigger's policy says what becomes of it:
//! [`Lateness`]. Of several times that one trigger missed, the last counts, once. Messages are not missed, the broker keeps them:
//! the new owner begins with the states that were kept, takes the messages, and judges holds after that ([`Watch::hold_back`]).
//!
//! **What is not kept.** Whether a number was last seen outside its bounds, where its entity was unavailable when the owner changed: it
//! has to leave them again before it fires, as after a restart of Home Assistant.

mod change;
mod data;
mod happening;
mod hold;
mod lateness;
mod topics;
mod watch;

use serde::{Deserialize, Serialize};

pub use self::change::{Change, Firing, Missed};
pub use self::happening::Happening;
pub use self::hold::{Hold, HoldId};
pub use self::lateness::Lateness;
pub(crate) use self::lateness::late_by;
pub use self::topics::{TopicFilters, is_filter};
pub use self::watch::{Look, MESSAGE_BYTES_MAX, Watch};
use crate::run::RunId;

/// Whose trigger it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subscriber {
    /// An automation's, by id: it starts a run.
    Automation(String),
    /// A wait's: it goes on.
    Wait {
        /// Of this run.
        run: RunId,
        /// By its number.
        wait: u32,
    },
}

/// One trigger of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Whose.
    pub subscriber: Subscriber,
    /// Its place in the list, from 0.
    pub trigger: usize,
}
