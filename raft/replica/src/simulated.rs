//! What a simulation may see of a replica in memory, and which faults it may put back to prove that it would find them.
//!
//! Both are handed in with a [`MemoryDisk`](crate::MemoryDisk): a replica on a real disk knows neither.

use jarvis_machine::command::{Command, Proposal};
use jarvis_machine::keys;
use jarvis_machine::storage::{StoreError, Table, Write};
use jarvis_machine::{ProposalError, Query};

/// Sees every entry when it is applied.
pub trait Observer: Send + Sync + 'static {
    /// An entry was applied on the node of this disk; again after a restart that lost what it did.
    fn applied(&self, entry: &AppliedEntry<'_>);

    /// Another node's tables took the place of this node's, up to and with this entry.
    fn replaced(&self, index: u64);
}

/// An entry as it was applied.
#[derive(Debug, Clone, Copy)]
pub struct AppliedEntry<'a> {
    /// Its place in the log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// The encoded proposal; none for entries of consensus itself.
    pub proposal: Option<&'a [u8]>,
    /// The encoded outcome.
    pub outcome: &'a [u8],
}

/// A fault that is put back on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bite {
    /// A vote counts before it is synced.
    VoteNotSynced,
    /// Entries count before they are synced.
    AppendNotSynced,
    /// What a new leader has truncated is one entry more than it should be.
    TruncateOneTooFar,
    /// A node that starts takes all of its log for committed.
    ApplyBeforeCommit,
    /// The machine does not compare epochs.
    EpochNotChecked,
    /// The machine does not look whether a client's id was used before.
    MessageIdNotChecked,
    /// Messages that wait for their answer are forgotten when their partition moves.
    OpenTurnLost,
    /// Snapshots go without what is remembered of proposals.
    DedupeNotInSnapshot,
    /// A linearizable read asks nobody.
    StaleRead,
    /// Who gets a partition acts for it while its earlier owner may still do so.
    LeaseNotWaitedOut,
    /// An owner goes on to act when its lease is over.
    LeaseNotAsked,
    /// What an automation asks for is begun, and kept nowhere until it is done.
    IntentLost,
    /// Who gets an automation does not look at what fell due before.
    TimerForgotten,
    /// The machine does not look whether what is told unasked was told before.
    ToldIdNotChecked,
    /// A node does not look whether it acknowledged more than its disk has.
    LogMarkNotAsked,
    /// A leader goes by its own clock.
    OwnClockBelieved,
}

impl Bite {
    /// Does to a proposal and the tables what this fault does before the proposal is applied.
    pub(crate) fn before(
        self,
        tables: &mut dyn Write,
        proposal: Result<Proposal, ProposalError>,
    ) -> Result<Result<Proposal, ProposalError>, StoreError> {
        let mut proposal = match proposal {
            Ok(proposal) => proposal,
            error => return Ok(error),
        };
        match (self, &proposal.command) {
            // A step of an entity without a fence would be refused for want of one.
            (Bite::EpochNotChecked, Command::WriteEntity { .. }) => {
                if let Some(fence) = &mut proposal.fence
                    && let Some(row) = Query(&*tables).placement_of(fence.kind, fence.partition)?
                {
                    fence.epoch = row.epoch;
                }
            }
            (Bite::EpochNotChecked, _) => proposal.fence = None,
            (Bite::MessageIdNotChecked, Command::Say { session, id, .. }) => {
                tables.delete(Table::MessageIds, &keys::message_id(*session, id))?;
            }
            (Bite::ToldIdNotChecked, Command::Notify { session, id, .. }) => {
                tables.delete(Table::MessageIds, &keys::told_id(*session, id))?;
            }
            (Bite::OpenTurnLost, Command::Place { moves, .. } | Command::PlaceBecause { moves, .. }) => {
                for moved in moves {
                    let prefix = keys::open_turns(moved.partition);
                    for (key, _) in keys::scan_prefix(tables, Table::OpenTurns, &prefix, false, usize::MAX)? {
                        tables.delete(Table::OpenTurns, &key)?;
                    }
                }
            }
            _ => {}
        }
        Ok(Ok(proposal))
    }

    /// Whether this fault keeps rows of `table` out of snapshots.
    pub(crate) fn leaves_out(self, table: Table) -> bool {
        self == Bite::DedupeNotInSnapshot && matches!(table, Table::Proposals | Table::Proposers)
    }
}
