//! From a sensor's message to what an automation publishes because of it, on three nodes that are well.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Plan;
use crate::home::{Rig, Saves, Sensor, devices, echo};
use crate::measure::{Times, Tool};

/// Pause between two messages of the one that speaks alone.
const PAUSE: Duration = Duration::from_millis(20);
/// Devices that speak at once, each again when what follows from its last message was recorded.
const AT_ONCE: [usize; 3] = [8, 64, 256];
/// How long what follows from one message may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Not measured: programs are compiled, memory is got.
const WARM_UP: usize = 20;

#[derive(Serialize)]
pub(super) struct Report {
    /// One message at a time, from its publication to that of what follows from it.
    alone: Times,
    /// Many at a time.
    at_once: Vec<Rate>,
}

#[derive(Serialize)]
struct Rate {
    devices: usize,
    events_per_s: f64,
    took: Times,
}

pub(super) async fn run(tool: &Tool, plan: &Plan) -> Result<Report> {
    let most = AT_ONCE.into_iter().max().unwrap_or(1);
    let rig = Rig::start(tool.options.clone(), Saves::Seldom).await?;
    let devices = devices("d", most);
    rig.load(&echo(&devices)).await?;
    let lasting = Duration::from_secs(plan.seconds);
    speak(&rig, &devices[..1], 0, Ends::After(WARM_UP), Duration::ZERO).await?;
    let alone = speak(&rig, &devices[..1], 1, Ends::At(Instant::now() + lasting), PAUSE).await?;
    let mut at_once = Vec::new();
    for (round, count) in (2..).zip(AT_ONCE) {
        let began = Instant::now();
        let took = speak(
            &rig,
            &devices[..count],
            round,
            Ends::At(began + lasting),
            Duration::ZERO,
        )
        .await?;
        let events_per_s = took.len() as f64 / began.elapsed().as_secs_f64();
        at_once.push(Rate {
            devices: count,
            events_per_s: events_per_s.round(),
            took: Times::of(took),
        });
    }
    rig.cluster.stop().await?;
    Ok(Report {
        alone: Times::of(alone),
        at_once,
    })
}

#[derive(Clone, Copy)]
enum Ends {
    After(usize),
    At(Instant),
}

/// Each device says the next when what follows from the last was recorded.
async fn speak(
    rig: &Rig,
    devices: &[String],
    round: u32,
    ends: Ends,
    pause: Duration,
) -> Result<Vec<Duration>> {
    let mut speakers = JoinSet::new();
    for device in devices {
        let mut heard = rig.recorder.hear(device);
        let mut sensor = Sensor::after(rig.broker.port, device, u64::from(round) << 32);
        speakers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let is_over = match ends {
                    Ends::After(count) => took.len() >= count,
                    Ends::At(at) => Instant::now() >= at,
                };
                if is_over {
                    return anyhow::Ok(took);
                }
                let (word, sent) = sensor.say().await?;
                let at = tokio::time::timeout(PATIENCE, heard.until(word.n)).await??;
                ensure!(at >= sent.at, "recorded before it was said");
                took.push(at - sent.at);
                sleep(pause).await;
            }
        });
    }
    let mut all = Vec::new();
    while let Some(took) = speakers.join_next().await {
        all.extend(took??);
    }
    Ok(all)
}
