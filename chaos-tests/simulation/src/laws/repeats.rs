//! A proposal that stands in the log twice, because it was tried again, counts once: the second time it gets the answer of
//! the first, or is told that it was answered.

use std::collections::BTreeMap;

use jarvis_machine::command::Proposal;
use jarvis_machine::reply::{Outcome, Refusal};

/// Proposals by node, life and number, with what came of each.
#[derive(Debug, Default)]
pub struct Repeats {
    outcomes: BTreeMap<(u64, u64, u64), Outcome>,
}

impl Repeats {
    /// An entry was applied for the first time. Says whether its proposal was, too.
    ///
    /// # Errors
    /// Where a proposal that was tried again came out otherwise.
    pub fn applied(&mut self, index: u64, proposal: &Proposal, outcome: &Outcome) -> Result<bool, String> {
        let Some(origin) = proposal.origin else {
            return Ok(true);
        };
        let key = (origin.node.0, origin.incarnation.0, origin.sequence);
        match self.outcomes.get(&key) {
            None => {
                self.outcomes.insert(key, outcome.clone());
                Ok(true)
            }
            Some(first) if first == outcome => Ok(false),
            Some(_) if matches!(outcome, Err(Refusal::AlreadyAnswered | Refusal::StaleIncarnation)) => {
                Ok(false)
            }
            Some(first) => Err(format!(
                "entry {index}, tried again by {origin:?}, gets {outcome:?} after {first:?}"
            )),
        }
    }
}
