//! Takes flashes outside the cluster, and judges whether two owners ever acted at once.
//!
//! On one machine datagrams arrive in the order in which they were sent. So if all flashes of one ownership lie between
//! two moments, no other ownership of that partition may flash between them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use jarvis_types::{Epoch, NodeId, PartitionIndex};
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// A datagram longer than this is none of a beacon's.
const MAX_DATAGRAM_BYTES: usize = 1_024;

/// One act of a beacon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// Which beacon.
    pub key: String,
    /// Its partition.
    pub partition: PartitionIndex,
    /// In which epoch it acted.
    pub epoch: Epoch,
    /// On which node.
    pub node: NodeId,
    /// By which order.
    pub n: u64,
    /// The order's how-manieth, from 0.
    pub i: u16,
    /// When it was made ready, by the node's clock; permission was asked for afterwards.
    pub sent_at_ms: u64,
}

impl Flash {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with text keys")
    }

    /// A flash from a datagram; none if it is something else.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        serde_json::from_slice(datagram).ok()
    }
}

/// Where flashes are recorded.
pub struct Recorder {
    socket: UdpSocket,
    flashes: Vec<(Instant, Flash)>,
}

impl Recorder {
    /// Listens at `address`; port 0: one that is free.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: UdpSocket::bind(address).await?,
            flashes: Vec::new(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes flashes for ever. Safe to drop while it waits.
    ///
    /// # Errors
    /// The network's.
    pub async fn record(&mut self) -> io::Result<()> {
        let mut datagram = [0; MAX_DATAGRAM_BYTES];
        loop {
            let len = self.socket.recv(&mut datagram).await?;
            if let Some(flash) = Flash::decode(&datagram[..len]) {
                self.flashes.push((Instant::now(), flash));
            }
        }
    }

    /// What came, in order.
    pub fn flashes(&self) -> &[(Instant, Flash)] {
        &self.flashes
    }
}

/// Two owners of one partition acted at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixed {
    /// The partition.
    pub partition: PartitionIndex,
    /// One owner and its epoch.
    pub one: (NodeId, Epoch),
    /// The other, which acted between two acts of the first.
    pub other: (NodeId, Epoch),
    /// When the first one's last act was begun, by its node's clock. Long before it came: that node stood still in the middle
    /// of it, which no lease can help; else it acted when it must not.
    pub last_begun_at_ms: u64,
}

impl fmt::Display for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, other) = (self.one, self.other);
        write!(
            f,
            "partition {}: node {} in epoch {} acted between acts of node {} in epoch {}, of which the last was begun at {} ms \
             by that node's clock",
            self.partition, other.0, other.1, one.0, one.1, self.last_begun_at_ms
        )
    }
}

/// First and last act of each ownership, by the order in which they came.
type Spans = BTreeMap<(NodeId, Epoch), (usize, usize)>;

/// Every pair of ownerships whose acts are mixed, for flashes in the order in which they came.
pub fn judge<'a>(flashes: impl IntoIterator<Item = &'a Flash>) -> Vec<Mixed> {
    let flashes: Vec<&Flash> = flashes.into_iter().collect();
    let mut spans: BTreeMap<PartitionIndex, Spans> = BTreeMap::new();
    for (at, flash) in flashes.iter().enumerate() {
        let owner = (flash.node, flash.epoch);
        let span = spans.entry(flash.partition).or_default().entry(owner);
        span.and_modify(|span| span.1 = at).or_insert((at, at));
    }
    let mut mixed = Vec::new();
    for (partition, owners) in spans {
        let mut by_start: Vec<_> = owners.into_iter().collect();
        by_start.sort_by_key(|(_, span)| *span);
        for (index, (one, (_, end))) in by_start.iter().enumerate() {
            let later = by_start[index + 1..].iter();
            let within = later.take_while(|(_, (start, _))| start < end);
            mixed.extend(within.map(|(other, _)| Mixed {
                partition,
                one: *one,
                other: *other,
                last_begun_at_ms: flashes.get(*end).map_or(0, |last| last.sent_at_ms),
            }));
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash((partition, node, epoch): (u16, u64, u64)) -> Flash {
        Flash {
            key: "k".into(),
            partition: PartitionIndex(partition),
            epoch: Epoch(epoch),
            node: NodeId(node),
            n: 1,
            i: 0,
            sent_at_ms: 5,
        }
    }

    #[test]
    fn only_acts_between_another_owners_acts_are_mixed() {
        type Act = (u16, u64, u64);
        let cases: [(&[Act], usize); 5] = [
            (&[(0, 1, 1), (0, 1, 1), (0, 2, 2), (0, 2, 2)], 0),
            (&[(0, 1, 1), (0, 2, 2), (0, 1, 1)], 1),
            (&[(0, 1, 1), (1, 2, 2), (0, 1, 1)], 0),
            (&[(0, 1, 1), (0, 2, 2), (0, 1, 3), (0, 2, 4)], 0),
            (&[(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 1, 1)], 2),
        ];
        for (acts, expected) in cases {
            let flashes: Vec<Flash> = acts.iter().copied().map(flash).collect();
            assert_eq!(judge(&flashes).len(), expected, "{acts:?}");
        }
    }

    #[test]
    fn a_flash_is_one_json_object_and_nothing_else_is_a_flash() {
        let encoded = flash((3, 2, 9)).encode();
        let text = String::from_utf8(encoded.clone()).expect("text");
        assert_eq!(
            text,
            r#"{"key":"k","partition":3,"epoch":9,"node":2,"n":1,"i":0,"sent_at_ms":5}"#
        );
        assert_eq!(Flash::decode(&encoded), Some(flash((3, 2, 9))));
        assert_eq!(Flash::decode(b"\xff{}"), None);
    }
}
