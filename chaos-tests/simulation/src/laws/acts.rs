//! No two nodes act for a partition at the same instant: all acts of one epoch come before all acts of the next, and acts
//! of one epoch are one node's. By virtual time, which is the same everywhere, this is exact.

use std::collections::BTreeMap;
use std::time::Duration;

/// All acts of one epoch.
#[derive(Debug, Clone, Copy)]
struct Tenure {
    node: u64,
    first: Duration,
    last: Duration,
}

/// Who acted when, by partition and epoch.
#[derive(Debug, Default)]
pub struct OneActs {
    tenures: BTreeMap<u16, BTreeMap<u64, Tenure>>,
    acts: u64,
}

impl OneActs {
    /// How many acts there were.
    pub fn len(&self) -> u64 {
        self.acts
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.acts == 0
    }

    /// A node acts.
    ///
    /// # Errors
    /// Where another did so in the same instant, or out of its turn.
    pub fn acted(&mut self, partition: u16, epoch: u64, node: u64, at: Duration) -> Result<(), String> {
        self.acts += 1;
        let tenures = self.tenures.entry(partition).or_default();
        let tenure = tenures.entry(epoch).or_insert(Tenure {
            node,
            first: at,
            last: at,
        });
        if tenure.node != node {
            return Err(format!(
                "nodes {} and {node} act for partition {partition} in epoch {epoch}",
                tenure.node
            ));
        }
        (tenure.first, tenure.last) = (tenure.first.min(at), tenure.last.max(at));
        let tenure = *tenure;
        let before = tenures
            .range(..epoch)
            .next_back()
            .filter(|(_, before)| before.last >= tenure.first);
        let after = tenures
            .range(epoch + 1..)
            .next()
            .filter(|(_, after)| after.first <= tenure.last);
        match before.or(after) {
            None => Ok(()),
            Some((other, found)) => Err(format!(
                "partition {partition}: node {node} acts in epoch {epoch} from {:?} to {:?}, node {} in epoch {other} from {:?} to {:?}",
                tenure.first, tenure.last, found.node, found.first, found.last
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn mixed_acts_are_found() {
        let mut acts = OneActs::default();
        assert!(acts.acted(1, 1, 7, ms(10)).is_ok() && acts.acted(1, 1, 7, ms(20)).is_ok());
        assert!(acts.acted(1, 3, 8, ms(21)).is_ok() && acts.acted(2, 2, 9, ms(15)).is_ok());
        assert!(acts.acted(1, 1, 7, ms(21)).is_err(), "in the same instant");
        assert!(acts.acted(2, 1, 7, ms(16)).is_err(), "out of its turn");
        assert!(acts.acted(2, 2, 7, ms(30)).is_err(), "in another's epoch");
    }
}
