//! Standing for election before the timer says so.
//!
//! A voter refuses its vote while its lease of the leader runs, and openraft's lease runs on after the leader has died. Where
//! this node knows that the leader's process has ended, it gives its own lease up; that moves nothing by itself, for every
//! other voter keeps its own, and a pre-vote needs a majority that has given it up, or heard nothing for the lease's time.

use jarvis_types::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;

use crate::api::Replica;

/// What an election has come to, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This node's vote is still the lost leader's.
    Bereft,
    /// Somebody asks for votes, and this node has promised its own to them or to itself.
    Voting,
    /// There is another leader.
    Settled,
}

impl Replica {
    /// Stands for election now, if this node votes. Whoever calls has reason to think that the leader is gone; a pre-vote
    /// comes first, so that a leader which a majority still hears is not disturbed, and nothing happens while this
    /// node's own lease of the leader runs.
    pub async fn stand(&self) {
        let now = self.inner.raft.metrics().borrow_watched().vote;
        if self.inner.renewal.runs(now) {
            return;
        }
        if let Err(error) = self.inner.raft.trigger().elect(true).await {
            tracing::debug!(%error, "cannot stand for election");
        }
    }

    /// Gives up this node's lease of `leader`, whose process is known to have ended: from here on it grants its vote to
    /// others, and may stand itself. Nothing happens where it follows another by now. A leader that is heard again all the
    /// same has its lease back.
    pub async fn give_up_lease(&self, leader: NodeId) {
        let now = self.inner.raft.metrics().borrow_watched().vote;
        if !(now.is_committed() && now.leader_id().voted_for == leader.0) || leader == self.node() {
            return;
        }
        // As if the leader had announced that it goes, without naming this node as the next: openraft then ends the lease
        // and does nothing more.
        let request = TransferLeaderRequest::new(now, leader.0, None);
        self.inner.renewal.give_up(now);
        match self.inner.raft.handle_transfer_leader(request).await {
            Ok(_) => tracing::debug!(%leader, "gave up the lease of the leader"),
            Err(error) => tracing::debug!(%leader, %error, "the lease of the leader runs on"),
        }
    }

    /// Whether a lease that was given up for nothing runs again: the leader was heard since.
    pub fn keeps_lease(&self) -> bool {
        let now = self.inner.raft.metrics().borrow_watched().vote;
        self.inner.renewal.runs(now)
    }

    /// Where the election of a successor of `lost` stands.
    pub fn standing(&self, lost: NodeId) -> Standing {
        let now = self.inner.raft.metrics().borrow_watched().vote;
        match (now.is_committed(), now.leader_id().voted_for == lost.0) {
            (true, true) => Standing::Bereft,
            (true, false) => Standing::Settled,
            (false, _) => Standing::Voting,
        }
    }
}
