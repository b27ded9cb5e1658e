//! What the composition root hands in and what it gets: settings, components, the running gateway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_host::{Clock, Entropy, Tasks};
use jarvis_machine::command::SecretHash;
use jarvis_machine::rows::NodeRole;
use jarvis_types::RequestId;
use serde_json::Value;
use tokio::io::AsyncRead;

use crate::automations::AutomationBackend;
use crate::backend::Backend;

/// Sizes, rates and times of one gateway. Rates, `message_chars` and `max_connections_per_address`: 0 means none.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Longest message, in characters; never more than a transcript and a frame take.
    pub message_chars: u64,
    /// Messages a minute and user.
    pub messages_per_minute: u64,
    /// New sockets a minute and address.
    pub sockets_per_minute: u64,
    /// Requests for webhooks a minute and address.
    pub webhooks_per_minute: u64,
    /// Passwords tried in vain a minute, by address and user; six times as many by address.
    pub logins_per_minute: u64,
    /// Connections open at once; one more is closed as soon as it comes.
    pub max_connections: usize,
    /// Connections that one address other than this machine's own may have open at once.
    pub max_connections_per_address: usize,
    /// How long a request's head may take, which is also how long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long a request's body may take.
    pub body_read_timeout: Duration,
    /// How long a socket may take to say hello.
    pub hello_deadline: Duration,
    /// How long a message may take to be committed before its sender is told `unavailable`.
    pub say_deadline: Duration,
    /// How long opening a session waits for a majority before it goes on with what this node has.
    pub open_deadline: Duration,
    /// How long changes of users, tokens and the like may take.
    pub propose_deadline: Duration,
    /// How long `?wait=reply` waits.
    pub reply_deadline: Duration,
    /// How often an idle socket is pinged.
    pub ping_interval: Duration,
    /// How long one frame may take to leave for a reader that does not read.
    pub write_deadline: Duration,
    /// How long sockets have to go elsewhere when this gateway drains.
    pub drain_grace: Duration,
    /// How long a log-in lasts.
    pub login_ttl: Duration,
    /// Threads that may verify passwords at once; 0: inline, for simulations.
    pub password_workers: usize,
    /// This build, for `/api/v1/cluster`.
    pub version: String,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            message_chars: jarvis_types::limits::DEFAULT_MESSAGE_CHARS as u64,
            messages_per_minute: 30,
            sockets_per_minute: 10,
            webhooks_per_minute: 600,
            logins_per_minute: 10,
            max_connections: 16_384,
            max_connections_per_address: 4_096,
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(10),
            hello_deadline: Duration::from_secs(10),
            say_deadline: Duration::from_millis(1_500),
            open_deadline: Duration::from_millis(1_000),
            propose_deadline: Duration::from_secs(3),
            reply_deadline: Duration::from_secs(120),
            ping_interval: Duration::from_secs(25),
            write_deadline: Duration::from_secs(10),
            drain_grace: Duration::from_secs(5),
            login_ttl: Duration::from_secs(30 * 24 * 3600),
            password_workers: 2,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Renders the process's metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What this node writes to its disk, extrapolated to a day, in bytes; none until it can be told.
pub type DiskWrittenPerDay = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The components a gateway works with.
#[derive(Clone)]
pub struct GatewayDeps {
    /// The time of day: credentials expire by it.
    pub clock: Arc<dyn Clock>,
    /// Secrets, salts and ids are made of it.
    pub entropy: Arc<dyn Entropy>,
    /// The gateway's tasks become a child of these.
    pub tasks: Tasks,
    /// Sessions, users, credentials and the cluster: [`crate::ClusterBackend`], or a fake in tests.
    pub backend: Arc<dyn Backend>,
    /// Automations, states and the bridge; none: this node has nothing to do with them.
    pub automations: Option<Arc<dyn AutomationBackend>>,
    /// What the node itself does for an administrator.
    pub admin: Arc<dyn Admin>,
    /// SHA-256 of this node's local admin credential (`DATA/admin.token`), which acts as user 1.
    pub admin_token_hash: Option<SecretHash>,
    /// What `/metrics` prints.
    pub metrics: RenderMetrics,
    /// For `/api/v1/cluster`.
    pub disk_written_per_day_bytes: DiskWrittenPerDay,
    /// Takes the other nodes' tethers, where there are any.
    pub tethers: Option<Arc<dyn TetherKeeper>>,
}

/// Takes one connection to keep.
pub type KeepTether = Box<dyn FnOnce(Box<dyn AsyncRead + Send + Unpin>) + Send>;

/// Keeps bare connections of other nodes, which come to `GET /tether` with a secret that they were told elsewhere.
pub trait TetherKeeper: Send + Sync + 'static {
    /// Who takes the connection on which `secret` was shown; none: nobody was told that one.
    fn claim(&self, secret: &str) -> Option<KeepTether>;
}

/// An invitation as it is handed out, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What `jarvis join` takes.
    pub token: String,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

/// What the node does for an administrator. Implemented by the binary, which knows the mesh's CA and the replica.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// Makes an invitation.
    async fn invite(
        &self,
        role: NodeRole,
        ttl: Duration,
        request: Option<RequestId>,
    ) -> Result<Invite, AdminError>;
    /// Moves everything away from a node; returns when that is done or `timeout` is over, with what to print.
    async fn drain(
        &self,
        node: &str,
        timeout: Duration,
        request: Option<RequestId>,
    ) -> Result<Value, AdminError>;
    /// Lets a node serve again.
    async fn undrain(&self, node: &str, request: Option<RequestId>) -> Result<Value, AdminError>;
    /// Out of the cluster for good.
    async fn remove(&self, node: &str, force: bool, request: Option<RequestId>) -> Result<Value, AdminError>;
    /// Where an actor runs and why, for `jarvis why KIND/KEY`.
    async fn why(&self, kind: &str, key: &str) -> Result<Value, AdminError>;
    /// Has a beacon flash, for a drill: `order` says towards which recorder.
    async fn beacon(&self, key: &str, order: Value, request: Option<RequestId>) -> Result<Value, AdminError>;
    /// Puts a fault into a node, for a drill.
    async fn set_fault(&self, order: Value) -> Result<Value, AdminError>;
    /// Ends a fault of a node, or all of them. No node: this one.
    async fn clear_faults(&self, node: Option<&str>, id: Option<u64>) -> Result<Value, AdminError>;
    /// The faults of a node. No node: this one.
    async fn faults(&self, node: Option<&str>) -> Result<Value, AdminError>;
    /// This node's faults, in words.
    fn active_faults(&self) -> Vec<String>;
}

/// Why an administrator's action was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is none of that name.
    #[error("{0} not found")]
    NotFound(String),
    /// The state of things forbids it; the text says what to do.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No majority in time.
    #[error("the cluster cannot commit at the moment; try again")]
    Unavailable {
        /// When trying again makes sense, in milliseconds.
        retry_after_ms: u64,
    },
    /// A fault of ours; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}
