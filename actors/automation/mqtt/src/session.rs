//! PURE: which messages are new, which come again, and which acknowledgements may go out.
//!
//! ```text
//!  PUBLISH ─► arrive() ─┬─ New ──────► pipeline ─► settled() ─┐
//!                       └─ Again ─────────────────────────────┴─► take_acks(), in the order of arrival
//! ```
//!
//! A broker keeps a message's packet id until we acknowledge it, and over reconnects while it keeps the session. So of each
//! packet id the last message is remembered. One that arrives under the same id with the same digest is a redelivery:
//! - surely, where we never acknowledged that message: its id cannot be free;
//! - where it says so itself (DUP);
//! - not where we acknowledged it on this very connection and DUP is not set: then the id was given out again.
//!
//! What is left, an acknowledgement sent on an earlier connection or by an earlier owner that may have been lost, and no DUP,
//! is new, as the protocol has it.

use std::collections::{BTreeMap, VecDeque};

use crate::message::{Digest, MessageId, Remembered};

/// The receiving half of the broker's session.
#[derive(Debug)]
pub(crate) struct Session {
    epoch: u64,
    last_sequence: u64,
    /// Counts connections of this owner.
    link: u64,
    /// The last message of each packet id: at most 65,535 by construction.
    known: BTreeMap<u16, Known>,
    /// What arrived on this connection and is not acknowledged: at most one a packet id.
    unacknowledged: VecDeque<Unacknowledged>,
    /// Messages under way in the pipeline, of any connection.
    undecided: usize,
}

#[derive(Debug)]
struct Known {
    id: MessageId,
    decided: bool,
    acknowledged: Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledged {
    Never,
    /// On that connection of this owner.
    On(u64),
    /// By an earlier owner, perhaps.
    Unknown,
}

#[derive(Debug)]
struct Unacknowledged {
    packet_id: u16,
    sequence: u64,
    ready: bool,
}

/// What to do with a message of QoS 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Decide on it, then tell [`Session::settled`].
    New(MessageId),
    /// Nothing: it is decided on or under way, and acknowledged in its turn.
    Again,
    /// The broker used the id of a message that is not acknowledged for another one.
    IdInUse,
}

impl Session {
    pub(crate) fn new(remembered: &Remembered) -> Self {
        let known = remembered.decided.iter().map(|id| {
            let known = Known {
                id: *id,
                decided: true,
                acknowledged: Acknowledged::Unknown,
            };
            (id.packet_id, known)
        });
        Self {
            epoch: remembered.epoch,
            last_sequence: remembered.last_sequence,
            link: 0,
            known: known.collect(),
            unacknowledged: VecDeque::new(),
            undecided: 0,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Messages in the pipeline.
    pub(crate) fn undecided(&self) -> usize {
        self.undecided
    }

    /// Messages of this connection that wait for their acknowledgement.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// A connection stands. Without a session at the broker, packet ids begin anew: says the new epoch.
    pub(crate) fn connected(&mut self, session_present: bool) -> Option<u64> {
        self.link += 1;
        self.unacknowledged.clear();
        if session_present {
            return None;
        }
        self.epoch += 1;
        self.known.clear();
        Some(self.epoch)
    }

    pub(crate) fn arrive(&mut self, packet_id: u16, digest: Digest, duplicate: bool) -> Arrival {
        let waits = self.unacknowledged.iter().any(|u| u.packet_id == packet_id);
        if let Some(known) = self.known.get(&packet_id) {
            let same = known.id.digest == digest;
            match (same, waits) {
                // Sent twice on one connection: one acknowledgement is due, and in its place already.
                (true, true) => return Arrival::Again,
                (false, true) => return Arrival::IdInUse,
                (true, false) if duplicate || known.acknowledged == Acknowledged::Never => {
                    self.unacknowledged.push_back(Unacknowledged {
                        packet_id,
                        sequence: known.id.sequence,
                        ready: known.decided,
                    });
                    return Arrival::Again;
                }
                _ => {}
            }
        }
        self.last_sequence += 1;
        let id = MessageId {
            sequence: self.last_sequence,
            epoch: self.epoch,
            packet_id,
            digest,
        };
        let known = Known {
            id,
            decided: false,
            acknowledged: Acknowledged::Never,
        };
        self.known.insert(packet_id, known);
        self.unacknowledged.push_back(Unacknowledged {
            packet_id,
            sequence: id.sequence,
            ready: false,
        });
        self.undecided += 1;
        Arrival::New(id)
    }

    /// What follows from the message is kept.
    pub(crate) fn settled(&mut self, id: &MessageId) {
        self.undecided = self.undecided.saturating_sub(1);
        if let Some(known) = self.known.get_mut(&id.packet_id)
            && known.id.sequence == id.sequence
        {
            known.decided = true;
        }
        if let Some(waiting) = self.unacknowledged.iter_mut().find(|u| u.sequence == id.sequence) {
            waiting.ready = true;
        }
    }

    /// The packet ids to acknowledge: in the order in which their messages arrived, as the protocol demands.
    pub(crate) fn take_acks(&mut self) -> Vec<u16> {
        let mut acks = Vec::new();
        while self.unacknowledged.front().is_some_and(|first| first.ready)
            && let Some(first) = self.unacknowledged.pop_front()
        {
            if let Some(known) = self.known.get_mut(&first.packet_id) {
                known.acknowledged = Acknowledged::On(self.link);
            }
            acks.push(first.packet_id);
        }
        acks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: u8) -> Digest {
        Digest([of; 16])
    }

    fn new(session: &mut Session, packet_id: u16, of: u8) -> MessageId {
        match session.arrive(packet_id, digest(of), false) {
            Arrival::New(id) => id,
            other => panic!("not new but {other:?}"),
        }
    }

    fn session() -> Session {
        let mut session = Session::new(&Remembered::default());
        assert_eq!(session.connected(false), Some(1));
        session
    }

    #[test]
    fn acknowledgements_go_out_in_the_order_of_arrival() {
        let mut session = session();
        let ids: Vec<_> = (1..=3).map(|n| new(&mut session, n, n as u8)).collect();
        session.settled(&ids[1]);
        assert_eq!(session.take_acks(), [0u16; 0]);
        session.settled(&ids[0]);
        assert_eq!(session.take_acks(), [1, 2]);
        session.settled(&ids[2]);
        assert_eq!(session.take_acks(), [3]);
        assert_eq!((session.undecided(), session.unacknowledged()), (0, 0));
    }

    #[test]
    fn what_comes_again_after_a_reconnect_is_not_decided_on_again() {
        let mut session = session();
        let decided = new(&mut session, 1, 1);
        let pending = new(&mut session, 2, 2);
        session.settled(&decided);
        assert_eq!(session.connected(true), None);
        // Never acknowledged: even a broker that does not set the flag cannot mean another message.
        assert_eq!(session.arrive(1, digest(1), false), Arrival::Again);
        assert_eq!(session.arrive(2, digest(2), true), Arrival::Again);
        assert_eq!(session.take_acks(), [1]);
        session.settled(&pending);
        assert_eq!(session.take_acks(), [2]);
    }

    #[test]
    fn a_lost_acknowledgement_is_told_by_the_flag_alone() {
        let mut session = session();
        let first = new(&mut session, 1, 1);
        session.settled(&first);
        assert_eq!(session.take_acks(), [1]);
        session.connected(true);
        assert_eq!(session.arrive(1, digest(1), true), Arrival::Again);
        assert_eq!(session.take_acks(), [1]);
        // Acknowledged on this connection: the same words again are a new message, unless they are said to be old.
        assert_eq!(session.arrive(1, digest(1), true), Arrival::Again);
        assert_eq!(session.take_acks(), [1]);
        assert_eq!(new(&mut session, 1, 1).sequence, 2);
    }

    #[test]
    fn another_owner_knows_what_was_decided_on() {
        let mut remembered = Remembered::default();
        let mut old = session();
        let (decided, other) = (new(&mut old, 7, 7), new(&mut old, 8, 8));
        remembered.decide(decided);
        let mut session = Session::new(&remembered);
        session.connected(true);
        assert_eq!(session.arrive(7, digest(7), true), Arrival::Again);
        assert_eq!(session.take_acks(), [7]);
        let again = session.arrive(8, digest(8), true);
        assert_eq!(
            again,
            Arrival::New(other),
            "the same number: it was never decided on"
        );
        // Another message under an id that is known.
        let Arrival::New(id) = session.arrive(7, digest(9), false) else {
            panic!("new")
        };
        assert!(id.sequence > other.sequence);
    }

    #[test]
    fn a_session_that_the_broker_forgot_begins_anew() {
        let mut session = session();
        let old = new(&mut session, 1, 1);
        assert_eq!(session.connected(false), Some(2));
        let id = new(&mut session, 1, 1);
        assert_eq!((id.epoch, id.sequence), (2, 2));
        // The old one's end changes nothing of the new one's.
        session.settled(&old);
        assert_eq!(session.take_acks(), [0u16; 0]);
        session.settled(&id);
        assert_eq!(session.take_acks(), [1]);
    }

    #[test]
    fn an_id_in_use_is_refused() {
        let mut session = session();
        new(&mut session, 1, 1);
        assert_eq!(session.arrive(1, digest(2), false), Arrival::IdInUse);
        assert_eq!(session.arrive(1, digest(1), true), Arrival::Again);
        assert_eq!(session.unacknowledged(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = Remembered::default();
        for sequence in 1..=3_000u64 {
            let packet_id = sequence as u16;
            remembered.decide(MessageId {
                sequence,
                epoch: 1,
                packet_id,
                digest: digest(0),
            });
        }
        assert_eq!(remembered.decided.len(), crate::message::MAX_REMEMBERED);
        assert_eq!(remembered.decided.first().map(|id| id.sequence), Some(1_977));
        assert_eq!(remembered.last_sequence, 3_000);
    }
}
