//! What is done for every request: its id, its span, its time, the headers of every answer.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use jarvis_types::RequestId;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span};

use super::extract::ReqId;
use super::problem::Problem;
use crate::shared::Shared;

/// The header that carries a request's id.
const REQUEST_ID: &str = "x-request-id";

/// Runs around every route.
pub(crate) async fn around(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok());
    let id: RequestId = given.unwrap_or_else(|| shared.new_request_id());
    request.extensions_mut().insert(ReqId(id.clone()));
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_else(|| "unmatched".to_owned());
    let span = info_span!("http", request_id = %id, method = %request.method(), path = %path);
    let mut response = async {
        let response = next.run(request).await;
        debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span.clone())
    .await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        if problem.status.is_server_error() {
            let status = problem.status.as_u16();
            span.in_scope(|| {
                info!(
                    status,
                    code = problem.code,
                    detail = problem.detail,
                    "request failed"
                )
            });
        }
        let cookies: Vec<_> = response
            .headers()
            .get_all(header::SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        response = problem.render(id.as_str());
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    crate::metrics::response(&path, response.status().as_u16(), started.elapsed());
    add_headers(&mut response, &id);
    response
}

fn add_headers(response: &mut Response, id: &RequestId) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
