//! Credentials of users: shown by id, their secret once.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jarvis_machine::command::{Command, SecretHash};
use jarvis_machine::rows::CredentialKind;
use jarvis_types::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::{Caller, JsonBody, PathOf, QueryOf, ReqId};
use super::login::{Credentials, propose_and_see};
use super::problem::Problem;
use crate::auth::Identity;
use crate::backend::Backend;
use crate::shared::Shared;

/// How long a token lasts unless told otherwise, in seconds: 90 days.
const DEFAULT_TTL_S: u64 = 90 * 24 * 3_600;

/// How long a token may last, in seconds: ten years.
const MAX_TTL_S: u64 = 10 * 365 * 24 * 3_600;

/// How long a page's token may last, in seconds.
const MAX_PAGE_TTL_S: u64 = 12 * 3_600;

/// Longest label, in characters.
const MAX_LABEL_CHARS: usize = 100;

/// How many bytes of the hash name a credential.
const ID_BYTES: usize = 8;

/// A credential's id: the first 16 hexadecimal digits of its hash.
pub(crate) fn credential_id(secret: &SecretHash) -> String {
    secret[..ID_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What a credential is, for people.
pub(crate) fn kind_name(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Login => "login",
        CredentialKind::Bearer => "bearer",
    }
}

/// Whose tokens; an administrator may name another user.
#[derive(Debug, Deserialize)]
pub(crate) struct OfUser {
    user: Option<String>,
}

/// `GET /api/v1/tokens`.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Caller(me): Caller,
    QueryOf(of): QueryOf<OfUser>,
) -> Result<Json<Value>, Problem> {
    let user = whose(&shared, &me, of.user.as_deref())?;
    let now_ms = shared.deps.clock.now_ms();
    let tokens = shared
        .backend()
        .credentials(user)?
        .into_iter()
        .map(|(secret, row)| {
            json!({
                "id": credential_id(&secret),
                "kind": kind_name(row.kind),
                "label": row.label,
                "created_at_ms": row.created_at_ms,
                "expires_at_ms": row.expires_at_ms,
                "expired": row.expires_at_ms <= now_ms,
            })
        });
    Ok(Json(json!({ "tokens": tokens.collect::<Vec<_>>() })))
}

/// A token to be made.
#[derive(Debug, Deserialize)]
pub(crate) struct NewToken {
    #[serde(default)]
    label: String,
    ttl_s: Option<u64>,
    user: Option<String>,
    /// For the web page, which shows it to other nodes' sockets: short-lived, and ended by a change of password.
    #[serde(default)]
    page: bool,
}

/// `POST /api/v1/tokens`. No token outlives the credential that it is made with.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<Response, Problem> {
    let user = whose(&shared, &me, new.user.as_deref())?;
    if new.label.chars().count() > MAX_LABEL_CHARS {
        return Err(Problem::bad_request(format!(
            "a label has at most {MAX_LABEL_CHARS} characters"
        )));
    }
    let max_ttl_s = if new.page { MAX_PAGE_TTL_S } else { MAX_TTL_S };
    let ttl_s = new.ttl_s.unwrap_or(DEFAULT_TTL_S.min(max_ttl_s));
    if ttl_s == 0 || ttl_s > max_ttl_s {
        return Err(Problem::bad_request(format!("ttl_s is 1 to {max_ttl_s}")));
    }
    let kind = if new.page {
        CredentialKind::Login
    } else {
        CredentialKind::Bearer
    };
    let made = Credentials {
        prefix: "jat",
        kind,
        label: new.label.clone(),
        ttl: Duration::from_secs(ttl_s),
        not_after_ms: me.expires_at_ms(),
    };
    let (token, secret, expires_at_ms) = Box::pin(made.create(&shared, user, request)).await?;
    let body = json!({
        "id": credential_id(&secret),
        "token": token,
        "kind": kind_name(kind),
        "label": new.label,
        "expires_at_ms": expires_at_ms,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `DELETE /api/v1/tokens/{id}`.
pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    Caller(me): Caller,
    PathOf(id): PathOf<String>,
    QueryOf(of): QueryOf<OfUser>,
) -> Result<StatusCode, Problem> {
    let user = whose(&shared, &me, of.user.as_deref())?;
    let found = shared
        .backend()
        .credentials(user)?
        .into_iter()
        .find(|(secret, _)| credential_id(secret) == id);
    let (secret, _) = found.ok_or_else(|| Problem::not_found("there is no token of this id"))?;
    let gone = |backend: &dyn Backend| backend.credential(&secret).is_ok_and(|row| row.is_none());
    Box::pin(propose_and_see(
        &shared,
        Command::RevokeCredential { secret },
        request,
        gone,
    ))
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn whose(shared: &Shared, me: &Identity, named: Option<&str>) -> Result<UserId, Problem> {
    match named {
        Some(name) if name != me.name => {
            if !me.admin {
                return Err(Problem::forbidden(
                    "only an administrator may manage others' tokens",
                ));
            }
            let found = shared.backend().user_by_name(name)?;
            found
                .map(|(user, _)| user)
                .ok_or_else(|| Problem::not_found("there is no user of this name"))
        }
        _ => Ok(me.user),
    }
}
