//! The two tasks of a turn: writing the reply, and committing it. Both end with the activation.

use std::sync::Arc;
use std::time::Duration;

use jarvis_entity::api::Cx;
use jarvis_machine::command::Command;
use jarvis_machine::reply::{Refusal, Reply};
use jarvis_replica::api::{ProposeError, ProposeOptions};
use jarvis_types::{ClientMessageId, RequestId, Seq, SessionId};
use tokio::task::AbortHandle;
use tracing::Instrument;

use super::prompt::{Asked, gather};
use super::{Context, Hint, Progress, SessionEvent, Shared};
use crate::logic::intents::cut_note;
use crate::logic::turn::Input;
use crate::responder::pump;

/// How long one proposal of a reply may take before it is made again.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// First pause between proposals of a reply; it doubles.
const MIN_COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause: once a majority is back, replies follow within it.
const MAX_COMMIT_PAUSE: Duration = Duration::from_millis(500);

type Tell = Arc<dyn Fn(SessionEvent) + Send + Sync>;

fn progress(tell: &Tell, input: Input, seq: Option<Seq>) {
    tell(SessionEvent::Progress(Progress { input, seq }));
}

/// Has the responder answer the message; its parts and its end come as events.
pub(super) fn write(
    cx: &Context,
    shared: &Arc<Shared>,
    session: SessionId,
    to: Seq,
    id: ClientMessageId,
    hint: Hint,
) -> AbortHandle {
    let (shared, replica) = (Arc::clone(shared), cx.replica.clone());
    let request_id = hint.request.as_ref().map(tracing::field::display);
    let span = tracing::info_span!("answer", request_id, %session, %to);
    // A responder that panics is noticed like one that fails: the guard tells of every end but the good one.
    let guard = Unfinished {
        tell: cx.events(),
        to: Some(to),
    };
    let work = async move {
        let guard = guard;
        let asked = Asked {
            session,
            to,
            text: hint.text,
            gateway: hint.gateway,
        };
        let prompt = match gather(&shared, &replica, asked).await {
            Ok(prompt) => prompt,
            Err(error) => {
                tracing::warn!(%error, %id, "the conversation could not be read");
                // The pause keeps a failing store from being asked in a tight loop.
                tokio::time::sleep(MAX_COMMIT_PAUSE).await;
                return;
            }
        };
        let tell = Arc::clone(&guard.tell);
        let part = |offset, text| progress(&tell, Input::Delta { to, offset, text }, None);
        match pump(&*shared.responder, &prompt, cut_note(&prompt.text), part).await {
            Ok(text) => {
                guard.disarm();
                progress(&tell, Input::Finished { to, text }, None);
            }
            Err(error) => tracing::warn!(%error, %id, "the responder failed"),
        }
    };
    cx.tasks
        .spawn_until_cancelled(work.instrument(span))
        .abort_handle()
}

struct Unfinished {
    tell: Tell,
    to: Option<Seq>,
}

impl Unfinished {
    fn disarm(mut self) {
        self.to = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            progress(&self.tell, Input::Failed { to }, None);
        }
    }
}

/// Proposes the reply until it is committed or cannot be: a finished reply is not thrown away because no majority
/// answers for a while.
pub(super) fn commit(
    cx: &Context,
    session: SessionId,
    to: Seq,
    text: String,
    cancelled: bool,
    request: Option<RequestId>,
) {
    let Cx { replica, epoch, .. } = cx;
    let (replica, epoch, fence, tell) = (replica.clone(), *epoch, cx.fence(), cx.events());
    let request_id = request.as_ref().map(tracing::field::display);
    let span = tracing::info_span!("commit", request_id, %session, %to);
    let work = async move {
        let mut pause = MIN_COMMIT_PAUSE;
        loop {
            let command = Command::Answer {
                session,
                to,
                text: text.clone(),
                cancelled,
            };
            let options = ProposeOptions {
                fence: Some(fence),
                request: request.clone(),
                deadline: COMMIT_DEADLINE,
            };
            match replica.propose(command, options).await {
                Ok(reply) => {
                    let seq = if let Reply::Appended { seq, .. } = reply {
                        Some(seq)
                    } else {
                        None
                    };
                    return progress(&tell, Input::Answered { to }, seq);
                }
                Err(ProposeError::Refused(Refusal::AlreadyAnswered)) => {
                    return progress(&tell, Input::Answered { to }, None);
                }
                Err(ProposeError::Refused(Refusal::StaleEpoch { current, .. })) => {
                    return tell(SessionEvent::Deposed(current));
                }
                Err(ProposeError::Refused(Refusal::StaleIncarnation)) => {
                    return tell(SessionEvent::Deposed(epoch));
                }
                Err(ProposeError::Stopping) => return,
                Err(error @ (ProposeError::Refused(_) | ProposeError::TooLarge { .. })) => {
                    tracing::error!(%error, "a reply was refused; the message stays unanswered");
                    return progress(&tell, Input::Unanswerable { to }, None);
                }
                Err(ProposeError::Unavailable { .. } | ProposeError::Overloaded) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_COMMIT_PAUSE);
                }
            }
        }
    };
    cx.tasks.spawn_until_cancelled(work.instrument(span));
}
