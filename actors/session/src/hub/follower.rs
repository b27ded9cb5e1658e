//! What a feed and the hub share: whether there is something new, and the parts of a reply that wait.
//!
//! Small, because ten thousand idle ones live on a node, and bounded, because a reader may be slow: parts that follow
//! one another are kept as one, and where that grows too long the rest of the reply's parts is left out. The whole reply
//! comes from the transcript in any case.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jarvis_types::{ClientMessageId, Seq};
use tokio::sync::Notify;

use crate::message::Delta;
use crate::metrics;

/// Most text that waits for one reader, in bytes.
const MAX_PENDING_BYTES: usize = 16 * 1024;

/// A reader of one session.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    news: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    grown: bool,
    moved: bool,
    pending: Option<Box<Part>>,
    /// The message whose reply is being written, and how much of that was taken; none once parts were left out.
    written: Option<(Seq, u64)>,
}

/// Part of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) to: Seq,
    pub(crate) reply_to: ClientMessageId,
    pub(crate) offset: u64,
    pub(crate) text: String,
}

/// What is new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) grown: bool,
    pub(crate) moved: bool,
}

impl Follower {
    /// The transcript may have grown.
    pub(crate) fn grown(&self) {
        self.state().grown = true;
        self.news.notify_one();
    }

    /// The owner may have changed.
    pub(crate) fn moved(&self) {
        self.state().moved = true;
        self.news.notify_one();
    }

    /// A part of a reply was written.
    pub(crate) fn delta(&self, delta: &Delta) {
        if self.state().take(delta) {
            self.news.notify_one();
        } else {
            metrics::deltas_dropped(1);
        }
    }

    /// What is new since the last call.
    pub(crate) fn news(&self) -> News {
        let mut state = self.state();
        News {
            grown: std::mem::take(&mut state.grown),
            moved: std::mem::take(&mut state.moved),
        }
    }

    /// The message to whose reply the waiting part belongs.
    pub(crate) fn pending(&self) -> Option<Seq> {
        self.state().pending.as_ref().map(|part| part.to)
    }

    /// The waiting part.
    pub(crate) fn take(&self) -> Option<Box<Part>> {
        self.state().pending.take()
    }

    /// Completes when there is something new; at once if there was since the last call.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the part was kept.
    fn take(&mut self, delta: &Delta) -> bool {
        let follows = delta.offset == 0 || self.written == Some((delta.to, delta.offset));
        if !follows {
            // Behind a gap: a reader shows only what it can show whole.
            return false;
        }
        self.written = Some((delta.to, delta.offset + delta.text.chars().count() as u64));
        match &mut self.pending {
            Some(part) if delta.offset > 0 && part.to == delta.to => {
                if part.text.len() + delta.text.len() > MAX_PENDING_BYTES {
                    self.pending = None;
                    self.written = None;
                    return false;
                }
                part.text.push_str(&delta.text);
            }
            pending => {
                let Delta {
                    to,
                    reply_to,
                    offset,
                    text,
                    ..
                } = delta.clone();
                *pending = Some(Box::new(Part {
                    to,
                    reply_to,
                    offset,
                    text,
                }));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::{Epoch, SessionId};

    fn delta(to: u64, offset: u64, text: &str) -> Delta {
        Delta {
            session: SessionId(1),
            epoch: Epoch(1),
            to: Seq(to),
            reply_to: format!("m{to}").parse().expect("a valid id"),
            offset,
            text: text.into(),
        }
    }

    fn taken(follower: &Follower) -> Option<(u64, u64, String)> {
        follower.take().map(|part| (part.to.0, part.offset, part.text))
    }

    #[test]
    fn parts_that_follow_are_joined_and_gaps_are_not_shown() {
        let follower = Follower::default();
        follower.delta(&delta(1, 4, "middle"));
        assert_eq!(taken(&follower), None);
        follower.delta(&delta(1, 0, "hé"));
        follower.delta(&delta(1, 2, "llo"));
        assert_eq!(taken(&follower), Some((1, 0, "héllo".into())));
        follower.delta(&delta(1, 5, "!"));
        follower.delta(&delta(1, 9, "gap"));
        assert_eq!(taken(&follower), Some((1, 5, "!".into())));
        follower.delta(&delta(1, 0, "again"));
        follower.delta(&delta(2, 0, "next"));
        assert_eq!(taken(&follower), Some((2, 0, "next".into())));
    }

    #[test]
    fn a_slow_reader_costs_no_memory() {
        let follower = Follower::default();
        let text = "x".repeat(1_000);
        for n in 0..1_000 {
            follower.delta(&delta(1, n * 1_000, &text));
            assert!(
                follower
                    .state()
                    .pending
                    .as_ref()
                    .is_none_or(|part| part.text.len() <= MAX_PENDING_BYTES)
            );
        }
        assert_eq!(taken(&follower), None);
        follower.delta(&delta(1, 0, "anew"));
        assert_eq!(taken(&follower), Some((1, 0, "anew".into())));
    }

    #[test]
    fn an_idle_follower_is_small() {
        assert!(size_of::<Follower>() <= 128, "{}", size_of::<Follower>());
    }

    #[tokio::test]
    async fn news_wake_once() {
        let follower = Follower::default();
        follower.grown();
        follower.grown();
        follower.moved();
        follower.changed().await;
        assert_eq!(
            follower.news(),
            News {
                grown: true,
                moved: true
            }
        );
        assert_eq!(follower.news(), News::default());
    }
}
