//! Telling a beacon to flash, and what it answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_entity::api::{AskError, Router};
use jarvis_types::codec::{self, CodecError};
use jarvis_types::{EntityId, Epoch, KindId, NodeId, RequestId};

const VERSION: u8 = 1;

/// Most flashes of one order.
pub const MAX_FLASHES: u16 = 200;
/// Longest time from the first to the last flash of one order.
pub const MAX_ORDER_TIME: Duration = Duration::from_secs(2);
/// How long a beacon that may not act yet waits before it says so.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What a beacon is to do.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Who records the flashes; on this machine or a private network.
    pub recorder: SocketAddr,
    /// Which order it is, by the count of whoever gives them.
    pub n: u64,
    /// How many flashes.
    pub flashes: u16,
    /// Between two flashes, in milliseconds.
    pub every_ms: u16,
}

impl Order {
    /// One flash.
    pub fn once(recorder: SocketAddr, n: u64) -> Self {
        Self {
            recorder,
            n,
            flashes: 1,
            every_ms: 0,
        }
    }

    /// Whether it may be carried out.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !is_private(self.recorder.ip()) || self.recorder.port() == 0 {
            return Err(format!(
                "{} is no recorder: its address must be of this machine or of a private network, with a port",
                self.recorder
            ));
        }
        if self.flashes == 0 || self.flashes > MAX_FLASHES {
            return Err(format!("an order has 1 to {MAX_FLASHES} flashes"));
        }
        let lasts = Duration::from_millis(u64::from(self.flashes - 1) * u64::from(self.every_ms));
        if lasts > MAX_ORDER_TIME {
            return Err(format!("an order lasts {MAX_ORDER_TIME:?} at most"));
        }
        Ok(())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(VERSION, bytes)
    }
}

/// Beacons are for drills in one's own house: they send nothing to strangers.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Acted {
    /// It has flashed so many times, which are fewer than ordered if the permission ended in between.
    Done {
        /// The owner.
        node: NodeId,
        /// Its epoch.
        epoch: Epoch,
        /// The order.
        n: u64,
        /// How many flashes were sent.
        flashes: u16,
    },
    /// The owner was not permitted to act in time, or the recorder could not be sent to.
    NotActing {
        /// The owner.
        node: NodeId,
        /// Its epoch.
        epoch: Epoch,
        /// The order.
        n: u64,
    },
}

impl Acted {
    pub(crate) fn encode(&self) -> Result<Bytes, CodecError> {
        codec::encode(VERSION, self).map(Bytes::from)
    }
}

/// Why an order was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// It cannot be carried out.
    #[error("{0}")]
    Order(String),
    /// The beacon was not reached.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What it answered is no answer.
    #[error("the beacon's answer is malformed: {0}")]
    Answer(CodecError),
}

/// All beacons of a cluster.
#[derive(Clone)]
pub struct Beacons {
    router: Router,
}

impl Beacons {
    /// By way of `router`.
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// Has the beacon `key` carry out `order`, wherever it is.
    ///
    /// # Errors
    /// [`TellError`]; after `Ask(Unavailable)` it may have flashed.
    pub async fn tell(
        &self,
        key: &str,
        order: &Order,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Acted, TellError> {
        order.check().map_err(TellError::Order)?;
        let to = EntityId {
            kind: KindId::BEACON,
            key: key.to_owned(),
        };
        let body = codec::encode(VERSION, order).map_err(|error| TellError::Order(error.to_string()))?;
        let answer = self.router.ask(&to, request, Bytes::from(body), deadline).await?;
        codec::decode(VERSION, &answer).map_err(TellError::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_carried_out_is_taken() {
        let order = |recorder: &str, flashes, every_ms| Order {
            recorder: recorder.parse().expect("an address"),
            n: 1,
            flashes,
            every_ms,
        };
        for (good, order) in [
            (true, order("127.0.0.1:9", 1, 0)),
            (true, order("192.168.1.7:9000", 200, 10)),
            (true, order("[::1]:9", 1, 0)),
            (false, order("8.8.8.8:53", 1, 0)),
            (false, order("[2001:db8::1]:53", 1, 0)),
            (false, order("127.0.0.1:0", 1, 0)),
            (false, order("127.0.0.1:9", 0, 0)),
            (false, order("127.0.0.1:9", 201, 0)),
            (false, order("127.0.0.1:9", 3, 1_001)),
        ] {
            assert_eq!(order.check().is_ok(), good, "{order:?}");
        }
    }

    #[test]
    fn golden_bytes() {
        let order = Order::once("127.0.0.1:9".parse().expect("an address"), 7);
        let bytes = codec::encode(VERSION, &order).expect("small");
        assert_eq!(bytes, [1, 0, 127, 0, 0, 1, 9, 7, 1, 0]);
        assert_eq!(Order::decode(&bytes), Ok(order));
        let done = Acted::Done {
            node: NodeId(2),
            epoch: Epoch(3),
            n: 7,
            flashes: 1,
        };
        assert_eq!(&done.encode().expect("small")[..], [1, 0, 2, 3, 7, 1]);
        let not = Acted::NotActing {
            node: NodeId(2),
            epoch: Epoch(3),
            n: 7,
        };
        assert_eq!(&not.encode().expect("small")[..], [1, 1, 2, 3, 7]);
    }
}
