//! Sensors speak while the broker ends and comes back: in order, and killed, with each way of saving.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::{Plan, settle, times, took};
use crate::home::{Rig, Saves, Verdict, devices, echo};
use crate::measure::{Times, Tool};

/// How long the broker is away.
const AWAY: Duration = Duration::from_millis(500);
/// How long it is there between two ends.
const THERE: Duration = Duration::from_secs(2);
/// Ends of the broker.
const ROUNDS: u32 = 3;

#[derive(Serialize)]
pub(super) struct Report {
    /// How the broker ended.
    ended: &'static str,
    /// When it saves.
    saves: &'static str,
    rounds: u32,
    verdict: Verdict,
    /// Times at which the broker had forgotten the cluster's session, as the cluster noticed.
    sessions_lost: u64,
    recorded_after: Times,
}

impl Report {
    /// What a broker forgets when it is killed is no fault of the cluster's; all else is.
    pub(super) fn broken(&self) -> Vec<String> {
        if self.ended == "killed" {
            return Vec::new();
        }
        self.verdict.broken()
    }
}

pub(super) async fn run(tool: &Tool, plan: &Plan) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for (saves, name, is_killed) in [
        (Saves::EverySecond, "every second", false),
        (Saves::Seldom, "every half an hour", true),
        (Saves::EverySecond, "every second", true),
        (Saves::EveryChanges(100), "every 100 changes", true),
    ] {
        reports.push(Box::pin(round(tool, plan, saves, name, is_killed)).await?);
    }
    Ok(reports)
}

async fn round(
    tool: &Tool,
    plan: &Plan,
    saves: Saves,
    name: &'static str,
    is_killed: bool,
) -> Result<Report> {
    let mut rig = Rig::start(tool.options.clone(), saves).await?;
    let devices = devices("d", plan.devices);
    rig.load(&echo(&devices)).await?;
    let each = plan.messages.div_ceil(plan.devices as u64);
    let all = (AWAY + THERE) * ROUNDS;
    let pause = all / u32::try_from(each).unwrap_or(u32::MAX).max(1);
    let talking = rig.talk(&devices, each, pause);
    for _ in 0..ROUNDS {
        sleep(THERE).await;
        if is_killed {
            rig.broker.kill().await?;
        } else {
            rig.broker.stop().await?;
        }
        sleep(AWAY).await;
        rig.broker.start_again().await?;
    }
    let said = talking.await??;
    let verdict = settle(&rig, &said).await;
    let bridge = rig.until_bridge(|bridge| bridge["state"] == "connected").await?;
    let recorded_after = times(took(&rig, &said));
    rig.cluster.stop().await?;
    Ok(Report {
        ended: if is_killed { "killed" } else { "in order" },
        saves: name,
        rounds: ROUNDS,
        verdict,
        sessions_lost: bridge["sessions_lost"].as_u64().unwrap_or(0),
        recorded_after,
    })
}
