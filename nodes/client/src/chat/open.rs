//! Opening sockets: one at an address, or one at whichever address answers first.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use jarvis_types::chat::SUBPROTOCOL;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::ChatError;

/// How long a socket may take to come about. A killed node refuses at once; this is for one that is cut off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A search asks the next address when the one before has been silent for this long.
const NEXT_AFTER: Duration = Duration::from_millis(150);
/// Pause of a search when no address answered.
const SEARCH_AGAIN: Duration = Duration::from_millis(500);
/// Largest frame taken from a server, in bytes: the longest reply, escaped.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// What a socket runs over: TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open socket that nothing was said on.
pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Why none was opened.
pub(super) enum NotOpen {
    /// Another address, or another time.
    Again { why: String, after: Option<Duration> },
    /// Nothing will do.
    Fatal(ChatError),
}

/// Opens a socket at an address.
pub(super) async fn open(endpoint: &str, token: Option<&str>) -> Result<Socket, NotOpen> {
    let bad = || NotOpen::Fatal(ChatError::BadEndpoint(endpoint.to_owned()));
    let url = Url::parse(endpoint).map_err(|_| bad())?;
    let (host, port) = (
        url.host_str().ok_or_else(bad)?,
        url.port_or_known_default().unwrap_or(80),
    );
    let mut request = endpoint.into_client_request().map_err(|_| bad())?;
    request.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    if let Some(token) = token {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            let message = "the token has characters that no token has".to_owned();
            NotOpen::Fatal(ChatError::Refused {
                code: "unauthorized".to_owned(),
                message,
            })
        })?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let host = host.trim_matches(['[', ']']).to_owned();
    let opening = async {
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(SocketError::Io)?;
        stream.set_nodelay(true).map_err(SocketError::Io)?;
        let stream: Box<dyn Stream> = match url.scheme() {
            "wss" => Box::new(secured(&host, stream).await.map_err(SocketError::Io)?),
            _ => Box::new(stream),
        };
        client_async_with_config(request, stream, Some(config())).await
    };
    match timeout(CONNECT_TIMEOUT, opening).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(refused(endpoint, &error)),
        Err(_) => Err(NotOpen::Again {
            why: format!("{endpoint} does not answer"),
            after: None,
        }),
    }
}

/// Seeks an address that answers, until it is dropped: all of them, each a little after the one before, again and again.
pub(super) async fn search(endpoints: Vec<String>, token: Option<String>) -> (String, Socket) {
    loop {
        let attempts: FuturesUnordered<_> = endpoints
            .iter()
            .zip(0..)
            .map(|(endpoint, before)| {
                let token = token.as_deref();
                async move {
                    sleep(NEXT_AFTER * before).await;
                    let socket = open(endpoint, token).await.ok()?;
                    Some((endpoint.clone(), socket))
                }
            })
            .collect();
        let mut found = attempts.filter_map(std::future::ready);
        if let Some(found) = found.next().await {
            return found;
        }
        sleep(SEARCH_AGAIN).await;
    }
}

async fn secured(
    host: &str,
    stream: TcpStream,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(Arc::new(crate::http::tls(true)))
        .connect(name, stream)
        .await
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES))
}

/// What a handshake that failed means: no credential will do better elsewhere, all else may.
fn refused(endpoint: &str, error: &SocketError) -> NotOpen {
    let SocketError::Http(response) = error else {
        let why = match error {
            SocketError::Io(io) => io.to_string(),
            other => other.to_string(),
        };
        return NotOpen::Again {
            why: format!("{endpoint}: {why}"),
            after: None,
        };
    };
    let status = response.status().as_u16();
    let message = response
        .body()
        .as_ref()
        .and_then(|body| serde_json::from_slice::<Value>(body).ok())
        .and_then(|body| body.get("detail").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| response.status().to_string());
    if matches!(status, 400 | 401 | 403 | 404) {
        return NotOpen::Fatal(ChatError::Refused {
            code: format!("http {status}"),
            message,
        });
    }
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    NotOpen::Again {
        why: format!("{endpoint}: {message}"),
        after: seconds.map(Duration::from_secs),
    }
}
