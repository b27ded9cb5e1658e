//! The same client id is one message; every message is answered, and answered once.

use std::collections::BTreeMap;

use super::Broken;
use crate::history::{Entry, History};

const LAW: &str = "every message is one and answered once";

/// Checks a transcript at the end, when everything has come to rest. Only ids that were sent may stand in it; an id
/// that was never acknowledged may be missing.
pub fn check(history: &History, transcript: &[Entry]) -> Vec<Broken> {
    let mut count: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    // What nobody asked for answers nobody.
    for entry in transcript.iter().filter(|entry| !entry.is_unasked()) {
        let (said, replied) = count.entry(&entry.about).or_default();
        *(if entry.reply { replied } else { said }) += 1;
    }
    let mut broken = Vec::new();
    let mut report = |what: String| {
        broken.push(Broken {
            law: LAW,
            session: history.session.clone(),
            what,
        })
    };
    for (id, counts) in &count {
        if *counts != (1, 1) {
            report(format!(
                "{id:?} stands {} times and has {} replies",
                counts.0, counts.1
            ));
        }
        if !history.sent.contains_key(*id) {
            report(format!("{id:?} was never sent"));
        }
    }
    for entry in transcript.iter().filter(|entry| !entry.reply) {
        if history
            .sent
            .get(&entry.about)
            .is_some_and(|sent| *sent != entry.text)
        {
            report(format!("{:?} was sent as other text", entry.about));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, about: &str, reply: bool) -> Entry {
        Entry {
            seq,
            about: about.into(),
            reply,
            text: "t".into(),
        }
    }

    #[test]
    fn doubles_orphans_and_strangers_are_found() {
        let history = History {
            sent: BTreeMap::from([("a".into(), "t".into())]),
            ..History::default()
        };
        let good = [entry(1, "a", false), entry(2, "a", true)];
        assert!(check(&history, &good).is_empty());
        let unasked = [&[entry(1, "", true)][..], &good, &[entry(4, "", true)]].concat();
        assert!(check(&history, &unasked).is_empty(), "it answers nobody, twice");
        assert!(
            check(&history, &[]).is_empty(),
            "unknown is not absent, and not present either"
        );
        for bad in [
            &[entry(1, "a", false)][..],
            &[entry(1, "a", false), entry(2, "a", true), entry(3, "a", true)],
            &[entry(1, "a", false), entry(2, "a", false), entry(3, "a", true)],
            &[entry(1, "b", false), entry(2, "b", true)],
            &[entry(1, "a", false), entry(2, "", true)],
        ] {
            assert!(!check(&history, bad).is_empty(), "{bad:?}");
        }
    }
}
