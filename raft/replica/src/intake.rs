//! The leader's gate: which proposals become log entries, and with which time.
//!
//! Ledger time is the largest time of any proposal that was applied, so one clock that is ahead would be everybody's time for a
//! long while. The node that decides a proposal therefore keeps its time close to cluster time ([`crate::cluster_time`]):
//! neither far ahead, nor so far behind that what has expired would seem good. A node with a wrong clock goes on working.
//!
//! A command that builds of the cluster's level do not know is refused here, before it stands in a log that every member has to
//! apply: one that cannot ends.

use std::sync::Arc;

use bytes::Bytes;
use jarvis_machine::ProposalError;
use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::{Outcome, Refusal};
use jarvis_types::NodeId;
use jarvis_types::codec::{self, CodecError};
use tokio::sync::watch;

use crate::api::ReplicaState;
use crate::cluster_time::{ClusterTime, MAX_CLOCK_LEAD_MS};
use crate::state::StateShared;
use crate::types::RPC_VERSION;

/// How far a proposal's time may be behind cluster time, in milliseconds: one that was tried again and again is as old as this.
const MAX_CLOCK_LAG_MS: u64 = 60_000;

/// What becomes of a proposal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes into the log, as these bytes.
    Admitted(Bytes),
    /// It does not: the encoded outcome for whoever proposed it.
    Refused(Bytes),
    /// This node has not applied enough to know.
    NotYet,
}

/// Whether the cluster is at the level of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LevelCheck {
    /// It is.
    Allowed,
    /// It is not.
    TooLow {
        /// The command's level.
        needs: u32,
        /// The cluster's, or this build's where that is lower.
        level: u32,
    },
    /// It is not as far as this node has applied, and it has not caught up.
    NotYet,
}

/// The gate of one node, used while it leads.
pub(crate) struct Intake {
    node: NodeId,
    time: Arc<ClusterTime>,
    shared: Arc<StateShared>,
    state: watch::Receiver<ReplicaState>,
    speaks: u32,
}

impl Intake {
    pub(crate) fn new(
        node: NodeId,
        time: Arc<ClusterTime>,
        shared: Arc<StateShared>,
        state: watch::Receiver<ReplicaState>,
        speaks: u32,
    ) -> Self {
        Self {
            node,
            time,
            shared,
            state,
            speaks,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Whether `command` may be proposed.
    pub(crate) fn check_level(&self, command: &Command) -> LevelCheck {
        let (needs, level) = (command.needs_level(), self.shared.level());
        if command.level() > self.speaks {
            let (needs, level) = (command.level(), self.speaks);
            LevelCheck::TooLow { needs, level }
        } else if needs <= level {
            LevelCheck::Allowed
        } else if self.state.borrow().caught_up {
            LevelCheck::TooLow { needs, level }
        } else {
            LevelCheck::NotYet
        }
    }

    /// A proposal of this node, which says that it was made at `at_ms`. Its level was checked.
    pub(crate) fn admit_own(&self, body: &Bytes, at_ms: u64) -> Bytes {
        let near_ms = self.near(at_ms);
        if near_ms == at_ms {
            return body.clone();
        }
        let moved = Proposal::decode(body).and_then(|proposal| {
            Proposal {
                at_ms: near_ms,
                ..proposal
            }
            .encode()
        });
        match moved {
            Ok(moved) => Bytes::from(moved),
            Err(error) => {
                tracing::error!(%error, "a proposal of this node's own does not decode");
                body.clone()
            }
        }
    }

    /// A proposal that `from` forwarded.
    ///
    /// # Errors
    /// Where it bears another node's name: then the sender is not to be believed at all.
    pub(crate) fn admit(&self, from: NodeId, body: Bytes) -> Result<Admission, String> {
        let mut proposal = match Proposal::decode_at(self.speaks, &body) {
            Ok(proposal) => proposal,
            Err(error) => return Ok(Admission::Refused(self.unreadable(from, &error))),
        };
        if proposal.origin.is_some_and(|origin| origin.node != from) {
            return Err(format!("node {from} proposes under another node's name"));
        }
        if let Some(request) = &proposal.request {
            tracing::debug!(request_id = %request, %from, "the proposal has reached the leader");
        }
        match self.check_level(&proposal.command) {
            LevelCheck::Allowed => {}
            LevelCheck::TooLow { needs, level } => {
                return Ok(Admission::Refused(refused(Refusal::LevelTooLow { needs, level })));
            }
            LevelCheck::NotYet => return Ok(Admission::NotYet),
        }
        let near_ms = self.near(proposal.at_ms);
        if near_ms == proposal.at_ms {
            return Ok(Admission::Admitted(body));
        }
        proposal.at_ms = near_ms;
        Ok(match proposal.encode() {
            Ok(moved) => Admission::Admitted(Bytes::from(moved)),
            Err(error) => Admission::Refused(self.unreadable(from, &error)),
        })
    }

    fn unreadable(&self, from: NodeId, error: &ProposalError) -> Bytes {
        tracing::warn!(%from, %error, cause = ?std::error::Error::source(error), "refused a proposal that this node cannot read");
        let node = self.node;
        let why = match error {
            ProposalError::Codec(CodecError::Version { .. }) => {
                format!(
                    "proposed by a newer version of jarvis than node {node}, which leads, can read; upgrade that node"
                )
            }
            other => format!("node {node}, which leads, cannot read the proposal: {other}"),
        };
        refused(Refusal::Invalid(why))
    }

    /// A time as close to cluster time as it has to be.
    fn near(&self, at_ms: u64) -> u64 {
        let now_ms = self.time.deciding_ms();
        at_ms.clamp(
            now_ms.saturating_sub(MAX_CLOCK_LAG_MS),
            now_ms.saturating_add(MAX_CLOCK_LEAD_MS),
        )
    }
}

fn refused(refusal: Refusal) -> Bytes {
    let outcome: Outcome = Err(refusal);
    Bytes::from(codec::encode(RPC_VERSION, &outcome).expect("a sentence is far below the codec's limit"))
}

#[cfg(test)]
mod tests {
    use jarvis_host::ManualClock;
    use jarvis_machine::command::Origin;
    use jarvis_types::{Incarnation, SessionId, UserId};

    use super::*;
    use crate::config::MemoryDisk;
    use crate::state::StateStore;

    const NOW_MS: u64 = 1_700_000_000_000;
    const OWN: NodeId = NodeId(1);

    fn intake(caught_up: bool) -> Intake {
        let store = StateStore::memory(&MemoryDisk::new());
        let shared = Arc::new(StateShared::new(store, 4).expect("opens"));
        let (_, state) = watch::channel(ReplicaState {
            caught_up,
            ..ReplicaState::default()
        });
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let time = ClusterTime::new(OWN, clock, state.clone(), Arc::clone(&shared));
        Intake::new(OWN, Arc::new(time), shared, state, jarvis_machine::LEVEL)
    }

    fn proposal(node: u64, at_ms: u64) -> Proposal {
        Proposal {
            origin: Some(Origin {
                node: NodeId(node),
                incarnation: Incarnation(1),
                sequence: 1,
                answered_below: 1,
            }),
            at_ms,
            fence: None,
            request: None,
            command: Command::CreateSession {
                session: SessionId(1),
                user: UserId(1),
            },
        }
    }

    fn encoded(proposal: &Proposal) -> Bytes {
        Bytes::from(proposal.encode().expect("encodes"))
    }

    fn admitted(admission: Admission) -> Proposal {
        match admission {
            Admission::Admitted(body) => Proposal::decode(&body).expect("decodes"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_time_is_kept_close_to_the_clusters_and_all_else_stays() {
        let intake = intake(true);
        let (least, most) = (NOW_MS - MAX_CLOCK_LAG_MS, NOW_MS + MAX_CLOCK_LEAD_MS);
        for (said, taken) in [
            (0, least),
            (least, least),
            (NOW_MS, NOW_MS),
            (most, most),
            (most + 1, most),
            (u64::MAX, most),
        ] {
            let expected = proposal(2, taken);
            let forwarded = intake
                .admit(NodeId(2), encoded(&proposal(2, said)))
                .expect("its own name");
            assert_eq!(admitted(forwarded), expected);
            let own = intake.admit_own(&encoded(&proposal(1, said)), said);
            assert_eq!(Proposal::decode(&own).expect("decodes"), proposal(1, taken));
        }
    }

    fn outcome(admission: Admission) -> Outcome {
        match admission {
            Admission::Refused(outcome) => codec::decode(RPC_VERSION, &outcome).expect("decodes"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_with_the_reason() {
        let intake = intake(true);
        let mut newer = encoded(&proposal(2, NOW_MS)).to_vec();
        newer[0] += 1;
        for (body, why) in [(newer, "newer version"), (vec![1, 2, 3], "cannot read")] {
            let outcome = outcome(intake.admit(NodeId(2), body.into()).expect("its own name"));
            assert!(
                matches!(&outcome, Err(Refusal::Invalid(text)) if text.contains(why)),
                "{outcome:?}"
            );
        }
        assert!(intake.admit(NodeId(2), encoded(&proposal(3, NOW_MS))).is_err());
    }

    #[tokio::test]
    async fn what_is_above_the_clusters_level_is_refused_by_who_knows_the_level() {
        let later = |command| Proposal {
            command,
            ..proposal(2, NOW_MS)
        };
        let post = later(Command::Post { letters: Vec::new() });
        let admit = |intake: &Intake, proposal: &Proposal| {
            let admission = intake.admit(NodeId(2), encoded(proposal));
            admission.expect("its own name")
        };
        assert_eq!(
            outcome(admit(&intake(true), &post)),
            Err(Refusal::LevelTooLow { needs: 3, level: 1 })
        );
        assert_eq!(admit(&intake(false), &post), Admission::NotYet);
        let raise = later(Command::RaiseLevel { to: 2 });
        assert_eq!(admitted(admit(&intake(true), &raise)), raise);
    }
}
