//! Who votes, who follows, who leads: joining, leaving, being replaced, handing over, catching up.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's clients are its own: no node owns or ends their tasks"
)]

mod support;

use std::time::Duration;

use jarvis_machine::change::Change;
use jarvis_machine::command::Command;
use jarvis_machine::rows::NodeIntent;
use jarvis_types::{NodeId, SessionId};

use support::{Cluster, PATIENCE, count, create_session, options, say, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_learner_gets_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 100;
    cluster.bootstrap().await;
    for session in 1..=5 {
        cluster.propose(create_session(session)).await.unwrap();
    }
    for n in 0..300 {
        cluster
            .propose(say(1 + n % 2, &format!("before-{n}")))
            .await
            .unwrap();
    }
    let first = cluster.replicas[&NodeId(1)].clone();
    let writer = tokio::spawn(async move {
        for n in 0..200 {
            first
                .propose(say(3, &format!("during-{n}")), options())
                .await
                .unwrap();
        }
    });
    let node = cluster.admit().await;
    cluster.start(node, false).await.unwrap();
    let replica = cluster.replicas[&node].clone();
    let mut changes = replica.changes();
    until(&replica, "is a learner", |state| state.learners.contains(&node)).await;
    writer.await.unwrap();
    let view = replica.linearizable(PATIENCE).await.unwrap();
    assert_eq!(count(&view, 1..=3), 500);
    let first = cluster.replicas[&NodeId(1)].local().unwrap();
    assert_eq!(first.applied, view.applied);
    assert_eq!(
        jarvis_replica::testing::fingerprint(&first).unwrap(),
        jarvis_replica::testing::fingerprint(&view).unwrap()
    );
    let replaced = changes.recv().await.unwrap();
    assert_eq!(
        replaced.changes[..],
        [Change::Replaced],
        "the first it sees is the snapshot"
    );

    // What was installed is there after a crash of the new node.
    cluster.kill(node);
    drop((replica, view));
    cluster.start(node, true).await.unwrap();
    cluster.propose(say(4, "after")).await.unwrap();
    let view = cluster.replicas[&node].linearizable(PATIENCE).await.unwrap();
    assert_eq!(count(&view, 1..=4), 501);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_and_a_removed_leader_steps_down() {
    let mut cluster = Cluster::in_memory().three().await;
    let fourth = cluster.join().await;
    until(&cluster.replicas[&fourth], "a fourth stays a learner", |state| {
        state.voters.len() == 3 && state.learners == [fourth]
    })
    .await;
    let fifth = cluster.join().await;
    cluster
        .until_all("five voters", |state| {
            state.voters.len() == 5 && state.learners.is_empty()
        })
        .await;

    let leader = cluster.leader().await;
    cluster.replicas[&fifth]
        .propose(
            Command::RemoveNode {
                node: leader,
                force: true,
            },
            options(),
        )
        .await
        .unwrap();
    let gone = cluster.replicas.remove(&leader).unwrap();
    cluster
        .until_all("the removed leader is out and another leads", |state| {
            state.leader.is_some_and(|now| now != leader)
                && !state.voters.contains(&leader)
                && state.voters.len() == 3
        })
        .await;
    gone.stop().await;
    cluster.propose(create_session(5)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    let mut cluster = Cluster::in_memory().three().await;
    let old = cluster.leader().await;
    let to = cluster.follower().await;
    cluster.replicas[&old]
        .transfer_leadership(Some(to), PATIENCE)
        .await
        .unwrap();
    until(&cluster.replicas[&to], "the successor leads", |state| state.leads).await;
    // Asked at a node that does not lead.
    cluster.replicas[&old]
        .transfer_leadership(Some(old), PATIENCE)
        .await
        .unwrap();
    until(&cluster.replicas[&old], "leads again", |state| state.leads).await;
    // On a busy machine the others may elect anew meanwhile, `old` even, and who no longer leads has heard nobody.
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let leader = cluster.leader().await;
        if leader == old {
            let handed_over = cluster.replicas[&old].transfer_leadership(None, PATIENCE);
            handed_over.await.unwrap();
        } else if cluster.replicas[&leader].acked_ago().len() == 2 {
            break;
        }
        assert!(
            tokio::time::Instant::now() < give_up,
            "nobody but {old} leads and has heard of both others"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_does_not_disturb_the_others() {
    let mut cluster = Cluster::in_memory().three().await;
    let leader = cluster.leader().await;
    let away = cluster.follower().await;
    let before = cluster.replicas[&leader].state().borrow().term;
    cluster.network.cut([away]);
    // Longer than lease and election timeout together: it has stood for election by then.
    tokio::time::sleep(cluster.timers.election_max * 3).await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.network.heal();
    let view = cluster.replicas[&away].linearizable(PATIENCE).await.unwrap();
    assert!(view.query().session(SessionId(1)).unwrap().is_some());
    let state = cluster.replicas[&leader].state().borrow().clone();
    assert_eq!(
        (state.leader, state.term),
        (Some(leader), before),
        "pre-votes raise no term"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_that_was_away_for_long_learns_by_snapshot_who_is_out() {
    let mut cluster = Cluster::in_files();
    cluster.snapshot_every = 50;
    let mut cluster = cluster.three().await;
    let fourth = cluster.join().await;
    for session in 1..=3 {
        cluster.propose(create_session(session)).await.unwrap();
    }
    let away = NodeId(3);
    for intent in [NodeIntent::Draining, NodeIntent::Drained] {
        cluster
            .propose(Command::SetIntent { node: away, intent })
            .await
            .unwrap();
    }
    if cluster.leader().await == away {
        cluster.replicas[&away]
            .transfer_leadership(Some(NodeId(1)), PATIENCE)
            .await
            .unwrap();
    }
    cluster.kill(away);
    // While it is away another goes for good, and the log it would need is let go of.
    cluster
        .propose(Command::RemoveNode {
            node: fourth,
            force: true,
        })
        .await
        .unwrap();
    for n in 0..200 {
        cluster
            .propose(say(1 + n % 2, &format!("away-{n}")))
            .await
            .unwrap();
    }
    let first = cluster.replicas[&NodeId(1)].clone();
    let writer = tokio::spawn(async move {
        for n in 0..80 {
            first
                .propose(say(3, &format!("during-{n}")), options())
                .await
                .unwrap();
        }
    });
    cluster.replicas.remove(&fourth).unwrap().stop().await;
    cluster.start(away, true).await.unwrap();
    let replica = cluster.replicas[&away].clone();
    writer.await.unwrap();
    let view = replica.linearizable(PATIENCE).await.unwrap();
    assert_eq!(count(&view, 1..=3), 280);
    assert!(view.query().is_removed(fourth).unwrap());
    let row = view.query().node(away).unwrap().unwrap();
    assert_eq!(row.intent, NodeIntent::Drained, "it is still drained");
    until(&replica, "it votes as before", |state| {
        state.voters.contains(&away) && !state.learners.contains(&fourth) && !state.voters.contains(&fourth)
    })
    .await;
    cluster.stop().await;
}
