//! The answering side of joining: checks, has the invitation consumed, issues the certificate.
//!
//! Anyone who reaches the port may ask. Until the secret is known to be good nothing is proposed and nothing signed: the
//! log and the CA's key work for the invited only.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jarvis_host::{Clock, Entropy};
use jarvis_machine::command::{Command, NewNode, SecretHash};
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::row_codec::get_row;
use jarvis_machine::rows::{InviteRow, NodeRole};
use jarvis_machine::storage::Table;
use jarvis_mesh::api::JoinHandler;
use jarvis_mesh::identity::ClusterCa;
use jarvis_replica::api::{ProposeError, ProposeOptions, Replica, View};
use jarvis_types::{ClusterId, NodeId};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::attempts::Attempts;
use super::protocol::{
    Admission, BUILD, JoinAnswer, JoinRefusal, JoinRequest, MAX_CLOCK_OFFSET_MS, open, seal,
};

/// How long an admission may take to be committed.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(8);
/// How long it may take to find out whether an invitation is there that this node has not heard of.
const LOOK_UP_DEADLINE: Duration = Duration::from_secs(5);

/// What answering takes.
pub(super) struct JoinServer {
    /// Which cluster.
    pub(super) cluster: ClusterId,
    /// Signs certificates.
    pub(super) ca: Arc<ClusterCa>,
    /// Decides.
    pub(super) replica: Replica,
    /// For the offset of clocks, and certificates.
    pub(super) clock: Arc<dyn Clock>,
    /// For certificates.
    pub(super) entropy: Arc<dyn Entropy>,
    /// How long certificates are good.
    pub(super) certificate_ttl: Duration,
}

/// Answers joiners; see [`JoinServer`].
pub(super) struct JoinAnswerer {
    server: Arc<JoinServer>,
    attempts: Arc<Mutex<Attempts>>,
}

impl JoinAnswerer {
    /// With what it takes.
    pub(super) fn new(server: JoinServer) -> Self {
        Self {
            server: Arc::new(server),
            attempts: Arc::default(),
        }
    }
}

impl JoinHandler for JoinAnswerer {
    fn join(&self, from: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        let (server, attempts) = (Arc::clone(&self.server), Arc::clone(&self.attempts));
        Box::pin(async move {
            // Not held while the answer is made.
            let attempts = || attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let allowed = attempts().begin(from.ip(), Instant::now());
            let result = match allowed {
                Ok(()) => server.answer(&request).await,
                Err(wait) => Err(JoinRefusal::TooManyAttempts {
                    wait_s: wait.as_secs().max(1),
                }),
            };
            let answer = match result {
                Ok(admission) => {
                    attempts().admitted(from.ip());
                    tracing::info!(node = %admission.node, %from, "a node was admitted");
                    JoinAnswer::Admitted(Box::new(admission))
                }
                Err(refusal) => {
                    tracing::warn!(%from, %refusal, "a request to join was refused");
                    JoinAnswer::Refused(refusal)
                }
            };
            // An answer has a handful of members and certificates: it is far below the limit.
            seal(&answer).map(Bytes::from).unwrap_or_default()
        })
    }
}

impl JoinServer {
    async fn answer(&self, request: &[u8]) -> Result<Admission, JoinRefusal> {
        let request: JoinRequest = open(request).map_err(|_| JoinRefusal::NotUnderstood {
            build: BUILD.to_owned(),
        })?;
        self.check(&request)?;
        let secret: SecretHash = Sha256::digest(request.secret).into();
        self.check_invitation(&secret).await?;
        // Whether the key can be certified is found out before the invitation is used up.
        self.issue(NodeId(0), &request, self.certificate_ttl)?;
        let command = Command::ConsumeInvite {
            secret,
            node: NewNode {
                name: request.name.clone(),
                role: NodeRole::Worker,
                mesh_address: request.mesh_address.clone(),
                http_url: request.http_url.clone(),
                version: request.build.clone(),
                level: request.level,
            },
        };
        let options = ProposeOptions {
            fence: None,
            request: None,
            deadline: PROPOSE_DEADLINE,
        };
        let node = match self.replica.propose(command, options).await {
            Ok(Reply::Joined { node }) => node,
            Ok(_) => {
                return Err(JoinRefusal::Invalid(
                    "the invitation was answered with something else".to_owned(),
                ));
            }
            Err(ProposeError::Refused(refusal)) => return Err(self.refusal(refusal, &request)),
            Err(_) => return Err(JoinRefusal::Unavailable),
        };
        let (role, members) = self.members(node).await?;
        let issues_itself = role != NodeRole::Worker;
        Ok(Admission {
            node,
            role,
            certificate: self.issue(node, &request, self.certificate_ttl)?,
            ca_certificate: self.ca.cert_pem(),
            ca_key: issues_itself.then(|| self.ca.key_pem()),
            members,
        })
    }

    fn check(&self, request: &JoinRequest) -> Result<(), JoinRefusal> {
        if request.cluster != self.cluster {
            return Err(JoinRefusal::WrongCluster {
                invited: request.cluster,
                here: self.cluster,
            });
        }
        let now_ms = self.clock.now_ms();
        let offset_ms = now_ms.abs_diff(request.clock_ms);
        if offset_ms > MAX_CLOCK_OFFSET_MS {
            return Err(JoinRefusal::ClockOff {
                ahead: request.clock_ms > now_ms,
                offset_ms,
            });
        }
        Ok(())
    }

    /// Whether the secret is of an invitation that is still good. What this node has not heard of may be there all the same:
    /// then a majority is asked, by a read that writes nothing.
    async fn check_invitation(&self, secret: &SecretHash) -> Result<(), JoinRefusal> {
        let local = self.replica.local().map_err(|_| JoinRefusal::Unavailable)?;
        let invite = match invitation(&local, secret)? {
            Some(invite) => Some(invite),
            None => {
                let view = self.replica.linearizable(LOOK_UP_DEADLINE).await;
                invitation(&view.map_err(|_| JoinRefusal::Unavailable)?, secret)?
            }
        };
        let now_ms = self.clock.now_ms();
        match invite {
            None => Err(JoinRefusal::Unknown),
            Some(InviteRow {
                used_by: Some(by), ..
            }) => Err(JoinRefusal::Used { by }),
            Some(invite) if invite.expires_at_ms <= now_ms => Err(JoinRefusal::Expired {
                ago_ms: now_ms - invite.expires_at_ms,
            }),
            Some(_) => Ok(()),
        }
    }

    fn issue(&self, node: NodeId, request: &JoinRequest, ttl: Duration) -> Result<Vec<u8>, JoinRefusal> {
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        let issued = self.ca.issue(
            self.cluster,
            node,
            &request.name,
            &request.signing_request,
            clock,
            entropy,
            ttl,
        );
        issued
            .map(|certificate| certificate.to_vec())
            .map_err(|error| JoinRefusal::Invalid(error.to_string()))
    }

    /// The new node's role and all members; this node may be behind the one that decided.
    async fn members(
        &self,
        node: NodeId,
    ) -> Result<(NodeRole, Vec<(NodeId, jarvis_types::NodeName, String)>), JoinRefusal> {
        let view = self
            .replica
            .linearizable(PROPOSE_DEADLINE)
            .await
            .map_err(|_| JoinRefusal::Unavailable)?;
        let rows = view.query().nodes().map_err(|_| JoinRefusal::Unavailable)?;
        let own = rows
            .iter()
            .find(|(id, _)| *id == node)
            .ok_or(JoinRefusal::Unavailable)?;
        let role = own.1.role;
        Ok((
            role,
            rows.into_iter()
                .map(|(id, row)| (id, row.name, row.mesh_address))
                .collect(),
        ))
    }

    fn refusal(&self, refusal: Refusal, request: &JoinRequest) -> JoinRefusal {
        match refusal {
            Refusal::InviteUnknown => JoinRefusal::Unknown,
            Refusal::InviteExpired {
                expired_at_ms,
                now_ms,
            } => JoinRefusal::Expired {
                ago_ms: now_ms.saturating_sub(expired_at_ms),
            },
            Refusal::InviteUsed { by } => JoinRefusal::Used { by },
            Refusal::NameTaken(_) => self.taken(request),
            other => JoinRefusal::Invalid(other.to_string()),
        }
    }

    /// The same name at the same address is the same machine, without what it knew.
    fn taken(&self, request: &JoinRequest) -> JoinRefusal {
        let found = self
            .replica
            .local()
            .ok()
            .and_then(|view| view.query().node_by_name(request.name.as_str()).ok().flatten());
        let name = request.name.clone();
        match found {
            Some((node, row)) if row.mesh_address == request.mesh_address => {
                JoinRefusal::Wiped { name, node }
            }
            Some((node, row)) => JoinRefusal::NameTaken {
                name,
                node,
                address: row.mesh_address,
            },
            None => JoinRefusal::Invalid(format!("the name {name} is taken")),
        }
    }
}

fn invitation(view: &View, secret: &SecretHash) -> Result<Option<InviteRow>, JoinRefusal> {
    get_row(view.query().0, Table::Invites, secret).map_err(|error| {
        tracing::error!(%error, "the invitations cannot be read");
        JoinRefusal::Unavailable
    })
}
