//! Entities over three nodes of one process: routing, failover, fencing, crashes, passivation, drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jarvis_entity::api::{
    AskError, Cx, Entity, EntityError, EntityKind, EntityLimits, Inbound, Ledger, Router, Step,
};
use jarvis_entity::runtime::{ControllerSettings, EntityDeps, EntityRuntime};
use jarvis_host::{SystemClock, Tasks};
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence, Letter, RowChange};
use jarvis_machine::reply::Refusal;
use jarvis_machine::rows::{Cause, NodeIntent, NodeNews};
use jarvis_mesh::api::Mesh;
use jarvis_mesh::testing::TestBed;
use jarvis_replica::api::{ProposeError, ProposeOptions, ReadError, Replica, View};
use jarvis_replica::config::{MemoryDisk, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_replica::testing::{MemoryNetwork, start_member, voters_settled};
use jarvis_types::{EntityId, Epoch, KindId, NodeId, PartitionIndex, SessionId, UserId};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(15);
const ECHO: KindId = KindId::FIRST_TEST_KIND;
const PARTITIONS: u16 = 12;

/// An event that takes [`SLOW`].
const SLOW_EVENT: u32 = 1_000;
const SLOW: Duration = Duration::from_millis(400);

/// Counts what happens to entities, over all nodes.
#[derive(Default)]
struct Events {
    starts: AtomicU32,
    standbys: AtomicU32,
    hangs: AtomicU32,
    /// So many starts more fail.
    failing_starts: AtomicU32,
    unfinished: std::sync::Mutex<Vec<String>>,
}

struct EchoKind(Arc<Events>);

impl EntityKind for EchoKind {
    type Entity = Echo;

    fn id(&self) -> KindId {
        ECHO
    }

    fn name(&self) -> &'static str {
        "echo"
    }

    fn partitions(&self) -> u16 {
        PARTITIONS
    }

    fn create(&self, _: &EntityId) -> Echo {
        Echo {
            events: Arc::clone(&self.0),
            count: 0,
            sum: 0,
            ledger: None,
        }
    }

    fn unfinished(&self, _: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError> {
        let keys = self.0.unfinished.lock().expect("not poisoned");
        Ok(keys
            .iter()
            .filter(|key| jarvis_types::partition_of(key, PARTITIONS) == partition)
            .cloned()
            .collect())
    }
}

struct Echo {
    events: Arc<Events>,
    count: u32,
    /// What it keeps: how much its letters came to.
    sum: u64,
    ledger: Option<Ledger>,
}

#[async_trait]
impl Entity for Echo {
    type Event = u32;

    async fn on_standby(&mut self, _: &Cx<u32>) -> Result<(), EntityError> {
        self.events.standbys.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn on_start(&mut self, cx: &Cx<u32>) -> Result<(), EntityError> {
        self.events.starts.fetch_add(1, Ordering::SeqCst);
        let failing = &self.events.failing_starts;
        let fails = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(EntityError::Fault("told to fail".into()));
        }
        let fault = |error: ReadError| EntityError::Fault(error.to_string());
        self.ledger = Some(Ledger::open(cx).map_err(fault)?);
        self.sum = kept(&cx.rows(SUM, 1).map_err(fault)?);
        Ok(())
    }

    /// Adds each letter to what it keeps, and sends it on to where it says.
    async fn on_letters(&mut self, cx: &Cx<u32>) -> Result<(), EntityError> {
        let ledger = self.ledger.as_mut().expect("it has started");
        loop {
            let letters = ledger.letters(cx, 3);
            let letters = letters.map_err(|error| EntityError::Fault(error.to_string()))?;
            let Some((taken, _)) = letters.last() else {
                return Ok(());
            };
            let mut step = Step {
                taken: *taken,
                ..Step::default()
            };
            let mut sum = self.sum;
            for (_, body) in &letters {
                let text = String::from_utf8_lossy(body);
                let (amount, on) = text.split_once(' ').unwrap_or((&text, ""));
                sum += amount.parse::<u64>().expect("an amount");
                if let Some(key) = on.split(' ').find(|key| !key.is_empty()) {
                    let rest = on.strip_prefix(key).unwrap_or_default();
                    step.letters.push(letter(key, &format!("{amount}{rest}")));
                }
            }
            step.rows = vec![RowChange {
                name: SUM.to_vec(),
                value: Some(sum.to_string().into_bytes()),
            }];
            ledger.write(cx, step, None, Duration::from_millis(500)).await?;
            self.sum = sum;
        }
    }

    async fn on_message(&mut self, cx: &Cx<u32>, message: Inbound) -> Result<(), EntityError> {
        match &message.body[..] {
            b"crash" => return Err(EntityError::Fault("told to crash".into())),
            b"panic" => panic!("told to panic"),
            b"refuse" => message.answer.refuse("no"),
            b"hang" => {
                self.events.hangs.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_secs(3_600)).await;
            }
            b"count" => {
                self.count += 1;
                message.answer.send(Bytes::from(self.count.to_string()));
            }
            b"event" => {
                (cx.events())(41);
                message.answer.send(Bytes::new());
            }
            b"events" => {
                (cx.events())(SLOW_EVENT);
                (cx.events())(41);
                message.answer.send(Bytes::new());
            }
            b"persist" => {
                let step = Step {
                    rows: vec![RowChange {
                        name: SUM.to_vec(),
                        value: Some(b"7".to_vec()),
                    }],
                    ..Step::default()
                };
                let ledger = self.ledger.as_mut().expect("it has started");
                let persisted = ledger.persist(cx, step, None).await;
                message.answer.send(Bytes::from(format!("{persisted:?}")));
            }
            b"propose" => {
                tracing::info!("in the entity's hands");
                let command = Command::CreateSession {
                    session: SessionId(1),
                    user: UserId(1),
                };
                let proposed = cx.propose(command, message.request, PATIENCE).await;
                message.answer.send(Bytes::from(format!("{proposed:?}")));
            }
            _ => message
                .answer
                .send(Bytes::from(format!("{}@{}", cx.replica.node(), cx.epoch))),
        }
        Ok(())
    }

    async fn on_event(&mut self, _: &Cx<u32>, event: u32) -> Result<(), EntityError> {
        if event == SLOW_EVENT {
            sleep(SLOW).await;
            return Ok(());
        }
        self.count += event;
        Ok(())
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// Name of the row in which an entity keeps what its letters came to.
const SUM: &[u8] = b"sum";

fn kept(rows: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    rows.first()
        .map_or(0, |(_, sum)| String::from_utf8_lossy(sum).parse().expect("a sum"))
}

fn echo(key: &str) -> EntityId {
    EntityId {
        kind: ECHO,
        key: key.to_owned(),
    }
}

fn letter(key: &str, body: &str) -> Letter {
    Letter {
        to: echo(key),
        body: body.into(),
    }
}

struct Node {
    mesh: Mesh,
    disk: MemoryDisk,
    replica: Replica,
    router: Router,
    tasks: Tasks,
}

struct Cluster {
    bed: TestBed,
    nodes: BTreeMap<NodeId, Node>,
    events: Arc<Events>,
    limits: EntityLimits,
    /// Carries what the replicas say to one another in place of the mesh, which then stands while a replica is cut off; their
    /// logs are short.
    replication: Option<MemoryNetwork>,
}

fn options() -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline: Duration::from_secs(5),
    }
}

impl Cluster {
    async fn of(count: u64, limits: EntityLimits) -> Self {
        Self::replicating(count, limits, None).await
    }

    async fn replicating(count: u64, limits: EntityLimits, replication: Option<MemoryNetwork>) -> Self {
        let bed = TestBed::default();
        let meshes = bed.cluster(count).await;
        let mut cluster = Self {
            bed,
            nodes: BTreeMap::new(),
            events: Arc::default(),
            limits,
            replication,
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
        let disk = MemoryDisk::new();
        let mut config = ReplicaConfig::new(node, StoreChoice::Memory(disk.clone()));
        if self.replication.is_some() {
            (config.snapshot_every_entries, config.keep_entries) = (20, 4);
        }
        let replication = self.replication.as_ref().map(|network| network.join(node));
        let deps = ReplicaDeps {
            transport: replication.unwrap_or_else(|| Arc::new(mesh.clone())),
            faults: jarvis_host::Faults::new(),
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
        };
        let first = self.nodes.values().next().map(|first| &first.replica);
        let replica = start_member(config, deps, first, 1).await.expect("a member");
        let controller = ControllerSettings {
            balance_after_return: Duration::from_millis(200),
            balance_step_every: Duration::from_millis(50),
            ..Default::default()
        };
        let deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: tasks.clone(),
        };
        let runtime = EntityRuntime::new(deps).kind(EchoKind(Arc::clone(&self.events)));
        let router = runtime
            .limits(self.limits.clone())
            .controller(controller)
            .start()
            .await
            .expect("starts");
        self.nodes.insert(
            node,
            Node {
                mesh,
                disk,
                replica,
                router,
                tasks,
            },
        );
    }

    /// Waits until every partition is on a node that lives, evenly, and all nodes agree.
    async fn settled(&self) {
        let even = usize::from(PARTITIONS) / self.nodes.len();
        self.until("partitions are spread evenly", |router| {
            let table = router.placement();
            let Some(partitions) = table.get(&ECHO) else {
                return false;
            };
            self.nodes.keys().all(|node| {
                let owned = partitions.iter().filter(|p| p.owner == Some(*node)).count();
                (even..=even + 1).contains(&owned)
            })
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Router) -> bool) {
        for node in self.nodes.values() {
            let mut changes = node.router.placement_changes();
            let waited = timeout(PATIENCE, async {
                while !holds(&node.router) {
                    changes.changed().await.expect("the router lives");
                }
            });
            waited
                .await
                .unwrap_or_else(|_| panic!("{what}: not on node {}", node.router.node()));
        }
    }

    fn node(&self, id: u64) -> &Node {
        &self.nodes[&NodeId(id)]
    }

    /// A key whose partition `node` owns.
    fn key_of(&self, node: NodeId) -> EntityId {
        let router = &self.nodes.values().next().expect("a node").router;
        let found = (0..).map(|n| EntityId {
            kind: ECHO,
            key: format!("k{n}"),
        });
        found
            .into_iter()
            .find(|id| router.ownership(id).owner == Some(node))
            .expect("every node owns some")
    }

    async fn ask(&self, from: u64, to: &EntityId, body: &'static str) -> Result<String, AskError> {
        let answer = self
            .node(from)
            .router
            .ask(to, None, Bytes::from(body), Duration::from_secs(10))
            .await?;
        Ok(String::from_utf8(answer.to_vec()).expect("text"))
    }

    /// Drops a node where it stands: its datagrams are lost and its tasks are gone.
    fn kill(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).expect("the node is there");
        self.bed
            .wires
            .isolate(&node.mesh, self.nodes.values().map(|other| &other.mesh));
        node.tasks.cancel();
    }

    async fn leader(&self) -> NodeId {
        let mut state = self.nodes.values().next().expect("a node").replica.state();
        let led = timeout(
            PATIENCE,
            state.wait_for(|s| s.leader.is_some_and(|l| self.nodes.contains_key(&l))),
        );
        led.await
            .expect("in time")
            .expect("lives")
            .leader
            .expect("waited for")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_answers_from_its_owner_whoever_asks() {
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    for owner in 1..=3 {
        let id = cluster.key_of(NodeId(owner));
        for from in 1..=3 {
            let answer = cluster.ask(from, &id, "who").await.expect("answers");
            assert!(answer.starts_with(&format!("{owner}@")), "{answer}");
        }
        assert_eq!(
            cluster.ask(1, &id, "refuse").await,
            Err(AskError::Refused("no".into()))
        );
    }
    let unknown = EntityId {
        kind: KindId(250),
        key: "k".into(),
    };
    let asked = cluster
        .node(1)
        .router
        .ask(&unknown, None, Bytes::new(), Duration::from_millis(100))
        .await;
    assert!(matches!(asked, Err(AskError::Unavailable { .. })), "{asked:?}");
    let nameless = EntityId {
        kind: ECHO,
        key: String::new(),
    };
    assert!(matches!(
        cluster.ask(1, &nameless, "who").await,
        Err(AskError::Refused(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_caller_to_one_entity_keep_their_order() {
    let cluster = Cluster::of(2, EntityLimits::default()).await;
    let id = cluster.key_of(NodeId(2));
    let asks = (0..100).map(|_| cluster.ask(1, &id, "count"));
    let answers = futures_util::future::join_all(asks).await;
    let counts: Vec<u32> = answers
        .into_iter()
        .map(|a| a.expect("answers").parse().expect("a number"))
        .collect();
    assert_eq!(counts, (1..=100).collect::<Vec<u32>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_an_owner_dies_its_entities_go_on_elsewhere_with_a_new_epoch() {
    let mut cluster = Cluster::of(3, EntityLimits::default()).await;
    let leader = cluster.leader().await;
    let victim = cluster
        .nodes
        .keys()
        .copied()
        .find(|node| *node != leader)
        .expect("a follower");
    let id = cluster.key_of(victim);
    cluster
        .events
        .unfinished
        .lock()
        .expect("not poisoned")
        .push(id.key.clone());
    let before: Epoch = cluster.node(leader.0).router.ownership(&id).epoch;
    assert!(
        cluster
            .ask(leader.0, &id, "who")
            .await
            .expect("answers")
            .starts_with(&format!("{victim}@"))
    );
    let starts = cluster.events.starts.load(Ordering::SeqCst);
    cluster.kill(victim);
    // Asked at once, while nobody has noticed yet: the router follows.
    let answer = cluster.ask(leader.0, &id, "who").await.expect("answers");
    let (node, epoch) = answer.split_once('@').expect("node@epoch");
    assert_ne!(node, victim.to_string());
    assert!(epoch.parse::<u64>().expect("a number") > before.0);
    assert_eq!(
        cluster.events.starts.load(Ordering::SeqCst),
        starts + 1,
        "started once, for its unfinished work"
    );
    cluster.settled().await;

    // A write of the old ownership is refused.
    let partition = jarvis_types::partition_of(&id.key, PARTITIONS);
    let fence = Some(Fence {
        kind: ECHO,
        partition,
        epoch: before,
    });
    let deposed = cluster.node(leader.0).replica.propose(
        Command::SetIntent {
            node: leader,
            intent: NodeIntent::Active,
        },
        ProposeOptions { fence, ..options() },
    );
    let refused = deposed.await;
    assert!(
        matches!(refused, Err(ProposeError::Refused(Refusal::StaleEpoch { .. }))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_dies_the_next_one_places_its_entities() {
    let mut cluster = Cluster::of(3, EntityLimits::default()).await;
    let leader = cluster.leader().await;
    let id = cluster.key_of(leader);
    let other = cluster
        .nodes
        .keys()
        .copied()
        .find(|node| *node != leader)
        .expect("another");
    cluster.kill(leader);
    let answer = cluster.ask(other.0, &id, "who").await.expect("answers");
    assert!(!answer.starts_with(&format!("{leader}@")), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_keeps_crashing_is_set_aside_and_its_neighbours_go_on() {
    let limits = EntityLimits {
        crashes: 2,
        restart_delay: Duration::from_millis(1),
        ..EntityLimits::default()
    };
    let cluster = Cluster::of(1, limits).await;
    let bad = EntityId {
        kind: ECHO,
        key: "bad".into(),
    };
    let neighbour = EntityId {
        kind: ECHO,
        key: "good".into(),
    };
    cluster.ask(1, &neighbour, "count").await.expect("answers");
    let started = Instant::now();
    let aside = loop {
        let body = if started.elapsed().as_millis().is_multiple_of(2) {
            "crash"
        } else {
            "panic"
        };
        // A crash leaves the message unanswered; the router sends it again until the entity is set aside.
        match cluster.ask(1, &bad, body).await {
            Err(AskError::Quarantined {
                restarts, last_error, ..
            }) => break (restarts, last_error),
            other => assert!(started.elapsed() < PATIENCE, "{other:?}"),
        }
    };
    assert_eq!(aside.0, 2);
    assert!(aside.1.contains("told to"), "{}", aside.1);
    assert_eq!(cluster.node(1).router.quarantined().len(), 1);
    assert_eq!(
        cluster.ask(1, &neighbour, "count").await,
        Ok("2".into()),
        "the neighbour kept its state"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_set_aside_stays_so_when_only_others_move() {
    let limits = EntityLimits {
        crashes: 1,
        restart_delay: Duration::from_millis(1),
        ..EntityLimits::default()
    };
    let cluster = Cluster::of(2, limits).await;
    let bad = cluster.key_of(NodeId(1));
    let started = Instant::now();
    while !matches!(
        cluster.ask(1, &bad, "crash").await,
        Err(AskError::Quarantined { .. })
    ) {
        assert!(started.elapsed() < PATIENCE, "it is not set aside");
    }
    let drain = Command::SetIntent {
        node: NodeId(2),
        intent: NodeIntent::Draining,
    };
    let drained = cluster.node(1).replica.propose(drain, options());
    drained.await.expect("accepted");
    cluster
        .until("all is on one node", |router| {
            let table = router.placement();
            table[&ECHO].iter().all(|p| p.owner == Some(NodeId(1)))
        })
        .await;
    assert_eq!(cluster.node(1).router.quarantined().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_set_aside_is_tried_again_without_a_message() {
    let limits = EntityLimits {
        crashes: 2,
        restart_delay: Duration::from_millis(1),
        aside_for: Duration::from_millis(200),
        // The sweeper may forget it before its time is over.
        passivate_after: Duration::from_millis(20),
        ..EntityLimits::default()
    };
    let aside_for = limits.aside_for;
    let cluster = Cluster::of(1, limits).await;
    let starts = || cluster.events.starts.load(Ordering::SeqCst);
    cluster.events.failing_starts.store(3, Ordering::SeqCst);
    let began = Instant::now();
    let asked = cluster.ask(1, &echo("alone"), "who").await;
    assert!(matches!(asked, Err(AskError::Quarantined { .. })), "{asked:?}");
    assert_eq!(starts(), 3);
    // From here on nobody asks for it.
    while starts() < 4 {
        assert!(began.elapsed() < PATIENCE, "it is never tried again");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(
        began.elapsed() >= aside_for,
        "tried again after {:?}",
        began.elapsed()
    );
    assert_eq!(cluster.node(1).router.quarantined(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_come_in_a_snapshot_wake_whom_they_are_for() {
    let limits = EntityLimits {
        crashes: 1,
        restart_delay: Duration::from_millis(1),
        ..EntityLimits::default()
    };
    let network = MemoryNetwork::new();
    let cluster = Cluster::replicating(3, limits, Some(network.clone())).await;
    cluster.rise(3).await;
    let leader = cluster.leader().await;
    let behind = cluster.follower(leader);
    let (awaited, own) = (cluster.key_of(behind), cluster.node(behind.0).router.clone());
    let owned = |key: &String| own.ownership(&echo(key)).owner == Some(behind);
    let mut others = (0..).map(|n| format!("other{n}")).filter(owned);
    let mut other = || others.next().expect("every node owns some");
    let (bad, running) = (echo(&other()), echo(&other()));
    assert_eq!(cluster.ask(behind.0, &running, "count").await, Ok("1".into()));
    let crashed = cluster.ask(behind.0, &bad, "crash").await;
    assert!(
        matches!(crashed, Err(AskError::Quarantined { .. })),
        "{crashed:?}"
    );

    // The others see it all the while, so that its partitions stay where they are.
    network.cut([behind]);
    let replica = &cluster.node(leader.0).replica;
    let post = async |to: &EntityId| {
        let letters = vec![letter(&to.key, "1")];
        let posted = replica.propose(Command::Post { letters }, options());
        posted.await.expect("posted");
    };
    post(&awaited).await;
    let (elsewhere, disk) = (cluster.key_of(leader), &cluster.node(leader.0).disk);
    let (began, mut posted, mut most) = (Instant::now(), 0, 0);
    // Until the entries that it lacks are gone from the leader's log.
    while posted < 60 || disk.log_bytes() > most / 2 {
        assert!(began.elapsed() < PATIENCE, "the log is not purged");
        post(&elsewhere).await;
        posted += 1;
        most = most.max(disk.log_bytes());
        sleep(Duration::from_millis(10)).await;
    }
    let mut changes = cluster.node(behind.0).replica.changes();
    network.heal();
    let first = timeout(PATIENCE, changes.recv())
        .await
        .expect("in time")
        .expect("lives");
    assert_eq!(first.changes[..], [Change::Replaced]);
    cluster
        .find(behind, "the letter is taken", |view| {
            let rows = view.query().entity_rows(&awaited, SUM, 1).expect("reads");
            (kept(&rows) == 1).then_some(())
        })
        .await;
    assert_eq!(own.quarantined().len(), 1, "whoever was set aside still is");
    assert_eq!(
        cluster.ask(behind.0, &running, "count").await,
        Ok("2".into()),
        "whoever ran goes on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_another_wrote_is_not_taken_for_the_one_that_was_tried_before() {
    let network = MemoryNetwork::new();
    let cluster = Cluster::replicating(3, EntityLimits::default(), Some(network.clone())).await;
    cluster.rise(3).await;
    let leader = cluster.leader().await;
    let owner = cluster.follower(leader);
    let id = cluster.key_of(owner);
    assert!(cluster.ask(owner.0, &id, "who").await.is_ok(), "it runs");
    network.cut([owner]);
    let persisting = cluster.ask(owner.0, &id, "persist");
    // As a step of an earlier activation in this ownership that comes late.
    let router = &cluster.node(leader.0).router;
    let late = async {
        sleep(Duration::from_millis(700)).await;
        let write = Command::WriteEntity {
            entity: id.clone(),
            based_on: 0,
            rows: vec![RowChange {
                name: b"late".to_vec(),
                value: Some(Vec::new()),
            }],
            taken: 0,
            letters: Vec::new(),
        };
        let fence = Fence {
            kind: ECHO,
            partition: jarvis_types::partition_of(&id.key, PARTITIONS),
            epoch: router.ownership(&id).epoch,
        };
        let options = ProposeOptions {
            fence: Some(fence),
            ..options()
        };
        let written = cluster.node(leader.0).replica.propose(write, options).await;
        written.expect("the majority decides");
        network.heal();
    };
    let (persisted, ()) = tokio::join!(persisting, late);
    let persisted = persisted.expect("it answers");
    assert!(
        persisted.contains("Unknown") && persisted.contains("StaleVersion"),
        "{persisted}"
    );
    let view = cluster
        .node(leader.0)
        .replica
        .linearizable(PATIENCE)
        .await
        .expect("reads");
    assert_eq!(view.query().entity_rows(&id, SUM, 1).expect("reads"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_says_so_at_once() {
    let limits = EntityLimits {
        mailbox_messages: 4,
        ..EntityLimits::default()
    };
    let cluster = Cluster::of(1, limits).await;
    let id = EntityId {
        kind: ECHO,
        key: "busy".into(),
    };
    let router = cluster.node(1).router.clone();
    let hang = {
        let (router, id) = (router.clone(), id.clone());
        async move {
            router
                .ask(&id, None, Bytes::from("hang"), Duration::from_secs(5))
                .await
        }
    };
    let hanging = cluster.node(1).tasks.spawn(hang);
    let started = Instant::now();
    while cluster.events.hangs.load(Ordering::SeqCst) == 0 {
        assert!(started.elapsed() < PATIENCE, "it never hangs");
        sleep(Duration::from_millis(5)).await;
    }
    let started = Instant::now();
    let waiting = (0..8).map(|_| router.ask(&id, None, Bytes::from("who"), Duration::from_millis(500)));
    let answers = futures_util::future::join_all(waiting).await;
    let overloaded = answers
        .iter()
        .filter(|a| matches!(a, Err(AskError::Overloaded(_))))
        .count();
    assert!(overloaded >= 4, "{answers:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_entity_is_passivated_and_comes_back_when_needed() {
    let limits = EntityLimits {
        passivate_after: Duration::from_millis(50),
        ..EntityLimits::default()
    };
    let cluster = Cluster::of(1, limits).await;
    let id = EntityId {
        kind: ECHO,
        key: "sleepy".into(),
    };
    assert_eq!(cluster.ask(1, &id, "event").await, Ok(String::new()));
    assert_eq!(
        cluster.ask(1, &id, "count").await,
        Ok("42".into()),
        "an event of its own was handled in between"
    );
    let started = Instant::now();
    while cluster.node(1).router.activity(&id).0 {
        assert!(started.elapsed() < PATIENCE, "it is never passivated");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        cluster.ask(1, &id, "count").await,
        Ok("1".into()),
        "it began anew"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_with_an_event_waiting_is_not_passivated() {
    let limits = EntityLimits {
        passivate_after: SLOW / 8,
        ..EntityLimits::default()
    };
    let cluster = Cluster::of(1, limits).await;
    let id = EntityId {
        kind: ECHO,
        key: "waiting".into(),
    };
    // One event takes as long as several sweeps, with another behind it.
    assert_eq!(cluster.ask(1, &id, "events").await, Ok(String::new()));
    let started = Instant::now();
    while started.elapsed() < SLOW * 3 / 4 {
        assert!(
            cluster.node(1).router.activity(&id).0,
            "passivated with events waiting"
        );
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cluster.ask(1, &id, "count").await, Ok("42".into()));
    assert_eq!(cluster.events.starts.load(Ordering::SeqCst), 1);
}

/// Where the lines of a test go.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, what: &str) -> Vec<String> {
        let bytes = self.0.lock().expect("not poisoned");
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .filter(|line| line.contains(what))
            .map(str::to_owned)
            .collect()
    }
}

// All on the test's own thread, so that its subscriber sees every line.
#[tokio::test]
async fn a_requests_id_is_in_every_line_about_it() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("info,jarvis_entity=debug,jarvis_replica=debug")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    let leader = cluster.leader().await;
    let owner = (1..=3)
        .map(NodeId)
        .find(|node| *node != leader)
        .expect("a follower");
    let id = cluster.key_of(owner);
    let request = "request-77".parse().expect("a request id");
    let answer = cluster
        .node(leader.0)
        .router
        .ask(&id, Some(request), Bytes::from("propose"), PATIENCE)
        .await;
    assert_eq!(answer, Ok(Bytes::from("Ok(Done)")));
    cluster
        .node(leader.0)
        .replica
        .linearizable(PATIENCE)
        .await
        .expect("reads");
    for what in [
        "the message waits for the entity",
        "in the entity's hands",
        "the proposal has reached the leader",
        "entry applied",
        "proposed",
        "asked",
    ] {
        let found = lines.with(what);
        assert!(
            found.iter().any(|line| line.contains("request_id=request-77")),
            "{what}: {found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_moves_everything_away_and_marks_the_node_drained() {
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    let leader = cluster.leader().await;
    let node = cluster
        .nodes
        .keys()
        .copied()
        .find(|node| *node != leader)
        .expect("a follower");
    let id = cluster.key_of(node);
    let replica = &cluster.node(leader.0).replica;
    let drain = Command::SetIntent {
        node,
        intent: NodeIntent::Draining,
    };
    replica.propose(drain, options()).await.expect("accepted");
    let answer = cluster.ask(node.0, &id, "who").await.expect("answers throughout");
    drop(answer);
    let mut changes = replica.changes();
    let drained = timeout(PATIENCE, async {
        loop {
            let row = replica
                .local()
                .expect("reads")
                .query()
                .node(node)
                .expect("reads")
                .expect("a member");
            if row.intent == NodeIntent::Drained {
                return;
            }
            changes.recv().await.expect("the replica lives");
        }
    });
    drained.await.expect("drained in time");
    // What the drained node has not applied yet it cannot know: it catches up first.
    cluster
        .node(node.0)
        .replica
        .linearizable(PATIENCE)
        .await
        .expect("reads");
    cluster
        .until("the drained node owns nothing", |router| {
            router.ownership(&id).owner != Some(node)
        })
        .await;
    let answer = cluster.ask(node.0, &id, "who").await.expect("answers");
    assert!(!answer.starts_with(&format!("{node}@")), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_between_nodes_that_live_stands_by_first_and_starts_once() {
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    let leader = cluster.leader().await;
    let count = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
    let all: Vec<EntityId> = (0..60)
        .map(|n| EntityId {
            kind: ECHO,
            key: format!("warm{n}"),
        })
        .collect();
    for id in &all {
        cluster.ask(leader.0, id, "who").await.expect("answers");
    }
    for node in cluster.nodes.keys().copied() {
        let own = cluster.node(node.0).router.clone();
        let running: Vec<&EntityId> = all.iter().filter(|id| own.activity(id).0).collect();
        assert!(!running.is_empty(), "node {node} runs some");
        let intent = |intent| Command::SetIntent { node, intent };
        let replica = &cluster.node(leader.0).replica;
        let moved = replica.propose(intent(NodeIntent::Draining), options());
        moved.await.expect("accepted");
        // Asked all the while, from the old owner's own node too: every message has its answer.
        let asks = running
            .iter()
            .flat_map(|id| [leader.0, node.0].map(|from| cluster.ask(from, id, "who")));
        for answer in futures_util::future::join_all(asks).await {
            answer.expect("answers");
        }
        cluster
            .until("the drained node owns nothing", |router| {
                running.iter().all(|id| router.ownership(id).owner != Some(node))
            })
            .await;
        for id in &running {
            let answer = cluster.ask(node.0, id, "who").await.expect("answers");
            assert!(!answer.starts_with(&format!("{node}@")), "{answer}");
        }
        for id in &running {
            let runs = cluster.nodes.values().filter(|other| other.router.activity(id).0);
            assert_eq!(runs.count(), 1, "{id} runs in one place");
        }
        let back = replica.propose(intent(NodeIntent::Active), options());
        back.await.expect("accepted");
        cluster.settled().await;
    }
    assert!(count(&cluster.events.standbys) > 0, "none was ready beforehand");
}

impl Cluster {
    /// Reads one node's tables again and again until `found` has something.
    async fn find<T>(&self, at: NodeId, what: &str, found: impl Fn(&View) -> Option<T>) -> T {
        let replica = &self.nodes[&at].replica;
        let mut changes = replica.changes();
        let searched = timeout(PATIENCE, async {
            loop {
                if let Some(found) = found(&replica.local().expect("reads")) {
                    return found;
                }
                // Not everything that is written wakes those who watch.
                let _ = timeout(Duration::from_millis(20), changes.recv()).await;
            }
        });
        searched
            .await
            .unwrap_or_else(|_| panic!("{what}: not on node {at}"))
    }

    fn follower(&self, leader: NodeId) -> NodeId {
        let mut nodes = self.nodes.keys().copied();
        nodes.find(|node| *node != leader).expect("a follower")
    }

    /// Has every node say that it speaks this level, and waits until the leader has raised it.
    async fn rise(&self, level: u32) {
        let leader = self.leader().await;
        for &node in self.nodes.keys() {
            let announce = Command::AnnounceNode {
                node,
                mesh_address: "m".into(),
                http_url: "h".into(),
                version: "0".into(),
                level,
            };
            let replica = &self.nodes[&leader].replica;
            replica.propose(announce, options()).await.expect("announces");
        }
        self.find(leader, "the level", |view| {
            (view.query().cluster_level().expect("reads") == level).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_is_given_its_share_little_by_little() {
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    cluster.rise(2).await;
    let leader = cluster.leader().await;
    let lost = cluster.follower(leader);
    let owned = |view: &View| {
        let placed = view.query().placement(ECHO).expect("reads");
        placed.iter().filter(|row| row.owner == Some(lost)).count()
    };
    let others = cluster
        .nodes
        .values()
        .filter(|node| node.mesh.node() != lost)
        .map(|node| &node.mesh);
    cluster.bed.wires.isolate(&cluster.nodes[&lost].mesh, others);
    cluster
        .find(leader, "its work is elsewhere", |view| {
            (owned(view) == 0).then_some(())
        })
        .await;
    cluster.bed.wires.mend_all();
    let share = usize::from(PARTITIONS) / 3;
    cluster
        .find(leader, "its share is back", |view| {
            (owned(view) == share).then_some(())
        })
        .await;
    // An eighth of four is less than one: one came at a time, each for the same reason.
    let view = cluster.nodes[&leader].replica.local().expect("reads");
    let query = view.query();
    let mut times = Vec::new();
    for partition in (0..PARTITIONS).map(PartitionIndex) {
        let log = query.placement_log(ECHO, partition).expect("reads");
        let (epoch, last) = log.last().expect("it was placed");
        if last.to == lost {
            times.push(last.at_ms);
            let notes = query.placement_notes(ECHO, partition).expect("reads");
            let (_, note) = notes
                .iter()
                .find(|(noted, _)| noted == epoch)
                .expect("it has a note");
            let news = NodeNews::Returned;
            assert_eq!(note.cause, Some(Cause { node: lost, news }));
        }
    }
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), share, "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_keeps_its_cause_and_how_long_it_took() {
    let mut cluster = Cluster::of(3, EntityLimits::default()).await;
    cluster.rise(2).await;
    let leader = cluster.leader().await;
    let lost = cluster.follower(leader);
    let id = cluster.key_of(lost);
    let partition = jarvis_types::partition_of(&id.key, PARTITIONS);
    *cluster.events.unfinished.lock().expect("not poisoned") = vec![id.key.clone()];
    cluster.kill(lost);
    let note = cluster
        .find(leader, "how long it took", |view| {
            let notes = view.query().placement_notes(ECHO, partition).expect("reads");
            notes
                .last()
                .map(|(_, note)| *note)
                .filter(|note| note.took_ms.is_some())
        })
        .await;
    let news = NodeNews::Silent;
    assert_eq!(note.cause, Some(Cause { node: lost, news }));
    // The tables have it; the router follows them.
    let moved = |router: &Router| router.ownership(&id).owner != Some(lost);
    cluster.until("it has moved", moved).await;
    let now = cluster.nodes[&leader].router.ownership(&id);
    let owner = now.owner.expect("it has one");
    let taken = timeout(PATIENCE, async {
        loop {
            if let Some(taken) = cluster.nodes[&owner].router.taken_up(&id) {
                return taken;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let taken = taken.await.expect("the new owner took it up");
    assert_eq!(
        (taken.epoch, taken.resumed, taken.resumed_this),
        (now.epoch, 1, true)
    );
    let other = cluster
        .nodes
        .keys()
        .copied()
        .find(|node| *node != owner)
        .expect("another");
    assert_eq!(cluster.nodes[&other].router.taken_up(&id), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_is_well_nothing_is_written() {
    let cluster = Cluster::of(3, EntityLimits::default()).await;
    cluster.rise(2).await;
    let leader = cluster.leader().await;
    let replica = &cluster.nodes[&leader].replica;
    // The balancing of nodes that came one after another is over, and each has answered for long enough.
    sleep(Duration::from_secs(1)).await;
    let before = replica.state().borrow().committed;
    sleep(Duration::from_millis(1_500)).await;
    let after = replica.state().borrow().committed;
    assert_eq!(before, after, "three looks of the controller wrote something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_decided_on_once_whoever_dies_meanwhile() {
    let mut cluster = Cluster::of(3, EntityLimits::default()).await;
    cluster.rise(3).await;
    let keys: Vec<String> = (0..12).map(|n| format!("purse{n}")).collect();
    let post = |round: u64| {
        // Each goes through two entities more.
        let hop = |n: usize, by: usize| keys[(n + by) % keys.len()].as_str();
        let letters = (0..keys.len()).map(|n| {
            letter(
                &keys[n],
                &format!("1 {} {}", hop(n, 5), hop(n, 7 + round as usize)),
            )
        });
        Command::Post {
            letters: letters.collect(),
        }
    };
    let rounds = 12;
    let leader = cluster.leader().await;
    let lost = cluster.follower(leader);
    for round in 0..rounds {
        if round == rounds / 2 {
            cluster.kill(lost);
        }
        let replica = cluster.nodes[&leader].replica.clone();
        replica.propose(post(round), options()).await.expect("posted");
    }
    let expected = rounds * keys.len() as u64 * 3;
    let sum = |view: &View| -> u64 {
        let sums = keys.iter().map(|key| {
            let rows = view.query().entity_rows(&echo(key), SUM, 1).expect("reads");
            kept(&rows)
        });
        sums.sum()
    };
    cluster
        .find(leader, "every letter is taken", |view| {
            let waiting = keys.iter().any(|key| {
                let row = view.query().entity(&echo(key)).expect("reads");
                row.is_none_or(|row| row.taken < row.last_letter)
            });
            (!waiting && sum(view) >= expected).then_some(())
        })
        .await;
    let view = cluster.nodes[&leader].replica.local().expect("reads");
    assert_eq!(sum(&view), expected, "none twice");
    // A node that is there all the while, and gains nothing, is told of new ones too.
    let replica = cluster.nodes[&leader].replica.clone();
    let one_more = Command::Post {
        letters: vec![letter(&keys[3], "1")],
    };
    replica.propose(one_more, options()).await.expect("posted");
    cluster
        .find(leader, "one more", |view| {
            (sum(view) == expected + 1).then_some(())
        })
        .await;
}
