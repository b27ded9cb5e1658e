//! Sensors speak while the node that has the bridge is killed, again and again.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::{Plan, settle, times, took};
use crate::home::{Rig, Saves, Verdict, devices, echo};
use crate::measure::{Times, Tool};

/// Between two kills, besides what it takes until all nodes serve again.
const CALM: Duration = Duration::from_millis(1_500);
/// What one kill takes, about, by which the messages are spread over all of them.
const KILL: Duration = Duration::from_secs(4);

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    kills: usize,
    /// From a kill until the next node's bridge was connected and subscribed.
    bridge_back: Times,
    /// From a message to what was recorded of it.
    recorded_after: Times,
}

pub(super) async fn run(tool: &Tool, plan: &Plan) -> Result<Report> {
    let mut rig = Rig::start(tool.options.clone(), Saves::EverySecond).await?;
    let devices = devices("d", plan.devices);
    rig.load(&echo(&devices)).await?;
    let each = plan.messages.div_ceil(plan.devices as u64);
    let kills = u32::try_from(plan.kills).unwrap_or(u32::MAX);
    let pause = KILL * kills / u32::try_from(each).unwrap_or(u32::MAX).max(1);
    let talking = rig.talk(&devices, each, pause);
    let mut back = Vec::new();
    for _ in 0..plan.kills {
        sleep(CALM).await;
        back.push(rig.kill_bridge().await?);
    }
    let said = talking.await??;
    let verdict = settle(&rig, &said).await;
    let recorded_after = times(took(&rig, &said));
    rig.cluster.stop().await?;
    Ok(Report {
        verdict,
        kills: plan.kills,
        bridge_back: Times::of(back),
        recorded_after,
    })
}
