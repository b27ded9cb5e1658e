//! A backend in memory: one node's view of a cluster that is as well or as ill as a test says.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jarvis_machine::change::Change;
use jarvis_machine::command::{Command, SecretHash};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::{CredentialKind, CredentialRow, NodeRole, NodeRow, SessionRow, UserRow};
use jarvis_mesh::api::{Member, Peer, PeerState};
use jarvis_replica::api::{Applied, ProposeError, ReplicaState};
use jarvis_session::api::{FeedEvent, Opened, Page, Said, SessionError};
use jarvis_types::chat::{Role, ServerFrame};
use jarvis_types::{ClientMessageId, ClusterId, Epoch, NodeId, RequestId, Seq, SessionId, UserId};
use serde_json::{Value, json};
use tokio::io::AsyncRead;
use tokio::sync::{Notify, broadcast, watch};

use crate::members::tests::row;
use crate::{
    Admin, AdminError, Backend, BackendError, ClusterView, FeedSource, Invite, KeepTether, TetherKeeper,
};

/// What `say` answers with while the cluster is made to be unavailable.
pub(crate) const RETRY_MS: u64 = 250;

/// A peer as the mesh shows it.
pub(crate) fn peer(node: u64, name: &str, up: bool) -> Peer {
    let name = name.parse().expect("a node name");
    Peer {
        member: Member {
            node: NodeId(node),
            name,
            address: String::new(),
        },
        state: if up { PeerState::Up } else { PeerState::Down },
        rtt: up.then_some(Duration::from_micros(150)),
        changed_at: tokio::time::Instant::now(),
        lost: None,
    }
}

#[derive(Default)]
struct Tables {
    nodes: Vec<(NodeId, NodeRow)>,
    users: BTreeMap<UserId, UserRow>,
    credentials: HashMap<SecretHash, CredentialRow>,
    sessions: BTreeMap<SessionId, (SessionRow, Vec<ServerFrame>)>,
    replica: ReplicaState,
    removed_by: Option<NodeId>,
}

/// The backend.
pub(crate) struct Fake {
    tables: Arc<Mutex<Tables>>,
    changes: broadcast::Sender<Applied>,
    grown: watch::Sender<u64>,
    live: broadcast::Sender<FeedEvent>,
    next: AtomicU64,
    /// Says and creations are refused as unavailable.
    pub(crate) unavailable: AtomicBool,
    /// Says wait for this before they are committed.
    pub(crate) hold: AtomicBool,
    pub(crate) released: Notify,
    /// Credentials that only catching up brings.
    pub(crate) behind: Mutex<Vec<(SecretHash, CredentialRow)>>,
    /// Users that only catching up brings.
    pub(crate) behind_users: Mutex<Vec<(UserId, UserRow)>>,
    /// New users are decided, and not yet applied here.
    pub(crate) lagging: AtomicBool,
    /// The user has as many sessions as there may be.
    pub(crate) full: AtomicBool,
    /// Says do not get through, and why is not for the client.
    pub(crate) broken: AtomicBool,
    pub(crate) catch_ups: AtomicU64,
}

impl Fake {
    /// Three nodes, of which this is `a`; users `root` (1, admin), `ada` (2) and `bob` (3).
    pub(crate) fn new() -> Arc<Self> {
        let user = |name: &str, admin| UserRow {
            name: name.to_owned(),
            password: None,
            admin,
            created_at_ms: 1,
        };
        let tables = Tables {
            nodes: [(1, "a"), (2, "b"), (3, "c")]
                .map(|(id, name)| (NodeId(id), row(name, &format!("http://10.0.0.{id}:8007"))))
                .to_vec(),
            users: [
                (UserId(1), user("root", true)),
                (UserId(2), user("ada", false)),
                (UserId(3), user("bob", false)),
            ]
            .into(),
            replica: ReplicaState {
                leader: Some(NodeId(2)),
                term: 3,
                committed: 10,
                applied: 10,
                voters: vec![NodeId(1), NodeId(2), NodeId(3)],
                caught_up: true,
                ..ReplicaState::default()
            },
            ..Tables::default()
        };
        Arc::new(Self {
            tables: Arc::new(Mutex::new(tables)),
            changes: broadcast::channel(64).0,
            grown: watch::channel(0).0,
            live: broadcast::channel(64).0,
            next: AtomicU64::new(100),
            unavailable: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            released: Notify::new(),
            behind: Mutex::default(),
            behind_users: Mutex::default(),
            lagging: AtomicBool::new(false),
            full: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            catch_ups: AtomicU64::new(0),
        })
    }

    /// A credential, as if made elsewhere.
    pub(crate) fn credential_row(user: u64, kind: CredentialKind, expires_at_ms: u64) -> CredentialRow {
        CredentialRow {
            user: UserId(user),
            kind,
            label: "test".to_owned(),
            created_at_ms: 1,
            expires_at_ms,
        }
    }

    /// Makes a credential of `secret`.
    pub(crate) fn give(&self, user: u64, kind: CredentialKind, secret: &str, expires_at_ms: u64) {
        let row = Self::credential_row(user, kind, expires_at_ms);
        self.lock().credentials.insert(crate::secret_hash(secret), row);
    }

    /// Sets where the replica stands.
    pub(crate) fn replica(&self, change: impl FnOnce(&mut ReplicaState)) {
        change(&mut self.lock().replica);
    }

    /// Changes the members' rows.
    pub(crate) fn nodes_mut(&self, change: impl FnOnce(&mut Vec<(NodeId, NodeRow)>)) {
        change(&mut self.lock().nodes);
        self.applied(vec![Change::Node(NodeId(1))]);
    }

    /// A member tells this node that it is out.
    pub(crate) fn removed_by(&self, member: NodeId) {
        self.lock().removed_by = Some(member);
    }

    /// Something a socket is told at once: a delta, a move.
    pub(crate) fn live(&self, event: FeedEvent) {
        let _ = self.live.send(event);
    }

    /// Answers the message at `to`.
    pub(crate) fn answer(&self, session: SessionId, to: u64, text: &str) {
        let mut tables = self.lock();
        let (row, entries) = tables.sessions.get_mut(&session).expect("the session is there");
        let ServerFrame::Said { id, .. } = entries[to as usize - 1].clone() else {
            panic!("{to} is no message")
        };
        row.last_seq.0 += 1;
        entries.push(ServerFrame::Reply {
            seq: row.last_seq.0,
            id: format!("reply-{to}"),
            reply_to: Some(id),
            role: Role::Assistant,
            text: text.to_owned(),
            at: 2,
            cancelled: false,
        });
        drop(tables);
        self.grown.send_modify(|n| *n += 1);
    }

    /// Says something in a session that nobody asked for.
    pub(crate) fn tell(&self, session: SessionId, text: &str) {
        let mut tables = self.lock();
        let (row, entries) = tables.sessions.get_mut(&session).expect("the session is there");
        row.last_seq.0 += 1;
        let seq = row.last_seq.0;
        entries.push(ServerFrame::Reply {
            seq,
            id: format!("{session}-{seq}"),
            reply_to: None,
            role: Role::Assistant,
            text: text.to_owned(),
            at: 3,
            cancelled: false,
        });
        drop(tables);
        self.grown.send_modify(|n| *n += 1);
    }

    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().copied().collect()
    }

    /// Applies what this node lagged behind with.
    pub(crate) fn apply_users(&self) {
        let behind = std::mem::take(&mut *self.behind_users.lock().expect("not poisoned"));
        let users: Vec<_> = behind
            .iter()
            .map(|(user, _)| Change::Credentials(*user))
            .collect();
        self.lock().users.extend(behind);
        self.applied(users);
    }

    fn applied(&self, changes: Vec<Change>) {
        let _ = self.changes.send(Applied {
            index: 1,
            changes: changes.into(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no test panicked while it held it")
    }

    fn decide(&self, command: Command) -> Result<(Reply, Vec<Change>), Refusal> {
        let mut tables = self.lock();
        match command {
            Command::CreateUser {
                name,
                password,
                admin,
            } => {
                if tables.users.values().any(|u| u.name == name) {
                    return Err(Refusal::NameTaken(name));
                }
                let user = UserId(self.next.fetch_add(1, Ordering::SeqCst));
                let row = UserRow {
                    name,
                    password,
                    admin,
                    created_at_ms: 1,
                };
                if self.lagging.load(Ordering::SeqCst) {
                    self.behind_users.lock().expect("not poisoned").push((user, row));
                    return Ok((Reply::User { user }, Vec::new()));
                }
                tables.users.insert(user, row);
                Ok((Reply::User { user }, vec![Change::Credentials(user)]))
            }
            Command::SetPassword { user, password } => {
                let row = tables
                    .users
                    .get_mut(&user)
                    .ok_or_else(|| Refusal::NotFound("user".to_owned()))?;
                row.password = Some(password);
                tables
                    .credentials
                    .retain(|_, c| c.user != user || c.kind != CredentialKind::Login);
                Ok((Reply::Done, vec![Change::Credentials(user)]))
            }
            Command::RemoveUser { user } => {
                tables.users.remove(&user);
                tables.credentials.retain(|_, c| c.user != user);
                Ok((Reply::Done, vec![Change::Credentials(user)]))
            }
            Command::CreateCredential {
                secret,
                user,
                kind,
                label,
                expires_at_ms,
            } => {
                tables.credentials.insert(
                    secret,
                    CredentialRow {
                        user,
                        kind,
                        label,
                        created_at_ms: 1,
                        expires_at_ms,
                    },
                );
                Ok((Reply::Done, vec![Change::Credentials(user)]))
            }
            Command::RevokeCredential { secret } => {
                let row = tables
                    .credentials
                    .remove(&secret)
                    .ok_or_else(|| Refusal::NotFound("it".to_owned()))?;
                Ok((Reply::Done, vec![Change::Credentials(row.user)]))
            }
            other => panic!("the gateway does not propose {other:?}"),
        }
    }
}

#[async_trait]
impl Backend for Fake {
    fn node(&self) -> NodeId {
        NodeId(1)
    }
    fn cluster(&self) -> Result<ClusterView, BackendError> {
        let tables = self.lock();
        Ok(ClusterView {
            cluster: Some(ClusterId(7)),
            nodes: tables.nodes.clone(),
            kinds: Vec::new(),
            replica: tables.replica.clone(),
            peers: Arc::new(vec![peer(2, "b", true), peer(3, "c", true)]),
            removed_by: tables.removed_by,
            notes: Vec::new(),
            level: 2,
            facts: Default::default(),
            needs: Default::default(),
        })
    }
    fn nodes(&self) -> Result<Vec<(NodeId, NodeRow)>, BackendError> {
        Ok(self.lock().nodes.clone())
    }
    fn removed_by(&self) -> Option<NodeId> {
        self.lock().removed_by
    }
    fn replica_state(&self) -> ReplicaState {
        self.lock().replica.clone()
    }
    fn changes(&self) -> broadcast::Receiver<Applied> {
        self.changes.subscribe()
    }
    async fn catch_up(&self, _: Duration) -> bool {
        self.catch_ups.fetch_add(1, Ordering::SeqCst);
        if self.unavailable.load(Ordering::SeqCst) {
            return false;
        }
        let behind = std::mem::take(&mut *self.behind.lock().expect("not poisoned"));
        self.lock().credentials.extend(behind);
        self.apply_users();
        true
    }
    fn user(&self, user: UserId) -> Result<Option<UserRow>, BackendError> {
        Ok(self.lock().users.get(&user).cloned())
    }
    fn user_by_name(&self, name: &str) -> Result<Option<(UserId, UserRow)>, BackendError> {
        Ok(self
            .lock()
            .users
            .iter()
            .find(|(_, u)| u.name == name)
            .map(|(id, u)| (*id, u.clone())))
    }
    fn users(&self) -> Result<Vec<(UserId, UserRow)>, BackendError> {
        Ok(self.lock().users.iter().map(|(id, u)| (*id, u.clone())).collect())
    }
    fn credential(&self, secret: &SecretHash) -> Result<Option<CredentialRow>, BackendError> {
        Ok(self.lock().credentials.get(secret).cloned())
    }
    fn credentials(&self, user: UserId) -> Result<Vec<(SecretHash, CredentialRow)>, BackendError> {
        let tables = self.lock();
        Ok(tables
            .credentials
            .iter()
            .filter(|(_, c)| c.user == user)
            .map(|(s, c)| (*s, c.clone()))
            .collect())
    }
    async fn propose(
        &self,
        command: Command,
        _: Option<RequestId>,
        waited: Duration,
    ) -> Result<Reply, ProposeError> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(ProposeError::Unavailable { waited });
        }
        let (reply, changes) = self.decide(command)?;
        self.applied(changes);
        Ok(reply)
    }
    async fn create_session(
        &self,
        user: UserId,
        _: Option<RequestId>,
        _: Duration,
    ) -> Result<SessionId, SessionError> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(SessionError::Unavailable {
                retry_after_ms: RETRY_MS,
            });
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(SessionError::LimitReached("50000 sessions of user 2".to_owned()));
        }
        let session = SessionId(u128::from(self.next.fetch_add(1, Ordering::SeqCst)));
        let row = SessionRow {
            user,
            created_at_ms: 1,
            last_seq: Seq(0),
            last_at_ms: 1,
            title: String::new(),
        };
        self.lock().sessions.insert(session, (row, Vec::new()));
        Ok(session)
    }
    async fn open_session(
        &self,
        user: UserId,
        session: SessionId,
        _: Duration,
    ) -> Result<Opened, SessionError> {
        let tables = self.lock();
        let found = tables.sessions.get(&session).filter(|(row, _)| row.user == user);
        let certain = !self.unavailable.load(Ordering::SeqCst);
        let (row, _) = found.ok_or(SessionError::NotFound)?;
        Ok(Opened {
            row: row.clone(),
            certain,
        })
    }
    async fn say(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        text: String,
        _: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Said, SessionError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(SessionError::Internal("table 13 is on fire".to_owned()));
        }
        let unavailable = SessionError::Unavailable {
            retry_after_ms: RETRY_MS,
        };
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(unavailable);
        }
        if self.hold.load(Ordering::SeqCst)
            && tokio::time::timeout(deadline, self.released.notified())
                .await
                .is_err()
        {
            return Err(unavailable);
        }
        let mut tables = self.lock();
        let found = tables
            .sessions
            .get_mut(&session)
            .filter(|(row, _)| row.user == user);
        let (row, entries) = found.ok_or(SessionError::NotFound)?;
        let there = entries.iter().find_map(|e| match e {
            ServerFrame::Said { seq, id: known, .. } if known == id.as_str() => Some(*seq),
            _ => None,
        });
        if let Some(seq) = there {
            return Ok(Said {
                seq: Seq(seq),
                at_ms: 1,
                repeated: true,
            });
        }
        row.last_seq.0 += 1;
        let seq = row.last_seq;
        entries.push(ServerFrame::Said {
            seq: seq.0,
            id: id.to_string(),
            role: Role::User,
            text,
            at: 1,
        });
        drop(tables);
        self.grown.send_modify(|n| *n += 1);
        Ok(Said {
            seq,
            at_ms: 1,
            repeated: false,
        })
    }
    async fn cancel(
        &self,
        user: UserId,
        session: SessionId,
        id: ClientMessageId,
        _: Duration,
    ) -> Result<(), SessionError> {
        let tables = self.lock();
        let found = tables.sessions.get(&session).filter(|(row, _)| row.user == user);
        let (_, entries) = found.ok_or(SessionError::NotFound)?;
        let said = entries
            .iter()
            .any(|e| matches!(e, ServerFrame::Said { id: known, .. } if known == id.as_str()));
        if said { Ok(()) } else { Err(SessionError::NotFound) }
    }
    fn messages(
        &self,
        user: UserId,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Page, SessionError> {
        let tables = self.lock();
        let found = tables.sessions.get(&session).filter(|(row, _)| row.user == user);
        let (row, entries) = found.ok_or(SessionError::NotFound)?;
        let messages = entries
            .iter()
            .skip(after.0 as usize)
            .take(limit)
            .cloned()
            .collect();
        Ok(Page {
            messages,
            last_seq: row.last_seq,
        })
    }
    fn sessions(&self, user: UserId, limit: usize) -> Result<Vec<(SessionId, SessionRow)>, SessionError> {
        let tables = self.lock();
        let own = tables.sessions.iter().filter(|(_, (row, _))| row.user == user);
        Ok(own.map(|(id, (row, _))| (*id, row.clone())).take(limit).collect())
    }
    fn owner(&self, _: SessionId) -> (Option<NodeId>, Epoch) {
        (Some(NodeId(2)), Epoch(4))
    }
    fn follow(&self, session: SessionId, after: Seq) -> Box<dyn FeedSource> {
        let (grown, live) = (self.grown.subscribe(), self.live.subscribe());
        Box::new(FakeFeed {
            tables: Arc::clone(&self.tables),
            session,
            after,
            grown,
            live,
        })
    }
}

struct FakeFeed {
    tables: Arc<Mutex<Tables>>,
    session: SessionId,
    after: Seq,
    grown: watch::Receiver<u64>,
    live: broadcast::Receiver<FeedEvent>,
}

#[async_trait]
impl FeedSource for FakeFeed {
    async fn next(&mut self) -> FeedEvent {
        loop {
            self.grown.borrow_and_update();
            let entry = {
                let tables = self.tables.lock().expect("not poisoned");
                let entries = tables.sessions.get(&self.session).map(|(_, entries)| entries);
                entries.and_then(|entries| entries.get(self.after.0 as usize).cloned())
            };
            if let Some(frame) = entry {
                self.after.0 += 1;
                return FeedEvent::Frame(frame);
            }
            tokio::select! {
                _ = self.grown.changed() => {}
                Ok(event) = self.live.recv() => return event,
            }
        }
    }
}

/// Takes the tether of whoever shows [`FakeTethers::SECRET`], and keeps it.
#[derive(Default)]
pub(crate) struct FakeTethers {
    kept: Arc<Mutex<Vec<Tether>>>,
}

type Tether = Box<dyn AsyncRead + Send + Unpin>;

impl FakeTethers {
    /// What it told some node.
    pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff";

    /// How many it keeps.
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().expect("not poisoned").len()
    }

    /// Lets go of them.
    pub(crate) fn drop_all(&self) {
        self.kept.lock().expect("not poisoned").clear();
    }
}

impl TetherKeeper for FakeTethers {
    fn claim(&self, secret: &str) -> Option<KeepTether> {
        let kept = Arc::clone(&self.kept);
        let keep: KeepTether = Box::new(move |io| kept.lock().expect("not poisoned").push(io));
        (secret == Self::SECRET).then_some(keep)
    }
}

/// Does what an administrator asks, in words.
pub(crate) struct FakeAdmin;

#[async_trait]
impl Admin for FakeAdmin {
    async fn invite(
        &self,
        role: NodeRole,
        ttl: Duration,
        _: Option<RequestId>,
    ) -> Result<Invite, AdminError> {
        Ok(Invite {
            token: format!("{role:?}"),
            expires_at_ms: ttl.as_millis() as u64,
        })
    }
    async fn drain(&self, node: &str, timeout: Duration, _: Option<RequestId>) -> Result<Value, AdminError> {
        Ok(json!({ "drained": node, "timeout_s": timeout.as_secs() }))
    }
    async fn undrain(&self, node: &str, _: Option<RequestId>) -> Result<Value, AdminError> {
        if node == "nobody" {
            Err(AdminError::NotFound("node nobody".to_owned()))
        } else {
            Ok(json!({ "up": node }))
        }
    }
    async fn remove(&self, node: &str, force: bool, _: Option<RequestId>) -> Result<Value, AdminError> {
        if force {
            Ok(json!({ "removed": node }))
        } else {
            Err(AdminError::Conflict("drain it first".to_owned()))
        }
    }
    async fn why(&self, kind: &str, key: &str) -> Result<Value, AdminError> {
        Ok(json!({ "entity": format!("{kind}/{key}") }))
    }
    async fn beacon(&self, key: &str, order: Value, _: Option<RequestId>) -> Result<Value, AdminError> {
        if order.get("recorder").is_some() {
            Ok(json!({ "key": key, "n": order["n"] }))
        } else {
            Err(AdminError::Invalid("recorder is missing".to_owned()))
        }
    }
    async fn set_fault(&self, order: Value) -> Result<Value, AdminError> {
        if order.get("kind").is_some() {
            Ok(json!({ "id": 1, "order": order }))
        } else {
            Err(AdminError::Invalid("kind is missing".to_owned()))
        }
    }
    async fn clear_faults(&self, node: Option<&str>, id: Option<u64>) -> Result<Value, AdminError> {
        Ok(json!({ "cleared": 1, "node": node, "id": id }))
    }
    async fn faults(&self, node: Option<&str>) -> Result<Value, AdminError> {
        Ok(json!({ "faults": [], "node": node }))
    }
    fn active_faults(&self) -> Vec<String> {
        vec!["the log's disk is full".to_owned()]
    }
}
