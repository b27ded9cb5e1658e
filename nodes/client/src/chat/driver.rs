//! The task of a conversation: one socket after the other, until nobody wants it or nothing will do.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use jarvis_types::chat::{ClientFrame, ServerFrame};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::open::{NotOpen, Socket, open, search};
use super::pulse::{Beat, Pulse};
use super::{ChatError, ChatEvent};
use crate::conversation::{Conversation, Next};

/// A message without its `said` for this long is said again: the same id is the same message.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// What the conversation's holder wants.
pub(super) enum Order {
    Say { id: String, text: String },
    Cancel { id: String },
}

/// How one socket ended.
enum End {
    /// Try another one after this.
    Again { why: String, after: Option<Duration> },
    /// This one fell silent, and another is open already.
    Elsewhere {
        why: String,
        endpoint: String,
        socket: Box<Socket>,
    },
    /// Nothing will do.
    Fatal(ChatError),
    /// Whoever held the client dropped it.
    Dropped,
}

impl From<NotOpen> for End {
    fn from(not: NotOpen) -> Self {
        match not {
            NotOpen::Again { why, after } => Self::Again { why, after },
            NotOpen::Fatal(error) => Self::Fatal(error),
        }
    }
}

/// What came of one step on a socket.
enum Step {
    Frame(ServerFrame),
    Nothing,
}

pub(super) struct Driver {
    talk: Conversation,
    token: Option<String>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<ChatEvent>,
}

impl Driver {
    pub(super) fn new(
        talk: Conversation,
        token: Option<String>,
        orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<ChatEvent>,
    ) -> Self {
        Self {
            talk,
            token,
            orders,
            events,
        }
    }

    pub(super) async fn run(mut self) {
        let mut at_hand: Option<Box<Socket>> = None;
        loop {
            let socket = match at_hand.take() {
                Some(socket) => Ok(socket),
                None => {
                    let endpoint = self.talk.endpoint().unwrap_or_default();
                    open(endpoint, self.token.as_deref()).await.map(Box::new)
                }
            };
            let end = match socket {
                Ok(socket) => self.serve(socket).await,
                Err(not) => not.into(),
            };
            match end {
                End::Dropped => return,
                End::Fatal(error) => return drop(self.events.send(ChatEvent::Failed(error)).await),
                End::Again { why, after } => {
                    if !self.tell_reconnecting(why).await {
                        return;
                    }
                    let pause = after.unwrap_or_else(|| self.talk.lost());
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.events.closed() => return,
                    }
                }
                End::Elsewhere {
                    why,
                    endpoint,
                    socket,
                } => {
                    if !self.tell_reconnecting(why).await {
                        return;
                    }
                    self.talk.go_to(&endpoint);
                    at_hand = Some(socket);
                }
            }
        }
    }

    /// False: nobody listens any more.
    async fn tell_reconnecting(&self, why: String) -> bool {
        let at = Instant::now();
        self.events
            .send(ChatEvent::Reconnecting { why, at })
            .await
            .is_ok()
    }

    async fn serve(&mut self, socket: Box<Socket>) -> End {
        let (out, mut incoming) = socket.split();
        let endpoint = self.talk.endpoint().unwrap_or_default().to_owned();
        let connected = ChatEvent::Connected {
            endpoint: endpoint.clone(),
            at: Instant::now(),
        };
        if self.events.send(connected).await.is_err() {
            return End::Dropped;
        }
        let mut line = Line {
            out,
            endpoint,
            live: false,
            pulse: Pulse::new(Instant::now()),
            again: Vec::new(),
            search: None,
        };
        if let Err(end) = line.send(&self.talk.hello()).await {
            return end;
        }
        loop {
            let now = Instant::now();
            let beat_at = match line.pulse.beat(now, self.talk.waits()) {
                Beat::Wait(until) => until,
                Beat::Ask => {
                    line.pulse.ask(now);
                    if let Err(end) = line.send(&ClientFrame::Ping { t: Value::Null }).await {
                        return end;
                    }
                    continue;
                }
                Beat::Lost => return line.lost("no sign of life".to_owned()),
            };
            let due = line.again.iter().map(|(at, _)| *at).min();
            let suspect_at = line.pulse.suspect_at().filter(|_| line.search.is_none());
            let step = tokio::select! {
                biased;
                message = incoming.next() => line.read(message),
                order = self.orders.recv() => self.follow(&mut line, order).await,
                (found, socket) = found(&mut line.search) => {
                    let ms = line.pulse.silence(Instant::now()).as_millis();
                    let why = format!("{}: silent for {ms} ms, and {found} answers", line.endpoint);
                    return End::Elsewhere { why, endpoint: found, socket: Box::new(socket) };
                }
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => self.repeat(&mut line).await,
                () = sleep_until(suspect_at.unwrap_or(now)), if suspect_at.is_some() => {
                    let others = self.talk.other_endpoints();
                    line.search = Some(Box::pin(search(others, self.token.clone())));
                    Ok(Step::Nothing)
                }
                () = sleep_until(beat_at) => Ok(Step::Nothing),
            };
            let done = match step {
                Ok(Step::Nothing) => continue,
                Ok(Step::Frame(frame)) => self.take(&mut line, frame).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Does what its holder wants.
    async fn follow(&mut self, line: &mut Line, order: Option<Order>) -> Result<Step, End> {
        let frame = match order {
            None => return Err(End::Dropped),
            Some(Order::Cancel { id }) => {
                self.talk.cancel(&id);
                Some(ClientFrame::Cancel { id })
            }
            Some(Order::Say { id, text }) => {
                if !self.talk.say(&id, &text) {
                    return Err(End::Fatal(ChatError::Full));
                }
                schedule(&mut line.again, &id, CONFIRM_TIMEOUT);
                // Before the replay is over nothing is said; it is sent with all that waits then.
                self.talk.say_again(&id)
            }
        };
        if let Some(frame) = frame.filter(|_| line.live) {
            line.send(&frame).await?;
        }
        Ok(Step::Nothing)
    }

    /// Says again what is due.
    async fn repeat(&mut self, line: &mut Line) -> Result<Step, End> {
        let now = Instant::now();
        let ready: Vec<String> = line
            .again
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, id)| id)
            .collect();
        for id in ready {
            let Some(frame) = self.talk.say_again(&id).filter(|_| line.live) else {
                continue;
            };
            line.send(&frame).await?;
            schedule(&mut line.again, &id, CONFIRM_TIMEOUT);
        }
        Ok(Step::Nothing)
    }

    /// Takes in a frame, passes it on, and does what follows.
    async fn take(&mut self, line: &mut Line, frame: ServerFrame) -> Result<(), End> {
        let next = self.talk.take(&frame);
        let end = match &next {
            Next::Fatal => Some(fatal(&frame)),
            Next::Reconnect { after } => Some(End::Again {
                why: format!("{}: {}", line.endpoint, reason(&frame)),
                after: Some(*after),
            }),
            _ => None,
        };
        if !matches!(frame, ServerFrame::Pong { .. }) {
            let at = Instant::now();
            if self.events.send(ChatEvent::Frame { frame, at }).await.is_err() {
                return Err(End::Dropped);
            }
        }
        if let Some(end) = end {
            return Err(end);
        }
        match next {
            Next::SendUnconfirmed => {
                line.live = true;
                let waiting: Vec<String> = self
                    .talk
                    .unconfirmed()
                    .map(|waiting| waiting.id.clone())
                    .collect();
                for id in waiting {
                    let Some(frame) = self.talk.say_again(&id) else {
                        continue;
                    };
                    line.send(&frame).await?;
                    schedule(&mut line.again, &id, CONFIRM_TIMEOUT);
                }
            }
            Next::SayAgain { id, after } => schedule(&mut line.again, &id, after),
            _ => {}
        }
        Ok(())
    }
}

type Search = Pin<Box<dyn Future<Output = (String, Socket)> + Send>>;

/// What a search finds; never, where there is none.
async fn found(search: &mut Option<Search>) -> (String, Socket) {
    match search {
        Some(search) => search.await,
        None => std::future::pending().await,
    }
}

/// One socket that is served.
struct Line {
    out: SplitSink<Box<Socket>, Message>,
    endpoint: String,
    /// What was missed has been replayed: it may be spoken on.
    live: bool,
    pulse: Pulse,
    /// Messages to be said again, and when: at most one entry a waiting message.
    again: Vec<(Instant, String)>,
    /// While it is suspect: another node is sought.
    search: Option<Search>,
}

impl Line {
    async fn send(&mut self, frame: &ClientFrame) -> Result<(), End> {
        let sent = self.out.send(text(frame)).await;
        sent.map_err(|error| self.lost(error.to_string()))
    }

    fn lost(&self, why: String) -> End {
        End::Again {
            why: format!("{}: {why}", self.endpoint),
            after: None,
        }
    }

    fn read(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Step, End> {
        self.pulse.hear(Instant::now());
        self.search = None;
        match message {
            Some(Ok(Message::Text(text))) => match serde_json::from_str::<ServerFrame>(text.as_str()) {
                Ok(frame) => Ok(Step::Frame(frame)),
                // A frame of a later version of the protocol: it is not for this client.
                Err(_) => Ok(Step::Nothing),
            },
            Some(Ok(Message::Close(_))) | None => Err(self.lost("closed".to_owned())),
            Some(Ok(_)) => Ok(Step::Nothing),
            Some(Err(error)) => Err(self.lost(error.to_string())),
        }
    }
}

/// One time a message: the newest counts.
fn schedule(again: &mut Vec<(Instant, String)>, id: &str, after: Duration) {
    again.retain(|(_, waiting)| waiting != id);
    again.push((Instant::now() + after, id.to_owned()));
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
