//! A replica that is a member of a cluster, with all that a node does to become one.

use std::time::Duration;

use jarvis_machine::command::{Command, NewNode};
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::NodeRole;
use jarvis_types::ClusterId;

use crate::api::{ProposeOptions, Replica};
use crate::config::{ReplicaConfig, ReplicaDeps};

/// How long each step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);

/// Starts a voter that speaks `level`: the first of a new cluster, or one that `first` lets in. It has announced itself.
///
/// # Errors
/// The step that failed.
pub async fn start_member(
    config: ReplicaConfig,
    deps: ReplicaDeps,
    first: Option<&Replica>,
    level: u32,
) -> Result<Replica, Box<dyn std::error::Error + Send + Sync>> {
    let node = config.node;
    let options = || ProposeOptions {
        fence: None,
        request: None,
        deadline: STEP_TIMEOUT,
    };
    let new = NewNode {
        name: format!("node-{node}").parse()?,
        role: NodeRole::Voter,
        mesh_address: String::new(),
        http_url: String::new(),
        version: "0".into(),
        level,
    };
    if let Some(first) = first {
        let secret = [node.0 as u8; 32];
        let invite = Command::CreateInvite {
            secret,
            role: NodeRole::Voter,
            expires_at_ms: u64::MAX,
        };
        first.propose(invite, options()).await?;
        let join = Command::ConsumeInvite {
            secret,
            node: new.clone(),
        };
        let joined = first.propose(join, options()).await?;
        if joined != (Reply::Joined { node }) {
            return Err(format!("node {node} did not join under its own id: {joined:?}").into());
        }
    }
    let replica = Replica::start(config, deps).await?;
    if first.is_none() {
        let command = Command::Initialise {
            cluster: ClusterId(7),
            node: new,
            admin: "admin".into(),
        };
        replica.bootstrap(command, options()).await?;
    }
    let announce = Command::AnnounceNode {
        node,
        mesh_address: "m".into(),
        http_url: "h".into(),
        version: "0".into(),
        level,
    };
    replica.propose(announce, options()).await?;
    Ok(replica)
}

/// Waits until a cluster of so many members that may vote has as many voters as it is meant to have, and every one of these
/// replicas knows: before that a majority may need a node that nobody would miss afterwards.
///
/// # Errors
/// Where it does not come about in time.
pub async fn voters_settled(
    replicas: impl IntoIterator<Item = &Replica>,
    members: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let voters = if members.is_multiple_of(2) {
        members - 1
    } else {
        members
    };
    for replica in replicas {
        let mut state = replica.state();
        let settled = state.wait_for(|state| state.voters.len() == voters && !state.joint);
        drop(tokio::time::timeout(STEP_TIMEOUT, settled).await??);
    }
    Ok(())
}
