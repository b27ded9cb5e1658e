//! Whom to kill.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::history::History;
use crate::talker::Board;

/// The planner balances within seconds of a node's return.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which node a round kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The node that runs the most talkers' sessions and is neither leader nor, where possible, their gateway.
    Owner,
    /// The Raft leader.
    Leader,
    /// A node that holds sockets.
    Gateway,
    /// The next node in turn.
    Any(usize),
}

impl Victim {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Leader => "leader",
            Self::Gateway => "gateway",
            Self::Any(_) => "any",
        }
    }
}

/// Name of the node to kill, and never the leader unless that is what the kill is about. Owners and gateways are taken
/// where they concern the most talkers, once they concern any: after a kill the planner takes its time to balance.
///
/// # Errors
/// Where the cluster does not tell, or no node comes to be what is to be killed.
pub async fn choose(cluster: &Cluster, victim: Victim, board: &Board) -> Result<String> {
    let started = Instant::now();
    loop {
        let leader = cluster.leader().await?;
        let concerned = |node: &str| {
            let places = board.places();
            places
                .iter()
                .filter(|(gateway, owner)| is_about(victim, node, gateway, owner))
                .count()
        };
        let found = match victim {
            Victim::Leader => Some(leader),
            Victim::Any(n) => cluster
                .nodes
                .get(n % cluster.nodes.len().max(1))
                .map(|node| node.name.clone()),
            Victim::Owner | Victim::Gateway => {
                let others = cluster
                    .nodes
                    .iter()
                    .map(|n| n.name.as_str())
                    .filter(|name| *name != leader);
                let most = others.max_by_key(|name| concerned(name));
                most.filter(|name| concerned(name) > 0).map(str::to_owned)
            }
        };
        if let Some(node) = found {
            return Ok(node);
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "no node came to be the {} of a talker",
            victim.name()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_about(victim: Victim, node: &str, gateway: &str, owner: &str) -> bool {
    match victim {
        Victim::Owner => owner == node && gateway != node,
        Victim::Gateway => gateway == node,
        Victim::Leader => gateway != node,
        Victim::Any(_) => true,
    }
}

/// Whether a kill of `node` at `at` concerned that talker in the way `victim` is about.
pub fn concerns(victim: Victim, node: &str, history: &History, at: tokio::time::Instant) -> bool {
    history
        .place_at(at)
        .is_some_and(|(gateway, owner)| is_about(victim, node, gateway, owner))
}
