//! What one member was told, in little room: the last entries as they came, all others in one number.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::history::Entry;

/// How many entries a gateway may confirm again to a message that was sent again.
const KEPT: usize = 8;

/// What one member was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// The member.
    pub(crate) number: usize,
    /// Its session.
    pub(crate) session: String,
    /// Messages that it sent; their ids follow from their number.
    pub(crate) sent: u64,
    /// The last entry's place.
    pub(crate) last_seq: u64,
    /// Over all entries in their order.
    pub(crate) digest: u64,
    recent: VecDeque<Entry>,
    /// What was wrong as it came.
    pub(crate) wrong: Vec<String>,
}

/// Whether an entry was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The next one.
    New,
    /// One that was told before.
    Again,
}

impl Ledger {
    /// Of a member that was told nothing yet.
    pub(crate) fn of(number: usize) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// Id and text of a member's message.
    pub(crate) fn message(member: usize, number: u64) -> (String, String) {
        // Something that every responder answers at once, and differently each time.
        let text = format!("{number} + {}", member + 1);
        (format!("m{member}-{number}"), text)
    }

    /// Takes what it is told.
    pub(crate) fn take(&mut self, entry: &Entry) -> Told {
        if entry.seq <= self.last_seq {
            let known = self.recent.iter().find(|known| known.seq == entry.seq);
            if known != Some(entry) {
                self.wrong
                    .push(format!("told {entry:?} again as another: {known:?}"));
            }
            return Told::Again;
        }
        if entry.seq != self.last_seq + 1 {
            let expected = self.last_seq + 1;
            self.wrong
                .push(format!("expected seq {expected}, was told {entry:?}"));
        }
        self.last_seq = entry.seq;
        self.digest = fold(self.digest, entry);
        self.recent.push_back(entry.clone());
        if self.recent.len() > KEPT {
            self.recent.pop_front();
        }
        Told::New
    }

    /// The digest of a transcript up to where this member was told.
    pub(crate) fn digest_of(&self, transcript: &[Entry]) -> u64 {
        let told = transcript.iter().filter(|entry| entry.seq <= self.last_seq);
        told.fold(0, fold)
    }
}

fn fold(digest: u64, entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (digest, entry.seq, &entry.about, entry.reply, &entry.text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, text: &str) -> Entry {
        Entry {
            seq,
            about: "a".into(),
            reply: false,
            text: text.into(),
        }
    }

    #[test]
    fn gaps_and_changes_are_found_and_repeats_borne() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(&entry(1, "x")), Told::New);
        assert_eq!(ledger.take(&entry(2, "y")), Told::New);
        assert_eq!(ledger.take(&entry(2, "y")), Told::Again);
        assert!(ledger.wrong.is_empty());
        assert_eq!(ledger.take(&entry(1, "z")), Told::Again);
        assert_eq!(ledger.wrong.len(), 1);
        ledger.take(&entry(4, "w"));
        assert_eq!(ledger.wrong.len(), 2);
    }

    #[test]
    fn a_transcript_that_differs_has_another_digest() {
        let mut ledger = Ledger::default();
        ledger.take(&entry(1, "x"));
        ledger.take(&entry(2, "y"));
        let same = [entry(1, "x"), entry(2, "y"), entry(3, "later")];
        assert_eq!(ledger.digest_of(&same), ledger.digest);
        for other in [&[entry(1, "x"), entry(2, "z")][..], &[entry(1, "x")], &[]] {
            assert_ne!(ledger.digest_of(other), ledger.digest);
        }
    }
}
