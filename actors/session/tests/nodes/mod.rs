//! Whole nodes in one process, over real connections on loopback: mesh, replica, entities, sessions.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jarvis_entity::api::Router;
use jarvis_entity::runtime::{EntityDeps, EntityRuntime};
use jarvis_host::{SystemClock, SystemEntropy, Tasks};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_mesh::api::Mesh;
use jarvis_mesh::testing::TestBed;
use jarvis_replica::{MemoryDisk, ProposeOptions, Replica, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_session::api::{Feed, FeedEvent, Sessions, SessionsDeps};
use jarvis_session::entity::{SessionKind, SessionKindDeps};
use jarvis_session::hub::Hub;
use jarvis_session::responder::Responder;
use jarvis_types::chat::ServerFrame;
use jarvis_types::{ClientMessageId, ClusterId, NodeId, Seq, SessionId, UserId};
use tokio::time::Instant;

/// How long any condition of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The user that the first command makes.
pub(crate) const ADMIN: UserId = UserId(1);

pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) replica: Replica,
    pub(crate) router: Router,
    pub(crate) sessions: Sessions,
    tasks: Tasks,
}

pub(crate) struct Cluster {
    pub(crate) bed: TestBed,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
}

impl Cluster {
    /// `count` nodes that have joined; each answers by what `responder` makes for it.
    pub(crate) async fn start(count: u64, responder: impl Fn(NodeId) -> Arc<dyn Responder>) -> Self {
        let bed = TestBed::default();
        let meshes = bed.cluster(count).await;
        let mut cluster = Self {
            bed,
            nodes: BTreeMap::new(),
        };
        for mesh in meshes {
            let id = mesh.node();
            if id != NodeId(1) {
                cluster.admit(id).await;
            }
            let node = Node::start(mesh, responder(id)).await;
            if id == NodeId(1) {
                let admin = "admin".to_owned();
                let command = Command::Initialise {
                    cluster: ClusterId(7),
                    node: new_node(id),
                    admin,
                };
                node.replica
                    .bootstrap(command, options())
                    .await
                    .expect("bootstraps");
            }
            cluster.nodes.insert(id, node);
            let (mesh_address, http_url) = (String::new(), String::new());
            let announce = Command::AnnounceNode {
                node: id,
                mesh_address,
                http_url,
                version: "0.1.0".into(),
                level: 1,
            };
            cluster.propose(announce).await;
            cluster
                .propose(Command::SetIntent {
                    node: id,
                    intent: NodeIntent::Active,
                })
                .await;
        }
        for (id, node) in &cluster.nodes {
            let mut state = node.replica.state();
            let voters = count as usize;
            let ready = state.wait_for(|state| state.voters.len() == voters && state.leader.is_some());
            tokio::time::timeout(PATIENCE, ready)
                .await
                .expect("in time")
                .expect("runs");
            // Every partition has an owner before a test begins.
            until(&format!("placement at node {id}"), || {
                node.sessions.owner(SessionId(1)).0.is_some()
            })
            .await;
        }
        cluster
    }

    async fn admit(&self, id: NodeId) {
        let secret = [id.0 as u8; 32];
        self.propose(Command::CreateInvite {
            secret,
            role: NodeRole::Voter,
            expires_at_ms: u64::MAX,
        })
        .await;
        let joined = self
            .propose(Command::ConsumeInvite {
                secret,
                node: new_node(id),
            })
            .await;
        assert_eq!(joined, Reply::Joined { node: id });
    }

    /// Has every node speak a cluster level, and the cluster be at it.
    pub(crate) async fn raise_level(&self, level: u32) {
        for node in self.nodes.keys() {
            self.propose(Command::AnnounceNode {
                node: *node,
                mesh_address: String::new(),
                http_url: String::new(),
                version: "0.1.0".into(),
                level,
            })
            .await;
        }
        self.propose(Command::RaiseLevel { to: level }).await;
    }

    pub(crate) async fn propose(&self, command: Command) -> Reply {
        let (_, node) = self.nodes.first_key_value().expect("a node");
        node.replica.propose(command, options()).await.expect("applied")
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&NodeId(id)]
    }

    /// A new session, known to every node.
    pub(crate) async fn session(&self) -> SessionId {
        let (_, first) = self.nodes.first_key_value().expect("a node");
        let session = first
            .sessions
            .create(ADMIN, None, PATIENCE)
            .await
            .expect("creates");
        for node in self.nodes.values() {
            until("the session is applied", || {
                node.sessions.messages(ADMIN, session, Seq(0), 1).is_ok()
            })
            .await;
        }
        session
    }

    pub(crate) fn owner(&self, session: SessionId) -> NodeId {
        let (_, node) = self.nodes.first_key_value().expect("a node");
        node.sessions.owner(session).0.expect("it is placed")
    }

    /// Ends a node where it stands.
    pub(crate) async fn kill(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).expect("the node is there");
        node.tasks.cancel();
        for other in self.nodes.values() {
            self.bed.wires.cut(&node.mesh, &other.mesh);
        }
        node.mesh.stop().await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.values().for_each(|node| node.tasks.cancel());
    }
}

impl Node {
    async fn start(mesh: Mesh, responder: Arc<dyn Responder>) -> Self {
        let tasks = Tasks::new();
        let config = ReplicaConfig::new(mesh.node(), StoreChoice::Memory(MemoryDisk::new()));
        let clock = Arc::new(SystemClock);
        let deps = ReplicaDeps {
            transport: Arc::new(mesh.clone()),
            faults: jarvis_host::Faults::new(),
            clock: clock.clone(),
            tasks: tasks.clone(),
        };
        let replica = Replica::start(config, deps).await.expect("starts");
        let hub = Hub::new(replica.clone(), mesh.clone(), tasks.clone());
        let kind = SessionKind::new(SessionKindDeps {
            hub: hub.clone(),
            responder,
            clock: clock.clone(),
            time_zone: Some("UTC".into()),
            history_entries: 20,
        });
        let deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: tasks.clone(),
        };
        let router = EntityRuntime::new(deps).kind(kind).start().await.expect("starts");
        let entropy = Arc::new(SystemEntropy::default());
        let sessions = Sessions::new(SessionsDeps {
            router: router.clone(),
            hub,
            clock,
            entropy,
        });
        Self {
            mesh,
            replica,
            router,
            sessions,
            tasks,
        }
    }
}

fn new_node(id: NodeId) -> NewNode {
    NewNode {
        name: format!("node-{id}").parse().expect("a name"),
        role: NodeRole::Voter,
        mesh_address: String::new(),
        http_url: String::new(),
        version: "0.1.0".to_owned(),
        level: 1,
    }
}

pub(crate) fn options() -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline: PATIENCE,
    }
}

pub(crate) fn message_id(id: &str) -> ClientMessageId {
    id.parse().expect("a valid id")
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let give_up = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < give_up, "{caller}: not reached: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a reader saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// `said` and `reply` frames.
    pub(crate) entries: Vec<ServerFrame>,
    /// Deltas of the reply being written: message, text so far.
    pub(crate) written: Option<(String, String)>,
    /// How often a reply began.
    pub(crate) beginnings: usize,
    /// New owners.
    pub(crate) moves: Vec<NodeId>,
}

pub(crate) struct Reader {
    feed: Feed,
    pub(crate) seen: Seen,
}

impl Reader {
    pub(crate) fn of(node: &Node, session: SessionId, after: u64) -> Self {
        Self {
            feed: node.sessions.follow(session, Seq(after)),
            seen: Seen::default(),
        }
    }

    /// Reads until something holds of what was seen.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !holds(&self.seen) {
            match tokio::time::timeout_at(give_up, self.feed.next()).await {
                Ok(event) => self.seen.take(event),
                Err(_) => panic!("not reached: {what}; seen {:?}", self.seen),
            }
        }
    }

    pub(crate) async fn entries(&mut self, count: usize) {
        self.until(&format!("{count} entries"), |seen| seen.entries.len() >= count)
            .await;
        assert_eq!(self.seen.entries.len(), count, "{:?}", self.seen);
    }
}

impl Seen {
    fn take(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Moved { owner, .. } => self.moves.push(owner),
            FeedEvent::Frame(ServerFrame::Delta {
                reply_to,
                offset,
                text,
            }) => {
                if offset == 0 {
                    self.beginnings += 1;
                    self.written = Some((reply_to, text));
                } else {
                    let (of, so_far) = self.written.as_mut().expect("a reply begins at 0");
                    assert_eq!(
                        (&*of, so_far.chars().count() as u64),
                        (&reply_to, offset),
                        "deltas follow one another"
                    );
                    so_far.push_str(&text);
                }
                let said = |frame: &ServerFrame| matches!(frame, ServerFrame::Said { id, .. } if *id == self.written.as_ref().expect("set").0);
                assert!(
                    self.entries.is_empty() || self.entries.iter().any(said),
                    "a delta follows its message"
                );
            }
            FeedEvent::Frame(frame) => {
                let next = self.entries.last().map(|last| seq(last) + 1);
                assert!(
                    next.is_none_or(|next| next == seq(&frame)),
                    "no gap, no repeat: {:?} then {frame:?}",
                    self.entries
                );
                // The reply takes the place of what was shown of it, which may have been an attempt that failed.
                if let ServerFrame::Reply { reply_to, .. } = &frame {
                    self.written.take_if(|(of, _)| Some(&*of) == reply_to.as_ref());
                }
                self.entries.push(frame);
            }
        }
    }
}

pub(crate) fn seq(frame: &ServerFrame) -> u64 {
    match frame {
        ServerFrame::Said { seq, .. } | ServerFrame::Reply { seq, .. } => *seq,
        other => panic!("no entry: {other:?}"),
    }
}

/// `said:text` and `reply:text`, with what they answer.
pub(crate) fn told(frames: &[ServerFrame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| match frame {
            ServerFrame::Said { seq, id, text, .. } => format!("{seq} {id}: {text}"),
            ServerFrame::Reply {
                seq,
                reply_to,
                text,
                cancelled,
                ..
            } => {
                format!(
                    "{seq} to {}{}: {text}",
                    reply_to.as_deref().unwrap_or("nobody"),
                    if *cancelled { ", cancelled" } else { "" }
                )
            }
            other => panic!("no entry: {other:?}"),
        })
        .collect()
}
