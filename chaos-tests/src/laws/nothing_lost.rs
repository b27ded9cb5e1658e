//! A `said` or `reply` once sent to a client is in the transcript for ever, as it was.

use std::collections::BTreeMap;

use super::Broken;
use crate::history::{Entry, History};

const LAW: &str = "nothing acknowledged is lost";

/// Compares what a talker was told with the transcript at the end.
pub fn check(history: &History, transcript: &[Entry]) -> Vec<Broken> {
    let kept: BTreeMap<u64, &Entry> = transcript.iter().map(|entry| (entry.seq, entry)).collect();
    let lost = history
        .seen
        .iter()
        .filter(|seen| kept.get(&seen.seq) != Some(seen));
    lost.map(|seen| {
        let what = format!("told {seen:?}, kept {:?}", kept.get(&seen.seq));
        Broken {
            law: LAW,
            session: history.session.clone(),
            what,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_or_changed_entry_is_found() {
        let entry = |seq, text: &str| Entry {
            seq,
            about: "a".into(),
            reply: false,
            text: text.into(),
        };
        let history = History {
            seen: vec![entry(1, "x"), entry(2, "y")],
            ..History::default()
        };
        assert!(check(&history, &[entry(1, "x"), entry(2, "y"), entry(3, "z")]).is_empty());
        assert_eq!(check(&history, &[entry(1, "x")]).len(), 1);
        assert_eq!(check(&history, &[entry(1, "x"), entry(2, "other")]).len(), 1);
    }
}
