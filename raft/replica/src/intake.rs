//! The leader's gate: which proposals become log entries, and with which time.
//!
//! Ledger time is the largest time of any proposal that was applied, so one clock that is ahead would be everybody's time
//! for ever. The node that decides a proposal therefore takes its time back to what the cluster's clocks allow: its own,
//! shifted to the median of those it hears from, and a little more. A node with a wrong clock goes on working.
//!
//! The leader measures the others' clocks by the proposals they send. Where fewer than two others have sent any it can only
//! believe its own: a leader whose clock is ahead then still takes ledger time along, which only its machine's time service
//! can prevent. Ledger time never goes back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_host::Clock;
use jarvis_machine::ProposalError;
use jarvis_machine::command::Proposal;
use jarvis_machine::reply::{Outcome, Refusal};
use jarvis_types::NodeId;
use jarvis_types::codec::{self, CodecError};
use tokio::time::Instant;

use crate::replica::lock;
use crate::types::RPC_VERSION;

/// How far a proposal's time may be ahead of the leader's, in milliseconds: machines that are told the time differ by less.
pub const MAX_CLOCK_LEAD_MS: u64 = 5_000;

/// From here on a proposal's time speaks of a clock that is behind, in milliseconds: one that is tried again under a new
/// leader is not as old as this.
const MAX_CLOCK_LAG_MS: u64 = 60_000;

/// Between two warnings of the same clock.
const WARN_INTERVAL: Duration = Duration::from_secs(600);

/// How long a measurement stands against one that makes the clock look later: a proposal that took long, or was tried
/// again, makes it look earlier.
const BEST_FOR: Duration = Duration::from_secs(60);

/// How long a node's clock counts after its last proposal.
const COUNTS_FOR: Duration = Duration::from_secs(600);

/// What becomes of a forwarded proposal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes into the log, as these bytes.
    Admitted(Bytes),
    /// It does not: the encoded outcome for whoever proposed it.
    Refused(Bytes),
}

/// The gate of one node, used while it leads.
pub(crate) struct Intake {
    node: NodeId,
    clock: Arc<dyn Clock>,
    clocks: Mutex<Clocks>,
    speaks: u32,
}

impl Intake {
    pub(crate) fn new(node: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self {
            node,
            clock,
            clocks: Mutex::default(),
            speaks: jarvis_machine::LEVEL,
        }
    }

    /// Takes no command of a level above `speaks`.
    pub(crate) fn speaking(self, speaks: u32) -> Self {
        Self { speaks, ..self }
    }

    /// The highest cluster level this node speaks.
    pub(crate) fn speaks(&self) -> u32 {
        self.speaks
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// A proposal of this node, which says that it was made at `at_ms`.
    pub(crate) fn admit_own(&self, body: &Bytes, at_ms: u64) -> Bytes {
        let limit_ms = self.limit_ms();
        if at_ms <= limit_ms {
            return body.clone();
        }
        let clamped = Proposal::decode(body).and_then(|proposal| {
            Proposal {
                at_ms: limit_ms,
                ..proposal
            }
            .encode()
        });
        match clamped {
            Ok(clamped) => Bytes::from(clamped),
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
        self.look_at_clock(from, proposal.at_ms);
        let limit_ms = self.limit_ms();
        if proposal.at_ms <= limit_ms {
            return Ok(Admission::Admitted(body));
        }
        proposal.at_ms = limit_ms;
        Ok(match proposal.encode() {
            Ok(clamped) => Admission::Admitted(Bytes::from(clamped)),
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
        let outcome: Outcome = Err(Refusal::Invalid(why));
        let encoded =
            codec::encode(RPC_VERSION, &outcome).expect("a sentence is far below the codec's limit");
        Bytes::from(encoded)
    }

    fn limit_ms(&self) -> u64 {
        let shift_ms = lock(&self.clocks).shift_ms(Instant::now());
        self.clock
            .now_ms()
            .saturating_add_signed(shift_ms)
            .saturating_add(MAX_CLOCK_LEAD_MS)
    }

    fn look_at_clock(&self, from: NodeId, at_ms: u64) {
        let ahead_ms = signed(at_ms).saturating_sub(signed(self.clock.now_ms()));
        let (suspect, shift_ms) = {
            let mut clocks = lock(&self.clocks);
            let suspect = clocks.note(from, ahead_ms, self.node, Instant::now());
            (suspect, clocks.shift_ms)
        };
        if let Some(Suspect { node, ahead_ms }) = suspect {
            tracing::warn!(
                %node, ahead_ms, median_ms = shift_ms,
                "this node's clock is wrong: set its machine's time, or have it set by a time service"
            );
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Whose clock is off, and how far ahead of the cluster's median it is.
#[derive(Debug, PartialEq, Eq)]
struct Suspect {
    node: NodeId,
    ahead_ms: i64,
}

/// How far the others' clocks are ahead of this node's.
#[derive(Debug, Default)]
struct Clocks {
    others: BTreeMap<NodeId, Measured>,
    warned: BTreeMap<NodeId, Instant>,
    /// The median of all clocks, this node's included, as far ahead of this node's.
    shift_ms: i64,
    noted: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    ahead_ms: i64,
    at: Instant,
    /// Last proposal of that node.
    heard: Instant,
}

impl Clocks {
    /// Takes a measurement, and says which clock somebody should be warned of.
    fn note(&mut self, from: NodeId, ahead_ms: i64, own: NodeId, now: Instant) -> Option<Suspect> {
        self.others
            .retain(|_, measured| now - measured.heard < COUNTS_FOR);
        self.warned.retain(|_, at| now - *at < WARN_INTERVAL);
        let entry = self.others.entry(from).or_insert(Measured {
            ahead_ms,
            at: now,
            heard: now,
        });
        entry.heard = now;
        if ahead_ms >= entry.ahead_ms || now - entry.at >= BEST_FOR {
            (entry.ahead_ms, entry.at) = (ahead_ms, now);
        }
        let measured_ms = entry.ahead_ms;
        self.shift_ms = self.median_ms();
        self.noted = Some(now);
        let suspect = [
            (from, measured_ms.saturating_sub(self.shift_ms)),
            (own, -self.shift_ms),
        ]
        .into_iter()
        .map(|(node, ahead_ms)| Suspect { node, ahead_ms })
        .find(|suspect| suspect.is_off() && !self.warned.contains_key(&suspect.node))?;
        self.warned.insert(suspect.node, now);
        Some(suspect)
    }

    fn shift_ms(&self, now: Instant) -> i64 {
        match self.noted {
            Some(at) if now - at < COUNTS_FOR => self.shift_ms,
            _ => 0,
        }
    }

    /// Of an even number the one of the middle two that is nearer to this node's own: two clocks that contradict one
    /// another prove nothing.
    fn median_ms(&self) -> i64 {
        let mut all: Vec<i64> = self
            .others
            .values()
            .map(|measured| measured.ahead_ms)
            .chain([0])
            .collect();
        all.sort_unstable();
        let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        if low.unsigned_abs() <= high.unsigned_abs() {
            low
        } else {
            high
        }
    }
}

impl Suspect {
    fn is_off(&self) -> bool {
        let allowed = if self.ahead_ms > 0 {
            MAX_CLOCK_LEAD_MS
        } else {
            MAX_CLOCK_LAG_MS
        };
        self.ahead_ms.unsigned_abs() > allowed
    }
}

#[cfg(test)]
mod tests {
    use jarvis_host::ManualClock;
    use jarvis_machine::command::{Command, Origin};
    use jarvis_types::{Incarnation, SessionId, UserId};

    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const NOW_MS: u64 = 1_700_000_000_000;
    const OWN: NodeId = NodeId(1);

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
            Admission::Refused(_) => panic!("refused"),
        }
    }

    #[tokio::test]
    async fn a_time_ahead_is_taken_back_and_all_else_stays() {
        let intake = Intake::new(OWN, Arc::new(ManualClock::new(NOW_MS)));
        let limit = NOW_MS + MAX_CLOCK_LEAD_MS;
        for (said, taken) in [
            (0, 0),
            (NOW_MS, NOW_MS),
            (limit, limit),
            (limit + 1, limit),
            (u64::MAX, limit),
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

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_with_the_reason() {
        let intake = Intake::new(OWN, Arc::new(ManualClock::new(NOW_MS)));
        let mut newer = encoded(&proposal(2, NOW_MS)).to_vec();
        newer[0] += 1;
        for (body, why) in [(newer, "newer version"), (vec![1, 2, 3], "cannot read")] {
            let Ok(Admission::Refused(outcome)) = intake.admit(NodeId(2), body.into()) else {
                panic!("not refused");
            };
            let outcome: Outcome = codec::decode(RPC_VERSION, &outcome).expect("decodes");
            assert!(
                matches!(&outcome, Err(Refusal::Invalid(text)) if text.contains(why)),
                "{outcome:?}"
            );
        }
        assert!(intake.admit(NodeId(2), encoded(&proposal(3, NOW_MS))).is_err());
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_named_once_in_a_while() {
        let mut clocks = Clocks::default();
        let start = Instant::now();
        assert_eq!(clocks.note(NodeId(2), 10, OWN, start), None);
        let ahead = |node, ahead_ms| {
            Some(Suspect {
                node: NodeId(node),
                ahead_ms,
            })
        };
        assert_eq!(
            clocks.note(NodeId(3), HOUR_MS, OWN, start),
            ahead(3, HOUR_MS - 10)
        );
        assert_eq!(clocks.note(NodeId(3), HOUR_MS, OWN, start), None, "said before");
        let later = start + WARN_INTERVAL;
        clocks.note(NodeId(2), 10, OWN, later);
        assert!(
            clocks.note(NodeId(3), HOUR_MS, OWN, later).is_some(),
            "said again"
        );
        // A proposal that was tried again for a while is no sign of a clock that is behind.
        assert_eq!(clocks.note(NodeId(2), -30_000, OWN, later), None);
        assert_eq!(clocks.shift_ms(later), 10);
    }

    #[tokio::test]
    async fn the_majority_of_clocks_outvotes_the_leaders() {
        let mut clocks = Clocks::default();
        let start = Instant::now();
        clocks.note(NodeId(2), -HOUR_MS, OWN, start);
        assert_eq!(clocks.shift_ms(start), 0, "one against one");
        let suspect = clocks.note(NodeId(3), -HOUR_MS + 7, OWN, start);
        assert_eq!(clocks.shift_ms(start), -HOUR_MS + 7, "two against one");
        assert_eq!(
            suspect,
            Some(Suspect {
                node: OWN,
                ahead_ms: HOUR_MS - 7
            })
        );
        assert_eq!(clocks.shift_ms(start + COUNTS_FOR), 0, "nobody was heard lately");
    }
}
