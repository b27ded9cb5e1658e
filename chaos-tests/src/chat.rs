//! A bare client of the chat socket: frames as they stand in INTERFACES, nothing remembered.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a socket may take to open.
const OPEN: Duration = Duration::from_secs(3);

/// An open socket.
pub struct Chat {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Chat {
    /// Opens a socket with the token in the header, without saying hello.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn open(url: &str, token: Option<&str>) -> Result<Self> {
        let mut request = url.into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "jarvis.v1".parse()?);
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse()?);
        }
        let (socket, _) = timeout(OPEN, connect_async(request))
            .await
            .context("the socket did not open")??;
        Ok(Self { socket })
    }

    /// Opens a socket and says hello: the socket and its `welcome`.
    ///
    /// # Errors
    /// Where the answer is something else.
    pub async fn hello(
        url: &str,
        token: &str,
        session: Option<&str>,
        after: Option<u64>,
    ) -> Result<(Self, Value)> {
        let mut chat = Self::open(url, Some(token)).await?;
        let mut hello = json!({"type": "hello"});
        if let Some(session) = session {
            hello["session"] = session.into();
        }
        if let Some(after) = after {
            hello["after"] = after.into();
        }
        chat.send(&hello).await?;
        let welcome = timeout(OPEN, chat.next()).await.context("no welcome came")??;
        ensure!(welcome["type"] == "welcome", "expected welcome, got {welcome}");
        Ok((chat, welcome))
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        self.send_raw(Message::text(frame.to_string())).await
    }

    /// Sends anything.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// Says something.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub async fn say(&mut self, id: &str, text: &str) -> Result<()> {
        self.send(&json!({"type": "say", "id": id, "text": text})).await
    }

    /// The next frame.
    ///
    /// # Errors
    /// Where the socket closes, or what comes is not a frame.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next frame of a type, passing over others.
    ///
    /// # Errors
    /// As [`Chat::next`], or where none comes within `wait`.
    pub async fn next_of(&mut self, kind: &str, wait: Duration) -> Result<Value> {
        let found = timeout(wait, async {
            loop {
                let frame = self.next().await?;
                if frame["type"] == kind {
                    return anyhow::Ok(frame);
                }
            }
        });
        found
            .await
            .with_context(|| format!("no {kind} within {wait:?}"))?
    }
}
