//! Who follows which session: here, and at other nodes for the sessions that this node owns. A plain value; what it
//! says to other nodes comes out as [`Letter`]s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jarvis_machine::rows::PlacementRow;
use jarvis_types::limits::SESSION_PARTITIONS;
use jarvis_types::{ClientMessageId, Epoch, NodeId, Seq, SessionId, partition_of};

use super::follower::Follower;
use crate::message::{Delta, MAX_WATCH_ENTRIES, Watch};

/// Something to be sent to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Letter {
    Watch(NodeId, Watch),
    Delta(NodeId, Delta),
}

/// The board of one node.
#[derive(Debug)]
pub(crate) struct Board {
    node: NodeId,
    placement: Vec<PlacementRow>,
    followed: HashMap<SessionId, Followed>,
    watched: HashMap<SessionId, Watched>,
    live: HashMap<SessionId, Live>,
}

#[derive(Debug)]
struct Followed {
    followers: Vec<Arc<Follower>>,
    /// The owner that was told that this node follows, and in which epoch.
    told: Option<(NodeId, Epoch)>,
    /// The newest epoch whose parts were seen.
    parts_of: Epoch,
}

#[derive(Debug, Default)]
struct Watched {
    nodes: BTreeSet<NodeId>,
    epoch: Epoch,
}

/// The reply being written here, as far as it is, for followers that come in the middle.
#[derive(Debug)]
struct Live {
    epoch: Epoch,
    to: Seq,
    reply_to: ClientMessageId,
    text: String,
}

impl Board {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            placement: Vec::new(),
            followed: HashMap::new(),
            watched: HashMap::new(),
            live: HashMap::new(),
        }
    }

    /// Owner and epoch of the session's partition.
    pub(crate) fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch) {
        let partition = partition_of(&session.to_string(), SESSION_PARTITIONS);
        self.placement
            .get(usize::from(partition.0))
            .map_or((None, Epoch(0)), |row| (row.owner, row.epoch))
    }

    /// Adds a reader here.
    pub(crate) fn follow(&mut self, session: SessionId, follower: Arc<Follower>) -> Vec<Letter> {
        if let Some(live) = self.live.get(&session) {
            follower.delta(&live.whole(session));
        }
        let entry = self.followed.entry(session).or_insert_with(|| Followed {
            followers: Vec::with_capacity(1),
            told: None,
            parts_of: Epoch(0),
        });
        let joins = !entry.followers.is_empty();
        entry.followers.push(follower);
        // A reader that joins others here gets the parts so far only if the owner is asked again.
        if joins {
            entry.told = None;
        }
        self.tell([session])
    }

    /// Takes a reader off.
    pub(crate) fn unfollow(&mut self, session: SessionId, follower: &Arc<Follower>) -> Vec<Letter> {
        let Some(entry) = self.followed.get_mut(&session) else {
            return Vec::new();
        };
        entry.followers.retain(|other| !Arc::ptr_eq(other, follower));
        if !entry.followers.is_empty() {
            return Vec::new();
        }
        let told = self.followed.remove(&session).and_then(|entry| entry.told);
        self.shrink();
        match told {
            Some((owner, epoch)) if owner != self.node => {
                vec![Letter::Watch(
                    owner,
                    Watch {
                        on: false,
                        sessions: vec![(session, epoch)],
                    },
                )]
            }
            _ => Vec::new(),
        }
    }

    /// The transcript has grown.
    pub(crate) fn grown(&self, session: SessionId) {
        for follower in self
            .followed
            .get(&session)
            .into_iter()
            .flat_map(|entry| &entry.followers)
        {
            follower.grown();
        }
    }

    /// All transcripts may have grown.
    pub(crate) fn all_grown(&self) {
        for follower in self.followed.values().flat_map(|entry| &entry.followers) {
            follower.grown();
        }
    }

    /// Partitions have new owners: readers learn of it, new owners are told who follows, and those who follow what
    /// this node owns no longer are forgotten.
    pub(crate) fn placed(&mut self, placement: Vec<PlacementRow>) -> Vec<Letter> {
        let before = std::mem::replace(&mut self.placement, placement);
        if before == self.placement {
            return Vec::new();
        }
        let node = self.node;
        let mut watched = std::mem::take(&mut self.watched);
        watched.retain(|session, entry| {
            let (owner, epoch) = self.owner(*session);
            owner == Some(node) || epoch < entry.epoch
        });
        self.watched = watched;
        let moved: Vec<SessionId> = self
            .followed
            .iter()
            .filter(|(session, entry)| {
                let (owner, epoch) = self.owner(**session);
                entry.told != owner.map(|owner| (owner, epoch))
            })
            .map(|(session, _)| *session)
            .collect();
        for follower in moved
            .iter()
            .filter_map(|session| self.followed.get(session))
            .flat_map(|f| &f.followers)
        {
            follower.moved();
        }
        self.tell(moved)
    }

    /// A peer's connection is back: what it was told may be lost.
    pub(crate) fn reconnected(&mut self, peer: NodeId) -> Vec<Letter> {
        let lost: Vec<SessionId> = self
            .followed
            .iter()
            .filter(|(_, entry)| entry.told.is_some_and(|(owner, _)| owner == peer))
            .map(|(session, _)| *session)
            .collect();
        for session in &lost {
            if let Some(entry) = self.followed.get_mut(session) {
                entry.told = None;
            }
        }
        self.tell(lost)
    }

    /// Tells owners again that were not reached.
    pub(crate) fn retry(&mut self) -> Vec<Letter> {
        let untold: Vec<SessionId> = self
            .followed
            .iter()
            .filter(|(_, entry)| entry.told.is_none())
            .map(|(session, _)| *session)
            .collect();
        self.tell(untold)
    }

    /// A [`Letter::Watch`] was not sent.
    pub(crate) fn not_sent(&mut self, watch: &Watch) {
        for (session, _) in &watch.sessions {
            if let Some(entry) = self.followed.get_mut(session) {
                entry.told = None;
            }
        }
    }

    /// A node is out for good.
    pub(crate) fn removed(&mut self, node: NodeId) {
        self.watched.retain(|_, entry| {
            entry.nodes.remove(&node);
            !entry.nodes.is_empty()
        });
    }

    /// Another node follows sessions of this one, or does so no longer.
    pub(crate) fn watch(&mut self, from: NodeId, watch: &Watch) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (session, epoch) in &watch.sessions {
            if watch.on {
                let entry = self.watched.entry(*session).or_default();
                entry.nodes.insert(from);
                entry.epoch = entry.epoch.max(*epoch);
                letters.extend(
                    self.live
                        .get(session)
                        .map(|live| Letter::Delta(from, live.whole(*session))),
                );
            } else if let Some(entry) = self.watched.get_mut(session) {
                entry.nodes.remove(&from);
                if entry.nodes.is_empty() {
                    self.watched.remove(session);
                }
            }
        }
        letters
    }

    /// A part of a reply was written here.
    pub(crate) fn publish(&mut self, delta: Delta) -> Vec<Letter> {
        let whole = match self.live.get_mut(&delta.session) {
            Some(live) if live.to == delta.to => live,
            _ => {
                let (epoch, to, reply_to) = (delta.epoch, delta.to, delta.reply_to.clone());
                self.live.insert(
                    delta.session,
                    Live {
                        epoch,
                        to,
                        reply_to,
                        text: String::new(),
                    },
                );
                self.live.get_mut(&delta.session).expect("it was put there")
            }
        };
        whole.epoch = delta.epoch;
        let keep = whole
            .text
            .char_indices()
            .nth(delta.offset as usize)
            .map_or(whole.text.len(), |(at, _)| at);
        whole.text.truncate(keep);
        whole.text.push_str(&delta.text);
        self.deliver(&delta);
        let nodes = self
            .watched
            .get(&delta.session)
            .map(|entry| entry.nodes.iter())
            .into_iter()
            .flatten();
        nodes.map(|node| Letter::Delta(*node, delta.clone())).collect()
    }

    /// No reply of the session is being written here.
    pub(crate) fn settled(&mut self, session: SessionId) {
        self.live.remove(&session);
    }

    /// A part of a reply arrived; gives what to tell a sender that need not have sent it.
    pub(crate) fn arrived(&mut self, from: NodeId, delta: &Delta) -> Vec<Letter> {
        if self.deliver(delta) {
            return Vec::new();
        }
        let sessions = vec![(delta.session, delta.epoch)];
        vec![Letter::Watch(from, Watch { on: false, sessions })]
    }

    /// Hands a part to the readers here; whether there are any.
    fn deliver(&mut self, delta: &Delta) -> bool {
        let Some(entry) = self.followed.get_mut(&delta.session) else {
            return false;
        };
        if delta.epoch >= entry.parts_of {
            entry.parts_of = delta.epoch;
            for follower in &entry.followers {
                follower.delta(delta);
            }
        }
        true
    }

    /// Tells the owners of these sessions that this node follows them.
    fn tell(&mut self, sessions: impl IntoIterator<Item = SessionId>) -> Vec<Letter> {
        let mut by_owner: BTreeMap<NodeId, Vec<(SessionId, Epoch)>> = BTreeMap::new();
        for session in sessions {
            let (owner, epoch) = self.owner(session);
            let (Some(owner), Some(entry)) = (owner, self.followed.get_mut(&session)) else {
                continue;
            };
            entry.told = Some((owner, epoch));
            if owner != self.node {
                by_owner.entry(owner).or_default().push((session, epoch));
            }
        }
        by_owner
            .into_iter()
            .flat_map(|(owner, sessions)| {
                let letter = move |part: &[_]| {
                    Letter::Watch(
                        owner,
                        Watch {
                            on: true,
                            sessions: part.to_vec(),
                        },
                    )
                };
                sessions.chunks(MAX_WATCH_ENTRIES).map(letter).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Gives memory back after a crowd has left.
    fn shrink(&mut self) {
        if self.followed.capacity() > 1_024 && self.followed.len() < self.followed.capacity() / 8 {
            self.followed.shrink_to_fit();
        }
    }
}

impl Live {
    fn whole(&self, session: SessionId) -> Delta {
        let (epoch, to, reply_to) = (self.epoch, self.to, self.reply_to.clone());
        Delta {
            session,
            epoch,
            to,
            reply_to,
            offset: 0,
            text: self.text.clone(),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
