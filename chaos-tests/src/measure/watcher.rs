//! Looks at every node each second and counts what changed: leaders, terms, owners, nodes said to be down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Cluster, Eyes, NodeProcess, Shape};
use crate::crowd::lock;
use crate::laws::one_owner::Sighting;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What changed, in the eyes of all nodes together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// Terms that began.
    pub(crate) terms: u64,
    /// Times that a node named another leader than before.
    pub(crate) leaders: u64,
    /// Looks at a node that knew of no leader just then, as one does that has just stood still.
    pub(crate) leaderless: u64,
    /// Partitions that got another owner or epoch.
    pub(crate) moves: u64,
    /// Times that a node called another one something else than `up`.
    pub(crate) not_up: u64,
    /// Looks that no answer came to.
    pub(crate) unanswered: u64,
}

/// Compares what nodes say with what they said before.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    last: BTreeMap<usize, Shape>,
    /// Whom each node last named as the leader.
    named: BTreeMap<usize, String>,
    /// How often each node was started again.
    lives: BTreeMap<usize, u64>,
    term: u64,
    epochs: BTreeMap<(String, u64), u64>,
    /// So far.
    pub(crate) changes: Changes,
    /// For the law of one owner: only what differs from what the node said before.
    pub(crate) sightings: Vec<Sighting>,
}

impl Comparison {
    /// A node was started again: it may be a little behind what it said before.
    fn restarted(&mut self, node: usize) {
        self.last.remove(&node);
        self.named.remove(&node);
        *self.lives.entry(node).or_default() += 1;
    }

    fn life(&self, node: usize) -> u64 {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    /// Takes what a node said; `None` where it did not answer.
    pub(crate) fn take(&mut self, node: usize, shape: Option<Shape>) {
        let Some(shape) = shape else {
            self.changes.unanswered += 1;
            return;
        };
        let first = self.term == 0;
        if shape.term > self.term {
            self.changes.terms += if first { 0 } else { shape.term - self.term };
            self.term = shape.term;
        }
        let before = self.last.get(&node);
        match &shape.leader {
            Some(leader) => {
                let named = self.named.insert(node, leader.clone());
                self.changes.leaders += u64::from(named.is_some_and(|named| named != *leader));
            }
            None => self.changes.leaderless += 1,
        }
        for (name, state) in &shape.states {
            let known = before.and_then(|before| before.states.get(name));
            if state != "up" && known.is_none_or(|known| known == "up") {
                self.changes.not_up += 1;
            }
        }
        for (partition, (owner, epoch)) in &shape.partitions {
            let newest = self.epochs.entry(partition.clone()).or_insert(*epoch);
            if *epoch > *newest {
                self.changes.moves += 1;
                *newest = *epoch;
            }
            if before.and_then(|before| before.partitions.get(partition)) != Some(&(owner.clone(), *epoch)) {
                self.sightings.push(Sighting {
                    by: node,
                    fresh: before.is_none(),
                    subject: format!("{}/{}", partition.0, partition.1),
                    owner: owner.clone(),
                    epoch: *epoch,
                });
            }
        }
        self.last.insert(node, shape);
    }
}

/// Looks until it is dropped.
pub(crate) struct Watcher {
    comparison: Arc<Mutex<Comparison>>,
    _tasks: JoinSet<()>,
}

impl Watcher {
    /// Begins to look.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let comparison = Arc::new(Mutex::new(Comparison::default()));
        let mut tasks = JoinSet::new();
        for (number, node) in cluster.nodes.iter().enumerate() {
            let (eyes, node, comparison) = (cluster.eyes(), node.clone(), Arc::clone(&comparison));
            tasks.spawn(async move {
                let mut ticks = interval(EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let life = lock(&comparison).life(number);
                    let shape = look(&eyes, &node).await.ok();
                    let mut comparison = lock(&comparison);
                    // What was said before a restart is not what is said after it.
                    if comparison.life(number) == life {
                        comparison.take(number, shape);
                    }
                }
            });
        }
        Self {
            comparison,
            _tasks: tasks,
        }
    }

    /// A node was started again.
    pub(crate) fn restarted(&self, node: usize) {
        lock(&self.comparison).restarted(node);
    }

    /// What changed so far.
    pub(crate) fn changes(&self) -> Changes {
        lock(&self.comparison).changes.clone()
    }

    /// What nodes said about owners.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        lock(&self.comparison).sightings.clone()
    }
}

async fn look(eyes: &Eyes, node: &NodeProcess) -> Result<Shape> {
    let text = tokio::time::timeout(Duration::from_secs(2), eyes.get(node, "/api/v1/cluster"))
        .await
        .context("no answer")??;
    Shape::of(&serde_json::from_str(&text)?)
}

/// Metrics of a node by name and labels; those that count times in parts are left out.
pub(crate) async fn metrics(eyes: &Eyes, node: &NodeProcess) -> Result<BTreeMap<String, f64>> {
    Ok(parse_metrics(&eyes.get(node, "/metrics").await?))
}

fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
    let values = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    values.collect()
}

/// Sum of a metric over all its labels.
pub(crate) fn sum(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    let own = |key: &str| {
        key.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    };
    metrics
        .iter()
        .filter(|(key, _)| own(key))
        .map(|(_, value)| value)
        .sum()
}

/// What a node's log warned of since it was `from` bytes long: how often each message came, without what differs in it.
///
/// # Errors
/// Where the log cannot be read.
pub(crate) fn warnings(log: &PathBuf, from: u64) -> Result<BTreeMap<String, u64>> {
    let text = std::fs::read(log).with_context(|| format!("{} cannot be read", log.display()))?;
    let text = text.get(usize::try_from(from)?..).unwrap_or(&text);
    Ok(count_warnings(&String::from_utf8_lossy(text)))
}

fn count_warnings(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().skip(1);
        let Some(level) = words.next().filter(|level| ["WARN", "ERROR"].contains(level)) else {
            continue;
        };
        let message: Vec<&str> = words.take_while(|word| !word.contains(['=', '"'])).collect();
        *counts
            .entry(format!("{level} {}", message.join(" ")))
            .or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(leader: &str, term: u64, owner: &str, epoch: u64, state: &str) -> Option<Shape> {
        Some(Shape {
            leader: Some(leader.to_owned()),
            term,
            states: [("a".to_owned(), state.to_owned())].into(),
            partitions: [(("session".to_owned(), 0), (owner.to_owned(), epoch))].into(),
        })
    }

    #[test]
    fn what_two_nodes_tell_of_one_change_is_one_move_and_one_term() {
        let mut comparison = Comparison::default();
        for node in 0..2 {
            comparison.take(node, shape("a", 5, "a", 7, "up"));
        }
        assert_eq!(comparison.changes, Changes::default(), "a beginning is no change");
        for node in 0..2 {
            comparison.take(node, shape("b", 6, "b", 8, "down"));
            comparison.take(node, shape("b", 6, "b", 8, "down"));
        }
        comparison.take(1, None);
        let expected = Changes {
            terms: 1,
            leaders: 2,
            leaderless: 0,
            moves: 1,
            not_up: 2,
            unanswered: 1,
        };
        assert_eq!(comparison.changes, expected);
        assert_eq!(comparison.sightings.len(), 4);
        assert!(crate::laws::one_owner::check(&comparison.sightings).is_empty());
    }

    #[test]
    fn who_knows_no_leader_for_a_moment_has_not_named_another() {
        let mut comparison = Comparison::default();
        let nobody = shape("a", 5, "a", 7, "up").map(|shape| Shape {
            leader: None,
            ..shape
        });
        for shape in [shape("a", 5, "a", 7, "up"), nobody, shape("a", 5, "a", 7, "up")] {
            comparison.take(0, shape);
        }
        let expected = Changes {
            leaderless: 1,
            ..Changes::default()
        };
        assert_eq!(comparison.changes, expected);
    }

    #[test]
    fn a_node_that_was_started_again_may_be_behind() {
        let back = |restarted: bool| {
            let mut comparison = Comparison::default();
            comparison.take(0, shape("a", 5, "a", 7, "up"));
            if restarted {
                comparison.restarted(0);
            }
            comparison.take(0, shape("a", 5, "b", 6, "up"));
            crate::laws::one_owner::check(&comparison.sightings).len()
        };
        assert_eq!((back(false), back(true)), (1, 0));
    }

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# HELP x y\nmoves_total{reason=\"A\"} 2\nmoves_total{reason=\"B\"} 3\nmoves_total_other 9\nterm 4\n";
        let metrics = parse_metrics(text);
        assert_eq!((sum(&metrics, "moves_total"), sum(&metrics, "term")), (5.0, 4.0));
        assert_eq!(sum(&metrics, "absent"), 0.0);
    }

    #[test]
    fn warnings_are_counted_by_what_they_say() {
        let log = "T1  INFO jarvis: fine\nT2  WARN mesh::link: peer lost peer=2 after=1s\nT3  WARN mesh::link: peer lost peer=3\n\
                   T4 ERROR x: bad\nno level here\n";
        let expected = [
            ("WARN mesh::link: peer lost".to_owned(), 2),
            ("ERROR x: bad".to_owned(), 1),
        ];
        assert_eq!(count_warnings(log), expected.into());
    }
}
