//! The mesh's metrics, each described once.

use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};

use crate::api::Lane;
use crate::frame::lane_name;

const ROUND_TRIP: &str = "jarvis_mesh_round_trip_seconds";
const LANE_BYTES: &str = "jarvis_mesh_lane_bytes_total";
const LANE_MESSAGES: &str = "jarvis_mesh_lane_messages_total";
const CONNECTED: &str = "jarvis_mesh_connected_peers";
const RECONNECTS: &str = "jarvis_mesh_reconnects_total";
const OVERLOADED: &str = "jarvis_mesh_overloaded_total";
const REFUSED: &str = "jarvis_mesh_refused_peers_total";
const TETHERS: &str = "jarvis_mesh_tethers";
const TETHERS_BROKEN: &str = "jarvis_mesh_tethers_broken_total";

/// Says what each of them means.
pub(crate) fn describe() {
    describe_gauge!(
        ROUND_TRIP,
        metrics::Unit::Seconds,
        "Smoothed round trip to a connected peer"
    );
    describe_counter!(
        LANE_BYTES,
        metrics::Unit::Bytes,
        "Bytes of messages on a lane, by direction"
    );
    describe_counter!(LANE_MESSAGES, "Messages on a lane, by direction");
    describe_gauge!(CONNECTED, "Peers with a connection");
    describe_counter!(
        RECONNECTS,
        "Connections made to a peer that had been connected before and was lost"
    );
    describe_counter!(
        OVERLOADED,
        "Messages that were not sent because the queue to the peer was full"
    );
    describe_counter!(REFUSED, "Connections that were refused, by reason");
    describe_gauge!(
        TETHERS,
        "Peers to which a tether is held: all of them where all is well"
    );
    describe_counter!(
        TETHERS_BROKEN,
        "Tethers that broke, by what the peer turned out to be: crashed or alive"
    );
}

pub(crate) fn round_trip(peer: &str, seconds: f64) {
    gauge!(ROUND_TRIP, "peer" => peer.to_owned()).set(seconds);
}

pub(crate) fn connected(node: &str, peers: usize) {
    gauge!(CONNECTED, "node" => node.to_owned()).set(peers as f64);
}

pub(crate) fn reconnected() {
    counter!(RECONNECTS).increment(1);
}

pub(crate) fn overloaded(lane: Lane) {
    counter!(OVERLOADED, "lane" => lane_name(lane)).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// A tether broke, and this is what its peer turned out to be.
pub(crate) fn tether_broken(verdict: &'static str) {
    counter!(TETHERS_BROKEN, "verdict" => verdict).increment(1);
}

/// This many peers are tethered.
pub(crate) fn tethers(peers: usize) {
    gauge!(TETHERS).set(peers as f64);
}

/// Counts one direction of one lane.
#[derive(Clone)]
pub(crate) struct LaneMeter {
    bytes: Counter,
    messages: Counter,
}

impl LaneMeter {
    pub(crate) fn new(lane: Lane, direction: &'static str) -> Self {
        let lane = lane_name(lane);
        Self {
            bytes: counter!(LANE_BYTES, "lane" => lane, "direction" => direction),
            messages: counter!(LANE_MESSAGES, "lane" => lane, "direction" => direction),
        }
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.increment(bytes as u64);
        self.messages.increment(1);
    }
}
