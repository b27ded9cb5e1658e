//! Nodes of one process with automations, and a bridge that does as the test says.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jarvis_automation::wire::{OutcomeOf, ToAutomation, ToBridge, decode, encode};
use jarvis_automation::{AutomationKind, Automations, BridgeKind, Definition, Engine, EngineSettings};
use jarvis_entity::api::{Cx, Entity, EntityError, EntityKind, Inbound, Ledger, Router, Step};
use jarvis_entity::runtime::{EntityDeps, EntityRuntime};
use jarvis_host::{Clock, Faults, SeededEntropy, SystemClock, Tasks};
use jarvis_machine::command::{Command, Letter, RowChange};
use jarvis_mesh::api::Mesh;
use jarvis_mesh::testing::TestBed;
use jarvis_mqtt::Tcp;
use jarvis_replica::api::{ProposeOptions, ReadError, Replica, View};
use jarvis_replica::config::{MemoryDisk, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_replica::testing::{start_member, voters_settled};
use jarvis_rules::facts::Home;
use jarvis_rules::load::load;
use jarvis_rules::run::{Run, RunId};
use jarvis_rules::triggers::{Firing, Slot, Subscriber};
use jarvis_types::limits::BRIDGE_PARTITIONS;
use jarvis_types::{EntityId, KindId, NodeId, PartitionIndex};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

/// How long any condition of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// The level from which on there are automations.
const LEVEL: u32 = 3;
/// Where the bridge keeps what it was sent.
const GOT: &str = "z/";

/// A clock that goes with the system's, and can be set forward.
#[derive(Default)]
pub(crate) struct HouseClock(AtomicI64);

impl HouseClock {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(
            i64::try_from(by.as_millis()).expect("not so long"),
            Ordering::SeqCst,
        );
    }
}

impl Clock for HouseClock {
    fn now_ms(&self) -> u64 {
        SystemClock
            .now_ms()
            .saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

/// How the bridge behaves, on every node.
#[derive(Default)]
pub(crate) struct Manners {
    /// It takes no letters.
    pub(crate) deaf: AtomicBool,
    /// It says of everything that it is done.
    pub(crate) obliging: AtomicBool,
}

/// What the bridge is asked: to write rows and letters in one step.
#[derive(Default, Serialize, Deserialize)]
struct Please {
    rows: Vec<(String, Option<Vec<u8>>)>,
    letters: Vec<(String, Vec<u8>)>,
}

/// A kind that writes what it is asked to, and keeps letters or leaves them.
struct StubKind {
    of: KindId,
    manners: Arc<Manners>,
}

/// Which of the kinds are the real ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Real {
    /// Automations; the bridge does as the test says.
    Automations,
    /// The bridge; automations do as the test says.
    Bridge,
}

impl EntityKind for StubKind {
    type Entity = Stub;

    fn id(&self) -> KindId {
        self.of
    }

    fn since_level(&self) -> u32 {
        LEVEL
    }

    fn name(&self) -> &'static str {
        if self.of == KindId::BRIDGE {
            "bridge"
        } else {
            "automation"
        }
    }

    fn partitions(&self) -> u16 {
        BRIDGE_PARTITIONS
    }

    fn create(&self, _: &EntityId) -> Stub {
        Stub {
            manners: Arc::clone(&self.manners),
            ledger: None,
        }
    }

    fn unfinished(&self, _: &View, _: PartitionIndex) -> Result<Vec<String>, ReadError> {
        let bridge = (self.of == KindId::BRIDGE).then(|| EntityId::bridge().key);
        Ok(bridge.into_iter().collect())
    }
}

struct Stub {
    manners: Arc<Manners>,
    ledger: Option<Ledger>,
}

fn fault(error: ReadError) -> EntityError {
    EntityError::Fault(error.to_string())
}

#[async_trait]
impl Entity for Stub {
    type Event = ();

    async fn on_start(&mut self, cx: &Cx<()>) -> Result<(), EntityError> {
        self.ledger = Some(Ledger::open(cx).map_err(fault)?);
        Ok(())
    }

    async fn on_letters(&mut self, cx: &Cx<()>) -> Result<(), EntityError> {
        let ledger = self.ledger.as_mut().expect("it has started");
        while !self.manners.deaf.load(Ordering::SeqCst) {
            let letters = ledger.letters(cx, 256).map_err(fault)?;
            let Some((taken, _)) = letters.last() else {
                return Ok(());
            };
            let mut step = Step {
                taken: *taken,
                ..Step::default()
            };
            for (number, body) in &letters {
                step.rows.push(RowChange {
                    name: format!("{GOT}{number:08}").into_bytes(),
                    value: Some(body.clone()),
                });
                if self.manners.obliging.load(Ordering::SeqCst)
                    && let Ok(ToBridge::Asked { by, number, .. }) = decode(body)
                {
                    let outcome = ToAutomation::Outcome {
                        run: by.run,
                        number,
                        outcome: OutcomeOf::Done(None),
                        not_reached: Vec::new(),
                    };
                    step.letters.push(letter(&by.automation, &outcome));
                }
            }
            ledger.write(cx, step, None, PATIENCE).await?;
        }
        Ok(())
    }

    async fn on_message(&mut self, cx: &Cx<()>, message: Inbound) -> Result<(), EntityError> {
        let please: Please = decode(&message.body).expect("what the test asks for");
        let rows = please.rows.into_iter().map(|(name, value)| RowChange {
            name: name.into_bytes(),
            value,
        });
        let letters = please.letters.into_iter().map(|(to, body)| Letter {
            to: EntityId::automation(&to),
            body,
        });
        let step = Step {
            rows: rows.collect(),
            taken: 0,
            letters: letters.collect(),
        };
        let ledger = self.ledger.as_mut().expect("it has started");
        ledger.write(cx, step, None, PATIENCE).await?;
        message.answer.send(Bytes::new());
        self.on_letters(cx).await
    }

    async fn on_event(&mut self, _: &Cx<()>, (): ()) -> Result<(), EntityError> {
        Ok(())
    }

    fn is_idle(&self) -> bool {
        false
    }
}

fn letter(automation: &str, what: &ToAutomation) -> Letter {
    Letter {
        to: EntityId::automation(automation),
        body: encode(what),
    }
}

pub(crate) struct Node {
    mesh: Mesh,
    pub(crate) replica: Replica,
    pub(crate) router: Router,
    pub(crate) automations: Automations,
    tasks: Tasks,
}

pub(crate) struct Cluster {
    bed: TestBed,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) clock: Arc<HouseClock>,
    pub(crate) manners: Arc<Manners>,
}

pub(crate) fn options() -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline: PATIENCE,
    }
}

/// One that is to be there.
pub(crate) fn automation(id: &str, head: &str, actions: &str) -> Definition {
    let yaml = format!(
        "- id: {id}\n  triggers: [{{trigger: event, event_type: go, id: start}}]\n{head}\n  actions:\n{actions}"
    );
    let loaded = load(&[("test.yaml", &yaml)]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    Definition::new(loaded.automations[0].clone(), true, 1)
}

/// Its trigger fired.
pub(crate) fn fired(id: &str) -> (String, ToAutomation) {
    let firing = Firing {
        slot: Slot {
            subscriber: Subscriber::Automation(id.to_owned()),
            trigger: 0,
        },
        data: json!({ "id": "start", "idx": "0", "platform": "event" }),
        due_ms: None,
        late: None,
    };
    (id.to_owned(), ToAutomation::Fired(firing))
}

impl Cluster {
    pub(crate) async fn of(count: u64) -> Self {
        Self::with(count, Real::Automations).await
    }

    pub(crate) async fn with(count: u64, real: Real) -> Self {
        let bed = TestBed::default();
        let meshes = bed.cluster(count).await;
        let mut cluster = Self {
            bed,
            nodes: BTreeMap::new(),
            clock: Arc::default(),
            manners: Arc::default(),
        };
        for mesh in meshes {
            cluster.add(mesh, real).await;
        }
        let replicas = cluster.nodes.values().map(|node| &node.replica);
        voters_settled(replicas, cluster.nodes.len())
            .await
            .expect("the voters are what they are meant to be");
        for node in cluster.nodes.keys() {
            cluster
                .find(*node, "all is placed", |view| {
                    let placed = |kind| {
                        let rows = view.query().placement(kind).expect("reads");
                        !rows.is_empty() && rows.iter().all(|row| row.owner.is_some())
                    };
                    (placed(KindId::BRIDGE) && placed(KindId::AUTOMATION)).then_some(())
                })
                .await;
        }
        cluster
    }

    async fn add(&mut self, mesh: Mesh, real: Real) {
        let node = mesh.node();
        let tasks = Tasks::new();
        let config = ReplicaConfig::new(node, StoreChoice::Memory(MemoryDisk::new()));
        let deps = ReplicaDeps {
            transport: Arc::new(mesh.clone()),
            faults: Faults::new(),
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
        };
        let first = self.nodes.values().next().map(|first| &first.replica);
        let replica = start_member(config, deps, first, LEVEL).await.expect("a member");
        let settings = EngineSettings {
            home: Home {
                time_zone: jiff::tz::TimeZone::UTC,
                latitude: 48.0,
                longitude: 2.0,
                elevation_m: 0.0,
            },
            devices: jarvis_devices::Settings::default(),
            mqtt: None,
            publish_within: PATIENCE,
            traces: 5,
            announce: false,
            node: format!("node-{node}"),
            version: "0".into(),
        };
        let entropy = Arc::new(SeededEntropy::new(node.0));
        let engine = Engine::new(
            settings,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy,
            Arc::new(Tcp),
        );
        let deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: tasks.clone(),
        };
        let stub = |of| StubKind {
            of,
            manners: Arc::clone(&self.manners),
        };
        let runtime = EntityRuntime::new(deps);
        let runtime = match real {
            Real::Automations => runtime
                .kind(stub(KindId::BRIDGE))
                .kind(AutomationKind::new(engine.clone())),
            Real::Bridge => runtime
                .kind(BridgeKind::new(engine.clone()))
                .kind(stub(KindId::AUTOMATION)),
        };
        let router = runtime.start().await.expect("starts");
        let automations = Automations::new(engine, router.clone(), replica.clone());
        self.nodes.insert(
            node,
            Node {
                mesh,
                replica,
                router,
                automations,
                tasks,
            },
        );
    }

    pub(crate) fn any(&self) -> &Node {
        self.nodes.values().next().expect("a node")
    }

    /// Drops a node where it stands: its datagrams are lost and its tasks are gone.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).expect("the node is there");
        let others = self.nodes.values().map(|other| &other.mesh);
        self.bed.wires.isolate(&node.mesh, others);
        node.tasks.cancel();
    }

    /// The node that an automation runs on.
    pub(crate) fn owner(&self, automation: &str) -> NodeId {
        let router = &self.any().router;
        router
            .ownership(&EntityId::automation(automation))
            .owner
            .expect("it is placed")
    }

    /// Reads one node's tables again and again until `found` has something.
    pub(crate) async fn find<T>(
        &self,
        at: NodeId,
        what: impl Display,
        found: impl Fn(&View) -> Option<T>,
    ) -> T {
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

    /// The same on any node.
    pub(crate) async fn until<T>(&self, what: impl Display, found: impl Fn(&View) -> Option<T>) -> T {
        let at = *self.nodes.keys().next().expect("a node");
        self.find(at, what, found).await
    }

    /// Waits until an entity's partition is on a node that lives.
    pub(crate) async fn living_owner(&self, entity: &EntityId) -> NodeId {
        let found = self.until(format!("an owner of {entity}"), |view| {
            let partition = view.query().partition_of_entity(entity).expect("reads")?;
            let placement = view
                .query()
                .placement_of(entity.kind, partition)
                .expect("reads")?;
            placement.owner.filter(|owner| self.nodes.contains_key(owner))
        });
        found.await
    }

    /// Has the bridge write definitions and send letters, in one step.
    pub(crate) async fn bridge(
        &self,
        defined: &[(&str, Option<Definition>)],
        letters: Vec<(String, ToAutomation)>,
    ) {
        let rows = defined
            .iter()
            .map(|(id, definition)| (format!("a/{id}"), definition.as_ref().map(encode)));
        let told = defined
            .iter()
            .map(|(id, _)| ((*id).to_owned(), ToAutomation::Defined));
        let letters = told.chain(letters);
        self.write(rows.collect(), letters.collect()).await;
    }

    /// Has the bridge write rows and send letters, in one step.
    pub(crate) async fn write(
        &self,
        rows: Vec<(String, Option<Vec<u8>>)>,
        letters: Vec<(String, ToAutomation)>,
    ) {
        let letters = letters.into_iter().map(|(to, letter)| (to, encode(&letter)));
        let please = Please {
            rows,
            letters: letters.collect(),
        };
        let body = Bytes::from(encode(&please));
        let bridge = EntityId::bridge();
        let asked = self.any().router.ask(&bridge, None, body, PATIENCE);
        asked.await.expect("the bridge does it");
    }

    /// Sends letters past the bridge.
    pub(crate) async fn post(&self, letters: impl IntoIterator<Item = (String, ToAutomation)>) {
        let letters = letters.into_iter().map(|(to, what)| letter(&to, &what));
        let command = Command::Post {
            letters: letters.collect(),
        };
        self.any()
            .replica
            .propose(command, options())
            .await
            .expect("posted");
    }

    /// Waits until the bridge got so many requests, and gives these: whose they are and their numbers, in order.
    pub(crate) async fn asked(&self, count: usize) -> Vec<(RunId, u64)> {
        let found = self.until(format!("{count} requests"), |view| {
            Some(asked(view)).filter(|asked| asked.len() >= count)
        });
        found.await
    }

    /// Waits until so many runs have left their traces.
    pub(crate) async fn traces(&self, automation: &str, count: usize) -> Vec<Run> {
        let found = self.until(format!("{count} traces of {automation}"), |view| {
            Some(runs(view, automation, "t/")).filter(|runs| runs.len() >= count)
        });
        found.await
    }

    /// Waits until so many runs are under way.
    pub(crate) async fn runs(&self, automation: &str, count: usize) -> Vec<Run> {
        let found = self.until(format!("{count} runs of {automation}"), |view| {
            Some(runs(view, automation, "r/")).filter(|runs| runs.len() == count)
        });
        found.await
    }
}

/// What the bridge was asked for so far.
pub(crate) fn asked(view: &View) -> Vec<(RunId, u64)> {
    let rows = view
        .query()
        .entity_rows(&EntityId::bridge(), GOT.as_bytes(), usize::MAX);
    let letters = rows.expect("reads").into_iter();
    let asked = letters.filter_map(|(_, body)| match decode(&body) {
        Ok(ToBridge::Asked { by, number, .. }) => Some((by.run, number)),
        _ => None,
    });
    asked.collect()
}

/// Runs of an automation, as they stand in its rows.
pub(crate) fn runs(view: &View, automation: &str, prefix: &str) -> Vec<Run> {
    let rows = view
        .query()
        .entity_rows(&EntityId::automation(automation), prefix.as_bytes(), usize::MAX);
    let rows = rows.expect("reads").into_iter();
    rows.map(|(_, row)| decode(&row).expect("a run")).collect()
}
