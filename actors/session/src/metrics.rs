//! This crate's metrics, each described once.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const ACTIVE: &str = "jarvis_session_active";
const REPLIES: &str = "jarvis_session_replies_total";
const REPLY_SECONDS: &str = "jarvis_session_reply_seconds";
const DELTAS_DROPPED: &str = "jarvis_session_deltas_dropped_total";
const GENERATE_SECONDS: &str = "llm_generate_seconds";
const MESSAGES: &str = "jarvis_session_messages_total";

pub(crate) fn describe() {
    describe_gauge!(ACTIVE, "Sessions whose actors run on this node");
    describe_counter!(
        REPLIES,
        "Replies by outcome: answered, cancelled, failed, refused"
    );
    describe_histogram!(REPLY_SECONDS, "From a message's commit to its reply's commit");
    describe_counter!(
        DELTAS_DROPPED,
        "Parts of replies that a follower did not get; the whole reply always comes"
    );
    describe_histogram!(
        GENERATE_SECONDS,
        "Time a responder took, by responder and outcome"
    );
    describe_counter!(
        MESSAGES,
        "Messages taken into a transcript by actors of this node"
    );
}

pub(crate) fn active(by: f64) {
    gauge!(ACTIVE).increment(by);
}

pub(crate) fn reply(outcome: &'static str, took_ms: u64) {
    counter!(REPLIES, "outcome" => outcome).increment(1);
    histogram!(REPLY_SECONDS).record(Duration::from_millis(took_ms).as_secs_f64());
}

pub(crate) fn deltas_dropped(count: u64) {
    counter!(DELTAS_DROPPED).increment(count);
}

pub(crate) fn generated(responder: &str, outcome: &'static str, took: Duration) {
    histogram!(GENERATE_SECONDS, "responder" => responder.to_owned(), "outcome" => outcome)
        .record(took.as_secs_f64());
}

pub(crate) fn message() {
    counter!(MESSAGES).increment(1);
}
