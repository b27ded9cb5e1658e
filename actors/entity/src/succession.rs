//! Follows the leader's connection: when it is lost, this node stands for election without waiting for the election timer.
//!
//! The mesh knows of a crashed process, or a machine that is gone, before Raft's timer runs out. The voter with the lowest
//! id that is still connected stands first, the next a little later, so that two do not split the votes.
//!
//! ```text
//!  how it was lost      this node's lease of the leader      stands
//!  crashed              is given up at once                  at once, again every few milliseconds
//!  silent, closed       runs to its end                      at once, in vain while a majority's leases run
//! ```
//!
//! In both cases by pre-vote: a leader that only this node has lost keeps the leases of the others, and stays.

use std::time::Duration;

use jarvis_mesh::api::{Lost, Mesh, Peer, PeerState};
use jarvis_replica::api::{Replica, ReplicaState, Standing};
use jarvis_types::NodeId;
use tokio::time::Instant;

/// Head start of each voter over the next.
const HEAD_START: Duration = Duration::from_millis(120);
/// Between two attempts: the others' leases of the old leader may run a little longer.
const AGAIN: Duration = Duration::from_millis(40);
/// Attempts; after them the election timers have their turn anyway.
const ATTEMPTS: u32 = 12;

/// Head start of each voter over the next after a crash: the time of an election, so that the next one stands only where
/// the first cannot win, its log being shorter perhaps.
const CRASH_HEAD_START: Duration = Duration::from_millis(40);
/// Between two attempts after a crash: the others learn of it within milliseconds of one another.
const CRASH_AGAIN: Duration = Duration::from_millis(10);
/// How long an election that has begun may take before this node stands again: a vote is written to disk first.
const VOTE_PATIENCE: Duration = Duration::from_millis(150);
/// How long others may take to learn of the crash; by then leases run out by themselves.
const CRASH_PATIENCE: Duration = Duration::from_millis(400);

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
                if !now.voters.contains(&replica.node()) {
                    continue;
                }
                if how_lost(&peers.borrow(), leader) == Some(Lost::Crashed)
                    && succeed(&mesh, &replica, leader).await
                {
                    continue;
                }
                own_turn(&mesh, &replica, leader, HEAD_START).await;
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

fn how_lost(peers: &[Peer], node: NodeId) -> Option<Lost> {
    peers
        .iter()
        .find(|peer| peer.member.node == node)
        .and_then(|peer| peer.lost)
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

/// Waits until every voter before this node has had its head start. One that turns out to be gone as well is not waited for.
async fn own_turn(mesh: &Mesh, replica: &Replica, lost: NodeId, head_start: Duration) -> u32 {
    let began = Instant::now();
    let mut peers = mesh.peers();
    loop {
        let places = places_before(
            &peers.borrow_and_update(),
            &replica.state().borrow(),
            replica.node(),
            lost,
        );
        tokio::select! {
            () = tokio::time::sleep_until(began + head_start * places) => return places,
            changed = peers.changed() => if changed.is_err() { return places },
        }
    }
}

/// Elects a successor of a leader whose process has ended. False where nobody was elected in time.
async fn succeed(mesh: &Mesh, replica: &Replica, leader: NodeId) -> bool {
    replica.give_up_lease(leader).await;
    let until = Instant::now() + CRASH_PATIENCE;
    let mut voting_since: Option<Instant> = None;
    let places = own_turn(mesh, replica, leader, CRASH_HEAD_START).await;
    while Instant::now() < until {
        if is_up(&mesh.peers().borrow(), leader) != Some(false) {
            return true;
        }
        match replica.standing(leader) {
            Standing::Settled => return true,
            Standing::Bereft => {
                voting_since = None;
                replica.stand().await;
            }
            Standing::Voting => {
                let since = *voting_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= VOTE_PATIENCE + CRASH_HEAD_START * places {
                    voting_since = None;
                    replica.stand().await;
                }
            }
        }
        tokio::time::sleep(CRASH_AGAIN).await;
    }
    false
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
