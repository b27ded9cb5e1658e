//! Between the pipeline of the broker's messages and the desk: messages in, dead letters, what Jarvis shows of itself out.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jarvis_devices::announce::difference;
use jarvis_devices::service::Publish;
use jarvis_entity::api::EntityError;
use jarvis_mqtt::{
    DeadLetter, DeadLetters, Memory, Message, Outcome, Publication, Publisher, Remembered, Sink, SinkError,
};
use jarvis_replica::api::Replica;
use jarvis_types::EntityId;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::desk::Work;
use crate::api::ulid;
use crate::rows;
use crate::wire::decode;

/// Most bytes of a dead letter's payload that are kept; of a longer one the beginning, to look at.
const KEPT_PAYLOAD_BYTES: usize = 48 * 1_024;

/// A dead letter as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Buried {
    topic: String,
    payload: String,
    payload_bytes: usize,
    retained: bool,
    received_ms: u64,
    buried_ms: u64,
    attempts: u32,
    why: String,
}

impl Buried {
    pub(super) fn new(letter: &DeadLetter) -> Self {
        let payload = &letter.message.payload;
        Self {
            topic: letter.message.topic.clone(),
            payload: BASE64_STANDARD.encode(&payload[..payload.len().min(KEPT_PAYLOAD_BYTES)]),
            payload_bytes: payload.len(),
            retained: letter.message.retained,
            received_ms: letter.message.received_ms,
            buried_ms: letter.buried_ms,
            attempts: letter.attempts,
            why: letter.why.clone(),
        }
    }

    fn letter(self, id: u128) -> Option<DeadLetter> {
        let payload = BASE64_STANDARD.decode(&self.payload).ok()?;
        let cut = payload.len() < self.payload_bytes;
        let why = match cut {
            true => format!(
                "{} (of {} bytes the beginning is kept)",
                self.why, self.payload_bytes
            ),
            false => self.why,
        };
        Some(DeadLetter {
            id,
            message: Message {
                id: None,
                replay_of: Some(id),
                topic: self.topic,
                payload: Bytes::from(payload),
                retained: self.retained,
                copy: false,
                received_ms: self.received_ms,
            },
            why,
            attempts: self.attempts,
            buried_ms: self.buried_ms,
        })
    }
}

/// A dead letter of its row.
pub(crate) fn dead_letter(name: &[u8], value: &[u8]) -> Option<DeadLetter> {
    let name = std::str::from_utf8(name).ok()?.strip_prefix(rows::DEAD)?;
    decode::<Buried>(value).ok()?.letter(ulid::parse(name)?)
}

/// Speaks to the desk for the pipeline.
#[derive(Clone)]
pub(super) struct ToDesk {
    pub(super) work: mpsc::Sender<Work>,
    pub(super) replica: Replica,
}

impl ToDesk {
    async fn ask<T>(&self, work: impl FnOnce(oneshot::Sender<T>) -> Work) -> Result<T, SinkError> {
        let (reply, answer) = oneshot::channel();
        // A desk that has ended is another node's, or will be begun anew with a pipeline of its own.
        self.work
            .send(work(reply))
            .await
            .map_err(|_| SinkError::Deposed)?;
        answer.await.map_err(|_| SinkError::Deposed)
    }
}

#[async_trait]
impl Sink for ToDesk {
    async fn decide(&self, batch: &[Message]) -> Result<Vec<Outcome>, SinkError> {
        let batch = batch.to_vec();
        self.ask(|reply| Work::Decide { batch, reply }).await
    }
}

#[async_trait]
impl Memory for ToDesk {
    async fn remembered(&self) -> Result<Remembered, SinkError> {
        self.ask(Work::Remembered).await
    }

    async fn began(&self, epoch: u64) -> Result<(), SinkError> {
        self.ask(|reply| Work::Began { epoch, reply }).await
    }
}

#[async_trait]
impl DeadLetters for ToDesk {
    async fn bury(&self, letter: DeadLetter) -> Result<(), SinkError> {
        self.ask(|reply| Work::Bury { letter, reply }).await
    }

    async fn list(&self, most: usize) -> Result<Vec<DeadLetter>, SinkError> {
        let mut all = dead_letters(&self.replica)?;
        let surplus = all.len().saturating_sub(most);
        Ok(all.split_off(surplus))
    }

    async fn get(&self, id: u128) -> Result<Option<DeadLetter>, SinkError> {
        let letters = dead_letters(&self.replica)?;
        let found = letters.into_iter().find(|letter| letter.id == id);
        match found {
            Some(letter) if letter.message.payload.len() >= KEPT_PAYLOAD_BYTES => {
                Err(SinkError::Failed(format!(
                    "of its payload no more than the first {KEPT_PAYLOAD_BYTES} bytes are kept; have it sent again"
                )))
            }
            found => Ok(found),
        }
    }

    async fn remove(&self, id: u128) -> Result<(), SinkError> {
        let id = ulid::text(id);
        self.ask(|reply| Work::Forget { id, reply }).await.map(drop)
    }
}

fn dead_letters(replica: &Replica) -> Result<Vec<DeadLetter>, SinkError> {
    let unavailable = |error: String| SinkError::Unavailable(error);
    let tables = replica.local().map_err(|error| unavailable(error.to_string()))?;
    let rows = tables
        .query()
        .entity_rows(&EntityId::bridge(), rows::DEAD.as_bytes(), usize::MAX)
        .map_err(|error| unavailable(error.to_string()))?;
    Ok(rows
        .iter()
        .filter_map(|(name, value)| dead_letter(name, value))
        .collect())
}

/// How long one message of what is shown is tried.
const SHOW_PATIENCE: Duration = Duration::from_secs(60);

/// Keeps what a broker shows of Jarvis as it should be. `wanted` says which connection of the broker it is for: a broker may
/// have forgotten everything in between.
pub(super) async fn show(publisher: Publisher, mut wanted: watch::Receiver<(u64, Vec<Publish>)>) {
    let mut shown: (u64, Vec<Publish>) = (0, Vec::new());
    loop {
        let (connection, want) = wanted.borrow_and_update().clone();
        if connection != shown.0 {
            // What is gone meanwhile has to be taken away as well, so only what is still wanted is sent again.
            shown
                .1
                .retain(|known| !want.iter().any(|one| one.topic == known.topic));
        }
        let mut all_done = connection > 0;
        if connection > 0 {
            for (n, one) in difference(&shown.1, &want).into_iter().enumerate() {
                let publication = Publication {
                    intent: format!("shown-{connection}-{n}"),
                    topic: one.topic,
                    payload: Bytes::from(one.payload),
                    retain: one.retain,
                };
                if let Err(error) = publisher.publish(publication, SHOW_PATIENCE).await {
                    tracing::debug!(%error, "what is shown to Home Assistant is not up to date");
                    all_done = false;
                    break;
                }
            }
        }
        if all_done {
            shown = (connection, want);
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// The broker's settings are wrong, or something broke that should not.
pub(super) fn fault(error: impl std::fmt::Display) -> EntityError {
    EntityError::Fault(error.to_string())
}
