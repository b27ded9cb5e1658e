//! PURE: what waits to be sent, what is under way, and which packet ids are in use.
//!
//! ```text
//!  push() ─► waiting ─► next() ─► under way ─► confirmed() ─► its caller
//!              ▲                      │
//!              └── a passing refusal ─┴─ reconnected(): sent again, in the old order, under the old ids
//! ```
//!
//! Of one topic one is under way at a time: what comes after one that is refused for now must not be overtaken by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::link::wire::FIRST_FAILURE;
use crate::publish::{Publication, PublishError, Request, is_passing};

/// Tries of what the broker refuses for now.
const MAX_ATTEMPTS: u32 = 5;
/// The pause after the first such refusal; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What is to be sent and what is unconfirmed.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Most that may be under way.
    limit: usize,
    waiting: VecDeque<Waiting>,
    under_way: BTreeMap<u16, UnderWay>,
    /// Topics of what is under way.
    busy: BTreeSet<String>,
    /// Ids of subscriptions that are not confirmed, which are out of the same range.
    taken: Vec<u16>,
    /// To be sent again after a reconnect, oldest first.
    again: VecDeque<u16>,
    last_id: u16,
    /// Counts what was sent, for the order in which it is sent again.
    sent: u64,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    attempts: u32,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct UnderWay {
    request: Request,
    attempts: u32,
    order: u64,
}

impl UnderWay {
    fn topic(&self) -> &str {
        &self.request.publication.topic
    }
}

/// What to write.
#[derive(Debug)]
pub(crate) struct Next<'a> {
    pub(crate) packet_id: u16,
    pub(crate) duplicate: bool,
    pub(crate) publication: &'a Publication,
}

/// What a confirmation meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Done,
    Refused,
    Again,
    /// Nothing was under way by that id.
    Unknown,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            limit: 1,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            busy: BTreeSet::new(),
            taken: Vec::new(),
            again: VecDeque::new(),
            last_id: 0,
            sent: 0,
        }
    }

    pub(crate) fn push(&mut self, request: Request) {
        self.waiting.push_back(Waiting {
            request,
            attempts: 0,
            not_before: None,
        });
    }

    /// What is not under way.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether anything is to be sent, for the first time or again.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.waiting.is_empty() || !self.again.is_empty()
    }

    /// What is under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A connection stands. With the session, what was under way is sent again as it was; without, as if anew.
    pub(crate) fn reconnected(&mut self, session_present: bool, limit: usize) {
        self.limit = limit.max(1);
        self.taken.clear();
        self.again.clear();
        // Nobody waits for these; the broker need not either.
        self.under_way.retain(|_, sent| !sent.request.reply.is_closed());
        let topics = self.under_way.values().map(|sent| sent.topic().to_owned());
        self.busy = topics.collect();
        let mut order: Vec<_> = self
            .under_way
            .iter()
            .map(|(id, sent)| (sent.order, *id))
            .collect();
        order.sort_unstable();
        if session_present {
            self.again.extend(order.into_iter().map(|(_, id)| id));
            return;
        }
        for (_, id) in order.into_iter().rev() {
            if let Some(UnderWay {
                request, attempts, ..
            }) = self.end(id)
            {
                self.waiting.push_front(Waiting {
                    request,
                    attempts,
                    not_before: None,
                });
            }
        }
    }

    /// Gives out what is to be written, until there is nothing or enough is under way.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Next<'_>> {
        if let Some(packet_id) = self.again.pop_front() {
            let publication = &self.under_way.get(&packet_id)?.request.publication;
            return Some(Next {
                packet_id,
                duplicate: true,
                publication,
            });
        }
        self.waiting.retain(|waiting| !waiting.request.reply.is_closed());
        if self.under_way.len() >= self.limit {
            return None;
        }
        let index = self.next_index(now)?;
        let Waiting {
            request, attempts, ..
        } = self.waiting.remove(index)?;
        let packet_id = self.free_id();
        self.sent += 1;
        self.busy.insert(request.publication.topic.clone());
        let sent = UnderWay {
            request,
            attempts,
            order: self.sent,
        };
        self.under_way.insert(packet_id, sent);
        let sent = self.under_way.get(&packet_id)?;
        Some(Next {
            packet_id,
            duplicate: false,
            publication: &sent.request.publication,
        })
    }

    /// The first that may be sent now, and has none of its topic before it.
    fn next_index(&self, now: Instant) -> Option<usize> {
        let mut before: BTreeSet<&str> = BTreeSet::new();
        self.waiting.iter().position(|waiting| {
            let topic = waiting.request.publication.topic.as_str();
            let waits = waiting.not_before.is_some_and(|then| then > now);
            if waits || self.busy.contains(topic) || before.contains(topic) {
                before.insert(topic);
                return false;
            }
            true
        })
    }

    /// It is not under way any more.
    fn end(&mut self, packet_id: u16) -> Option<UnderWay> {
        let sent = self.under_way.remove(&packet_id)?;
        self.busy.remove(sent.topic());
        Some(sent)
    }

    /// When [`Outbox::next`] may have more, if not at once.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        if self.under_way.len() >= self.limit {
            return None;
        }
        self.waiting.iter().filter_map(|waiting| waiting.not_before).min()
    }

    /// The broker confirmed, or refused.
    pub(crate) fn confirmed(&mut self, packet_id: u16, code: u8, now: Instant) -> Confirmed {
        let Some(sent) = self.end(packet_id) else {
            return Confirmed::Unknown;
        };
        self.again.retain(|id| *id != packet_id);
        if code < FIRST_FAILURE {
            // Who has stopped waiting has been told that the outcome is unknown.
            let _ = sent.request.reply.send(Ok(()));
            return Confirmed::Done;
        }
        let attempts = sent.attempts + 1;
        if is_passing(code) && attempts < MAX_ATTEMPTS {
            self.waiting.push_front(Waiting {
                request: sent.request,
                attempts,
                not_before: Some(now + FIRST_PAUSE * (1 << (attempts - 1))),
            });
            return Confirmed::Again;
        }
        let _ = sent.request.reply.send(Err(PublishError::Refused { code }));
        Confirmed::Refused
    }

    /// What was given out could not be written at all.
    pub(crate) fn fail(&mut self, packet_id: u16, error: PublishError) {
        if let Some(sent) = self.end(packet_id) {
            let _ = sent.request.reply.send(Err(error));
        }
    }

    /// An id for a subscription, in use until [`Outbox::release`].
    pub(crate) fn take_id(&mut self) -> u16 {
        let id = self.free_id();
        self.taken.push(id);
        id
    }

    /// Whether the id was taken; it is free again.
    pub(crate) fn release(&mut self, id: u16) -> bool {
        let before = self.taken.len();
        self.taken.retain(|taken| *taken != id);
        self.taken.len() < before
    }

    /// The next id that is not in use. Far fewer than 65,535 ever are, by the bounds on what is under way.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.under_way.contains_key(&self.last_id) && !self.taken.contains(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    type Answer = oneshot::Receiver<Result<(), PublishError>>;

    /// To a topic of its own.
    fn push(outbox: &mut Outbox, intent: &str) -> Answer {
        push_to(outbox, intent, intent)
    }

    fn push_to(outbox: &mut Outbox, topic: &str, intent: &str) -> Answer {
        let (reply, answer) = oneshot::channel();
        let publication = Publication {
            intent: intent.to_owned(),
            topic: topic.to_owned(),
            payload: Bytes::new(),
            retain: false,
        };
        outbox.push(Request { publication, reply });
        answer
    }

    fn drain(outbox: &mut Outbox, now: Instant) -> Vec<(u16, bool, String)> {
        let mut all = Vec::new();
        while let Some(next) = outbox.next(now) {
            all.push((next.packet_id, next.duplicate, next.publication.intent.clone()));
        }
        all
    }

    fn sent(id: u16, duplicate: bool, intent: &str) -> (u16, bool, String) {
        (id, duplicate, intent.to_owned())
    }

    #[test]
    fn no_more_is_under_way_than_the_broker_takes() {
        let now = Instant::now();
        let mut outbox = Outbox::new();
        outbox.reconnected(false, 2);
        let mut answers: Vec<_> = ["a", "b", "c"].iter().map(|i| push(&mut outbox, i)).collect();
        assert_eq!(
            drain(&mut outbox, now),
            [sent(1, false, "a"), sent(2, false, "b")]
        );
        assert_eq!(outbox.confirmed(2, 0x10, now), Confirmed::Done);
        assert_eq!(answers[1].try_recv(), Ok(Ok(())));
        assert_eq!(drain(&mut outbox, now), [sent(3, false, "c")]);
        assert_eq!(outbox.confirmed(2, 0, now), Confirmed::Unknown);
    }

    #[test]
    fn after_a_reconnect_it_is_sent_again_in_order() {
        let now = Instant::now();
        let mut outbox = Outbox::new();
        outbox.reconnected(true, 10);
        let _answers: Vec<_> = ["a", "b", "c"].iter().map(|i| push(&mut outbox, i)).collect();
        drop(push(&mut outbox, "nobody waits"));
        assert_eq!(drain(&mut outbox, now).len(), 3);
        outbox.confirmed(1, 0, now);
        outbox.reconnected(true, 10);
        assert_eq!(drain(&mut outbox, now), [sent(2, true, "b"), sent(3, true, "c")]);
        outbox.reconnected(false, 10);
        assert_eq!(
            drain(&mut outbox, now),
            [sent(4, false, "b"), sent(5, false, "c")]
        );
    }

    #[test]
    fn a_passing_refusal_is_tried_again_and_a_lasting_one_told() {
        let mut now = Instant::now();
        let mut outbox = Outbox::new();
        outbox.reconnected(true, 10);
        let mut answer = push(&mut outbox, "a");
        for attempt in 1..5u32 {
            let id = drain(&mut outbox, now)[0].0;
            assert_eq!(outbox.confirmed(id, 0x97, now), Confirmed::Again, "{attempt}");
            assert_eq!(drain(&mut outbox, now), []);
            now = outbox.next_at().expect("later");
        }
        let id = drain(&mut outbox, now)[0].0;
        assert_eq!(outbox.confirmed(id, 0x97, now), Confirmed::Refused);
        assert_eq!(answer.try_recv(), Ok(Err(PublishError::Refused { code: 0x97 })));
        let mut answer = push(&mut outbox, "b");
        let id = drain(&mut outbox, now)[0].0;
        assert_eq!(outbox.confirmed(id, 0x87, now), Confirmed::Refused);
        assert_eq!(answer.try_recv(), Ok(Err(PublishError::Refused { code: 0x87 })));
    }

    #[test]
    fn what_is_refused_for_now_is_not_overtaken_at_its_topic() {
        let now = Instant::now();
        let mut outbox = Outbox::new();
        outbox.reconnected(true, 10);
        let mut answers: Vec<_> = ["on", "off"]
            .iter()
            .map(|i| push_to(&mut outbox, "lamp", i))
            .collect();
        let _other = push(&mut outbox, "fan");
        assert_eq!(
            drain(&mut outbox, now),
            [sent(1, false, "on"), sent(2, false, "fan")]
        );
        assert_eq!(outbox.confirmed(1, 0x97, now), Confirmed::Again);
        assert_eq!(drain(&mut outbox, now), [], "the topic waits");
        let now = outbox.next_at().expect("later");
        assert_eq!(drain(&mut outbox, now), [sent(3, false, "on")]);
        assert_eq!(outbox.confirmed(2, 0, now), Confirmed::Done);
        // As a session that has begun anew has it.
        outbox.reconnected(false, 10);
        assert_eq!(drain(&mut outbox, now), [sent(4, false, "on")]);
        assert_eq!(outbox.confirmed(4, 0, now), Confirmed::Done);
        assert_eq!(drain(&mut outbox, now), [sent(5, false, "off")]);
        assert_eq!(outbox.confirmed(5, 0, now), Confirmed::Done);
        assert!(answers.iter_mut().all(|answer| answer.try_recv() == Ok(Ok(()))));
    }

    #[test]
    fn ids_in_use_are_not_given_out_again() {
        let now = Instant::now();
        let mut outbox = Outbox::new();
        outbox.reconnected(true, 10);
        let _answer = push(&mut outbox, "a");
        drain(&mut outbox, now);
        let subscription = outbox.take_id();
        assert_eq!(subscription, 2);
        outbox.last_id = u16::MAX;
        let _other = push(&mut outbox, "b");
        assert_eq!(drain(&mut outbox, now), [sent(3, false, "b")]);
        assert!(outbox.release(subscription) && !outbox.release(subscription));
    }
}
