//! How much a run may do. What goes over ends it with the bound's name; nothing is cut short in silence.

/// Bounds of a run. The defaults are far beyond what an automation of a home does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps taken in one go; more are taken when it is advanced again, so that a busy run does not hold up the others.
    pub steps_per_advance: u64,
    /// Steps taken without waiting for anything: a loop that never waits ends here.
    pub steps_without_wait: u64,
    /// Steps taken in all.
    pub steps_per_run: u64,
    /// Rounds of one loop.
    pub rounds_per_loop: u64,
    /// Threads at a time: sequences of all `parallel`s that are under way.
    pub threads: usize,
    /// Intents that no outcome is known of.
    pub open_intents: usize,
    /// Entities that one call is for.
    pub entities_per_call: usize,
    /// All variables together, about, in bytes. They are written down at every step.
    pub variables_bytes: usize,
    /// The data of one call or event, about, in bytes.
    pub data_bytes: usize,
    /// Steps of a trace that are kept: the latest.
    pub trace_steps: usize,
    /// The longest wait, in milliseconds: longer ones are refused.
    pub wait_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps_per_advance: 1_000,
            steps_without_wait: 20_000,
            steps_per_run: 1_000_000,
            rounds_per_loop: 100_000,
            threads: 64,
            open_intents: 256,
            entities_per_call: 1_000,
            variables_bytes: 256 * 1_024,
            data_bytes: 64 * 1_024,
            trace_steps: 200,
            wait_ms: 366 * 24 * 60 * 60 * 1_000,
        }
    }
}

/// About how many bytes a value takes where it is written down.
pub(super) fn weight(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            2 + map
                .iter()
                .map(|(key, value)| key.len() + 4 + weight(value))
                .sum::<usize>()
        }
    }
}

/// About how many bytes variables take.
pub(super) fn weight_of_map(map: &serde_json::Map<String, serde_json::Value>) -> usize {
    map.iter().map(|(key, value)| key.len() + 4 + weight(value)).sum()
}
