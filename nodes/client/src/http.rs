//! The HTTP API, as any program outside would use it.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use url::Url;

/// How long one call may take unless said otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answered there.
    #[error("{url} does not answer: {why}")]
    Unreachable {
        /// Where it was tried.
        url: String,
        /// The innermost cause.
        why: String,
    },
    /// The server refused, in its own words.
    #[error("{detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's title.
        title: String,
        /// The problem's detail.
        detail: String,
        /// When trying again makes sense.
        retry_after_ms: Option<u64>,
        /// The whole document, for what it says besides.
        document: Box<Value>,
        /// The request's id in the server's logs.
        request_id: Option<String>,
    },
    /// What came back is not what this API gives.
    #[error("{url} answered with something else than Jarvis would: {why}")]
    Malformed {
        /// Where it was asked.
        url: String,
        /// What was wrong.
        why: String,
    },
    /// The address is none.
    #[error("{0:?} is not an address such as http://192.168.1.10:8007")]
    BadUrl(String),
}

impl ApiError {
    /// Whether another node might well answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, ApiError::Unreachable { .. })
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            ApiError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The HTTP API of one node.
#[derive(Debug, Clone)]
pub struct Api {
    base: Url,
    token: Option<String>,
    client: Client,
}

impl Api {
    /// The API at `base` (`http://host:port`), as who holds `token`.
    ///
    /// # Errors
    /// [`ApiError::BadUrl`].
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ApiError> {
        let bad = || ApiError::BadUrl(base.to_owned());
        let base = Url::parse(base).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(bad());
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls(base.scheme() == "https"))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // Nodes are in the house: a proxy set for the world outside does not know them.
            .no_proxy()
            .build()
            .map_err(|_| bad())?;
        Ok(Self { base, token, client })
    }

    /// Where it is, without a slash at the end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The address of the chat socket.
    pub fn socket_url(&self) -> String {
        let base = self.base();
        format!(
            "{}/ws",
            base.strip_prefix("http")
                .map_or_else(|| base.to_owned(), |rest| format!("ws{rest}"))
        )
    }

    /// The token in use.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Reads a path.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None, CALL_TIMEOUT).await
    }

    /// Sends a document to a path.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn post(&self, path: &str, body: Value) -> Result<Value, ApiError> {
        self.call(Method::POST, path, Some(body), CALL_TIMEOUT).await
    }

    /// Removes what stands at a path.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::DELETE, path, None, CALL_TIMEOUT).await
    }

    /// Any call, with a deadline of its own.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        timeout: Duration,
    ) -> Result<Value, ApiError> {
        let (status, text) = self.raw(method, path, body, timeout).await?;
        let url = || format!("{}{path}", self.base());
        if status.is_success() {
            if text.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(&text).map_err(|error| ApiError::Malformed {
                url: url(),
                why: error.to_string(),
            });
        }
        Err(refused(status, &text))
    }

    /// Status and text of a path, whatever they are.
    ///
    /// # Errors
    /// [`ApiError::Unreachable`].
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        timeout: Duration,
    ) -> Result<(StatusCode, String), ApiError> {
        let url = format!("{}{path}", self.base());
        let mut request = self.client.request(method, &url).timeout(timeout);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable = |error: reqwest::Error| ApiError::Unreachable {
            url: self.base().to_owned(),
            why: innermost(&error),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, response.text().await.map_err(unreachable)?))
    }
}

/// An error as its RFC 9457 document tells it; without one, as its status does.
fn refused(status: StatusCode, text: &str) -> ApiError {
    let document: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let field = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let title = field("title").unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned());
    ApiError::Refused {
        status: status.as_u16(),
        detail: field("detail").unwrap_or_else(|| title.clone()),
        title,
        retry_after_ms: document.get("retry_after_ms").and_then(Value::as_u64),
        request_id: field("request_id").or_else(|| field("instance")),
        document: Box::new(document),
    }
}

/// The cause at the bottom: `connection refused` rather than `error sending request`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// TLS with the machine's own certificates; they are only read where they are needed.
pub(crate) fn tls(wanted: bool) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    if wanted {
        let found = rustls_native_certs::load_native_certs();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "read the machine's certificates");
    }
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_give_the_socket() {
        let api = Api::new("http://127.0.0.1:8007/", None).expect("right");
        assert_eq!(
            (api.base(), api.socket_url().as_str()),
            ("http://127.0.0.1:8007", "ws://127.0.0.1:8007/ws")
        );
        let tls = Api::new("https://home.example", None).expect("right");
        assert_eq!(tls.socket_url(), "wss://home.example/ws");
        for bad in ["", "127.0.0.1:8007", "ftp://x", "http://"] {
            assert!(matches!(Api::new(bad, None), Err(ApiError::BadUrl(_))), "{bad}");
        }
    }

    #[test]
    fn problems_are_told_in_the_servers_words() {
        let text = r#"{"title":"Conflict","status":409,"detail":"the name is taken","retry_after_ms":5}"#;
        let error = refused(StatusCode::CONFLICT, text);
        assert_eq!(error.to_string(), "the name is taken");
        assert!(matches!(
            error,
            ApiError::Refused {
                status: 409,
                retry_after_ms: Some(5),
                ..
            }
        ));
        assert_eq!(
            refused(StatusCode::BAD_GATEWAY, "<html>").to_string(),
            "Bad Gateway"
        );
    }

    #[tokio::test]
    async fn nobody_there_is_told_as_such() {
        // A listener that is gone again leaves a port that nobody answers on.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let api = Api::new(&format!("http://127.0.0.1:{port}"), None).expect("right");
        let error = api.get("/healthz").await.expect_err("nobody is there");
        assert!(
            error.is_unreachable() && error.to_string().contains("refused"),
            "{error}"
        );
    }
}
