//! The metrics of the replica, described once.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Describes every metric of this crate; again does no harm.
pub(crate) fn describe() {
    describe_gauge!("jarvis_raft_term", "The Raft term this node is in.");
    describe_gauge!(
        "jarvis_raft_is_leader",
        "1 while this node leads and a majority confirmed it lately."
    );
    describe_gauge!(
        "jarvis_raft_commit_index",
        "Last log index known to be committed."
    );
    describe_gauge!(
        "jarvis_raft_applied_index",
        "Last log index applied to the tables here."
    );
    describe_gauge!(
        "jarvis_raft_applied_lag_entries",
        "Entries known to be committed but not yet applied here."
    );
    describe_gauge!(
        "jarvis_raft_log_bytes",
        Unit::Bytes,
        "Bytes of the entries in this node's log, without what the store adds."
    );
    describe_histogram!(
        "jarvis_raft_commit_seconds",
        Unit::Seconds,
        "From a proposal on this node to its answer."
    );
    describe_histogram!(
        "jarvis_raft_fsync_seconds",
        Unit::Seconds,
        "One durable commit of the log."
    );
    describe_histogram!(
        "jarvis_raft_fsync_batch_writes",
        Unit::Count,
        "Changes made durable by one commit of the log."
    );
    describe_counter!(
        "jarvis_raft_snapshots_total",
        "Snapshots built, sent and received."
    );
    describe_counter!(
        "jarvis_raft_leader_changes_total",
        "Times this node saw another node, or itself, become leader."
    );
    describe_counter!(
        "jarvis_raft_proposals_total",
        "Proposals of this node, by outcome."
    );
}

pub(crate) fn log_synced(took: Duration, writes: usize) {
    histogram!("jarvis_raft_fsync_seconds").record(took);
    histogram!("jarvis_raft_fsync_batch_writes").record(writes as f64);
}

pub(crate) fn log_bytes(bytes: u64) {
    gauge!("jarvis_raft_log_bytes").set(bytes as f64);
}

pub(crate) fn proposal(took: Duration, outcome: &'static str) {
    if outcome == "applied" || outcome == "refused" {
        histogram!("jarvis_raft_commit_seconds").record(took);
    }
    counter!("jarvis_raft_proposals_total", "outcome" => outcome).increment(1);
}

/// `direction`: `built`, `sent` or `received`.
pub(crate) fn snapshot(direction: &'static str) {
    counter!("jarvis_raft_snapshots_total", "direction" => direction).increment(1);
}

pub(crate) fn leader_changed() {
    counter!("jarvis_raft_leader_changes_total").increment(1);
}

pub(crate) fn state(state: &crate::api::ReplicaState) {
    gauge!("jarvis_raft_term").set(state.term as f64);
    gauge!("jarvis_raft_is_leader").set(f64::from(u8::from(state.leads)));
    gauge!("jarvis_raft_commit_index").set(state.committed as f64);
    gauge!("jarvis_raft_applied_index").set(state.applied as f64);
    gauge!("jarvis_raft_applied_lag_entries").set(state.committed.saturating_sub(state.applied) as f64);
}
