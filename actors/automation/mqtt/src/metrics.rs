//! The metrics of the bridge, described once; one or two a stage.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Describes every metric of this crate; again does no harm.
pub(crate) fn describe() {
    describe_gauge!(
        "jarvis_mqtt_connected",
        "1 while this node owns the bridge and the broker has let it in."
    );
    describe_counter!(
        "jarvis_mqtt_connections_total",
        "Connections that the broker let in, by protocol version."
    );
    describe_counter!(
        "jarvis_mqtt_troubles_total",
        "Connections that failed or were lost, by reason."
    );
    describe_counter!(
        "jarvis_mqtt_sessions_lost_total",
        "Connections at which the broker had no session for this cluster: what it kept for us is gone."
    );
    describe_counter!(
        "jarvis_mqtt_received_messages_total",
        "Messages received, by quality of service."
    );
    describe_counter!(
        "jarvis_mqtt_redelivered_messages_total",
        "Messages that came again and were recognised."
    );
    describe_counter!(
        "jarvis_mqtt_dropped_messages_total",
        "Messages of QoS 0 dropped because too many waited."
    );
    describe_gauge!(
        "jarvis_mqtt_undecided_messages",
        "Messages of QoS 1 taken in and not decided on."
    );
    describe_counter!(
        "jarvis_mqtt_held_back_total",
        "Times at which nothing more was read from the broker, because enough was undecided."
    );
    describe_histogram!(
        "jarvis_mqtt_rate_wait_seconds",
        Unit::Seconds,
        "How long messages waited for the rate limit."
    );
    describe_histogram!(
        "jarvis_mqtt_batch_messages",
        Unit::Count,
        "Messages that were decided on together."
    );
    describe_histogram!(
        "jarvis_mqtt_decide_seconds",
        Unit::Seconds,
        "From offering a batch to the sink until its answer."
    );
    describe_histogram!(
        "jarvis_mqtt_settle_seconds",
        Unit::Seconds,
        "From a message's arrival until it is decided on."
    );
    describe_counter!(
        "jarvis_mqtt_retries_total",
        "Batches offered again, because the sink was unavailable or failed."
    );
    describe_counter!(
        "jarvis_mqtt_acknowledged_messages_total",
        "Messages acknowledged to the broker."
    );
    describe_counter!(
        "jarvis_mqtt_dead_letters_total",
        "Messages given up and kept as dead letters."
    );
    describe_counter!(
        "jarvis_mqtt_published_messages_total",
        "Messages published, by result."
    );
    describe_gauge!(
        "jarvis_mqtt_unconfirmed_messages",
        "Messages sent to the broker and not confirmed."
    );
}

pub(crate) fn connected(is: bool) {
    gauge!("jarvis_mqtt_connected").set(if is { 1.0 } else { 0.0 });
}

pub(crate) fn connection(version: &'static str) {
    counter!("jarvis_mqtt_connections_total", "version" => version).increment(1);
}

pub(crate) fn trouble(why: &'static str) {
    counter!("jarvis_mqtt_troubles_total", "why" => why).increment(1);
}

pub(crate) fn session_lost() {
    counter!("jarvis_mqtt_sessions_lost_total").increment(1);
}

pub(crate) fn received(qos: &'static str) {
    counter!("jarvis_mqtt_received_messages_total", "qos" => qos).increment(1);
}

pub(crate) fn redelivered() {
    counter!("jarvis_mqtt_redelivered_messages_total").increment(1);
}

pub(crate) fn dropped() {
    counter!("jarvis_mqtt_dropped_messages_total").increment(1);
}

pub(crate) fn undecided(messages: usize) {
    gauge!("jarvis_mqtt_undecided_messages").set(messages as f64);
}

pub(crate) fn held_back() {
    counter!("jarvis_mqtt_held_back_total").increment(1);
}

pub(crate) fn rate_wait(waited: Duration) {
    histogram!("jarvis_mqtt_rate_wait_seconds").record(waited);
}

pub(crate) fn decided(messages: usize, took: Duration) {
    histogram!("jarvis_mqtt_batch_messages").record(messages as f64);
    histogram!("jarvis_mqtt_decide_seconds").record(took);
}

pub(crate) fn settled(after: Duration) {
    histogram!("jarvis_mqtt_settle_seconds").record(after);
}

pub(crate) fn retried(why: &'static str) {
    counter!("jarvis_mqtt_retries_total", "why" => why).increment(1);
}

pub(crate) fn acknowledged(messages: usize) {
    counter!("jarvis_mqtt_acknowledged_messages_total").increment(messages as u64);
}

pub(crate) fn buried() {
    counter!("jarvis_mqtt_dead_letters_total").increment(1);
}

pub(crate) fn published(result: &'static str) {
    counter!("jarvis_mqtt_published_messages_total", "result" => result).increment(1);
}

pub(crate) fn unconfirmed(messages: usize) {
    gauge!("jarvis_mqtt_unconfirmed_messages").set(messages as f64);
}
