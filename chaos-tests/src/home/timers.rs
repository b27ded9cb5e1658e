//! What must hold between events that senders told, what people asked to be reminded of, and what came of both: every timer
//! fires, once and not too early. PURE.
//!
//! An event whose sender got no answer is unknown: it came once, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jarvis_bare::rules::{HEARD, PATTERN, PATTERN_EVERY, Rule};
use serde::Serialize;
use tokio::time::Instant;

use super::{Clocks, RECORDS, Said, Sight, Wall};
use crate::laws::Broken;

/// The law of waits.
pub const TIMERS: &str = "every timer fires, once and not too early";
/// The law of events.
const KNOWN: &str = "nothing is done that nobody told of";
/// The law of rules that run one after the other.
const ORDER: &str = "what came in order is done in order";

/// What rounding to milliseconds may amount to.
const ROUNDING: Duration = Duration::from_millis(10);
/// No clock is ever wrong by more than this: a time that a wrong one saw is not seen again so long.
const MOST_WRONG: Duration = Duration::from_secs(130);

/// What a sender knows of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Came {
    /// It was told that the event is committed.
    Yes,
    /// It was told nothing.
    Unknown,
    /// It could not be sent, or was refused.
    No,
}

/// An event.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When it began to be sent.
    pub sent: Instant,
    /// What its sender knows of it.
    pub came: Came,
    /// How long it has its automation wait, each round.
    pub delay: Duration,
    /// When an answer to it began to be sent.
    pub answered: Option<Instant>,
}

/// All events by their rule and number.
pub type Calls = BTreeMap<(Rule, u64), Call>;

/// What is known besides of the time in which they were sent.
pub struct Course<'c> {
    /// Clocks that were wrong.
    pub clocks: &'c Clocks,
    /// The one that is right.
    pub wall: Wall,
    /// Since when there are no faults.
    pub calm: Instant,
}

/// Events of one rule, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Those that were sent.
    pub sent: usize,
    /// Their senders know that they came.
    pub came: usize,
    /// Of these, those that were sent before the calm.
    pub came_before_calm: usize,
    /// Their senders got no answer.
    pub unknown: usize,
    /// Of these, those of which something was recorded.
    pub unknown_that_came: usize,
    /// They could not be sent, or were refused.
    pub not_taken: usize,
    /// What was recorded of them, copies left out.
    pub recorded: usize,
}

/// What came of events.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// Of all rules.
    pub events: Count,
    /// Of each rule.
    pub by_rule: BTreeMap<&'static str, Count>,
    /// Times of the pattern.
    pub times: usize,
    /// Copies under an id that was recorded before.
    pub repeated: usize,
    /// Waits that ended while all clocks were right from their beginning on: these were checked to the millisecond.
    pub fired_by_right_clocks: usize,
    /// How long after they were due those were recorded.
    #[serde(skip)]
    pub late: Vec<Duration>,
    /// What has to come yet.
    #[serde(skip)]
    pub missing: Vec<Broken>,
    /// What was broken.
    #[serde(skip)]
    pub broken: Vec<Broken>,
}

/// What was recorded first of one round of an event, or of one time.
#[derive(Debug)]
struct First<'s> {
    what: &'s str,
    at: Instant,
    ids: BTreeSet<&'s str>,
}

/// Whether something was recorded by one of the rules, and not of a sensor.
pub fn is_of_rules(sight: &Sight) -> bool {
    let by = sight
        .topic
        .strip_prefix(RECORDS)
        .and_then(|by| by.strip_prefix('/'));
    by.is_some_and(|by| by == PATTERN || Rule::ALL.into_iter().any(|rule| rule.name() == by))
}

/// Judges what was recorded by the rules; all else is passed over.
pub fn check(calls: &Calls, course: &Course<'_>, sights: &[Sight]) -> Done {
    let mut bench = Bench {
        calls,
        course,
        done: Done::default(),
        firsts: BTreeMap::new(),
        latest: BTreeMap::new(),
        times: BTreeMap::new(),
    };
    for sight in sights.iter().filter(|sight| is_of_rules(sight)) {
        bench.take(sight);
    }
    bench.finish()
}

/// A judgement under way.
struct Bench<'s> {
    calls: &'s Calls,
    course: &'s Course<'s>,
    done: Done,
    firsts: BTreeMap<(Rule, u64), Vec<First<'s>>>,
    /// The last event that was recorded of each rule that goes in order.
    latest: BTreeMap<Rule, u64>,
    times: BTreeMap<u64, First<'s>>,
}

impl<'s> Bench<'s> {
    fn broken(&mut self, law: &'static str, of: &str, what: String) {
        let session = format!("automation/{of}");
        self.done.broken.push(Broken { law, session, what });
    }

    fn take(&mut self, sight: &'s Sight) {
        let (token, what) = sight.payload.split_once(' ').unwrap_or((&sight.payload, ""));
        let Some(id) = sight.intent.as_deref() else {
            return self.broken(KNOWN, token, format!("{:?} came without an id", sight.payload));
        };
        if let Some(time) = token
            .strip_prefix(PATTERN)
            .and_then(|time| time.strip_prefix('-'))
        {
            return match time.parse() {
                Ok(time) => self.take_time(time, sight, id),
                Err(_) => self.broken(KNOWN, PATTERN, format!("{token} is no time")),
            };
        }
        let found = Rule::of_token(token).and_then(|known| Some((known, *self.calls.get(&known)?)));
        let Some((known, call)) = found else {
            return self.broken(KNOWN, token, "nobody told of it".to_owned());
        };
        if call.came == Came::No {
            self.broken(KNOWN, token, "it was refused, or never sent".to_owned());
        }
        let firsts = self.firsts.entry(known).or_default();
        if let Some(first) = firsts.iter_mut().find(|first| first.what == what) {
            if first.ids.insert(id) {
                let ids = format!("{what:?} under several ids: {:?}", first.ids);
                self.broken(TIMERS, token, ids);
            } else {
                self.done.repeated += 1;
            }
            return;
        }
        firsts.push(First {
            what,
            at: sight.at,
            ids: BTreeSet::from([id]),
        });
        let round = firsts.len() as u64;
        if let Err(wrong) = self.fired(known, &call, round, what, sight.at) {
            self.broken(TIMERS, token, wrong);
        }
        self.in_turn(known, &call);
    }

    /// Something new was recorded of an event.
    fn fired(
        &mut self,
        (rule, _): (Rule, u64),
        call: &Call,
        round: u64,
        what: &str,
        at: Instant,
    ) -> Result<(), String> {
        if round > rule.rounds() {
            return Err(format!("{what:?} is the {round}. thing that was recorded of it"));
        }
        if rule == Rule::Repeats && what != round.to_string() {
            return Err(format!("{what:?} was recorded in place of {round}"));
        }
        if what == HEARD {
            return match call.answered {
                Some(answered) if answered <= at => Ok(()),
                _ => Err("it was answered by nobody".to_owned()),
            };
        }
        let rounds = u32::try_from(round).unwrap_or(u32::MAX);
        let waits = call.delay * rounds;
        // Each wait may begin by one clock and end by another.
        let apart = self.course.clocks.apart(call.sent, at);
        let waited = at.saturating_duration_since(call.sent);
        if waited + apart * rounds + ROUNDING < waits {
            return Err(format!(
                "after {waited:?} in place of {waits:?}, with clocks {apart:?} apart at most"
            ));
        }
        if apart.is_zero() {
            self.done.fired_by_right_clocks += 1;
            // Where one waits for the other, it is not the timer that is late.
            if rule != Rule::Queued {
                self.done.late.push(waited.saturating_sub(waits));
            }
        }
        Ok(())
    }

    /// An event whose sender knows that it came is sent before the next of its rule is.
    fn in_turn(&mut self, (rule, n): (Rule, u64), call: &Call) {
        if !rule.is_in_order() || call.came != Came::Yes {
            return;
        }
        let latest = self.latest.entry(rule).or_insert(n);
        let before = *latest;
        *latest = before.max(n);
        if before > n {
            let what = format!("after {}, which came later", rule.token(before));
            self.broken(ORDER, &rule.token(n), what);
        }
    }

    fn take_time(&mut self, time: u64, sight: &'s Sight, id: &'s str) {
        let due = self
            .course
            .wall
            .when(time.saturating_mul(PATTERN_EVERY.as_millis() as u64));
        // So long ago a wrong clock may have seen it.
        let began = sight.at.checked_sub(MOST_WRONG).unwrap_or(sight.at);
        let Some(first) = self.times.get_mut(&time) else {
            let apart = self.course.clocks.apart(began, sight.at);
            if sight.at + apart + ROUNDING < due {
                let early = due - sight.at;
                self.broken(TIMERS, PATTERN, format!("{time} was recorded {early:?} early"));
            }
            let ids = BTreeSet::from([id]);
            let (what, at) = ("", sight.at);
            self.times.insert(time, First { what, at, ids });
            return;
        };
        if !first.ids.insert(id) {
            self.done.repeated += 1;
            return;
        }
        let began = first.at.checked_sub(MOST_WRONG).unwrap_or(first.at);
        if self.course.clocks.apart(began, sight.at).is_zero() {
            let ids = format!("{time} was recorded under several ids: {:?}", first.ids);
            self.broken(TIMERS, PATTERN, ids);
        }
    }

    fn finish(mut self) -> Done {
        let mut last: BTreeMap<Rule, u64> = BTreeMap::new();
        for (rule, n) in self.calls.keys() {
            last.insert(*rule, *n);
        }
        for ((rule, n), call) in self.calls {
            let recorded = self.firsts.get(&(*rule, *n)).map_or(0, Vec::len);
            let is_last = last.get(rule) == Some(n);
            let wanted = wanted(*rule, call.came, is_last, recorded > 0);
            if recorded < wanted {
                let what = format!(
                    "it waits {:?} and was recorded {recorded} times in place of {wanted}",
                    call.delay
                );
                let session = format!("automation/{}", rule.token(*n));
                let law = TIMERS;
                self.done.missing.push(Broken { law, session, what });
            }
            let own = self.done.by_rule.entry(rule.name()).or_default();
            for count in [own, &mut self.done.events] {
                count.add(call, recorded, call.sent < self.course.calm);
            }
        }
        self.done.times = self.times.len();
        let calm = self.course.calm;
        if !self.times.values().any(|first| first.at >= calm) {
            self.done.missing.push(Broken {
                law: TIMERS,
                session: format!("automation/{PATTERN}"),
                what: "no time was recorded since the calm began".to_owned(),
            });
        }
        self.done
    }
}

/// How often something has to be recorded of an event.
fn wanted(rule: Rule, came: Came, is_last: bool, is_there: bool) -> usize {
    let whole = rule.rounds() as usize;
    match (came, rule) {
        (Came::No, _) => 0,
        (Came::Unknown, _) if is_there => whole,
        (Came::Unknown, _) => 0,
        // Others may have stood in its way, or come after it.
        (Came::Yes, Rule::Single | Rule::Restart) if !is_last => 0,
        (Came::Yes, _) => whole,
    }
}

impl Count {
    fn add(&mut self, call: &Call, recorded: usize, before_calm: bool) {
        self.sent += 1;
        self.recorded += recorded;
        match call.came {
            Came::Yes => {
                self.came += 1;
                self.came_before_calm += usize::from(before_calm);
            }
            Came::Unknown => {
                self.unknown += 1;
                self.unknown_that_came += usize::from(recorded > 0);
            }
            Came::No => self.not_taken += 1,
        }
    }
}

/// Sensors' messages whose automation waits: how long, by device.
pub type Delays = BTreeMap<String, Duration>;

/// Messages of devices with a delay that were recorded too early.
pub fn check_delays(said: &Said, delays: &Delays, clocks: &Clocks, sights: &[Sight]) -> Vec<Broken> {
    let mut known = BTreeSet::new();
    let mut broken = Vec::new();
    for sight in sights {
        let Some(word) = &sight.word else { continue };
        let (Some(sent), Some(delay)) = (said.get(word), delays.get(&word.device)) else {
            continue;
        };
        if !known.insert(word) {
            continue;
        }
        let apart = clocks.apart(sent.at, sight.at);
        let waited = sight.at.saturating_duration_since(sent.at);
        if waited + apart + ROUNDING < *delay {
            let (law, session) = (TIMERS, format!("automation/echo-{}", word.device));
            let what = format!("{word:?} after {waited:?} in place of {delay:?}");
            broken.push(Broken { law, session, what });
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Sent, Word};

    /// Far from when the epoch began, and a time of the pattern.
    const EPOCH_MS: u64 = 1_700_000_000_000;
    /// When the calm begins, in seconds.
    const CALM_S: u64 = 100;

    fn moment(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn sight(start: Instant, topic: &str, payload: &str, id: &str, ms: u64) -> Sight {
        Sight {
            topic: format!("{RECORDS}/{topic}"),
            payload: payload.to_owned(),
            word: serde_json::from_str(payload).ok(),
            intent: (!id.is_empty()).then(|| id.to_owned()),
            at: moment(start, ms),
        }
    }

    /// A time of the pattern, so many seconds after the beginning.
    fn time(s: u64) -> String {
        let every = PATTERN_EVERY.as_millis() as u64;
        format!("{PATTERN}-{} done", (EPOCH_MS + s * 1_000) / every)
    }

    /// Events of one second's delay, by token, when they were sent and what their sender knows; and what was recorded, by id and
    /// time. Clocks are wrong from and to a time, by so much. A time in the calm is recorded besides.
    fn check(told: &[(&str, u64, Came)], seen: &[(&str, &str, u64)], wrong: &[(u64, u64, i64)]) -> Done {
        let start = Instant::now();
        let mut clocks = Clocks::default();
        for (from, to, offset_ms) in wrong {
            clocks.wrong(moment(start, *from), moment(start, *to), *offset_ms);
        }
        let calls = told.iter().map(|(token, ms, came)| {
            let sent = moment(start, *ms);
            let call = Call {
                sent,
                came: *came,
                delay: Duration::from_secs(1),
                answered: token.starts_with("waits-1").then_some(sent),
            };
            (Rule::of_token(token).expect("a token"), call)
        });
        let mut sights: Vec<Sight> = seen
            .iter()
            .map(|(payload, id, ms)| {
                let topic = payload.split('-').next().unwrap_or_default();
                sight(start, topic, payload, id, *ms)
            })
            .collect();
        sights.push(sight(start, PATTERN, &time(CALM_S), "calm", CALM_S * 1_000 + 20));
        // What a sensor's automation did is not looked at.
        sights.push(sight(start, "d0", "anything", "", CALM_S * 1_000 + 30));
        let course = Course {
            clocks: &clocks,
            wall: Wall {
                at: start,
                unix_ms: EPOCH_MS,
            },
            calm: moment(start, CALM_S * 1_000),
        };
        super::check(&calls.collect(), &course, &sights)
    }

    /// All that was found.
    fn found(done: &Done) -> Vec<String> {
        let all = done.broken.iter().chain(&done.missing);
        all.map(ToString::to_string).collect()
    }

    use Came::{No, Unknown, Yes};

    #[test]
    fn what_comes_once_in_time_and_in_order_is_fine() {
        let told = [
            ("parallel-1", 0, Yes),
            ("parallel-2", 0, Unknown),
            ("parallel-3", 0, Unknown),
            ("parallel-4", 0, No),
            ("queued-1", 0, Yes),
            ("queued-2", 100, Unknown),
            ("queued-3", 200, Yes),
            ("single-1", 0, Yes),
            ("single-2", 10, Yes),
            ("single-3", 5_000, Yes),
            ("restart-1", 0, Yes),
            ("restart-2", 10, Yes),
            ("waits-1", 0, Yes),
            ("waits-2", 0, Yes),
            ("repeats-1", 0, Yes),
            ("repeats-2", 0, Unknown),
            ("parallel-5", CALM_S * 1_000, Yes),
        ];
        let seen = [
            ("waits-1 heard", "a", 300),
            ("parallel-1 done", "b", 1_000),
            ("parallel-1 done", "b", 1_001),
            ("parallel-3 done", "c", 1_050),
            ("queued-1 done", "d", 1_100),
            ("waits-2 waited", "e", 1_100),
            ("repeats-1 1", "f", 1_100),
            ("single-1 done", "g", 1_200),
            ("restart-2 done", "h", 1_200),
            ("repeats-1 2", "i", 2_000),
            ("queued-3 done", "j", 2_200),
            // Unknown, it may have come late.
            ("queued-2 done", "k", 2_300),
            ("repeats-1 3", "l", 3_100),
            ("single-3 done", "m", 6_100),
            ("parallel-5 done", "n", CALM_S * 1_000 + 1_000),
        ];
        let done = check(&told, &seen, &[]);
        assert_eq!(found(&done), Vec::<String>::new());
        let events = Count {
            sent: 17,
            came: 12,
            came_before_calm: 11,
            unknown: 4,
            unknown_that_came: 2,
            not_taken: 1,
            recorded: 14,
        };
        assert_eq!(done.events, events);
        assert_eq!((done.repeated, done.times), (1, 1));
        // All but what was heard.
        assert_eq!((done.fired_by_right_clocks, done.late.len()), (13, 10));
    }

    #[test]
    fn what_is_lost_repeated_early_strange_or_out_of_order_is_found() {
        let once = [("parallel-1", 0, Yes)];
        let unknown = [("parallel-1", 0, Unknown)];
        let repeats = [("repeats-1", 0, Yes)];
        let queued = [("queued-1", 0, Yes), ("queued-2", 10, Yes)];
        let single = [("single-1", 0, Yes), ("single-2", 10, Yes)];
        let restart = [("restart-1", 0, Yes), ("restart-2", 10, Yes)];
        let cases: [(&str, &[_], &[_]); 18] = [
            ("lost", &once, &[]),
            (
                "twice",
                &once,
                &[("parallel-1 done", "a", 1_000), ("parallel-1 done", "b", 1_001)],
            ),
            (
                "unknown twice",
                &unknown,
                &[("parallel-1 done", "a", 1_000), ("parallel-1 done", "b", 1_001)],
            ),
            ("early", &once, &[("parallel-1 done", "a", 980)]),
            (
                "without an id",
                &once,
                &[("parallel-1 done", "a", 1_000), ("parallel-1 done", "", 1_001)],
            ),
            ("untold", &[], &[("parallel-1 done", "a", 1_000)]),
            (
                "refused",
                &[("parallel-1", 0, No)],
                &[("parallel-1 done", "a", 1_000)],
            ),
            (
                "a round lost",
                &repeats,
                &[("repeats-1 1", "a", 1_000), ("repeats-1 2", "b", 2_000)],
            ),
            (
                "a round left out",
                &repeats,
                &[
                    ("repeats-1 1", "a", 1_000),
                    ("repeats-1 3", "b", 3_000),
                    ("repeats-1 3", "b", 3_000),
                    ("repeats-1 4", "c", 4_000),
                ],
            ),
            (
                "an unknown cut short",
                &[("repeats-1", 0, Unknown)],
                &[("repeats-1 1", "a", 1_000)],
            ),
            (
                "overtaken",
                &queued,
                &[("queued-2 done", "a", 2_000), ("queued-1 done", "b", 2_100)],
            ),
            ("one lost of two", &queued, &[("queued-2 done", "a", 2_000)]),
            (
                "singles overtaken",
                &single,
                &[("single-2 done", "a", 2_000), ("single-1 done", "b", 2_100)],
            ),
            ("the last single lost", &single, &[("single-1 done", "a", 2_000)]),
            (
                "the last restart lost",
                &restart,
                &[("restart-1 done", "a", 2_000)],
            ),
            (
                "heard by nobody",
                &[("waits-2", 0, Yes)],
                &[("waits-2 heard", "a", 1_000)],
            ),
            (
                "heard and waited",
                &[("waits-1", 0, Yes)],
                &[("waits-1 heard", "a", 1_000), ("waits-1 waited", "b", 1_001)],
            ),
            (
                "waited too short",
                &[("waits-1", 0, Yes)],
                &[("waits-1 waited", "a", 900)],
            ),
        ];
        for (what, told, seen) in cases {
            let done = check(told, seen, &[]);
            assert!(!found(&done).is_empty(), "{what}");
        }
    }

    #[test]
    fn a_wrong_clock_excuses_what_it_saw_and_no_more() {
        let told = [("parallel-1", 5_000, Yes)];
        let early = [("parallel-1 done", "a", 5_500)];
        let excused = check(&told, &early, &[(4_000, 5_100, -600)]);
        assert_eq!(found(&excused), Vec::<String>::new());
        assert_eq!(excused.fired_by_right_clocks, 0);
        for wrong in [
            &[(0, 4_900, -600)][..],
            &[(5_600, 9_000, -600)],
            &[(4_000, 5_100, 400)],
        ] {
            assert_eq!(found(&check(&told, &early, wrong)).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn a_time_comes_once_and_not_early() {
        let at = |s: u64| time(s);
        let one = at(50);
        let good = check(&[], &[(&one, "a", 50_010), (&one, "a", 50_500)], &[]);
        assert_eq!((found(&good), good.times, good.repeated), (Vec::new(), 2, 1));
        let twice = [(&*one, "a", 50_010), (&*one, "b", 50_500)];
        assert_eq!(found(&check(&[], &twice, &[])).len(), 1);
        assert_eq!(found(&check(&[], &twice, &[(10_000, 11_000, 90_000)])).len(), 0);
        let early = [(&*one, "a", 40_000)];
        assert_eq!(found(&check(&[], &early, &[])).len(), 1);
        assert_eq!(found(&check(&[], &early, &[(30_000, 31_000, 10_000)])).len(), 0);
    }

    #[test]
    fn a_sensors_message_waits_as_long_as_its_automation_says() {
        let start = Instant::now();
        let word = Word {
            device: "w0".to_owned(),
            n: 0,
        };
        let payload = serde_json::to_string(&word).expect("it can be written");
        let sent = Sent {
            at: start,
            confirmed: start,
            tries: 1,
        };
        let said = Said::from([(word, sent)]);
        let delays = Delays::from([("w0".to_owned(), Duration::from_secs(2))]);
        let check = |ms, clocks: &Clocks| {
            let sights = [
                sight(start, "w0", &payload, "a", ms),
                sight(start, "w0", &payload, "a", ms + 5),
            ];
            check_delays(&said, &delays, clocks, &sights)
        };
        assert_eq!(check(2_000, &Clocks::default()), []);
        assert_eq!(check(1_900, &Clocks::default()).len(), 1);
        let mut clocks = Clocks::default();
        clocks.wrong(start, start, 200);
        assert_eq!(check(1_900, &clocks), []);
    }
}
