//! No single wrong clock moves the cluster's time by more than a few seconds.

use std::time::Duration;

use jarvis_machine::command::Proposal;

use crate::clock::EPOCH;

/// How far the time of an entry may be ahead: as far as the median of clocks may be (10 s, and what they drift), and as far as a
/// proposal may be ahead of that.
const MOST_AHEAD: Duration = Duration::from_secs(20);

/// Looks at the times of entries.
#[derive(Debug, Default)]
pub struct ClusterTime {
    alone: bool,
}

impl ClusterTime {
    /// One node alone votes, or has: there is no median, and it has no clock to go by but its own.
    pub fn one_votes_alone(&mut self) {
        self.alone = true;
    }

    /// Whether one node has voted alone.
    pub fn is_of_one(&self) -> bool {
        self.alone
    }

    /// An entry was applied for the first time, at this moment.
    ///
    /// # Errors
    /// Where its time is too far ahead.
    pub fn applied(&self, index: u64, at: Duration, proposal: &Proposal) -> Result<(), String> {
        let (shown, now) = (Duration::from_millis(proposal.at_ms), EPOCH + at);
        if self.alone || shown <= now + MOST_AHEAD {
            return Ok(());
        }
        Err(format!("the time of entry {index} is {:?} ahead", shown - now))
    }
}

#[cfg(test)]
mod tests {
    use jarvis_machine::command::Command;

    use super::*;

    #[test]
    fn a_time_far_ahead_is_found() {
        let at = Duration::from_secs(7);
        let told = |law: &ClusterTime, ahead: Duration| {
            let proposal = Proposal {
                origin: None,
                at_ms: (EPOCH + at + ahead).as_millis() as u64,
                fence: None,
                request: None,
                command: Command::Post { letters: Vec::new() },
            };
            law.applied(1, at, &proposal)
        };
        let mut law = ClusterTime::default();
        assert!(told(&law, MOST_AHEAD).is_ok());
        assert!(told(&law, MOST_AHEAD + Duration::from_secs(1)).is_err());
        law.one_votes_alone();
        assert!(told(&law, 2 * MOST_AHEAD).is_ok());
    }
}
