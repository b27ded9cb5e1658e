//! What is sent to the broker: once confirmed it is done, until then it is tried.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::link::wire::is_topic;

/// Publications that wait for their turn; who comes later waits with his.
pub(crate) const MAX_WAITING: usize = 256;
/// Largest payload that is sent.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1_024;
/// Longest intent id.
const MAX_INTENT_BYTES: usize = 128;

/// A message of QoS 1 for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The id of the intent, the same at every try. MQTT 5 carries it as the user property `jarvis-intent`.
    pub intent: String,
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
}

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It cannot be published by anyone.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// The broker takes no packet of that size.
    #[error("a packet of {bytes} bytes, of {most} that the broker takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The broker's bound.
        most: usize,
    },
    /// The broker does not take it, and trying again would not help.
    #[error("the broker refuses it with code {code:#04x}{}", meaning(*.code))]
    Refused {
        /// Its code.
        code: u8,
    },
    /// No confirmation came in time: it may have been published, or may still be.
    #[error("no confirmation within {waited_ms} ms; it may have been published")]
    TimedOut {
        /// How long was waited.
        waited_ms: u64,
    },
    /// This node does not own the bridge any more.
    #[error("this node does not own the bridge to the broker")]
    Released,
}

fn meaning(code: u8) -> &'static str {
    match code {
        0x87 => " (not authorised)",
        0x90 => " (topic not accepted)",
        0x97 => " (quota exceeded)",
        0x99 => " (payload not accepted)",
        _ => "",
    }
}

/// Whether another try may help: quotas run free, unspecified errors pass.
pub(crate) fn is_passing(code: u8) -> bool {
    matches!(code, 0x80 | 0x83 | 0x91 | 0x97)
}

/// Sends to the broker. Clones send through the same bridge.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) requests: mpsc::Sender<Request>,
}

/// A publication and who waits for its end.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) publication: Publication,
    pub(crate) reply: oneshot::Sender<Result<(), PublishError>>,
}

impl Publisher {
    /// Publishes, and returns when the broker has confirmed it. Survives lost connections; repeated with the same intent only.
    ///
    /// # Errors
    /// [`PublishError`]; after [`PublishError::TimedOut`] it may or may not be with the broker.
    pub async fn publish(&self, publication: Publication, patience: Duration) -> Result<(), PublishError> {
        check(&publication)?;
        let (reply, mut answer) = oneshot::channel();
        let request = Request { publication, reply };
        let sent_and_confirmed = async {
            let sent = self.requests.send(request).await;
            sent.map_err(|_| PublishError::Released)?;
            tokio::select! {
                biased;
                answered = &mut answer => answered.unwrap_or(Err(PublishError::Released)),
                // A request that came in while the bridge went is not dropped with it.
                () = self.requests.closed() => Err(PublishError::Released),
            }
        };
        let waited_ms = patience.as_millis() as u64;
        let ended = timeout(patience, sent_and_confirmed).await;
        ended.unwrap_or(Err(PublishError::TimedOut { waited_ms }))
    }
}

/// A publication that was handed over.
#[derive(Debug)]
pub struct Confirmation {
    answer: oneshot::Receiver<Result<(), PublishError>>,
    requests: mpsc::Sender<Request>,
}

impl Confirmation {
    /// Waits for the broker to confirm it.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn wait(mut self, patience: Duration) -> Result<(), PublishError> {
        let confirmed = async {
            tokio::select! {
                biased;
                answered = &mut self.answer => answered.unwrap_or(Err(PublishError::Released)),
                () = self.requests.closed() => Err(PublishError::Released),
            }
        };
        let waited_ms = patience.as_millis() as u64;
        let ended = timeout(patience, confirmed).await;
        ended.unwrap_or(Err(PublishError::TimedOut { waited_ms }))
    }
}

impl Publisher {
    /// How many publications can be handed over without waiting.
    pub fn room(&self) -> usize {
        self.requests.capacity()
    }

    /// Hands a publication over without waiting: what is handed over first is sent first. None: too many wait.
    ///
    /// # Errors
    /// [`PublishError`]; there will be no confirmation.
    pub fn offer(&self, publication: Publication) -> Result<Option<Confirmation>, PublishError> {
        check(&publication)?;
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Request { publication, reply }) {
            Ok(()) => Ok(Some(Confirmation {
                answer,
                requests: self.requests.clone(),
            })),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(None),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(PublishError::Released),
        }
    }
}

fn check(publication: &Publication) -> Result<(), PublishError> {
    let invalid = |what: String| Err(PublishError::Invalid { what });
    if !is_topic(&publication.topic) {
        return invalid(format!(
            "{:?} is no topic: 1 to 65,535 bytes without '+', '#' and NUL",
            publication.topic.chars().take(80).collect::<String>()
        ));
    }
    if publication.payload.len() > MAX_PAYLOAD_BYTES {
        return invalid(format!(
            "a payload of {} bytes; at most {MAX_PAYLOAD_BYTES} are sent",
            publication.payload.len()
        ));
    }
    if publication.intent.len() > MAX_INTENT_BYTES || publication.intent.contains('\0') {
        return invalid(format!(
            "an intent's id has at most {MAX_INTENT_BYTES} bytes and no NUL"
        ));
    }
    Ok(())
}
