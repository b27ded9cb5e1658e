//! Members and the connections to them: who may connect, which connection is in use, what becomes of the one before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jarvis_types::{NodeId, NodeName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::{Member, Peer, PeerState, Removal};
use crate::close::CloseCode;
use crate::identity::{CertificateNames, IdentityError, NodeIdentity};
use crate::link::{Link, RETIRE_GRACE};
use crate::mesh::MeshInner;
use crate::{dial, knock, metrics};

/// Most peers at a time that no list names: as many as a cluster has nodes.
const MAX_UNLISTED_PEERS: usize = 64;

#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) by_id: BTreeMap<NodeId, Entry>,
    /// The list of members may lack some: see [`Mesh::set_list_current`](crate::api::Mesh::set_list_current).
    list_is_old: bool,
    /// Nodes that are out for good: members that are listed no longer, and those that the replicated table names.
    removed: HashSet<NodeId>,
}

pub(crate) struct Entry {
    pub(crate) peer: Peer,
    /// Whether the list of members names it; otherwise it is a peer until the list is current.
    listed: bool,
    pub(crate) link: Option<Arc<Link>>,
    was_connected: bool,
    /// The peer or we have a new certificate: a new connection is wanted though there is one.
    stale: bool,
    /// Where it knocked from last: it may have moved from where it is listed.
    heard_at: Option<SocketAddr>,
    /// Wakes whoever dials or knocks.
    wanted: Arc<Notify>,
    token: CancellationToken,
}

impl MeshInner {
    pub(crate) fn peers(&self) -> std::sync::MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_members(self: &Arc<Self>, members: Vec<Member>) {
        let listed: HashSet<NodeId> = members.iter().map(|m| m.node).collect();
        let gone = {
            let mut peers = self.peers();
            let gone = self.take_out(&mut peers, |node, entry| entry.listed && !listed.contains(&node));
            peers
                .removed
                .extend(gone.iter().map(|entry| entry.peer.member.node));
            for member in members {
                peers.removed.remove(&member.node);
                if member.node == self.node {
                    continue;
                }
                match peers.by_id.get_mut(&member.node) {
                    Some(entry) => entry.list(member),
                    None => self.enter(&mut peers, member, true),
                }
            }
            self.publish(&peers);
            gone
        };
        close_all(gone, CloseCode::Removed);
    }

    pub(crate) fn set_list_current(&self, current: bool) {
        self.peers().list_is_old = !current;
        if current {
            self.drop_unlisted(|_| true, CloseCode::NotAMember);
        }
    }

    /// These are out for good: whoever of them connects is told so, also by a node that never listed it.
    pub(crate) fn set_removed(&self, removed: impl IntoIterator<Item = NodeId>) {
        let removed: HashSet<NodeId> = removed.into_iter().collect();
        self.peers().removed.extend(&removed);
        self.drop_unlisted(|node| removed.contains(&node), CloseCode::Removed);
    }

    fn drop_unlisted(&self, goes: impl Fn(NodeId) -> bool, code: CloseCode) {
        let gone = {
            let mut peers = self.peers();
            let gone = self.take_out(&mut peers, |node, entry| !entry.listed && goes(node));
            self.publish(&peers);
            gone
        };
        close_all(gone, code);
    }

    /// Takes peers out of the table, with their connections still open.
    fn take_out(&self, peers: &mut Peers, goes: impl Fn(NodeId, &Entry) -> bool) -> Vec<Entry> {
        let going = peers.by_id.iter().filter(|(node, entry)| goes(**node, entry));
        let going: Vec<NodeId> = going.map(|(node, _)| *node).collect();
        let gone = going.into_iter().filter_map(|node| {
            self.set_link(node, None);
            peers.by_id.remove(&node)
        });
        gone.inspect(|entry| entry.token.cancel()).collect()
    }

    /// Enters a peer, and keeps it connected from then on.
    fn enter(self: &Arc<Self>, peers: &mut Peers, member: Member, listed: bool) {
        let entry = Entry::new(member, listed, self.tasks.token().child_token());
        let (inner, node) = (Arc::clone(self), entry.peer.member.node);
        let (token, wanted) = (entry.token.clone(), Arc::clone(&entry.wanted));
        self.tasks.spawn(async move {
            let upkeep = async {
                if inner.node < node {
                    dial::keep_connected(&inner, node, &wanted).await;
                } else {
                    knock::while_alone(&inner, node, &wanted).await;
                }
            };
            tokio::select! {
                () = token.cancelled() => {}
                () = upkeep => {}
            }
        });
        peers.by_id.insert(node, entry);
    }

    /// Whether a node is known to be out for good.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.peers().removed.contains(&node)
    }

    /// Why a node that is not a member is refused.
    pub(crate) fn unknown(&self, node: NodeId) -> CloseCode {
        if self.is_removed(node) {
            CloseCode::Removed
        } else {
            CloseCode::NotAMember
        }
    }

    /// A member refuses this node. That it was removed is worth remembering: it stays so.
    pub(crate) fn refused_by(&self, member: NodeId, code: CloseCode) {
        if code == CloseCode::Removed {
            self.removal.send_if_modified(|known| {
                let first = known.is_none();
                known.get_or_insert(Removal { by: member });
                first
            });
        }
    }

    /// Whether `names` may connect as a peer, which is met at `address`. Where the list may lack it, it becomes one.
    pub(crate) fn admit(
        self: &Arc<Self>,
        names: &CertificateNames,
        address: SocketAddr,
    ) -> Result<(), CloseCode> {
        if names.cluster != self.cluster {
            return Err(CloseCode::OtherCluster);
        }
        if names.not_after_ms <= self.clock.now_ms() {
            return Err(CloseCode::CertificateExpired);
        }
        let node = names.node;
        let mut peers = self.peers();
        if peers.by_id.contains_key(&node) {
            return Ok(());
        }
        if peers.removed.contains(&node) {
            return Err(CloseCode::Removed);
        }
        let unlisted = peers.by_id.values().filter(|entry| !entry.listed).count();
        if !peers.list_is_old || unlisted >= MAX_UNLISTED_PEERS {
            self.unlisted_refused.notify_one();
            return Err(CloseCode::NotAMember);
        }
        tracing::info!(
            peer = %node, %address,
            "let in a node that the list of members lacks: it may have joined while this node was away"
        );
        let member = Member {
            node,
            name: format!("node-{node}")
                .parse()
                .expect("letters and digits are a name"),
            address: address.to_string(),
        };
        self.enter(&mut peers, member, false);
        self.publish(&peers);
        Ok(())
    }

    /// The name of a listed member that is not this node.
    pub(crate) fn member_name(&self, node: NodeId) -> Option<NodeName> {
        let peers = self.peers();
        let entry = peers.by_id.get(&node).filter(|entry| entry.listed)?;
        Some(entry.peer.member.name.clone())
    }

    /// The addresses to dial `node` at, the likeliest first, where a connection is wanted.
    pub(crate) fn addresses_to_dial(&self, node: NodeId) -> Option<Vec<String>> {
        let peers = self.peers();
        let entry = peers.by_id.get(&node)?;
        if entry.link.is_some() && !entry.stale {
            return None;
        }
        let heard_at = entry.heard_at.map(|address| address.to_string());
        let listed = entry.peer.member.address.clone();
        Some(heard_at.into_iter().chain([listed]).collect())
    }

    /// A peer that waits to be dialled has said where it is.
    pub(crate) fn heard_from(&self, node: NodeId, address: SocketAddr) {
        if let Some(entry) = self.peers().by_id.get_mut(&node) {
            tracing::debug!(peer = %node, %address, "a peer knocked");
            entry.heard_at = Some(address);
            entry.wanted.notify_one();
        }
    }

    /// The peer is not where it knocked from.
    pub(crate) fn forget_heard(&self, node: NodeId, address: &str) {
        if let Some(entry) = self.peers().by_id.get_mut(&node) {
            entry.heard_at = entry.heard_at.filter(|heard| heard.to_string() != address);
        }
    }

    /// Where a peer without a connection is listed, and since when it has none.
    pub(crate) fn alone_since(&self, node: NodeId) -> Option<(String, tokio::time::Instant)> {
        let peers = self.peers();
        let entry = peers.by_id.get(&node)?;
        let since = entry.peer.changed_at;
        entry
            .link
            .is_none()
            .then(|| (entry.peer.member.address.clone(), since))
    }

    pub(crate) fn has_live_link(&self, node: NodeId) -> bool {
        self.links
            .load()
            .get(&node)
            .is_some_and(|link| link.connection.close_reason().is_none())
    }

    /// A new connection to `node` is wanted although there is one.
    pub(crate) fn redial(&self, node: NodeId) {
        if let Some(entry) = self.peers().by_id.get_mut(&node) {
            entry.stale = true;
            entry.wanted.notify_one();
        }
    }

    /// Takes a connection into use. The one it replaces, if any, is retired, or ended if it leads to a former life of the
    /// peer.
    pub(crate) fn install(
        self: &Arc<Self>,
        mut link: Link,
        control: (quinn::SendStream, quinn::RecvStream),
    ) -> Result<Arc<Link>, CloseCode> {
        let (link, old, continued) = {
            let mut peers = self.peers();
            // The member may have been removed while the two greeted.
            let removed = peers.removed.contains(&link.peer);
            let Some(entry) = peers.by_id.get_mut(&link.peer) else {
                return Err(if removed {
                    CloseCode::Removed
                } else {
                    CloseCode::NotAMember
                });
            };
            let old = entry.link.take();
            let continued = old
                .as_ref()
                .filter(|old| link.continues && old.peer_life == link.peer_life);
            if let Some(old) = continued {
                link.follow(old);
            }
            let continued = continued.is_some();
            let link = Arc::new(link);
            entry.link = Some(Arc::clone(&link));
            if !continued {
                entry.peer.changed_at = tokio::time::Instant::now();
            }
            entry.stale = false;
            entry.set_state(PeerState::Up, Some(link.connection.rtt()));
            entry.peer.lost = None;
            if std::mem::replace(&mut entry.was_connected, true) && !continued {
                metrics::reconnected();
            }
            self.set_link(link.peer, Some(Arc::clone(&link)));
            self.publish(&peers);
            (link, old, continued)
        };
        tracing::info!(peer = %link.peer, address = %link.connection.remote_address(), "connected");
        link.start(self, control);
        let (watched, inner) = (Arc::clone(&link), Arc::clone(self));
        self.tasks.spawn(async move {
            let reason = watched.connection.closed().await;
            inner.lost(&watched, &reason);
        });
        match old {
            Some(old) if continued => self.let_go(old),
            Some(old) => {
                // The other side holds it for lost already.
                CloseCode::Superseded.close(&old.connection);
                old.end();
            }
            None => {}
        }
        // Our certificate may have been renewed while this connection was being made with the one before.
        if link.own_not_after_ms != self.own_not_after_ms() {
            self.renew_connection(&link);
        }
        Ok(link)
    }

    /// Retires a connection that has been replaced, and closes it in the end.
    fn let_go(&self, old: Arc<Link>) {
        let dialed = self.node < old.peer;
        self.tasks.spawn_until_cancelled(async move {
            old.retire().await;
            if !dialed {
                // The dialer closes; this is for one that does not.
                tokio::time::sleep(RETIRE_GRACE).await;
            }
            CloseCode::Replaced.close(&old.connection);
            old.end();
        });
    }

    fn lost(self: &Arc<Self>, link: &Arc<Link>, reason: &quinn::ConnectionError) {
        link.end();
        let how = link.how_lost(reason);
        let current = {
            let mut peers = self.peers();
            let entry = peers.by_id.get_mut(&link.peer);
            let entry = entry.filter(|e| e.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)));
            match entry {
                Some(entry) => {
                    entry.link = None;
                    entry.set_state(PeerState::Down, None);
                    entry.peer.lost = Some(how);
                    entry.wanted.notify_one();
                    self.set_link(link.peer, None);
                    self.publish(&peers);
                    true
                }
                None => false,
            }
        };
        if !current || self.tasks.token().is_cancelled() {
            return;
        }
        let address = link.connection.remote_address();
        match CloseCode::of(reason) {
            Some(code) if code.is_refusal() => {
                tracing::warn!(peer = %link.peer, %address, reason = %code, "the peer refuses this node");
                self.refused_by(link.peer, code);
            }
            _ => tracing::info!(peer = %link.peer, %address, ?how, %reason, "connection lost"),
        }
    }

    /// Must be called with the peers locked, so that the two tables agree.
    fn set_link(&self, node: NodeId, link: Option<Arc<Link>>) {
        let mut links = HashMap::clone(&self.links.load());
        match link {
            Some(link) => links.insert(node, link),
            None => links.remove(&node),
        };
        metrics::connected(&self.node.to_string(), links.len());
        self.links.store(Arc::new(links));
    }

    /// Tells watchers of changes of state; round trips alone wake nobody.
    pub(crate) fn publish(&self, peers: &Peers) {
        let present: Vec<Peer> = peers.by_id.values().map(|entry| entry.peer.clone()).collect();
        self.watch.send_if_modified(|known| {
            let same = known.len() == present.len()
                && known
                    .iter()
                    .zip(&present)
                    .all(|(a, b)| a.member == b.member && a.changed_at == b.changed_at);
            *known = Arc::new(present);
            !same
        });
    }

    /// Has a connection replaced by one with our present certificate.
    fn renew_connection(&self, link: &Link) {
        if self.node < link.peer {
            self.redial(link.peer)
        } else {
            link.ask_to_redial()
        }
    }

    pub(crate) fn set_identity(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        let names = identity.names();
        if (names.cluster, names.node) != (self.cluster, self.node) {
            return Err(IdentityError::OtherNode {
                found_cluster: names.cluster,
                found_node: names.node,
            });
        }
        self.identity.set(identity)?;
        for link in self.links.load().values() {
            self.renew_connection(link);
        }
        Ok(())
    }
}

impl Entry {
    fn new(member: Member, listed: bool, token: CancellationToken) -> Self {
        let changed_at = tokio::time::Instant::now();
        let wanted = Arc::new(Notify::new());
        wanted.notify_one();
        Self {
            peer: Peer {
                member,
                state: PeerState::Down,
                rtt: None,
                changed_at,
                lost: None,
            },
            listed,
            link: None,
            was_connected: false,
            stale: false,
            heard_at: None,
            wanted,
            token,
        }
    }

    /// Takes what the list says of it.
    fn list(&mut self, member: Member) {
        if self.peer.member != member {
            self.peer.member = member;
            // The list is newer than a knock, unless it knew nothing of this peer by then.
            self.heard_at = self.heard_at.filter(|_| !self.listed);
            self.wanted.notify_one();
        }
        self.listed = true;
    }

    fn set_state(&mut self, state: PeerState, rtt: Option<Duration>) {
        if self.peer.state != state {
            self.peer.changed_at = tokio::time::Instant::now();
        }
        self.peer.state = state;
        self.peer.rtt = rtt;
    }
}

fn close_all(gone: Vec<Entry>, code: CloseCode) {
    for link in gone.into_iter().filter_map(|entry| entry.link) {
        tracing::info!(peer = %link.peer, reason = %code, "not a member; its connection is closed");
        code.close(&link.connection);
        link.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBed;

    #[tokio::test]
    async fn only_so_many_are_peers_without_being_listed_and_none_is_issued_a_certificate() {
        let bed = TestBed::default();
        let mesh = bed.mesh(NodeId(1));
        mesh.set_list_current(false);
        let names = mesh.identity().names();
        let admit = |node| {
            let node = NodeId(node);
            let names = CertificateNames { node, ..names };
            mesh.inner.admit(&names, "127.0.0.1:9".parse().unwrap())
        };
        for node in 2..2 + MAX_UNLISTED_PEERS as u64 {
            assert_eq!(admit(node), Ok(()));
            assert_eq!(mesh.inner.member_name(NodeId(node)), None);
        }
        assert_eq!(admit(1_000), Err(CloseCode::NotAMember));
        assert_eq!(admit(2), Ok(()), "it is a peer already");
    }
}
