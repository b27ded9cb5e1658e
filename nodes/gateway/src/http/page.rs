//! The web page, embedded in the binary: served without a credential, it asks for one itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::shared::Shared;

const INDEX: &str = include_str!("../../page/index.html");
const SCRIPT: &str = include_str!("../../page/app.js");
const AUTOMATIONS: &str = include_str!("../../page/automations.js");
const STYLE: &str = include_str!("../../page/style.css");
const ICON: &str = include_str!("../../page/favicon.svg");

/// `GET /`.
pub(crate) async fn index(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let mut response = file(&headers, "text/html; charset=utf-8", INDEX);
    let policy = policy(&shared.members().connect_sources(), &headers);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `GET /app.js`.
pub(crate) async fn script(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", SCRIPT)
}

/// `GET /automations.js`.
pub(crate) async fn automations(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", AUTOMATIONS)
}

/// `GET /style.css`.
pub(crate) async fn style(headers: HeaderMap) -> Response {
    file(&headers, "text/css; charset=utf-8", STYLE)
}

/// `GET /favicon.svg`.
pub(crate) async fn icon(headers: HeaderMap) -> Response {
    file(&headers, "image/svg+xml", ICON)
}

fn file(request: &HeaderMap, content_type: &'static str, body: &'static str) -> Response {
    let etag = etag(body);
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|value| {
        value
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == etag)
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (StatusCode::OK, body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Asked for anew each time: a node that was updated must not be spoken to by an old page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn etag(body: &str) -> String {
    let hash = Sha256::digest(body.as_bytes());
    let hex: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// What the page may do: run its own script, and speak to the members' gateways.
fn policy(members: &[String], headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|h| {
        h.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
    });
    // Some browsers do not count a socket to the same host as 'self'.
    let own = host
        .map(|host| format!(" ws://{host} wss://{host}"))
        .unwrap_or_default();
    let members: String = members.iter().map(|source| format!(" {source}")).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{own}\
         {members}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_host_header_does_not_widen_the_policy() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("evil; script-src *"));
        let policy = policy(&["http://10.0.0.1:8007".to_owned()], &headers);
        assert!(
            !policy.contains("evil") && policy.contains("connect-src 'self' http://10.0.0.1:8007;"),
            "{policy}"
        );
    }
}
