//! Reads and writes of a session are linearizable: there is one order of all of them, in keeping with when each began and
//! ended, in which every read sees exactly the messages said before it. Checked by stateright's tester. A message whose
//! sender was never told is unknown: it may stand anywhere after it began, or nowhere.

use std::collections::BTreeMap;

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
    Said,
    Saw(Messages),
}

impl SequentialSpec for Messages {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::Say(id) => {
                self.add(id);
                Ret::Said
            }
            Op::Read => Ret::Saw(self.clone()),
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Begins(u64, Op),
    Ends(u64, Ret),
}

/// Readers are numbered from here, talkers below.
const FIRST_READ: u64 = 1_000;

/// What was said and read, by session.
#[derive(Debug, Default)]
pub struct Reads {
    sessions: BTreeMap<usize, Vec<Event>>,
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
        self.push(session, Event::Begins(talker, Op::Say(id.to_owned())));
    }

    /// The talker was told that it stands.
    pub fn say_ends(&mut self, session: usize, talker: u64) {
        self.push(session, Event::Ends(talker, Ret::Said));
    }

    /// A read begins.
    pub fn read_begins(&mut self, session: usize) -> u64 {
        self.reads += 1;
        let number = FIRST_READ + self.reads;
        self.push(session, Event::Begins(number, Op::Read));
        number
    }

    /// A read ends.
    pub fn read_ends(&mut self, session: usize, number: u64, ids: &[String]) {
        let mut saw = Messages::default();
        ids.iter().for_each(|id| saw.add(id));
        self.push(session, Event::Ends(number, Ret::Saw(saw)));
    }

    /// Whether each session has an order.
    pub fn check(&self) -> Vec<Result<(), String>> {
        self.sessions
            .iter()
            .map(|(session, events)| check(*session, events))
            .collect()
    }
}

fn check(session: usize, events: &[Event]) -> Result<(), String> {
    // A read that never ended saw nothing: it is left out, so that it does not make the search larger.
    let ended: std::collections::BTreeSet<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Ends(number, _) => Some(*number),
            Event::Begins(..) => None,
        })
        .collect();
    let mut tester = LinearizabilityTester::new(Messages::default());
    for event in events {
        let taken = match event {
            Event::Begins(number, Op::Read) if !ended.contains(number) => continue,
            Event::Begins(number, op) => tester.on_invoke(*number, op.clone()).map(drop),
            Event::Ends(number, ret) => tester.on_return(*number, ret.clone()).map(drop),
        };
        taken.map_err(|error| format!("the history of session {session} is malformed: {error}"))?;
    }
    if tester.is_consistent() {
        Ok(())
    } else {
        Err(format!(
            "session {session} has no order of its {} events",
            events.len()
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
                "said" => reads.say_ends(0, *who),
                "read" => drop(numbers.insert(*who, reads.read_begins(0))),
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
            ("said", 1, &[]),
            ("read", 9, &[]),
            ("saw", 9, &["a"])
        ]));
        // Under way, a message may be seen or not; two at once may stand in either order.
        assert!(good(&[
            ("say", 1, &["a"]),
            ("read", 9, &[]),
            ("saw", 9, &[]),
            ("said", 1, &[])
        ]));
        assert!(good(&[
            ("say", 1, &["a"]),
            ("read", 9, &[]),
            ("saw", 9, &["a"]),
            ("said", 1, &[])
        ]));
        assert!(good(&[
            ("say", 1, &["a"]),
            ("say", 2, &["b"]),
            ("said", 1, &[]),
            ("said", 2, &[]),
            ("read", 9, &[]),
            ("saw", 9, &["b", "a"]),
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
                ("said", 1, &[]),
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
                ("said", 1, &[])
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
            ("said", 1, &[]),
            ("say", 1, &["b"]),
            ("said", 1, &[]),
            ("read", 9, &[]),
            ("saw", 9, &["b"]),
        ];
        assert!(!good(&lost), "lost");
    }
}
