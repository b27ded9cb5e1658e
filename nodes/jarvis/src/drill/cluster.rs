//! The cluster under drill: `jarvis up`'s, since its processes must be started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jarvis_client::Api;
use jarvis_host::Entropy;
use serde_json::Value;
use tokio::time::Instant;

use super::Drill;
use super::talker::Board;
use crate::commands::cluster::list;
use crate::fail::Failure;
use crate::target::up_state;
use crate::up::{UpState, missing};

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Fewer voters than this and one that is killed stops everything.
const LEAST_VOTERS: usize = 3;

/// A cluster on this machine.
pub(super) struct Cluster {
    folder: PathBuf,
    pub(super) token: String,
}

/// Who is killed.
pub(super) struct Victim {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) leader: bool,
}

impl Cluster {
    pub(super) fn find(folder: &Path) -> Result<Self, Failure> {
        let what = "no drill was begun";
        let Some(state) = up_state(folder)? else {
            let why = format!(
                "{} holds no cluster of `jarvis up`, and a drill kills processes that must be started again",
                folder.display()
            );
            return Err(Failure::new(what, why).next("start one: JARVIS_LIMITS__MESSAGES_PER_MINUTE=0 JARVIS_LIMITS__SOCKETS_PER_MINUTE=0 jarvis up"));
        };
        let Some(token) = state.token.clone().filter(|_| state.ready) else {
            return Err(Failure::new(what, "the cluster does not run").next("start it: jarvis up"));
        };
        Ok(Self {
            folder: folder.to_owned(),
            token,
        })
    }

    pub(super) fn state(&self) -> Result<UpState, Failure> {
        up_state(&self.folder)?.ok_or_else(|| Failure::new("the drill cannot go on", "up.json is gone"))
    }

    /// All nodes' APIs, by name.
    pub(super) fn apis(&self) -> Result<Vec<(String, Api)>, Failure> {
        let nodes = self.state()?.nodes;
        let made = nodes.into_iter().map(|node| {
            Api::new(&node.url, Some(self.token.clone()))
                .map(|api| (node.name, api))
                .map_err(|error| Failure::from_error("a node cannot be asked", &error))
        });
        made.collect()
    }

    /// What the first node that answers says.
    async fn view(&self) -> Result<Value, Failure> {
        let mut last = None;
        for (_, api) in self.apis()? {
            match api.get("/api/v1/cluster").await {
                Ok(view) => return Ok(view),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "there are no nodes".to_owned(), |error| error.to_string());
        Err(Failure::new("the cluster's state is not known", why))
    }

    pub(super) async fn must_be_redundant(&self) -> Result<(), Failure> {
        let what = "no drill was begun";
        let count = self.state()?.nodes.len();
        let view = self.view().await?;
        if let Some(missing) = missing(&view, count) {
            return Err(Failure::new(what, format!("the cluster is not whole: {missing}"))
                .next("see `jarvis status`"));
        }
        let voters = list(&view, "nodes")
            .iter()
            .filter(|node| node["voter"] == true)
            .count();
        if voters < LEAST_VOTERS {
            let why = format!("{voters} nodes vote: with one of them killed nothing could be committed");
            return Err(Failure::new(what, why).next("start three or more: jarvis up --nodes 3"));
        }
        Ok(())
    }

    /// Chooses whom to kill; among equals the dice decide, and not the leader where it is not about that.
    pub(super) async fn victim(
        &self,
        drill: Drill,
        board: &Board,
        entropy: &dyn Entropy,
    ) -> Result<Victim, Failure> {
        let view = self.view().await?;
        let leader = view["leader"].as_str().unwrap_or_default().to_owned();
        let state = self.state()?;
        let load = |name: &str| match drill {
            Drill::KillLeader => usize::from(name == leader) * 2,
            Drill::KillOwner | Drill::KillGateway => {
                board.affected(drill, name).len().min(1) * 2 + usize::from(name != leader)
            }
        };
        let best = state.nodes.iter().map(|node| load(&node.name)).max().unwrap_or(0);
        let fit: Vec<_> = state
            .nodes
            .iter()
            .filter(|node| load(&node.name) == best && node.pid.is_some())
            .collect();
        if best < 2 || fit.is_empty() {
            return Err(Failure::new(
                "the drill cannot go on",
                "no node carries any of its conversations",
            )
            .next("try again with more --sessions"));
        }
        let chosen = fit[(entropy.next_u64() % fit.len() as u64) as usize];
        let (name, pid) = (chosen.name.clone(), chosen.pid.unwrap_or(0));
        Ok(Victim {
            leader: name == leader,
            name,
            pid,
        })
    }

    /// Waits until another process has taken the victim's place and the cluster is whole.
    pub(super) async fn until_replaced(&self, victim: &Victim, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        loop {
            let state = self.state()?;
            let node = state.nodes.iter().find(|node| node.name == victim.name);
            if node.is_some_and(|node| node.pid.is_some_and(|pid| pid != victim.pid)) {
                return self
                    .until_whole(deadline.saturating_duration_since(Instant::now()))
                    .await;
            }
            if Instant::now() >= deadline {
                let why = format!("{} was not started again", victim.name);
                return Err(Failure::new("the drill cannot go on", why)
                    .next("start the cluster without --no-restart"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until every node sees the cluster whole.
    pub(super) async fn until_whole(&self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        let count = self.state()?.nodes.len();
        for (name, api) in self.apis()? {
            loop {
                let last = match api.get("/api/v1/cluster").await {
                    Ok(view) => match missing(&view, count) {
                        None => break,
                        Some(missing) => missing,
                    },
                    Err(error) => error.to_string(),
                };
                if Instant::now() >= deadline {
                    let why = format!("as {name} sees it: {last}");
                    return Err(Failure::new("the cluster did not become whole again", why)
                        .next("see `jarvis status`"));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }
}
