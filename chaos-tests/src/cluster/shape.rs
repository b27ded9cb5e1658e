//! What `/api/v1/cluster` says, as far as the measurements ask.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::{Cluster, NodeProcess};

/// Who leads, who is there, and who owns what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Name of the leader, if this node knows one.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// State of each node by name, such as `up`.
    pub states: BTreeMap<String, String>,
    /// Kind and index to owner and epoch.
    pub partitions: BTreeMap<(String, u64), (String, u64)>,
}

impl Shape {
    /// Reads it.
    ///
    /// # Errors
    /// Where it is not as INTERFACES has it.
    pub fn of(value: &Value) -> Result<Self> {
        let mut shape = Self {
            leader: value["leader"].as_str().map(str::to_owned),
            term: value["term"].as_u64().context("a term")?,
            ..Self::default()
        };
        for node in value["nodes"].as_array().context("nodes")? {
            let text = |key: &str| node[key].as_str().map(str::to_owned);
            shape.states.insert(
                text("name").context("a node's name")?,
                text("state").context("a node's state")?,
            );
        }
        for (kind, found) in value["kinds"].as_object().context("kinds")? {
            for partition in found["partitions"].as_array().context("partitions")? {
                let index = partition["index"].as_u64().context("an index")?;
                let owner = partition["owner"].as_str().unwrap_or_default().to_owned();
                let epoch = partition["epoch"].as_u64().context("an epoch")?;
                shape.partitions.insert((kind.clone(), index), (owner, epoch));
            }
        }
        Ok(shape)
    }

    /// How many partitions of a kind each node owns.
    pub fn shares(&self, kind: &str) -> BTreeMap<&str, usize> {
        let mut shares: BTreeMap<&str, usize> = self.states.keys().map(|name| (name.as_str(), 0)).collect();
        for (_, (owner, _)) in self.partitions.iter().filter(|((of, _), _)| of == kind) {
            *shares.entry(owner).or_default() += 1;
        }
        shares
    }

    /// Every node is up, someone leads, and no node owns more than one session partition above another.
    pub fn is_balanced(&self) -> bool {
        let shares = self.shares("session");
        let (least, most) = (shares.values().min(), shares.values().max());
        let even = least.zip(most).is_some_and(|(least, most)| most - least <= 1);
        even && self.leader.is_some() && self.states.values().all(|state| state == "up")
    }
}

impl Cluster {
    /// How a node sees the cluster.
    ///
    /// # Errors
    /// Where it does not answer as promised.
    pub async fn shape(&self, node: &NodeProcess) -> Result<Shape> {
        Shape::of(&self.get(node, "/api/v1/cluster").await?)
    }

    /// Waits until every node sees the same balanced cluster, for at most `patience`: how long it took.
    ///
    /// # Errors
    /// Where that takes longer; with the last that was seen.
    pub async fn wait_balanced(&mut self, patience: Duration) -> Result<Duration> {
        self.wait_whole().await?;
        let started = Instant::now();
        loop {
            let mut shapes = Vec::new();
            for node in &self.nodes {
                shapes.extend(self.shape(node).await.ok());
            }
            let alike = shapes.windows(2).all(|two| two.first() == two.last());
            if shapes.len() == self.nodes.len() && alike && shapes.iter().all(Shape::is_balanced) {
                return Ok(started.elapsed());
            }
            ensure!(
                started.elapsed() < patience,
                "not balanced after {patience:?}: {:?}",
                shapes
                    .iter()
                    .map(|shape| (&shape.leader, shape.term, &shape.states, shape.shares("session")))
                    .collect::<Vec<_>>()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(owners: &[&str], state: &str) -> Shape {
        let partition = |(index, owner): (usize, &&str)| json!({"index": index, "owner": owner, "epoch": 1});
        let partitions: Vec<_> = owners.iter().enumerate().map(partition).collect();
        let nodes = ["a", "b", "c"].map(|name| json!({"name": name, "state": state}));
        let value = json!({
            "leader": "a", "term": 3, "nodes": nodes, "kinds": {"session": {"partitions": partitions}},
        });
        Shape::of(&value).expect("as promised")
    }

    #[test]
    fn balanced_is_within_one_and_all_up() {
        assert!(cluster(&["a", "b", "c", "a"], "up").is_balanced());
        assert!(!cluster(&["a", "b", "c", "a"], "down").is_balanced());
        assert!(!cluster(&["a", "a", "b", "c", "a"], "up").is_balanced());
        assert!(!cluster(&["a", "a", "b"], "up").is_balanced(), "one owns nothing");
        assert_eq!(cluster(&["a", "b"], "up").term, 3);
        assert!(Shape::of(&json!({"term": 1})).is_err());
    }
}
