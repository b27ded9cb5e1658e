//! Follows the leader's connection: when it is lost, this node stands for election without waiting for the election timer.
//!
//! The mesh knows of a crashed process long before Raft's timer runs out. The voter with the lowest id that is still
//! connected stands first, the next a little later, so that two do not split the votes. Pre-vote and lease keep a leader
//! whom only this node has lost.

use std::time::Duration;

use jarvis_mesh::api::{Mesh, Peer, PeerState};
use jarvis_replica::api::{Replica, ReplicaState};
use jarvis_types::NodeId;

/// Head start of each voter over the next.
const HEAD_START: Duration = Duration::from_millis(120);
/// Between two attempts: the others' leases of the old leader may run a little longer.
const AGAIN: Duration = Duration::from_millis(40);
/// Attempts; after them the election timers have their turn anyway.
const ATTEMPTS: u32 = 12;

pub(crate) async fn follow_leader(mesh: Mesh, replica: Replica) {
    let mut peers = mesh.peers();
    let mut state = replica.state();
    // A leader that was never connected is a matter for the timers: nodes that start have not met yet.
    let mut met: Option<NodeId> = None;
    loop {
        let now = state.borrow_and_update().clone();
        let leader = now.leader.filter(|leader| *leader != replica.node());
        let up = leader.and_then(|leader| is_up(&peers.borrow_and_update(), leader));
        match (leader, up) {
            (Some(leader), Some(true)) => met = Some(leader),
            (Some(leader), Some(false)) if met == Some(leader) => {
                met = None;
                let places = places_before(&peers.borrow(), &now, replica.node(), leader);
                tokio::time::sleep(HEAD_START * places).await;
                stand(&mesh, &replica, leader, now.term).await;
                continue;
            }
            _ => {}
        }
        tokio::select! {
            changed = peers.changed() => if changed.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

fn is_up(peers: &[Peer], node: NodeId) -> Option<bool> {
    peers
        .iter()
        .find(|peer| peer.member.node == node)
        .map(|peer| peer.state == PeerState::Up)
}

/// How many voters stand before this node.
fn places_before(peers: &[Peer], state: &ReplicaState, own: NodeId, lost: NodeId) -> u32 {
    let earlier = state
        .voters
        .iter()
        .filter(|voter| **voter < own && **voter != lost);
    earlier
        .filter(|voter| is_up(peers, **voter) == Some(true))
        .count() as u32
}

async fn stand(mesh: &Mesh, replica: &Replica, leader: NodeId, term: u64) {
    for _ in 0..ATTEMPTS {
        let settled = {
            let (state, peers) = (replica.state(), mesh.peers());
            let (now, peers) = (state.borrow(), peers.borrow());
            now.term != term
                || now.leader.is_some_and(|now| now != leader)
                || is_up(&peers, leader) != Some(false)
        };
        if settled {
            return;
        }
        replica.stand().await;
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_mesh::api::Member;
    use tokio::time::Instant;

    #[test]
    fn connected_voters_of_lower_id_come_first() {
        let peer = |node: u64, state| Peer {
            member: Member {
                node: NodeId(node),
                name: "n".parse().expect("a name"),
                address: String::new(),
            },
            state,
            rtt: None,
            changed_at: Instant::now(),
            lost: None,
        };
        let peers = [
            peer(1, PeerState::Down),
            peer(2, PeerState::Up),
            peer(4, PeerState::Up),
        ];
        let state = ReplicaState {
            voters: (1..=4).map(NodeId).collect(),
            ..ReplicaState::default()
        };
        assert_eq!(places_before(&peers, &state, NodeId(3), NodeId(1)), 1);
        assert_eq!(places_before(&peers, &state, NodeId(2), NodeId(1)), 0);
        assert_eq!(
            places_before(&peers, &state, NodeId(4), NodeId(1)),
            1,
            "node 3 is not known to be connected"
        );
    }
}
