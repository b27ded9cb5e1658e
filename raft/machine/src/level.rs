//! The cluster level: which commands and rows may be used. It is raised by [`Command::RaiseLevel`] once every member
//! speaks it, and never lowered, so that builds of two neighbouring levels run together while machines are upgraded one by
//! one.
//!
//! | level | adds |
//! |---|---|
//! | 1 | everything that is not named below |
//! | 2 | `RaiseLevel`, `DescribeNode`, `PlaceBecause`, `NoteTakeOver`; tables `NodeFacts` and `PlacementNotes` |
//! | 3 | `WriteEntity`, `Post`, `Notify`; tables `Entities`, `EntityRows` and `Letters`; entries that were `Told` |

use crate::command::Command;

/// The level of a cluster that was never raised.
pub const FIRST_LEVEL: u32 = 1;

/// The highest level this build speaks.
pub const LEVEL: u32 = 3;

impl Command {
    /// The first level whose builds know this command.
    pub fn level(&self) -> u32 {
        match self {
            Self::RaiseLevel { .. }
            | Self::DescribeNode { .. }
            | Self::PlaceBecause { .. }
            | Self::NoteTakeOver { .. } => 2,
            Self::WriteEntity { .. } | Self::Post { .. } | Self::Notify { .. } => 3,
            _ => FIRST_LEVEL,
        }
    }
}
