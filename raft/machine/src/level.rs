//! The cluster level: which commands and rows may be used. It is raised by [`Command::RaiseLevel`] once every member
//! speaks it, and never lowered, so that builds of two neighbouring levels run together while machines are upgraded one by
//! one.
//!
//! | level | adds |
//! |---|---|
//! | 1 | everything that is not named below |
//! | 2 | `RaiseLevel`, `DescribeNode`, `PlaceBecause`, `NoteTakeOver`; tables `NodeFacts` and `PlacementNotes` |
//! | 3 | `WriteEntity`, `Post`, `Notify`; tables `Entities`, `EntityRows` and `Letters`; entries that were `Told` |
//! | 4 | `RemoveNodeAt`, `CorrectTime`, `NoteLogs`; table `LogMarks`; expiry by the command's time in place of ledger time |

use crate::command::Command;

/// The level of a cluster that was never raised.
pub const FIRST_LEVEL: u32 = 1;

/// The highest level this build speaks.
pub const LEVEL: u32 = 4;

/// The level of the tables of log marks, of corrections of time and of removals at a revision.
pub const MARKS_LEVEL: u32 = 4;

impl Command {
    /// The first level whose builds know this command. Every command is named, so that a new one is not taken for one that
    /// all builds know.
    pub fn level(&self) -> u32 {
        match self {
            Self::Initialise { .. }
            | Self::RegisterKind { .. }
            | Self::CreateInvite { .. }
            | Self::ConsumeInvite { .. }
            | Self::AnnounceNode { .. }
            | Self::SetIntent { .. }
            | Self::RemoveNode { .. }
            | Self::Place { .. }
            | Self::CreateUser { .. }
            | Self::SetPassword { .. }
            | Self::RemoveUser { .. }
            | Self::CreateCredential { .. }
            | Self::RevokeCredential { .. }
            | Self::CreateSession { .. }
            | Self::Say { .. }
            | Self::Answer { .. } => FIRST_LEVEL,
            Self::RaiseLevel { .. }
            | Self::DescribeNode { .. }
            | Self::PlaceBecause { .. }
            | Self::NoteTakeOver { .. } => 2,
            Self::WriteEntity { .. } | Self::Post { .. } | Self::Notify { .. } => 3,
            Self::RemoveNodeAt { .. } | Self::CorrectTime { .. } | Self::NoteLogs { .. } => MARKS_LEVEL,
        }
    }

    /// The level that the cluster must be at: its own, but for the raise, which is proposed once every member speaks more.
    pub fn needs_level(&self) -> u32 {
        match self {
            Self::RaiseLevel { .. } => FIRST_LEVEL,
            other => other.level(),
        }
    }

    /// Whether the cluster itself asks for it, to keep going: it must get through where users' commands have to wait.
    pub fn is_housekeeping(&self) -> bool {
        matches!(
            self,
            Self::RegisterKind { .. }
                | Self::AnnounceNode { .. }
                | Self::SetIntent { .. }
                | Self::RemoveNode { .. }
                | Self::RemoveNodeAt { .. }
                | Self::Place { .. }
                | Self::PlaceBecause { .. }
                | Self::NoteTakeOver { .. }
                | Self::RaiseLevel { .. }
                | Self::DescribeNode { .. }
                | Self::CorrectTime { .. }
                | Self::NoteLogs { .. }
        )
    }
}
