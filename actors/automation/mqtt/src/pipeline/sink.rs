//! What the pipeline ends in: who decides, and who keeps what could not be decided on.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::message::{Message, Remembered};

/// Decides on messages. What it answers for is kept: acknowledgements follow from it.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Decides on a batch, in its order, and keeps what follows together with each [`Message::id`].
    ///
    /// Answers for the first so many messages of the batch, all of them if nothing goes wrong. The rest is offered again, so
    /// that the order within a device holds whatever happens. A message whose id was kept already is [`Outcome::Done`].
    async fn decide(&self, batch: &[Message]) -> Result<Vec<Outcome>, SinkError>;
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What follows from it is kept, nothing perhaps.
    Done,
    /// It failed; to be tried again. Nothing behind it may have been decided on: what is answered for ends here.
    Retry(String),
    /// It will never do: to the dead letters with it.
    Reject(String),
}

/// Why a batch was not decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The cluster cannot keep anything at the moment. It is tried again for as long as it takes: the broker keeps the rest.
    #[error("nothing can be kept at the moment: {0}")]
    Unavailable(String),
    /// Deciding failed. Each message is tried by itself, and so often.
    #[error("{0}")]
    Failed(String),
    /// This node may not decide any more.
    #[error("this node does not own the bridge any more")]
    Deposed,
}

/// Remembers, over nodes, which messages were decided on.
#[async_trait]
pub trait Memory: Send + Sync + 'static {
    /// What the decisions so far carry.
    async fn remembered(&self) -> Result<Remembered, SinkError>;

    /// The broker has begun a new session: kept before any of its messages is asked for.
    async fn began(&self, epoch: u64) -> Result<(), SinkError>;
}

/// A message that could not be decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// A ULID.
    pub id: u128,
    /// The message.
    pub message: Message,
    /// Why.
    pub why: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, Unix time.
    pub buried_ms: u64,
}

/// Keeps dead letters. Bounded: the oldest gives way.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps one. The message is acknowledged after that.
    async fn bury(&self, letter: DeadLetter) -> Result<(), SinkError>;

    /// The newest `most` of them, oldest first.
    async fn list(&self, most: usize) -> Result<Vec<DeadLetter>, SinkError>;

    /// One of them.
    async fn get(&self, id: u128) -> Result<Option<DeadLetter>, SinkError>;

    /// Forgets one; it was decided on, or is not wanted.
    async fn remove(&self, id: u128) -> Result<(), SinkError>;
}

/// Most letters kept in memory.
const MAX_LETTERS: usize = 1_000;
/// Most bytes of payloads kept in memory.
const MAX_LETTER_BYTES: usize = 4 * 1_024 * 1_024;

/// Dead letters of this process only.
#[derive(Debug, Default)]
pub struct LettersInMemory {
    letters: Mutex<VecDeque<DeadLetter>>,
}

impl LettersInMemory {
    fn with<T>(&self, act: impl FnOnce(&mut VecDeque<DeadLetter>) -> T) -> T {
        act(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl DeadLetters for LettersInMemory {
    async fn bury(&self, letter: DeadLetter) -> Result<(), SinkError> {
        self.with(|letters| {
            letters.push_back(letter);
            let size = |letters: &VecDeque<DeadLetter>| -> usize {
                letters
                    .iter()
                    .map(|l| l.message.payload.len() + l.message.topic.len())
                    .sum()
            };
            while letters.len() > MAX_LETTERS || (letters.len() > 1 && size(letters) > MAX_LETTER_BYTES) {
                letters.pop_front();
            }
        });
        Ok(())
    }

    async fn list(&self, most: usize) -> Result<Vec<DeadLetter>, SinkError> {
        Ok(self.with(|letters| {
            letters
                .iter()
                .skip(letters.len().saturating_sub(most))
                .cloned()
                .collect()
        }))
    }

    async fn get(&self, id: u128) -> Result<Option<DeadLetter>, SinkError> {
        Ok(self.with(|letters| letters.iter().find(|letter| letter.id == id).cloned()))
    }

    async fn remove(&self, id: u128) -> Result<(), SinkError> {
        self.with(|letters| letters.retain(|letter| letter.id != id));
        Ok(())
    }
}

/// A memory of this process only: what a test, or a home of one node, needs.
#[derive(Debug, Default)]
pub struct MemoryInProcess {
    remembered: Mutex<Remembered>,
}

impl MemoryInProcess {
    /// Changes or reads what is remembered: a sink of the same process keeps its decisions by this.
    pub fn with<T>(&self, act: impl FnOnce(&mut Remembered) -> T) -> T {
        act(&mut self.remembered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Memory for MemoryInProcess {
    async fn remembered(&self) -> Result<Remembered, SinkError> {
        Ok(self.with(|remembered| remembered.clone()))
    }

    async fn began(&self, epoch: u64) -> Result<(), SinkError> {
        self.with(|remembered| remembered.begin(epoch));
        Ok(())
    }
}
