//! One partition: gathers a batch, has it decided on, settles it; in order, whatever fails.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jarvis_host::new_ulid;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::bridge::ReplayError;
use crate::metrics;
use crate::pipeline::sink::{DeadLetter, Outcome, SinkError};
use crate::pipeline::{End, Job, Shared};

/// The longest pause between tries, in first pauses.
const LONGEST_PAUSE: u32 = 16;
/// Longest reason kept with a dead letter.
const MAX_WHY_CHARS: usize = 500;

/// This node may not decide any more.
struct Deposed;

/// Works until nothing can come any more.
pub(super) async fn work(shared: Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let batch = gather(&shared, first, &mut jobs).await;
        if settle(&shared, batch).await.is_err() {
            shared.deposed.notify_one();
            return;
        }
    }
}

/// A batch: as much as is there, or comes in time.
async fn gather(shared: &Shared, first: Job, jobs: &mut mpsc::Receiver<Job>) -> VecDeque<Job> {
    let until = Instant::now() + shared.batches.linger;
    pass(shared).await;
    let mut batch = VecDeque::from([first]);
    while batch.len() < shared.batches.most_messages {
        let next = match jobs.try_recv() {
            Ok(job) => Some(job),
            Err(_) if shared.batches.linger.is_zero() => None,
            Err(_) => timeout_at(until, jobs.recv()).await.ok().flatten(),
        };
        let Some(job) = next else { break };
        pass(shared).await;
        batch.push_back(job);
    }
    batch
}

/// Waits for the rate limit.
async fn pass(shared: &Shared) {
    let now = Instant::now();
    let at = shared
        .rate
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(now);
    if at > now {
        sleep_until(at).await;
        metrics::rate_wait(at - now);
    }
}

/// Has all of a batch decided on, however long it takes.
async fn settle(shared: &Shared, mut batch: VecDeque<Job>) -> Result<(), Deposed> {
    let mut failures = 0;
    let mut together = usize::MAX;
    while !batch.is_empty() {
        let messages: Vec<_> = batch
            .iter()
            .take(together)
            .map(|job| job.message.clone())
            .collect();
        let offered = Instant::now();
        let answer = shared.sink.decide(&messages).await;
        metrics::decided(messages.len(), offered.elapsed());
        let failed = match answer {
            Ok(outcomes) => take_outcomes(shared, &mut batch, messages.len(), outcomes).await?,
            Err(SinkError::Deposed) => return Err(Deposed),
            Err(SinkError::Unavailable(why)) => {
                tracing::debug!(%why, messages = messages.len(), "what follows from messages cannot be kept yet");
                metrics::retried("unavailable");
                failures += 1;
                pause(shared, failures).await;
                continue;
            }
            // Which of them it was is found out one by one.
            Err(SinkError::Failed(_)) if messages.len() > 1 => {
                together = 1;
                metrics::retried("failed");
                continue;
            }
            Err(SinkError::Failed(why)) => Some(why),
        };
        match failed {
            None => failures = 0,
            Some(why) => {
                metrics::retried("failed");
                failures += 1;
                if fail_first(shared, &mut batch, why).await? {
                    failures = 0;
                } else {
                    pause(shared, failures).await;
                }
            }
        }
    }
    Ok(())
}

/// Settles what was answered for. Says why the first that is left failed, if it did.
async fn take_outcomes(
    shared: &Shared,
    batch: &mut VecDeque<Job>,
    offered: usize,
    outcomes: Vec<Outcome>,
) -> Result<Option<String>, Deposed> {
    if outcomes.is_empty() {
        return Ok(Some("the sink answered for nothing".to_owned()));
    }
    for outcome in outcomes.into_iter().take(offered) {
        match outcome {
            Outcome::Retry(why) => return Ok(Some(why)),
            Outcome::Done => {
                if let Some(job) = batch.pop_front() {
                    done(shared, job, Ok(())).await;
                }
            }
            Outcome::Reject(why) => {
                if let Some(job) = batch.pop_front() {
                    give_up(shared, job, why).await?;
                }
            }
        }
    }
    Ok(None)
}

/// Counts a failed try of the first message; gives it up after too many, and says so.
async fn fail_first(shared: &Shared, batch: &mut VecDeque<Job>, why: String) -> Result<bool, Deposed> {
    let Some(first) = batch.front_mut() else {
        return Ok(false);
    };
    first.attempts += 1;
    if first.attempts < shared.batches.most_attempts {
        return Ok(false);
    }
    if let Some(job) = batch.pop_front() {
        give_up(shared, job, why).await?;
    }
    Ok(true)
}

/// Puts a message to the dead letters; a replayed one is there.
async fn give_up(shared: &Shared, job: Job, why: String) -> Result<(), Deposed> {
    let why: String = why.chars().take(MAX_WHY_CHARS).collect();
    if matches!(job.end, End::Replay(..)) {
        done(shared, job, Err(ReplayError::Failed(why))).await;
        return Ok(());
    }
    let letter = DeadLetter {
        id: new_ulid(&*shared.clock, &*shared.entropy),
        message: job.message.clone(),
        why,
        attempts: job.attempts.max(1),
        buried_ms: shared.clock.now_ms(),
    };
    tracing::warn!(
        topic = job.message.topic,
        why = letter.why,
        attempts = letter.attempts,
        "a message could not be decided on and is kept as a dead letter"
    );
    let mut failures = 0;
    while let Err(error) = shared.letters.bury(letter.clone()).await {
        if error == SinkError::Deposed {
            return Err(Deposed);
        }
        failures += 1;
        metrics::retried("letters");
        pause(shared, failures).await;
    }
    metrics::buried();
    done(shared, job, Ok(())).await;
    Ok(())
}

/// Tells whoever waits for the message's end.
async fn done(shared: &Shared, job: Job, result: Result<(), ReplayError>) {
    metrics::settled(job.arrived.elapsed());
    match job.end {
        End::Nobody => {}
        End::Acknowledge(id) => {
            let undecided = {
                let mut session = shared.session();
                session.settled(&id);
                session.undecided()
            };
            metrics::undecided(undecided);
            shared.settled.notify_one();
        }
        End::Replay(letter, reply) => {
            let removed = match result {
                Ok(()) => shared.letters.remove(letter).await,
                Err(_) => Ok(()),
            };
            // It was decided on: a letter that stays is told, and recognised by its id when it is tried again.
            let result = result.and(removed.map_err(|error| ReplayError::Kept(error.to_string())));
            drop(reply.send(result));
        }
    }
}

/// Waits before another try: longer each time, within bounds.
async fn pause(shared: &Shared, failures: u32) {
    let first = shared.batches.retry_pause.max(Duration::from_millis(1));
    let times = 1u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(LONGEST_PAUSE);
    sleep(first * times.min(LONGEST_PAUSE)).await;
}
