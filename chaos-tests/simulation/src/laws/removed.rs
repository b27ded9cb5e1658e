//! Who was removed is silent: it acts on the world no longer than a lease could last.

use std::collections::BTreeMap;
use std::time::Duration;

use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::reply::Outcome;

/// Longer than any lease, and than it takes for the removal to be applied wherever it has to be.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Who was removed when.
#[derive(Debug, Default)]
pub struct Removed {
    nodes: BTreeMap<u64, Duration>,
}

impl Removed {
    /// Whether a node was removed.
    pub fn contains(&self, node: u64) -> bool {
        self.nodes.contains_key(&node)
    }

    /// An entry was applied for the first time.
    pub fn applied(&mut self, proposal: &Proposal, outcome: &Outcome, at: Duration) {
        if let (Command::RemoveNode { node, .. } | Command::RemoveNodeAt { node, .. }, Ok(_)) =
            (&proposal.command, outcome)
        {
            self.nodes.entry(node.0).or_insert(at);
        }
    }

    /// A node acts.
    ///
    /// # Errors
    /// Where it should not.
    pub fn acted(&self, node: u64, at: Duration) -> Result<(), String> {
        match self.nodes.get(&node) {
            Some(since) if at > *since + SILENT_AFTER => {
                Err(format!("node {node} acts at {at:?}, removed at {since:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jarvis_machine::reply::Reply;
    use jarvis_types::NodeId;

    use super::*;

    #[test]
    fn who_acts_long_after_its_removal_is_found() {
        let mut removed = Removed::default();
        let proposal = Proposal {
            origin: None,
            at_ms: 0,
            fence: None,
            request: None,
            command: Command::RemoveNode {
                node: NodeId(3),
                force: true,
            },
        };
        removed.applied(&proposal, &Ok(Reply::Done), Duration::from_secs(5));
        assert!(removed.acted(3, Duration::from_secs(6)).is_ok());
        assert!(removed.acted(3, Duration::from_secs(11)).is_err());
        assert!(removed.acted(2, Duration::from_secs(11)).is_ok());
    }
}
