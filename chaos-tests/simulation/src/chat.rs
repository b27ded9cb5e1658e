//! A bare client of the chat socket and of HTTP over the simulated network: frames as they are promised to programs.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use turmoil::net::TcpStream;

use crate::machine::{ADMIN, PORT};

/// How long a connection, a handshake, or a welcome may take.
const OPEN_TIMEOUT: Duration = Duration::from_millis(2_500);

/// An open socket.
pub struct Chat(WebSocketStream<TcpStream>);

async fn connect(ip: IpAddr) -> Result<TcpStream> {
    let connecting = timeout(OPEN_TIMEOUT, TcpStream::connect((ip, PORT)));
    Ok(connecting.await.context("no connection")??)
}

impl Chat {
    /// Opens a socket and says hello: the socket and its `welcome`.
    ///
    /// # Errors
    /// Where the answer is something else, or none comes.
    pub async fn hello(ip: IpAddr, session: Option<&str>, after: Option<u64>) -> Result<(Self, Value)> {
        let mut request = format!("ws://{ip}:{PORT}/ws").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "jarvis.v1".parse()?);
        headers.insert("authorization", format!("Bearer {ADMIN}").parse()?);
        let stream = connect(ip).await?;
        let opening = timeout(OPEN_TIMEOUT, tokio_tungstenite::client_async(request, stream));
        let (socket, _) = opening.await.context("the socket did not open")??;
        let mut chat = Self(socket);
        let mut hello = json!({"type": "hello"});
        if let Some(session) = session {
            hello["session"] = session.into();
        }
        if let Some(after) = after {
            hello["after"] = after.into();
        }
        chat.send(&hello).await?;
        let welcome = timeout(OPEN_TIMEOUT, chat.next())
            .await
            .context("no welcome came")??;
        ensure!(welcome["type"] == "welcome", "expected welcome, got {welcome}");
        Ok((chat, welcome))
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        let sending = self.0.send(Message::text(frame.to_string()));
        Ok(timeout(OPEN_TIMEOUT, sending)
            .await
            .context("it does not read")??)
    }

    /// The next frame.
    ///
    /// # Errors
    /// Where the socket closes, or what comes is not a frame.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            match self.0.next().await.context("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// One HTTP request as administrator, on a connection of its own: status and body.
///
/// # Errors
/// Where no whole answer comes in time.
pub async fn http(
    ip: IpAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
) -> Result<(u16, Value)> {
    let asking = async {
        let mut stream = connect(ip).await?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let len = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {ip}:{PORT}\r\nauthorization: Bearer {ADMIN}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        anyhow::Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    };
    timeout(wait, asking).await.context("no answer in time")?
}
