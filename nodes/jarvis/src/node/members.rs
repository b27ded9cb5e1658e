//! Keeps the mesh's members as the replicated table has them, and writes them down for the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use jarvis_gateway::REJOIN_ADVICE;
use jarvis_machine::change::Change;
use jarvis_mesh::api::{Member, Mesh};
use jarvis_replica::api::{Replica, ReplicaState};
use jarvis_types::NodeId;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Keeper;
use crate::data::KnownPeer;

/// Follows the table of nodes.
pub(super) struct MembersFollower {
    /// This node's part of it.
    pub(super) replica: Replica,
    /// Who is told.
    pub(super) mesh: Mesh,
    /// Members known from before; they count until the tables have caught up.
    pub(super) known: Vec<KnownPeer>,
    /// Writes them down.
    pub(super) keeper: Arc<dyn Keeper>,
    /// Set off when this node is out of the cluster.
    pub(super) removed: CancellationToken,
}

impl MembersFollower {
    /// Until the replica ends.
    pub(super) async fn run(mut self) {
        let mut changes = self.replica.changes();
        let mut state = self.replica.state();
        let mut caught_up = state.borrow_and_update().caught_up;
        self.refresh(caught_up);
        loop {
            tokio::select! {
                batch = changes.recv() => match batch {
                    Ok(batch) if !batch.changes.iter().any(concerns_nodes) => continue,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                changed = wait_caught_up(&mut state), if !caught_up => {
                    if !changed {
                        return;
                    }
                    caught_up = true;
                }
            }
            self.refresh(caught_up);
        }
    }

    /// Waits until a member tells this node that it is out, which no log will: nobody sends it any more.
    pub(super) async fn hear_of_removal(mesh: Mesh, replica: Replica) {
        let mut removal = mesh.removal();
        let Ok(told) = removal.wait_for(Option::is_some).await else {
            return;
        };
        let by = told.map(|removal| removal.by);
        drop(told);
        let name = by.and_then(|by| Some(replica.local().ok()?.query().node(by).ok()??.name));
        tracing::error!(
            by = name.map(|name| name.to_string()),
            by_id = by.map(|by| by.0),
            next = REJOIN_ADVICE,
            "this node was removed from the cluster while it was away: the members refuse it, and it will never serve again"
        );
    }

    fn refresh(&mut self, caught_up: bool) {
        let read = self.replica.local().map_err(|e| e.to_string()).and_then(|view| {
            let query = view.query();
            let nodes = query.nodes().map_err(|e| e.to_string())?;
            let out = query.removed_nodes().map_err(|e| e.to_string())?;
            Ok((nodes, out))
        });
        let (nodes, out) = match read {
            Ok(read) => read,
            Err(error) => return tracing::error!(error, "the table of nodes could not be read"),
        };
        if out.contains(&self.replica.node()) {
            tracing::error!(
                next = REJOIN_ADVICE,
                "this node was removed from the cluster; it stops"
            );
            self.removed.cancel();
            return;
        }
        self.mesh.set_removed(out.iter().copied());
        let mut members: BTreeMap<NodeId, Member> = BTreeMap::new();
        if !caught_up {
            // What is applied so far may be old: whoever was known before may still be needed to learn the rest.
            let known = self.known.iter().filter(|peer| !out.contains(&peer.node));
            members.extend(known.map(|peer| {
                let member = Member {
                    node: peer.node,
                    name: peer.name.clone(),
                    address: peer.address.clone(),
                };
                (peer.node, member)
            }));
        }
        members.extend(nodes.into_iter().map(|(node, row)| {
            (
                node,
                Member {
                    node,
                    name: row.name,
                    address: row.mesh_address,
                },
            )
        }));
        let members: Vec<Member> = members.into_values().collect();
        if caught_up {
            self.remember(&members);
        }
        self.mesh.set_members(members);
    }

    fn remember(&mut self, members: &[Member]) {
        let own = self.replica.node();
        let known: Vec<KnownPeer> = members
            .iter()
            .filter(|member| member.node != own)
            .map(|member| KnownPeer {
                node: member.node,
                name: member.name.clone(),
                address: member.address.clone(),
            })
            .collect();
        if known != self.known {
            if let Err(error) = self.keeper.save_peers(&known) {
                tracing::warn!(
                    error,
                    "the members could not be written down; the next start uses the earlier ones"
                );
            }
            self.known = known;
        }
    }
}

async fn wait_caught_up(state: &mut tokio::sync::watch::Receiver<ReplicaState>) -> bool {
    state.wait_for(|state| state.caught_up).await.is_ok()
}

fn concerns_nodes(change: &Change) -> bool {
    matches!(
        change,
        Change::Node(_) | Change::NodeRemoved(_) | Change::Replaced
    )
}
