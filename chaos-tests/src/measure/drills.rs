//! Kills under talkers who talk as fast as they are answered, and the laws in the end.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{Tool, told};
use crate::faults::Victim;
use crate::gaps::percentile;
use crate::report::keep;
use crate::storm::{self, Plan};

#[derive(Serialize)]
struct Gaps {
    victim: &'static str,
    kills: usize,
    gaps: usize,
    p50_ms: u128,
    p99_ms: u128,
    max_ms: u128,
}

#[derive(Serialize)]
struct Report {
    laws_broken: Vec<String>,
    messages: usize,
    answered: usize,
    sessions: usize,
    reconnects: u64,
    unavailable: usize,
    kills: Vec<Gaps>,
}

/// Owner, leader and gateway are killed, each as often.
///
/// # Errors
/// Where a law was broken.
pub async fn drills(tool: &Tool, rounds: usize) -> Result<()> {
    let victims = [Victim::Owner, Victim::Leader, Victim::Gateway];
    let kills: Vec<Victim> = (0..rounds).flat_map(|_| victims).collect();
    let plan = Plan {
        sessions: 12,
        messages: usize::MAX,
        pause: Duration::from_millis(10),
        kills,
        calm: Duration::from_secs(2),
        stop_after_kills: true,
    };
    run(tool, "drills", &plan).await
}

/// Any node is killed every few seconds until all is said.
///
/// # Errors
/// Where a law was broken.
pub async fn storm(tool: &Tool, sessions: usize, messages: usize, kills: usize) -> Result<()> {
    let plan = Plan {
        sessions,
        messages,
        pause: Duration::from_millis(250),
        kills: (0..kills).map(|n| Victim::Any(n * 7 / 3)).collect(),
        calm: Duration::from_secs(2),
        stop_after_kills: false,
    };
    run(tool, "storm", &plan).await
}

async fn run(tool: &Tool, name: &str, plan: &Plan) -> Result<()> {
    let (_data, mut cluster) = tool.cluster().await?;
    let verdict = storm::run(&mut cluster, plan).await?;
    let kinds = ["owner", "leader", "gateway", "any"];
    let gaps = kinds.into_iter().filter_map(|victim| {
        let own = |kill: &&storm::Kill| kill.victim.name() == victim;
        let kills = verdict.kills.iter().filter(own).count();
        let gaps = verdict.gaps_of(victim);
        let at = |share| percentile(&gaps, share).as_millis();
        (kills > 0).then(|| Gaps {
            victim,
            kills,
            gaps: gaps.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        })
    });
    let report = Report {
        laws_broken: told(&verdict.broken),
        messages: verdict.said,
        answered: verdict.answered,
        sessions: verdict.histories.len(),
        reconnects: verdict.histories.iter().map(|h| h.reconnects).sum(),
        unavailable: verdict.histories.iter().map(|h| h.unavailable.len()).sum(),
        kills: gaps.collect(),
    };
    keep(&tool.report, name, &report)?;
    cluster.stop().await?;
    verdict.into_result().map(drop)
}
