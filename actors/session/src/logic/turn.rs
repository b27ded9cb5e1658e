//! What a session does next: its unanswered messages are answered in order, one at a time.
//!
//! ```text
//!            Committed                 Finished               Answered
//!  (message) ────────► waiting ─► writing ────────► committing ────────► settled
//!                         │          │ Cancel            ▲
//!                         └──────────┴───────────────────┘   a cancelled one is committed as far as it is
//! ```
//!
//! The machine keeps the law that a message has at most one reply; this value keeps the order, and decides what is
//! written, stopped, published and committed. Its shell is `entity.rs`.

use std::collections::VecDeque;

use jarvis_types::{ClientMessageId, Seq};

/// Most messages of one session that wait for their replies; further ones are refused as overloaded.
pub const MAX_WAITING: usize = 64;

/// How often a responder that broke down is begun again before the reply says that it did not work.
const MAX_ATTEMPTS: u32 = 3;

/// How many settled messages are remembered, to tell late news of them from new ones. Two queues' worth.
const REMEMBERED: usize = 2 * MAX_WAITING;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An unanswered message stands in the transcript. It may be told more than once.
    Committed {
        /// Its place.
        to: Seq,
        /// The client's id of it.
        id: ClientMessageId,
    },
    /// The responder wrote a part; one at an earlier offset replaces what was written from there on.
    Delta {
        /// The message answered.
        to: Seq,
        /// Characters before it.
        offset: u64,
        /// The part.
        text: String,
    },
    /// The responder has finished.
    Finished {
        /// The message answered.
        to: Seq,
        /// The whole reply.
        text: String,
    },
    /// The responder broke down.
    Failed {
        /// The message answered.
        to: Seq,
    },
    /// The user wants no reply, or no more of it.
    Cancel {
        /// The message's id.
        id: ClientMessageId,
    },
    /// The reply is committed.
    Answered {
        /// The message answered.
        to: Seq,
    },
    /// The reply was refused for good: nothing can be done for this message.
    Unanswerable {
        /// The message.
        to: Seq,
    },
    /// The partition has another owner.
    Deposed,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply.
    Answered,
    /// The user stopped it.
    Cancelled,
    /// The responder never finished.
    Failed,
    /// The reply was refused.
    Refused,
}

impl Outcome {
    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Have a responder answer this message.
    Begin {
        /// The message.
        to: Seq,
        /// Its id.
        id: ClientMessageId,
    },
    /// End the responder's work.
    Stop,
    /// Show followers a part of the reply.
    Publish {
        /// The message answered.
        to: Seq,
        /// Its id.
        id: ClientMessageId,
        /// Characters before it.
        offset: u64,
        /// The part.
        text: String,
    },
    /// Propose the reply until it is committed.
    Commit {
        /// The message answered.
        to: Seq,
        /// The reply.
        text: String,
        /// Whether the user stopped it.
        cancelled: bool,
    },
    /// The turn is over.
    Settled {
        /// How.
        outcome: Outcome,
        /// Since its message was known, in milliseconds.
        took_ms: u64,
    },
    /// Stop everything: another owner answers.
    End,
}

#[derive(Debug)]
struct Waiting {
    to: Seq,
    id: ClientMessageId,
    since_ms: u64,
    cancelled: bool,
}

#[derive(Debug)]
struct Current {
    to: Seq,
    id: ClientMessageId,
    since_ms: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Writing { text: String, chars: u64, attempts: u32 },
    Committing { outcome: Outcome },
}

/// The turns of one session.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: VecDeque<Waiting>,
    current: Option<Current>,
    settled: VecDeque<Seq>,
    deposed: bool,
}

impl Turns {
    /// Whether another message can be taken.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Whether nothing is left to be done.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// Whether this message is waiting, being answered, or settled lately.
    pub fn knows(&self, to: Seq) -> bool {
        self.current.as_ref().is_some_and(|current| current.to == to)
            || self.waiting.iter().any(|waiting| waiting.to == to)
            || self.settled.contains(&to)
    }

    /// Whether this message waits for its reply, or its reply is being written or committed.
    pub fn awaits(&self, id: &ClientMessageId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == *id)
            || self.waiting.iter().any(|waiting| waiting.id == *id)
    }

    /// Takes one input. `now_ms` is any time that never runs backwards; it only measures.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        if self.deposed {
            return Vec::new();
        }
        match input {
            Input::Committed { to, id } => self.committed(now_ms, to, id),
            Input::Delta { to, offset, text } => self.delta(to, offset, text),
            Input::Finished { to, text } => self.finished(to, text),
            Input::Failed { to } => self.failed(to),
            Input::Cancel { id } => self.cancel(&id),
            Input::Answered { to } => self.over(now_ms, to, None),
            Input::Unanswerable { to } => self.over(now_ms, to, Some(Outcome::Refused)),
            Input::Deposed => {
                self.deposed = true;
                vec![Effect::Stop, Effect::End]
            }
        }
    }

    fn committed(&mut self, now_ms: u64, to: Seq, id: ClientMessageId) -> Vec<Effect> {
        if self.knows(to) {
            return Vec::new();
        }
        let at = self.waiting.partition_point(|waiting| waiting.to < to);
        self.waiting.insert(
            at,
            Waiting {
                to,
                id,
                since_ms: now_ms,
                cancelled: false,
            },
        );
        self.next()
    }

    fn next(&mut self) -> Vec<Effect> {
        if self.current.is_some() {
            return Vec::new();
        }
        let Some(Waiting {
            to,
            id,
            since_ms,
            cancelled,
        }) = self.waiting.pop_front()
        else {
            return Vec::new();
        };
        if cancelled {
            self.current = Some(Current {
                to,
                id,
                since_ms,
                stage: Stage::Committing {
                    outcome: Outcome::Cancelled,
                },
            });
            return vec![Effect::Commit {
                to,
                text: String::new(),
                cancelled: true,
            }];
        }
        let stage = Stage::Writing {
            text: String::new(),
            chars: 0,
            attempts: 1,
        };
        self.current = Some(Current {
            to,
            id: id.clone(),
            since_ms,
            stage,
        });
        vec![Effect::Begin { to, id }]
    }

    fn delta(&mut self, to: Seq, offset: u64, part: String) -> Vec<Effect> {
        let Some(Current {
            to: current,
            id,
            stage: Stage::Writing { text, chars, .. },
            ..
        }) = &mut self.current
        else {
            return Vec::new();
        };
        // A part behind a gap belongs to an attempt whose beginning was lost; the whole text comes with the finish.
        if *current != to || offset > *chars {
            return Vec::new();
        }
        if offset < *chars {
            let keep = text
                .char_indices()
                .nth(offset as usize)
                .map_or(text.len(), |(at, _)| at);
            text.truncate(keep);
        }
        text.push_str(&part);
        *chars = offset + part.chars().count() as u64;
        vec![Effect::Publish {
            to,
            id: id.clone(),
            offset,
            text: part,
        }]
    }

    fn finished(&mut self, to: Seq, whole: String) -> Vec<Effect> {
        match &mut self.current {
            Some(Current {
                to: current,
                stage: stage @ Stage::Writing { .. },
                ..
            }) if *current == to => {
                *stage = Stage::Committing {
                    outcome: Outcome::Answered,
                };
                vec![Effect::Commit {
                    to,
                    text: whole,
                    cancelled: false,
                }]
            }
            _ => Vec::new(),
        }
    }

    fn failed(&mut self, to: Seq) -> Vec<Effect> {
        let Some(Current {
            to: current,
            id,
            stage,
            ..
        }) = &mut self.current
        else {
            return Vec::new();
        };
        let Stage::Writing {
            text,
            chars,
            attempts,
        } = stage
        else {
            return Vec::new();
        };
        if *current != to {
            return Vec::new();
        }
        if *attempts < MAX_ATTEMPTS {
            *attempts += 1;
            text.clear();
            *chars = 0;
            return vec![Effect::Begin { to, id: id.clone() }];
        }
        *stage = Stage::Committing {
            outcome: Outcome::Failed,
        };
        let text = "Something went wrong while I was writing this reply. Please ask again.".to_owned();
        vec![Effect::Commit {
            to,
            text,
            cancelled: false,
        }]
    }

    fn cancel(&mut self, cancelled: &ClientMessageId) -> Vec<Effect> {
        if let Some(Current { to, id, stage, .. }) = &mut self.current
            && id == cancelled
        {
            let Stage::Writing { text, .. } = stage else {
                return Vec::new();
            };
            let text = std::mem::take(text);
            *stage = Stage::Committing {
                outcome: Outcome::Cancelled,
            };
            return vec![
                Effect::Stop,
                Effect::Commit {
                    to: *to,
                    text,
                    cancelled: true,
                },
            ];
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == *cancelled) {
            waiting.cancelled = true;
        }
        Vec::new()
    }

    fn over(&mut self, now_ms: u64, to: Seq, refused: Option<Outcome>) -> Vec<Effect> {
        match self.current.take_if(|current| current.to == to) {
            Some(Current { since_ms, stage, .. }) => {
                let mut effects = Vec::new();
                let outcome = match stage {
                    Stage::Committing { outcome } => refused.unwrap_or(outcome),
                    // Somebody else's reply stands there already.
                    Stage::Writing { .. } => {
                        effects.push(Effect::Stop);
                        Outcome::Refused
                    }
                };
                self.remember(to);
                effects.push(Effect::Settled {
                    outcome,
                    took_ms: now_ms.saturating_sub(since_ms),
                });
                effects.extend(self.next());
                effects
            }
            None => Vec::new(),
        }
    }

    fn remember(&mut self, to: Seq) {
        if self.settled.len() == REMEMBERED {
            self.settled.pop_front();
        }
        self.settled.push_back(to);
    }
}

#[cfg(test)]
mod tests;
