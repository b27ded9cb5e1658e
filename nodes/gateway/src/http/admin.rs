//! What administrators do with nodes; the node itself does it, through [`crate::Admin`].

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jarvis_machine::rows::NodeRole;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::role_name;
use super::extract::{AdminCaller, JsonBody, PathOf, QueryOf, ReqId};
use super::problem::Problem;
use crate::shared::Shared;

/// How long an invitation lasts unless told otherwise, in seconds.
const DEFAULT_INVITE_TTL_S: u64 = 15 * 60;

/// How long an invitation may last, in seconds.
const MAX_INVITE_TTL_S: u64 = 7 * 24 * 3_600;

/// How long draining may take unless told otherwise, in seconds.
const DEFAULT_DRAIN_TIMEOUT_S: u64 = 30;

/// How long draining may take, in seconds.
const MAX_DRAIN_TIMEOUT_S: u64 = 600;

/// An invitation to be made.
#[derive(Debug, Deserialize)]
pub(crate) struct NewInvite {
    role: Option<String>,
    ttl_s: Option<u64>,
}

/// `POST /api/v1/invites`.
pub(crate) async fn invite(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    JsonBody(new): JsonBody<NewInvite>,
) -> Result<Response, Problem> {
    let role = match new.role.as_deref() {
        None | Some("voter") => NodeRole::Voter,
        Some("worker") => NodeRole::Worker,
        Some("witness") => NodeRole::Witness,
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            return Err(Problem::bad_request(format!(
                "role {shown:?} is none of voter, worker, witness"
            )));
        }
    };
    let ttl_s = new.ttl_s.unwrap_or(DEFAULT_INVITE_TTL_S);
    if ttl_s == 0 || ttl_s > MAX_INVITE_TTL_S {
        return Err(Problem::bad_request(format!("ttl_s is 1 to {MAX_INVITE_TTL_S}")));
    }
    let invite = shared
        .deps
        .admin
        .invite(role, Duration::from_secs(ttl_s), Some(request))
        .await?;
    let body = json!({
        "token": invite.token,
        "command": format!("jarvis join {}", invite.token),
        "role": role_name(role),
        "expires_at_ms": invite.expires_at_ms,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// How long draining may take.
#[derive(Debug, Deserialize)]
pub(crate) struct DrainQuery {
    timeout_s: Option<u64>,
}

/// `POST /api/v1/nodes/{name}/drain`.
pub(crate) async fn drain(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<DrainQuery>,
) -> Result<Json<Value>, Problem> {
    let timeout_s = query
        .timeout_s
        .unwrap_or(DEFAULT_DRAIN_TIMEOUT_S)
        .min(MAX_DRAIN_TIMEOUT_S);
    let done = shared
        .deps
        .admin
        .drain(&name, Duration::from_secs(timeout_s), Some(request))
        .await?;
    Ok(Json(done))
}

/// `POST /api/v1/nodes/{name}/undrain`.
pub(crate) async fn undrain(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(name): PathOf<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shared.deps.admin.undrain(&name, Some(request)).await?))
}

/// Whether a node goes although it was not drained: `?force`, `?force=true`.
#[derive(Debug, Deserialize)]
pub(crate) struct RemoveQuery {
    force: Option<String>,
}

/// `DELETE /api/v1/nodes/{name}`.
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<RemoveQuery>,
) -> Result<Json<Value>, Problem> {
    let force = match query.force.as_deref() {
        None | Some("false" | "0") => false,
        Some("" | "true" | "1") => true,
        Some(_) => return Err(Problem::bad_request("force is true or false")),
    };
    Ok(Json(shared.deps.admin.remove(&name, force, Some(request)).await?))
}

/// `GET /api/v1/why/{kind}/{key}`.
pub(crate) async fn why(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    PathOf((kind, key)): PathOf<(String, String)>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shared.deps.admin.why(&kind, &key).await?))
}
