//! What drills have nodes do: faults, and acts that a recorder outside sees; the node itself does it, through
//! [`crate::Admin`].

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::extract::{AdminCaller, JsonBody, PathOf, QueryOf, ReqId};
use super::problem::Problem;
use crate::shared::Shared;

/// Which node's faults.
#[derive(Debug, Deserialize)]
pub(crate) struct WhichNode {
    node: Option<String>,
}

/// Which faults.
#[derive(Debug, Deserialize)]
pub(crate) struct WhichFault {
    node: Option<String>,
    id: Option<u64>,
}

/// `GET /api/v1/drill/faults`.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    QueryOf(which): QueryOf<WhichNode>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shared.deps.admin.faults(which.node.as_deref()).await?))
}

/// `POST /api/v1/drill/faults`.
pub(crate) async fn set(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    JsonBody(order): JsonBody<Value>,
) -> Result<Response, Problem> {
    let set = shared.deps.admin.set_fault(order).await?;
    Ok((StatusCode::CREATED, Json(set)).into_response())
}

/// `DELETE /api/v1/drill/faults`.
pub(crate) async fn clear(
    State(shared): State<Arc<Shared>>,
    _: AdminCaller,
    QueryOf(which): QueryOf<WhichFault>,
) -> Result<Json<Value>, Problem> {
    let cleared = shared
        .deps
        .admin
        .clear_faults(which.node.as_deref(), which.id)
        .await?;
    Ok(Json(cleared))
}

/// `POST /api/v1/drill/beacon/{key}`.
pub(crate) async fn beacon(
    State(shared): State<Arc<Shared>>,
    ReqId(request): ReqId,
    _: AdminCaller,
    PathOf(key): PathOf<String>,
    JsonBody(order): JsonBody<Value>,
) -> Result<Json<Value>, Problem> {
    let acted = shared.deps.admin.beacon(&key, order, Some(request)).await?;
    Ok(Json(acted))
}
