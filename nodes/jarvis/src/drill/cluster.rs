//! The cluster under drill: `jarvis up`'s on this machine, whose processes may be killed, or any other, by its nodes' APIs.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jarvis_client::{Api, ApiError};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::catalogue::About;
use crate::cli::args::Target;
use crate::commands::cluster::{list, segment, text};
use crate::fail::Failure;
use crate::places::data_folder;
use crate::target::{Nodes, up_state};
use crate::up::{UpState, missing};

/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a look may take: a node that is cut off must not hold up the drill.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a credential made for the drill is good, if nobody takes it back.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Where faults are put in.
const FAULTS: &str = "/api/v1/drill/faults";
/// Where automations are told how a drill ended.
const ENDED: &str = "/api/v1/drills/ended";

/// What failed before anything was done.
const NOT_BEGUN: &str = "no drill was begun";

/// A cluster.
pub(super) struct Cluster {
    /// The folder of `jarvis up`, where it is that one's.
    up: Option<PathBuf>,
    /// A credential that every node takes.
    pub(super) token: String,
    /// The credential's id, where it was made for this drill.
    made: Option<String>,
    nodes: Vec<(String, Api)>,
    /// Held while this drill lives, so that no other takes away what this one counts on.
    _only: Option<File>,
}

/// Who is struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) name: String,
    pub(super) pid: Option<u32>,
    pub(super) leader: bool,
}

impl Victim {
    /// All nodes at once.
    pub(super) fn all() -> Self {
        Self {
            name: "all nodes".to_owned(),
            pid: None,
            leader: false,
        }
    }
}

/// Where things stand: who leads, since which term, who owns what since which epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) leader: String,
    pub(super) term: u64,
    pub(super) owners: Vec<(String, u64)>,
}

impl Standing {
    /// What a failover has changed for `node` since; none: nothing. What it got besides is no failover.
    pub(super) fn lost_since(&self, before: &Self, node: &str) -> Option<String> {
        if (&self.leader, self.term) != (&before.leader, before.term) {
            return Some(format!(
                "{} led in term {}, {} leads in term {}",
                before.leader, before.term, self.leader, self.term
            ));
        }
        let lost = before.owners.iter().zip(&self.owners);
        match lost.filter(|(was, is)| was.0 == node && is != was).count() {
            0 => None,
            count => Some(format!("{node} lost {count} partitions")),
        }
    }
}

impl Cluster {
    /// The cluster of `target`, as far as the drill can use it.
    pub(super) async fn find(target: &Target, about: &About) -> Result<Self, Failure> {
        let folder = data_folder(target.data.data.as_deref());
        let up = match &target.server {
            Some(_) => None,
            None => up_state(&folder)?,
        };
        match up {
            Some(state) => Self::of_up(&folder, &state),
            None if about.processes => {
                let place = target
                    .server
                    .clone()
                    .unwrap_or_else(|| folder.display().to_string());
                let why = format!(
                    "{place} is no cluster of `jarvis up`, and {} stops processes that must be started again",
                    about.name
                );
                Err(Failure::new(NOT_BEGUN, why).next(
                    "start one: JARVIS_LIMITS__MESSAGES_PER_MINUTE=0 JARVIS_LIMITS__SOCKETS_PER_MINUTE=0 jarvis up; or choose a \
                     drill that needs no processes: jarvis drill list",
                ))
            }
            None => Self::of_nodes(target).await,
        }
    }

    fn of_up(folder: &Path, state: &UpState) -> Result<Self, Failure> {
        let Some(token) = state.token.clone().filter(|_| state.ready) else {
            return Err(Failure::new(NOT_BEGUN, "the cluster does not run").next("start it: jarvis up"));
        };
        let only = the_only_drill(folder)?;
        let made = state.nodes.iter().map(|node| api(&node.name, &node.url, &token));
        Ok(Self {
            _only: Some(only),
            up: Some(folder.to_owned()),
            nodes: made.collect::<Result<_, _>>()?,
            token,
            made: None,
        })
    }

    async fn of_nodes(target: &Target) -> Result<Self, Failure> {
        let asked = Nodes::find(target)?;
        let view = asked.get(NOT_BEGUN, "/api/v1/cluster").await?;
        let (token, made) = match asked.shared_token() {
            Some(token) => (token.to_owned(), None),
            None => {
                // The local credential is good at its own node only.
                let body = json!({"label": "jarvis drill", "ttl_s": TOKEN_TTL.as_secs()});
                let made = asked
                    .call(
                        NOT_BEGUN,
                        Method::POST,
                        "/api/v1/tokens",
                        Some(body),
                        LOOK_TIMEOUT * 5,
                    )
                    .await?;
                (text(&made, "token"), Some(text(&made, "id")))
            }
        };
        let nodes = list(&view, "nodes")
            .iter()
            .map(|node| api(&text(node, "name"), &text(node, "http_url"), &token));
        Ok(Self {
            _only: None,
            up: None,
            nodes: nodes.collect::<Result<_, _>>()?,
            token,
            made,
        })
    }

    /// All nodes' APIs, by name.
    pub(super) fn apis(&self) -> &[(String, Api)] {
        &self.nodes
    }

    /// Tells automations how a drill ended, if any node takes it.
    pub(super) async fn tell_ended(&self, name: &str, passed: bool) {
        let body = json!({"name": name, "passed": passed});
        for (_, api) in &self.nodes {
            let told = api.call(Method::POST, ENDED, Some(body.clone()), LOOK_TIMEOUT);
            match told.await {
                Ok(_) => return,
                // A witness, or a node that is cut off: another may know automations.
                Err(error) => tracing::debug!(%error, "automations were not told of the drill's end"),
            }
        }
    }

    /// Takes back what was made for the drill.
    pub(super) async fn leave(&self) {
        let Some(id) = &self.made else { return };
        let path = format!("/api/v1/tokens/{}", segment(id));
        for (_, api) in &self.nodes {
            // It expires by itself if nobody answers.
            if api.call(Method::DELETE, &path, None, LOOK_TIMEOUT).await.is_ok() {
                return;
            }
        }
    }

    /// What the first node that answers and knows a leader says; else the first that answers.
    pub(super) async fn view(&self) -> Result<Value, Failure> {
        let mut leaderless = None;
        let mut last = None;
        for (_, api) in &self.nodes {
            match look(api).await {
                Ok(view) if view["leader"].is_null() => leaderless = Some(view),
                Ok(view) => return Ok(view),
                Err(error) => last = Some(error.to_string()),
            }
        }
        leaderless.ok_or_else(|| {
            let why = last.unwrap_or_else(|| "there are no nodes".to_owned());
            Failure::new("the cluster's state is not known", why)
        })
    }

    /// The process of a node; none where it is not known.
    pub(super) fn pid(&self, name: &str) -> Result<Option<u32>, Failure> {
        let Some(folder) = &self.up else { return Ok(None) };
        let state =
            up_state(folder)?.ok_or_else(|| Failure::new("the drill cannot go on", "up.json is gone"))?;
        let node = state.nodes.iter().find(|node| node.name == name);
        Ok(node.and_then(|node| node.pid))
    }

    pub(super) async fn must_survive(&self, about: &About) -> Result<(), Failure> {
        let view = self.view().await?;
        if let Some(missing) = missing(&view, self.nodes.len()) {
            return Err(
                Failure::new(NOT_BEGUN, format!("the cluster is not whole: {missing}"))
                    .next("see `jarvis status`"),
            );
        }
        self.must_be_without_faults().await?;
        let voters = list(&view, "nodes")
            .iter()
            .filter(|node| node["voter"] == true)
            .count();
        let more =
            "use three or more: jarvis up --nodes 3, or jarvis invite here and jarvis join on other machines";
        if voters < about.least_voters {
            let why = format!(
                "{voters} of {} nodes vote: {} takes one of them away, and then nothing could be committed",
                self.nodes.len(),
                about.name
            );
            return Err(Failure::new(NOT_BEGUN, why).next(more));
        }
        if self.nodes.len() < about.least_nodes {
            let why = format!(
                "{} is about what lies between nodes, and there is one",
                about.name
            );
            return Err(Failure::new(NOT_BEGUN, why).next(more));
        }
        Ok(())
    }

    /// Whatever another drill has put in could be one loss too many.
    async fn must_be_without_faults(&self) -> Result<(), Failure> {
        for (name, api) in &self.nodes {
            // A node that does not answer was found above; one of an earlier build has no faults.
            let Ok(found) = api.call(Method::GET, FAULTS, None, LOOK_TIMEOUT).await else {
                continue;
            };
            if let Some(fault) = list(&found, "faults").first() {
                let why = format!(
                    "{name} has a fault already, which another drill put in: {}",
                    text(fault, "fault")
                );
                let seconds = fault["ends_in_ms"].as_u64().unwrap_or_default().div_ceil(1_000);
                return Err(Failure::new(NOT_BEGUN, why).next(format!(
                    "wait until that drill has ended; the fault ends by itself after {seconds} s"
                )));
            }
        }
        Ok(())
    }

    /// Who leads.
    pub(super) async fn leader(&self) -> Result<String, Failure> {
        Ok(text(&self.view().await?, "leader"))
    }

    /// Where things stand.
    pub(super) async fn standing(&self) -> Result<Standing, Failure> {
        let view = self.view().await?;
        let mut owners = Vec::new();
        for (_, kind) in view["kinds"].as_object().into_iter().flatten() {
            for partition in list(kind, "partitions") {
                let epoch = partition["epoch"].as_u64().unwrap_or_default();
                owners.push((text(partition, "owner"), epoch));
            }
        }
        Ok(Standing {
            leader: text(&view, "leader"),
            term: view["term"].as_u64().unwrap_or_default(),
            owners,
        })
    }

    /// Puts a fault into a node; it ends by itself after `lasts`.
    pub(super) async fn set_fault(
        &self,
        node: &str,
        mut order: Value,
        lasts: Duration,
    ) -> Result<(), Failure> {
        order["lasts_ms"] = (lasts.as_millis() as u64).into();
        order["node"] = node.into();
        // A node whose clients are cut off could not answer.
        let own_last = order["kind"] == "http_cut";
        let mut last = String::new();
        for api in self.asked_first(node, own_last) {
            match api
                .call(Method::POST, FAULTS, Some(order.clone()), LOOK_TIMEOUT)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
        Err(Failure::new(format!("no fault could be put into {node}"), last)
            .next("see `jarvis status`, and whether this user is an administrator"))
    }

    /// Ends all faults of these nodes, where they can be reached; else they end by themselves.
    pub(super) async fn heal<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) {
        for node in nodes {
            let path = format!("{FAULTS}?node={}", segment(node));
            for api in self.asked_first(node, false) {
                let cleared = api.call(Method::DELETE, &path, None, LOOK_TIMEOUT).await;
                if cleared.is_ok() {
                    break;
                }
            }
        }
    }

    /// The APIs by which a node is given orders: its own, then the others', which pass them on.
    fn asked_first(&self, node: &str, own_last: bool) -> Vec<&Api> {
        let mut apis: Vec<_> = self.nodes.iter().collect();
        apis.sort_by_key(|(name, _)| (name == node) == own_last);
        apis.into_iter().map(|(_, api)| api).collect()
    }

    /// Waits until a node does not answer any more.
    pub(super) async fn until_gone(&self, name: &str, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        let api = self.nodes.iter().find(|(node, _)| node == name);
        while let Some((_, api)) = api {
            if matches!(look(api).await, Err(ApiError::Unreachable { .. })) {
                break;
            }
            if Instant::now() >= deadline {
                let why = format!("{name} still answers after {} s", timeout.as_secs());
                return Err(Failure::new("the node did not stop", why).next("see its log"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until other processes have taken the places of these and the cluster is whole.
    pub(super) async fn until_replaced(&self, victims: &[Victim], timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        for victim in victims.iter().filter(|victim| victim.pid.is_some()) {
            while self.pid(&victim.name)? == victim.pid {
                if Instant::now() >= deadline {
                    let why = format!("{} was not started again", victim.name);
                    return Err(Failure::new("the drill cannot go on", why)
                        .next("start the cluster without --no-restart"));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        self.until_whole(deadline.saturating_duration_since(Instant::now()))
            .await
    }

    /// Waits until every node sees the cluster whole.
    pub(super) async fn until_whole(&self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        for (name, api) in &self.nodes {
            loop {
                let last = match look(api).await {
                    Ok(view) => match missing(&view, self.nodes.len()) {
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

/// Taken by the first drill of a cluster of `jarvis up`, until it ends.
fn the_only_drill(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("drill.lock");
    let failed = |error: std::io::Error| Failure::new(NOT_BEGUN, format!("{}: {error}", path.display()));
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            NOT_BEGUN,
            "another drill runs on this cluster; two at once may take away more than it can survive",
        )
        .next("wait until that one has ended")),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn api(name: &str, url: &str, token: &str) -> Result<(String, Api), Failure> {
    Api::new(url, Some(token.to_owned()))
        .map(|api| (name.to_owned(), api))
        .map_err(|error| Failure::from_error(format!("{name} cannot be asked"), &error))
}

async fn look(api: &Api) -> Result<Value, ApiError> {
    api.call(Method::GET, "/api/v1/cluster", None, LOOK_TIMEOUT).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_lost_is_told_from_what_it_got() {
        let standing = |leader: &str, term, owners: &[(&str, u64)]| Standing {
            leader: leader.to_owned(),
            term,
            owners: owners
                .iter()
                .map(|(node, epoch)| ((*node).to_owned(), *epoch))
                .collect(),
        };
        let before = standing("a", 3, &[("a", 1), ("b", 2)]);
        let lost = |after: Standing, node| after.lost_since(&before, node);
        assert_eq!(lost(before.clone(), "a"), None);
        assert_eq!(
            lost(standing("a", 3, &[("a", 1), ("a", 3)]), "a"),
            None,
            "it got one"
        );
        assert!(
            lost(standing("a", 3, &[("b", 2), ("b", 2)]), "a").is_some_and(|why| why.contains("a lost 1"))
        );
        assert!(lost(standing("a", 4, &[("a", 1), ("b", 2)]), "b").is_some_and(|why| why.contains("term 4")));
    }
}
