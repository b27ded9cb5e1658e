//! One leader a term, whoever is asked.

use std::collections::BTreeMap;

/// Who led when.
#[derive(Debug, Default)]
pub struct OneLeader {
    by_term: BTreeMap<u64, (u64, usize)>,
}

impl OneLeader {
    /// A machine says who leads in a term.
    ///
    /// # Errors
    /// Where another was named before.
    pub fn told(&mut self, term: u64, leader: u64, machine: usize) -> Result<(), String> {
        let (known, by) = *self.by_term.entry(term).or_insert((leader, machine));
        if known == leader {
            return Ok(());
        }
        let (machine, by) = (machine + 1, by + 1);
        Err(format!(
            "in term {term} node {leader} leads by the word of m{machine}, node {known} by that of m{by}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_leader_is_found() {
        let mut leaders = OneLeader::default();
        assert!(
            leaders.told(1, 1, 0).is_ok() && leaders.told(1, 1, 1).is_ok() && leaders.told(2, 3, 1).is_ok()
        );
        assert!(leaders.told(1, 2, 2).is_err());
    }
}
