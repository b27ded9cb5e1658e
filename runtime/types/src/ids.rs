//! Ids are types. Each is a thin wrapper with the text form people see and the binary form machines keep.

use std::fmt;
use std::str::FromStr;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::limits::{MAX_CLIENT_ID_BYTES, MAX_ENTITY_KEY_BYTES, MAX_NAME_CHARS};

/// A text that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: {why}")]
pub struct InvalidId {
    /// What was expected, such as `session id`.
    pub what: &'static str,
    /// What was given, shortened.
    pub given: String,
    /// What would be right.
    pub why: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, given: &str, why: &'static str) -> Self {
        Self {
            what,
            given: given.chars().take(40).collect(),
            why,
        }
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id!(
    /// A member of the cluster, numbered by the log; never used again once given out.
    NodeId(u64)
);
number_id!(
    /// A person or program that logs in, numbered by the log.
    UserId(u64)
);
number_id!(
    /// Counts the owners a partition has had. A write with an older epoch than the table's is refused.
    Epoch(u64)
);
number_id!(
    /// The place of an entry in its session's transcript: 1, 2, 3, … without gap or repeat.
    Seq(u64)
);
number_id!(
    /// One of a kind's fixed number of partitions.
    PartitionIndex(u16)
);
number_id!(
    /// Which life of a node a proposal comes from: grows with every start of the process.
    Incarnation(u64)
);

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Ulid(self.0), f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Ulid::from_string(text)
                    .map(|id| Self(id.0))
                    .map_err(|_| InvalidId::new($what, text, "expected a ULID of 26 characters"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

ulid_id!(
    /// A cluster, named once at `init`.
    ClusterId,
    "cluster id"
);
ulid_id!(
    /// A chat session.
    SessionId,
    "session id"
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        // Not derived: bytes from a peer or a file are held to the same rule as text.
        impl<Context> Decode<Context> for $name {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
                let text = String::decode(decoder)?;
                text.parse()
                    .map_err(|invalid: InvalidId| DecodeError::OtherString(invalid.to_string()))
            }
        }

        bincode::impl_borrow_decode!($name);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// The id a client gives its own message, a UUID or ULID by custom. The same id again is the same message.
    ClientMessageId
);

impl FromStr for ClientMessageId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty() && text.len() <= MAX_CLIENT_ID_BYTES;
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new(
                "message id",
                text,
                "expected 1 to 64 visible ASCII characters, such as a UUID",
            ))
        }
    }
}

text_id!(
    /// What people call a node. Unique in its cluster.
    NodeName
);

impl FromStr for NodeName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty() && text.len() <= MAX_NAME_CHARS;
        let shape = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.')
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if fits && shape {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new(
                "node name",
                text,
                "expected 1 to 63 letters, digits, '-', '_' or '.'",
            ))
        }
    }
}

text_id!(
    /// Follows one request through gateway, mesh, Raft and actor; taken from `X-Request-ID` or made.
    RequestId
);

impl FromStr for RequestId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = !text.is_empty() && text.len() <= MAX_CLIENT_ID_BYTES;
        if fits
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new(
                "request id",
                text,
                "expected 1 to 64 visible ASCII characters",
            ))
        }
    }
}

/// A kind of entity by number; its name and partitions stand in the replicated table of kinds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct KindId(pub u8);

impl KindId {
    /// Chat sessions.
    pub const SESSION: KindId = KindId(1);
    /// Beacons, by which drills prove that no two nodes act at once.
    pub const BEACON: KindId = KindId(2);
    /// The one that speaks with the home's devices and watches what triggers automations.
    pub const BRIDGE: KindId = KindId(3);
    /// Automations.
    pub const AUTOMATION: KindId = KindId(4);
    /// First of the numbers that only tests use.
    pub const FIRST_TEST_KIND: KindId = KindId(240);
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            KindId::SESSION => f.write_str("session"),
            KindId::BEACON => f.write_str("beacon"),
            KindId::BRIDGE => f.write_str("bridge"),
            KindId::AUTOMATION => f.write_str("automation"),
            KindId(other) => write!(f, "kind-{other}"),
        }
    }
}

/// An actor's name: kind and key, written `session/01J…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct EntityId {
    /// Which kind of entity.
    pub kind: KindId,
    /// Which one of that kind; at most [`MAX_ENTITY_KEY_BYTES`].
    pub key: String,
}

impl EntityId {
    /// The entity of a chat session.
    pub fn session(id: SessionId) -> Self {
        Self {
            kind: KindId::SESSION,
            key: id.to_string(),
        }
    }

    /// The bridge: there is one.
    pub fn bridge() -> Self {
        Self {
            kind: KindId::BRIDGE,
            key: String::from("home"),
        }
    }

    /// The entity of an automation.
    pub fn automation(id: &str) -> Self {
        Self {
            kind: KindId::AUTOMATION,
            key: id.to_owned(),
        }
    }

    /// Whether the key has a length that the wire accepts.
    pub fn is_valid(&self) -> bool {
        !self.key.is_empty() && self.key.len() <= MAX_ENTITY_KEY_BYTES
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// The partition a key belongs to. The hash (XXH64, seed 0) is a promise: it may never change.
pub fn partition_of(key: &str, partitions: u16) -> PartitionIndex {
    debug_assert!(partitions > 0, "a kind has at least one partition");
    let hash = xxhash_rust::xxh64::xxh64(key.as_bytes(), 0);
    // Multiply-shift spreads the high bits over the range without the bias of a remainder.
    let index = (u128::from(hash) * u128::from(partitions)) >> 64;
    PartitionIndex(index as u16)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_of_a_key_never_changes() {
        let golden = [("01J0000000000000000000000A", 40), ("night-lights", 11), ("", 56)];
        let found: Vec<_> = golden
            .iter()
            .map(|(key, _)| (*key, partition_of(key, 60).0))
            .collect();
        assert_eq!(found, golden);
    }

    #[test]
    fn keys_spread_over_all_partitions() {
        let mut count = [0u32; 60];
        for n in 0..60_000 {
            count[usize::from(partition_of(&format!("key-{n}"), 60).0)] += 1;
        }
        assert!(count.iter().all(|&c| (800..1200).contains(&c)), "{count:?}");
    }

    #[test]
    fn names_and_ids_from_outside_are_checked() {
        assert!("kitchen-pi.1".parse::<NodeName>().is_ok());
        for bad in ["", "-x", "a b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
        assert!(
            "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
                .parse::<ClientMessageId>()
                .is_ok()
        );
        for bad in ["", "a b", "\u{7f}", &"x".repeat(65)] {
            assert!(bad.parse::<ClientMessageId>().is_err(), "{bad:?}");
        }
        assert!("not-a-ulid".parse::<SessionId>().is_err());
    }
}
