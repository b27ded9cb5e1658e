//! Faults that drills put into nodes; the node itself does it, through [`crate::Admin`].

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::extract::{AdminCaller, JsonBody, QueryOf};
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
