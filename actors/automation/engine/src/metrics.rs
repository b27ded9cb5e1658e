//! What is counted.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const FIRED: &str = "jarvis_automation_triggers_total";
const RUNS: &str = "jarvis_automation_runs_total";
const RUNNING: &str = "jarvis_automation_running_runs";
const LATE: &str = "jarvis_automation_late_seconds";
const ACTS: &str = "jarvis_bridge_acts_total";
const OPEN_ACTS: &str = "jarvis_bridge_open_acts";
const ACT_SECONDS: &str = "jarvis_bridge_act_seconds";
const STEPS: &str = "jarvis_bridge_steps_total";
const STEP_SECONDS: &str = "jarvis_bridge_step_seconds";
const DEAD: &str = "jarvis_bridge_dead_letters";
const ENTITIES: &str = "jarvis_bridge_entities";

/// Says what each means.
pub(crate) fn describe() {
    describe_counter!(FIRED, "Triggers of automations that fired.");
    describe_counter!(RUNS, "Runs of automations that ended, by how.");
    describe_gauge!(RUNNING, "Runs of automations under way on this node.");
    describe_histogram!(
        LATE,
        Unit::Seconds,
        "By how much timers that fell due unseen were late."
    );
    describe_counter!(
        ACTS,
        "Acts that automations or people asked for, by what came of them."
    );
    describe_gauge!(OPEN_ACTS, "Acts under way.");
    describe_histogram!(
        ACT_SECONDS,
        Unit::Seconds,
        "From when an act was asked for until its outcome was known."
    );
    describe_counter!(STEPS, "Steps that the bridge wrote to the log.");
    describe_histogram!(
        STEP_SECONDS,
        Unit::Seconds,
        "How long writing a step of the bridge took."
    );
    describe_gauge!(DEAD, "Messages that could not be decided on.");
    describe_gauge!(ENTITIES, "Entities of devices that are known.");
}

pub(crate) fn fired(count: usize) {
    counter!(FIRED).increment(count as u64);
}

pub(crate) fn run_ended(how: &'static str) {
    counter!(RUNS, "outcome" => how).increment(1);
}

pub(crate) fn running(change: i64) {
    gauge!(RUNNING).increment(change as f64);
}

pub(crate) fn late(by_ms: u64) {
    histogram!(LATE).record(by_ms as f64 / 1_000.0);
}

pub(crate) fn act(outcome: &'static str, took_ms: i64) {
    counter!(ACTS, "outcome" => outcome).increment(1);
    histogram!(ACT_SECONDS).record(took_ms.max(0) as f64 / 1_000.0);
}

pub(crate) fn open_acts(count: usize) {
    gauge!(OPEN_ACTS).set(count as f64);
}

pub(crate) fn step(took: std::time::Duration) {
    counter!(STEPS).increment(1);
    histogram!(STEP_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn dead_letters(count: usize) {
    gauge!(DEAD).set(count as f64);
}

pub(crate) fn entities(count: usize) {
    gauge!(ENTITIES).set(count as f64);
}
