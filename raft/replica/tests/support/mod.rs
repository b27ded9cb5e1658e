//! Clusters of replicas in one process, over the network in memory.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "shared by the test files")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, SystemClock, Tasks};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::NodeRole;
use jarvis_replica::testing::MemoryNetwork;
use jarvis_replica::transport::Transport;
use jarvis_replica::{
    MemoryDisk, ProposeError, ProposeOptions, RaftTimers, Replica, ReplicaConfig, ReplicaDeps, ReplicaState,
    StartError, StoreChoice, View,
};
use jarvis_types::{ClusterId, NodeId, Seq, SessionId, UserId};

/// How long any condition of a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Puts something between a node and the network.
pub type Wrapping = Box<dyn Fn(Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync>;

/// Where a cluster's nodes keep their data.
pub enum Disks {
    /// In memory.
    Memory(BTreeMap<NodeId, MemoryDisk>),
    /// In folders.
    Files(tempfile::TempDir),
}

/// Replicas and what they stand on.
pub struct Cluster {
    pub network: MemoryNetwork,
    pub disks: Disks,
    pub replicas: BTreeMap<NodeId, Replica>,
    pub snapshot_every: u64,
    /// Bytes between two snapshots, and behind one; where none are given, the usual.
    pub log_bytes: Option<(u64, u64)>,
    /// What nodes that are started see of the network.
    pub transport: Option<Wrapping>,
    pub timers: RaftTimers,
    /// Where one is not listed it is the system's.
    pub clocks: BTreeMap<NodeId, Arc<dyn Clock>>,
    /// How long a voter may be away.
    pub replace_after: Duration,
    /// Whether a slow disk may cost the vote.
    pub demote_slow_disk: bool,
    /// The level that a node speaks; where one is not listed it is the build's.
    pub speaks_level: BTreeMap<NodeId, u32>,
}

impl Cluster {
    /// Without nodes, in memory.
    pub fn in_memory() -> Self {
        Self::on(Disks::Memory(BTreeMap::new()))
    }

    /// Without nodes, in files.
    pub fn in_files() -> Self {
        Self::on(Disks::Files(tempfile::tempdir().expect("a folder")))
    }

    fn on(disks: Disks) -> Self {
        Self {
            network: MemoryNetwork::new(),
            disks,
            replicas: BTreeMap::new(),
            snapshot_every: 5_000,
            log_bytes: None,
            transport: None,
            timers: RaftTimers::lan(),
            clocks: BTreeMap::new(),
            replace_after: Duration::from_secs(600),
            demote_slow_disk: false,
            speaks_level: BTreeMap::new(),
        }
    }

    /// Three voters.
    pub async fn three(mut self) -> Self {
        self.bootstrap().await;
        for _ in 0..2 {
            self.join().await;
        }
        self.until_all("three voters", |state| state.voters.len() == 3 && !state.joint)
            .await;
        self
    }

    /// Starts node 1 as a new cluster.
    pub async fn bootstrap(&mut self) {
        let first = NodeId(1);
        self.start(first, false).await.expect("starts");
        let command = Command::Initialise {
            cluster: ClusterId(7),
            node: new_node("node-1"),
            admin: "admin".to_owned(),
        };
        self.replicas[&first]
            .bootstrap(command, options())
            .await
            .expect("bootstraps");
        self.announce(first).await;
    }

    /// Admits a node, starts it, and has it report for work.
    pub async fn join(&mut self) -> NodeId {
        let node = self.admit().await;
        self.start(node, false).await.expect("starts");
        self.announce(node).await;
        node
    }

    /// Admits a node without starting it.
    pub async fn admit(&self) -> NodeId {
        let name = format!("node-{}", self.replicas.len() + 1);
        let secret = [self.replicas.len() as u8 + 1; 32];
        let create = Command::CreateInvite {
            secret,
            role: NodeRole::Voter,
            expires_at_ms: u64::MAX,
        };
        self.propose(create).await.expect("invites");
        match self
            .propose(Command::ConsumeInvite {
                secret,
                node: new_node(&name),
            })
            .await
        {
            Ok(Reply::Joined { node }) => node,
            other => panic!("not admitted: {other:?}"),
        }
    }

    /// Has a node report for work.
    pub async fn announce(&self, node: NodeId) {
        self.propose(announce(node)).await.expect("reports for work");
    }

    /// Starts a node on its disk.
    pub async fn start(&mut self, node: NodeId, expect_existing: bool) -> Result<(), StartError> {
        let store = match &mut self.disks {
            Disks::Memory(disks) => StoreChoice::Memory(disks.entry(node).or_default().clone()),
            Disks::Files(folder) => StoreChoice::Redb(folder.path().join(node.to_string())),
        };
        let mut config = ReplicaConfig::new(node, store);
        config.snapshot_every_entries = self.snapshot_every;
        config.keep_entries = self.snapshot_every / 5;
        if let Some(bytes) = self.log_bytes {
            (config.snapshot_every_bytes, config.keep_bytes) = bytes;
        }
        config.expect_existing = expect_existing;
        config.timers = self.timers;
        config.replace_after = self.replace_after;
        config.demote_slow_disk = self.demote_slow_disk;
        if let Some(level) = self.speaks_level.get(&node) {
            config.speaks_level = *level;
        }
        let clock = self.clocks.get(&node).cloned();
        let network = self.network.join(node);
        let deps = ReplicaDeps {
            transport: match &self.transport {
                Some(wrapped) => wrapped(network),
                None => network,
            },
            faults: jarvis_host::Faults::new(),
            clock: clock.unwrap_or_else(|| Arc::new(SystemClock)),
            tasks: Tasks::new(),
        };
        let replica = Replica::start(config, deps).await?;
        self.replicas.insert(node, replica);
        Ok(())
    }

    /// Drops a node where it stands.
    pub fn kill(&mut self, node: NodeId) {
        self.replicas.remove(&node).expect("the node is there");
    }

    /// Gives a node a disk of its own kind.
    pub fn disk(&mut self, node: NodeId, disk: MemoryDisk) {
        match &mut self.disks {
            Disks::Memory(disks) => drop(disks.insert(node, disk)),
            Disks::Files(_) => panic!("in files"),
        }
    }

    /// A copy of what is synced on a node's disk.
    pub fn copy_of_disk(&self, node: NodeId) -> MemoryDisk {
        match &self.disks {
            Disks::Memory(disks) => disks[&node].copy(),
            Disks::Files(_) => panic!("in files"),
        }
    }

    /// All nodes stop where they stand; in memory, what was not synced is gone.
    pub fn power_cut(&mut self) {
        for replica in self.replicas.values() {
            replica.kill();
        }
        self.replicas.clear();
        match &self.disks {
            Disks::Memory(disks) => disks.values().for_each(MemoryDisk::crash),
            // What the system holds of a file outlives the process; torn and lost writes are the log's own tests'.
            Disks::Files(_) => {}
        }
    }

    /// Proposes at the first node.
    pub async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        let (_, replica) = self.replicas.first_key_value().expect("a node");
        replica.propose(command, options()).await
    }

    /// Waits until every node's state is as wanted.
    pub async fn until_all(&self, what: &str, wanted: impl Fn(&ReplicaState) -> bool) {
        for (node, replica) in &self.replicas {
            until(replica, &format!("{what} at node {node}"), &wanted).await;
        }
    }

    /// The node that leads and knows that the majority follows.
    pub async fn leader(&self) -> NodeId {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some((node, _)) = self
                .replicas
                .iter()
                .find(|(_, replica)| replica.state().borrow().leads)
            {
                return *node;
            }
            assert!(tokio::time::Instant::now() < give_up, "nobody leads");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A node that does not lead.
    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        *self
            .replicas
            .keys()
            .find(|node| **node != leader)
            .expect("a follower")
    }

    /// Stops all nodes cleanly.
    pub async fn stop(&mut self) {
        for replica in self.replicas.values() {
            replica.stop().await;
        }
        self.replicas.clear();
    }

    /// A node's folder.
    pub fn folder(&self, node: NodeId) -> std::path::PathBuf {
        match &self.disks {
            Disks::Files(folder) => Path::join(folder.path(), node.to_string()),
            Disks::Memory(_) => panic!("in memory"),
        }
    }
}

/// Waits until a node's state is as wanted.
pub async fn until(replica: &Replica, what: &str, wanted: impl Fn(&ReplicaState) -> bool) {
    let mut state = replica.state();
    let reached = tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state)))
        .await
        .map(|r| r.is_ok());
    assert!(
        matches!(reached, Ok(true)),
        "not reached: {what}; state is {:?}",
        replica.state().borrow()
    );
}

/// How many messages these sessions have.
pub fn count(view: &View, sessions: std::ops::RangeInclusive<u128>) -> usize {
    sessions
        .map(|session| {
            let found = view.query().messages(SessionId(session), Seq(0), usize::MAX);
            found.expect("reads").len()
        })
        .sum()
}

/// Options with a long deadline.
pub fn options() -> ProposeOptions {
    within(PATIENCE)
}

/// Options with this deadline.
pub fn within(deadline: Duration) -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline,
    }
}

/// A node that becomes a member.
pub fn new_node(name: &str) -> NewNode {
    NewNode {
        name: name.parse().expect("a name"),
        role: NodeRole::Voter,
        mesh_address: "127.0.0.1:8007".to_owned(),
        http_url: "http://127.0.0.1:8007".to_owned(),
        version: "0.1.0".to_owned(),
        level: 1,
    }
}

/// A node reports for work.
pub fn announce(node: NodeId) -> Command {
    Command::AnnounceNode {
        node,
        mesh_address: format!("127.0.0.1:{}", 8000 + node.0),
        http_url: format!("http://127.0.0.1:{}", 8000 + node.0),
        version: "0.1.0".to_owned(),
        level: 1,
    }
}

/// The administrator that `Initialise` makes.
pub const ADMIN: UserId = UserId(1);

/// A session of the administrator's.
pub fn create_session(session: u128) -> Command {
    Command::CreateSession {
        session: SessionId(session),
        user: ADMIN,
    }
}

/// A message in it.
pub fn say(session: u128, id: &str) -> Command {
    Command::Say {
        session: SessionId(session),
        user: ADMIN,
        id: id.parse().expect("an id"),
        text: format!("text of {id}"),
    }
}
