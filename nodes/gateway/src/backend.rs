//! What the gateway needs of the layers below, as one trait, so that its tests can do without a cluster.
//!
//! ```text
//!  http, ws ──► dyn Backend ──► ClusterBackend ──► Sessions, Replica, Mesh
//!                         └───► an in-memory fake in tests
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_machine::command::{Command, SecretHash};
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::{CredentialRow, KindRow, NodeFacts, NodeRow, PlacementRow, SessionRow, UserRow};
use jarvis_mesh::api::{Mesh, Peer, PeerState};
use jarvis_replica::Note;
use jarvis_replica::api::{Applied, ProposeError, ProposeOptions, Replica, ReplicaState};
use jarvis_session::api::{Feed, FeedEvent, Opened, Page, Said, SessionError, Sessions};
use jarvis_types::{ClientMessageId, ClusterId, Epoch, KindId, NodeId, RequestId, Seq, SessionId, UserId};
use tokio::sync::broadcast;

/// The local tables could not be read; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("local state: {0}")]
pub struct BackendError(pub String);

/// The cluster as this node sees it at one moment.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Its id; none before it is initialised here.
    pub cluster: Option<ClusterId>,
    /// Members, by id.
    pub nodes: Vec<(NodeId, NodeRow)>,
    /// Kinds with their partitions, by index.
    pub kinds: Vec<(KindId, KindRow, Vec<PlacementRow>)>,
    /// Where the replica stands.
    pub replica: ReplicaState,
    /// The other nodes as the mesh sees them.
    pub peers: Arc<Vec<Peer>>,
    /// Who told this node that it is out of the cluster for good.
    pub removed_by: Option<NodeId>,
    /// What is to be said of the voters and their disks.
    pub notes: Vec<Note>,
    /// The cluster level.
    pub level: u32,
    /// What nodes have, of those that have said so.
    pub facts: BTreeMap<NodeId, NodeFacts>,
    /// What a node must have to carry a kind, of the kinds this build knows.
    pub needs: KindNeeds,
}

/// What a node must have to carry a kind.
pub type KindNeeds = BTreeMap<KindId, &'static [&'static str]>;

impl ClusterView {
    /// The leader, where it can be one: itself confirmed by a majority of late, or connected to `this` node. A node that
    /// was cut off remembers a leader that is none.
    pub(crate) fn leader(&self, this: NodeId) -> Option<NodeId> {
        self.replica.leader.filter(|leader| {
            let connected = || {
                self.peers
                    .iter()
                    .any(|peer| peer.member.node == *leader && peer.state == PeerState::Up)
            };
            if *leader == this {
                self.replica.leads
            } else {
                connected()
            }
        })
    }
}

/// A session as it goes on.
#[async_trait]
pub trait FeedSource: Send {
    /// The next event. Safe to drop while it waits.
    async fn next(&mut self) -> FeedEvent;
}

#[async_trait]
impl FeedSource for Feed {
    async fn next(&mut self) -> FeedEvent {
        Feed::next(self).await
    }
}

/// Sessions, users, credentials and the cluster, as one node sees them.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;
    /// Everything `/api/v1/cluster` tells.
    fn cluster(&self) -> Result<ClusterView, BackendError>;
    /// Members, by id.
    fn nodes(&self) -> Result<Vec<(NodeId, NodeRow)>, BackendError>;
    /// Where the replica stands.
    fn replica_state(&self) -> ReplicaState;
    /// Whether this node knows that its disk is no older copy, as far as it can.
    fn may_show_its_disk(&self) -> bool {
        true
    }
    /// Who told this node, when it came to connect, that it is out of the cluster for good.
    fn removed_by(&self) -> Option<NodeId>;
    /// Batches applied from this call on.
    fn changes(&self) -> broadcast::Receiver<Applied>;
    /// Completes with true when the local tables have everything that was committed before the call.
    async fn catch_up(&self, deadline: Duration) -> bool;

    /// A user's row.
    fn user(&self, user: UserId) -> Result<Option<UserRow>, BackendError>;
    /// A user by its login name.
    fn user_by_name(&self, name: &str) -> Result<Option<(UserId, UserRow)>, BackendError>;
    /// All users.
    fn users(&self) -> Result<Vec<(UserId, UserRow)>, BackendError>;
    /// The credential of a secret, expired or not.
    fn credential(&self, secret: &SecretHash) -> Result<Option<CredentialRow>, BackendError>;
    /// All credentials of a user, expired or not.
    fn credentials(&self, user: UserId) -> Result<Vec<(SecretHash, CredentialRow)>, BackendError>;
    /// Has a command decided.
    async fn propose(
        &self,
        command: Command,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Reply, ProposeError>;

    /// As [`Sessions::create`].
    async fn create_session(
        &self,
        user: UserId,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<SessionId, SessionError>;
    /// As [`Sessions::open`].
    async fn open_session(
        &self,
        user: UserId,
        session: SessionId,
        deadline: Duration,
    ) -> Result<Opened, SessionError>;
    /// As [`Sessions::say`].
    async fn say(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        text: String,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Said, SessionError>;
    /// As [`Sessions::cancel`].
    async fn cancel(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        deadline: Duration,
    ) -> Result<(), SessionError>;
    /// As [`Sessions::messages`].
    fn messages(
        &self,
        user: UserId,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Page, SessionError>;
    /// As [`Sessions::list`].
    fn sessions(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, SessionError>;
    /// As [`Sessions::owner`].
    fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch);
    /// As [`Sessions::follow`].
    fn follow(&self, session: SessionId, after: Seq) -> Box<dyn FeedSource>;
}

/// The real thing.
#[derive(Clone)]
pub struct ClusterBackend {
    replica: Replica,
    sessions: Sessions,
    mesh: Mesh,
    needs: KindNeeds,
}

impl ClusterBackend {
    /// The backend of one node.
    pub fn new(replica: Replica, sessions: Sessions, mesh: Mesh) -> Self {
        Self {
            replica,
            sessions,
            mesh,
            needs: KindNeeds::new(),
        }
    }

    /// Says what kinds need of a node, for `status`.
    #[must_use]
    pub fn with_needs(self, needs: KindNeeds) -> Self {
        Self { needs, ..self }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&jarvis_machine::query::Query<'_>) -> Result<T, jarvis_machine::storage::StoreError>,
    ) -> Result<T, BackendError> {
        let view = self.replica.local().map_err(|e| BackendError(e.to_string()))?;
        read(&view.query()).map_err(|e| BackendError(e.to_string()))
    }
}

#[async_trait]
impl Backend for ClusterBackend {
    fn node(&self) -> NodeId {
        self.replica.node()
    }

    fn cluster(&self) -> Result<ClusterView, BackendError> {
        let (cluster, nodes, kinds, level, facts) = self.read(|q| {
            let mut kinds = Vec::new();
            for (kind, row) in q.kinds()? {
                kinds.push((kind, row, q.placement(kind)?));
            }
            let facts = q.all_node_facts()?.into_iter().collect();
            Ok((
                q.cluster()?.map(|c| c.cluster),
                q.nodes()?,
                kinds,
                q.cluster_level()?,
                facts,
            ))
        })?;
        let (replica, peers) = (self.replica_state(), self.mesh.peers().borrow().clone());
        Ok(ClusterView {
            cluster,
            nodes,
            kinds,
            replica,
            peers,
            removed_by: self.removed_by(),
            notes: self.replica.notes(),
            level,
            facts,
            needs: self.needs.clone(),
        })
    }

    fn nodes(&self) -> Result<Vec<(NodeId, NodeRow)>, BackendError> {
        self.read(|q| q.nodes())
    }

    fn replica_state(&self) -> ReplicaState {
        self.replica.state().borrow().clone()
    }

    fn may_show_its_disk(&self) -> bool {
        self.replica.may_show_its_disk()
    }

    fn removed_by(&self) -> Option<NodeId> {
        self.mesh.removal().borrow().map(|removal| removal.by)
    }

    fn changes(&self) -> broadcast::Receiver<Applied> {
        self.replica.changes()
    }

    async fn catch_up(&self, deadline: Duration) -> bool {
        self.replica.linearizable(deadline).await.is_ok()
    }

    fn user(&self, user: UserId) -> Result<Option<UserRow>, BackendError> {
        self.read(|q| q.user(user))
    }

    fn user_by_name(&self, name: &str) -> Result<Option<(UserId, UserRow)>, BackendError> {
        self.read(|q| q.user_by_name(name))
    }

    fn users(&self) -> Result<Vec<(UserId, UserRow)>, BackendError> {
        self.read(|q| q.users())
    }

    fn credential(&self, secret: &SecretHash) -> Result<Option<CredentialRow>, BackendError> {
        self.read(|q| q.credential(secret))
    }

    fn credentials(&self, user: UserId) -> Result<Vec<(SecretHash, CredentialRow)>, BackendError> {
        self.read(|q| q.credentials(user))
    }

    async fn propose(
        &self,
        command: Command,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Reply, ProposeError> {
        self.replica
            .propose(
                command,
                ProposeOptions {
                    fence: None,
                    request,
                    deadline,
                },
            )
            .await
    }

    async fn create_session(
        &self,
        user: UserId,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<SessionId, SessionError> {
        self.sessions.create(user, request, deadline).await
    }

    async fn open_session(
        &self,
        user: UserId,
        session: SessionId,
        deadline: Duration,
    ) -> Result<Opened, SessionError> {
        self.sessions.open(user, session, deadline).await
    }

    async fn say(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        text: String,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Said, SessionError> {
        self.sessions
            .say(user, session, id, text, request, deadline)
            .await
    }

    async fn cancel(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        deadline: Duration,
    ) -> Result<(), SessionError> {
        self.sessions.cancel(user, session, id, deadline).await
    }

    fn messages(
        &self,
        user: UserId,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Page, SessionError> {
        self.sessions.messages(user, session, after, limit)
    }

    fn sessions(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, SessionError> {
        self.sessions.list(user, limit)
    }

    fn owner(&self, session: SessionId) -> (Option<NodeId>, Epoch) {
        self.sessions.owner(session)
    }

    fn follow(&self, session: SessionId, after: Seq) -> Box<dyn FeedSource> {
        Box::new(self.sessions.follow(session, after))
    }
}
