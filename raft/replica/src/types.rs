//! The types that openraft is instantiated with, and their encodings.
//!
//! A log entry's payload is the encoded [`Proposal`](jarvis_machine::command::Proposal) and its response the encoded
//! [`Outcome`](jarvis_machine::reply::Outcome): a proposal is encoded once, where it is made, and decoded once a node,
//! where it is applied. Node data is empty: where a node is met stands in the machine's table of nodes.

use std::fmt;
use std::io;

use bytes::Bytes;
use jarvis_types::codec::{self, CodecError};
use openraft::impls::leader_id_std;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// openraft as this crate uses it. One leader a term, as in the Raft paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Blob;
    type R = Blob;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Blob, u64, ()>;
    type Entry = openraft::Entry<CommittedLeaderId, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Decided<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// Tells a proposer what was decided. Who gave up meanwhile is not worth a word: proposals have deadlines.
pub(crate) struct Decided<T>(pub(crate) tokio::sync::oneshot::Sender<T>);

impl<T: openraft::OptionalSend + 'static> openraft::raft::responder::Responder<TypeConfig, T> for Decided<T> {
    fn on_complete(self, result: T) {
        let _ = self.0.send(result);
    }
}

/// The term of a leader that a majority granted.
pub(crate) type CommittedLeaderId =
    <leader_id_std::LeaderId<u64, u64> as openraft::vote::RaftLeaderId>::Committed;
/// A term and an index in the log.
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
/// An entry of the log.
pub(crate) type Entry = <TypeConfig as openraft::RaftTypeConfig>::Entry;
/// Whom a node voted for, and whether a majority did.
pub(crate) type Vote = <TypeConfig as openraft::RaftTypeConfig>::Vote;
/// The members, and the entry that made them so.
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, ()>;
/// What a snapshot contains.
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, ()>;
/// A snapshot with its content.
pub(crate) type Snapshot = openraft::Snapshot<CommittedLeaderId, u64, (), crate::state::SnapshotData>;
/// The running consensus.
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state::StateMachine>;

/// The version byte of records in the log, and of the rows that openraft needs in the state.
pub(crate) const RECORD_VERSION: u8 = 1;

/// The version byte of messages between replicas.
pub(crate) const RPC_VERSION: u8 = 1;

/// Encoded bytes that openraft carries without looking into them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlobVisitor;
        impl Visitor<'_> for BlobVisitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(Bytes::from(bytes)))
            }
        }
        deserializer.deserialize_byte_buf(BlobVisitor)
    }
}

/// A record as it stands on disk: checksum, version, body.
pub(crate) fn seal_record<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    codec::encode_serde(RECORD_VERSION, value)
        .map(|plain| codec::seal(&plain))
        .map_err(io::Error::other)
}

/// Reads what [`seal_record`] wrote. `what` names the record for the person who reads the error.
pub(crate) fn open_record<T: DeserializeOwned>(what: impl fmt::Display, sealed: &[u8]) -> io::Result<T> {
    codec::open(sealed)
        .and_then(|plain| codec::decode_serde(RECORD_VERSION, plain))
        .map_err(|e| match e {
            CodecError::Version { .. } => io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{what} was written by a newer version of jarvis ({e}); upgrade this node"),
            ),
            damaged => io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{what} is damaged: {damaged}"),
            ),
        })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
pub(crate) mod tests {
    use openraft::entry::RaftEntry;
    use openraft::raft::{AppendEntriesRequest, VoteRequest};

    use super::*;

    pub(crate) fn log_id(term: u64, index: u64) -> LogId {
        LogId {
            leader_id: CommittedLeaderId { term },
            index,
        }
    }

    pub(crate) fn entry(term: u64, index: u64, body: &[u8]) -> Entry {
        let payload = openraft::EntryPayload::Normal(Blob(Bytes::copy_from_slice(body)));
        RaftEntry::new(log_id(term, index), payload)
    }

    fn vote(term: u64, node: u64) -> Vote {
        Vote::new_committed(term, node)
    }

    #[test]
    fn golden_bytes_of_records() {
        let sealed = seal_record(&entry(3, 300, b"abc")).expect("encodes");
        assert_eq!(sealed[4..], [1, 3, 251, 44, 1, 1, 3, b'a', b'b', b'c']);
        assert_eq!(
            open_record::<Entry>("entry", &sealed).expect("decodes"),
            entry(3, 300, b"abc")
        );

        let sealed = seal_record(&vote(7, 2)).expect("encodes");
        assert_eq!(sealed[4..], [1, 7, 1, 2, 1]);
        assert_eq!(open_record::<Vote>("vote", &sealed).expect("decodes"), vote(7, 2));

        let blank: Entry = RaftEntry::new(log_id(1, 1), openraft::EntryPayload::Blank);
        assert_eq!(seal_record(&blank).expect("encodes")[4..], [1, 1, 1, 0]);

        let members = openraft::Membership::new_with_defaults(vec![[1, 2].into()], [3]);
        let stored = StoredMembership::new(Some(log_id(1, 4)), members);
        let sealed = seal_record(&stored).expect("encodes");
        assert_eq!(sealed[4..], [1, 1, 1, 4, 1, 2, 1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn golden_bytes_of_requests() {
        let append = AppendEntriesRequest::<TypeConfig> {
            vote: vote(7, 2),
            prev_log_id: Some(log_id(6, 9)),
            entries: vec![entry(7, 10, b"x")],
            leader_commit: None,
        };
        let plain = codec::encode_serde(RPC_VERSION, &append).expect("encodes");
        assert_eq!(plain, [1, 7, 1, 2, 1, 1, 6, 9, 1, 7, 10, 1, 1, b'x', 0]);

        let ask = VoteRequest::<TypeConfig>::new(Vote::new(8, 3), Some(log_id(7, 10)));
        let plain = codec::encode_serde(RPC_VERSION, &ask).expect("encodes");
        assert_eq!(plain, [1, 8, 1, 3, 0, 1, 7, 10, 0]);
    }

    #[test]
    fn damaged_and_newer_records_say_so() {
        let mut sealed = seal_record(&vote(7, 2)).expect("encodes");
        sealed[6] ^= 1;
        let error = open_record::<Vote>("the vote", &sealed).expect_err("a flipped bit");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(
            error
                .to_string()
                .starts_with("the vote is damaged: checksum mismatch"),
            "{error}"
        );

        let newer = codec::seal(&codec::encode_serde(RECORD_VERSION + 1, &vote(7, 2)).expect("encodes"));
        let error = open_record::<Vote>("the vote", &newer).expect_err("a newer version");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("upgrade this node"), "{error}");
    }
}
