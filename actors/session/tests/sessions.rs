//! Sessions on whole nodes: one and three in a process, killed and cut off.

mod nodes;
mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_machine::command::{Command, Fence};
use jarvis_machine::reply::Reply;
use jarvis_replica::ProposeOptions;
use jarvis_session::api::{Said, SessionError, Sessions};
use jarvis_session::responder::{BuiltIn, Chain, DeltaSink, Finished, Prompt, Responder, ResponderError};
use jarvis_session::settings::{Protocol, ResponderSettings};
use jarvis_types::chat::ServerFrame;
use jarvis_types::limits::MAX_REPLY_CHARS;
use jarvis_types::{KindId, NodeId, Seq, SessionId, UserId, partition_of};
use tokio::sync::watch;
use tokio::time::Instant;

use nodes::{ADMIN, Cluster, Node, PATIENCE, Reader, message_id, told, until};
use support::{ModelServer, Step, endpoint, ok, part};

/// Says who writes, waits at a gate, and ends.
struct Gated {
    node: NodeId,
    gate: watch::Receiver<bool>,
}

#[async_trait]
impl Responder for Gated {
    fn name(&self) -> &str {
        "gated"
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        let unwanted = |_| ResponderError::Unwanted;
        sink.push(&format!("é {} by {}", prompt.text, self.node))
            .await
            .map_err(unwanted)?;
        let mut gate = self.gate.clone();
        gate.wait_for(|open| *open)
            .await
            .map_err(|_| ResponderError::Empty)?;
        sink.push(" fin").await.map_err(unwanted)?;
        Ok(Finished {
            responder: "gated".into(),
        })
    }
}

/// Shows what it is shown of the conversation before the message: what Jarvis said of it.
struct Showing;

#[async_trait]
impl Responder for Showing {
    fn name(&self) -> &str {
        "showing"
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        let lines = prompt.history.iter().filter(|line| line.by_jarvis);
        let before: Vec<&str> = lines.map(|line| line.text.as_str()).collect();
        sink.push(&format!("after {}", before.join(" ")))
            .await
            .map_err(|_| ResponderError::Unwanted)?;
        Ok(Finished {
            responder: "showing".into(),
        })
    }
}

async fn gated(count: u64) -> (Cluster, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let cluster = Cluster::start(count, |node| {
        Arc::new(Gated {
            node,
            gate: gate.clone(),
        })
    })
    .await;
    (cluster, open)
}

async fn say(node: &Node, session: SessionId, id: &str, text: &str) -> Result<Said, SessionError> {
    node.sessions
        .say(ADMIN, session, message_id(id), text.to_owned(), None, PATIENCE)
        .await
}

#[tokio::test]
async fn one_node_answers_each_message_once_and_in_order() {
    let cluster = Cluster::start(1, |_| Arc::new(BuiltIn)).await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let mut reader = Reader::of(node, session, 0);
    let said = say(node, session, "a", "who is the leader?").await.expect("said");
    assert_eq!((said.seq, said.repeated), (Seq(1), false));
    reader.entries(2).await;
    assert_eq!(
        told(&reader.seen.entries),
        ["1 a: who is the leader?", "2 to a: Node node-1 is the leader."]
    );
    let again = say(node, session, "a", "something else").await.expect("said");
    assert_eq!(
        again,
        Said {
            repeated: true,
            ..said
        }
    );
    for (id, text) in [("b", "1+1"), ("c", "2+2"), ("d", "on which planet?")] {
        say(node, session, id, text).await.expect("said");
    }
    reader.entries(8).await;
    let replies: Vec<String> = told(&reader.seen.entries)
        .into_iter()
        .filter(|line| line.contains(" to "))
        .collect();
    assert!(
        replies[1].ends_with("to b: 1 + 1 = 2") && replies[2].ends_with("to c: 2 + 2 = 4"),
        "{replies:?}"
    );

    let page = node.sessions.messages(ADMIN, session, Seq(2), 3).expect("there");
    assert_eq!(
        (&page.messages[..], page.last_seq),
        (&reader.seen.entries[2..5], Seq(8))
    );
    let list = node.sessions.list(ADMIN, 10).expect("there");
    assert_eq!((list.len(), list[0].0, list[0].1.last_seq), (1, session, Seq(8)));
    let mut late = Reader::of(node, session, 6);
    late.entries(2).await;
    assert_eq!(late.seen.entries[..], reader.seen.entries[6..]);
}

#[tokio::test]
async fn what_nobody_asked_for_reaches_readers_on_every_node_between_what_was() {
    let cluster = Cluster::start(3, |_| Arc::new(Showing)).await;
    cluster.raise_level(3).await;
    let session = cluster.session().await;
    let mut readers: Vec<Reader> = (1..=3)
        .map(|node| Reader::of(cluster.node(node), session, 0))
        .collect();
    let notify = |id: &str, text: &str| Command::Notify {
        session,
        id: message_id(id),
        text: text.to_owned(),
    };
    cluster.propose(notify("door", "The door is open.")).await;
    say(cluster.node(2), session, "a", "which one?")
        .await
        .expect("said");
    for reader in &mut readers {
        reader.entries(3).await;
    }
    let again = cluster.propose(notify("door", "The door is open.")).await;
    assert!(matches!(
        again,
        Reply::Appended {
            seq: Seq(1),
            repeated: true,
            ..
        }
    ));
    cluster.propose(notify("shut", "The door is shut.")).await;
    for reader in &mut readers {
        reader.entries(4).await;
        assert_eq!(
            told(&reader.seen.entries),
            [
                "1 to nobody: The door is open.",
                "2 a: which one?",
                "3 to a: after The door is open.",
                "4 to nobody: The door is shut.",
            ]
        );
    }
}

#[tokio::test]
async fn a_session_is_its_users_alone() {
    let cluster = Cluster::start(1, |_| Arc::new(BuiltIn)).await;
    let sessions = &cluster.node(1).sessions;
    let session = cluster.session().await;
    let (stranger, second) = (UserId(2), Duration::from_secs(1));
    let id = || message_id("x");
    assert_eq!(
        sessions.open(stranger, session, second).await,
        Err(SessionError::NotFound)
    );
    assert_eq!(
        sessions.open(ADMIN, SessionId(1), second).await,
        Err(SessionError::NotFound)
    );
    assert_eq!(
        sessions
            .open(ADMIN, session, second)
            .await
            .map(|opened| (opened.row.last_seq, opened.certain)),
        Ok((Seq(0), true))
    );
    let said = sessions
        .say(stranger, session, id(), "hi".into(), None, second)
        .await;
    assert_eq!(said, Err(SessionError::NotFound));
    let said = sessions
        .say(ADMIN, SessionId(1), id(), "hi".into(), None, second)
        .await;
    assert_eq!(said, Err(SessionError::NotFound));
    assert_eq!(
        sessions.cancel(stranger, session, id(), second).await,
        Err(SessionError::NotFound)
    );
    assert_eq!(
        sessions.messages(stranger, session, Seq(0), 10),
        Err(SessionError::NotFound)
    );
    assert!(sessions.list(stranger, 10).expect("there").is_empty());
}

#[tokio::test]
async fn a_cancelled_reply_is_committed_as_far_as_it_is() {
    let (cluster, open) = gated(1).await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let mut reader = Reader::of(node, session, 0);
    say(node, session, "a", "one").await.expect("said");
    say(node, session, "b", "two").await.expect("said");
    say(node, session, "c", "three").await.expect("said");
    reader.until("a delta", |seen| seen.written.is_some()).await;
    let cancel = |id| node.sessions.cancel(ADMIN, session, message_id(id), PATIENCE);
    for id in ["b", "a"] {
        cancel(id).await.expect("cancelled");
    }
    assert_eq!(cancel("unknown").await, Err(SessionError::NotFound));
    open.send_replace(true);
    reader.entries(6).await;
    assert_eq!(
        told(&reader.seen.entries)[3..],
        [
            "4 to a, cancelled: é one by 1",
            "5 to b, cancelled: ",
            "6 to c: é three by 1 fin"
        ]
    );
    assert_eq!(
        cancel("c").await,
        Err(SessionError::NotFound),
        "it is answered already"
    );
}

#[tokio::test]
async fn a_text_that_no_transcript_takes_is_refused_as_too_long() {
    let cluster = Cluster::start(1, |_| Arc::new(BuiltIn)).await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let refused = say(node, session, "long", &"é".repeat(MAX_REPLY_CHARS + 1)).await;
    assert!(matches!(refused, Err(SessionError::TooLong(_))), "{refused:?}");
    let refused = say(node, session, "empty", "").await;
    assert!(matches!(refused, Err(SessionError::Invalid(_))), "{refused:?}");
    let said = say(node, session, "fits", &"é".repeat(MAX_REPLY_CHARS)).await;
    assert_eq!(said.map(|said| said.seq), Ok(Seq(1)));
}

#[tokio::test]
async fn too_many_waiting_messages_are_refused_and_none_is_lost() {
    let (cluster, open) = gated(1).await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let mut taken = 0;
    let refused = loop {
        match say(node, session, &format!("m{taken}"), "x").await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "the queue is bounded");
    };
    assert!(matches!(refused, SessionError::Overloaded { .. }), "{refused:?}");
    assert!(say(node, session, "m0", "x").await.expect("known").repeated);
    open.send_replace(true);
    Reader::of(node, session, 0).entries(2 * taken).await;
}

#[tokio::test]
async fn followers_on_all_nodes_see_the_same_and_late_ones_the_reply_so_far() {
    let (cluster, open) = gated(3).await;
    let session = cluster.session().await;
    let owner = cluster.owner(session);
    let mut readers: Vec<Reader> = cluster
        .nodes
        .values()
        .map(|node| Reader::of(node, session, 0))
        .collect();
    let other = cluster
        .nodes
        .iter()
        .find(|(id, _)| **id != owner)
        .expect("three nodes")
        .1;
    let said = say(other, session, "a", "one").await.expect("said");
    assert_eq!(said.seq, Seq(1));
    let text = format!("é one by {owner}");
    let shown = ("a".to_owned(), text.clone());
    for reader in &mut readers {
        reader
            .until("the beginning", |seen| seen.written.as_ref() == Some(&shown))
            .await;
    }
    for node in cluster.nodes.values() {
        let mut late = Reader::of(node, session, 1);
        late.until("the reply so far", |seen| seen.written.as_ref() == Some(&shown))
            .await;
    }
    open.send_replace(true);
    for (reader, node) in readers.iter_mut().zip(cluster.nodes.values()) {
        reader.entries(2).await;
        assert_eq!(
            told(&reader.seen.entries),
            ["1 a: one".to_owned(), format!("2 to a: {text} fin")]
        );
        say(node, session, "a", "one").await.expect("repeated");
    }
    assert!(
        readers
            .iter()
            .all(|reader| reader.seen.entries == readers[0].seen.entries)
    );
    for (n, node) in cluster.nodes.values().enumerate() {
        say(node, session, &format!("next-{n}"), "more")
            .await
            .expect("said");
    }
    for reader in &mut readers {
        reader.entries(8).await;
    }
    assert!(
        readers
            .iter()
            .all(|reader| reader.seen.entries == readers[0].seen.entries)
    );
}

#[tokio::test]
async fn a_reply_whose_owner_dies_is_written_again_by_the_next_once() {
    let (mut cluster, open) = gated(3).await;
    let session = cluster.session().await;
    let owner = cluster.owner(session);
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| *id != owner).collect();
    let mut readers: Vec<Reader> = others
        .iter()
        .map(|id| Reader::of(&cluster.nodes[id], session, 0))
        .collect();
    say(&cluster.nodes[&others[0]], session, "a", "one")
        .await
        .expect("said");
    for reader in &mut readers {
        reader.until("the beginning", |seen| seen.written.is_some()).await;
    }
    cluster.kill(owner).await;
    for reader in &mut readers {
        reader.until("a new owner", |seen| !seen.moves.is_empty()).await;
        reader.until("a new beginning", |seen| seen.beginnings >= 2).await;
    }
    open.send_replace(true);
    let next = cluster.owner(session);
    assert_ne!(next, owner);
    say(&cluster.nodes[&others[1]], session, "b", "two")
        .await
        .expect("said");
    for reader in &mut readers {
        reader.entries(4).await;
        let mut lines = told(&reader.seen.entries);
        let replies: Vec<String> = lines
            .extract_if(.., |line| line.contains(" to "))
            .map(|l| l[2..].to_owned())
            .collect();
        assert_eq!(
            replies,
            [
                format!("to a: é one by {next} fin"),
                format!("to b: é two by {next} fin")
            ]
        );
    }
    assert_eq!(readers[0].seen.entries, readers[1].seen.entries);
}

/// Says something until it is said, as clients do: with the same id.
async fn insist(sessions: &Sessions, session: SessionId, id: String) -> Said {
    let began = Instant::now();
    let deadline = Duration::from_millis(1_500);
    loop {
        match sessions
            .say(
                ADMIN,
                session,
                message_id(&id),
                format!("{id} + 1"),
                None,
                deadline,
            )
            .await
        {
            Ok(said) => return said,
            Err(
                SessionError::Unavailable { retry_after_ms } | SessionError::Overloaded { retry_after_ms },
            ) => {
                assert!(began.elapsed() < PATIENCE, "service comes back");
                tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn under_load_a_kill_loses_and_repeats_nothing() {
    const SESSIONS: usize = 12;
    const MESSAGES: usize = 12;
    let mut cluster = Cluster::start(3, |_| Arc::new(BuiltIn)).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(cluster.session().await);
    }
    // The leader is killed, which owns a third of the sessions as well; clients talk through the others.
    let leader = cluster
        .node(1)
        .replica
        .state()
        .borrow()
        .leader
        .expect("there is one");
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    let tasks = jarvis_host::Tasks::new();
    let talkers: Vec<_> = (sessions.iter().enumerate())
        .map(|(n, session)| {
            let (session, gateway) = (*session, cluster.nodes[&others[n % 2]].sessions.clone());
            tasks.spawn(async move {
                for m in 0..MESSAGES {
                    insist(&gateway, session, m.to_string()).await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        })
        .collect();
    let mut readers: Vec<Reader> = (sessions.iter())
        .flat_map(|session| {
            others
                .iter()
                .map(|id| Reader::of(&cluster.nodes[id], *session, 0))
        })
        .collect();
    readers[0]
        .until("the talk has begun", |seen| seen.entries.len() > 4)
        .await;
    cluster.kill(leader).await;
    for talker in talkers {
        talker.await.expect("every message is said");
    }
    for reader in &mut readers {
        reader.entries(2 * MESSAGES).await;
        let mut answered: Vec<usize> = (reader.seen.entries.iter())
            .filter_map(|frame| match frame {
                ServerFrame::Reply { reply_to, text, .. } => {
                    let reply_to = reply_to.as_deref().expect("it was asked for");
                    let n: usize = reply_to.parse().expect("a number");
                    assert_eq!(*text, format!("{n} + 1 = {}", n + 1));
                    Some(n)
                }
                _ => None,
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(
            answered,
            (0..MESSAGES).collect::<Vec<_>>(),
            "each is answered once"
        );
    }
    assert!(
        readers
            .chunks(2)
            .all(|pair| pair[0].seen.entries == pair[1].seen.entries)
    );
}

#[tokio::test]
async fn without_a_majority_saying_fails_soon_and_nothing_is_lost_when_it_is_back() {
    let cluster = Cluster::start(3, |_| Arc::new(BuiltIn)).await;
    let session = cluster.session().await;
    let cut = cluster.node(2);
    say(cut, session, "a", "1+1").await.expect("said");
    let mut reader = Reader::of(cut, session, 0);
    reader.entries(2).await;
    let rest: Vec<_> = cluster
        .nodes
        .values()
        .map(|node| &node.mesh)
        .filter(|m| m.node() != NodeId(2))
        .collect();
    cluster.bed.wires.isolate(&cut.mesh, rest);
    let began = Instant::now();
    let deadline = Duration::from_millis(1_500);
    let refused = cut
        .sessions
        .say(ADMIN, session, message_id("b"), "2+2".into(), None, deadline)
        .await;
    assert!(
        matches!(refused, Err(SessionError::Unavailable { retry_after_ms: 1.. })),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let shown = cut
        .sessions
        .open(ADMIN, session, Duration::from_millis(100))
        .await;
    assert_eq!(
        shown.map(|opened| opened.certain),
        Ok(false),
        "what is there is shown"
    );
    cluster.bed.wires.mend_all();
    let said = loop {
        assert!(began.elapsed() < PATIENCE, "service comes back");
        match cut
            .sessions
            .say(ADMIN, session, message_id("b"), "2+2".into(), None, deadline)
            .await
        {
            Ok(said) => break said,
            Err(SessionError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other:?}"),
        }
    };
    reader.entries(4).await;
    assert_eq!(said.seq, Seq(3));
    assert_eq!(told(&reader.seen.entries)[2..], ["3 b: 2+2", "4 to b: 2 + 2 = 4"]);
}

#[tokio::test]
async fn a_message_that_no_actor_heard_of_is_answered() {
    let cluster = Cluster::start(1, |_| Arc::new(BuiltIn)).await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let mut reader = Reader::of(node, session, 0);
    // As when a proposal's outcome stayed unknown and was committed later: first without an actor, then past one.
    for n in 1..=2 {
        let partition = partition_of(&session.to_string(), 60);
        let fence = Some(Fence {
            kind: KindId::SESSION,
            partition,
            epoch: node.sessions.owner(session).1,
        });
        let command = Command::Say {
            session,
            user: ADMIN,
            id: message_id(&format!("m{n}")),
            text: "1+1".into(),
        };
        let options = ProposeOptions {
            fence,
            request: None,
            deadline: PATIENCE,
        };
        let reply = node.replica.propose(command, options).await.expect("applied");
        assert!(
            matches!(reply, Reply::Appended { repeated: false, .. }),
            "{reply:?}"
        );
        reader.entries(2 * n).await;
        until("the actor runs", || {
            node.router.activity(&jarvis_types::EntityId::session(session)).0
        })
        .await;
    }
    say(node, session, "m3", "2+2").await.expect("said");
    reader.entries(6).await;
}

#[tokio::test]
async fn a_model_that_stalls_gives_way_and_the_reply_begins_again() {
    let stall = vec![
        ok(Protocol::Ollama),
        Step::Send(part(Protocol::Ollama, "Once upon")),
        Step::Hang,
    ];
    let server = ModelServer::start(vec![stall]).await;
    let settings = ResponderSettings {
        endpoints: vec![endpoint("model", Protocol::Ollama, &server.url)],
        ..ResponderSettings::default()
    };
    let cluster = Cluster::start(1, |_| {
        Arc::new(Chain::from_settings(&settings).expect("sound settings"))
    })
    .await;
    let node = cluster.node(1);
    let session = cluster.session().await;
    let mut reader = Reader::of(node, session, 0);
    say(node, session, "a", "tell me a story").await.expect("said");
    reader
        .until("the model's beginning", |seen| {
            seen.written.as_ref().is_some_and(|(_, t)| t == "Once upon")
        })
        .await;
    reader.entries(2).await;
    assert!(told(&reader.seen.entries)[1].starts_with("2 to a: The language model cannot be reached"));
}
