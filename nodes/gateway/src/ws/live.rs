//! A socket after its welcome: what is said goes to the session, what the session has comes back.
//!
//! Operations run one at a time, in the order in which they came; each has its deadline from the moment it came, so that
//! what waits behind a stuck one is refused as soon as that one is. Reading goes on meanwhile, up to a bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jarvis_session::api::{FeedEvent, Said, SessionError};
use jarvis_types::chat::{ClientFrame, ErrorCode, ServerFrame};
use jarvis_types::{ClientMessageId, RequestId, Seq, SessionId};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{Instrument, debug, info_span};

use super::frames::{self, BadFrame};
use super::registry::{CLOSE, DRAIN, RECHECK};
use super::say::{self, Refused};
use super::socket::{End, Incoming, Socket, SocketUser, log_failure, session_error};
use crate::auth::{Credential, recheck};
use crate::http::problem::RETRY_AFTER_MS;
use crate::shared::Shared;

/// Most operations of one socket that wait; beyond, it is not read from.
const MAX_WAITING_OPERATIONS: usize = 32;

/// Silent ping intervals after which a socket is taken for dead.
const SILENT_INTERVALS: u32 = 2;

/// Pings are spread over this part of their interval, so that sockets opened together are not woken together.
const PING_SPREAD: u32 = 8;

/// Messages of one socket that it remembers as confirmed.
const MAX_CONFIRMED: usize = 16;

/// Something a client asked for.
struct Operation {
    id: ClientMessageId,
    /// The text to say; none: cancel.
    text: Option<String>,
    /// When the client must have its answer.
    deadline: Instant,
    /// What had been sent to the client when it asked.
    sent_before: Seq,
}

/// What became of it.
enum Outcome {
    Said(Result<Said, SessionError>),
    Cancelled(Result<(), SessionError>),
}

/// The operation under way: its id, what had been sent before it, its future.
type Running = (ClientMessageId, Seq, BoxFuture<'static, Outcome>);

/// The state of a socket that has been welcomed.
pub(crate) struct Live {
    session: SessionId,
    who: SocketUser,
    /// The last entry of the transcript that this client has.
    sent: Seq,
    /// Where the feed begins: it brings every entry after this one.
    fed_after: Seq,
    /// Where the feed has to begin anew.
    back_to: Option<Seq>,
    waiting: VecDeque<Operation>,
    running: Option<Running>,
    /// The latest messages that were said on this socket and are committed.
    confirmed: VecDeque<ClientMessageId>,
}

impl Live {
    /// Goes on after `after`.
    pub(crate) fn new(session: SessionId, who: SocketUser, after: Seq) -> Self {
        Self {
            session,
            who,
            sent: after,
            fed_after: after,
            back_to: None,
            waiting: VecDeque::new(),
            running: None,
            confirmed: VecDeque::new(),
        }
    }

    /// Runs until the socket ends.
    pub(crate) async fn run(mut self, socket: &mut Socket) -> End {
        let mut feed = socket.shared.backend().follow(self.session, self.sent);
        let control = Arc::clone(&socket.entry.control);
        let timer = tokio::time::sleep(self.until_tick(socket));
        tokio::pin!(timer);
        loop {
            let may_read = self.waiting.len() < MAX_WAITING_OPERATIONS;
            let step = tokio::select! {
                incoming = socket.read(), if may_read => self.incoming(socket, incoming).await,
                event = feed.next() => self.event(socket, event).await,
                outcome = outcome(&mut self.running) => self.finished(socket, outcome).await,
                news = control.news() => Box::pin(self.news(socket, news)).await,
                () = timer.as_mut() => Box::pin(self.tick(socket, timer.as_mut())).await,
            };
            if let Err(end) = step {
                return end;
            }
            if let Some(after) = self.back_to.take() {
                (self.sent, self.fed_after) = (after, after);
                feed = socket.shared.backend().follow(self.session, after);
            }
        }
    }

    async fn incoming(&mut self, socket: &mut Socket, incoming: Incoming) -> Result<(), End> {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Bad(bad) => return socket.send(&bad.into()).await,
            Incoming::Control => return Ok(()),
            Incoming::End(end) => return Err(end),
        };
        match frames::parse(&text) {
            Ok(ClientFrame::Ping { t }) => socket.send(&ServerFrame::Pong { t }).await,
            Ok(ClientFrame::Say { id, text }) => {
                match say::check(&socket.shared, self.who.user, &id, &text) {
                    Ok(id) => {
                        self.enqueue(socket, id, Some(text));
                        Ok(())
                    }
                    Err(refused) => socket.send(&refusal(refused, id)).await,
                }
            }
            Ok(ClientFrame::Cancel { id }) => match id.parse::<ClientMessageId>() {
                Ok(id) => {
                    self.enqueue(socket, id, None);
                    Ok(())
                }
                Err(error) => {
                    let bad = BadFrame::about(&id, error.to_string());
                    socket.send(&bad.into()).await
                }
            },
            Ok(ClientFrame::Hello { .. }) => {
                let message = "this socket has said hello; open another for another session";
                socket.send(&frames::error(ErrorCode::BadFrame, message)).await
            }
            Err(bad) => socket.send(&bad.into()).await,
        }
    }

    fn enqueue(&mut self, socket: &Socket, id: ClientMessageId, text: Option<String>) {
        let deadline = Instant::now() + socket.shared.settings.say_deadline;
        self.waiting.push_back(Operation {
            id,
            text,
            deadline,
            sent_before: self.sent,
        });
        self.start_next(&socket.shared);
    }

    fn start_next(&mut self, shared: &Arc<Shared>) {
        if self.running.is_some() {
            return;
        }
        let Some(next) = self.waiting.pop_front() else {
            // An idle socket keeps no buffer.
            self.waiting.shrink_to_fit();
            return;
        };
        let (id, sent_before) = (next.id.clone(), next.sent_before);
        let request = shared.new_request_id();
        let span = info_span!("operation", request_id = %request, session = %self.session, %id);
        let run = operate(Arc::clone(shared), self.who, self.session, next, request);
        self.running = Some((id, sent_before, Box::pin(run.instrument(span))));
    }

    async fn finished(&mut self, socket: &mut Socket, outcome: Outcome) -> Result<(), End> {
        let Some((id, sent_before, _)) = self.running.take() else {
            return Ok(());
        };
        self.start_next(&socket.shared);
        let error = match outcome {
            Outcome::Cancelled(Ok(())) => return Ok(()),
            // The client claimed to have more than there is, and this node could not tell: what it lacks is read to it.
            Outcome::Said(Ok(said)) if !said.repeated && said.seq <= self.fed_after => {
                self.back_to = Some(Seq(said.seq.0.saturating_sub(1)));
                return Ok(());
            }
            // The feed brings it, or has brought it meanwhile.
            Outcome::Said(Ok(said)) if !said.repeated || said.seq > sent_before => {
                self.confirm(&id);
                return Ok(());
            }
            // This socket has carried it before, in a replay perhaps that crossed with the client's second attempt: an entry
            // comes once on a socket.
            Outcome::Said(Ok(_)) if !self.confirm(&id) => return Ok(()),
            // The client was told on this very socket and asks again: it wants to hear it again.
            Outcome::Said(Ok(said)) => match self.entry_at(&socket.shared, said.seq) {
                Ok(frame) => return socket.send(&frame).await,
                Err(error) => error,
            },
            Outcome::Cancelled(Err(SessionError::NotFound)) => {
                let message = "no reply to this message is being written".to_owned();
                let frame = ServerFrame::Error {
                    code: ErrorCode::NotFound,
                    message,
                    id: Some(id.to_string()),
                    retry_after_ms: None,
                };
                return socket.send(&frame).await;
            }
            Outcome::Said(Err(error)) | Outcome::Cancelled(Err(error)) => error,
        };
        socket.send(&session_error(&error, Some(id.to_string()))).await
    }

    /// Notes that a message said on this socket is committed. True if it had been before.
    fn confirm(&mut self, id: &ClientMessageId) -> bool {
        if self.confirmed.contains(id) {
            return true;
        }
        if self.confirmed.len() >= MAX_CONFIRMED {
            self.confirmed.pop_front();
        }
        self.confirmed.push_back(id.clone());
        false
    }

    fn entry_at(&self, shared: &Shared, seq: Seq) -> Result<ServerFrame, SessionError> {
        let before = Seq(seq.0.saturating_sub(1));
        let page = shared
            .backend()
            .messages(self.who.user, self.session, before, 1)?;
        page.messages.into_iter().next().ok_or(SessionError::Unavailable {
            retry_after_ms: RETRY_AFTER_MS,
        })
    }

    async fn event(&mut self, socket: &mut Socket, event: FeedEvent) -> Result<(), End> {
        let frame = match event {
            FeedEvent::Frame(frame) => frame,
            FeedEvent::Moved { owner, epoch } => ServerFrame::Moved {
                owner: socket.shared.members().name(owner),
                epoch: epoch.0,
            },
        };
        if let ServerFrame::Said { seq, .. } | ServerFrame::Reply { seq, .. } = &frame {
            self.sent = self.sent.max(Seq(*seq));
        }
        socket.send(&frame).await
    }

    async fn news(&mut self, socket: &mut Socket, news: u8) -> Result<(), End> {
        if news & RECHECK != 0 {
            check_credential(socket, self.who.credential).await?;
        }
        if news & DRAIN != 0 {
            let endpoints = socket.shared.members().other_endpoints();
            socket.send(&ServerFrame::Draining { endpoints }).await?;
        }
        if news & CLOSE != 0 {
            return Err(End::Close(CloseCode::Away.into(), "this node is going away"));
        }
        Ok(())
    }

    async fn tick(&mut self, socket: &mut Socket, timer: std::pin::Pin<&mut Sleep>) -> Result<(), End> {
        check_credential(socket, self.who.credential).await?;
        let interval = socket.shared.settings.ping_interval;
        if socket.heard.elapsed() > interval * SILENT_INTERVALS {
            debug!("a silent socket is closed");
            return Err(End::Dead);
        }
        socket.write(Message::Ping(Default::default())).await?;
        timer.reset(Instant::now() + self.until_tick(socket));
        Ok(())
    }

    /// Until the next ping is due, or the credential expires.
    fn until_tick(&self, socket: &Socket) -> Duration {
        let interval = socket.shared.settings.ping_interval;
        let part = (socket.entry.id.wrapping_mul(97) % 64) as u32;
        let ping = interval - interval / PING_SPREAD * part / 64;
        match self.who.credential {
            Credential::LocalAdmin => ping,
            Credential::Stored { expires_at_ms, .. } => {
                let left_ms = expires_at_ms.saturating_sub(socket.shared.deps.clock.now_ms());
                // A millisecond more, so that the clock has passed it when the timer fires.
                ping.min(Duration::from_millis(left_ms.saturating_add(1)))
            }
        }
    }
}

async fn check_credential(socket: &mut Socket, credential: Credential) -> Result<(), End> {
    match recheck(socket.shared.backend(), &*socket.shared.deps.clock, &credential) {
        Ok(()) => Ok(()),
        Err(why) => Err(socket.refuse(why).await?),
    }
}

/// The outcome of the operation under way; never, while there is none.
async fn outcome(running: &mut Option<Running>) -> Outcome {
    match running {
        Some((_, _, run)) => run.await,
        None => std::future::pending().await,
    }
}

async fn operate(
    shared: Arc<Shared>,
    who: SocketUser,
    session: SessionId,
    operation: Operation,
    request: RequestId,
) -> Outcome {
    let left = operation.deadline.saturating_duration_since(Instant::now());
    let backend = shared.backend();
    debug!(says = operation.text.is_some(), "operation begins");
    match operation.text {
        Some(text) => {
            let said = if left.is_zero() {
                Err(SessionError::Unavailable {
                    retry_after_ms: RETRY_AFTER_MS,
                })
            } else {
                backend
                    .say(who.user, session, operation.id, text, Some(request), left)
                    .await
            };
            say::count(&shared, who.user, said.as_ref());
            if let Err(error) = &said {
                log_failure(error);
            }
            Outcome::Said(said)
        }
        None => {
            let left = left.max(Duration::from_millis(1));
            let cancelled = backend
                .cancel(who.user, session, operation.id, left)
                .boxed()
                .await;
            if let Err(error) = &cancelled {
                log_failure(error);
            }
            Outcome::Cancelled(cancelled)
        }
    }
}

fn refusal(refused: Refused, id: String) -> ServerFrame {
    let (code, message, retry_after_ms) = match refused {
        Refused::BadFrame(message) => (ErrorCode::BadFrame, message, None),
        Refused::TooLong(message) => (ErrorCode::TooLong, message, None),
        Refused::RateLimited(wait) => {
            let message = "too many messages a minute; send it again later with the same id".to_owned();
            (ErrorCode::RateLimited, message, Some(wait.as_millis() as u64 + 1))
        }
    };
    let id = frames::echoed(&id);
    ServerFrame::Error {
        code,
        message,
        id,
        retry_after_ms,
    }
}
