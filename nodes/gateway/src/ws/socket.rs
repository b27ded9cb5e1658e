//! One chat socket: reading and writing frames, saying hello, ending.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jarvis_session::api::SessionError;
use jarvis_types::chat::{ClientFrame, ErrorCode, Limits, ServerFrame};
use jarvis_types::limits::MAX_CHAT_FRAME_BYTES;
use jarvis_types::{RequestId, Seq, SessionId, UserId};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};
use tracing::{debug, error, info};

use super::frames::{self, BadFrame};
use super::live::Live;
use super::registry::{CLOSE, DRAIN, Entry};
use crate::accept::ConnectionGuard;
use crate::auth::{AuthError, Credential, Identity};
use crate::http::problem::{RETRY_AFTER_MS, limit_advice};
use crate::listen::Connection;
use crate::metrics::Gauged;
use crate::shared::Shared;

/// Read buffer of a socket, in bytes: the library's 128 KiB would be paid by each of ten thousand idle ones.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// Most bytes that wait to be written: one frame at a time, the largest being a whole reply.
const MAX_WRITE_BUFFER_BYTES: usize = 1024 * 1024;

/// How long the other side has to answer a close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How long nothing must come of an oversized frame before the connection is closed.
const QUIET_BEFORE_CLOSE: Duration = Duration::from_millis(300);

/// Most bytes of an oversized frame that are read and thrown away, so that the client sees why it was refused.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// Close code for a credential that is not, or no longer, valid.
const CLOSE_UNAUTHORIZED: u16 = 4401;

/// What an upgraded connection brings along.
pub(crate) struct SocketStart {
    pub(crate) identity: Option<Identity>,
    pub(crate) request: Option<RequestId>,
    /// Keeps the connection counted while the socket lives.
    pub(crate) connection: Option<Arc<ConnectionGuard>>,
}

/// Why a socket ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The other side is gone, or has said goodbye.
    Gone,
    /// It does not read or does not answer: there is nobody to say goodbye to.
    Dead,
    /// It is closed from here.
    Close(u16, &'static str),
    /// It sent more than a frame may have.
    Oversize,
}

/// What came in.
pub(crate) enum Incoming {
    /// A text frame.
    Text(Utf8Bytes),
    /// Something that is none of this protocol's; the socket stays open.
    Bad(BadFrame),
    /// Ping, pong: a sign of life.
    Control,
    /// The end.
    End(End),
}

/// One socket.
pub(crate) struct Socket {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ws: WebSocketStream<Connection>,
    pub(crate) entry: Entry,
    pub(crate) request: Option<RequestId>,
    /// When something last came in.
    pub(crate) heard: Instant,
}

/// Who uses a socket.
#[derive(Clone, Copy)]
pub(crate) struct SocketUser {
    pub(crate) user: UserId,
    pub(crate) credential: Credential,
}

/// A session that was opened or made.
struct Opening {
    session: SessionId,
    /// Last entry of its transcript.
    last_seq: Seq,
    /// Whether there was surely no later one when it was opened.
    certain: bool,
}

/// Runs a socket to its end.
pub(crate) async fn run(shared: Arc<Shared>, upgraded: Upgraded, start: SocketStart) {
    let Some((io, read)) = take_apart(upgraded) else {
        error!("a connection that was accepted by nobody was upgraded");
        return;
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_CHAT_FRAME_BYTES))
        .max_frame_size(Some(MAX_CHAT_FRAME_BYTES));
    let ws = WebSocketStream::from_partially_read(io, read, Role::Server, Some(config)).await;
    let (_counted, _connection) = (Gauged::socket(), start.connection);
    let entry = shared.sockets.enter();
    let mut socket = Socket {
        shared,
        ws,
        entry,
        request: start.request,
        heard: Instant::now(),
    };
    let end = match Box::pin(socket.hello(start.identity)).await {
        Ok((who, session, after)) => Live::new(session, who, after).run(&mut socket).await,
        Err(end) => end,
    };
    debug!(?end, "socket ends");
    Box::pin(socket.finish(end)).await;
}

/// The stream, and what was read of it beyond the request. The HTTP connection's buffer ends here: a socket would
/// otherwise keep its 8 KiB for life.
fn take_apart(upgraded: Upgraded) -> Option<(Connection, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Connection>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}

impl Socket {
    /// Waits for `hello` and answers with `welcome`.
    async fn hello(&mut self, mut identity: Option<Identity>) -> Result<(SocketUser, SessionId, Seq), End> {
        let deadline = Instant::now() + self.shared.settings.hello_deadline;
        loop {
            let control = Arc::clone(&self.entry.control);
            let incoming = tokio::select! {
                incoming = self.read() => incoming,
                news = control.news() => {
                    if news & DRAIN != 0 {
                        let endpoints = self.shared.members().other_endpoints();
                        self.send(&ServerFrame::Draining { endpoints }).await?;
                    }
                    if news & (DRAIN | CLOSE) != 0 {
                        return Err(End::Close(CloseCode::Away.into(), "this node is going away"));
                    }
                    continue;
                }
                () = tokio::time::sleep_until(deadline) => {
                    let waited = frames::error(ErrorCode::BadFrame, "no hello came in time; the first frame must be hello");
                    self.send(&waited).await?;
                    return Err(End::Close(CloseCode::Policy.into(), "no hello came in time"));
                }
            };
            let answer = match incoming {
                Incoming::End(end) => return Err(end),
                Incoming::Control => continue,
                Incoming::Bad(bad) => bad.into(),
                Incoming::Text(text) => match frames::parse(&text) {
                    Ok(ClientFrame::Hello {
                        token,
                        session,
                        after,
                    }) => {
                        if let Some(token) = token {
                            identity = Some(self.identify(&token).await?);
                        }
                        let who = match &identity {
                            Some(identity) => SocketUser {
                                user: identity.user,
                                credential: identity.credential,
                            },
                            None => return Err(self.refuse(AuthError::Missing).await?),
                        };
                        if !self.shared.backend().may_show_its_disk() {
                            return Err(self.refuse(AuthError::Unavailable).await?);
                        }
                        self.entry.control.belongs_to(who.user);
                        match self.welcome(who, session, after).await? {
                            Ok((session, after)) => return Ok((who, session, after)),
                            Err(refusal) => refusal,
                        }
                    }
                    Ok(_) => frames::error(ErrorCode::BadFrame, "the first frame must be hello"),
                    Err(bad) => bad.into(),
                },
            };
            self.send(&answer).await?;
        }
    }

    async fn identify(&mut self, token: &str) -> Result<Identity, End> {
        match self.shared.identify(token).await {
            Ok(identity) => Ok(identity),
            Err(error) => Err(self.refuse(error).await?),
        }
    }

    /// Tells why a credential is not taken, and gives how to end.
    pub(crate) async fn refuse(&mut self, why: AuthError) -> Result<End, End> {
        let (code, retry_after_ms, end) = match &why {
            AuthError::Missing | AuthError::Unknown | AuthError::Expired => (
                ErrorCode::Unauthorized,
                None,
                End::Close(CLOSE_UNAUTHORIZED, "unauthorized"),
            ),
            AuthError::Unavailable => {
                let end = End::Close(CloseCode::Again.into(), "try again");
                (ErrorCode::Unavailable, Some(RETRY_AFTER_MS), end)
            }
            AuthError::Store(inside) => {
                error!(error = %inside, "a credential could not be read");
                (
                    ErrorCode::Internal,
                    None,
                    End::Close(CloseCode::Error.into(), "internal"),
                )
            }
        };
        let message = match &why {
            AuthError::Store(_) => "this node failed; try another".to_owned(),
            _ => why.to_string(),
        };
        self.send(&ServerFrame::Error {
            code,
            message,
            id: None,
            retry_after_ms,
        })
        .await?;
        Ok(end)
    }

    /// Opens or makes the session and says welcome; the inner error is what is told instead.
    async fn welcome(
        &mut self,
        who: SocketUser,
        session: Option<String>,
        after: Option<u64>,
    ) -> Result<Result<(SessionId, Seq), ServerFrame>, End> {
        let opened = self.open(who.user, session).await;
        let Opening {
            session,
            last_seq,
            certain,
        } = match opened {
            Ok(opened) => opened,
            Err(refusal) => {
                log_failure(&refusal);
                return Ok(Err(session_error(&refusal, None)));
            }
        };
        // Whoever claims to have more than there is would miss what comes next. A node that could not ask the majority
        // does not know what there is.
        let after = Seq(after.unwrap_or(0));
        let after = if certain { after.min(last_seq) } else { after };
        let (settings, members) = (&self.shared.settings, self.shared.members());
        let (owner, epoch) = self.shared.backend().owner(session);
        let welcome = ServerFrame::Welcome {
            session: session.to_string(),
            node: members.this_name(),
            owner: owner.map(|node| members.name(node)).unwrap_or_default(),
            epoch: epoch.0,
            last_seq: last_seq.0,
            endpoints: members.endpoints(),
            limits: Limits {
                message_chars: self.shared.message_chars,
                messages_per_minute: settings.messages_per_minute,
                frame_bytes: MAX_CHAT_FRAME_BYTES as u64,
            },
        };
        self.send(&welcome).await?;
        Ok(Ok((session, after)))
    }

    async fn open(&self, user: UserId, session: Option<String>) -> Result<Opening, SessionError> {
        let (backend, settings) = (self.shared.backend(), &self.shared.settings);
        match session {
            None => {
                let session = backend
                    .create_session(user, self.request.clone(), settings.say_deadline)
                    .await?;
                Ok(Opening {
                    session,
                    last_seq: Seq(0),
                    certain: true,
                })
            }
            Some(text) => {
                let session = text.parse().map_err(|_| SessionError::NotFound)?;
                let opened = backend
                    .open_session(user, session, settings.open_deadline)
                    .await?;
                Ok(Opening {
                    session,
                    last_seq: opened.row.last_seq,
                    certain: opened.certain,
                })
            }
        }
    }

    /// The next thing that comes in. Safe to drop while it waits.
    pub(crate) async fn read(&mut self) -> Incoming {
        let message = self.ws.next().await;
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(_))) => Incoming::Bad(BadFrame::new(
                "binary frames are not understood; send JSON as text",
            )),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Control,
            Some(Ok(Message::Close(_))) | None => Incoming::End(End::Gone),
            Some(Err(WsError::Capacity(_))) => Incoming::End(End::Oversize),
            Some(Err(WsError::Utf8(_))) => {
                Incoming::End(End::Close(CloseCode::Invalid.into(), "a text frame is not UTF-8"))
            }
            Some(Err(WsError::Protocol(_))) => {
                Incoming::End(End::Close(CloseCode::Protocol.into(), "not a WebSocket frame"))
            }
            Some(Err(_)) => Incoming::End(End::Gone),
        }
    }

    /// Sends a frame, or finds that the other side does not read.
    pub(crate) async fn send(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let text = serde_json::to_string(frame).expect("frames are plain data with text keys");
        self.write(Message::text(text)).await
    }

    /// Sends whatever it is.
    pub(crate) async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.shared.settings.write_deadline, self.ws.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                debug!("a socket that does not read is closed");
                Err(End::Dead)
            }
        }
    }

    /// Says goodbye where there is somebody to say it to.
    async fn finish(mut self, end: End) {
        match end {
            End::Dead => {}
            End::Gone => {
                // The answer to the other side's close may still be on its way out.
                let _ = timeout(CLOSE_DEADLINE, self.ws.close(None)).await;
            }
            End::Close(code, reason) => {
                let answered = async {
                    if self.close(code, reason).await.is_ok() {
                        while let Some(Ok(_)) = self.ws.next().await {}
                    }
                };
                let _ = timeout(CLOSE_DEADLINE, answered).await;
            }
            End::Oversize => {
                let what = format!("a frame has at most {MAX_CHAT_FRAME_BYTES} bytes");
                let told = self.send(&frames::error(ErrorCode::TooLong, what)).await;
                if told.is_ok()
                    && self
                        .close(CloseCode::Size.into(), "the frame is too large")
                        .await
                        .is_ok()
                {
                    let _ = timeout(CLOSE_DEADLINE, discard(self.ws.get_mut())).await;
                }
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), End> {
        let frame = CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::from_static(reason),
        };
        self.write(Message::Close(Some(frame))).await
    }
}

/// Reads what is still on its way: closing on unread bytes would reset the connection, and the reason with it.
async fn discard(stream: &mut Connection) {
    let (mut buffer, mut left) = (vec![0u8; 16 * 1024], MAX_DISCARDED_BYTES);
    while left > 0 {
        match timeout(QUIET_BEFORE_CLOSE, stream.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => left = left.saturating_sub(n),
            _ => return,
        }
    }
}

/// Notes what an operator looks for by the request's id, which the span has.
pub(crate) fn log_failure(error: &SessionError) {
    match error {
        SessionError::Internal(inside) => error!(error = %inside, "a session failed"),
        SessionError::Unavailable { .. } | SessionError::Overloaded { .. } => {
            info!(%error, "told to try again");
        }
        _ => {}
    }
}

/// What a client is told of a session that failed it. [`log_failure`] is for the log.
pub(crate) fn session_error(error: &SessionError, id: Option<String>) -> ServerFrame {
    let (code, message, retry_after_ms) = match error {
        SessionError::NotFound => (
            ErrorCode::NotFound,
            "you have no session of this id".to_owned(),
            None,
        ),
        SessionError::Unavailable { retry_after_ms } | SessionError::Overloaded { retry_after_ms } => {
            (ErrorCode::Unavailable, error.to_string(), Some(*retry_after_ms))
        }
        SessionError::TooLong(message) => (ErrorCode::TooLong, message.clone(), None),
        SessionError::Invalid(message) => (ErrorCode::BadFrame, message.clone(), None),
        SessionError::LimitReached(_) => (ErrorCode::Forbidden, limit_advice(error), None),
        SessionError::Internal(_) => {
            let message = "this node failed; send it again with the same id".to_owned();
            (ErrorCode::Internal, message, None)
        }
    };
    ServerFrame::Error {
        code,
        message,
        id,
        retry_after_ms,
    }
}
