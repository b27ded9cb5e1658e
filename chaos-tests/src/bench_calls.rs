//! Entity calls between two nodes in two processes: router, mesh with mutual TLS, mailbox, and back.
//!
//! The parent is node 1 and asks; the child is node 2 and answers. Both run the product's mesh, replica and entity
//! runtime with a kind that echoes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use jarvis_entity::api::{Cx, Entity, EntityError, EntityKind, Inbound, Router};
use jarvis_entity::runtime::{EntityDeps, EntityRuntime};
use jarvis_host::{Clock, Entropy, SystemClock, SystemEntropy, Tasks};
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::rows::NodeRole;
use jarvis_mesh::api::{Member, Mesh};
use jarvis_mesh::identity::{ClusterCa, NodeIdentity};
use jarvis_mesh::mesh::{MeshConfig, MeshDeps};
use jarvis_mesh::store::TlsStore;
use jarvis_mesh::transport::{MeshTimers, bind_udp};
use jarvis_replica::api::{ProposeOptions, ReadError, Replica, View};
use jarvis_replica::config::{MemoryDisk, ReplicaConfig, ReplicaDeps, StoreChoice};
use jarvis_types::{ClusterId, EntityId, KindId, NodeId, NodeName, PartitionIndex};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bench::{Latency, microseconds};
use crate::report::say;

const CLUSTER: ClusterId = ClusterId(1);
const ECHO: KindId = KindId::FIRST_TEST_KIND;
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a call, as in the comparisons.
const BODY: usize = 100;

struct EchoKind;

struct Echo;

impl EntityKind for EchoKind {
    type Entity = Echo;

    fn id(&self) -> KindId {
        ECHO
    }

    fn name(&self) -> &'static str {
        "echo"
    }

    fn partitions(&self) -> u16 {
        64
    }

    fn create(&self, _: &EntityId) -> Echo {
        Echo
    }

    fn unfinished(&self, _: &View, _: PartitionIndex) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Entity for Echo {
    type Event = ();

    async fn on_start(&mut self, _: &Cx<()>) -> Result<(), EntityError> {
        Ok(())
    }

    async fn on_message(&mut self, _: &Cx<()>, message: Inbound) -> Result<(), EntityError> {
        message.answer.send(message.body);
        Ok(())
    }

    async fn on_event(&mut self, _: &Cx<()>, (): ()) -> Result<(), EntityError> {
        Ok(())
    }

    fn is_idle(&self) -> bool {
        true
    }
}

struct Node {
    mesh: Mesh,
    replica: Replica,
    router: Router,
    tasks: Tasks,
}

fn name(node: NodeId) -> Result<NodeName> {
    Ok(format!("bench{node}").parse()?)
}

impl Node {
    async fn start(node: NodeId, folder: &Path) -> Result<Self> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
        let tasks = Tasks::new();
        let identity = TlsStore::new(folder)
            .load_identity()?
            .context("the parent left an identity")?;
        let deps = MeshDeps {
            identity,
            socket: bind_udp("127.0.0.1:0".parse()?)?,
            runtime: Arc::new(quinn::TokioRuntime),
            clock: Arc::clone(&clock),
            entropy,
            tasks: tasks.clone(),
        };
        let mesh = Mesh::start(
            MeshConfig {
                cluster: CLUSTER,
                node,
                timers: MeshTimers::lan(),
            },
            deps,
        )?;
        let config = ReplicaConfig::new(node, StoreChoice::Memory(MemoryDisk::new()));
        let deps = ReplicaDeps {
            transport: Arc::new(mesh.clone()),
            clock,
            faults: jarvis_host::Faults::new(),
            tasks: tasks.clone(),
        };
        let replica = Replica::start(config, deps).await?;
        let deps = EntityDeps {
            mesh: mesh.clone(),
            replica: replica.clone(),
            tasks: tasks.clone(),
        };
        let router = EntityRuntime::new(deps).kind(EchoKind).start().await?;
        Ok(Self {
            mesh,
            replica,
            router,
            tasks,
        })
    }

    fn meet(&self, other: NodeId, address: String) -> Result<()> {
        let own = self.mesh.local_addr()?.to_string();
        let member = |node, address| {
            anyhow::Ok(Member {
                node,
                name: name(node)?,
                address,
            })
        };
        self.mesh
            .set_members(vec![member(self.mesh.node(), own)?, member(other, address)?]);
        Ok(())
    }

    async fn announce(&self) -> Result<()> {
        let announce = Command::AnnounceNode {
            node: self.replica.node(),
            mesh_address: "m".into(),
            http_url: "h".into(),
            version: "0".into(),
            level: 1,
        };
        self.replica.propose(announce, options()).await?;
        Ok(())
    }
}

fn options() -> ProposeOptions {
    ProposeOptions {
        fence: None,
        request: None,
        deadline: PATIENCE,
    }
}

fn new_node(node: NodeId) -> Result<NewNode> {
    let (mesh_address, http_url, version) = (String::new(), String::new(), "0".to_owned());
    Ok(NewNode {
        name: name(node)?,
        role: NodeRole::Voter,
        mesh_address,
        http_url,
        version,
        level: 1,
    })
}

/// The child: node 2. Says its address, reads the parent's, serves until its input ends.
///
/// # Errors
/// Where a part does not start.
pub async fn child(folder: &Path) -> Result<()> {
    let node = Node::start(NodeId(2), folder).await?;
    say(&node.mesh.local_addr()?.to_string());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let parent = lines.next_line().await?.context("the parent says its address")?;
    node.meet(NodeId(1), parent)?;
    node.announce().await?;
    // The end of input is the parent's end.
    while lines.next_line().await?.is_some() {}
    node.tasks.cancel();
    Ok(())
}

/// Calls between two nodes.
#[derive(Debug, Clone, Serialize)]
pub struct CallRates {
    /// One call after the other.
    pub sequential: Latency,
    /// 64 callers at a time.
    pub callers_64: Latency,
}

/// Measures, each for `lasting`.
///
/// # Errors
/// Where the nodes do not find one another.
pub async fn calls(tool: PathBuf, lasting: Duration) -> Result<CallRates> {
    let folder = tempfile::tempdir()?;
    let (clock, entropy) = (SystemClock, SystemEntropy::default());
    let ca = ClusterCa::create(CLUSTER, &clock, &entropy)?;
    for node in [NodeId(1), NodeId(2)] {
        let ttl = Duration::from_secs(3_600);
        let identity = NodeIdentity::self_issued(&ca, CLUSTER, node, &name(node)?, &clock, &entropy, ttl)?;
        TlsStore::new(&folder.path().join(node.to_string())).save_identity(&identity)?;
    }
    let node = Node::start(NodeId(1), &folder.path().join("1")).await?;
    let command = Command::Initialise {
        cluster: CLUSTER,
        node: new_node(NodeId(1))?,
        admin: "admin".into(),
    };
    node.replica.bootstrap(command, options()).await?;
    node.announce().await?;
    let secret = [7; 32];
    let invite = Command::CreateInvite {
        secret,
        role: NodeRole::Voter,
        expires_at_ms: u64::MAX,
    };
    node.replica.propose(invite, options()).await?;
    node.replica
        .propose(
            Command::ConsumeInvite {
                secret,
                node: new_node(NodeId(2))?,
            },
            options(),
        )
        .await?;

    let mut child = tokio::process::Command::new(tool);
    child.arg("call-node").arg(folder.path().join("2"));
    let mut child = child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let address = timeout(PATIENCE, lines.next_line())
        .await??
        .context("the child says its address")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    node.meet(NodeId(2), address)?;
    stdin
        .write_all(format!("{}\n", node.mesh.local_addr()?).as_bytes())
        .await?;

    let keys = timeout(PATIENCE, remote_keys(&node.router))
        .await
        .context("nothing was placed on node 2")?;
    // A first run, unmeasured, activates the entities.
    measure(&node.router, &keys, 8, Duration::from_secs(1)).await?;
    let sequential = measure(&node.router, &keys, 1, lasting).await?;
    let callers_64 = measure(&node.router, &keys, 64, lasting).await?;
    drop(stdin);
    ensure!(
        timeout(PATIENCE, child.wait()).await??.success(),
        "the child failed"
    );
    node.tasks.cancel();
    Ok(CallRates {
        sequential,
        callers_64,
    })
}

/// Keys of entities that node 2 owns.
async fn remote_keys(router: &Router) -> Vec<EntityId> {
    let mut changes = router.placement_changes();
    loop {
        let all = (0..256).map(|n| EntityId {
            kind: ECHO,
            key: format!("echo-{n}"),
        });
        let remote: Vec<_> = all
            .filter(|id| router.ownership(id).owner == Some(NodeId(2)))
            .collect();
        if remote.len() >= 64 {
            return remote;
        }
        if changes.changed().await.is_err() {
            return remote;
        }
    }
}

async fn measure(router: &Router, keys: &[EntityId], callers: usize, lasting: Duration) -> Result<Latency> {
    let start = Instant::now();
    let end = start + lasting;
    let mut asking = JoinSet::new();
    for caller in 0..callers {
        let key = keys
            .get(caller % keys.len().max(1))
            .context("node 2 owns entities")?
            .clone();
        let router = router.clone();
        asking.spawn(async move {
            let mut taken = microseconds()?;
            let body = Bytes::from(vec![7; BODY]);
            while Instant::now() < end {
                let at = Instant::now();
                let answer = router.ask(&key, None, body.clone(), PATIENCE).await?;
                ensure!(answer == body, "another's answer");
                taken.saturating_record(at.elapsed().as_micros() as u64);
            }
            Ok(taken)
        });
    }
    let mut all = microseconds()?;
    while let Some(taken) = asking.join_next().await {
        all.add(taken??)?;
    }
    Ok(Latency::of(&all, start.elapsed()))
}
