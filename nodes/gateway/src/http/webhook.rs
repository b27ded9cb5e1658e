//! Webhooks, under Home Assistant's own path, so that what was told to call it there may call it here.
//!
//! There is no credential: the id is the secret. Whoever does not know one learns nothing by trying, since every id is answered
//! alike; and nothing is written down for an id that no automation listens to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jarvis_automation::wire::Told;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::automations::of;
use super::extract::{PathOf, PeerAddress, ReqId};
use super::problem::{Problem, RETRY_AFTER_MS};
use crate::auth::CaughtUp;
use crate::shared::{Shared, rate_key};

/// Largest body, in bytes.
pub(crate) const MAX_WEBHOOK_BYTES: usize = 64 * 1_024;
/// Longest id that is looked for, in bytes.
const MAX_ID_BYTES: usize = 255;
/// Most fields of a form or a query.
const MAX_FIELDS: usize = 200;

/// `GET`, `HEAD`, `POST`, `PUT /api/webhook/{id}`.
pub(crate) async fn webhook(
    State(shared): State<Arc<Shared>>,
    ReqId(id_of_request): ReqId,
    Extension(PeerAddress(address)): Extension<PeerAddress>,
    PathOf(id): PathOf<String>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = &shared.webhook_limit;
    limit
        .take(rate_key(address), Instant::now())
        .map_err(|wait| Problem::rate_limited("too many webhook requests a minute", wait))?;
    let method = request.method().as_str().to_owned();
    let query = fields(request.uri().query().unwrap_or_default().as_bytes())?;
    let local = is_local(address, request.headers());
    let content = essence(request.headers());
    let body = body(&shared, request).await?;
    let (json, data) = match content.as_str() {
        _ if body.is_empty() => (None, Map::new()),
        json if json == "application/json" || json.ends_with("+json") => {
            let value: Value = serde_json::from_slice(&body)
                .map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
            (Some(value), Map::new())
        }
        "application/x-www-form-urlencoded" => (None, fields(&body)?),
        _ => (None, Map::new()),
    };
    if is_known(&shared, &id).await? {
        let told = Told::Webhook {
            id,
            method,
            local,
            json,
            data,
            query,
        };
        let deadline = shared.settings.propose_deadline;
        of(&shared)?.tell(told, Some(id_of_request), deadline).await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Whether anybody listens. One loaded elsewhere a moment ago is found after catching up, which also takes about as long as what
/// is done for an id that is known.
async fn is_known(shared: &Shared, id: &str) -> Result<bool, Problem> {
    let Some(automations) = &shared.deps.automations else {
        return Ok(false);
    };
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Ok(false);
    }
    if automations.knows_webhook(id)? {
        return Ok(true);
    }
    match shared.auth.catch_up(shared.backend()).await {
        CaughtUp::Yes => Ok(automations.knows_webhook(id)?),
        CaughtUp::Limited => Ok(false),
        CaughtUp::No => Err(Problem::unavailable(
            "the cluster cannot commit at the moment; try again",
            RETRY_AFTER_MS,
        )),
    }
}

async fn body(shared: &Arc<Shared>, request: Request) -> Result<Bytes, Problem> {
    let read = Bytes::from_request(request, shared);
    match tokio::time::timeout(shared.settings.body_read_timeout, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_long",
            format!("the body exceeds {MAX_WEBHOOK_BYTES} bytes"),
        )),
        Ok(Err(rejection)) => Err(Problem::bad_request(rejection.body_text())),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the body did not come in time",
        )),
    }
}

/// The type of the body, without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The fields of a query or a form; of several of a name the first, as Home Assistant's templates see them.
fn fields(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let mut found = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(text) {
        found
            .entry(name.into_owned())
            .or_insert_with(|| value.into_owned());
        if found.len() > MAX_FIELDS {
            return Err(Problem::bad_request(format!("more than {MAX_FIELDS} fields")));
        }
    }
    Ok(found
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect())
}

/// From this machine or a private network, and not through somebody who asks for others.
fn is_local(address: IpAddr, headers: &HeaderMap) -> bool {
    let near = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    near && !headers.contains_key(header::FORWARDED) && !headers.contains_key("x-forwarded-for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_or_through_a_proxy_is_not_local() {
        let none = HeaderMap::new();
        for (address, local) in [
            ("127.0.0.1", true),
            ("192.168.1.4", true),
            ("10.9.8.7", true),
            ("::ffff:172.16.0.1", true),
            ("169.254.3.4", true),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("203.0.113.5", false),
            ("2001:db8::1", false),
            ("::ffff:8.8.8.8", false),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(is_local(address, &none), local, "{address}");
        }
        for name in ["forwarded", "x-forwarded-for"] {
            let mut headers = HeaderMap::new();
            headers.insert(name, header::HeaderValue::from_static("for=203.0.113.5"));
            assert!(!is_local(IpAddr::from([127, 0, 0, 1]), &headers), "{name}");
        }
    }

    #[test]
    fn the_first_field_of_a_name_counts_and_their_number_is_bounded() {
        let found = fields(b"a=1&b=x%20y&a=2&c").expect("few");
        let expected = serde_json::json!({ "a": "1", "b": "x y", "c": "" });
        assert_eq!(Value::Object(found), expected);
        let many: String = (0..=MAX_FIELDS).map(|n| format!("f{n}=1&")).collect();
        assert!(fields(many.as_bytes()).is_err());
    }
}
