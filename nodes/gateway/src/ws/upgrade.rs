//! From an HTTP request to a chat socket.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use jarvis_types::chat::SUBPROTOCOL;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{Instrument, debug, info_span};

use super::socket::{self, SocketStart};
use crate::accept::ConnectionGuard;
use crate::auth::{AuthError, Identity, cookie};
use crate::http::extract::{PeerAddress, ReqId, bearer, require_login};
use crate::http::problem::Problem;
use crate::members::same_origin;
use crate::metrics;
use crate::shared::{Shared, rate_key};

/// How long the switch of protocols may take after it was answered.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);

/// `GET /ws`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
) -> Result<Response, Problem> {
    let accept = accept_key(request.headers())?;
    let protocol = choose_protocol(request.headers())?;
    if shared.is_draining() {
        return Err(Problem::unavailable(
            "this node is going away; connect to another",
            1_000,
        ));
    }
    limit_sockets(&shared, &request)?;
    let identity = identify(&shared, request.headers()).await?;
    let extensions = request.extensions_mut();
    let on_upgrade = extensions.remove::<OnUpgrade>();
    let on_upgrade =
        on_upgrade.ok_or_else(|| Problem::bad_request("this connection cannot become a WebSocket"))?;
    let start = SocketStart {
        identity,
        request: extensions.get::<ReqId>().map(|id| id.0.clone()),
        connection: extensions.get::<Arc<ConnectionGuard>>().cloned(),
    };
    let span = info_span!(
        "socket",
        request_id = start.request.as_ref().map(|id| id.as_str())
    );
    let tasks = shared.tasks.clone();
    let run = async move {
        match tokio::time::timeout(UPGRADE_DEADLINE, on_upgrade).await {
            Ok(Ok(upgraded)) => Box::pin(socket::run(shared, upgraded, start)).await,
            Ok(Err(error)) => debug!(%error, "the connection did not become a socket"),
            Err(_) => debug!("the connection did not become a socket in time"),
        }
    };
    tasks.spawn_until_cancelled(run.instrument(span));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Checks that it is a WebSocket's opening (RFC 6455, 4.2.1).
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let has_token = |name, token: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if !has_token(header::CONNECTION, "upgrade") || !has_token(header::UPGRADE, "websocket") {
        let detail = "this path speaks WebSocket, subprotocol jarvis.v1; see docs for the frames";
        return Err(Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            detail,
        ));
    }
    if !has_token(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Problem::bad_request(
            "only version 13 of WebSocket is spoken here",
        ));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Problem::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::from_str(&accept).map_err(|_| Problem::bad_request("Sec-WebSocket-Key is malformed"))
}

/// Clients may offer no subprotocol; those that offer some must offer ours.
fn choose_protocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let values = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    if values
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == SUBPROTOCOL)
    {
        return Ok(Some(HeaderValue::from_static(SUBPROTOCOL)));
    }
    Err(Problem::bad_request(format!(
        "the subprotocol spoken here is {SUBPROTOCOL}"
    )))
}

fn limit_sockets(shared: &Shared, request: &Request) -> Result<(), Problem> {
    let Some(PeerAddress(address)) = request.extensions().get::<PeerAddress>() else {
        return Err(Problem::internal("a connection without an address"));
    };
    shared
        .socket_limit
        .take(rate_key(*address), Instant::now())
        .map_err(|wait| {
            metrics::rate_limit_hit("sockets_per_minute");
            Problem::rate_limited(
                "too many new sockets from this address; wait before the next",
                wait,
            )
        })
}

/// Who opens it, where header or cookie say so; else `hello` must. A bad header is refused here. A cookie counts only
/// for this node's own page: a member's page brings a token in `hello`, any other page with a cookie is refused.
async fn identify(shared: &Shared, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
    if let Some(secret) = bearer(headers)? {
        return Ok(Some(shared.identify(secret).await?));
    }
    let Some(secret) = cookie::read(headers) else {
        return Ok(None);
    };
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Err(Problem::forbidden(
            "a socket by cookie needs an Origin; or use a bearer token",
        ));
    };
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let (origin, host) = (
        text(origin),
        headers.get(header::HOST).map(text).unwrap_or_default(),
    );
    if same_origin(&origin, &host) {
        return match shared.identify(secret).await {
            Ok(identity) => Ok(require_login(&identity).is_ok().then_some(identity)),
            // A stale cookie is no reason to refuse a token that `hello` may bring.
            Err(AuthError::Missing | AuthError::Unknown | AuthError::Expired | AuthError::Unavailable) => {
                Ok(None)
            }
            Err(error @ AuthError::Store(_)) => Err(error.into()),
        };
    }
    if shared.members().has_origin(&origin) {
        return Ok(None);
    }
    Err(Problem::forbidden(
        "sockets by cookie must come from this cluster's own page",
    ))
}
