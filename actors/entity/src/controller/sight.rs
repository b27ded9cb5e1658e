//! The other nodes as this one has seen them: who answers, who has come back, what became of whom.

use std::collections::BTreeMap;
use std::time::Duration;

use jarvis_machine::rows::{NodeNews, NodeRow};
use jarvis_mesh::api::{Lost, Peer, PeerState};
use jarvis_types::NodeId;
use tokio::time::Instant;

use super::ControllerSettings;

/// Every node looks, whether it leads or not, so that whoever comes to lead knows what was before.
pub(super) struct Sight {
    own: NodeId,
    started: Instant,
    seen: BTreeMap<NodeId, Seen>,
}

/// A peer as this node has seen it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    up: bool,
    since: Instant,
    /// How it was lost, while it is.
    lost: Option<Lost>,
    /// It was lost before.
    returned: bool,
}

impl Sight {
    pub(super) fn new(own: NodeId) -> Self {
        Self {
            own,
            started: Instant::now(),
            seen: BTreeMap::new(),
        }
    }

    /// Takes in how the peers stand.
    pub(super) fn look(&mut self, peers: &[Peer]) {
        let now = Instant::now();
        for peer in peers {
            let up = peer.state == PeerState::Up;
            let first = Seen {
                up,
                since: if up { now } else { self.started },
                lost: None,
                returned: false,
            };
            let entry = self.seen.entry(peer.member.node).or_insert(first);
            if entry.up != up {
                // Only one that was connected before can have been lost; a node that joins is met for the first time.
                entry.returned |= entry.up;
                // A loss counts from when the mesh saw it.
                (entry.up, entry.since) = (up, if up { now } else { peer.changed_at.min(now) });
            }
            entry.lost = peer.lost.filter(|_| !up);
        }
        self.seen
            .retain(|node, _| peers.iter().any(|peer| peer.member.node == *node));
    }

    /// Whether a node that was there at the last look is not there any more.
    pub(super) fn misses_any(&self, peers: &[Peer]) -> bool {
        peers.iter().any(|peer| {
            let seen = self.seen.get(&peer.member.node);
            peer.state != PeerState::Up && seen.is_some_and(|seen| seen.up)
        })
    }

    /// Whether work may be left with a node. One whose process has ended, or that was silent for the mesh's idle time, is
    /// gone; one whose connection was closed may be back in a moment.
    pub(super) fn answers(&self, node: NodeId, settings: &ControllerSettings) -> bool {
        node == self.own
            || self
                .seen
                .get(&node)
                .is_some_and(|seen| seen.up || seen.left_to_wait(settings) > Duration::ZERO)
    }

    /// When the next of those that have just gone counts as lost.
    pub(super) fn next_loss(&self, settings: &ControllerSettings) -> Option<Duration> {
        let gone = self.seen.values().filter(|seen| !seen.up);
        gone.map(|seen| seen.left_to_wait(settings))
            .filter(|wait| !wait.is_zero())
            .min()
    }

    /// Since when a node has been gone, and how it went; none while it is there.
    pub(super) fn loss(&self, node: NodeId) -> Option<(Instant, NodeNews)> {
        let seen = self.seen.get(&node).filter(|seen| !seen.up)?;
        let news = match seen.lost {
            Some(Lost::Crashed) => NodeNews::Crashed,
            Some(Lost::Closed) => NodeNews::Closed,
            Some(Lost::Silent) | None => NodeNews::Silent,
        };
        Some((seen.since, news))
    }

    /// Whether every member has answered for long enough that moving for balance's sake makes sense.
    pub(super) fn is_calm(&self, nodes: &[(NodeId, NodeRow)], settings: &ControllerSettings) -> bool {
        let is_settled = |node: &NodeId, row: &NodeRow| {
            self.seen.get(node).is_some_and(|seen| {
                let wait = if seen.returned {
                    settings.balance_after_return
                } else {
                    settings.balance_after
                };
                !seen.up && !row.healthy || seen.up && seen.since.elapsed() >= wait
            })
        };
        nodes
            .iter()
            .all(|(node, row)| *node == self.own || is_settled(node, row))
    }
}

impl Seen {
    /// How long it may still be gone before it counts as lost.
    fn left_to_wait(&self, settings: &ControllerSettings) -> Duration {
        match self.lost {
            // Silence was waited for already: the mesh's idle time.
            Some(Lost::Crashed | Lost::Silent) => Duration::ZERO,
            Some(Lost::Closed) | None => settings.lost_after.saturating_sub(self.since.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_mesh::api::Member;

    fn peer(node: u64, lost: Option<Lost>) -> Peer {
        Peer {
            member: Member {
                node: NodeId(node),
                name: "n".parse().expect("a name"),
                address: String::new(),
            },
            state: if lost.is_some() {
                PeerState::Down
            } else {
                PeerState::Up
            },
            rtt: None,
            changed_at: Instant::now(),
            lost,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_and_silence_count_at_once_and_a_closed_connection_after_a_while() {
        let settings = ControllerSettings::default();
        let mut sight = Sight::new(NodeId(1));
        let answers = |sight: &Sight| [1, 2, 3, 4].map(|id| sight.answers(NodeId(id), &settings));
        sight.look(&[peer(2, None), peer(3, None)]);
        assert_eq!(
            answers(&sight),
            [true, true, true, false],
            "who was never seen does not answer"
        );
        let lost = [peer(2, Some(Lost::Crashed)), peer(3, Some(Lost::Closed))];
        assert!(sight.misses_any(&lost) && !sight.misses_any(&[peer(2, None), peer(4, Some(Lost::Silent))]));
        sight.look(&lost);
        assert!(!sight.misses_any(&lost), "that is known");
        assert_eq!(answers(&sight), [true, false, true, false]);
        assert_eq!(sight.next_loss(&settings), Some(settings.lost_after));
        tokio::time::advance(settings.lost_after).await;
        assert_eq!(answers(&sight), [true, false, false, false]);
        assert_eq!(sight.next_loss(&settings), None);
        assert_eq!(
            sight.loss(NodeId(2)).map(|(_, news)| news),
            Some(NodeNews::Crashed)
        );
        assert_eq!(
            sight.loss(NodeId(3)).map(|(_, news)| news),
            Some(NodeNews::Closed)
        );
        sight.look(&[peer(2, None), peer(3, Some(Lost::Silent))]);
        assert_eq!(answers(&sight), [true, true, false, false]);
        sight.look(&[peer(2, None)]);
        assert!(sight.loss(NodeId(2)).is_none() && sight.answers(NodeId(2), &settings));
        assert!(!sight.answers(NodeId(3), &settings), "no member any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_back_is_waited_for_longer_than_who_is_new() {
        let settings = ControllerSettings::default();
        let mut sight = Sight::new(NodeId(1));
        let row = |healthy| NodeRow {
            healthy,
            ..crate::controller::tests::row()
        };
        let calm = |sight: &Sight, healthy| sight.is_calm(&[(NodeId(2), row(healthy))], &settings);
        sight.look(&[peer(2, None)]);
        assert!(!calm(&sight, true));
        tokio::time::advance(settings.balance_after).await;
        assert!(calm(&sight, true));
        sight.look(&[peer(2, Some(Lost::Silent))]);
        assert!(!calm(&sight, true), "it is not yet known to be gone");
        assert!(calm(&sight, false), "the others may be evened out without it");
        sight.look(&[peer(2, None)]);
        tokio::time::advance(settings.balance_after).await;
        assert!(!calm(&sight, true));
        tokio::time::advance(settings.balance_after_return).await;
        assert!(calm(&sight, true));
    }
}
