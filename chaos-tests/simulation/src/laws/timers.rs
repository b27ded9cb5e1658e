//! Every timer fires, once and not too early: what an event in the log has automations say stands in its session as often as
//! its automation says it, whoever dies meanwhile. At the end nothing is under way: no run, no letter, no act.
//!
//! What is expected follows from the events in the log and from the rules as [`crate::house`] has them; of the product's own
//! rows no more is read than which runs and acts there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_bare::rules::{ANSWER, PATTERN, ROUNDS, Rule};
use jarvis_machine::command::{Command, Letter, Proposal, RowChange};
use jarvis_machine::reply::{Outcome, Reply};
use jarvis_types::{EntityId, KindId};
use serde_json::Value;

use crate::clock::EPOCH;

/// What rounding to milliseconds, and the ticks in which machines live, may amount to.
const ROUNDING: Duration = Duration::from_millis(10);
/// Machines whose clocks differ by less do not see the same moment twice: so far a bridge believes the one before it.
const ALIKE: Duration = Duration::from_secs(60);
/// What a node knows of another's clock is some seconds old, and goes on by its own monotonic clock meanwhile, which may be a
/// twelfth too fast.
const READINGS: Duration = Duration::from_millis(1_500);
/// Rows of runs that have not settled.
const RUN: &[u8] = b"r/";
/// Rows of acts under way.
const ACT: &[u8] = b"i/";

/// What is known of events and of what came of them.
#[derive(Debug, Default)]
pub struct Timers {
    events: BTreeMap<String, Event>,
    /// Tokens in the order of the log.
    order: BTreeMap<Rule, Vec<String>>,
    /// Events that were refused, and must not come.
    refused: BTreeSet<(String, String)>,
    /// What people asked to be reminded of, by session and text.
    reminders: BTreeMap<(String, String), Reminder>,
    boxes: BTreeMap<EntityId, LetterBox>,
    /// Rows of runs and acts.
    open: BTreeSet<(EntityId, Vec<u8>)>,
    /// Times of the pattern that were said, and when the last was.
    pattern: BTreeSet<String>,
    pattern_at: Option<Duration>,
    /// The least and the most that any clock has ever been ahead of the time, in milliseconds.
    ahead_ms: (i64, i64),
    told: u64,
}

/// An event in the log.
#[derive(Debug)]
struct Event {
    rule: Rule,
    at: Duration,
    session: String,
    delay: Duration,
    /// Nothing that could stand in its way was under way or waiting.
    is_free: bool,
    is_answered: bool,
    told: u64,
}

/// Something that is to be said at some time.
#[derive(Debug)]
struct Reminder {
    due: Duration,
    is_told: bool,
}

#[derive(Debug, Default)]
struct LetterBox {
    last: u64,
    taken: u64,
}

impl Timers {
    /// How much was said.
    pub fn len(&self) -> u64 {
        self.told
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.told == 0
    }

    /// A clock is so many milliseconds ahead of the time.
    pub fn clock(&mut self, ahead_ms: i64) {
        self.ahead_ms = (self.ahead_ms.0.min(ahead_ms), self.ahead_ms.1.max(ahead_ms));
    }

    /// The most that what one clock shows now and what another showed at some other time may be apart beyond the time between.
    fn apart(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.1.abs_diff(self.ahead_ms.0)) + self.unread()
    }

    /// The most by which a reading of a clock may have gone astray since.
    fn unread(&self) -> Duration {
        if self.ahead_ms == (0, 0) {
            Duration::ZERO
        } else {
            READINGS
        }
    }

    /// A caller was told that its event came.
    ///
    /// # Errors
    /// Where it is not in the log.
    pub fn came(&self, event: &str, token: &str) -> Result<(), String> {
        let known = self.events.get(token);
        // An answer may come before what it answers, or in the place of one that never came.
        if event == ANSWER || known.is_some_and(|known| known.rule.name() == event) {
            return Ok(());
        }
        Err(format!("event {event} {token} is confirmed and not in the log"))
    }

    /// A caller was told that its event did not come.
    ///
    /// # Errors
    /// Where it is in the log.
    pub fn refused(&mut self, event: &str, token: &str) -> Result<(), String> {
        self.refused.insert((event.to_owned(), token.to_owned()));
        match self.events.get(token) {
            Some(known) if known.rule.name() == event => {
                Err(format!("event {event} {token} is refused and in the log"))
            }
            _ => Ok(()),
        }
    }

    /// Whether anything was said of a token.
    pub fn is_told(&self, token: &str) -> bool {
        self.events.get(token).is_some_and(|event| event.told > 0)
    }

    /// When the time was last said.
    pub fn pattern_at(&self) -> Option<Duration> {
        self.pattern_at
    }

    /// An entry of the log was applied for the first time, at this moment.
    ///
    /// # Errors
    /// Where something is said that should not be.
    pub fn applied(
        &mut self,
        index: u64,
        at: Duration,
        proposal: &Proposal,
        outcome: &Outcome,
    ) -> Result<(), String> {
        match (&proposal.command, outcome) {
            (Command::Post { letters }, Ok(_)) => {
                for letter in letters {
                    self.posted(index, at, letter)?;
                    self.sent(letter);
                }
                Ok(())
            }
            (
                Command::WriteEntity {
                    entity,
                    rows,
                    taken,
                    letters,
                    ..
                },
                Ok(_),
            ) => {
                self.wrote(entity, rows);
                let own = self.boxes.entry(entity.clone()).or_default();
                own.taken = own.taken.max(*taken);
                letters.iter().for_each(|letter| self.sent(letter));
                Ok(())
            }
            (Command::Notify { session, text, .. }, Ok(Reply::Appended { repeated: false, .. })) => {
                self.told += 1;
                self.said(at, &session.to_string(), text)
                    .map_err(|what| format!("entry {index} says {text:?} in {session}: {what}"))
            }
            _ => Ok(()),
        }
    }

    fn sent(&mut self, letter: &Letter) {
        self.boxes.entry(letter.to.clone()).or_default().last += 1;
    }

    fn wrote(&mut self, entity: &EntityId, rows: &[RowChange]) {
        let prefix = match entity.kind {
            KindId::AUTOMATION => RUN,
            KindId::BRIDGE => ACT,
            _ => return,
        };
        for row in rows.iter().filter(|row| row.name.starts_with(prefix)) {
            let name = (entity.clone(), row.name.clone());
            match row.value {
                Some(_) => self.open.insert(name),
                None => self.open.remove(&name),
            };
        }
    }

    fn posted(&mut self, index: u64, at: Duration, letter: &Letter) -> Result<(), String> {
        if letter.to != EntityId::bridge() {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(&letter.body).unwrap_or_default();
        if let (Some(session), Some(text)) = (
            body["remind"]["session"].as_str(),
            body["remind"]["text"].as_str(),
        ) {
            let due = Duration::from_millis(body["remind"]["due_ms"].as_u64().unwrap_or_default());
            // Asked for again, it is the first that counts.
            self.reminders
                .entry((session.to_owned(), text.to_owned()))
                .or_insert(Reminder { due, is_told: false });
            return Ok(());
        }
        let event = &body["told"]["event"];
        let (Some(kind), Some(token)) = (event["event_type"].as_str(), event["data"]["token"].as_str())
        else {
            return Ok(());
        };
        if self.refused.contains(&(kind.to_owned(), token.to_owned())) {
            return Err(format!(
                "event {kind} {token} is in the log at {index}, and was refused"
            ));
        }
        if kind == ANSWER {
            if let Some(asked) = self.events.get_mut(token) {
                asked.is_answered = true;
            }
            return Ok(());
        }
        let rule = Rule::named(kind).ok_or_else(|| format!("an event {kind} that nobody sends"))?;
        let event = Event {
            rule,
            at,
            session: event["data"]["session"].as_str().unwrap_or_default().to_owned(),
            delay: Duration::from_millis(event["data"]["ms"].as_u64().unwrap_or_default()),
            is_free: self.is_free(rule),
            is_answered: false,
            told: 0,
        };
        self.order.entry(rule).or_default().push(token.to_owned());
        match self.events.insert(token.to_owned(), event) {
            None => Ok(()),
            Some(_) => Err(format!("event {kind} {token} came twice, again at {index}")),
        }
    }

    /// Whether an event that comes now finds nothing before it.
    fn is_free(&self, rule: Rule) -> bool {
        let automation = EntityId::automation(rule.name());
        let empty = |entity: &EntityId| self.boxes.get(entity).is_none_or(|own| own.taken == own.last);
        let runs = self.open.iter().any(|(entity, _)| *entity == automation);
        empty(&EntityId::bridge()) && empty(&automation) && !runs
    }

    fn said(&mut self, at: Duration, session: &str, text: &str) -> Result<(), String> {
        let (ahead, apart) = (
            Duration::from_millis(self.ahead_ms.1.unsigned_abs()) + self.unread(),
            self.apart(),
        );
        if let Some(reminder) = self.reminders.get_mut(&(session.to_owned(), text.to_owned())) {
            let now = EPOCH + at + ahead + ROUNDING;
            return match std::mem::replace(&mut reminder.is_told, true) {
                true => Err("for the second time".to_owned()),
                false if now < reminder.due => Err(format!("{:?} before it is due", reminder.due - now)),
                false => Ok(()),
            };
        }
        let (token, more) = text.split_once(' ').unwrap_or((text, ""));
        if token == PATTERN {
            self.pattern_at = Some(at);
            let is_new = self.pattern.insert(more.to_owned());
            return if is_new || self.apart() > ALIKE {
                Ok(())
            } else {
                Err("that time was said before".to_owned())
            };
        }
        let event = (self.events.get_mut(token)).ok_or("no event in the log has that token")?;
        if event.session != session {
            return Err(format!("it belongs to {}", event.session));
        }
        event.told += 1;
        let round = event.told;
        let waits = match event.rule {
            Rule::Repeats => {
                if more != round.to_string() {
                    return Err(format!("it is the {round}. time"));
                }
                event.delay * u32::try_from(round).unwrap_or(u32::MAX)
            }
            _ if round > 1 => return Err("for the second time".to_owned()),
            Rule::Waits => match (more, event.is_answered) {
                ("waited", _) => event.delay,
                ("heard", true) => Duration::ZERO,
                _ => return Err("nobody answered".to_owned()),
            },
            _ => event.delay,
        };
        if event.rule == Rule::Repeats && round > ROUNDS {
            return Err(format!("it is to be said {ROUNDS} times"));
        }
        // Each wait may begin by one clock and end by another.
        let most_apart = apart * u32::try_from(round).unwrap_or(u32::MAX);
        let waited = at.saturating_sub(event.at);
        if waited + most_apart + ROUNDING < waits {
            return Err(format!(
                "after {waited:?} in place of {waits:?}, and clocks are {apart:?} apart at most"
            ));
        }
        let rule = event.rule;
        let tokens = self.order.get(&rule).map_or(&[][..], Vec::as_slice);
        let mut others = tokens.iter().filter(|other| *other != token);
        match rule {
            Rule::Queued => {
                let before = tokens.iter().take_while(|other| *other != token);
                match before.into_iter().find(|other| !self.is_told(other)) {
                    Some(earlier) => Err(format!("before {earlier}, which came first")),
                    None => Ok(()),
                }
            }
            Rule::Single => {
                let after = others
                    .by_ref()
                    .skip(tokens.iter().take_while(|other| *other != token).count());
                match after.into_iter().find(|other| self.is_told(other)) {
                    Some(later) => Err(format!("after {later}, which came later")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether all that is to be said was, and nothing is under way.
    ///
    /// # Errors
    /// Says what is left.
    pub fn settled(&self) -> Result<(), String> {
        for (token, event) in &self.events {
            let wanted = match event.rule {
                Rule::Repeats => ROUNDS,
                Rule::Single => u64::from(event.is_free),
                Rule::Restart => u64::from(self.order[&event.rule].last() == Some(token)),
                Rule::Parallel | Rule::Queued | Rule::Waits => 1,
            };
            if event.told < wanted {
                return Err(format!(
                    "{token}, which came at {:?} and waits {:?}, was said {} times in place of {wanted}",
                    event.at, event.delay, event.told
                ));
            }
        }
        if let Some((of, reminder)) = self.reminders.iter().find(|(_, reminder)| !reminder.is_told) {
            return Err(format!(
                "nobody was reminded of {of:?}, due at {:?}",
                reminder.due
            ));
        }
        if let Some((entity, name)) = self.open.first() {
            let name = String::from_utf8_lossy(name);
            return Err(format!("{name} of {entity} is under way"));
        }
        let full = self.boxes.iter().find(|(_, own)| own.taken < own.last);
        match full {
            None => Ok(()),
            Some((entity, own)) => Err(format!(
                "{entity} has taken {} of {} letters",
                own.taken, own.last
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use jarvis_types::{Seq, SessionId};
    use serde_json::json;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Applies a command that is taken.
    fn applied(timers: &mut Timers, ms: u64, command: Command) -> Result<(), String> {
        let seq = Seq(1);
        let reply = match command {
            Command::Notify { .. } => Reply::Appended {
                seq,
                at_ms: ms,
                repeated: false,
            },
            _ => Reply::Done,
        };
        let proposal = Proposal {
            origin: None,
            at_ms: ms,
            fence: None,
            request: None,
            command,
        };
        timers.applied(1, at(ms), &proposal, &Ok(reply))
    }

    fn event(timers: &mut Timers, ms: u64, kind: &str, token: &str) -> Result<(), String> {
        let data = json!({"token": token, "session": SessionId(1).to_string(), "ms": 1_000});
        let body = json!({"told": {"event": {"event_type": kind, "data": data}}});
        let letters = vec![Letter {
            to: EntityId::bridge(),
            body: body.to_string().into_bytes(),
        }];
        applied(timers, ms, Command::Post { letters })
    }

    fn says(timers: &mut Timers, ms: u64, text: &str) -> Result<(), String> {
        let command = Command::Notify {
            session: SessionId(1),
            id: "x".parse().expect("an id"),
            text: text.to_owned(),
        };
        applied(timers, ms, command)
    }

    fn writes(
        timers: &mut Timers,
        entity: EntityId,
        rows: &[(&str, bool)],
        taken: u64,
        to: &[EntityId],
    ) -> Result<(), String> {
        let rows = rows.iter().map(|(name, there)| RowChange {
            name: name.as_bytes().to_vec(),
            value: there.then(Vec::new),
        });
        let letters = to.iter().map(|to| Letter {
            to: to.clone(),
            body: Vec::new(),
        });
        let command = Command::WriteEntity {
            entity,
            based_on: 0,
            rows: rows.collect(),
            taken,
            letters: letters.collect(),
        };
        applied(timers, 0, command)
    }

    #[test]
    fn what_is_said_is_said_once_and_not_too_early() {
        let mut timers = Timers::default();
        assert_eq!(event(&mut timers, 0, "parallel", "parallel-1"), Ok(()));
        assert!(event(&mut timers, 1, "parallel", "parallel-1").is_err(), "twice");
        assert!(says(&mut timers, 2_000, "parallel-2").is_err(), "of no event");
        assert_eq!(event(&mut timers, 0, "parallel", "parallel-3"), Ok(()));
        assert!(says(&mut timers, 900, "parallel-3").is_err(), "early");
        assert_eq!(says(&mut timers, 1_000, "parallel-1"), Ok(()));
        assert!(says(&mut timers, 1_100, "parallel-1").is_err(), "again");
        timers.clock(-300);
        timers.clock(200);
        assert_eq!(event(&mut timers, 0, "parallel", "parallel-4"), Ok(()));
        assert_eq!(says(&mut timers, 600, "parallel-4"), Ok(()), "by another clock");
        assert!(timers.is_told("parallel-4") && !timers.is_told("parallel-5"));
        assert_eq!(timers.came("parallel", "parallel-4"), Ok(()));
        assert!(timers.came("parallel", "parallel-5").is_err());
        assert!(timers.refused("parallel", "parallel-4").is_err());
        assert_eq!(timers.refused("parallel", "parallel-5"), Ok(()));
        assert!(event(&mut timers, 0, "parallel", "parallel-5").is_err());
    }

    #[test]
    fn rounds_answers_and_orders_are_checked() {
        let mut timers = Timers::default();
        for (kind, token) in [
            ("repeats", "repeats-1"),
            ("waits", "waits-1"),
            ("waits", "waits-2"),
            ("queued", "queued-1"),
            ("queued", "queued-2"),
            ("single", "single-1"),
            ("single", "single-2"),
        ] {
            assert_eq!(event(&mut timers, 0, kind, token), Ok(()));
        }
        assert_eq!(says(&mut timers, 1_000, "repeats-1 1"), Ok(()));
        assert!(says(&mut timers, 3_000, "repeats-1 3").is_err());
        assert!(says(&mut timers, 500, "waits-1 heard").is_err(), "no answer");
        assert_eq!(event(&mut timers, 9, "answer", "waits-2"), Ok(()));
        assert_eq!(says(&mut timers, 500, "waits-2 heard"), Ok(()));
        assert!(says(&mut timers, 1_000, "queued-2").is_err());
        assert_eq!(says(&mut timers, 1_000, "single-2"), Ok(()));
        assert!(says(&mut timers, 1_000, "single-1").is_err());
        assert_eq!(says(&mut timers, 1_000, "pattern 7"), Ok(()));
        assert!(says(&mut timers, 1_000, "pattern 7").is_err());
    }

    #[test]
    fn people_are_reminded_once_and_not_too_early() {
        let mut timers = Timers::default();
        timers.clock(200);
        let due_ms = (EPOCH + at(2_000)).as_millis() as u64;
        let session = SessionId(1).to_string();
        let body = json!({"remind": {"id": "r", "session": session, "text": "Eat.", "due_ms": due_ms, "asked_ms": 0}});
        for _ in 0..2 {
            let letters = vec![Letter {
                to: EntityId::bridge(),
                body: body.to_string().into_bytes(),
            }];
            assert_eq!(applied(&mut timers, 0, Command::Post { letters }), Ok(()));
        }
        assert!(timers.settled().is_err_and(|what| what.contains("reminded")));
        assert!(says(&mut timers, 200, "Eat.").is_err(), "early");
        let mut timers = Timers {
            reminders: timers.reminders,
            ..Timers::default()
        };
        timers
            .reminders
            .values_mut()
            .for_each(|reminder| reminder.is_told = false);
        assert_eq!(says(&mut timers, 2_000, "Eat."), Ok(()));
        assert!(says(&mut timers, 2_001, "Eat.").is_err(), "again");
        assert_eq!(timers.settled(), Ok(()));
    }

    #[test]
    fn what_is_left_is_found() {
        let mut timers = Timers::default();
        let single = EntityId::automation("single");
        assert_eq!(timers.settled(), Ok(()));
        assert_eq!(event(&mut timers, 0, "single", "single-1"), Ok(()));
        assert!(timers.settled().is_err_and(|what| what.contains("single-1")));
        assert_eq!(says(&mut timers, 1_000, "single-1"), Ok(()));
        assert!(timers.settled().is_err_and(|what| what.contains("letters")));
        let to = [single.clone()];
        assert_eq!(
            writes(&mut timers, EntityId::bridge(), &[("i/1", true)], 1, &to),
            Ok(())
        );
        assert_eq!(writes(&mut timers, single, &[("r/1", true)], 1, &[]), Ok(()));
        // It is not free to run.
        assert_eq!(event(&mut timers, 0, "single", "single-2"), Ok(()));
        assert_eq!(
            writes(&mut timers, EntityId::bridge(), &[("i/1", false)], 2, &[]),
            Ok(())
        );
        assert!(timers.settled().is_err_and(|what| what.contains("r/1")));
        let single = EntityId::automation("single");
        assert_eq!(
            writes(&mut timers, single, &[("r/1", false), ("t/1", true)], 0, &[]),
            Ok(())
        );
        assert_eq!(timers.settled(), Ok(()));
        for token in ["restart-1", "restart-2"] {
            assert_eq!(event(&mut timers, 0, "restart", token), Ok(()));
        }
        assert!(timers.settled().is_err_and(|what| what.contains("restart-2")));
    }
}
