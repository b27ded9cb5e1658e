//! What handlers take from a request: who calls, its id, its body. Each refuses with a [`Problem`].

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use jarvis_types::RequestId;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::auth::{AuthError, Credential, Identity, cookie};
use crate::members::same_origin;
use crate::shared::Shared;

/// The address a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

/// The header by which a client other than a browser shows that it is none, where it uses the cookie.
const CSRF_HEADER: &str = "x-jarvis-csrf";

/// Largest body of a request, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Who calls, by bearer token or login cookie.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Identity);

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        if let Some(secret) = bearer(&parts.headers)? {
            return Ok(Self(shared.identify(secret).await?));
        }
        let secret = cookie::read(&parts.headers).ok_or(AuthError::Missing)?;
        if changes_state(&parts.method) {
            check_not_forged(&parts.headers)?;
        }
        let identity = shared.identify(secret).await?;
        require_login(&identity)?;
        Ok(Self(identity))
    }
}

/// Who calls, where it must be an administrator.
#[derive(Debug, Clone)]
pub(crate) struct AdminCaller;

impl FromRequestParts<Arc<Shared>> for AdminCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let Caller(identity) = Caller::from_request_parts(parts, shared).await?;
        if identity.admin {
            Ok(Self)
        } else {
            Err(Problem::forbidden("only an administrator may do this"))
        }
    }
}

/// The secret of `Authorization: Bearer`; none without such a header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let secret = value.to_str().ok().and_then(|text| text.split_once(' '));
    match secret {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(secret.trim())),
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "expected `Authorization: Bearer <token>`",
        )),
    }
}

/// A cookie carries log-ins only: a bearer token in it was put there by someone else.
pub(crate) fn require_login(identity: &Identity) -> Result<(), Problem> {
    match identity.credential {
        Credential::Stored {
            kind: jarvis_machine::rows::CredentialKind::Login,
            ..
        } => Ok(()),
        Credential::Stored { .. } | Credential::LocalAdmin => Err(AuthError::Unknown.into()),
    }
}

fn changes_state(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses what another site's page had the browser send.
pub(crate) fn check_not_forged(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(origin) = headers.get(header::ORIGIN) {
        let host = text("host").unwrap_or_default();
        return match origin.to_str() {
            Ok(origin) if same_origin(origin, host) => Ok(()),
            _ => Err(Problem::forbidden(
                "requests by cookie must come from this node's own page",
            )),
        };
    }
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(Problem::forbidden(
            "requests by cookie must come from this node's own page",
        )),
        None if headers.contains_key(CSRF_HEADER) => Ok(()),
        None => Err(Problem::forbidden(
            "requests by cookie need an Origin or the header X-Jarvis-CSRF; or use a token",
        )),
    }
}

/// The id of the request.
#[derive(Debug, Clone)]
pub(crate) struct ReqId(pub(crate) RequestId);

impl<S: Send + Sync> FromRequestParts<S> for ReqId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::internal("a request without an id"))
    }
}

/// The path's parameters. Handlers take it after [`Caller`]: without a credential nobody is told what is wrong with a path.
#[derive(Debug)]
pub(crate) struct PathOf<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status().is_server_error() => {
                Err(Problem::internal(rejection.body_text()))
            }
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// The query string. Handlers take it after [`Caller`].
#[derive(Debug)]
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query
            .map(|Query(value)| Self(value))
            .map_err(|e| Problem::bad_request(e.body_text()))
    }
}

/// A JSON body; an absent one reads as `{}`.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequest<Arc<Shared>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
            let essence = value
                .to_str()
                .unwrap_or_default()
                .split(';')
                .next()
                .unwrap_or_default()
                .trim();
            essence.eq_ignore_ascii_case("application/json")
        });
        let read = Bytes::from_request(request, shared);
        let bytes = match tokio::time::timeout(shared.settings.body_read_timeout, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = "the body has more bytes than this path takes";
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail));
            }
            Ok(Err(rejection)) => return Err(Problem::bad_request(rejection.body_text())),
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "timeout",
                    "the body did not come in time",
                ));
            }
        };
        if bytes.is_empty() {
            let value = serde_json::from_str("{}");
            return value
                .map(Self)
                .map_err(|e| Problem::bad_request(format!("a JSON body is needed: {e}")));
        }
        if !is_json {
            let detail = "send the body as Content-Type: application/json";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bad_request",
                detail,
            ));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|e| Problem::bad_request(format!("the body: {e}")))
    }
}
