//! `CreateSession`, `Say`, `Answer` and `Notify`.

use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, Fence};
use jarvis_machine::keys;
use jarvis_machine::query::partition_of_session;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::row_codec::encode_row;
use jarvis_machine::rows::{MessageBody, MessageRow, SessionRow};
use jarvis_machine::storage::{Table, TableStore};
use jarvis_types::{ClientMessageId, KindId, PartitionIndex, Seq, SessionId, UserId, codec};

use crate::world::{ADMIN, CHAT, World, answer, chat_fence, create_user, notify, say, speaks};

fn create(session: u128, user: u64) -> Command {
    Command::CreateSession {
        session: SessionId(session),
        user: UserId(user),
    }
}

fn appended(seq: u64, at_ms: u64, repeated: bool) -> Reply {
    Reply::Appended {
        seq: Seq(seq),
        at_ms,
        repeated,
    }
}

fn missing() -> Refusal {
    Refusal::NotFound(format!("session {CHAT}"))
}

#[test]
fn a_session_is_made_once_and_is_its_users() {
    let mut world = World::new();
    world.run(create_user("bob")).unwrap();
    assert_eq!(
        world.changes(create(7, 1)),
        [Change::SessionCreated {
            session: SessionId(7),
            user: ADMIN
        }]
    );
    assert_eq!(world.changes(create(7, 1)), [], "the same again changes nothing");
    world.refuse(
        create(7, 2),
        Refusal::NotFound(format!("session {}", SessionId(7))),
    );
    world.refuse(create(8, 9), Refusal::NotFound("user 9".to_owned()));
    world.run(create(9, 1)).unwrap();
    world.run(create(8, 2)).unwrap();
    world.read(|q| {
        let of = |user, limit| {
            q.sessions_of(UserId(user), limit)
                .unwrap()
                .iter()
                .map(|(id, _)| id.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (of(1, 9), of(1, 1), of(2, 9)),
            (vec![9, 7], vec![9], vec![8]),
            "the newest first"
        );
    });
}

#[test]
fn a_user_has_at_most_50_000_sessions() {
    let mut world = World::new();
    let (key, almost) = (keys::session_count(ADMIN), encode_row(&49_999u64).unwrap());
    world
        .store
        .write(false, &mut |w| w.put(Table::Meta, &key, &almost))
        .unwrap();
    world.run(create(1, 1)).unwrap();
    world.refuse_saying(create(2, 1), "50000 sessions");
    assert_eq!(
        world.run(create(1, 1)),
        Ok(Reply::Done),
        "one that is there is still there"
    );
}

#[test]
fn a_message_and_its_reply() {
    let mut world = World::with_nodes(1);
    world.now_ms = 2_000;
    assert_eq!(
        world.changes(say("m1", "\n  Hello there \nmore")),
        [Change::Appended {
            session: CHAT,
            seq: Seq(1)
        }]
    );
    world.read(|q| {
        assert_eq!(q.open_turns_of(CHAT).unwrap(), [Seq(1)]);
        assert_eq!(
            q.open_turns(partition_of_session(CHAT)).unwrap(),
            [(CHAT, Seq(1))]
        );
        let other = PartitionIndex((partition_of_session(CHAT).0 + 1) % 60);
        assert_eq!(q.open_turns(other).unwrap(), []);
    });
    world.now_ms = 3_000;
    assert_eq!(
        world.changes(answer(1, "Hello.")),
        [Change::Appended {
            session: CHAT,
            seq: Seq(2)
        }]
    );
    let id: ClientMessageId = "m1".parse().unwrap();
    world.read(|q| {
        let said = MessageRow {
            body: MessageBody::Said {
                id: id.clone(),
                reply: Some(Seq(2)),
            },
            text: "\n  Hello there \nmore".to_owned(),
            at_ms: 2_000,
        };
        let reply = MessageRow {
            body: MessageBody::Reply {
                to: Seq(1),
                to_id: id.clone(),
                cancelled: false,
            },
            text: "Hello.".to_owned(),
            at_ms: 3_000,
        };
        let all = vec![(Seq(1), said), (Seq(2), reply)];
        assert_eq!(q.messages(CHAT, Seq(0), 9).unwrap(), all);
        assert_eq!(q.messages(CHAT, Seq(1), 9).unwrap(), all[1..]);
        assert_eq!(q.messages(CHAT, Seq(u64::MAX), 9).unwrap(), []);
        assert_eq!(q.last_messages(CHAT, 9).unwrap(), all);
        assert_eq!(q.last_messages(CHAT, 1).unwrap(), all[1..]);
        assert_eq!(q.open_turns_of(CHAT).unwrap(), []);
        assert_eq!(q.seq_of(CHAT, &id).unwrap(), Some(Seq(1)));
        let session = SessionRow {
            user: ADMIN,
            created_at_ms: 1_000,
            last_seq: Seq(2),
            last_at_ms: 3_000,
            title: "Hello there".to_owned(),
        };
        assert_eq!(q.session(CHAT).unwrap(), Some(session));
    });
}

#[test]
fn the_same_client_id_is_the_same_message() {
    let mut world = World::with_nodes(1);
    assert_eq!(world.say("m1", "one"), Ok(appended(1, 1_000, false)));
    world.now_ms = 5_000;
    assert_eq!(world.say("m2", "two"), Ok(appended(2, 5_000, false)));
    assert_eq!(
        world.say("m1", "one, but another text"),
        Ok(appended(1, 1_000, true))
    );
    assert_eq!(world.changes(say("m2", "two")), []);
    assert_eq!(
        world.read(|q| q.message(CHAT, Seq(1)).unwrap().unwrap().text),
        "one"
    );
}

#[test]
fn a_second_reply_changes_nothing() {
    let mut world = World::with_nodes(1);
    world.say("m1", "one").unwrap();
    assert_eq!(world.run(answer(1, "first")), Ok(appended(2, 1_000, false)));
    world.now_ms = 5_000;
    assert_eq!(world.run(answer(1, "second")), Ok(appended(2, 1_000, true)));
    assert_eq!(world.changes(answer(1, "third")), []);
    assert_eq!(
        world.read(|q| q.message(CHAT, Seq(2)).unwrap().unwrap().text),
        "first"
    );
}

#[test]
fn replies_may_come_in_any_order_and_be_empty_when_cancelled() {
    let mut world = World::with_nodes(1);
    world.say("m1", "one").unwrap();
    world.say("m2", "two").unwrap();
    assert_eq!(world.run(answer(2, "b")), Ok(appended(3, 1_000, false)));
    let cancelled = Command::Answer {
        session: CHAT,
        to: Seq(1),
        text: String::new(),
        cancelled: true,
    };
    assert_eq!(world.run(cancelled), Ok(appended(4, 1_000, false)));
    let body = world.read(|q| q.message(CHAT, Seq(4)).unwrap().unwrap().body);
    assert_eq!(
        body,
        MessageBody::Reply {
            to: Seq(1),
            to_id: "m1".parse().unwrap(),
            cancelled: true
        }
    );
}

#[test]
fn what_cannot_be_said_or_answered() {
    let mut world = World::with_nodes(1);
    world.run(create_user("bob")).unwrap();
    let by = |user, session| Command::Say {
        session: SessionId(session),
        user: UserId(user),
        id: "m1".parse().unwrap(),
        text: "hi".to_owned(),
    };
    world.refuse(by(2, CHAT.0), missing());
    world.refuse(by(1, 1), Refusal::NotFound(format!("session {}", SessionId(1))));
    world.refuse_saying(say("m1", ""), "empty");
    world.refuse_saying(say("m1", &"é".repeat(65_537)), "65536 characters");
    // A malformed id does not even come in as bytes.
    let bad = codec::decode::<ClientMessageId>(1, &codec::encode(1, &"x".repeat(65)).unwrap());
    assert!(bad.unwrap_err().to_string().contains("message id"));

    world.refuse(
        answer(1, "?"),
        Refusal::NotFound(format!("message 1 of session {CHAT}")),
    );
    world.say("m1", &"é".repeat(65_536)).unwrap();
    world.refuse_saying(answer(1, &"é".repeat(65_537)), "65536 characters");
    world.run(answer(1, "yes")).unwrap();
    world.refuse_saying(answer(2, "?"), "itself a reply");
    let elsewhere = Command::Answer {
        session: SessionId(1),
        to: Seq(1),
        text: "?".to_owned(),
        cancelled: false,
    };
    world.refuse(elsewhere, Refusal::NotFound(format!("session {}", SessionId(1))));
}

#[test]
fn at_most_256_messages_wait_for_their_reply() {
    let mut world = World::with_nodes(1);
    for n in 1..=256 {
        world.say(&format!("m{n}"), "hi").unwrap();
    }
    world.refuse_saying(say("m257", "hi"), "256 messages");
    assert_eq!(
        world.say("m256", "hi"),
        Ok(appended(256, 1_000, true)),
        "a retry is no new message"
    );
    world.run(answer(7, "yes")).unwrap();
    assert_eq!(world.say("m257", "hi"), Ok(appended(258, 1_000, false)));
}

#[test]
fn a_fence_must_be_of_the_sessions_partition() {
    let mut world = World::with_nodes(1);
    let own = partition_of_session(CHAT);
    let other = PartitionIndex((own.0 + 1) % 60);
    world.place(&[(own.0, 1), (other.0, 1)]).unwrap();
    let wrong = Fence {
        partition: other,
        ..chat_fence(1)
    };
    assert!(matches!(
        world.run_fenced(wrong, say("m1", "hi")),
        Err(Refusal::Invalid(_))
    ));
    world.run_fenced(chat_fence(1), say("m1", "hi")).unwrap();
    assert!(matches!(
        world.run_fenced(wrong, answer(1, "hi")),
        Err(Refusal::Invalid(_))
    ));
    let unknown_kind = Fence {
        kind: KindId(9),
        ..chat_fence(1)
    };
    assert!(matches!(
        world.run_fenced(unknown_kind, answer(1, "hi")),
        Err(Refusal::StaleEpoch { .. })
    ));
    world.run_fenced(chat_fence(1), answer(1, "hi")).unwrap();
}

/// A node of level 3 with an empty session.
fn world_of_level_3() -> World {
    let mut world = World::with_nodes(1);
    world.run(speaks(1, 3)).unwrap();
    world.run(Command::RaiseLevel { to: 3 }).unwrap();
    world
}

#[test]
fn what_is_told_unasked_stands_in_the_transcript_and_waits_for_nothing() {
    let mut world = world_of_level_3();
    assert_eq!(
        world.changes(notify("rain", "It rains.")),
        [Change::Appended {
            session: CHAT,
            seq: Seq(1)
        }]
    );
    world.read(|q| {
        let row = q.message(CHAT, Seq(1)).unwrap().unwrap();
        let told = MessageRow {
            body: MessageBody::Told {
                id: "rain".parse().unwrap(),
            },
            text: "It rains.".to_owned(),
            at_ms: 1_000,
        };
        assert_eq!(row, told);
        assert_eq!(q.open_turns_of(CHAT).unwrap(), []);
        assert_eq!(
            q.seq_of_told(CHAT, &"rain".parse().unwrap()).unwrap(),
            Some(Seq(1))
        );
        let session = q.session(CHAT).unwrap().unwrap();
        assert_eq!((session.last_seq, &*session.title), (Seq(1), ""));
    });
    // The conversation goes on around it.
    assert_eq!(world.say("m1", "does it?"), Ok(appended(2, 1_000, false)));
    assert_eq!(
        world.run(notify("snow", "It snows.")),
        Ok(appended(3, 1_000, false))
    );
    assert_eq!(world.run(answer(2, "yes")), Ok(appended(4, 1_000, false)));
    assert_eq!(
        world.read(|q| q.session(CHAT).unwrap().unwrap().title),
        "does it?",
        "named after what the user said"
    );
    world.refuse_saying(answer(1, "?"), "itself a reply");
}

#[test]
fn the_same_is_told_once() {
    let mut world = world_of_level_3();
    assert_eq!(world.run(notify("a", "one")), Ok(appended(1, 1_000, false)));
    world.now_ms = 5_000;
    assert_eq!(world.run(notify("b", "one")), Ok(appended(2, 5_000, false)));
    for again in [notify("a", "one"), notify("a", "other"), notify("a", "")] {
        assert_eq!(world.run(again.clone()), Ok(appended(1, 1_000, true)));
        assert_eq!(world.changes(again), []);
    }
    // What users call their messages is another matter.
    assert_eq!(world.say("a", "mine"), Ok(appended(3, 5_000, false)));
    assert_eq!(world.say("c", "mine"), Ok(appended(4, 5_000, false)));
    assert_eq!(world.run(notify("c", "three")), Ok(appended(5, 5_000, false)));
    assert_eq!(world.say("a", "mine"), Ok(appended(3, 5_000, true)));
}

#[test]
fn what_cannot_be_told() {
    let mut world = World::with_nodes(1);
    world.refuse(notify("a", "hi"), Refusal::LevelTooLow { needs: 3, level: 1 });
    let mut world = world_of_level_3();
    let elsewhere = Command::Notify {
        session: SessionId(1),
        id: "a".parse().unwrap(),
        text: "hi".to_owned(),
    };
    world.refuse(elsewhere, Refusal::NotFound(format!("session {}", SessionId(1))));
    world.refuse_saying(notify("a", ""), "empty");
    world.refuse_saying(notify("a", &"é".repeat(65_537)), "65536 characters");
    let own = partition_of_session(CHAT);
    let other = PartitionIndex((own.0 + 1) % 60);
    world.place(&[(own.0, 1), (other.0, 1)]).unwrap();
    let wrong = Fence {
        partition: other,
        ..chat_fence(1)
    };
    assert!(matches!(
        world.run_fenced(wrong, notify("a", "hi")),
        Err(Refusal::Invalid(_))
    ));
    assert!(matches!(
        world.run_fenced(chat_fence(2), notify("a", "hi")),
        Err(Refusal::StaleEpoch { .. })
    ));
    assert_eq!(
        world.run_fenced(chat_fence(1), notify("a", "hi")),
        Ok(appended(1, 1_000, false))
    );
}

#[test]
fn rows_of_before_are_read_and_replayed_beside_what_is_told() {
    // A transcript as builds of earlier levels wrote it.
    let mut world = world_of_level_3();
    world.say("m1", "salut").unwrap();
    let (said, reply) = (
        "0100036d2d3100 0573616c7574 fc70110100",
        "0101 01 036d2d3100 0573616c7574 fc70110100",
    );
    let bytes = |hex: &str| -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    };
    world
        .store
        .write(false, &mut |w| {
            w.put(Table::Messages, &keys::message(CHAT, Seq(1)), &bytes(said))
        })
        .unwrap();
    world.run(answer(1, "salut")).unwrap();
    let answered = world.read(|q| q.0.get(Table::Messages, &keys::message(CHAT, Seq(2))).unwrap());
    let before = bytes(reply);
    assert_eq!(
        answered.unwrap()[..before.len() - 5],
        before[..before.len() - 5],
        "all but the time"
    );
    world.run(notify("a", "salut")).unwrap();
    let bodies: Vec<_> = world.read(|q| {
        let messages = q.messages(CHAT, Seq(0), 9).unwrap();
        messages.into_iter().map(|(_, row)| row.body).collect()
    });
    assert_eq!(
        bodies,
        [
            MessageBody::Said {
                id: "m-1".parse().unwrap(),
                reply: Some(Seq(2))
            },
            MessageBody::Reply {
                to: Seq(1),
                to_id: "m-1".parse().unwrap(),
                cancelled: false
            },
            MessageBody::Told {
                id: "a".parse().unwrap()
            },
        ]
    );
}
