//! How the cluster learns of this node: the first brings it into being, each tells where it is met, that it is back, and,
//! once the cluster is at the level for it, what it has and how much it carries.

use std::sync::Arc;
use std::time::Duration;

use jarvis_config::Settings;
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::rows::{NodeFacts, NodeIntent, NodeRole};
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica};
use tokio::sync::broadcast::error::RecvError;

use super::automations::MQTT;
use super::protocol::BUILD;
use super::{FIRST_USER, Keeper, NodeConfig};
use crate::fail::chain;

/// How long one attempt to tell the cluster of this node may take; it is repeated.
const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between attempts.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);
/// The cluster level from which on nodes describe themselves.
const FACTS_LEVEL: u32 = 2;

/// Brings the cluster into being where this is its first node, and tells the cluster of this node.
pub(super) struct Announcer {
    /// Decides.
    pub(super) replica: Replica,
    /// Which node.
    pub(super) config: NodeConfig,
    /// Whether it went away in order: then it serves again by itself.
    pub(super) handed_over: bool,
    /// Writes down that it is back.
    pub(super) keeper: Arc<dyn Keeper>,
}

impl Announcer {
    /// Until it is done.
    pub(super) async fn run(self) {
        let mut said = String::new();
        while let Err(error) = self.announce().await {
            if error == said {
                tracing::debug!(error, "the cluster was not told of this node yet");
            } else {
                tracing::warn!(
                    error,
                    "the cluster was not told of this node yet; it is tried again"
                );
                said = error;
            }
            tokio::time::sleep(ANNOUNCE_PAUSE).await;
        }
        if self.config.speaks_level >= FACTS_LEVEL {
            self.describe().await;
        }
    }

    /// Tells what this node has, as soon as the cluster's level allows it.
    async fn describe(&self) {
        let mut changes = self.replica.changes();
        loop {
            match self.try_describe().await {
                Ok(true) => return,
                Ok(false) => loop {
                    match changes.recv().await {
                        Ok(batch) if batch.changes.iter().any(raises_level) => break,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return,
                    }
                },
                Err(error) => {
                    tracing::debug!(error, "the cluster was not told what this node has yet");
                    tokio::time::sleep(ANNOUNCE_PAUSE).await;
                }
            }
        }
    }

    /// False: the cluster's level does not allow it yet.
    async fn try_describe(&self) -> Result<bool, String> {
        let facts = facts(&self.config.settings);
        let (level, known) = {
            let view = self.replica.local().map_err(|e| chain(&e))?;
            let query = view.query();
            let known = query.node_facts(self.config.node).map_err(|e| chain(&e))?;
            (query.cluster_level().map_err(|e| chain(&e))?, known)
        };
        if level < FACTS_LEVEL {
            return Ok(false);
        }
        if known.as_ref() != Some(&facts) {
            let node = self.config.node;
            let options = ProposeOptions {
                fence: None,
                request: None,
                deadline: ANNOUNCE_DEADLINE,
            };
            let command = Command::DescribeNode { node, facts };
            self.replica
                .propose(command, options)
                .await
                .map_err(|e| chain(&e))?;
        }
        Ok(true)
    }

    async fn announce(&self) -> Result<(), String> {
        let options = ProposeOptions {
            fence: None,
            request: None,
            deadline: ANNOUNCE_DEADLINE,
        };
        let config = &self.config;
        if config.founder && !self.is_initialised()? {
            let command = Command::Initialise {
                cluster: config.cluster,
                node: NewNode {
                    name: config.name.clone(),
                    role: NodeRole::Voter,
                    mesh_address: config.mesh_address.clone(),
                    http_url: config.http_url.clone(),
                    version: BUILD.to_owned(),
                    level: config.speaks_level,
                },
                admin: FIRST_USER.to_owned(),
            };
            match self.replica.bootstrap(command, options.clone()).await {
                // It was done in an earlier life, and this node had not yet read so.
                Ok(_) | Err(ProposeError::Refused(_)) => {}
                Err(error) => return Err(chain(&error)),
            }
        }
        let view = self
            .replica
            .linearizable(ANNOUNCE_DEADLINE)
            .await
            .map_err(|e| chain(&e))?;
        let row = view
            .query()
            .node(config.node)
            .map_err(|e| chain(&e))?
            .ok_or("the cluster does not list this node")?;
        let same = row.mesh_address == config.mesh_address && row.http_url == config.http_url;
        if row.intent == NodeIntent::Joining
            || !same
            || row.version != BUILD
            || row.level != config.speaks_level
        {
            let command = Command::AnnounceNode {
                node: config.node,
                mesh_address: config.mesh_address.clone(),
                http_url: config.http_url.clone(),
                version: BUILD.to_owned(),
                level: config.speaks_level,
            };
            self.replica
                .propose(command, options.clone())
                .await
                .map_err(|e| chain(&e))?;
        }
        if self.handed_over {
            if matches!(row.intent, NodeIntent::Draining | NodeIntent::Drained) {
                let command = Command::SetIntent {
                    node: config.node,
                    intent: NodeIntent::Active,
                };
                self.replica
                    .propose(command, options)
                    .await
                    .map_err(|e| chain(&e))?;
            }
            self.keeper.save_handed_over(false)?;
        }
        Ok(())
    }

    fn is_initialised(&self) -> Result<bool, String> {
        let view = self.replica.local().map_err(|e| chain(&e))?;
        view.query()
            .cluster()
            .map(|row| row.is_some())
            .map_err(|e| chain(&e))
    }
}

/// What this node has. That it knows the way to a broker follows from its settings.
fn facts(settings: &Settings) -> NodeFacts {
    let mut capabilities = settings.node.capabilities.clone();
    if settings.mqtt.url.is_some() {
        capabilities.insert(MQTT.to_owned());
    }
    NodeFacts {
        capabilities,
        capacity: settings.node.capacity,
    }
}

fn raises_level(change: &Change) -> bool {
    matches!(change, Change::LevelRaised(_) | Change::Replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_knows_a_broker_says_so() {
        let mut settings = Settings::default();
        settings.node.capabilities.insert("gpu".to_owned());
        assert_eq!(facts(&settings).capabilities.len(), 1);
        settings.mqtt.url = Some("mqtt://h".to_owned());
        let found: Vec<String> = facts(&settings).capabilities.into_iter().collect();
        assert_eq!(found, ["gpu", "mqtt"]);
    }
}
