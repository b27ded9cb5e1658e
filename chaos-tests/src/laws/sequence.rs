//! Within a session `seq` runs 1, 2, 3 … without gap or repeat, in the order in which a client is told.

use super::Broken;
use crate::history::{Entry, History};

const LAW: &str = "seq runs without gap or repeat";

/// Checks what a talker was told, over all its sockets.
pub fn check(history: &History) -> Vec<Broken> {
    check_entries(&history.session, &history.seen)
}

/// Checks one transcript from its start.
pub fn check_entries(session: &str, entries: &[Entry]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut expected = 1;
    for entry in entries {
        if entry.seq != expected {
            let what = format!("expected seq {expected}, got {} ({:?})", entry.seq, entry.about);
            broken.push(Broken {
                law: LAW,
                session: session.to_owned(),
                what,
            });
        }
        expected = entry.seq + 1;
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(seqs: &[u64]) -> Vec<Entry> {
        let entry = |&seq: &u64| Entry {
            seq,
            about: "a".into(),
            reply: false,
            text: String::new(),
        };
        seqs.iter().map(entry).collect()
    }

    #[test]
    fn gaps_repeats_and_late_starts_are_found() {
        assert!(check_entries("s", &entries(&[1, 2, 3])).is_empty());
        for bad in [&[1, 3][..], &[1, 1], &[2], &[1, 2, 1]] {
            assert!(!check_entries("s", &entries(bad)).is_empty(), "{bad:?}");
        }
    }
}
