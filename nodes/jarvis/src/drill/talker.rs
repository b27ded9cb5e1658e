//! Conversations that go on: each says something, waits for the answer, says the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jarvis_client::history::{Transcript, Violation};
use jarvis_client::{ChatClient, ChatEvent, ChatOptions};
use jarvis_host::{SystemClock, SystemEntropy, Tasks, new_ulid};
use jarvis_types::ClusterId;
use jarvis_types::chat::{ErrorCode, ServerFrame};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cluster::Cluster;
use crate::fail::Failure;

/// Between an answer and the next question: a person would take longer, a gap is measured to this.
const PAUSE: Duration = Duration::from_millis(20);
/// Most answers whose times are kept, over a whole drill.
const MAX_ANSWERS: usize = 1_000_000;

/// What one conversation saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) session: String,
    pub(super) transcript: Transcript,
    pub(super) confirmed: BTreeMap<String, u64>,
    pub(super) unanswered: BTreeSet<String>,
    pub(super) answers: Vec<Instant>,
    pub(super) violations: Vec<Violation>,
    pub(super) reconnects: u64,
    /// How often it was told that nothing can be committed.
    pub(super) unavailable: u64,
    /// How often an entry was older than the one before it.
    pub(super) backwards: u64,
    last_at_ms: u64,
}

/// Where one conversation stands.
#[derive(Debug, Clone, Default)]
struct Place {
    node: String,
    owner: String,
    last_answer: Option<Instant>,
    failed: Option<String>,
}

/// Where all conversations stand, for who chooses the victim.
#[derive(Default)]
pub(super) struct Board {
    places: Mutex<BTreeMap<usize, Place>>,
    changed: watch::Sender<u64>,
}

impl Board {
    fn change(&self, talker: usize, change: impl FnOnce(&mut Place)) {
        change(
            self.places
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(talker)
                .or_default(),
        );
        self.changed.send_modify(|count| *count += 1);
    }

    fn places(&self) -> BTreeMap<usize, Place> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The conversations of which this holds, given their gateway and their owner.
    pub(super) fn those(&self, holds: impl Fn(&str, &str) -> bool) -> Vec<usize> {
        self.places()
            .iter()
            .filter(|(_, place)| holds(&place.node, &place.owner))
            .map(|(talker, _)| *talker)
            .collect()
    }

    /// Whether something makes the drill's figures meaningless.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.places().values().find_map(|place| place.failed.clone()) {
            None => Ok(()),
            Some(why) => Err(Failure::new("the drill cannot go on", why).next(
                "start the cluster without limits: JARVIS_LIMITS__MESSAGES_PER_MINUTE=0 \
                 JARVIS_LIMITS__SOCKETS_PER_MINUTE=0 jarvis up",
            )),
        }
    }

    /// Waits until every conversation has had an answer later than `since`.
    pub(super) async fn until_all_answered_since(
        &self,
        since: Instant,
        timeout: Duration,
    ) -> Result<(), Failure> {
        self.until_answered_since(since, &BTreeSet::new(), timeout).await
    }

    /// Waits until every conversation but these has had an answer later than `since`.
    pub(super) async fn until_answered_since(
        &self,
        since: Instant,
        but: &BTreeSet<usize>,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        let mut changed = self.changed.subscribe();
        loop {
            self.check()?;
            changed.borrow_and_update();
            let places = self.places();
            let silent = places
                .iter()
                .filter(|(talker, _)| !but.contains(talker))
                .filter(|(_, place)| place.last_answer.is_none_or(|at| at <= since))
                .count();
            if silent == 0 && !places.is_empty() {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, changed.changed())
                .await
                .is_err()
            {
                let why = format!(
                    "{silent} of {} conversations had no answer for {} s",
                    places.len() - but.len(),
                    timeout.as_secs()
                );
                return Err(Failure::new("the drill cannot go on", why)
                    .next("see `jarvis status` and the nodes' logs"));
            }
        }
    }
}

/// The running conversations.
pub(super) struct Talkers {
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<Seen>>,
}

impl Talkers {
    /// Starts `count` conversations, spread over the nodes.
    pub(super) async fn start(
        cluster: &Cluster,
        count: u32,
        board: &Arc<Board>,
        tasks: &Tasks,
    ) -> Result<Self, Failure> {
        let endpoints: Vec<String> = cluster.apis().iter().map(|(_, api)| api.socket_url()).collect();
        let stop = watch::Sender::new(false);
        let mut running = Vec::new();
        for index in 0..count as usize {
            let mut own = endpoints.clone();
            own.rotate_left(index % endpoints.len().max(1));
            let options = ChatOptions {
                endpoints: own,
                token: Some(cluster.token.clone()),
                session: None,
                after: 0,
            };
            let client = ChatClient::start(options, tasks)
                .map_err(|error| Failure::from_error("a conversation did not begin", &error))?;
            board.change(index, |_| {});
            let talker = Talker {
                index,
                client,
                board: Arc::clone(board),
                seen: Seen::default(),
                waiting: None,
                stop: stop.subscribe(),
            };
            running.push(tasks.spawn(talker.run()));
        }
        Ok(Self { stop, running })
    }

    /// Lets each have its last answer, then gives what they saw.
    pub(super) async fn finish(self, timeout: Duration) -> Vec<Seen> {
        self.stop.send_replace(true);
        let deadline = Instant::now() + timeout;
        let mut seen = Vec::new();
        for mut talker in self.running {
            match tokio::time::timeout_at(deadline, &mut talker).await {
                Ok(Ok(one)) => seen.push(one),
                Ok(Err(_)) | Err(_) => talker.abort(),
            }
        }
        seen
    }
}

struct Talker {
    index: usize,
    client: ChatClient,
    board: Arc<Board>,
    seen: Seen,
    /// The message without its answer.
    waiting: Option<String>,
    stop: watch::Receiver<bool>,
}

impl Talker {
    async fn run(mut self) -> Seen {
        let entropy = SystemEntropy::default();
        let mut count = 0u64;
        let mut next_say: Option<Instant> = None;
        // A talker whose answer does not come gives up by itself, with what it saw.
        let mut give_up: Option<Instant> = None;
        loop {
            let stopping = *self.stop.borrow();
            if stopping && self.waiting.is_none() {
                break;
            }
            if stopping && give_up.is_none() {
                give_up = Some(Instant::now() + super::ANSWER_TIMEOUT * 9 / 10);
            }
            let event = tokio::select! {
                event = self.client.next() => event,
                () = tokio::time::sleep_until(next_say.unwrap_or_else(Instant::now)), if next_say.is_some() => {
                    next_say = None;
                    if !*self.stop.borrow() {
                        count += 1;
                        let id = ClusterId(new_ulid(&SystemClock, &entropy)).to_string();
                        if self.client.say(&id, format!("what is {count} plus {}?", self.index)).is_err() {
                            break;
                        }
                        self.seen.unanswered.insert(id.clone());
                        self.waiting = Some(id);
                    }
                    continue;
                }
                // Nobody waits for what it saw once nobody can stop it.
                told = self.stop.changed(), if !stopping => if told.is_ok() { continue } else { break },
                () = tokio::time::sleep_until(give_up.unwrap_or_else(Instant::now)), if give_up.is_some() => break,
            };
            match event {
                None => break,
                Some(ChatEvent::Frame { frame, at }) => {
                    if self.take(&frame, at) {
                        next_say = Some(at + PAUSE);
                    }
                }
                Some(ChatEvent::Reconnecting { why, .. }) => {
                    self.seen.reconnects += 1;
                    if is_rate_limited(&why) {
                        self.board.change(self.index, |place| place.failed = Some(why));
                    }
                }
                Some(ChatEvent::Connected { .. }) => {}
                Some(ChatEvent::Failed(error)) => {
                    self.board
                        .change(self.index, |place| place.failed = Some(error.to_string()));
                    break;
                }
            }
        }
        self.seen
    }

    /// True: it is time for the next question.
    fn take(&mut self, frame: &ServerFrame, at: Instant) -> bool {
        if let ServerFrame::Welcome {
            session,
            node,
            owner,
            limits,
            ..
        } = frame
        {
            let first = self.seen.session.is_empty();
            if first {
                self.seen.session.clone_from(session);
                self.seen.transcript = Transcript::new(session.clone());
            }
            let limited = limits.messages_per_minute != 0;
            self.board.change(self.index, |place| {
                (place.node, place.owner) = (node.clone(), owner.clone());
                if limited {
                    let why = format!(
                        "the cluster takes only {} messages a minute",
                        limits.messages_per_minute
                    );
                    place.failed = Some(why);
                }
            });
            return first;
        }
        self.seen.violations.extend(self.seen.transcript.take(frame));
        if let ServerFrame::Said { at, .. } | ServerFrame::Reply { at, .. } = frame {
            self.seen.backwards += u64::from(*at < self.seen.last_at_ms);
            self.seen.last_at_ms = self.seen.last_at_ms.max(*at);
        }
        match frame {
            ServerFrame::Said { id, seq, .. } => {
                self.seen.confirmed.insert(id.clone(), *seq);
                false
            }
            ServerFrame::Reply {
                reply_to: Some(reply_to),
                ..
            } => {
                self.seen.unanswered.remove(reply_to);
                if self.waiting.as_deref() != Some(reply_to) {
                    return false;
                }
                self.waiting = None;
                if self.seen.answers.len() < MAX_ANSWERS {
                    self.seen.answers.push(at);
                }
                self.board
                    .change(self.index, |place| place.last_answer = Some(at));
                true
            }
            ServerFrame::Moved { owner, .. } => {
                self.board
                    .change(self.index, |place| place.owner.clone_from(owner));
                false
            }
            ServerFrame::Error {
                code: ErrorCode::RateLimited,
                message,
                ..
            } => {
                self.board
                    .change(self.index, |place| place.failed = Some(message.clone()));
                false
            }
            ServerFrame::Error {
                code: ErrorCode::Unavailable,
                ..
            } => {
                self.seen.unavailable += 1;
                false
            }
            _ => false,
        }
    }
}

/// A port or a time may have the status's digits too.
fn is_rate_limited(why: &str) -> bool {
    why.to_lowercase().contains("too many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_refusal() {
        for (why, limited) in [
            ("ws://127.0.0.1:42907/ws: connection refused", false),
            ("ws://a/ws: silent for 1429 ms, and ws://b/ws answers", false),
            ("ws://a/ws: 429 Too Many Requests", true),
            (
                "ws://a/ws: too many new sockets from this address; wait before the next",
                true,
            ),
        ] {
            assert_eq!(is_rate_limited(why), limited, "{why}");
        }
    }
}
