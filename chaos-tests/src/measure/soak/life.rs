//! After the heal: every session answers within a bound, and every partition has exactly one owner.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::field::Field;
use crate::cluster::Shape;
use crate::crowd::{Crowd, Handle};
use crate::measure::Times;
use crate::measure::watcher::{Watcher, metrics, sum};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// How soon all must be well again, from the heal on.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bounds {
    /// Every session has answered something that was asked after the heal.
    pub answer_s: u64,
    /// Every node serves, all see the same owners, and what they own together is each partition once.
    pub owners_s: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            answer_s: 10,
            owners_s: 20,
        }
    }
}

/// How soon it was.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Life {
    /// From the heal to each session's first answer.
    pub(super) to_answer: Times,
    /// Until every node served and every partition had one owner.
    pub(super) one_owner_after_ms: u64,
}

/// Waits for both.
pub(super) async fn comes_back(
    field: &mut Field<'_>,
    crowd: &Crowd,
    bounds: Bounds,
    healed: Instant,
    watcher: &Watcher,
) -> Result<Life> {
    crowd.members.iter().for_each(|member| {
        member.take_answers();
        member.change(|order| {
            order.record = true;
            order.call += 1;
        });
    });
    let first = |member: &Handle| {
        member.with_answers(|answers| {
            let mut asked_since = answers.iter().filter(|answer| answer.sent >= healed);
            asked_since.next().map(|answer| answer.replied.0 - healed)
        })
    };
    let mut one_owner_after = None;
    loop {
        field.look(watcher)?;
        let answered: Vec<Duration> = crowd.members.iter().filter_map(first).collect();
        if one_owner_after.is_none() && owned_by_one(field).await.is_ok() {
            one_owner_after = Some(healed.elapsed());
        }
        if let Some(after) = one_owner_after
            && answered.len() == crowd.members.len()
        {
            crowd
                .members
                .iter()
                .for_each(|member| member.change(|order| order.record = false));
            return Ok(Life {
                to_answer: Times::of(answered),
                one_owner_after_ms: after.as_millis() as u64,
            });
        }
        let silence = healed.elapsed();
        if answered.len() < crowd.members.len() && silence > Duration::from_secs(bounds.answer_s) {
            let silent = crowd.members.iter().filter(|member| first(member).is_none());
            let silent: Vec<String> = silent
                .take(5)
                .map(|member| format!("{:?}", member.whereabouts()))
                .collect();
            bail!(
                "{} of {} sessions had no answer {silence:?} after the heal, such as {}",
                crowd.members.len() - answered.len(),
                crowd.members.len(),
                silent.join(", ")
            );
        }
        if one_owner_after.is_none()
            && silence > Duration::from_secs(bounds.owners_s)
            && let Err(why) = owned_by_one(field).await
        {
            bail!("{silence:?} after the heal {why:#}");
        }
        sleep(LOOK).await;
    }
}

/// Whether every node serves, all see the same, and each partition is owned once.
async fn owned_by_one(field: &mut Field<'_>) -> Result<()> {
    let cluster = field.cluster();
    let mut shapes: Vec<Shape> = Vec::new();
    let mut owned = 0.0;
    for node in cluster.nodes.clone() {
        cluster.get_text(&node, "/readyz").await?;
        shapes.push(cluster.shape(&node).await?);
        owned += sum(
            &metrics(&cluster.eyes(), &node).await?,
            "jarvis_entity_owned_partitions",
        );
    }
    let Some((first, others)) = shapes.split_first() else {
        bail!("there are no nodes");
    };
    if let Some(other) = others.iter().find(|other| *other != first) {
        bail!("nodes see different clusters: {first:?}, {other:?}");
    }
    let down: Vec<_> = first.states.iter().filter(|(_, state)| *state != "up").collect();
    if !down.is_empty() || first.leader.is_none() {
        bail!("{down:?} are not up, {:?} leads", first.leader);
    }
    let partitions = first.partitions.len();
    if let Some((partition, _)) = first.partitions.iter().find(|(_, (owner, _))| owner.is_empty()) {
        bail!("{partition:?} has no owner");
    }
    if (owned - partitions as f64).abs() > 0.1 {
        bail!("nodes say that they own {owned} of {partitions} partitions");
    }
    Ok(())
}
