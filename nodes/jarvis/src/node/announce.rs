//! How the cluster learns of this node: the first brings it into being, each tells where it is met and that it is back.

use std::sync::Arc;
use std::time::Duration;

use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::rows::{NodeIntent, NodeRole};
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica};

use super::protocol::{BUILD, LEVEL};
use super::{FIRST_USER, Keeper, NodeConfig};
use crate::fail::chain;

/// How long one attempt to tell the cluster of this node may take; it is repeated.
const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between attempts.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

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
        while let Err(error) = self.announce().await {
            tracing::debug!(error, "the cluster was not told of this node yet");
            tokio::time::sleep(ANNOUNCE_PAUSE).await;
        }
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
                    level: LEVEL,
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
        if row.intent == NodeIntent::Joining || !same || row.version != BUILD || row.level != LEVEL {
            let command = Command::AnnounceNode {
                node: config.node,
                mesh_address: config.mesh_address.clone(),
                http_url: config.http_url.clone(),
                version: BUILD.to_owned(),
                level: LEVEL,
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
