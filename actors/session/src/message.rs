//! What sessions say to one another between nodes. Append only: golden bytes in the tests.

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_types::codec::{self, CodecError};
use jarvis_types::{ClientMessageId, Epoch, Seq, SessionId, UserId};

/// The version byte of all messages here.
const VERSION: u8 = 1;

/// Most sessions named in one [`Watch`].
pub(crate) const MAX_WATCH_ENTRIES: usize = 4_096;

/// To a session's actor.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum ToSession {
    /// A user's message.
    Say {
        user: UserId,
        id: ClientMessageId,
        text: String,
        /// How long the caller waits, in milliseconds.
        budget_ms: u32,
    },
    /// Stops a reply.
    Cancel { user: UserId, id: ClientMessageId },
    /// The transcript has an unanswered message that the actor may not know of.
    Look,
}

/// What a session's actor answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum FromSession {
    /// The message stands in the transcript.
    Said { seq: Seq, at_ms: u64, repeated: bool },
    /// Done; nothing to tell.
    Done,
    /// No such session of that user.
    NotFound,
    /// No majority in time.
    Unavailable { retry_after_ms: u64 },
    /// Too many messages wait.
    Overloaded { retry_after_ms: u64 },
    /// The session has another owner: ask again.
    Moved,
    /// A fault.
    Internal(String),
    /// The text is longer than a transcript takes.
    TooLong(String),
    /// The message can never be taken as it is.
    Invalid(String),
}

/// To the owner of sessions: this node follows them, or does so no longer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Watch {
    pub on: bool,
    /// Each with the epoch in which the receiver is its owner, as the sender knows it.
    pub sessions: Vec<(SessionId, Epoch)>,
}

/// To the nodes that follow a session: part of a reply being written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Delta {
    pub session: SessionId,
    /// The epoch of the owner that writes it: an older owner's parts are not mixed with a newer one's.
    pub epoch: Epoch,
    /// Place of the message that is answered.
    pub to: Seq,
    pub reply_to: ClientMessageId,
    /// Characters from the reply's start.
    pub offset: u64,
    pub text: String,
}

/// A message's bytes. Messages here are far below the codec's limit: texts are bounded before.
pub(crate) fn encode<T: Encode>(message: &T) -> Result<Bytes, CodecError> {
    codec::encode(VERSION, message).map(Bytes::from)
}

/// The message of some bytes.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(VERSION, bytes)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn golden<T: Encode + Decode<()> + Debug + PartialEq>(message: T, bytes: &[u8]) {
        let encoded = encode(&message).expect("encodes");
        assert_eq!(&encoded[..], bytes);
        assert_eq!(decode::<T>(bytes), Ok(message));
    }

    fn id() -> ClientMessageId {
        "m1".parse().expect("a valid id")
    }

    #[test]
    fn golden_bytes() {
        golden(
            ToSession::Say {
                user: UserId(7),
                id: id(),
                text: "hé".into(),
                budget_ms: 300,
            },
            &[1, 0, 7, 2, b'm', b'1', 3, b'h', 0xc3, 0xa9, 251, 44, 1],
        );
        golden(
            ToSession::Cancel {
                user: UserId(7),
                id: id(),
            },
            &[1, 1, 7, 2, b'm', b'1'],
        );
        golden(ToSession::Look, &[1, 2]);
        golden(
            FromSession::Said {
                seq: Seq(3),
                at_ms: 9,
                repeated: true,
            },
            &[1, 0, 3, 9, 1],
        );
        golden(FromSession::Done, &[1, 1]);
        golden(FromSession::NotFound, &[1, 2]);
        golden(FromSession::Unavailable { retry_after_ms: 250 }, &[1, 3, 250]);
        golden(FromSession::Overloaded { retry_after_ms: 5 }, &[1, 4, 5]);
        golden(FromSession::Moved, &[1, 5]);
        golden(FromSession::Internal("x".into()), &[1, 6, 1, b'x']);
        golden(FromSession::TooLong("x".into()), &[1, 7, 1, b'x']);
        golden(FromSession::Invalid("x".into()), &[1, 8, 1, b'x']);
        golden(
            Watch {
                on: true,
                sessions: vec![(SessionId(5), Epoch(2))],
            },
            &[1, 1, 1, 5, 2],
        );
        golden(
            Delta {
                session: SessionId(5),
                epoch: Epoch(2),
                to: Seq(1),
                reply_to: id(),
                offset: 4,
                text: "t".into(),
            },
            &[1, 5, 2, 1, 2, b'm', b'1', 4, 1, b't'],
        );
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert!(decode::<ToSession>(&[1, 9]).is_err());
        assert!(decode::<Watch>(&[1, 1, 253, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
        assert!(decode::<Delta>(&[]).is_err());
    }
}
