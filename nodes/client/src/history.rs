//! Whether what clients saw keeps the transcript's law: `seq` without gap or repeat, each id said once and answered
//! once, the same for every reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jarvis_types::chat::ServerFrame;
use serde::Serialize;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Violation {
    /// An entry came out of order.
    SeqGap {
        /// Where.
        session: String,
        /// What had to come.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// One id stands at two places.
    SaidTwice {
        /// Where.
        session: String,
        /// Which message.
        id: String,
        /// Both places.
        at: (u64, u64),
    },
    /// One message has two replies.
    AnsweredTwice {
        /// Where.
        session: String,
        /// Which message.
        id: String,
        /// Both replies.
        at: (u64, u64),
    },
    /// A reply to nothing that was said before it.
    ReplyToNothing {
        /// Where.
        session: String,
        /// The reply.
        seq: u64,
    },
    /// A message was confirmed and is not there, or not where it was confirmed.
    Lost {
        /// Where.
        session: String,
        /// Which message.
        id: String,
        /// The place that was confirmed.
        seq: u64,
        /// The reader that misses it.
        reader: String,
    },
    /// A message never got its reply.
    Unanswered {
        /// Where.
        session: String,
        /// Which message.
        id: String,
        /// The reader that misses it.
        reader: String,
    },
    /// Two readers have something else at the same place.
    Differs {
        /// Where.
        session: String,
        /// The place.
        seq: u64,
        /// Both readers.
        readers: (String, String),
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::SeqGap {
                session,
                expected,
                got,
            } => {
                write!(f, "{session}: entry {got} came where {expected} had to")
            }
            Violation::SaidTwice { session, id, at } => {
                write!(f, "{session}: message {id} stands at {} and {}", at.0, at.1)
            }
            Violation::AnsweredTwice { session, id, at } => {
                write!(f, "{session}: message {id} is answered at {} and {}", at.0, at.1)
            }
            Violation::ReplyToNothing { session, seq } => write!(f, "{session}: reply {seq} answers nothing"),
            Violation::Lost {
                session,
                id,
                seq,
                reader,
            } => {
                write!(
                    f,
                    "{session}: message {id}, confirmed at {seq}, is not there for {reader}"
                )
            }
            Violation::Unanswered { session, id, reader } => {
                write!(f, "{session}: message {id} has no reply for {reader}")
            }
            Violation::Differs {
                session,
                seq,
                readers,
            } => {
                write!(
                    f,
                    "{session}: entry {seq} is not the same for {} and {}",
                    readers.0, readers.1
                )
            }
        }
    }
}

/// One session as one reader saw it, entry by entry.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    session: String,
    entries: BTreeMap<u64, ServerFrame>,
    last: u64,
    said: BTreeMap<String, u64>,
    answered: BTreeMap<String, u64>,
}

impl Transcript {
    /// Nothing seen yet.
    pub fn new(session: impl Into<String>) -> Self {
        Self {
            session: session.into(),
            ..Self::default()
        }
    }

    /// Takes in a frame, in the order in which it came; frames that are no entries say nothing.
    pub fn take(&mut self, frame: &ServerFrame) -> Vec<Violation> {
        let mut broken = Vec::new();
        let seq = match frame {
            ServerFrame::Said { seq, .. } | ServerFrame::Reply { seq, .. } => *seq,
            _ => return broken,
        };
        // The same id said again is confirmed again: that is an acknowledgement, not another entry.
        if matches!(frame, ServerFrame::Said { .. }) && self.entries.get(&seq) == Some(frame) {
            return broken;
        }
        if seq != self.last + 1 {
            broken.push(Violation::SeqGap {
                session: self.session.clone(),
                expected: self.last + 1,
                got: seq,
            });
        }
        self.last = self.last.max(seq);
        match frame {
            ServerFrame::Said { id, .. } => {
                if let Some(before) = self.said.insert(id.clone(), seq).filter(|before| *before != seq) {
                    let at = (before, seq);
                    broken.push(Violation::SaidTwice {
                        session: self.session.clone(),
                        id: id.clone(),
                        at,
                    });
                }
            }
            ServerFrame::Reply {
                reply_to: Some(reply_to),
                ..
            } => {
                if !self.said.contains_key(reply_to) {
                    broken.push(Violation::ReplyToNothing {
                        session: self.session.clone(),
                        seq,
                    });
                }
                if let Some(before) = self
                    .answered
                    .insert(reply_to.clone(), seq)
                    .filter(|before| *before != seq)
                {
                    let (session, id) = (self.session.clone(), reply_to.clone());
                    broken.push(Violation::AnsweredTwice {
                        session,
                        id,
                        at: (before, seq),
                    });
                }
            }
            _ => {}
        }
        self.entries.insert(seq, frame.clone());
        broken
    }

    /// Where each message stands.
    pub fn said(&self) -> &BTreeMap<String, u64> {
        &self.said
    }

    /// Whether the message has its reply.
    pub fn is_answered(&self, id: &str) -> bool {
        self.answered.contains_key(id)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What readers have of one session when all is over: each by its name.
pub type Readers<'a> = [(String, &'a Transcript)];

/// Compares what was confirmed to a client with what readers have: nothing lost, everything answered, all the same.
pub fn compare(
    session: &str,
    confirmed: &BTreeMap<String, u64>,
    readers: &Readers<'_>,
) -> BTreeSet<Violation> {
    let mut broken = BTreeSet::new();
    for (reader, transcript) in readers {
        for (id, seq) in confirmed {
            if transcript.said.get(id) != Some(seq) {
                let (session, id, reader) = (session.to_owned(), id.clone(), reader.clone());
                broken.insert(Violation::Lost {
                    session,
                    id,
                    seq: *seq,
                    reader,
                });
            }
        }
        for id in transcript.said.keys().filter(|id| !transcript.is_answered(id)) {
            let (session, id, reader) = (session.to_owned(), id.clone(), reader.clone());
            broken.insert(Violation::Unanswered { session, id, reader });
        }
    }
    for pair in readers.windows(2) {
        let [(one, a), (other, b)] = pair else { continue };
        let places: BTreeSet<_> = a.entries.keys().chain(b.entries.keys()).collect();
        for seq in places {
            if a.entries.get(seq) != b.entries.get(seq) {
                let readers = (one.clone(), other.clone());
                broken.insert(Violation::Differs {
                    session: session.to_owned(),
                    seq: *seq,
                    readers,
                });
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::chat::Role;

    fn said(seq: u64, id: &str) -> ServerFrame {
        ServerFrame::Said {
            seq,
            id: id.into(),
            role: Role::User,
            text: id.into(),
            at: 0,
        }
    }

    fn reply(seq: u64, to: &str) -> ServerFrame {
        let id = format!("r{seq}");
        ServerFrame::Reply {
            seq,
            id,
            reply_to: Some(to.into()),
            role: Role::Assistant,
            text: "x".into(),
            at: 0,
            cancelled: false,
        }
    }

    fn unasked(seq: u64) -> ServerFrame {
        ServerFrame::Reply {
            seq,
            id: format!("S-{seq}"),
            reply_to: None,
            role: Role::Assistant,
            text: "x".into(),
            at: 0,
            cancelled: false,
        }
    }

    fn taken(frames: &[ServerFrame]) -> (Transcript, Vec<String>) {
        let mut transcript = Transcript::new("S");
        let broken = frames
            .iter()
            .flat_map(|frame| transcript.take(frame))
            .map(|v| v.to_string())
            .collect();
        (transcript, broken)
    }

    #[test]
    fn each_way_to_break_the_law_is_seen() {
        let none: [&str; 0] = [];
        assert_eq!(
            taken(&[
                said(1, "a"),
                reply(2, "a"),
                said(3, "b"),
                said(4, "c"),
                reply(5, "c")
            ])
            .1,
            none
        );
        assert_eq!(
            taken(&[said(1, "a"), reply(3, "a")]).1,
            ["S: entry 3 came where 2 had to"]
        );
        assert_eq!(
            taken(&[said(1, "a"), said(1, "a")]).1,
            none,
            "a confirmation may come again"
        );
        assert_eq!(
            taken(&[said(1, "a"), said(1, "b")]).1,
            ["S: entry 1 came where 2 had to"]
        );
        assert_eq!(
            taken(&[said(1, "a"), reply(2, "a"), reply(2, "a")]).1,
            ["S: entry 2 came where 3 had to"],
            "a reply may not"
        );
        assert_eq!(
            taken(&[said(1, "a"), said(2, "a")]).1,
            ["S: message a stands at 1 and 2"]
        );
        assert_eq!(
            taken(&[said(1, "a"), reply(2, "a"), reply(3, "a")]).1,
            ["S: message a is answered at 2 and 3"]
        );
        assert_eq!(taken(&[reply(1, "a")]).1, ["S: reply 1 answers nothing"]);
        let around = [unasked(1), said(2, "a"), unasked(3), reply(4, "a"), unasked(5)];
        assert_eq!(taken(&around).1, none, "what nobody asked for answers nobody");
        assert_eq!(
            taken(&[unasked(1), unasked(1)]).1,
            ["S: entry 1 came where 2 had to"]
        );
    }

    #[test]
    fn readers_are_compared_with_one_another_and_with_what_was_confirmed() {
        let whole = taken(&[said(1, "a"), reply(2, "a")]).0;
        let other = taken(&[said(1, "b"), reply(2, "b")]).0;
        let open = taken(&[said(1, "a")]).0;
        let confirmed = BTreeMap::from([("a".to_owned(), 1)]);
        let named = |name: &str| name.to_owned();
        assert!(compare("S", &confirmed, &[(named("n1"), &whole), (named("n2"), &whole)]).is_empty());
        let broken = compare("S", &confirmed, &[(named("n1"), &whole), (named("n2"), &other)]);
        assert_eq!(broken.len(), 3, "lost and two that differ: {broken:?}");
        let broken: Vec<_> = compare("S", &confirmed, &[(named("n1"), &open)])
            .into_iter()
            .collect();
        assert_eq!(
            broken,
            [Violation::Unanswered {
                session: "S".into(),
                id: "a".into(),
                reader: "n1".into()
            }]
        );
    }
}
