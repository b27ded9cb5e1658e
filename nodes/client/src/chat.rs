//! A conversation over the chat socket that outlives sockets and nodes.
//!
//! ```text
//!  ChatClient ──say──► task ──frames──► socket on some node
//!      ◄──events──────  │  Conversation decides what follows from each frame and each loss
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jarvis_host::Tasks;
use jarvis_types::chat::{ClientFrame, SUBPROTOCOL, ServerFrame};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use crate::conversation::{Conversation, MAX_UNCONFIRMED, Next};

/// Events that may wait for who reads them; a reader that is slower holds the socket back.
const EVENT_QUEUE_LEN: usize = 1_024;
/// How long a socket may take to come about. A killed node refuses at once; this is for one that is cut off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the other side is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Without any sign for this long the socket counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(6);
/// A message without its `said` for this long is said again: the same id is the same message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest frame taken from a server, in bytes: the longest reply, escaped.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// What a socket runs over: TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// Where and as whom to talk.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// Socket addresses (`ws://host:port/ws`); the server tells more.
    pub endpoints: Vec<String>,
    /// A bearer token.
    pub token: Option<String>,
    /// A session to resume; none: a new one.
    pub session: Option<String>,
    /// What was seen of it already.
    pub after: u64,
}

/// Why a conversation ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The server will not have it, wherever it is tried.
    #[error("{code}: {message}")]
    Refused {
        /// The error frame's code, or `http 403`.
        code: String,
        /// The server's words.
        message: String,
    },
    /// No address to try.
    #[error("{0:?} is no chat socket's address such as ws://192.168.1.10:8007/ws")]
    BadEndpoint(String),
    /// Too many messages wait for their confirmation.
    #[error("{MAX_UNCONFIRMED} messages wait to be confirmed; wait for some of them")]
    Full,
    /// The conversation has ended.
    #[error("the conversation has ended")]
    Ended,
}

/// What happens in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// A frame came.
    Frame {
        /// The frame.
        frame: ServerFrame,
        /// When.
        at: Instant,
    },
    /// The socket is gone; another is sought.
    Reconnecting {
        /// What happened.
        why: String,
        /// When.
        at: Instant,
    },
    /// A socket is there (the first too); its `welcome` comes next.
    Connected {
        /// Where.
        endpoint: String,
        /// When.
        at: Instant,
    },
    /// It is over.
    Failed(ChatError),
}

enum Order {
    Say { id: String, text: String },
    Cancel { id: String },
}

/// A conversation. Dropping it ends it.
pub struct ChatClient {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<ChatEvent>,
}

impl ChatClient {
    /// Begins a conversation, as a task of `tasks`.
    ///
    /// # Errors
    /// [`ChatError::BadEndpoint`].
    pub fn start(options: ChatOptions, tasks: &Tasks) -> Result<Self, ChatError> {
        for endpoint in &options.endpoints {
            let fits = Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "ws" | "wss") && url.host().is_some());
            if !fits {
                return Err(ChatError::BadEndpoint(endpoint.clone()));
            }
        }
        if options.endpoints.is_empty() {
            return Err(ChatError::BadEndpoint(String::new()));
        }
        let (orders, take_orders) = mpsc::channel(MAX_UNCONFIRMED);
        let (give_events, events) = mpsc::channel(EVENT_QUEUE_LEN);
        let token = options.token.clone();
        let talk = Conversation::new(options.endpoints, options.token, options.session, options.after);
        let driver = Driver {
            talk,
            token,
            orders: take_orders,
            events: give_events,
        };
        tasks.spawn_until_cancelled(driver.run());
        Ok(Self { orders, events })
    }

    /// Says something under an id of the caller's: it will arrive once, however often sockets break.
    ///
    /// # Errors
    /// `Full` where too many messages wait, `Ended`.
    pub fn say(&self, id: impl Into<String>, text: impl Into<String>) -> Result<(), ChatError> {
        self.order(Order::Say {
            id: id.into(),
            text: text.into(),
        })
    }

    /// Stops the reply to a message.
    ///
    /// # Errors
    /// `Full`, `Ended`.
    pub fn cancel(&self, id: impl Into<String>) -> Result<(), ChatError> {
        self.order(Order::Cancel { id: id.into() })
    }

    fn order(&self, order: Order) -> Result<(), ChatError> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChatError::Full,
            mpsc::error::TrySendError::Closed(_) => ChatError::Ended,
        })
    }

    /// What happens next; none once it is over. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        self.events.recv().await
    }
}

/// How one socket ended.
enum End {
    /// Try another one after this.
    Again { why: String, after: Option<Duration> },
    /// Nothing will do.
    Fatal(ChatError),
    /// Whoever held the client dropped it.
    Dropped,
}

struct Driver {
    talk: Conversation,
    token: Option<String>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<ChatEvent>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            let end = match self.connect().await {
                Ok(socket) => self.serve(socket).await,
                Err(end) => end,
            };
            match end {
                End::Dropped => return,
                End::Fatal(error) => return drop(self.events.send(ChatEvent::Failed(error)).await),
                End::Again { why, after } => {
                    if self
                        .events
                        .send(ChatEvent::Reconnecting {
                            why,
                            at: Instant::now(),
                        })
                        .await
                        .is_err()
                    {
                        return;
                    }
                    let pause = after.unwrap_or_else(|| self.talk.lost());
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.events.closed() => return,
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<Socket, End> {
        let endpoint = self.talk.endpoint().unwrap_or_default();
        let bad = || End::Fatal(ChatError::BadEndpoint(endpoint.to_owned()));
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
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                let message = "the token has characters that no token has".to_owned();
                End::Fatal(ChatError::Refused {
                    code: "unauthorized".to_owned(),
                    message,
                })
            })?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let host = host.trim_matches(['[', ']']).to_owned();
        let open = async {
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
        match timeout(CONNECT_TIMEOUT, open).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(refused(endpoint, &error)),
            Err(_) => Err(End::Again {
                why: format!("{endpoint} does not answer"),
                after: None,
            }),
        }
    }

    async fn serve(&mut self, socket: Socket) -> End {
        let (mut out, mut incoming) = socket.split();
        let endpoint = self.talk.endpoint().unwrap_or_default().to_owned();
        if self
            .events
            .send(ChatEvent::Connected {
                endpoint: endpoint.clone(),
                at: Instant::now(),
            })
            .await
            .is_err()
        {
            return End::Dropped;
        }
        let lost = |why: String| End::Again {
            why: format!("{endpoint}: {why}"),
            after: None,
        };
        if let Err(error) = out.send(text(&self.talk.hello())).await {
            return lost(error.to_string());
        }
        let mut live = false;
        let mut last_sign = Instant::now();
        let mut pings = tokio::time::interval_at(last_sign + PING_INTERVAL, PING_INTERVAL);
        // Messages to be said again, and when: at most one entry a waiting message.
        let mut again: Vec<(Instant, String)> = Vec::new();
        loop {
            let due = again.iter().map(|(at, _)| *at).min();
            let frame = tokio::select! {
                message = incoming.next() => {
                    last_sign = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => match serde_json::from_str::<ServerFrame>(text.as_str()) {
                            Ok(frame) => frame,
                            // A frame of a later version of the protocol: it is not for this client.
                            Err(_) => continue,
                        },
                        Some(Ok(Message::Close(_))) | None => return lost("closed".to_owned()),
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return lost(error.to_string()),
                    }
                }
                order = self.orders.recv() => {
                    let frame = match order {
                        None => return End::Dropped,
                        Some(Order::Cancel { id }) => Some(ClientFrame::Cancel { id }),
                        Some(Order::Say { id, text }) => {
                            if !self.talk.say(&id, &text) {
                                return End::Fatal(ChatError::Full);
                            }
                            schedule(&mut again, &id, CONFIRM_TIMEOUT);
                            // Before the replay is over nothing is said; it is sent with all that waits then.
                            self.talk.say_again(&id)
                        }
                    };
                    if let Some(frame) = frame.filter(|_| live)
                        && let Err(error) = out.send(text(&frame)).await
                    {
                        return lost(error.to_string());
                    }
                    continue;
                }
                () = sleep_until(due.unwrap_or(last_sign)), if due.is_some() => {
                    let now = Instant::now();
                    let ready: Vec<String> =
                        again.extract_if(.., |(at, _)| *at <= now).map(|(_, id)| id).collect();
                    for id in ready {
                        let Some(frame) = self.talk.say_again(&id).filter(|_| live) else { continue };
                        if let Err(error) = out.send(text(&frame)).await {
                            return lost(error.to_string());
                        }
                        schedule(&mut again, &id, CONFIRM_TIMEOUT);
                    }
                    continue;
                }
                _ = pings.tick() => {
                    if last_sign.elapsed() > SILENCE_LIMIT {
                        return lost("no sign of life".to_owned());
                    }
                    if let Err(error) = out.send(text(&ClientFrame::Ping { t: Value::Null })).await {
                        return lost(error.to_string());
                    }
                    continue;
                }
            };
            let next = self.talk.take(&frame);
            let end = match &next {
                Next::Fatal => Some(fatal(&frame)),
                Next::Reconnect { after } => Some(End::Again {
                    why: format!("{endpoint}: {}", reason(&frame)),
                    after: Some(*after),
                }),
                _ => None,
            };
            let is_pong = matches!(frame, ServerFrame::Pong { .. });
            if !is_pong
                && self
                    .events
                    .send(ChatEvent::Frame {
                        frame,
                        at: Instant::now(),
                    })
                    .await
                    .is_err()
            {
                return End::Dropped;
            }
            if let Some(end) = end {
                return end;
            }
            match next {
                Next::SendUnconfirmed => {
                    live = true;
                    let waiting: Vec<String> = self
                        .talk
                        .unconfirmed()
                        .map(|waiting| waiting.id.clone())
                        .collect();
                    for id in waiting {
                        let Some(frame) = self.talk.say_again(&id) else {
                            continue;
                        };
                        if let Err(error) = out.send(text(&frame)).await {
                            return lost(error.to_string());
                        }
                        schedule(&mut again, &id, CONFIRM_TIMEOUT);
                    }
                }
                Next::SayAgain { id, after } => schedule(&mut again, &id, after),
                _ => {}
            }
        }
    }
}

/// One time a message: the newest counts.
fn schedule(again: &mut Vec<(Instant, String)>, id: &str, after: Duration) {
    again.retain(|(_, waiting)| waiting != id);
    again.push((Instant::now() + after, id.to_owned()));
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

fn text(frame: &ClientFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("frames have no map with keys that are not text"))
}

fn reason(frame: &ServerFrame) -> String {
    match frame {
        ServerFrame::Error { message, .. } => message.clone(),
        ServerFrame::Draining { .. } => "the node is going away".to_owned(),
        _ => "closed".to_owned(),
    }
}

fn fatal(frame: &ServerFrame) -> End {
    let (code, message) = match frame {
        ServerFrame::Error { code, message, .. } => {
            let code = serde_json::to_value(code)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned));
            (code.unwrap_or_default(), message.clone())
        }
        _ => Default::default(),
    };
    End::Fatal(ChatError::Refused { code, message })
}

/// What a handshake that failed means: no credential will do better elsewhere, all else may.
fn refused(endpoint: &str, error: &SocketError) -> End {
    let SocketError::Http(response) = error else {
        let why = match error {
            SocketError::Io(io) => io.to_string(),
            other => other.to_string(),
        };
        return End::Again {
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
        return End::Fatal(ChatError::Refused {
            code: format!("http {status}"),
            message,
        });
    }
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    End::Again {
        why: format!("{endpoint}: {message}"),
        after: seconds.map(Duration::from_secs),
    }
}
