//! What came from the broker, and what tells it from everything else that did.

use bytes::Bytes;
use ring::digest::{SHA256, digest};

/// Most identities that are worth remembering: no broker has more messages under way to us than that (the receive maximum
/// is at most 1,000; brokers of MQTT 3.1.1 send 20 at a time unless told otherwise).
pub const MAX_REMEMBERED: usize = 1_024;

/// A message as it was taken from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What identifies it; none for QoS 0, which may be lost and is never sent again.
    pub id: Option<MessageId>,
    /// Set where a message from the dead letters is tried again: its letter's id, by which it is decided on once.
    pub replay_of: Option<u128>,
    /// The topic: valid UTF-8 without wildcards, not empty.
    pub topic: String,
    /// The payload: any bytes, no longer than the largest packet.
    pub payload: Bytes,
    /// Whether the broker kept it for those who come later: it tells a state, nothing happened.
    pub retained: bool,
    /// Whether it came already, by another subscription: that it was decided on is kept, and nothing follows from it.
    pub copy: bool,
    /// When it was taken in, Unix time.
    pub received_ms: u64,
}

/// What identifies a message of QoS 1 among all that this cluster's session ever gets.
///
/// `sequence` alone says it; the rest is what a redelivery is recognised by, so it must be kept with the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Grows with every message, over all sessions and owners.
    pub sequence: u64,
    /// Which of the broker's sessions: it grows when the broker has forgotten the one before.
    pub epoch: u64,
    /// The broker's number for the message while it is under way.
    pub packet_id: u16,
    /// Of topic, payload and retain flag.
    pub digest: Digest,
}

/// The first half of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Of what a broker sends again unchanged.
    pub fn of(topic: &str, payload: &[u8], retained: bool) -> Self {
        let mut bytes = Vec::with_capacity(topic.len() + payload.len() + 9);
        bytes.push(u8::from(retained));
        bytes.extend_from_slice(&(topic.len() as u64).to_le_bytes());
        bytes.extend_from_slice(topic.as_bytes());
        bytes.extend_from_slice(payload);
        let mut half = [0; 16];
        half.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..16]);
        Self(half)
    }
}

/// What survives the owner of the bridge: written with the decisions, read by the next owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The session that decisions were made in last.
    pub epoch: u64,
    /// Highest sequence given out that was decided on.
    pub last_sequence: u64,
    /// What was decided on in this epoch: of each packet id the newest, and of those no more than the newest
    /// [`MAX_REMEMBERED`].
    pub decided: Vec<MessageId>,
}

impl Remembered {
    /// Takes over that a message was decided on. The keeper of the decisions does the same with its own rows.
    pub fn decide(&mut self, id: MessageId) {
        if id.epoch > self.epoch {
            self.begin(id.epoch);
        }
        self.last_sequence = self.last_sequence.max(id.sequence);
        self.decided.retain(|known| known.packet_id != id.packet_id);
        self.decided.push(id);
        let surplus = self.decided.len().saturating_sub(MAX_REMEMBERED);
        self.decided.drain(..surplus);
    }

    /// Takes over that the broker began a new session: no message of an older one comes again.
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.decided.clear();
    }

    /// Whether this very message was decided on.
    pub fn has(&self, id: &MessageId) -> bool {
        self.decided.contains(id)
    }
}
