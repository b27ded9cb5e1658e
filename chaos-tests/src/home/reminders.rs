//! People who have themselves reminded, in chat: each reminder that was promised is said once, and not before its time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Clocks;
use super::timers::TIMERS;
use crate::crowd::jitter::Jitter;
use crate::history::{Entry, History};
use crate::laws::Broken;
use crate::talker::{Board, Talker};

/// How a promise begins. Part of the product's words, written anew here.
const PROMISE: &str = "I will remind you";
/// From one reminder that was asked for to the next.
const PAUSE: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(4);
/// The longest that a reminder waits, in seconds.
const LONGEST_S: usize = 8;
/// How long it listens to one socket in the calm before it asks another what it missed.
const LISTEN: Duration = Duration::from_secs(3);
/// What rounding to milliseconds may amount to.
const ROUNDING: Duration = Duration::from_millis(10);

/// A reminder that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The last word of what is said.
    pub token: String,
    /// When it began to be asked for.
    pub sent: Instant,
    /// How long after that it is due, at the earliest.
    pub after: Duration,
    /// Whether it was promised; else it comes once, or not at all.
    pub is_promised: bool,
}

/// What one person asked for and was told.
#[derive(Debug)]
pub struct Person {
    /// Reminders, in their order.
    pub asked: Vec<Asked>,
    /// All that was told.
    pub history: History,
}

/// What came of reminders.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Those that were asked for.
    pub asked: usize,
    /// Those that were promised.
    pub promised: usize,
    /// Those that were asked for and not promised, but came.
    pub came_unpromised: usize,
    /// Those that were said.
    pub said: usize,
    /// What was broken.
    #[serde(skip)]
    pub broken: Vec<Broken>,
}

/// Asks for one reminder after the other until there is a calm, and for one more there; then listens until all that were
/// promised have come, or the calm ends.
///
/// # Errors
/// Where no node answers for a minute.
pub async fn ask(
    sockets: Vec<String>,
    token: String,
    number: usize,
    seed: u64,
    calm: watch::Receiver<Option<Instant>>,
) -> Result<Person> {
    let mut jitter = Jitter::new(seed.wrapping_add(number as u64));
    let mut talker = Talker::new(
        sockets,
        token,
        number,
        format!("reminded-{number}"),
        Board::default(),
    );
    let mut asked: Vec<Asked> = Vec::new();
    let ends = loop {
        let calm = *calm.borrow();
        let one = remind(&mut talker, &mut jitter, number, asked.len()).await?;
        let is_promised = one.is_promised;
        asked.push(one);
        if let Some(ends) = calm
            && (is_promised || Instant::now() > ends)
        {
            break ends;
        }
        talker.listen(Instant::now() + jitter.within(&PAUSE)).await?;
    };
    while Instant::now() < ends && is_one_missing(&asked, &talker.history) {
        talker.listen((Instant::now() + LISTEN).min(ends)).await?;
        talker.leave();
    }
    let history = talker.history;
    Ok(Person { asked, history })
}

async fn remind(talker: &mut Talker, jitter: &mut Jitter, number: usize, n: usize) -> Result<Asked> {
    let seconds = 1 + jitter.below(LONGEST_S);
    let (token, id) = (format!("m{number}n{n}"), format!("remind-{number}-{n}"));
    let sent = Instant::now();
    let text = format!("remind me in {seconds} seconds to eat {token}");
    talker.exchange(&id, &text).await?;
    let seen = talker.history.seen.iter().rev();
    let answer = seen.take_while(|entry| entry.about != id || entry.reply);
    let is_promised = answer
        .into_iter()
        .any(|entry| entry.about == id && entry.text.starts_with(PROMISE));
    Ok(Asked {
        token,
        sent,
        after: Duration::from_secs(seconds as u64),
        is_promised,
    })
}

fn is_one_missing(asked: &[Asked], history: &History) -> bool {
    let came: Vec<&str> = history.unasked.iter().map(|(_, entry)| token_of(entry)).collect();
    let mut promised = asked.iter().filter(|asked| asked.is_promised);
    promised.any(|asked| !came.contains(&asked.token.as_str()))
}

fn token_of(entry: &Entry) -> &str {
    entry.text.rsplit(' ').next().unwrap_or_default()
}

impl Verdict {
    /// Takes in what one person asked for, and how the transcript stands in the end.
    pub fn take(&mut self, person: &Person, transcript: &[Entry], clocks: &Clocks) {
        let session = &person.history.session;
        let mut broken = |token: &str, what: String| {
            self.broken.push(Broken {
                law: TIMERS,
                session: session.clone(),
                what: format!("reminder {token:?} {what}"),
            });
        };
        let mut said: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in transcript.iter().filter(|entry| entry.is_unasked()) {
            *said.entry(token_of(entry)).or_default() += 1;
        }
        for asked in &person.asked {
            let times = said.remove(asked.token.as_str()).unwrap_or(0);
            self.asked += 1;
            self.promised += usize::from(asked.is_promised);
            self.came_unpromised += usize::from(!asked.is_promised && times > 0);
            self.said += usize::from(times > 0);
            if times > 1 {
                broken(&asked.token, format!("was said {times} times"));
            } else if times == 0 && asked.is_promised {
                broken(&asked.token, "was promised and never said".to_owned());
            }
            let mut first = person.history.unasked.iter();
            let Some((at, _)) = first.find(|(_, entry)| token_of(entry) == asked.token) else {
                continue;
            };
            let waited = at.saturating_duration_since(asked.sent);
            let apart = clocks.apart(asked.sent, *at);
            if waited + apart + ROUNDING < asked.after {
                let what = format!("came after {waited:?} in place of {:?}", asked.after);
                broken(&asked.token, what);
            }
        }
        for (token, _) in said {
            broken(token, "was said, and nobody asked for it".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one person asked for, by whether it was promised, and was told, by milliseconds.
    fn check(asked: &[(&str, bool)], told: &[(&str, u64)], kept: &[&str]) -> Verdict {
        let start = Instant::now();
        let entry = |token: &str| Entry {
            seq: 1,
            about: String::new(),
            reply: true,
            text: format!("Reminder: eat {token}"),
        };
        let asked = asked.iter().map(|(token, is_promised)| Asked {
            token: (*token).to_owned(),
            sent: start,
            after: Duration::from_secs(2),
            is_promised: *is_promised,
        });
        let told = told
            .iter()
            .map(|(token, ms)| (start + Duration::from_millis(*ms), entry(token)));
        let person = Person {
            asked: asked.collect(),
            history: History {
                unasked: told.collect(),
                ..History::default()
            },
        };
        let kept: Vec<Entry> = kept.iter().map(|token| entry(token)).collect();
        let mut verdict = Verdict::default();
        verdict.take(&person, &kept, &Clocks::default());
        verdict
    }

    #[test]
    fn what_was_promised_comes_once_and_what_was_not_at_most_once() {
        let good = check(
            &[("a", true), ("b", false), ("c", false)],
            &[("a", 2_000), ("c", 2_500)],
            &["a", "c"],
        );
        assert_eq!(good.broken, []);
        let counts = (good.asked, good.promised, good.came_unpromised, good.said);
        assert_eq!(counts, (3, 1, 1, 2));
    }

    #[test]
    fn what_is_lost_repeated_early_or_strange_is_found() {
        for (promised, told, kept) in [
            (true, &[][..], &[][..]),
            (true, &[("a", 2_000), ("a", 2_001)], &["a", "a"]),
            (false, &[("a", 2_000), ("a", 2_001)], &["a", "a"]),
            (true, &[("a", 1_900)], &["a"]),
            (true, &[("a", 2_000), ("b", 2_000)], &["a", "b"]),
        ] {
            let found = check(&[("a", promised)], told, kept).broken;
            assert_eq!(found.len(), 1, "{told:?}: {found:?}");
        }
    }
}
