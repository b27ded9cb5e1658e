//! Logs match: what any node applies at an index is what every node applies there, with the same outcome.

use std::collections::BTreeMap;

use jarvis_replica::simulated::AppliedEntry;
use xxhash_rust::xxh64::xxh64;

/// What was applied where.
#[derive(Debug, Default)]
pub struct LogsMatch {
    /// By index: term, hash of the proposal, hash of the outcome, who was first.
    entries: BTreeMap<u64, (u64, u64, u64, usize)>,
    /// The last index that each machine applied in its present life.
    last: BTreeMap<usize, u64>,
}

impl LogsMatch {
    /// How many entries were applied.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A machine applied an entry. Gives the entry's hash, and whether it is the first that did.
    ///
    /// # Errors
    /// Where another applied something else there, or the machine left something out.
    pub fn applied(&mut self, machine: usize, entry: &AppliedEntry<'_>) -> Result<(u64, bool), String> {
        let index = entry.index;
        if let Some(last) = self.last.insert(machine, index)
            && index != last + 1
        {
            return Err(format!("m{} applied {index} after {last}", machine + 1));
        }
        let found = (
            entry.term,
            entry.proposal.map_or(1, |proposal| xxh64(proposal, 0)),
            xxh64(entry.outcome, 0),
            machine,
        );
        let is_first = !self.entries.contains_key(&index);
        let first = *self.entries.entry(index).or_insert(found);
        let (here, there) = (machine + 1, first.3 + 1);
        if (first.0, first.1) != (found.0, found.1) {
            let (mine, theirs) = ((found.0, found.1), (first.0, first.1));
            return Err(format!(
                "at {index} m{here} has {mine:x?}, m{there} had {theirs:x?}"
            ));
        }
        if first.2 != found.2 {
            return Err(format!(
                "entry {index} came out otherwise on m{here} than on m{there}"
            ));
        }
        Ok((found.1 ^ found.2.rotate_left(1), is_first))
    }

    /// Another node's tables took the place of a machine's.
    pub fn replaced(&mut self, machine: usize, index: u64) {
        self.last.insert(machine, index);
    }

    /// A machine begins anew, at an earlier entry perhaps.
    pub fn restarted(&mut self, machine: usize) {
        self.last.remove(&machine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64, outcome: &'static [u8]) -> AppliedEntry<'static> {
        AppliedEntry {
            index,
            term,
            proposal: Some(b"p"),
            outcome,
        }
    }

    #[test]
    fn differing_terms_outcomes_and_gaps_are_found() {
        let mut log = LogsMatch::default();
        assert!(matches!(log.applied(0, &entry(1, 1, b"o")), Ok((_, true))));
        assert!(matches!(log.applied(1, &entry(1, 1, b"o")), Ok((_, false))));
        assert!(log.applied(2, &entry(1, 2, b"o")).is_err(), "another term");
        log.restarted(1);
        assert!(log.applied(1, &entry(1, 1, b"x")).is_err(), "another outcome");
        assert!(log.applied(0, &entry(3, 1, b"o")).is_err(), "a gap");
        log.replaced(0, 7);
        assert!(log.applied(0, &entry(8, 1, b"o")).is_ok());
    }
}
