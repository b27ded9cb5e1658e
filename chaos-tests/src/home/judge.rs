//! What must hold between what sensors said and what was recorded of it. PURE.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Sight, Word};

/// What was said, and how often each message was published.
pub type Expected = BTreeMap<Word, u32>;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Messages that were said.
    pub said: usize,
    /// Messages of which something was recorded.
    pub decided: usize,
    /// Messages of which nothing was.
    pub lost: Vec<Word>,
    /// Messages recorded under more ids than they were published times, with the ids.
    pub decided_again: Vec<(Word, Vec<String>)>,
    /// Copies under an id that was recorded before: what a device sees twice and may tell by the id.
    pub repeated: usize,
    /// Recorded first after a later one of the same device.
    pub out_of_order: Vec<Word>,
    /// What was recorded and nobody said, or came without an id.
    pub unexplained: usize,
}

impl Verdict {
    /// What is broken, in sentences; empty: all is as it should be.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut tell = |what: &str, count: usize, example: String| {
            if count > 0 {
                broken.push(format!("{count} messages {what}, such as {example}"));
            }
        };
        let first = |words: &[Word]| words.first().map(|word| format!("{word:?}")).unwrap_or_default();
        tell("were never decided on", self.lost.len(), first(&self.lost));
        tell(
            "overtook a later one",
            self.out_of_order.len(),
            first(&self.out_of_order),
        );
        let again = self.decided_again.first().map(|found| format!("{found:?}"));
        tell(
            "were decided on again under another id",
            self.decided_again.len(),
            again.unwrap_or_default(),
        );
        tell(
            "were recorded that nobody said",
            self.unexplained,
            "these".to_owned(),
        );
        broken
    }
}

/// Judges.
pub fn judge<'s>(expected: &Expected, sights: impl IntoIterator<Item = &'s Sight>) -> Verdict {
    let mut verdict = Verdict {
        said: expected.len(),
        ..Verdict::default()
    };
    let mut ids: BTreeMap<&Word, BTreeSet<&str>> = BTreeMap::new();
    let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
    for sight in sights {
        let (Some(word), Some(intent)) = (&sight.word, &sight.intent) else {
            verdict.unexplained += 1;
            continue;
        };
        if !expected.contains_key(word) {
            verdict.unexplained += 1;
            continue;
        }
        let known = ids.entry(word).or_default();
        let is_first = known.is_empty();
        if !known.insert(intent) {
            verdict.repeated += 1;
        }
        if is_first {
            let latest = latest.entry(&word.device).or_insert(word.n);
            if *latest > word.n {
                verdict.out_of_order.push(word.clone());
            }
            *latest = word.n.max(*latest);
        }
    }
    verdict.decided = ids.len();
    verdict.lost = expected
        .keys()
        .filter(|word| !ids.contains_key(word))
        .cloned()
        .collect();
    let again = ids.iter().filter(|(word, ids)| {
        let published = expected.get(word).copied().unwrap_or(0);
        ids.len() > published as usize
    });
    verdict.decided_again = again
        .map(|(word, ids)| ((*word).clone(), ids.iter().map(|id| (*id).to_owned()).collect()))
        .collect();
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn word(device: &str, n: u64) -> Word {
        Word {
            device: device.to_owned(),
            n,
        }
    }

    fn check(said: &[(&str, u64, u32)], seen: &[(&str, u64, &str)]) -> Verdict {
        let expected = said.iter().map(|(device, n, tries)| (word(device, *n), *tries));
        let sights: Vec<Sight> = seen
            .iter()
            .map(|(device, n, id)| Sight {
                topic: String::new(),
                payload: String::new(),
                word: Some(word(device, *n)),
                intent: (!id.is_empty()).then(|| (*id).to_owned()),
                at: Instant::now(),
            })
            .collect();
        judge(&expected.collect(), &sights)
    }

    #[test]
    fn what_is_repeated_under_its_id_is_fine() {
        let said = [("a", 0, 1), ("a", 1, 1), ("b", 0, 1)];
        let verdict = check(
            &said,
            &[("a", 0, "x"), ("b", 0, "y"), ("a", 0, "x"), ("a", 1, "z")],
        );
        assert_eq!((verdict.decided, verdict.repeated), (3, 1));
        assert_eq!(verdict.broken(), Vec::<String>::new());
    }

    #[test]
    fn what_was_published_twice_may_be_decided_on_twice_and_no_more() {
        assert_eq!(
            check(&[("a", 0, 2)], &[("a", 0, "x"), ("a", 0, "y")])
                .broken()
                .len(),
            0
        );
        let again = check(&[("a", 0, 1)], &[("a", 0, "x"), ("a", 0, "y")]);
        assert_eq!(again.decided_again.len(), 1);
        assert_eq!(again.broken().len(), 1);
    }

    #[test]
    fn what_is_lost_overtaken_or_unexplained_is_found() {
        let said = [("a", 0, 1), ("a", 1, 1), ("a", 2, 1)];
        let lost = check(&said, &[("a", 0, "x"), ("a", 2, "z")]);
        assert_eq!(lost.lost, [word("a", 1)]);
        let order = check(&said, &[("a", 1, "y"), ("a", 0, "x"), ("a", 2, "z")]);
        assert_eq!(order.out_of_order, [word("a", 0)]);
        let strange = check(&said, &[("b", 0, "x"), ("a", 0, "")]);
        assert_eq!((strange.unexplained, strange.broken().len()), (2, 2));
    }
}
