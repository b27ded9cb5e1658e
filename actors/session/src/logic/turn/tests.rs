//! Tables of inputs and effects.

use super::*;

fn id(n: u64) -> ClientMessageId {
    format!("m{n}").parse().expect("a valid id")
}

fn committed(n: u64) -> Input {
    Input::Committed {
        to: Seq(n),
        id: id(n),
    }
}

fn begin(n: u64) -> Effect {
    Effect::Begin {
        to: Seq(n),
        id: id(n),
    }
}

fn commit(n: u64, text: &str, cancelled: bool) -> Effect {
    Effect::Commit {
        to: Seq(n),
        text: text.into(),
        cancelled,
    }
}

fn delta(n: u64, offset: u64, text: &str) -> Input {
    Input::Delta {
        to: Seq(n),
        offset,
        text: text.into(),
    }
}

fn finished(n: u64, text: &str) -> Input {
    Input::Finished {
        to: Seq(n),
        text: text.into(),
    }
}

/// Feeds inputs and compares all effects; time is the input's number.
#[track_caller]
fn check(turns: &mut Turns, steps: Vec<(Input, Vec<Effect>)>) {
    for (at, (input, expected)) in steps.into_iter().enumerate() {
        assert_eq!(
            turns.handle(at as u64, input.clone()),
            expected,
            "step {at}: {input:?}"
        );
    }
}

#[test]
fn messages_are_answered_in_order_one_at_a_time() {
    let mut turns = Turns::default();
    let settled = |took_ms| Effect::Settled {
        outcome: Outcome::Answered,
        took_ms,
    };
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (committed(2), vec![]),
            (committed(2), vec![]),
            (finished(1, "one"), vec![commit(1, "one", false)]),
            (finished(1, "one"), vec![]),
            (Input::Answered { to: Seq(1) }, vec![settled(5), begin(2)]),
            (committed(1), vec![]),
            (finished(2, "two"), vec![commit(2, "two", false)]),
            (Input::Answered { to: Seq(2) }, vec![settled(7)]),
        ],
    );
    assert!(turns.is_idle());
}

#[test]
fn a_message_that_is_learnt_of_late_goes_before_later_ones() {
    let mut turns = Turns::default();
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (committed(5), vec![]),
            (committed(3), vec![]),
        ],
    );
    turns.handle(9, finished(1, ""));
    assert_eq!(turns.handle(9, Input::Answered { to: Seq(1) })[1], begin(3));
}

#[test]
fn deltas_are_published_and_begin_again_where_the_responder_does() {
    let mut turns = Turns::default();
    let publish = |offset, text: &str| {
        vec![Effect::Publish {
            to: Seq(1),
            id: id(1),
            offset,
            text: text.into(),
        }]
    };
    check(
        &mut turns,
        vec![
            (delta(1, 0, "early"), vec![]),
            (committed(1), vec![begin(1)]),
            (delta(1, 0, "hé"), publish(0, "hé")),
            (delta(1, 2, "llo"), publish(2, "llo")),
            (delta(1, 9, "gap"), vec![]),
            (delta(2, 0, "other"), vec![]),
            (delta(1, 1, "i"), publish(1, "i")),
            (delta(1, 2, "!"), publish(2, "!")),
            (
                Input::Cancel { id: id(1) },
                vec![Effect::Stop, commit(1, "hi!", true)],
            ),
            (delta(1, 3, "late"), vec![]),
            (Input::Failed { to: Seq(1) }, vec![]),
            (Input::Cancel { id: id(1) }, vec![]),
            (
                Input::Answered { to: Seq(1) },
                vec![Effect::Settled {
                    outcome: Outcome::Cancelled,
                    took_ms: 11,
                }],
            ),
        ],
    );
}

#[test]
fn a_waiting_message_may_be_cancelled() {
    let mut turns = Turns::default();
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (committed(2), vec![]),
            (Input::Cancel { id: id(2) }, vec![]),
            (Input::Cancel { id: id(7) }, vec![]),
            (finished(1, "one"), vec![commit(1, "one", false)]),
            (
                Input::Answered { to: Seq(1) },
                vec![
                    Effect::Settled {
                        outcome: Outcome::Answered,
                        took_ms: 5,
                    },
                    commit(2, "", true),
                ],
            ),
        ],
    );
}

#[test]
fn a_responder_that_breaks_down_is_begun_again_a_few_times() {
    let mut turns = Turns::default();
    let failed = || Input::Failed { to: Seq(1) };
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (failed(), vec![begin(1)]),
            (failed(), vec![begin(1)]),
        ],
    );
    assert!(matches!(
        &turns.handle(3, failed())[..],
        [Effect::Commit { cancelled: false, .. }]
    ));
    assert_eq!(
        turns.handle(4, Input::Answered { to: Seq(1) }),
        [Effect::Settled {
            outcome: Outcome::Failed,
            took_ms: 4
        }]
    );
}

#[test]
fn a_deposed_owner_does_nothing_more() {
    let mut turns = Turns::default();
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (Input::Deposed, vec![Effect::Stop, Effect::End]),
            (finished(1, "one"), vec![]),
            (committed(2), vec![]),
            (Input::Deposed, vec![]),
        ],
    );
}

#[test]
fn a_reply_that_cannot_be_kept_does_not_block_the_next() {
    let mut turns = Turns::default();
    check(
        &mut turns,
        vec![
            (committed(1), vec![begin(1)]),
            (committed(2), vec![]),
            (finished(1, "one"), vec![commit(1, "one", false)]),
            (
                Input::Unanswerable { to: Seq(1) },
                vec![
                    Effect::Settled {
                        outcome: Outcome::Refused,
                        took_ms: 3,
                    },
                    begin(2),
                ],
            ),
        ],
    );
}

#[test]
fn the_queue_is_bounded() {
    let mut turns = Turns::default();
    for n in 1..=MAX_WAITING as u64 {
        turns.handle(0, committed(n));
        assert!(turns.has_room());
    }
    turns.handle(0, committed(1_000));
    assert!(!turns.has_room());
}

#[test]
fn a_message_waits_for_its_reply_until_that_is_committed() {
    let mut turns = Turns::default();
    turns.handle(0, committed(1));
    turns.handle(1, committed(2));
    assert!(turns.awaits(&id(1)) && turns.awaits(&id(2)) && !turns.awaits(&id(3)));
    turns.handle(2, finished(1, "r"));
    assert!(turns.awaits(&id(1)), "its reply is being committed");
    turns.handle(3, Input::Answered { to: Seq(1) });
    assert!(!turns.awaits(&id(1)) && turns.awaits(&id(2)));
}
