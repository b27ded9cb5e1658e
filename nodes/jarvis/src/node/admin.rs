//! What the gateway has the node do for an administrator.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_entity::api::Router;
use jarvis_gateway::{Admin, AdminError, Invite};
use jarvis_host::{Clock, Entropy};
use jarvis_machine::command::Command;
use jarvis_machine::level::MARKS_LEVEL;
use jarvis_machine::query::Query;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{NodeIntent, NodeRole, NodeRow};
use jarvis_machine::storage::StoreError;
use jarvis_mesh::api::Mesh;
use jarvis_replica::api::{ProposeError, ProposeOptions, ReadError, Replica};
use jarvis_types::{ClusterId, EntityId, NodeId, RequestId, SessionId, partition_of};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::faults::NodeFaults;
use super::why::History;
use super::{activity, beacon};
use crate::token::{JoinToken, MAX_ADDRESSES};

/// How long a decision may take.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(5);
/// What is left for handing the leadership over, however long the rest of a drain took.
const MIN_TRANSFER: Duration = Duration::from_secs(1);
/// How long it may take to find out whether something is there that this node has not heard of.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(2);
/// Before a removal is looked at again whose revision was stale: this node may have to apply what made it so.
const STALE_PAUSE: Duration = Duration::from_millis(50);
/// When trying again makes sense after no majority answered, in milliseconds.
const RETRY_AFTER_MS: u64 = 500;

/// The administrator's hand on this node.
pub(super) struct NodeAdmin {
    /// Decides.
    pub(super) replica: Replica,
    /// Knows who carries which actor.
    pub(super) router: Router,
    /// For questions to other nodes.
    pub(super) mesh: Mesh,
    /// Where it is met now, which the tables may not know yet.
    pub(super) mesh_address: String,
    /// Which cluster.
    pub(super) cluster: ClusterId,
    /// SHA-256 of the CA's certificate.
    pub(super) ca_sha256: [u8; 32],
    /// For expiries.
    pub(super) clock: Arc<dyn Clock>,
    /// For secrets.
    pub(super) entropy: Arc<dyn Entropy>,
    /// What a drill has put in.
    pub(super) faults: NodeFaults,
}

impl NodeAdmin {
    async fn propose(&self, command: Command, request: Option<RequestId>) -> Result<Reply, AdminError> {
        self.decide(command, request).await.map_err(admin_error)
    }

    async fn decide(&self, command: Command, request: Option<RequestId>) -> Result<Reply, ProposeError> {
        let options = ProposeOptions {
            fence: None,
            request,
            deadline: PROPOSE_DEADLINE,
        };
        self.replica.propose(command, options).await
    }

    /// The removal of a member, found safe at the revision that it names: of two at once, each safe by itself, one is looked at
    /// again after the other. Below level 4 no revision can be named.
    fn safe_removal(&self, node: NodeId, force: bool) -> Result<Command, AdminError> {
        // Before the tables: a voter that is removed counts as silent, one that is not known to vote would not count.
        let voters = self.replica.state().borrow().voters.clone();
        let (nodes, based_on, level) = self.read(|query| {
            Ok((
                query.nodes()?,
                query.placement_revision()?,
                query.cluster_level()?,
            ))
        })?;
        if let Some(why) = costs_majority(&voters, &nodes, node) {
            return Err(AdminError::Conflict(why));
        }
        Ok(if level >= MARKS_LEVEL {
            Command::RemoveNodeAt {
                based_on,
                node,
                force,
            }
        } else {
            Command::RemoveNode { node, force }
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Query<'_>) -> Result<T, StoreError>) -> Result<T, AdminError> {
        let view = self
            .replica
            .local()
            .map_err(|error| AdminError::Internal(error.to_string()))?;
        read(&view.query()).map_err(|error| AdminError::Internal(error.to_string()))
    }

    /// Every session has a row from its making on. One that this node has not heard of may be there all the same.
    async fn must_be_a_session(&self, key: &str) -> Result<(), AdminError> {
        let none = || AdminError::NotFound(format!("session {key:?}"));
        let session: SessionId = key.parse().map_err(|_| {
            AdminError::NotFound(format!(
                "session {key:?} (a session's id is 26 letters and digits)"
            ))
        })?;
        if self.read(|query| query.session(session))?.is_some() {
            return Ok(());
        }
        let view = match self.replica.linearizable(LOOK_UP_DEADLINE).await {
            Ok(view) => view,
            Err(ReadError::Unavailable { .. }) => return Err(none()),
            Err(error @ ReadError::Store(_)) => return Err(AdminError::Internal(error.to_string())),
        };
        let found = view.query().session(session);
        found
            .map_err(|error| AdminError::Internal(error.to_string()))?
            .map(|_| ())
            .ok_or_else(none)
    }

    /// A member by its name, or by its id.
    fn find(&self, name: &str) -> Result<(NodeId, NodeRow), AdminError> {
        let nodes = self.read(|query| query.nodes())?;
        let found = nodes.iter().find(|(_, row)| row.name.as_str() == name);
        let found = found.or_else(|| nodes.iter().find(|(id, _)| id.to_string() == name));
        found.cloned().ok_or_else(|| {
            let names: Vec<_> = nodes.iter().map(|(_, row)| row.name.to_string()).collect();
            AdminError::NotFound(format!("node {name:?} (the members are {})", names.join(", ")))
        })
    }

    fn partitions_of(&self, node: NodeId) -> Result<u64, AdminError> {
        self.read(|query| {
            let mut count = 0;
            for (kind, _) in query.kinds()? {
                count += query
                    .placement(kind)?
                    .iter()
                    .filter(|row| row.owner == Some(node))
                    .count() as u64;
            }
            Ok(count)
        })
    }

    /// Waits until `node` is drained, which the leader notes once it owns nothing; gives what is left at the deadline.
    async fn emptied(&self, node: NodeId, deadline: Instant) -> Result<(bool, u64), AdminError> {
        let mut changes = self.replica.changes();
        loop {
            let left = self.partitions_of(node)?;
            let row = self.read(|query| query.node(node))?;
            if left == 0 && row.is_none_or(|row| row.intent != NodeIntent::Draining) {
                return Ok((true, 0));
            }
            match tokio::time::timeout_at(deadline, changes.recv()).await {
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => return Ok((left == 0, left)),
            }
        }
    }
}

fn admin_error(error: ProposeError) -> AdminError {
    match error {
        ProposeError::Refused(Refusal::NotFound(what)) => AdminError::NotFound(what),
        ProposeError::Refused(refusal) => AdminError::Conflict(refusal.to_string()),
        ProposeError::Unavailable { .. } | ProposeError::Overloaded | ProposeError::Stopping => {
            AdminError::Unavailable {
                retry_after_ms: RETRY_AFTER_MS,
            }
        }
        error @ ProposeError::TooLarge { .. } => AdminError::Internal(error.to_string()),
    }
}

#[async_trait]
impl Admin for NodeAdmin {
    async fn invite(
        &self,
        role: NodeRole,
        ttl: Duration,
        request: Option<RequestId>,
    ) -> Result<Invite, AdminError> {
        let mut secret = [0u8; 32];
        self.entropy.fill(&mut secret);
        let expires_at_ms = self.clock.now_ms().saturating_add(ttl.as_millis() as u64);
        let command = Command::CreateInvite {
            secret: Sha256::digest(secret).into(),
            role,
            expires_at_ms,
        };
        self.propose(command, request).await?;
        // Only now: before, a node that has just started may not know of itself. This node first: it is known to be up.
        let own = self.replica.node();
        let mut nodes = self.read(|query| query.nodes())?;
        nodes.sort_by_key(|(id, row)| (*id != own, !row.healthy, *id));
        let holders = nodes.iter().filter(|(_, row)| row.role != NodeRole::Worker);
        let addresses: Vec<String> = holders
            .map(|(id, row)| {
                // The tables may not have heard yet where it is met since its last start.
                if *id == own {
                    self.mesh_address.clone()
                } else {
                    row.mesh_address.clone()
                }
            })
            .take(MAX_ADDRESSES)
            .collect();
        let token = JoinToken {
            addresses,
            ca_sha256: self.ca_sha256,
            cluster: self.cluster,
            secret,
            expires_at_ms,
        };
        Ok(Invite {
            token: token.to_text(),
            expires_at_ms,
        })
    }

    async fn drain(
        &self,
        node: &str,
        timeout: Duration,
        request: Option<RequestId>,
    ) -> Result<Value, AdminError> {
        let deadline = Instant::now() + timeout;
        let (id, row) = self.find(node)?;
        let others = self.read(|query| query.nodes())?;
        let carries =
            |row: &NodeRow| row.healthy && row.intent == NodeIntent::Active && row.role != NodeRole::Witness;
        if !others.iter().any(|(other, row)| *other != id && carries(row)) {
            let why = "there is no other node that could take its work over; join one, or undrain one, first";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        if !matches!(row.intent, NodeIntent::Draining | NodeIntent::Drained) {
            self.propose(
                Command::SetIntent {
                    node: id,
                    intent: NodeIntent::Draining,
                },
                request,
            )
            .await?;
        }
        let (drained, left) = self.emptied(id, deadline).await?;
        // Afterwards: while it leads it moves its own work, and one thing at a time makes clients wait.
        if self.replica.state().borrow().leader == Some(id) {
            let time = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self
                .replica
                .transfer_leadership(None, time.clamp(MIN_TRANSFER, PROPOSE_DEADLINE))
                .await
            {
                tracing::warn!(node = %id, %error, "the leadership was not handed over");
            }
        }
        let leads = self.replica.state().borrow().leader == Some(id);
        Ok(json!({"node": row.name, "id": id, "drained": drained, "partitions_left": left, "leads": leads}))
    }

    async fn undrain(&self, node: &str, request: Option<RequestId>) -> Result<Value, AdminError> {
        let (id, row) = self.find(node)?;
        self.propose(
            Command::SetIntent {
                node: id,
                intent: NodeIntent::Active,
            },
            request,
        )
        .await?;
        Ok(json!({"node": row.name, "id": id, "intent": "active", "answers": row.healthy}))
    }

    async fn remove(&self, node: &str, force: bool, request: Option<RequestId>) -> Result<Value, AdminError> {
        let (id, row) = self.find(node)?;
        let give_up = Instant::now() + PROPOSE_DEADLINE;
        loop {
            let command = self.safe_removal(id, force)?;
            if self.replica.state().borrow().leader == Some(id) {
                // A leader that removes itself leaves the rest without one for a moment; it may well refuse.
                let _ = self.replica.transfer_leadership(None, PROPOSE_DEADLINE).await;
            }
            match self.decide(command, request.clone()).await {
                // Members or placement have changed meanwhile: what was safe may not be.
                Err(ProposeError::Refused(Refusal::StaleRevision { .. })) if Instant::now() < give_up => {
                    tokio::time::sleep(STALE_PAUSE).await;
                }
                decided => {
                    decided.map_err(admin_error)?;
                    return Ok(json!({"node": row.name, "id": id, "removed": true}));
                }
            }
        }
    }

    async fn beacon(&self, key: &str, order: Value, request: Option<RequestId>) -> Result<Value, AdminError> {
        beacon::flash(&self.router, key, order, request).await
    }

    async fn set_fault(&self, order: Value) -> Result<Value, AdminError> {
        self.faults.set(order).await
    }

    async fn clear_faults(&self, node: Option<&str>, id: Option<u64>) -> Result<Value, AdminError> {
        self.faults.clear(node, id).await
    }

    async fn faults(&self, node: Option<&str>) -> Result<Value, AdminError> {
        self.faults.list(node).await
    }

    fn active_faults(&self) -> Vec<String> {
        self.faults.active()
    }

    async fn why(&self, kind: &str, key: &str) -> Result<Value, AdminError> {
        let nodes = self.read(|query| query.nodes())?;
        let name = |id: NodeId| {
            let row = nodes.iter().find(|(node, _)| *node == id);
            row.map_or_else(|| format!("node-{id}"), |(_, row)| row.name.to_string())
        };
        let kinds = self.read(|query| query.kinds())?;
        let Some((id, row)) = kinds.iter().find(|(_, row)| row.name == kind) else {
            let names: Vec<_> = kinds.iter().map(|(_, row)| row.name.clone()).collect();
            return Err(AdminError::NotFound(format!(
                "kind {kind:?} (the kinds are {})",
                names.join(", ")
            )));
        };
        let entity = EntityId {
            kind: *id,
            key: key.to_owned(),
        };
        if !entity.is_valid() {
            return Err(AdminError::Invalid(
                "the entity's key is empty or too long".to_owned(),
            ));
        }
        if kind == "session" {
            self.must_be_a_session(key).await?;
        }
        let partition = partition_of(key, row.partitions);
        let (placed, history) = self.read(|query| {
            let log = query.placement_log(*id, partition)?;
            let notes = query.placement_notes(*id, partition)?;
            Ok((query.placement_of(*id, partition)?, History { log, notes }))
        })?;
        let last = history.last(&name);
        let owner = placed.and_then(|row| row.owner);
        let activity = match owner {
            Some(owner) => activity::ask(&self.mesh, &self.router, owner, &entity).await,
            None => Value::Null,
        };
        // What a new owner takes up again: messages that were not answered yet.
        let unanswered = match key.parse::<SessionId>() {
            Ok(session) if kind == "session" => Some(self.read(|query| query.open_turns_of(session))?.len()),
            _ => None,
        };
        Ok(json!({
            "entity": format!("{kind}/{key}"),
            "activity": activity,
            "unanswered": unanswered,
            "kind": kind,
            "key": key,
            "partition": partition,
            "owner": owner.map(name),
            "epoch": placed.map(|row| row.epoch),
            "since_ms": last["at_ms"],
            "since": last["at"],
            "because": last["reason"],
            "took_ms": last["took_ms"],
            "needs": self.router.needs().get(id).copied().unwrap_or_default(),
            "from_node": name(self.replica.node()),
            "moves": history.moves(&name),
        }))
    }
}

/// Why nothing could be decided any more once this member is out, if so: nobody speaks with it from then on, and the votes
/// that are left have to elect a leader before they can be changed.
fn costs_majority(voters: &[NodeId], nodes: &[(NodeId, NodeRow)], leaves: NodeId) -> Option<String> {
    let row = |id: NodeId| nodes.iter().find(|(node, _)| *node == id).map(|(_, row)| row);
    let left: Vec<NodeId> = voters.iter().copied().filter(|voter| *voter != leaves).collect();
    if left.len() == voters.len() || nodes.len() == 1 {
        // That the last one cannot go is refused otherwise.
        return None;
    }
    let answers = |voter: &NodeId| row(*voter).is_some_and(|row| row.healthy);
    let (answering, silent): (Vec<NodeId>, Vec<NodeId>) = left.into_iter().partition(answers);
    if answering.len() > voters.len() / 2 {
        return None;
    }
    let name = |id: &NodeId| row(*id).map_or_else(|| format!("node-{id}"), |row| row.name.to_string());
    let leaves = name(&leaves);
    if voters.len() == 1 {
        return Some(format!(
            "only {leaves} votes: without it nothing could be decided; let a third node or a witness join first (jarvis invite), \
             wait until three vote, then remove it"
        ));
    }
    let silent: Vec<String> = silent.iter().map(name).collect();
    let next = if silent.is_empty() {
        "the voters are just being changed: try again in a moment".to_owned()
    } else {
        format!("bring back or remove {} first", silent.join(", "))
    };
    Some(format!(
        "without {leaves} {} of {} voters would answer, which is no majority; {next}",
        answering.len(),
        voters.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, healthy: bool) -> (NodeId, NodeRow) {
        let row = NodeRow {
            name: format!("n{id}").parse().expect("a name"),
            role: NodeRole::Voter,
            intent: NodeIntent::Active,
            healthy,
            mesh_address: String::new(),
            http_url: String::new(),
            version: String::new(),
            level: 1,
            joined_at_ms: 0,
        };
        (NodeId(id), row)
    }

    #[test]
    fn nobody_is_removed_without_whom_nothing_could_be_decided() {
        let why = |voters: &[u64], nodes: &[(u64, bool)], leaves| {
            let voters: Vec<NodeId> = voters.iter().copied().map(NodeId).collect();
            let nodes: Vec<_> = nodes.iter().map(|(id, healthy)| node(*id, *healthy)).collect();
            costs_majority(&voters, &nodes, NodeId(leaves))
        };
        let all = [(1, true), (2, true), (3, true)];
        assert_eq!(why(&[1, 2, 3], &all, 1), None);
        let two = [(1, true), (2, true)];
        assert_eq!(why(&[1], &two, 2), None, "it does not vote");
        assert!(why(&[1], &two, 1).is_some_and(|why| why.contains("only n1 votes")));
        let one_gone = [(1, true), (2, true), (3, false)];
        assert_eq!(why(&[1, 2, 3], &one_gone, 3), None, "it is gone already");
        let refused = why(&[1, 2, 3], &one_gone, 2).expect("n1 would be alone");
        assert!(
            refused.contains("1 of 3 voters would answer") && refused.contains("remove n3 first"),
            "{refused}"
        );
        let four_of_five = [(1, true), (2, true), (3, true), (4, true), (5, false)];
        assert_eq!(why(&[1, 2, 3, 4, 5], &four_of_five, 1), None);
        assert!(why(&[1, 2], &two, 1).is_some_and(|why| why.contains("try again in a moment")));
    }
}
