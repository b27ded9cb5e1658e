//! A lease of the leader that was given up for nothing: the leader is heard again.
//!
//! openraft does not let a lease that was given up begin again before the next term, so its voter would help depose a leader
//! that everybody hears as soon as one other voter has lost it. From the leader's next word on this node therefore keeps
//! the lease itself:
//!
//! ```text
//!  give_up ──► nothing is kept ── the leader's word ──► refuses votes, does not stand ── silence for a lease ──► nothing is kept
//! ```
//!
//! What was sent before a crash cannot count: it is no longer on its way when [`LAST_WORDS`] are over.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::VoteResponse;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::types::{Raft, TypeConfig, Vote};

/// What a leader sent before its process ended may still be taken for so long after this node knows of it.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The leases that this node gave up.
pub(crate) struct Renewal {
    lease: Duration,
    /// How much longer than the lease openraft waits at least before it stands.
    patience: Duration,
    given_up: watch::Sender<Option<GivenUp>>,
}

/// The lease of one leader in one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GivenUp {
    vote: Vote,
    at: Instant,
    heard: Option<Instant>,
}

impl Renewal {
    /// Nothing was given up.
    pub(crate) fn new(lease: Duration, patience: Duration) -> Self {
        Self {
            lease,
            patience,
            given_up: watch::Sender::new(None),
        }
    }

    /// The lease of the leader with this vote was given up now.
    pub(crate) fn give_up(&self, vote: Vote) {
        let (at, heard) = (Instant::now(), None);
        self.given_up.send_replace(Some(GivenUp { vote, at, heard }));
    }

    /// The leader itself has announced that it goes: no lease is kept for it.
    pub(crate) fn forget(&self) {
        self.given_up
            .send_if_modified(|given_up| given_up.take().is_some());
    }

    /// The leader with this vote said something, which arrived then, and openraft takes it for the leader.
    pub(crate) fn heard(&self, vote: Vote, arrived: Instant) {
        if self.given_up.borrow().is_none() {
            return;
        }
        self.given_up.send_if_modified(|given_up| {
            let Some(given_up) = given_up else { return false };
            if given_up.vote != vote || arrived < given_up.at + LAST_WORDS {
                return false;
            }
            // Only the first word is news; there are many.
            let before = given_up.heard.replace(arrived);
            before.is_none()
        });
    }

    /// Whether the lease of the leader whose vote this node has runs again.
    pub(crate) fn runs(&self, now: Vote) -> bool {
        let given_up = self.given_up.borrow();
        given_up.is_some_and(|given_up| {
            given_up.vote == now && given_up.heard.is_some_and(|heard| heard.elapsed() < self.lease)
        })
    }

    /// The answer to who asks for this node's vote while that lease runs.
    pub(crate) fn refusal(&self, raft: &Raft) -> Option<VoteResponse<TypeConfig>> {
        let now = raft.metrics().borrow_watched().vote;
        self.runs(now).then(|| VoteResponse::new(now, None, false))
    }

    /// Until when this node does not stand by its timer; none: it may.
    fn waits_until(&self, now: Vote) -> Option<Instant> {
        let given_up = (*self.given_up.borrow()).filter(|given_up| given_up.vote == now)?;
        let until = given_up.heard? + self.lease + self.patience;
        (until > Instant::now()).then_some(until)
    }

    /// Keeps openraft's timer, which leaves out a lease that was given up, from standing too soon. Ends never.
    pub(crate) async fn keep_timer(&self, raft: Raft) {
        let mut given_up = self.given_up.subscribe();
        loop {
            let renewed = |given_up: &Option<GivenUp>| given_up.is_some_and(|one| one.heard.is_some());
            if given_up.wait_for(renewed).await.is_err() {
                return;
            }
            tracing::info!(
                "the leader is heard again: its lease, given up for nothing, is kept by this node"
            );
            raft.runtime_config().elect(false);
            let vote = || raft.metrics().borrow_watched().vote;
            while let Some(until) = self.waits_until(vote()) {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    // It was given up once more, or another leader's.
                    _ = given_up.changed() => {}
                }
            }
            raft.runtime_config().elect(true);
            self.given_up.send_if_modified(|given_up| {
                let Some(one) = given_up else { return false };
                if one
                    .heard
                    .is_some_and(|heard| heard.elapsed() >= self.lease + self.patience)
                {
                    one.heard = None;
                } else if one.vote != vote() {
                    *given_up = None;
                }
                false
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(400);

    #[tokio::test(start_paused = true)]
    async fn a_lease_runs_again_from_the_leaders_next_word() {
        let (leader, next) = (Vote::new_committed(3, 1), Vote::new_committed(4, 2));
        let renewal = Renewal::new(LEASE, LEASE / 2);
        renewal.heard(leader, Instant::now());
        assert!(!renewal.runs(leader), "nothing was given up");
        renewal.give_up(leader);
        renewal.heard(leader, Instant::now());
        assert!(!renewal.runs(leader), "what the leader said before it died");
        tokio::time::advance(LAST_WORDS).await;
        renewal.heard(next, Instant::now());
        assert!(
            !renewal.runs(leader) && !renewal.runs(next),
            "another leader's word"
        );
        renewal.heard(leader, Instant::now());
        assert!(renewal.runs(leader) && !renewal.runs(next));
        assert_eq!(
            renewal.waits_until(leader),
            Some(Instant::now() + LEASE + LEASE / 2)
        );
        tokio::time::advance(LEASE).await;
        assert!(!renewal.runs(leader), "silence");
        renewal.heard(leader, Instant::now());
        assert!(renewal.runs(leader));
        renewal.give_up(leader);
        assert!(!renewal.runs(leader), "given up once more");
        tokio::time::advance(LAST_WORDS).await;
        renewal.heard(leader, Instant::now());
        renewal.forget();
        assert!(!renewal.runs(leader) && renewal.waits_until(leader).is_none());
    }
}
