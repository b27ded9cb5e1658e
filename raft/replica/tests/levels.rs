//! Builds of two neighbouring levels in one cluster: what the earlier one sends is taken, nothing that it does not know reaches it,
//! and where that were to happen all the same it stops with words instead of going on with less than the others know.
#![allow(clippy::unwrap_used, missing_docs)]

mod previous;
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_machine::rows::NodeFacts;
use jarvis_machine::storage::Table;
use jarvis_machine::{keys, snapshot};
use jarvis_mesh::api::{Lane, Service};
use jarvis_replica::simulated::{AppliedEntry, Observer};
use jarvis_replica::{MemoryDisk, ProposeError};
use jarvis_types::{NodeId, Seq, SessionId, codec};

use support::{Cluster, PATIENCE, announce, create_session, options, say};

const OLD: NodeId = NodeId(3);
/// Forwarded proposals, as every level calls them.
const PROPOSE: Service = Service(0x0205);
const RAISE: Command = Command::RaiseLevel { to: 2 };

/// Keeps all that a node applies.
#[derive(Default)]
struct Seen(Mutex<Vec<Vec<u8>>>);

impl Observer for Seen {
    fn applied(&self, entry: &AppliedEntry<'_>) {
        self.0.lock().unwrap().extend(entry.proposal.map(<[u8]>::to_vec));
    }

    fn replaced(&self, _: u64) {}
}

fn speaks(node: NodeId, level: u32) -> Command {
    match announce(node) {
        Command::AnnounceNode {
            node,
            mesh_address,
            http_url,
            version,
            ..
        } => Command::AnnounceNode {
            node,
            mesh_address,
            http_url,
            version,
            level,
        },
        other => other,
    }
}

fn describe(node: NodeId) -> Command {
    let facts = NodeFacts {
        capabilities: ["gpu".to_owned()].into(),
        capacity: 200,
    };
    Command::DescribeNode { node, facts }
}

/// Two nodes of this build and one of the previous level, which keeps what it applies.
async fn mixed() -> (Cluster, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let mut cluster = Cluster::in_memory();
    let mut disk = MemoryDisk::new();
    disk.observer = Some(Arc::clone(&seen) as Arc<dyn Observer>);
    cluster.disk(OLD, disk);
    cluster.speaks_level.insert(OLD, 1);
    let cluster = cluster.three().await;
    for node in [NodeId(1), NodeId(2)] {
        cluster.propose(speaks(node, 2)).await.unwrap();
    }
    (cluster, seen)
}

async fn level_is(cluster: &Cluster, node: NodeId, level: u32) {
    let view = cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
    assert_eq!(view.query().cluster_level().unwrap(), level, "node {node}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_build_works_beside_this_one_and_holds_the_level() {
    let (mut cluster, seen) = mixed().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.replicas[&OLD]
        .propose(say(1, "by-api"), options())
        .await
        .unwrap();

    // What the earlier build sends, byte by byte its own encoding.
    let leader = cluster.leader().await;
    if leader == OLD {
        let replica = &cluster.replicas[&OLD];
        replica
            .transfer_leadership(Some(NodeId(1)), PATIENCE)
            .await
            .unwrap();
    }
    let spoken = |sequence, command| previous::Proposal {
        origin: Some(previous::Origin {
            node: OLD.0,
            incarnation: u64::MAX - 1,
            sequence,
            answered_below: 1,
        }),
        at_ms: 1,
        fence: None,
        request: Some("req-1".to_owned()),
        command,
    };
    let hello = |id: &str| previous::Command::Say {
        session: 1,
        user: 1,
        id: id.to_owned(),
        text: "spoken".to_owned(),
    };
    let proposals = [
        spoken(1, hello("by-hand")),
        spoken(2, previous::Command::RemoveUser { user: 99 }),
        spoken(3, hello("by-hand")),
    ];
    let port = cluster.network.port(OLD);
    let body = Bytes::from(previous::batch(&proposals));
    let to = cluster.leader().await;
    let answer = port
        .call(to, Lane::Raft, PROPOSE, 3, body, Duration::from_secs(5))
        .await
        .unwrap();
    let outcomes = previous::decided(&answer);
    assert!(
        matches!(
            &outcomes[..],
            [
                Some(Ok(previous::Reply::Appended {
                    seq: 2,
                    repeated: false,
                    ..
                })),
                Some(Err(previous::Refusal::NotFound(_))),
                Some(Ok(previous::Reply::Appended {
                    seq: 2,
                    repeated: true,
                    ..
                }))
            ]
        ),
        "{outcomes:?}"
    );

    // It proposes nothing that it does not know.
    let (needs, level) = (2, 1);
    let not_spoken = ProposeError::Refused(Refusal::LevelTooLow { needs, level });
    assert_eq!(
        cluster.replicas[&OLD].propose(RAISE, options()).await,
        Err(not_spoken)
    );
    let view = cluster.replicas[&OLD].linearizable(PATIENCE).await.unwrap();
    let said = view.query().messages(SessionId(1), Seq(0), 9).unwrap();
    assert_eq!(said.len(), 2);
    level_is(&cluster, OLD, 1).await;

    // Everything it was sent is its own encoding, and so are its tables.
    let seen: Vec<Vec<u8>> = seen.0.lock().unwrap().clone();
    assert!(seen.len() > 8, "{} entries", seen.len());
    for bytes in &seen {
        let proposal: previous::Proposal = previous::decode(bytes).unwrap();
        assert_eq!(&previous::encode(&proposal), bytes);
    }
    let rows = snapshot::export(view.query().0, None, usize::MAX).unwrap().rows;
    assert!(rows.iter().all(|row| row.table <= Table::Proposers as u8));
    let print = |node: u64| {
        let view = cluster.replicas[&NodeId(node)].local().unwrap();
        snapshot::fingerprint(view.query().0).unwrap()
    };
    for node in [NodeId(1), NodeId(2)] {
        cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
    }
    assert_eq!([print(1), print(2)], [print(3); 2]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_node_lets_the_level_rise() {
    let (mut cluster, seen) = mixed().await;
    let of_level_1 = seen.0.lock().unwrap().len();
    cluster.kill(OLD);
    cluster.speaks_level.clear();
    cluster.start(OLD, true).await.unwrap();
    cluster.propose(speaks(OLD, 2)).await.unwrap();
    assert_eq!(cluster.propose(RAISE).await, Ok(Reply::Done));
    cluster.replicas[&OLD]
        .propose(describe(OLD), options())
        .await
        .unwrap();
    level_is(&cluster, OLD, 2).await;
    let view = cluster.replicas[&NodeId(1)].linearizable(PATIENCE).await.unwrap();
    assert_eq!(view.query().all_node_facts().unwrap().len(), 1);
    let row = view.query().0.get(Table::NodeFacts, &keys::node(OLD)).unwrap();
    assert!(row.is_some());
    // From here on the earlier build could not read the log any more.
    let seen = seen.0.lock().unwrap().clone();
    let unknown = seen
        .iter()
        .filter(|bytes| previous::decode::<previous::Proposal>(bytes).is_err());
    assert_eq!(unknown.count(), 2, "of {} after {of_level_1}", seen.len());
    assert!(seen.iter().all(|bytes| Proposal::decode(bytes).is_ok()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_is_behind_the_log_stops_and_says_so() {
    let (mut cluster, _) = mixed().await;
    let leader = cluster.leader().await;
    if leader == OLD {
        let replica = &cluster.replicas[&OLD];
        replica
            .transfer_leadership(Some(NodeId(1)), PATIENCE)
            .await
            .unwrap();
    }
    // A node that says more of itself than is true: the others believe it.
    cluster.propose(speaks(OLD, 2)).await.unwrap();
    assert_eq!(cluster.propose(RAISE).await, Ok(Reply::Done));
    let why = tokio::time::timeout(PATIENCE, cluster.replicas[&OLD].failed())
        .await
        .unwrap();
    assert!(
        why.contains("the command is of level 2, and this node speaks level 1")
            && why.contains("upgrade this node"),
        "{why}"
    );
    // The others go on.
    cluster.propose(create_session(7)).await.unwrap();
    level_is(&cluster, NodeId(2), 2).await;
    cluster.stop().await;
}

/// Has the cluster decide a command as an upgraded node of a build that does not look at the cluster's level sends it: to whoever
/// leads, until that one decides.
async fn sent_unlooked(cluster: &Cluster, command: Command) -> Outcome {
    let proposal = Proposal {
        origin: None,
        at_ms: 1,
        fence: None,
        request: None,
        command,
    };
    let body = codec::encode(1, &vec![proposal.encode().unwrap()]).unwrap();
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let leader = cluster.leader().await;
        let from = if leader == NodeId(1) { NodeId(2) } else { NodeId(1) };
        let port = cluster.network.port(from);
        let call = port.call(leader, Lane::Raft, PROPOSE, 3, body.clone().into(), PATIENCE);
        let answer: Vec<Option<Vec<u8>>> = codec::decode(1, &call.await.unwrap()).unwrap();
        if let Some(outcome) = &answer[0] {
            return codec::decode(1, outcome).unwrap();
        }
        // Another leads by now, and this one has not heard of it.
        assert!(tokio::time::Instant::now() < give_up, "nobody decides");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_above_the_clusters_level_is_refused_and_stops_no_earlier_build() {
    let (mut cluster, _) = mixed().await;
    let refusal = Refusal::LevelTooLow { needs: 3, level: 1 };
    // As a webhook, `automation trigger` or a reminder is asked for at an upgraded node, whoever leads.
    for leader in [NodeId(1), NodeId(2)] {
        let handing_over = cluster.replicas[&leader].transfer_leadership(Some(leader), PATIENCE);
        handing_over.await.unwrap();
        let post = Command::Post { letters: Vec::new() };
        let told = cluster.replicas[&NodeId(1)].propose(post, options()).await;
        assert_eq!(told, Err(ProposeError::Refused(refusal.clone())));
    }
    let post = Command::Post { letters: Vec::new() };
    assert_eq!(sent_unlooked(&cluster, post).await, Err(refusal));
    cluster.propose(create_session(1)).await.unwrap();
    let view = cluster.replicas[&OLD].linearizable(PATIENCE).await.unwrap();
    let session = view.query().session(SessionId(1)).unwrap();
    assert!(session.is_some(), "the earlier build goes on");
    cluster.stop().await;
}
