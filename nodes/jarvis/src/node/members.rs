//! Keeps the mesh's members as the replicated table has them, and writes them down for the next start.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jarvis_gateway::REJOIN_ADVICE;
use jarvis_machine::change::Change;
use jarvis_mesh::api::{Member, Mesh};
use jarvis_replica::api::Replica;
use jarvis_types::NodeId;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Keeper;
use crate::data::KnownPeer;

/// How long a majority may take to confirm that the tables are current.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);

/// Before it is asked: this node may be cut off for days.
const CONFIRM_PAUSE: Duration = Duration::from_millis(200);

/// Follows the table of nodes.
pub(super) struct MembersFollower {
    /// This node's part of it.
    pub(super) replica: Replica,
    /// Who is told.
    pub(super) mesh: Mesh,
    /// Members known from before; they count while the tables are not current.
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
        let mut current = false;
        let (mesh, replica) = (self.mesh.clone(), self.replica.clone());
        let turn = |current| next_turn(mesh.clone(), replica.clone(), current);
        let mut turning = pin!(turn(current));
        self.refresh(current);
        loop {
            tokio::select! {
                batch = changes.recv() => match batch {
                    Ok(batch) if !batch.changes.iter().any(concerns_nodes) => continue,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = &mut turning => {
                    current = !current;
                    turning.set(turn(current));
                }
            }
            self.refresh(current);
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

    fn refresh(&mut self, current: bool) {
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
        if !current {
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
        if current {
            self.remember(&members);
        }
        self.mesh.set_members(members);
        self.mesh.set_list_current(current);
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

/// Completes when the tables come to be current, or turn out to be old: this node may have been cut off while others joined,
/// of whom it learns by their coming here.
async fn next_turn(mesh: Mesh, replica: Replica, current: bool) {
    let mut state = replica.state();
    loop {
        if current {
            mesh.unlisted_refused().await;
        } else {
            // No majority confirms anything before. If the replica has ended, none will.
            drop(state.wait_for(|state| state.caught_up).await);
            tokio::time::sleep(CONFIRM_PAUSE).await;
        }
        if replica.linearizable(CONFIRM_WITHIN).await.is_ok() != current {
            return;
        }
    }
}

fn concerns_nodes(change: &Change) -> bool {
    matches!(
        change,
        Change::Node(_) | Change::NodeRemoved(_) | Change::Replaced
    )
}
