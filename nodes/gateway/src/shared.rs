//! What all connections of one gateway share.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use jarvis_host::{Tasks, new_ulid};
use jarvis_machine::rows::NodeIntent;
use jarvis_types::{ClusterId, NodeId, RequestId, UserId};
use tracing::warn;

use crate::api::{GatewayDeps, GatewaySettings};
use crate::auth::password::Passwords;
use crate::auth::{Auth, AuthError, Identity};
use crate::backend::{Backend, BackendError, ClusterView};
use crate::limiter::Limiter;
use crate::members::Members;
use crate::removal::REMOVED;
use crate::ws::registry::Registry;
use crate::ws::say;

/// How many users' worth of failed log-ins one address may have: a home has one address for all of them.
const USERS_BEHIND_AN_ADDRESS: u64 = 6;

/// What all connections of one gateway share.
pub(crate) struct Shared {
    pub(crate) settings: GatewaySettings,
    /// Longest message that is taken, in characters.
    pub(crate) message_chars: u64,
    pub(crate) deps: GatewayDeps,
    /// The gateway's own tasks.
    pub(crate) tasks: Tasks,
    pub(crate) auth: Auth,
    pub(crate) passwords: Passwords,
    pub(crate) sockets: Arc<Registry>,
    pub(crate) message_limit: Limiter<UserId>,
    pub(crate) socket_limit: Limiter<IpAddr>,
    pub(crate) webhook_limit: Limiter<IpAddr>,
    pub(crate) login_limit: Limiter<(IpAddr, String)>,
    pub(crate) login_address_limit: Limiter<IpAddr>,
    members: Mutex<Arc<Members>>,
}

impl Shared {
    pub(crate) fn new(settings: GatewaySettings, deps: GatewayDeps) -> Result<Arc<Self>, BackendError> {
        let shared = Self {
            tasks: deps.tasks.child(),
            auth: Auth::new(deps.admin_token_hash),
            passwords: Passwords::new(settings.password_workers, Arc::clone(&deps.entropy)),
            sockets: Arc::default(),
            message_limit: Limiter::new(settings.messages_per_minute),
            socket_limit: Limiter::new(settings.sockets_per_minute),
            webhook_limit: Limiter::new(settings.webhooks_per_minute),
            login_limit: Limiter::new(settings.logins_per_minute),
            login_address_limit: Limiter::new(
                settings.logins_per_minute.saturating_mul(USERS_BEHIND_AN_ADDRESS),
            ),
            members: Mutex::default(),
            message_chars: say::limit_chars(settings.message_chars),
            settings,
            deps,
        };
        shared.refresh_members()?;
        Ok(Arc::new(shared))
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.deps.backend
    }

    pub(crate) async fn identify(&self, secret: &str) -> Result<Identity, AuthError> {
        self.auth
            .identify(self.backend(), &*self.deps.clock, secret)
            .await
    }

    /// The members as last seen.
    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the members anew.
    pub(crate) fn refresh_members(&self) -> Result<(), BackendError> {
        let members = Arc::new(Members::new(self.backend().node(), &self.backend().nodes()?));
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
        Ok(())
    }

    /// A new request's id.
    pub(crate) fn new_request_id(&self) -> RequestId {
        // A ULID's text form is within every rule for request ids.
        let ulid = ClusterId(new_ulid(&*self.deps.clock, &*self.deps.entropy));
        ulid.to_string().parse().expect("a ULID is 26 letters and digits")
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.sockets.is_draining()
    }

    /// Why this node should get no requests; empty when it should.
    pub(crate) fn not_ready(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push("this gateway is draining");
        }
        if self.backend().removed_by().is_some() {
            reasons.push(REMOVED);
        }
        let this = self.backend().node();
        match self.backend().cluster() {
            Ok(view) => reasons.extend(why_not(&view, this)),
            Err(error) => {
                warn!(%error, "local state cannot be read; check the disk");
                reasons.push("the local state cannot be read; see the log");
            }
        }
        crate::metrics::health(reasons.is_empty());
        reasons
    }
}

/// Why a node in this state cannot serve.
fn why_not(view: &ClusterView, this: NodeId) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if !view.replica.caught_up {
        reasons.push("the state has not caught up with the cluster yet");
    }
    if view.leader(this).is_none() {
        reasons.push("no leader is known: no majority is reachable");
    }
    match view
        .nodes
        .iter()
        .find(|(node, _)| *node == this)
        .map(|(_, row)| row.intent)
    {
        None => reasons.push("this node is not a member of the cluster"),
        Some(NodeIntent::Joining) => reasons.push("this node is still joining"),
        Some(NodeIntent::Draining | NodeIntent::Drained) => {
            reasons.push("this node is drained; `jarvis undrain` lets it serve again");
        }
        Some(NodeIntent::Active) => {}
    }
    reasons
}

/// What rate limits count as one address: an IPv4 address, or the /64 that one IPv6 home has.
pub(crate) fn rate_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
