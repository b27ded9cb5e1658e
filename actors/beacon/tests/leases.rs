//! No two nodes act for one partition at once, whatever happens to the network, the leader and the clocks; and somebody
//! acts again soon. A recorder outside the cluster is the witness.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use jarvis_machine::rows::NodeIntent;
use jarvis_types::NodeId;
use support::{Cluster, LENGTH, Show, acts_on};
use tokio::time::{Instant, sleep};

/// One beacon of each node.
fn keys(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.keys().map(|node| cluster.key_of(*node)).collect()
}

fn other_than(cluster: &Cluster, these: &[NodeId]) -> NodeId {
    let found = cluster.nodes.keys().find(|node| !these.contains(node));
    *found.expect("there are enough nodes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_cut_off_stops_before_its_successor_begins() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().expect("a leader");
    let owner = other_than(&cluster, &[leader]);
    let key = cluster.key_of(owner);
    acts_on(&cluster, leader, &key, |node| node == owner).await;
    let show = Show::begin(&cluster, &keys(&cluster)).await;
    sleep(LENGTH / 2).await;
    let cut = Instant::now();
    cluster.isolate(owner);
    let heir = acts_on(&cluster, leader, &key, |node| node != owner).await;
    let waited = cut.elapsed();
    cluster.bed.wires.mend_all();
    cluster.settled().await;
    let flashes = show.end().await;
    let by = |node: NodeId| {
        flashes
            .iter()
            .filter(|(_, f)| f.key == key && f.node == node)
            .count()
    };
    assert!(by(owner) > 0 && by(heir) > 0, "both acted, one after the other");
    assert!(
        waited > LENGTH,
        "the heir acted {waited:?} after the cut: sooner than a lease ends"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_acting_before_others_take_its_partitions() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().expect("a leader");
    let witness = other_than(&cluster, &[leader]);
    let key = cluster.key_of(leader);
    acts_on(&cluster, witness, &key, |node| node == leader).await;
    let show = Show::begin(&cluster, &keys(&cluster)).await;
    sleep(LENGTH / 2).await;
    cluster.isolate(leader);
    cluster.led_by_another_than(leader).await;
    let heir = acts_on(&cluster, witness, &key, |node| node != leader).await;
    // The other way round as well: it comes back, and gets its share again.
    cluster.bed.wires.mend_all();
    cluster.settled().await;
    let flashes = show.end().await;
    let owners: BTreeSet<NodeId> = (flashes.iter().filter(|(_, f)| f.key == key))
        .map(|(_, f)| f.node)
        .collect();
    assert!(owners.contains(&leader) && owners.contains(&heir), "{owners:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wires_that_are_cut_one_way_let_nobody_act_twice() {
    let cluster = Cluster::of(3).await;
    let show = Show::begin(&cluster, &keys(&cluster)).await;
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for (from, to) in [(0, 1), (2, 0), (1, 2)] {
        let (from, to) = (cluster.node(nodes[from]), cluster.node(nodes[to]));
        cluster.bed.wires.cut_one_way(&from.mesh, &to.mesh);
        sleep(LENGTH).await;
        cluster.bed.wires.mend_all();
        sleep(LENGTH / 4).await;
    }
    cluster.settled().await;
    let leader = cluster.led_by_another_than(NodeId(0)).await;
    for key in keys(&cluster) {
        acts_on(&cluster, leader, &key, |_| true).await;
    }
    assert!(!show.end().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_and_changes_of_leader_under_load_mix_nobodys_acts() {
    let cluster = Cluster::of(3).await;
    let show = Show::begin(&cluster, &keys(&cluster)).await;
    for node in cluster.nodes.keys().copied().collect::<Vec<_>>() {
        let key = cluster.key_of(node);
        acts_on(&cluster, node, &key, |_| true).await;
        cluster.set_intent(node, node, NodeIntent::Draining).await;
        let moved = Instant::now();
        acts_on(&cluster, node, &key, |owner| owner != node).await;
        assert!(
            moved.elapsed() < LENGTH,
            "where both live nobody waits for a lease to end"
        );
        if cluster.leader() == Some(node) {
            let replica = &cluster.node(node).replica;
            let handed = replica.transfer_leadership(None, Duration::from_secs(5)).await;
            handed.expect("another leads");
        }
        cluster.set_intent(node, node, NodeIntent::Active).await;
        cluster.settled().await;
    }
    let flashes = show.end().await;
    let owners: BTreeSet<_> = flashes
        .iter()
        .map(|(_, f)| (f.partition, f.node, f.epoch))
        .collect();
    assert!(owners.len() >= 6, "{owners:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_forward_ends_a_lease_and_nothing_else() {
    let cluster = Cluster::of(3).await;
    let show = Show::begin(&cluster, &keys(&cluster)).await;
    let leader = cluster.leader().expect("a leader");
    for node in cluster.nodes.values() {
        let key = cluster.key_of(node.router.node());
        acts_on(&cluster, leader, &key, |_| true).await;
        node.clock.put_forward(LENGTH * 4);
        acts_on(&cluster, leader, &key, |owner| owner == node.router.node()).await;
    }
    assert!(!show.end().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_knows_how_far_everyone_is() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().expect("a leader");
    for node in cluster.nodes.keys() {
        acts_on(&cluster, leader, &cluster.key_of(*node), |_| true).await;
    }
    let leases = cluster.node(leader).router.leases();
    let reports = leases.reports();
    assert_eq!(reports.len(), 3, "{reports:?}");
    let applied = cluster.node(leader).replica.state().borrow().applied;
    for (node, report) in &reports {
        assert!(
            report.applied > 0 && report.applied <= applied,
            "{node}: {report:?}"
        );
        assert!(leases.age(report) < support::PATIENCE);
    }
}
