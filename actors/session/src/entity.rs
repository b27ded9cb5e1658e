//! The session's actor: a thin shell around [`Turns`]. It receives, has that decide, and proposes, writes and publishes.

mod answering;
mod prompt;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jarvis_entity::api::{Cx, Entity, EntityError, EntityKind, Inbound};
use jarvis_host::Clock;
use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_machine::rows::MessageBody;
use jarvis_mesh::api::Answer;
use jarvis_replica::api::{ProposeError, ReadError, View};
use jarvis_types::limits::{MAX_REPLY_CHARS, SESSION_PARTITIONS};
use jarvis_types::{
    ClientMessageId, EntityId, Epoch, KindId, NodeId, PartitionIndex, RequestId, Seq, SessionId, UserId,
};
use jiff::tz::TimeZone;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::api::{OVERLOADED_RETRY_MS, UNAVAILABLE_RETRY_MS};
use crate::hub::{Hub, Registration};
use crate::logic::turn::{Effect, Input, Turns};
use crate::message::{Delta, FromSession, ToSession, decode, encode};
use crate::metrics;
use crate::responder::Responder;

/// Longest time that one message may hold the actor up, whatever its sender is ready to wait.
const MAX_SAY_BUDGET: Duration = Duration::from_secs(5);

/// What the kind needs.
pub struct SessionKindDeps {
    /// The node's hub.
    pub hub: Hub,
    /// What writes replies; [`crate::responder::Chain`].
    pub responder: Arc<dyn Responder>,
    /// For what is told of the time.
    pub clock: Arc<dyn Clock>,
    /// IANA name of the time zone whose time is told; none: this machine's.
    pub time_zone: Option<String>,
    /// How many earlier entries of the transcript a responder is shown.
    pub history_entries: usize,
}

/// The session kind.
pub struct SessionKind {
    shared: Arc<Shared>,
}

/// What all sessions of a node share.
struct Shared {
    hub: Hub,
    responder: Arc<dyn Responder>,
    clock: Arc<dyn Clock>,
    time_zone: TimeZone,
    history_entries: usize,
}

impl SessionKind {
    /// The kind, for the entity runtime of the node that `deps.hub` belongs to.
    pub fn new(deps: SessionKindDeps) -> Self {
        let SessionKindDeps {
            hub,
            responder,
            clock,
            time_zone,
            history_entries,
        } = deps;
        let time_zone = zone(time_zone.as_deref());
        Self {
            shared: Arc::new(Shared {
                hub,
                responder,
                clock,
                time_zone,
                history_entries,
            }),
        }
    }
}

fn zone(name: Option<&str>) -> TimeZone {
    let found = match name {
        Some(name) => TimeZone::get(name),
        None => TimeZone::try_system(),
    };
    found.unwrap_or_else(|error| {
        tracing::warn!(name, %error, "the time zone is not known on this machine; UTC is told instead");
        TimeZone::UTC
    })
}

impl EntityKind for SessionKind {
    type Entity = SessionEntity;

    fn id(&self) -> KindId {
        KindId::SESSION
    }

    fn name(&self) -> &'static str {
        "session"
    }

    fn partitions(&self) -> u16 {
        SESSION_PARTITIONS
    }

    fn create(&self, id: &EntityId) -> SessionEntity {
        SessionEntity {
            shared: Arc::clone(&self.shared),
            session: id.key.parse().ok(),
            turns: Turns::default(),
            hints: HashMap::new(),
            writing: None,
            last_seen: Seq(0),
            started: Instant::now(),
            registration: None,
        }
    }

    fn unfinished(&self, view: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError> {
        let open = view.query().open_turns(partition)?;
        let mut sessions: Vec<SessionId> = open.into_iter().map(|(session, _)| session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        Ok(sessions.into_iter().map(|session| session.to_string()).collect())
    }
}

/// News for a session's actor.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// The responder, or what commits its reply, has come so far.
    Progress(Progress),
    /// The transcript has grown to `seq`, perhaps by something this actor does not know of.
    Look {
        /// The newest entry.
        seq: Seq,
    },
    /// The partition is in a newer epoch.
    Deposed(Epoch),
}

/// How far a reply is.
#[derive(Debug, Clone)]
pub struct Progress {
    pub(crate) input: Input,
    /// The reply's own entry, once committed.
    pub(crate) seq: Option<Seq>,
}

/// What is known of a message beside what stands in the transcript. Lost with the actor, without harm.
#[derive(Debug, Clone, Default)]
struct Hint {
    gateway: Option<NodeId>,
    request: Option<RequestId>,
    text: Option<String>,
}

/// A session's actor.
pub struct SessionEntity {
    shared: Arc<Shared>,
    /// None where the key is no session's: nothing can be done then.
    session: Option<SessionId>,
    turns: Turns,
    hints: HashMap<Seq, Hint>,
    writing: Option<AbortHandle>,
    /// All entries up to here are known to this actor.
    last_seen: Seq,
    started: Instant,
    registration: Option<Registration>,
}

type Context = Cx<SessionEvent>;
type Handled = Result<(), EntityError>;

#[async_trait]
impl Entity for SessionEntity {
    type Event = SessionEvent;

    async fn on_start(&mut self, cx: &Context) -> Handled {
        // A key that names no session gets an actor that knows of none: what it is asked is "not found".
        let Some(session) = self.session else {
            return Ok(());
        };
        self.registration = Some(self.shared.hub.register(session, cx.events()));
        self.look(cx, session)
    }

    async fn on_message(&mut self, cx: &Context, message: Inbound) -> Handled {
        let Inbound {
            from,
            request,
            body,
            answer,
        } = message;
        let asked = match decode::<ToSession>(&body) {
            Ok(asked) => asked,
            Err(error) => {
                answer.refuse(format!("malformed message: {error}"));
                return Ok(());
            }
        };
        let Some(session) = self.session else {
            reply(answer, &FromSession::NotFound);
            return Ok(());
        };
        match asked {
            ToSession::Say {
                user,
                id,
                text,
                budget_ms,
            } => {
                let budget = Duration::from_millis(u64::from(budget_ms)).min(MAX_SAY_BUDGET);
                let request_id = request.as_ref().map(tracing::field::display);
                let span = tracing::info_span!("say", request_id, %session, %id);
                let hint = Hint {
                    gateway: Some(from),
                    request,
                    text: Some(text),
                };
                let say = self.say(cx, session, user, id, hint, budget, answer);
                say.instrument(span).await
            }
            ToSession::Cancel { user, id } => self.cancel(cx, session, user, id, answer),
            ToSession::Look => {
                reply(answer, &FromSession::Done);
                self.look(cx, session)
            }
        }
    }

    async fn on_event(&mut self, cx: &Context, event: SessionEvent) -> Handled {
        let Some(session) = self.session else {
            return Ok(());
        };
        match event {
            SessionEvent::Progress(Progress { input, seq }) => {
                if let Some(seq) = seq {
                    self.saw(seq);
                }
                self.decide(cx, session, input)
            }
            SessionEvent::Look { seq } if seq > self.last_seen => self.look(cx, session),
            SessionEvent::Look { .. } => Ok(()),
            SessionEvent::Deposed(epoch) => self.deposed(cx, session, epoch),
        }
    }

    fn is_idle(&self) -> bool {
        self.turns.is_idle()
    }
}

impl SessionEntity {
    #[allow(clippy::too_many_arguments, reason = "a message's parts, handed on once")]
    async fn say(
        &mut self,
        cx: &Context,
        session: SessionId,
        user: UserId,
        id: ClientMessageId,
        hint: Hint,
        budget: Duration,
        answer: Answer,
    ) -> Handled {
        let request = hint.request.clone();
        match self.before(cx, session, user, &id) {
            Ok(None) => {}
            Ok(Some(known)) => {
                reply(answer, &known);
                return Ok(());
            }
            Err(error) => {
                reply(answer, &FromSession::Internal(error.to_string()));
                return Ok(());
            }
        }
        let text = hint.text.clone().unwrap_or_default();
        let chars = text.chars().count();
        let command = Command::Say {
            session,
            user,
            id: id.clone(),
            text,
        };
        match cx.propose(command, request, budget).await {
            Ok(Reply::Appended { seq, at_ms, repeated }) => {
                reply(answer, &FromSession::Said { seq, at_ms, repeated });
                if repeated {
                    // Its first time had an unknown outcome; the tables tell whether it is answered.
                    return self.look(cx, session);
                }
                metrics::message();
                tracing::debug!(%seq, "said");
                self.saw(seq);
                self.hints.insert(seq, hint);
                self.decide(cx, session, Input::Committed { to: seq, id })
            }
            Ok(other) => {
                reply(
                    answer,
                    &FromSession::Internal(format!("the machine answered {other:?}")),
                );
                Ok(())
            }
            Err(ProposeError::Refused(Refusal::StaleEpoch { current, .. })) => {
                reply(answer, &FromSession::Moved);
                self.deposed(cx, session, current)
            }
            Err(error) => {
                reply(answer, &refusal(&error, chars));
                Ok(())
            }
        }
    }

    /// What can be answered without asking the majority.
    fn before(
        &self,
        cx: &Context,
        session: SessionId,
        user: UserId,
        id: &ClientMessageId,
    ) -> Result<Option<FromSession>, ReadError> {
        let view = cx.replica.local()?;
        let query = view.query();
        if query.session(session)?.is_some_and(|row| row.user != user) {
            return Ok(Some(FromSession::NotFound));
        }
        if let Some(seq) = query.seq_of(session, id)?
            && let Some(row) = query.message(session, seq)?
        {
            return Ok(Some(FromSession::Said {
                seq,
                at_ms: row.at_ms,
                repeated: true,
            }));
        }
        let full = FromSession::Overloaded {
            retry_after_ms: OVERLOADED_RETRY_MS,
        };
        Ok((!self.turns.has_room()).then_some(full))
    }

    fn cancel(
        &mut self,
        cx: &Context,
        session: SessionId,
        user: UserId,
        id: ClientMessageId,
        answer: Answer,
    ) -> Handled {
        match self.unanswered(cx, session, user, &id) {
            Ok(true) => {
                reply(answer, &FromSession::Done);
                if !self.turns.awaits(&id) {
                    // It stands in the transcript, and this actor has not heard of it yet.
                    self.look(cx, session)?;
                }
                self.decide(cx, session, Input::Cancel { id })
            }
            Ok(false) => {
                reply(answer, &FromSession::NotFound);
                Ok(())
            }
            Err(error) => {
                reply(answer, &FromSession::Internal(error.to_string()));
                Ok(())
            }
        }
    }

    /// Whether a message of this user's waits for its reply.
    fn unanswered(
        &self,
        cx: &Context,
        session: SessionId,
        user: UserId,
        id: &ClientMessageId,
    ) -> Result<bool, ReadError> {
        let view = cx.replica.local()?;
        let query = view.query();
        let row = query.session(session)?;
        if row.is_none_or(|row| row.user != user) {
            return Ok(false);
        }
        let message = match query.seq_of(session, id)? {
            Some(seq) => query.message(session, seq)?,
            None => None,
        };
        Ok(match message {
            Some(row) => matches!(row.body, MessageBody::Said { reply: None, .. }),
            // Committed a moment ago, and not yet applied here.
            None => self.turns.awaits(id),
        })
    }

    /// Reads which messages are unanswered, and takes on those it did not know of.
    fn look(&mut self, cx: &Context, session: SessionId) -> Handled {
        let fault = |error: ReadError| EntityError::Fault(error.to_string());
        let view = cx.replica.local().map_err(fault)?;
        let query = view.query();
        let last = query
            .session(session)
            .map_err(|e| fault(e.into()))?
            .map_or(Seq(0), |row| row.last_seq);
        let open = query.open_turns_of(session).map_err(|e| fault(e.into()))?;
        self.last_seen = self.last_seen.max(last);
        for to in open {
            if let Some(row) = query.message(session, to).map_err(|e| fault(e.into()))?
                && let MessageBody::Said { id, .. } = row.body
            {
                self.decide(cx, session, Input::Committed { to, id })?;
            }
        }
        Ok(())
    }

    /// Notes an entry of its own making. One that does not follow the last leaves a gap, which the news of the entries
    /// in it will fill.
    fn saw(&mut self, seq: Seq) {
        if seq.0 == self.last_seen.0 + 1 {
            self.last_seen = seq;
        }
    }

    fn deposed(&mut self, cx: &Context, session: SessionId, epoch: Epoch) -> Handled {
        let _ = self.decide(cx, session, Input::Deposed);
        Err(EntityError::Deposed(epoch))
    }

    /// Has the turns decide, and does what they say.
    fn decide(&mut self, cx: &Context, session: SessionId, input: Input) -> Handled {
        let now_ms = self.started.elapsed().as_millis() as u64;
        for effect in self.turns.handle(now_ms, input) {
            match effect {
                Effect::Begin { to, id } => {
                    let hint = self.hints.get(&to).cloned().unwrap_or_default();
                    self.writing = Some(answering::write(cx, &self.shared, session, to, id, hint));
                }
                Effect::Stop => {
                    if let Some(writing) = self.writing.take() {
                        writing.abort();
                    }
                }
                Effect::Publish { to, id, offset, text } => {
                    let delta = Delta {
                        session,
                        epoch: cx.epoch,
                        to,
                        reply_to: id,
                        offset,
                        text,
                    };
                    self.shared.hub.publish(delta);
                }
                Effect::Commit { to, text, cancelled } => {
                    let request = self.hints.remove(&to).and_then(|hint| hint.request);
                    answering::commit(cx, session, to, text, cancelled, request);
                }
                Effect::Settled { outcome, took_ms } => {
                    self.shared.hub.settled(session);
                    metrics::reply(outcome.label(), took_ms);
                    if self.turns.is_idle() {
                        self.hints = HashMap::new();
                    }
                }
                Effect::End => self.shared.hub.settled(session),
            }
        }
        Ok(())
    }
}

/// What is answered where a text of so many characters was not taken.
fn refusal(error: &ProposeError, chars: usize) -> FromSession {
    match error {
        ProposeError::Unavailable { .. } | ProposeError::Stopping => FromSession::Unavailable {
            retry_after_ms: UNAVAILABLE_RETRY_MS,
        },
        ProposeError::Overloaded | ProposeError::Refused(Refusal::LimitReached(_)) => {
            FromSession::Overloaded {
                retry_after_ms: OVERLOADED_RETRY_MS,
            }
        }
        ProposeError::Refused(Refusal::NotFound(_)) => FromSession::NotFound,
        ProposeError::Refused(Refusal::Invalid(_)) if chars > MAX_REPLY_CHARS => FromSession::TooLong(
            format!("the text has {chars} characters; at most {MAX_REPLY_CHARS} are taken"),
        ),
        ProposeError::Refused(Refusal::Invalid(what)) => FromSession::Invalid(what.clone()),
        ProposeError::TooLarge { .. } => FromSession::TooLong(error.to_string()),
        other => FromSession::Internal(other.to_string()),
    }
}

fn reply(answer: Answer, message: &FromSession) {
    match encode(message) {
        Ok(body) => answer.send(body),
        Err(error) => {
            tracing::error!(%error, "an answer does not encode");
            answer.send(Bytes::new());
        }
    }
}
