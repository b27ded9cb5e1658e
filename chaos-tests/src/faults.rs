//! Whom to kill.

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::history::History;

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

/// Where the talkers' sessions and sockets are.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Gateway and owner of each talker.
    pub talkers: Vec<(String, String)>,
}

/// Name of the node to kill.
///
/// # Errors
/// Where the cluster does not tell.
pub async fn choose(cluster: &Cluster, victim: Victim, round: usize) -> Result<String> {
    let leader = cluster.leader().await?;
    let others: Vec<&str> = cluster.nodes.iter().map(|n| n.name.as_str()).filter(|n| *n != leader).collect();
    let pick = |list: &[&str]| list.get(round % list.len().max(1)).map(|name| (*name).to_owned());
    match victim {
        Victim::Leader => Ok(leader),
        // A node that is not the leader: what is measured is the owner's loss alone.
        Victim::Owner | Victim::Gateway => pick(&others).context("there is a node besides the leader"),
        Victim::Any(n) => match cluster.nodes.get(n % cluster.nodes.len()) {
            Some(node) => Ok(node.name.clone()),
            None => bail!("there are no nodes"),
        },
    }
}

/// Whether a kill of `node` at `at` concerned that talker in the way `victim` is about.
pub fn concerns(victim: Victim, node: &str, history: &History, at: tokio::time::Instant) -> bool {
    let Some((gateway, owner)) = history.place_at(at) else { return false };
    match victim {
        Victim::Owner => owner == node && gateway != node,
        Victim::Gateway => gateway == node,
        Victim::Leader => gateway != node,
        Victim::Any(_) => true,
    }
}
