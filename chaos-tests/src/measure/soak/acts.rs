//! What acts on the world meanwhile: beacons, told over and over by way of any node that answers, and a recorder outside.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_beacon::{Recorder, judge};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::laws::Broken;
use crate::net::address;

/// So many beacons: enough that every node owns some.
const BEACONS: usize = 6;
/// Between two orders to one beacon.
const PAUSE: Duration = Duration::from_millis(150);
/// How long a node may take before another one is asked.
const ANSWER: Duration = Duration::from_millis(1_500);

/// Beacons at work. Dropped, they are told nothing more.
pub(super) struct Acts {
    stop: watch::Sender<bool>,
    recorder: JoinSet<Recorder>,
    orders: Arc<AtomicU64>,
    tellers: JoinSet<()>,
}

/// What they did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) orders: u64,
    pub(super) acts: usize,
    pub(super) broken: Vec<Broken>,
}

impl Acts {
    /// Begins.
    pub(super) async fn start(cluster: &Cluster, machines: bool) -> Result<Self> {
        let own = if machines {
            address(None)
        } else {
            Ipv4Addr::LOCALHOST
        };
        let mut recorder = Recorder::bind(SocketAddr::new(IpAddr::V4(own), 0)).await?;
        let to = recorder.address()?.to_string();
        let (stop, mut stopped) = watch::channel(false);
        let mut recording = JoinSet::new();
        recording.spawn(async move {
            let recording = async {
                loop {
                    // An error of the network is one act less, not the end.
                    let _ = recorder.record().await;
                    sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = recording => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            recorder
        });
        let orders = Arc::new(AtomicU64::new(0));
        let mut tellers = JoinSet::new();
        for beacon in 0..BEACONS {
            let (eyes, nodes, to) = (cluster.eyes(), cluster.nodes.clone(), to.clone());
            let orders = Arc::clone(&orders);
            tellers.spawn(async move {
                let path = format!("/api/v1/drill/beacon/soak-{beacon}");
                let mut at = beacon;
                loop {
                    let n = orders.fetch_add(1, Ordering::Relaxed);
                    let order = json!({"recorder": to, "n": n});
                    let Some(node) = nodes.get(at % nodes.len().max(1)) else {
                        return;
                    };
                    let told = timeout(ANSWER, eyes.post(node, &path, &order)).await;
                    if !told.is_ok_and(|told| told.is_ok()) {
                        at += 1;
                    }
                    sleep(PAUSE).await;
                }
            });
        }
        Ok(Self {
            stop,
            recorder: recording,
            orders,
            tellers,
        })
    }

    /// Ends it and judges.
    pub(super) async fn end(mut self) -> Result<Done> {
        drop(self.tellers);
        self.stop.send_replace(true);
        let recorder = self.recorder.join_next().await.context("there is one recorder")?;
        let recorder = recorder.context("the recorder panicked")?;
        let flashes = recorder.flashes();
        let mixed = judge(flashes.iter().map(|(_, flash)| flash));
        let broken = mixed.into_iter().map(|mixed| Broken {
            law: "no two owners act at once",
            session: format!("beacon/{}", mixed.partition),
            what: mixed.to_string(),
        });
        Ok(Done {
            orders: self.orders.load(Ordering::Relaxed),
            acts: flashes.len(),
            broken: broken.collect(),
        })
    }
}
