//! A few nodes with beacons in one process, and somebody who has the beacons flash again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jarvis_beacon::{Acted, BeaconKind, Beacons, Flash, Order, Recorder, UdpLamp, judge};
use jarvis_entity::api::{LeaseSettings, Router};
use jarvis_entity::runtime::{ControllerSettings, EntityDeps, EntityRuntime};
use jarvis_host::{Clock, SystemClock, Tasks};
use jarvis_machine::command::Command;
use jarvis_machine::rows::NodeIntent;
use jarvis_mesh::api::Mesh;
use jarvis_mesh::testing::TestBed;
use jarvis_replica::api::{ProposeOptions, Replica};
use jarvis_replica::config::{MemoryDisk, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_replica::testing::{start_member, voters_settled};
use jarvis_types::limits::BEACON_PARTITIONS;
use jarvis_types::{EntityId, KindId, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Shorter than any profile's, so that tests see leases end.
pub(crate) const LENGTH: Duration = Duration::from_millis(400);

/// A wall clock that can be set.
#[derive(Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn put_forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        SystemClock
            .now_ms()
            .saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) replica: Replica,
    pub(crate) router: Router,
    pub(crate) clock: Arc<SetClock>,
    tasks: Tasks,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

pub(crate) struct Cluster {
    pub(crate) bed: TestBed,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
}

fn options() -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline: Duration::from_secs(5),
    }
}

impl Cluster {
    pub(crate) async fn of(count: u64) -> Self {
        let bed = TestBed::default();
        let meshes = bed.cluster(count).await;
        let mut cluster = Self {
            bed,
            nodes: BTreeMap::new(),
        };
        for mesh in meshes {
            cluster.add(mesh).await;
        }
        let replicas = cluster.nodes.values().map(|node| &node.replica);
        voters_settled(replicas, cluster.nodes.len())
            .await
            .expect("the voters are what they are meant to be");
        cluster.settled().await;
        cluster
    }

    async fn add(&mut self, mesh: Mesh) {
        let node = mesh.node();
        let tasks = Tasks::new();
        let clock = Arc::new(SetClock::default());
        let config = ReplicaConfig::new(node, StoreChoice::Memory(MemoryDisk::new()));
        let deps = ReplicaDeps {
            transport: Arc::new(mesh.clone()),
            clock: Arc::new(SystemClock),
            faults: jarvis_host::Faults::new(),
            tasks: tasks.clone(),
        };
        let first = self.nodes.values().next().map(|first| &first.replica);
        let replica = start_member(config, deps, first, jarvis_machine::LEVEL)
            .await
            .expect("a member");
        let deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: tasks.clone(),
        };
        let lamp = Arc::new(UdpLamp::default());
        let router = EntityRuntime::new(deps)
            .kind(BeaconKind::new(lamp, Arc::clone(&clock) as Arc<dyn Clock>))
            .controller(ControllerSettings {
                balance_after_return: Duration::from_millis(200),
                ..ControllerSettings::default()
            })
            .leases(LeaseSettings { length: LENGTH })
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .start()
            .await
            .expect("starts");
        let node = Node {
            mesh,
            replica,
            router,
            clock,
            tasks,
        };
        self.nodes.insert(node.router.node(), node);
    }

    /// Waits until every partition is on a node that is still here, evenly, and all agree.
    pub(crate) async fn settled(&self) {
        let even = usize::from(BEACON_PARTITIONS) / self.nodes.len();
        for node in self.nodes.values() {
            let mut changes = node.router.placement_changes();
            let spread = |router: &Router| {
                let table = router.placement();
                table.get(&KindId::BEACON).is_some_and(|partitions| {
                    self.nodes.keys().all(|node| {
                        let owned = partitions.iter().filter(|p| p.owner == Some(*node)).count();
                        (even..=even + 1).contains(&owned)
                    })
                })
            };
            let waited = timeout(PATIENCE, async {
                while !spread(&node.router) {
                    changes.changed().await.expect("the router lives");
                }
            });
            waited.await.expect("partitions are spread evenly in time");
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let nodes = self.nodes.values();
        nodes
            .filter(|node| node.replica.state().borrow().leads)
            .map(|node| node.replica.node())
            .next()
    }

    pub(crate) async fn led_by_another_than(&self, old: NodeId) -> NodeId {
        let started = Instant::now();
        loop {
            let leads = |node: &&Node| node.replica.node() != old && node.replica.state().borrow().leads;
            if let Some(node) = self.nodes.values().find(leads) {
                return node.replica.node();
            }
            assert!(started.elapsed() < PATIENCE, "nobody else leads");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A beacon that `node` owns as far as it knows.
    pub(crate) fn key_of(&self, node: NodeId) -> String {
        let router = &self.node(node).router;
        (0..)
            .map(|n| format!("k{n}"))
            .find(|key| router.ownership(&entity(key)).owner == Some(node))
            .expect("every node owns some")
    }

    pub(crate) async fn set_intent(&self, from: NodeId, node: NodeId, intent: NodeIntent) {
        let command = Command::SetIntent { node, intent };
        let set = self.node(from).replica.propose(command, options()).await;
        set.expect("accepted");
    }

    pub(crate) fn isolate(&self, node: NodeId) {
        let others = self.nodes.values().map(|other| &other.mesh);
        self.bed.wires.isolate(&self.node(node).mesh, others);
    }
}

pub(crate) fn entity(key: &str) -> EntityId {
    EntityId {
        kind: KindId::BEACON,
        key: key.to_owned(),
    }
}

/// Has beacons flash from every node at once, all the time, and records it.
pub(crate) struct Show {
    stop: Arc<AtomicBool>,
    tellers: Vec<JoinHandle<()>>,
    recording: JoinHandle<Recorder>,
    ended: watch::Sender<bool>,
    tasks: Tasks,
}

/// Between two orders of one teller to one beacon.
const AGAIN: Duration = Duration::from_millis(20);

impl Show {
    /// Every node's router is told of every key: a node that is cut off goes on telling its own entities.
    pub(crate) async fn begin(cluster: &Cluster, keys: &[String]) -> Self {
        let mut recorder = Recorder::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a port is free");
        let address = recorder.address().expect("bound");
        let (ended, mut end) = watch::channel(false);
        let tasks = Tasks::new();
        let recording = tasks.spawn(async move {
            tokio::select! {
                error = recorder.record() => panic!("recording ended: {error:?}"),
                _ = end.wait_for(|end| *end) => {}
            }
            // What had arrived by then is taken too.
            let _ = timeout(Duration::from_millis(20), recorder.record()).await;
            recorder
        });
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let mut tellers = Vec::new();
        for node in cluster.nodes.values() {
            for key in keys {
                let (beacons, key) = (Beacons::new(node.router.clone()), key.clone());
                let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
                tellers.push(tasks.spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        let order = Order {
                            recorder: address,
                            n: count.fetch_add(1, Ordering::SeqCst),
                            flashes: 10,
                            every_ms: 2,
                        };
                        // Whatever comes of it: what counts is what the recorder sees.
                        let _ = beacons.tell(&key, &order, None, Duration::from_millis(500)).await;
                        sleep(AGAIN).await;
                    }
                }));
            }
        }
        Self {
            stop,
            tellers,
            recording,
            ended,
            tasks,
        }
    }

    /// Stops, judges, and gives what was seen.
    pub(crate) async fn end(self) -> Vec<(Instant, Flash)> {
        self.stop.store(true, Ordering::SeqCst);
        for teller in self.tellers {
            teller.await.expect("a teller ends");
        }
        self.ended.send_replace(true);
        let recorder = self.recording.await.expect("the recorder ends");
        self.tasks.stop(PATIENCE).await;
        let mixed = judge(recorder.flashes().iter().map(|(_, flash)| flash));
        let said: Vec<String> = mixed.iter().map(ToString::to_string).collect();
        assert!(mixed.is_empty(), "{}", said.join("\n"));
        recorder.flashes().to_vec()
    }
}

/// Waits until the beacon was seen to act from `node`, as asked for through `through`.
pub(crate) async fn acts_on(
    cluster: &Cluster,
    through: NodeId,
    key: &str,
    on: impl Fn(NodeId) -> bool,
) -> NodeId {
    let sink = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let recorder = sink.local_addr().expect("bound");
    let beacons = Beacons::new(cluster.node(through).router.clone());
    let started = Instant::now();
    loop {
        let order = Order::once(recorder, 0);
        let told = beacons.tell(key, &order, None, Duration::from_secs(1)).await;
        if let Ok(Acted::Done { node, .. }) = told
            && on(node)
        {
            return node;
        }
        assert!(started.elapsed() < PATIENCE, "{key} does not act: {told:?}");
        sleep(Duration::from_millis(5)).await;
    }
}
