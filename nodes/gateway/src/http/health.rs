//! Alive, ready, measured.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::extract::Caller;
use crate::removal::{REJOIN_ADVICE, REMOVED};
use crate::shared::Shared;

/// `GET /healthz`: the process answers. A node that was removed still does: to start it again would not help.
pub(crate) async fn alive(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(match shared.backend().removed_by() {
        None => json!({ "status": "ok" }),
        Some(_) => json!({ "status": "removed", "reason": REMOVED, "do": REJOIN_ADVICE }),
    })
}

/// `GET /readyz`: whether requests should come here, and why not.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = shared.not_ready();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>, _: Caller) -> Response {
    shared.not_ready();
    let text = (shared.deps.metrics)();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
