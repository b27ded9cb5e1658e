//! Automations wait, each for a time of its own, while nodes are killed one after the other.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Plan, settle, took};
use crate::home::{Rig, Saves, Verdict, delayed, devices, say_all};
use crate::measure::{Times, Tool};

/// Between two kills, besides what it takes until all nodes serve again.
const CALM: Duration = Duration::from_secs(1);

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    kills: usize,
    /// From when it was due until it was recorded.
    late: Times,
    /// Those that fired before they were due.
    early: usize,
}

pub(super) async fn run(tool: &Tool, plan: &Plan) -> Result<Report> {
    let mut rig = Rig::start(tool.options.clone(), Saves::EverySecond).await?;
    let devices = devices("w", plan.waiting);
    let seconds = |n: usize| 1 + n as u64 % plan.longest_s.max(1);
    let yaml = (0..).zip(&devices);
    let yaml: String = yaml.map(|(n, device)| delayed(device, seconds(n))).collect();
    rig.load(&yaml).await?;
    let began = Instant::now();
    let said = say_all(rig.broker.port, &devices, 1, Duration::ZERO).await?;
    let ends = began + Duration::from_secs(plan.longest_s);
    let mut kills = 0;
    while Instant::now() < ends {
        let count = rig.cluster.nodes.len();
        let victim = rig.cluster.nodes[kills % count].clone();
        rig.cluster.kill(&victim.name)?;
        kills += 1;
        rig.cluster.wait_restarted(&victim.name, victim.pid).await?;
        rig.cluster.wait_whole().await?;
        sleep(CALM).await;
    }
    let verdict = settle(&rig, &said).await;
    let (mut late, mut early) = (Vec::new(), 0);
    for (word, took) in took(&rig, &said) {
        let index = devices.iter().position(|device| *device == word.device);
        let due = Duration::from_secs(seconds(index.unwrap_or_default()));
        match took.checked_sub(due) {
            Some(by) => late.push(by),
            None => early += 1,
        }
    }
    rig.cluster.stop().await?;
    Ok(Report {
        verdict,
        kills,
        late: Times::of(late),
        early,
    })
}
