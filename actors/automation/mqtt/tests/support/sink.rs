//! A sink that keeps what it decides together with the messages' identities, as a cluster does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jarvis_mqtt::{MemoryInProcess, Message, Outcome, Sink, SinkError};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::DEADLINE;

/// The sink as one owner of the bridge has it: refused once there is a newer owner, as the cluster refuses an old epoch.
pub(crate) struct Owned {
    sink: Arc<TestSink>,
    owner: usize,
}

#[async_trait]
impl Sink for Owned {
    async fn decide(&self, batch: &[Message]) -> Result<Vec<Outcome>, SinkError> {
        self.sink.decide_as(self.owner, batch).await
    }
}

/// Decides as it is told.
pub(crate) struct TestSink {
    owners: AtomicUsize,
    pub(crate) memory: Arc<MemoryInProcess>,
    /// What was decided on: topic and payload.
    log: Mutex<Vec<(String, String)>>,
    changed: Notify,
    /// How long a batch takes, before and after it is kept.
    delay_us: AtomicU64,
    /// Without a permit nothing is decided on.
    gate: Semaphore,
    offered: AtomicUsize,
    copies: AtomicUsize,
    /// Answers to the next offers, before anything else.
    answers: Mutex<VecDeque<Answer>>,
}

/// What the sink is told to answer.
pub(crate) enum Answer {
    Error(SinkError),
    /// For messages with this payload, whenever they are offered.
    Poison(&'static str, Outcome),
}

impl TestSink {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            owners: AtomicUsize::new(0),
            memory: Arc::new(MemoryInProcess::default()),
            log: Mutex::new(Vec::new()),
            changed: Notify::new(),
            delay_us: AtomicU64::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            offered: AtomicUsize::new(0),
            copies: AtomicUsize::new(0),
            answers: Mutex::new(VecDeque::new()),
        })
    }

    /// Another owner: what the ones before decide from here on does not count.
    pub(crate) fn own(self: &Arc<Self>) -> Arc<Owned> {
        // Nothing is being kept while the owner changes.
        let owner = self
            .memory
            .with(|_| self.owners.fetch_add(1, Ordering::SeqCst) + 1);
        Arc::new(Owned {
            sink: Arc::clone(self),
            owner,
        })
    }

    pub(crate) fn log(&self) -> Vec<(String, String)> {
        self.log.lock().expect("whole").clone()
    }

    pub(crate) fn payloads(&self) -> Vec<String> {
        self.log().into_iter().map(|(_, payload)| payload).collect()
    }

    /// Messages that came by a second subscription.
    pub(crate) fn copies(&self) -> usize {
        self.copies.load(Ordering::SeqCst)
    }

    pub(crate) fn offered(&self) -> usize {
        self.offered.load(Ordering::SeqCst)
    }

    pub(crate) fn slow_down(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::SeqCst);
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.answers.lock().expect("whole").push_back(answer);
    }

    pub(crate) fn cure(&self) {
        self.answers.lock().expect("whole").clear();
    }

    /// Decides on nothing more.
    pub(crate) fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(crate) async fn until_decided(&self, messages: usize) {
        self.until("decided on", |sink| sink.log().len() >= messages)
            .await;
    }

    pub(crate) async fn until_offered(&self, messages: usize) {
        self.until("offered", |sink| sink.offered() >= messages).await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                // A change may fall between the look and the wait.
                let _ = timeout(Duration::from_millis(20), self.changed.notified()).await;
            }
        };
        let waited = timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "not in time {what}: {} of it", self.log().len());
    }

    fn keep(&self, owner: usize, message: &Message) -> Result<(), SinkError> {
        let payload = String::from_utf8_lossy(&message.payload).into_owned();
        self.memory.with(|remembered| {
            if self.owners.load(Ordering::SeqCst) != owner {
                return Err(SinkError::Deposed);
            }
            if let Some(id) = message.id {
                if remembered.has(&id) {
                    return Ok(());
                }
                remembered.decide(id);
            }
            if message.copy {
                self.copies.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            self.log
                .lock()
                .expect("whole")
                .push((message.topic.clone(), payload));
            Ok(())
        })?;
        self.changed.notify_one();
        Ok(())
    }

    fn answer_to(&self, message: &Message) -> Option<Outcome> {
        self.answers
            .lock()
            .expect("whole")
            .iter()
            .find_map(|answer| match answer {
                Answer::Poison(payload, outcome) if message.payload == payload.as_bytes() => {
                    Some(outcome.clone())
                }
                _ => None,
            })
    }
}

impl TestSink {
    async fn decide_as(&self, owner: usize, batch: &[Message]) -> Result<Vec<Outcome>, SinkError> {
        self.offered.fetch_add(batch.len(), Ordering::SeqCst);
        self.changed.notify_one();
        drop(self.gate.acquire().await.expect("never closed"));
        let delay = Duration::from_micros(self.delay_us.load(Ordering::SeqCst));
        {
            let mut answers = self.answers.lock().expect("whole");
            if let Some(Answer::Error(_)) = answers.front()
                && let Some(Answer::Error(error)) = answers.pop_front()
            {
                return Err(error);
            }
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let mut outcomes = Vec::new();
        for message in batch {
            match self.answer_to(message) {
                None => {
                    self.keep(owner, message)?;
                    outcomes.push(Outcome::Done);
                }
                Some(outcome) => {
                    let ends = matches!(outcome, Outcome::Retry(_));
                    outcomes.push(outcome);
                    if ends {
                        break;
                    }
                }
            }
        }
        // Kept, but nobody knows yet: here a node may die.
        if !delay.is_zero() {
            sleep(delay).await;
        }
        Ok(outcomes)
    }
}
