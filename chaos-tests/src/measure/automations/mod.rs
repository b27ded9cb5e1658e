//! Automations under faults, and how fast they are: with a real broker, sensors and a recorder of what is done.
mod broker;
mod delays;
mod kills;
mod latency;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use super::{Times, Tool, verdict};
use crate::home::{Expected, Rig, Sent, Verdict, Word, judge};
use crate::report::{keep, say};

/// How long all may take to be recorded after the last fault.
const SETTLE: Duration = Duration::from_secs(90);
/// When so long nothing is recorded, nothing more will be.
const QUIET: Duration = Duration::from_secs(15);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Sensors speak while the bridge's node is killed.
    Kills,
    /// The same while the broker ends and comes back, in order and killed.
    Broker,
    /// Automations wait while nodes are killed.
    Delays,
    /// From a message to what follows from it, and how many a second.
    Latency,
}

/// How much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which parts.
    pub parts: Vec<Part>,
    /// Sensors.
    pub devices: usize,
    /// Messages of all of them.
    pub messages: u64,
    /// Kills.
    pub kills: usize,
    /// Automations that wait.
    pub waiting: usize,
    /// The longest wait.
    pub longest_s: u64,
    /// How long latency and rate are measured.
    pub seconds: u64,
}

#[derive(Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    kills: Option<kills::Report>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broker: Vec<broker::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delays: Option<delays::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<latency::Report>,
    broken: Vec<String>,
}

/// Measures, keeps the report, and fails where something was broken.
///
/// # Errors
/// Where something was broken, or could not be measured.
pub async fn run(tool: &Tool, plan: &Plan) -> Result<()> {
    let mut report = Report::default();
    for part in &plan.parts {
        say(&format!("automations: {part:?}"));
        match part {
            Part::Kills => {
                let found = Box::pin(kills::run(tool, plan)).await?;
                report.broken.extend(found.verdict.broken());
                report.kills = Some(found);
            }
            Part::Broker => {
                report.broker = Box::pin(broker::run(tool, plan)).await?;
                report
                    .broken
                    .extend(report.broker.iter().flat_map(|found| found.broken()));
            }
            Part::Delays => {
                let found = Box::pin(delays::run(tool, plan)).await?;
                report.broken.extend(found.verdict.broken());
                report.delays = Some(found);
            }
            Part::Latency => report.latency = Some(Box::pin(latency::run(tool, plan)).await?),
        }
    }
    keep(&tool.report, "automations", &report)?;
    verdict(&report.broken)
}

fn expected(said: &BTreeMap<Word, Sent>) -> Expected {
    let tries = said.iter().map(|(word, sent)| (word.clone(), sent.tries));
    tries.collect()
}

/// Waits until all that was said is recorded, or nothing more comes; and judges.
async fn settle(rig: &Rig, said: &BTreeMap<Word, Sent>) -> Verdict {
    let expected = expected(said);
    let all = rig
        .recorder
        .until(SETTLE, |sights| judge(&expected, sights).lost.is_empty());
    tokio::select! {
        _ = all => {}
        _ = rig.recorder.until_quiet(QUIET, SETTLE) => {}
    }
    judge(&expected, &rig.recorder.sights())
}

/// From when each was said until it was recorded first.
fn took(rig: &Rig, said: &BTreeMap<Word, Sent>) -> BTreeMap<Word, Duration> {
    let mut took = BTreeMap::new();
    for sight in rig.recorder.sights() {
        if let Some(word) = sight.word
            && let Some(sent) = said.get(&word)
        {
            let after = sight.at.saturating_duration_since(sent.at);
            took.entry(word).or_insert(after);
        }
    }
    took
}

fn times(took: BTreeMap<Word, Duration>) -> Times {
    Times::of(took.into_values().collect())
}
