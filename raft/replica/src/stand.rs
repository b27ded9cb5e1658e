//! Standing for election before the timer says so.

use crate::api::Replica;

impl Replica {
    /// Stands for election now, if this node votes. Whoever calls has reason to think that the leader is gone; a pre-vote
    /// comes first, so that a leader which a majority still hears is not disturbed, and nothing happens while this
    /// node's own lease of the leader runs.
    pub async fn stand(&self) {
        if let Err(error) = self.inner.raft.trigger().elect(true).await {
            tracing::debug!(%error, "cannot stand for election");
        }
    }
}
