//! One message until its reply: when it is said, when it is said again, when its socket is given up. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::news::News;

/// How long a client waits for news of its message before it takes the socket for dead.
pub const SILENCE: Duration = Duration::from_secs(3);
/// When a refusal does not say when to try again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// One message until its reply.
#[derive(Debug, Clone)]
pub struct Exchange {
    id: String,
    said: bool,
    say_at: Option<Instant>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Say it.
    Say,
    /// Listen until then; if nothing came, go on.
    Pause(Instant),
    /// Listen until then; if nothing came, the socket is dead.
    Listen(Instant),
}

/// What news meant to the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It is committed: told for the first time.
    Confirmed,
    /// It is answered: the exchange is over.
    Answered,
    /// It is to be said again later.
    Refused,
    /// Nothing.
    Nothing,
}

impl Exchange {
    /// Of a message that is to be said at once.
    pub fn new(id: &str, now: Instant) -> Self {
        Self {
            id: id.to_owned(),
            said: false,
            say_at: Some(now),
        }
    }

    /// Whether it is known to be committed.
    pub fn is_said(&self) -> bool {
        self.said
    }

    /// There is a new socket. Whether the message arrived by the old one is unknown, and saying it again does no harm.
    pub fn reconnected(&mut self, now: Instant) {
        if self.said {
            self.say_at = None;
        } else {
            self.say_at.get_or_insert(now);
        }
    }

    /// It was said.
    pub fn sent(&mut self) {
        self.say_at = None;
    }

    /// What is to be done at `now`.
    pub fn step(&self, now: Instant) -> Step {
        match self.say_at {
            Some(at) if at <= now => Step::Say,
            Some(at) => Step::Pause(at),
            None => Step::Listen(now + SILENCE),
        }
    }

    /// Takes news in.
    pub fn take(&mut self, news: &News, now: Instant) -> Came {
        match news {
            News::Entry(entry) if entry.about == self.id && entry.reply => Came::Answered,
            News::Entry(entry) if entry.about == self.id && !self.said => {
                (self.said, self.say_at) = (true, None);
                Came::Confirmed
            }
            News::Refused(refusal)
                if refusal.is_for_a_while() && refusal.id.as_deref() == Some(&self.id) && !self.said =>
            {
                self.say_at = Some(now + refusal.retry_after.unwrap_or(TRY_AGAIN));
                Came::Refused
            }
            _ => Came::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::news::Refusal;

    fn entry(about: &str, reply: bool) -> News {
        News::Entry(Entry {
            seq: 1,
            about: about.into(),
            reply,
            text: String::new(),
        })
    }

    fn refused(code: &str, id: &str, ms: Option<u64>) -> News {
        News::Refused(Refusal {
            code: code.into(),
            id: Some(id.into()),
            retry_after: ms.map(Duration::from_millis),
        })
    }

    #[test]
    fn a_message_is_said_until_it_is_confirmed_and_over_when_it_is_answered() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut one = Exchange::new("a", start);
        assert_eq!(one.step(at(0)), Step::Say);
        one.sent();
        assert_eq!(one.step(at(1)), Step::Listen(at(1) + SILENCE));
        assert_eq!(
            one.take(&refused("unavailable", "a", Some(50)), at(10)),
            Came::Refused
        );
        assert_eq!(one.step(at(20)), Step::Pause(at(60)));
        assert_eq!(one.step(at(60)), Step::Say);
        one.sent();
        one.reconnected(at(70));
        assert_eq!(one.step(at(70)), Step::Say, "whether it arrived is unknown");
        one.sent();
        for nothing in [
            entry("b", false),
            refused("too_long", "a", None),
            refused("unavailable", "b", None),
            News::Other,
        ] {
            assert_eq!(one.take(&nothing, at(80)), Came::Nothing, "{nothing:?}");
        }
        assert_eq!(one.take(&entry("a", false), at(90)), Came::Confirmed);
        assert_eq!(one.take(&entry("a", false), at(91)), Came::Nothing, "told again");
        assert_eq!(
            one.take(&refused("unavailable", "a", None), at(92)),
            Came::Nothing
        );
        one.reconnected(at(95));
        assert_eq!(one.step(at(95)), Step::Listen(at(95) + SILENCE));
        assert_eq!(one.take(&entry("a", true), at(99)), Came::Answered);
    }

    #[test]
    fn a_pause_goes_on_over_a_new_socket() {
        let start = Instant::now();
        let mut one = Exchange::new("a", start);
        one.sent();
        one.take(&refused("rate_limited", "a", None), start);
        one.reconnected(start);
        assert_eq!(one.step(start), Step::Pause(start + TRY_AGAIN));
    }
}
