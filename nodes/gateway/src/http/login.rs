//! Logging in and out, and who one is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jarvis_host::random_token;
use jarvis_machine::command::{Command, SecretHash};
use jarvis_machine::reply::Reply;
use jarvis_machine::rows::{CredentialKind, UserRow};
use jarvis_types::limits::MAX_NAME_CHARS;
use jarvis_types::{RequestId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::extract::{Caller, JsonBody, PeerAddress, ReqId, check_not_forged};
use super::problem::Problem;
use super::tokens::{credential_id, kind_name};
use crate::auth::{AuthError, CaughtUp, Credential, Identity, cookie, secret_hash};
use crate::backend::Backend;
use crate::metrics;
use crate::shared::{Shared, rate_key};

/// How long this node may lag behind the cluster with a change it has just made.
const APPLY_DEADLINE: Duration = Duration::from_secs(2);

/// Name and password, or a bearer token.
#[derive(Deserialize)]
pub(crate) struct LoginBody {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// `POST /api/v1/login`: a cookie for a password or a token.
pub(crate) async fn login(
    State(shared): State<Arc<Shared>>,
    Extension(PeerAddress(address)): Extension<PeerAddress>,
    headers: HeaderMap,
    ReqId(request): ReqId,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Response, Problem> {
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        check_not_forged(&headers)?;
    }
    let identity = match (body.token, body.user, body.password) {
        (Some(token), None, None) => shared.identify(token.trim()).await?,
        (None, Some(user), Some(password)) => {
            if user.len() > MAX_NAME_CHARS {
                // No user is called so, and no limiter has to remember it.
                return Err(wrong_login());
            }
            let key = (rate_key(address), user.clone());
            limit_logins(&shared, &key)?;
            let identity = Box::pin(by_password(&shared, &user, password)).await?;
            shared.login_limit.give_back(&key);
            shared.login_address_limit.give_back(&key.0);
            identity
        }
        _ => {
            return Err(Problem::bad_request(
                "send either `user` and `password`, or `token`",
            ));
        }
    };
    let made = Credentials {
        prefix: "jcs",
        kind: CredentialKind::Login,
        label: "login".to_owned(),
        ttl: shared.settings.login_ttl,
        not_after_ms: identity.expires_at_ms(),
    };
    let (secret, _, expires_at_ms) = Box::pin(made.create(&shared, identity.user, request)).await?;
    let ttl = Duration::from_millis(expires_at_ms.saturating_sub(shared.deps.clock.now_ms()));
    let body = json!({
        "user": identity.name,
        "user_id": identity.user,
        "admin": identity.admin,
        "expires_at_ms": expires_at_ms,
    });
    Ok(([(header::SET_COOKIE, cookie::set(&secret, ttl))], Json(body)).into_response())
}

/// Takes an attempt from the address, whatever names it tries, and from the address and user.
fn limit_logins(shared: &Shared, key: &(IpAddr, String)) -> Result<(), Problem> {
    let now = Instant::now();
    let taken = shared.login_address_limit.take(key.0, now).and_then(|()| {
        let taken = shared.login_limit.take(key.clone(), now);
        if taken.is_err() {
            shared.login_address_limit.give_back(&key.0);
        }
        taken
    });
    taken.map_err(|wait| {
        metrics::rate_limit_hit("logins_per_minute");
        Problem::rate_limited("too many log-ins were tried; wait before the next", wait)
    })
}

/// Whose name and password these are. A password set on another node a moment ago may not be here yet: before one is
/// called wrong, this node catches up with the cluster once.
async fn by_password(shared: &Shared, name: &str, password: String) -> Result<Identity, Problem> {
    let backend = shared.backend();
    let hash_of =
        |found: &Option<(UserId, UserRow)>| found.as_ref().and_then(|(_, row)| row.password.clone());
    let mut found = backend.user_by_name(name)?;
    let mut right = shared.passwords.verify(password.clone(), hash_of(&found)).await?;
    if !right {
        match shared.auth.catch_up(backend).await {
            CaughtUp::Yes => {
                let newer = backend.user_by_name(name)?;
                // The same hash would give the same answer, for the same work.
                if hash_of(&newer) != hash_of(&found) {
                    right = shared.passwords.verify(password, hash_of(&newer)).await?;
                    found = newer;
                }
            }
            CaughtUp::Limited => {}
            CaughtUp::No => return Err(AuthError::Unavailable.into()),
        }
    }
    match found {
        Some((user, row)) if right => Ok(Identity {
            user,
            name: row.name,
            admin: row.admin,
            credential: Credential::LocalAdmin,
        }),
        _ => Err(wrong_login()),
    }
}

fn wrong_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "user or password is wrong",
    )
}

/// `POST /api/v1/logout`: ends the credential that it is called with.
pub(crate) async fn logout(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
) -> Result<Response, Problem> {
    let Credential::Stored { secret, .. } = me.credential else {
        return Err(Problem::conflict(
            "the node's own admin credential cannot be logged out",
        ));
    };
    let gone = |backend: &dyn Backend| backend.credential(&secret).is_ok_and(|row| row.is_none());
    Box::pin(propose_and_see(
        &shared,
        Command::RevokeCredential { secret },
        request,
        gone,
    ))
    .await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::clear())]).into_response())
}

/// `GET /api/v1/me`.
pub(crate) async fn me(Caller(me): Caller) -> Json<Value> {
    let credential = match me.credential {
        Credential::LocalAdmin => json!({ "kind": "local_admin" }),
        Credential::Stored {
            secret,
            kind,
            expires_at_ms,
        } => json!({
            "kind": kind_name(kind),
            "id": credential_id(&secret),
            "expires_at_ms": expires_at_ms,
        }),
    };
    Json(json!({ "user": me.name, "user_id": me.user, "admin": me.admin, "credential": credential }))
}

/// A credential to be made.
pub(crate) struct Credentials {
    pub(crate) prefix: &'static str,
    pub(crate) kind: CredentialKind,
    pub(crate) label: String,
    pub(crate) ttl: Duration,
    /// When it ends at the latest: nothing that a credential makes outlives it. None: whenever `ttl` says.
    pub(crate) not_after_ms: Option<u64>,
}

impl Credentials {
    /// Makes it, and gives its secret, hash and end. Known on this node when this returns.
    pub(crate) async fn create(
        self,
        shared: &Shared,
        user: UserId,
        request: RequestId,
    ) -> Result<(String, SecretHash, u64), Problem> {
        let text = random_token(self.prefix, &*shared.deps.entropy);
        let secret = secret_hash(&text);
        let now_ms = shared.deps.clock.now_ms();
        let expires_at_ms = now_ms
            .saturating_add(self.ttl.as_millis() as u64)
            .min(self.not_after_ms.unwrap_or(u64::MAX));
        let command = Command::CreateCredential {
            secret,
            user,
            kind: self.kind,
            label: self.label,
            expires_at_ms,
        };
        let there = |backend: &dyn Backend| backend.credential(&secret).is_ok_and(|row| row.is_some());
        propose_and_see(shared, command, request, there).await?;
        Ok((text, secret, expires_at_ms))
    }
}

/// Has a command decided and waits until this node shows it, so that the next request here finds it.
pub(crate) async fn propose_and_see(
    shared: &Shared,
    command: Command,
    request: RequestId,
    seen: impl Fn(&dyn Backend) -> bool,
) -> Result<Reply, Problem> {
    let mut changes = shared.backend().changes();
    let reply = shared
        .backend()
        .propose(command, Some(request), shared.settings.propose_deadline)
        .await?;
    let applied = async {
        while !seen(shared.backend()) {
            if matches!(
                changes.recv().await,
                Err(tokio::sync::broadcast::error::RecvError::Closed)
            ) {
                return;
            }
        }
    };
    // It is decided either way; a node that lags only shows it later.
    let _ = tokio::time::timeout(APPLY_DEADLINE, applied).await;
    Ok(reply)
}
