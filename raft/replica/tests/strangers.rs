//! What comes from peers that are wrong, newer, too many or hostile harms nobody else.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use jarvis_host::{Clock, ManualClock, SystemClock};
use jarvis_machine::command::{Command, Origin, Proposal};
use jarvis_machine::reply::{Outcome, Refusal, Reply};
use jarvis_machine::rows::NodeIntent;
use jarvis_mesh::api::{CallError, Lane, Service};
use jarvis_replica::{MAX_CLOCK_LEAD_MS, ProposeError};
use jarvis_types::{Incarnation, NodeId, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::{Cluster, PATIENCE, create_session, options, say, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_peer_is_refused_and_harms_nobody() {
    let mut cluster = Cluster::in_memory().three().await;
    let peer = cluster.network.join(NodeId(99));
    let second = Duration::from_secs(1);
    for node in cluster.replicas.keys() {
        for service in 0x0201..=0x0205 {
            for body in [
                &b""[..],
                b"\x01",
                b"\x02\x01\x01",
                b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                &[1; 64],
            ] {
                let body = bytes::Bytes::copy_from_slice(body);
                let answer = peer
                    .call(*node, Lane::Raft, Service(service), 1, body, second)
                    .await;
                assert!(
                    matches!(answer, Err(CallError::Refused { .. })),
                    "{service:#x}: {answer:?}"
                );
            }
        }
        for frame in [
            &b"\xff\xff\xff\xff"[..],
            b"\x04\x00\x00\x00abcd",
            b"\x00\x00\x00\x00",
        ] {
            let mut pipe = peer.open(*node, Lane::Snapshot, Service(0x0208)).await.unwrap();
            pipe.send.write_all(frame).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(second * 5, pipe.recv.read_to_end(&mut answer)).await;
            assert!(
                read.is_ok() && !answer.is_empty(),
                "the stream ends with the reason"
            );
        }
    }
    // Under another node's name.
    let proposal = Proposal {
        origin: Some(Origin {
            node: NodeId(1),
            incarnation: Incarnation(u64::MAX),
            sequence: 1,
            answered_below: 1,
        }),
        at_ms: 1,
        fence: None,
        request: None,
        command: create_session(66),
    };
    let mut body = vec![1, 1];
    let encoded = proposal.encode().unwrap();
    body.push(encoded.len() as u8);
    body.extend(encoded);
    let leader = cluster.leader().await;
    let answer = peer
        .call(leader, Lane::Raft, Service(0x0205), 1, body.into(), second)
        .await;
    assert!(
        matches!(&answer, Err(CallError::Refused { message, .. }) if message.contains("another node's name")),
        "{answer:?}"
    );

    cluster.propose(create_session(1)).await.unwrap();
    let view = cluster.replicas[&NodeId(2)].linearizable(PATIENCE).await.unwrap();
    assert!(view.query().session(SessionId(66)).unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_clock_does_not_become_everybodys_time() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let mut cluster = Cluster::in_memory();
    let ahead = NodeId(3);
    let now_ms = || SystemClock.now_ms();
    cluster
        .clocks
        .insert(ahead, Arc::new(ManualClock::new(now_ms() + YEAR_MS)));
    let mut cluster = cluster.three().await;
    let allowed_ms = || now_ms() + MAX_CLOCK_LEAD_MS;
    let leader = cluster.leader().await;
    if leader == ahead {
        cluster.replicas[&leader]
            .transfer_leadership(Some(NodeId(1)), PATIENCE)
            .await
            .unwrap();
        until(&cluster.replicas[&NodeId(1)], "leads", |state| state.leads).await;
    }
    cluster.propose(create_session(1)).await.unwrap();
    let said = |reply| match reply {
        Reply::Appended { at_ms, repeated, .. } => (at_ms, repeated),
        other => panic!("{other:?}"),
    };
    // It works, and its time is taken back.
    let wrong = cluster.replicas[&ahead].clone();
    let (at_ms, _) = said(wrong.propose(say(1, "a"), options()).await.unwrap());
    assert!(at_ms <= allowed_ms(), "{at_ms} and it is {}", now_ms());

    // It leads: the others' clocks outvote its own.
    let leader = cluster.leader().await;
    cluster.replicas[&leader]
        .transfer_leadership(Some(ahead), PATIENCE)
        .await
        .unwrap();
    until(&wrong, "the node with the wrong clock leads", |state| state.leads).await;
    for node in [1, 2] {
        cluster.replicas[&NodeId(node)]
            .propose(say(1, &format!("from-{node}")), options())
            .await
            .unwrap();
    }
    let (at_ms, _) = said(wrong.propose(say(1, "b"), options()).await.unwrap());
    assert!(at_ms <= allowed_ms(), "{at_ms} and it is {}", now_ms());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unreadable_proposal_does_not_take_its_batch_along() {
    let mut cluster = Cluster::in_memory().three().await;
    let proposer = NodeId(99);
    let peer = cluster.network.join(proposer);
    let proposal = |sequence, session| {
        let origin = Some(Origin {
            node: proposer,
            incarnation: Incarnation(1),
            sequence,
            answered_below: 1,
        });
        let command = create_session(session);
        let proposal = Proposal {
            origin,
            at_ms: 1,
            fence: None,
            request: None,
            command,
        };
        proposal.encode().unwrap()
    };
    let mut newer = proposal(2, 22);
    newer[0] += 1;
    let items = [proposal(1, 21), newer, vec![1, 0xff, 0xff], proposal(3, 23)];
    let mut body = vec![1, items.len() as u8];
    for item in &items {
        body.push(item.len() as u8);
        body.extend(item);
    }
    let body = bytes::Bytes::from(body);
    let ask = |node| peer.call(node, Lane::Raft, Service(0x0205), 1, body.clone(), PATIENCE);
    // A node that does not lead decides nothing, not even against what it cannot read.
    let nothing = ask(cluster.follower().await).await.unwrap();
    assert_eq!(nothing[..], [1, 4, 0, 0, 0, 0]);

    let answer = ask(cluster.leader().await).await.unwrap();
    let mut rest = &answer[2..];
    let outcomes: Vec<Outcome> = (0..items.len())
        .map(|_| {
            assert_eq!(rest[0], 1, "each item has its answer");
            let len = usize::from(rest[1]);
            assert!(len < 251, "a length of one byte");
            let outcome = jarvis_types::codec::decode(1, &rest[2..2 + len]).unwrap();
            rest = &rest[2 + len..];
            outcome
        })
        .collect();
    assert_eq!((&outcomes[0], &outcomes[3]), (&Ok(Reply::Done), &Ok(Reply::Done)));
    assert!(
        matches!(&outcomes[1], Err(Refusal::Invalid(why)) if why.contains("newer version")),
        "{outcomes:?}"
    );
    assert!(matches!(&outcomes[2], Err(Refusal::Invalid(_))), "{outcomes:?}");
    let view = cluster.replicas[&NodeId(2)].linearizable(PATIENCE).await.unwrap();
    for (session, there) in [(21, true), (22, false), (23, true)] {
        assert_eq!(
            view.query().session(SessionId(session)).unwrap().is_some(),
            there,
            "{session}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_at_once_is_refused_and_what_is_stopped_says_so() {
    let mut cluster = Cluster::in_memory();
    cluster.start(NodeId(1), false).await.unwrap();
    let replica = cluster.replicas[&NodeId(1)].clone();
    // Nobody leads yet, so all of them stay under way.
    let deadline = within(Duration::from_millis(500));
    let all: Vec<_> = (0..jarvis_replica::MAX_PROPOSALS as u128 + 1)
        .map(|n| replica.propose(create_session(n), deadline.clone()))
        .collect();
    // What keeps the cluster going has places of its own.
    let moves = Command::SetIntent {
        node: NodeId(1),
        intent: NodeIntent::Active,
    };
    let housekeeping = async {
        tokio::task::yield_now().await;
        replica.propose(moves, deadline.clone()).await
    };
    let (results, housekeeping) = tokio::join!(futures_util::future::join_all(all), housekeeping);
    assert!(
        matches!(housekeeping, Err(ProposeError::Unavailable { .. })),
        "{housekeeping:?}"
    );
    let refused = results
        .iter()
        .filter(|r| matches!(r, Err(ProposeError::Overloaded)))
        .count();
    let in_vain = results
        .iter()
        .filter(|r| matches!(r, Err(ProposeError::Unavailable { .. })))
        .count();
    assert_eq!((refused, in_vain), (1, jarvis_replica::MAX_PROPOSALS));

    let mut large = say(1, "large");
    if let Command::Say { text, .. } = &mut large {
        *text = "x".repeat(600_000);
    }
    assert!(matches!(
        replica.propose(large, options()).await,
        Err(ProposeError::TooLarge { .. })
    ));

    replica.stop().await;
    assert_eq!(
        replica.propose(create_session(1), options()).await,
        Err(ProposeError::Stopping)
    );
    assert!(replica.linearizable(Duration::from_secs(1)).await.is_err());
}
