//! What routers and hosts say to one another. Versioned; golden bytes below.

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_mesh::api::Service;
use jarvis_types::codec::{self, CodecError};
use jarvis_types::{EntityId, Epoch, NodeId, RequestId};

/// Mesh service of entity messages.
pub(crate) const SERVICE_ASK: Service = Service(0x0301);

const VERSION: u8 = 1;

/// A message on its way to an entity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AskFrame {
    pub(crate) to: EntityId,
    pub(crate) request: Option<RequestId>,
    pub(crate) body: Vec<u8>,
}

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum AskReply {
    /// The entity's own answer.
    Answer(Vec<u8>),
    /// The partition is elsewhere, as far as this host has applied the log.
    NotOwner { epoch: Epoch, owner: Option<NodeId> },
    /// This host owns the partition but is not ready to act for it.
    NotReady,
    /// The entity's mailbox is full.
    Overloaded,
    /// The entity was set aside.
    Quarantined { restarts: u32, last_error: String },
    /// The entity refused, in its own words.
    Refused(String),
}

impl AskFrame {
    pub(crate) fn encode(&self) -> Result<Bytes, CodecError> {
        codec::encode(VERSION, self).map(Bytes::from)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(VERSION, bytes)
    }
}

impl AskReply {
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(codec::encode(VERSION, self).expect("an entity's answer is bounded by the mesh's frame"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(VERSION, bytes)
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::KindId;

    #[test]
    fn golden_bytes() {
        let frame = AskFrame {
            to: EntityId {
                kind: KindId::SESSION,
                key: "k".into(),
            },
            request: Some("r1".parse().expect("valid")),
            body: vec![9, 8],
        };
        let bytes = frame.encode().expect("small");
        assert_eq!(&bytes[..], [1, 1, 1, b'k', 1, 2, b'r', b'1', 2, 9, 8]);
        assert_eq!(AskFrame::decode(&bytes), Ok(frame));
        for (reply, golden) in [
            (AskReply::Answer(vec![7]), &[1u8, 0, 1, 7][..]),
            (
                AskReply::NotOwner {
                    epoch: Epoch(5),
                    owner: Some(NodeId(2)),
                },
                &[1, 1, 5, 1, 2],
            ),
            (AskReply::NotReady, &[1, 2]),
            (AskReply::Overloaded, &[1, 3]),
            (
                AskReply::Quarantined {
                    restarts: 3,
                    last_error: "e".into(),
                },
                &[1, 4, 3, 1, b'e'],
            ),
            (AskReply::Refused("no".into()), &[1, 5, 2, b'n', b'o']),
        ] {
            assert_eq!(&reply.encode()[..], golden);
            assert_eq!(AskReply::decode(golden), Ok(reply));
        }
    }
}
