//! `GET /tether`: where the other nodes' tethers come in, for whoever keeps them. No path for people.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::extract::bearer;
use super::problem::Problem;
use crate::shared::Shared;

/// What the connection becomes.
const PROTOCOL: &str = "jarvis-tether";

/// How long the switch of protocols may take after it was answered.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);

/// `GET /tether`. The connection stops counting among people's as soon as it has been handed over.
pub(crate) async fn take(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
) -> Result<Response, Problem> {
    let Some(keeper) = &shared.deps.tethers else {
        return Err(Problem::not_found("this node takes no tethers"));
    };
    let asked = request.headers().get(header::UPGRADE);
    if !asked.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
        return Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            "this path is for the nodes of the cluster",
        ));
    }
    let keep = match bearer(request.headers())? {
        Some(secret) => keeper.claim(secret),
        None => None,
    };
    let keep = keep.ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a tether needs the secret that was told over the mesh; it is good once",
        )
    })?;
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade =
        on_upgrade.ok_or_else(|| Problem::bad_request("this connection cannot become a tether"))?;
    shared.tasks.spawn_until_cancelled(async move {
        match tokio::time::timeout(UPGRADE_DEADLINE, on_upgrade).await {
            Ok(Ok(upgraded)) => keep(Box::new(TokioIo::new(upgraded))),
            Ok(Err(error)) => debug!(%error, "the connection did not become a tether"),
            Err(_) => debug!("the connection did not become a tether in time"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}
