//! Who calls: credentials by the SHA-256 of their secret, in the replicated table as applied here.
//!
//! A secret this node does not know may have been made a moment ago on another: before it is refused, the node catches
//! up with the cluster once. Where it cannot, the caller is told `unavailable` rather than `unauthorized`: still closed,
//! but a client keeps its token and comes again.
pub(crate) mod cookie;
pub(crate) mod password;

use std::time::Duration;

use jarvis_host::Clock;
use jarvis_machine::command::SecretHash;
use jarvis_machine::rows::CredentialKind;
use jarvis_types::UserId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::backend::{Backend, BackendError};
use crate::limiter::Limiter;

/// The user that the local admin credential acts as: the cluster's first.
const LOCAL_ADMIN: UserId = UserId(1);

/// How often unknown secrets and passwords may make this node ask the leader, a minute: a flood of wrong ones must not load it.
const CATCH_UPS_PER_MINUTE: u64 = 600;

/// How long catching up may take.
const CATCH_UP_DEADLINE: Duration = Duration::from_millis(800);

/// Longest secret that is looked at, in bytes.
const MAX_SECRET_BYTES: usize = 256;

/// The SHA-256 of a secret, as it stands in the replicated table.
pub fn secret_hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// This node's `admin.token`.
    LocalAdmin,
    /// One of the replicated table.
    Stored {
        /// Its key.
        secret: SecretHash,
        /// What it is.
        kind: CredentialKind,
        /// Unix milliseconds.
        expires_at_ms: u64,
    },
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) admin: bool,
    pub(crate) credential: Credential,
}

impl Identity {
    /// When the credential it was shown by ends; none: never.
    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        match self.credential {
            Credential::LocalAdmin => None,
            Credential::Stored { expires_at_ms, .. } => Some(expires_at_ms),
        }
    }
}

/// What became of catching up with the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// The local tables have everything that was committed before.
    Yes,
    /// It was tried too often of late.
    Limited,
    /// No majority answered in time.
    No,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    /// Nothing was shown.
    #[error("a credential is needed: log in, or send a bearer token")]
    Missing,
    /// Not a credential of this cluster, or it was revoked.
    #[error("the credential is not known here; log in again, or ask for a new token")]
    Unknown,
    /// Its time is over.
    #[error("the credential has expired; log in again, or ask for a new token")]
    Expired,
    /// It cannot be told at the moment.
    #[error("credentials cannot be checked at the moment; try again")]
    Unavailable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BackendError),
}

/// Checks credentials.
pub(crate) struct Auth {
    local_admin: Option<SecretHash>,
    catch_ups: Limiter<()>,
}

impl Auth {
    pub(crate) fn new(local_admin: Option<SecretHash>) -> Self {
        Self {
            local_admin,
            catch_ups: Limiter::new(CATCH_UPS_PER_MINUTE),
        }
    }

    /// Whose secret it is.
    pub(crate) async fn identify(
        &self,
        backend: &dyn Backend,
        clock: &dyn Clock,
        secret: &str,
    ) -> Result<Identity, AuthError> {
        if secret.is_empty() || secret.len() > MAX_SECRET_BYTES {
            return Err(AuthError::Unknown);
        }
        let hash = secret_hash(secret);
        if self
            .local_admin
            .as_ref()
            .is_some_and(|local| bool::from(local.ct_eq(&hash)))
        {
            let row = backend.user(LOCAL_ADMIN)?;
            let name = row.map_or_else(|| "admin".to_owned(), |row| row.name);
            return Ok(Identity {
                user: LOCAL_ADMIN,
                name,
                admin: true,
                credential: Credential::LocalAdmin,
            });
        }
        match look_up(backend, clock, hash) {
            Err(AuthError::Unknown) => {}
            known => return known,
        }
        match self.catch_up(backend).await {
            CaughtUp::Yes => look_up(backend, clock, hash),
            CaughtUp::Limited => Err(AuthError::Unknown),
            CaughtUp::No => Err(AuthError::Unavailable),
        }
    }

    /// Catches up with the cluster, before something that this node does not know is refused.
    pub(crate) async fn catch_up(&self, backend: &dyn Backend) -> CaughtUp {
        if self.catch_ups.take((), Instant::now()).is_err() {
            return CaughtUp::Limited;
        }
        if Box::pin(backend.catch_up(CATCH_UP_DEADLINE)).await {
            CaughtUp::Yes
        } else {
            CaughtUp::No
        }
    }
}

/// Whether a credential that was good still is; for sockets that stay open.
pub(crate) fn recheck(
    backend: &dyn Backend,
    clock: &dyn Clock,
    credential: &Credential,
) -> Result<(), AuthError> {
    match credential {
        Credential::LocalAdmin => Ok(()),
        Credential::Stored { secret, .. } => look_up(backend, clock, *secret).map(|_| ()),
    }
}

fn look_up(backend: &dyn Backend, clock: &dyn Clock, secret: SecretHash) -> Result<Identity, AuthError> {
    let row = backend.credential(&secret)?.ok_or(AuthError::Unknown)?;
    if row.expires_at_ms <= clock.now_ms() {
        return Err(AuthError::Expired);
    }
    let user = backend.user(row.user)?.ok_or(AuthError::Unknown)?;
    let credential = Credential::Stored {
        secret,
        kind: row.kind,
        expires_at_ms: row.expires_at_ms,
    };
    Ok(Identity {
        user: row.user,
        name: user.name,
        admin: user.admin,
        credential,
    })
}
