//! What acts on the world while a drill runs: beacons, told over and over by way of any gateway that answers, and a
//! recorder outside the cluster that takes what they do.
//!
//! ```text
//!  tellers ── POST beacon/KEY ──► any gateway ──► the beacon's owner ── datagram ──► Recorder ──► judge
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jarvis_beacon::{Flash, Mixed, Recorder, judge};
use jarvis_client::Api;
use jarvis_host::Tasks;
use jarvis_types::NodeId;
use reqwest::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use crate::fail::Failure;

/// So many beacons act: enough that every node owns some.
const BEACONS: usize = 6;
/// Between two orders to one beacon.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a gateway may take to answer before another is asked.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Most violations that are shown.
const MAX_SHOWN: usize = 5;

/// Beacons at work.
pub(super) struct Acting {
    stop: watch::Sender<bool>,
    recorder: JoinHandle<Recorder>,
    orders: Arc<AtomicU64>,
}

/// What they did.
#[derive(Debug, Default)]
pub(super) struct Acts {
    /// How many orders were given.
    pub(super) orders: u64,
    /// How many acts came in.
    pub(super) count: usize,
    /// By how many nodes.
    pub(super) nodes: usize,
    /// Two owners that acted at once.
    pub(super) doubles: Vec<String>,
}

impl Acting {
    /// Starts recorder and tellers.
    pub(super) async fn start(nodes: &[(String, Api)], tasks: &Tasks) -> Result<Self, Failure> {
        let what = "no drill was begun";
        let bases: Vec<&str> = nodes.iter().map(|(_, api)| api.base()).collect();
        let own = own_address(&bases)
            .ok_or_else(|| Failure::new(what, "this machine has no address that the nodes could send to"))?;
        let mut recorder = Recorder::bind(SocketAddr::new(own, 0))
            .await
            .map_err(|error| Failure::new(what, format!("what acts cannot be recorded: {error}")))?;
        let address = recorder.address().map_err(|error| Failure::new(what, error))?;
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let recording = tasks.spawn(async move {
            tokio::select! {
                // An error of the network is one act less, not the end.
                () = async {
                    while recorder.record().await.is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                } => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            recorder
        });
        let orders = Arc::new(AtomicU64::new(0));
        for beacon in 0..BEACONS {
            let apis: Vec<Api> = nodes.iter().map(|(_, api)| api.clone()).collect();
            tasks.spawn_until_cancelled(tell(beacon, apis, address, stop.subscribe(), Arc::clone(&orders)));
        }
        Ok(Self {
            stop,
            recorder: recording,
            orders,
        })
    }

    /// Ends it and judges.
    pub(super) async fn finish(self) -> Acts {
        self.stop.send_replace(true);
        let orders = self.orders.load(Ordering::Relaxed);
        let Ok(recorder) = self.recorder.await else {
            return Acts::default();
        };
        let flashes: Vec<Flash> = recorder
            .flashes()
            .iter()
            .map(|(_, flash)| flash.clone())
            .collect();
        let nodes: std::collections::BTreeSet<NodeId> = flashes.iter().map(|flash| flash.node).collect();
        Acts {
            orders,
            count: flashes.len(),
            nodes: nodes.len(),
            doubles: judge(&flashes)
                .iter()
                .take(MAX_SHOWN)
                .map(Mixed::to_string)
                .collect(),
        }
    }
}

/// Tells one beacon to act, again and again. A gateway that does not answer is left for the next one.
async fn tell(
    beacon: usize,
    apis: Vec<Api>,
    recorder: SocketAddr,
    mut stop: watch::Receiver<bool>,
    orders: Arc<AtomicU64>,
) {
    let path = format!("/api/v1/drill/beacon/drill-{beacon}");
    let mut at = beacon;
    while !*stop.borrow_and_update() {
        let n = orders.fetch_add(1, Ordering::Relaxed);
        let body = json!({"recorder": recorder.to_string(), "n": n});
        let api = &apis[at % apis.len().max(1)];
        if api.call(Method::POST, &path, Some(body), TIMEOUT).await.is_err() {
            at += 1;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = stop.changed() => return,
        }
    }
}

/// This machine's address as the nodes see it.
fn own_address(bases: &[&str]) -> Option<IpAddr> {
    bases.iter().find_map(|base| {
        let url = Url::parse(base).ok()?;
        let node = url.socket_addrs(|| None).ok()?.into_iter().next()?;
        let any: IpAddr = if node.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        // Nothing is sent: connecting a UDP socket asks the routing table.
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(node).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorder_is_where_the_nodes_can_reach_it() {
        assert_eq!(
            own_address(&["nonsense", "http://127.0.0.1:8007"]),
            Some(Ipv4Addr::LOCALHOST.into())
        );
        assert_eq!(own_address(&[]), None);
    }
}
