//! Reads and writes of a session are linearizable: there is one order of all of them, in keeping with when each began and
//! ended, in which every read sees exactly the messages said before it, and what was told of a message's `seq` grows along it.
//! Checked by stateright's tester. A message whose sender was never told is unknown: it may stand anywhere after it began, or
//! nowhere.

use std::collections::{BTreeMap, BTreeSet};

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use xxhash_rust::xxh64::xxh64;

/// The messages of a session, in order, as their number and a hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Messages {
    count: u64,
    hash: u64,
}

impl Messages {
    fn add(&mut self, id: &str) {
        self.count += 1;
        self.hash = xxh64(id.as_bytes(), self.hash);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Op {
    Say(String),
    Read,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Ret {
    /// With this `seq`.
    Said(u64),
    Saw(Messages),
}

/// A session as one after the other would find it. That `seq` grows also keeps the search short: of two messages said at once
/// only one order is ever tried.
#[derive(Debug, Clone, Default)]
struct Session {
    messages: Messages,
    last_seq: u64,
}

impl SequentialSpec for Session {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::Say(id) => {
                self.messages.add(id);
                Ret::Said(self.last_seq)
            }
            Op::Read => Ret::Saw(self.messages.clone()),
        }
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        match (op, ret) {
            (Op::Say(id), Ret::Said(seq)) => {
                let grows = *seq > self.last_seq;
                self.last_seq = *seq;
                self.messages.add(id);
                grows
            }
            (Op::Read, Ret::Saw(saw)) => *saw == self.messages,
            _ => false,
        }
    }
}

/// Who does something: a talker, or the reader of a machine. Each does one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Talker(u64),
    Reader(u64),
}

#[derive(Debug, Clone)]
enum Event {
    Begins(Who, Op),
    Ends(Who, Ret),
}

/// A read that has begun.
#[derive(Debug, Clone, Copy)]
pub struct ReadBegun {
    reader: u64,
    /// Where it stands among its session's events.
    place: usize,
}

/// What was said and read, by session.
#[derive(Debug, Default)]
pub struct Reads {
    sessions: BTreeMap<usize, Vec<Event>>,
    /// Reads that ended, by session and place.
    ended: BTreeSet<(usize, usize)>,
    reads: u64,
}

impl Reads {
    /// How many reads began.
    pub fn len(&self) -> u64 {
        self.reads
    }

    /// Whether none did.
    pub fn is_empty(&self) -> bool {
        self.reads == 0
    }

    fn push(&mut self, session: usize, event: Event) {
        self.sessions.entry(session).or_default().push(event);
    }

    /// A talker begins to say a message.
    pub fn say_begins(&mut self, session: usize, talker: u64, id: &str) {
        self.push(
            session,
            Event::Begins(Who::Talker(talker), Op::Say(id.to_owned())),
        );
    }

    /// The talker was told that it stands, and with which `seq`.
    pub fn say_ends(&mut self, session: usize, talker: u64, seq: u64) {
        self.push(session, Event::Ends(Who::Talker(talker), Ret::Said(seq)));
    }

    /// A read begins. What this reader began before and did not end came to nothing.
    pub fn read_begins(&mut self, session: usize, reader: u64) -> ReadBegun {
        self.reads += 1;
        self.push(session, Event::Begins(Who::Reader(reader), Op::Read));
        let place = self.sessions[&session].len() - 1;
        ReadBegun { reader, place }
    }

    /// A read ends.
    pub fn read_ends(&mut self, session: usize, read: ReadBegun, ids: &[String]) {
        let mut saw = Messages::default();
        ids.iter().for_each(|id| saw.add(id));
        self.push(session, Event::Ends(Who::Reader(read.reader), Ret::Saw(saw)));
        self.ended.insert((session, read.place));
    }

    /// Whether each session has an order.
    pub fn check(&self) -> Vec<Result<(), String>> {
        self.sessions
            .iter()
            .map(|(session, events)| self.check_one(*session, events))
            .collect()
    }

    fn check_one(&self, session: usize, events: &[Event]) -> Result<(), String> {
        // A read that never ended saw nothing: it is left out.
        let came_to_nothing = |place: usize, event: &Event| {
            matches!(event, Event::Begins(_, Op::Read)) && !self.ended.contains(&(session, place))
        };
        let events = events.iter().enumerate();
        let events = events.filter(|(place, event)| !came_to_nothing(*place, event));
        check(session, events.map(|(_, event)| event))
    }
}

fn check<'a>(session: usize, events: impl Iterator<Item = &'a Event>) -> Result<(), String> {
    let mut tester = LinearizabilityTester::new(Session::default());
    for event in events {
        let taken = match event {
            Event::Begins(who, op) => tester.on_invoke(*who, op.clone()).map(drop),
            Event::Ends(who, ret) => tester.on_return(*who, ret.clone()).map(drop),
        };
        taken.map_err(|error| format!("the history of session {session} is malformed: {error}"))?;
    }
    if tester.is_consistent() {
        Ok(())
    } else {
        Err(format!(
            "session {session} has no order of its {} acts",
            tester.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: &[(&str, u64, &[&str])]) -> Reads {
        let mut reads = Reads::default();
        let mut numbers = BTreeMap::new();
        for (what, who, ids) in steps {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            match *what {
                "say" => reads.say_begins(0, *who, &ids[0]),
                "said" => reads.say_ends(0, *who, ids[0].parse().expect("its seq")),
                "read" => drop(numbers.insert(*who, reads.read_begins(0, *who))),
                _ => reads.read_ends(0, numbers[who], &ids),
            }
        }
        reads
    }

    fn good(steps: &[(&str, u64, &[&str])]) -> bool {
        history(steps).check().iter().all(Result::is_ok)
    }

    #[test]
    fn good_histories_pass() {
        assert!(good(&[
            ("say", 1, &["a"]),
            ("said", 1, &["1"]),
            ("read", 9, &[]),
            ("saw", 9, &["a"])
        ]));
        // Under way, a message may be seen or not; two at once may stand in either order.
        assert!(good(&[
            ("say", 1, &["a"]),
            ("read", 9, &[]),
            ("saw", 9, &[]),
            ("said", 1, &["1"])
        ]));
        assert!(good(&[
            ("say", 1, &["a"]),
            ("read", 9, &[]),
            ("saw", 9, &["a"]),
            ("said", 1, &["1"])
        ]));
        assert!(good(&[
            ("say", 1, &["a"]),
            ("say", 2, &["b"]),
            ("said", 1, &["3"]),
            ("said", 2, &["1"]),
            ("read", 9, &[]),
            ("saw", 9, &["b", "a"]),
        ]));
        // Who reads again after a crash begins anew.
        assert!(good(&[
            ("read", 9, &[]),
            ("say", 1, &["a"]),
            ("said", 1, &["1"]),
            ("read", 9, &[]),
            ("saw", 9, &["a"])
        ]));
        // Unknown is not absent: never acknowledged, and there all the same.
        assert!(good(&[
            ("say", 1, &["a"]),
            ("read", 9, &[]),
            ("saw", 9, &[]),
            ("read", 8, &[]),
            ("saw", 8, &["a"])
        ]));
    }

    #[test]
    fn bad_histories_are_found() {
        assert!(
            !good(&[
                ("say", 1, &["a"]),
                ("said", 1, &["1"]),
                ("read", 9, &[]),
                ("saw", 9, &[])
            ]),
            "stale"
        );
        assert!(
            !good(&[
                ("read", 9, &[]),
                ("saw", 9, &["a"]),
                ("say", 1, &["a"]),
                ("said", 1, &["1"])
            ]),
            "early"
        );
        let back = [
            ("say", 1, &["a"][..]),
            ("read", 9, &[]),
            ("saw", 9, &["a"]),
            ("read", 8, &[]),
            ("saw", 8, &[]),
        ];
        assert!(!good(&back), "going back");
        let lost = [
            ("say", 1, &["a"][..]),
            ("said", 1, &["1"]),
            ("say", 1, &["b"]),
            ("said", 1, &["3"]),
            ("read", 9, &[]),
            ("saw", 9, &["b"]),
        ];
        assert!(!good(&lost), "lost");
        let back_in_seq = [
            ("say", 1, &["a"][..]),
            ("said", 1, &["3"]),
            ("say", 2, &["b"]),
            ("said", 2, &["1"]),
        ];
        assert!(!good(&back_in_seq), "said later, and earlier by seq");
        let other_order = [
            ("say", 1, &["a"][..]),
            ("say", 2, &["b"]),
            ("said", 1, &["1"]),
            ("said", 2, &["3"]),
            ("read", 9, &[]),
            ("saw", 9, &["b", "a"]),
        ];
        assert!(!good(&other_order), "read in another order than told");
    }

    /// As many as in a long run, two always at once, and nobody reads until the end.
    #[test]
    fn a_long_history_is_checked_quickly() {
        for (last, holds) in [("a299", true), ("a298", false)] {
            let mut reads = Reads::default();
            let mut ids = Vec::new();
            for n in 0..300u64 {
                let (a, b) = (format!("a{n}"), format!("b{n}"));
                reads.say_begins(0, 1, &a);
                reads.say_begins(0, 2, &b);
                reads.say_ends(0, 1, 4 * n + 3);
                reads.say_ends(0, 2, 4 * n + 1);
                ids.extend([b, a]);
            }
            *ids.last_mut().expect("not empty") = last.to_owned();
            let read = reads.read_begins(0, 9);
            reads.read_ends(0, read, &ids);
            assert_eq!(reads.check()[0].is_ok(), holds, "the last one read is {last}");
        }
    }
}
