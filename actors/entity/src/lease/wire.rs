//! What holders and grantors say to one another. Versioned; golden bytes below.

use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_mesh::api::Service;
use jarvis_types::codec::{self, CodecError};

use super::grantor::{Asked, Decision};

/// Mesh service of renewals.
pub(crate) const SERVICE_RENEW: Service = Service(0x0302);

const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Renewal {
    applied: u64,
    life: u64,
    lets_go: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Renewed {
    Granted { length_us: u64, past: u64 },
    Behind { need: u64 },
    Wait,
    NotLeading,
    Stranger,
}

impl Asked {
    pub(crate) fn encode(self) -> Result<Bytes, CodecError> {
        let Self {
            applied,
            life,
            lets_go,
        } = self;
        let renewal = Renewal {
            applied,
            life,
            lets_go,
        };
        codec::encode(VERSION, &renewal).map(Bytes::from)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let Renewal {
            applied,
            life,
            lets_go,
        } = codec::decode(VERSION, bytes)?;
        Ok(Self {
            applied,
            life,
            lets_go,
        })
    }
}

impl Decision {
    pub(crate) fn encode(self) -> Result<Bytes, CodecError> {
        let renewed = match self {
            Self::Granted { length, past } => Renewed::Granted {
                length_us: u64::try_from(length.as_micros()).unwrap_or(0),
                past,
            },
            Self::Behind { need } => Renewed::Behind { need },
            Self::Wait => Renewed::Wait,
            Self::NotLeading => Renewed::NotLeading,
            Self::Stranger => Renewed::Stranger,
        };
        codec::encode(VERSION, &renewed).map(Bytes::from)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match codec::decode(VERSION, bytes)? {
            Renewed::Granted { length_us, past } => Self::Granted {
                length: Duration::from_micros(length_us),
                past,
            },
            Renewed::Behind { need } => Self::Behind { need },
            Renewed::Wait => Self::Wait,
            Renewed::NotLeading => Self::NotLeading,
            Renewed::Stranger => Self::Stranger,
        })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let asked = Asked {
            applied: 7,
            life: 5,
            lets_go: true,
        };
        let bytes = asked.encode().expect("small");
        assert_eq!(&bytes[..], [1, 7, 5, 1]);
        assert_eq!(Asked::decode(&bytes), Ok(asked));
        let granted = Decision::Granted {
            length: Duration::from_micros(200),
            past: 9,
        };
        for (decision, golden) in [
            (granted, &[1u8, 0, 200, 9][..]),
            (Decision::Behind { need: 4 }, &[1, 1, 4]),
            (Decision::Wait, &[1, 2]),
            (Decision::NotLeading, &[1, 3]),
            (Decision::Stranger, &[1, 4]),
        ] {
            assert_eq!(&decision.encode().expect("small")[..], golden);
            assert_eq!(Decision::decode(golden), Ok(decision));
        }
    }
}
