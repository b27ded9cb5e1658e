//! Standing before the timer: with leases and timers of minutes, only who gives its lease up can be won.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use jarvis_replica::RaftTimers;
use jarvis_replica::api::Standing;
use jarvis_types::NodeId;

use support::{Cluster, PATIENCE, create_session, options, until};

/// No timer elects anybody while a test runs.
const NO_TIMER: RaftTimers = RaftTimers {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_secs(300),
    election_max: Duration::from_secs(600),
};

/// Three voters, their leader and its term, and the two that follow.
async fn three() -> (Cluster, NodeId, u64, [NodeId; 2]) {
    let mut cluster = Cluster::in_memory();
    cluster.timers = NO_TIMER;
    let cluster = cluster.three().await;
    let leader = cluster.leader().await;
    cluster
        .until_all("the leader is known", |state| state.leader == Some(leader))
        .await;
    let term = cluster.replicas[&leader].state().borrow().term;
    let mut followers = cluster.replicas.keys().copied().filter(|node| *node != leader);
    let followers = [followers.next().unwrap(), followers.next().unwrap()];
    (cluster, leader, term, followers)
}

/// Has a node stand until it leads.
async fn elect(cluster: &Cluster, node: NodeId) {
    let replica = &cluster.replicas[&node];
    let standing = async {
        while !replica.state().borrow().leads {
            replica.stand().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, standing)
        .await
        .expect("it is elected");
}

/// Has the first of two nodes that both believe the leader dead stand until it leads.
async fn elect_while_alarmed(cluster: &Cluster, leader: NodeId, [next, other]: [NodeId; 2]) {
    let [next, other] = [&cluster.replicas[&next], &cluster.replicas[&other]];
    let standing = async {
        while !next.state().borrow().leads {
            next.give_up_lease(leader).await;
            other.give_up_lease(leader).await;
            next.stand().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, standing)
        .await
        .expect("it is elected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_replaced_without_waiting_for_its_lease() {
    let (mut cluster, leader, term, [next, other]) = three().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.kill(leader);
    for node in [next, other] {
        assert_eq!(cluster.replicas[&node].standing(leader), Standing::Bereft);
        cluster.replicas[&node].give_up_lease(leader).await;
    }
    elect(&cluster, next).await;
    until(&cluster.replicas[&other], "it follows the new leader", |state| {
        state.leader == Some(next) && state.term > term
    })
    .await;
    assert_eq!(cluster.replicas[&other].standing(leader), Standing::Settled);
    cluster.replicas[&other]
        .propose(create_session(2), options())
        .await
        .unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_alarm_on_one_node_deposes_nobody() {
    let (mut cluster, leader, term, [mistaken, other]) = three().await;
    let alarmed = &cluster.replicas[&mistaken];
    for n in 0..20 {
        alarmed.give_up_lease(leader).await;
        alarmed.stand().await;
        alarmed.propose(create_session(1 + n), options()).await.unwrap();
    }
    for replica in cluster.replicas.values() {
        let state = replica.state().borrow().clone();
        assert_eq!((state.leader, state.term), (Some(leader), term));
    }
    // With a second one the majority has spoken: the trial above could have come out otherwise.
    elect_while_alarmed(&cluster, leader, [mistaken, other]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_alarms_one_after_the_other_depose_nobody() {
    let (mut cluster, leader, term, [first, second]) = three().await;
    cluster.replicas[&first].give_up_lease(leader).await;
    let heard_again = async {
        while !cluster.replicas[&first].keeps_lease() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard_again)
        .await
        .expect("the leader is heard again");
    for n in 0..20 {
        cluster.replicas[&second].give_up_lease(leader).await;
        cluster.replicas[&second].stand().await;
        cluster.propose(create_session(1 + n)).await.unwrap();
    }
    for replica in cluster.replicas.values() {
        let state = replica.state().borrow().clone();
        assert_eq!((state.leader, state.term), (Some(leader), term));
    }
    // A leader that dies after all is replaced as soon as before.
    cluster.kill(leader);
    elect_while_alarmed(&cluster, leader, [first, second]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_lease_of_the_lost_leader_is_given_up() {
    let (mut cluster, leader, term, [one, two]) = three().await;
    for n in 0..20 {
        for (node, stranger) in [(one, two), (two, one)] {
            let replica = &cluster.replicas[&node];
            replica.give_up_lease(stranger).await;
            replica.stand().await;
        }
        cluster.propose(create_session(1 + n)).await.unwrap();
    }
    for replica in cluster.replicas.values() {
        let state = replica.state().borrow().clone();
        assert_eq!((state.leader, state.term), (Some(leader), term));
    }
    cluster.stop().await;
}
