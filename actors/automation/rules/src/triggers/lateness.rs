//! What fell due unseen.

use crate::model::{CatchUp, Policy};

/// What is no later than this is on time, in milliseconds: a node's load, or the moment in which another takes over.
pub(crate) const ON_TIME_MS: u64 = 3_000;

/// What a policy says of something that fell due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// It is done.
    OnTime,
    /// It may be done late: `CatchUp` at once, `Recheck` if what led to it still holds.
    Late {
        /// By so much.
        by_ms: u64,
        /// What is decided on; never `Skip`.
        taken: CatchUp,
    },
    /// The policy is to skip it.
    Skipped {
        /// By so much it would be late.
        by_ms: u64,
    },
    /// It fell due longer ago than the policy bears.
    TooLate {
        /// By so much it would be late.
        by_ms: u64,
    },
}

impl Lateness {
    /// What a policy says of something that fell due.
    pub fn of(policy: Policy, due_ms: i64, now_ms: i64) -> Self {
        let Some(by_ms) = late_by(due_ms, now_ms) else {
            return Self::OnTime;
        };
        match policy.catch_up {
            _ if by_ms > policy.at_most_late_ms => Self::TooLate { by_ms },
            CatchUp::Skip => Self::Skipped { by_ms },
            taken @ (CatchUp::CatchUp | CatchUp::Recheck) => Self::Late { by_ms, taken },
        }
    }
}

impl Lateness {
    /// By how much it is done late, and what was decided on, if it is.
    pub(crate) fn taken(self) -> Option<(u64, CatchUp)> {
        match self {
            Self::Late { by_ms, taken } => Some((by_ms, taken)),
            _ => None,
        }
    }
}

/// By how much something is late, whoever looked when; none: it is on time.
pub(crate) fn late_by(due_ms: i64, now_ms: i64) -> Option<u64> {
    let by_ms = u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or(0);
    Some(by_ms).filter(|by_ms| *by_ms > ON_TIME_MS)
}

#[cfg(test)]
mod tests {
    use super::Lateness;
    use crate::model::{CatchUp, Policy};

    #[test]
    fn policies() {
        use CatchUp::{CatchUp as Do, Recheck, Skip};
        #[rustfmt::skip]
        let table = [
            // Due at, now.
            (Do, 10_000, 12_900, Lateness::OnTime),
            (Skip, 10_000, 13_000, Lateness::OnTime),
            (Do, 10_000, 13_001, Lateness::Late { by_ms: 3_001, taken: Do }),
            (Do, 10_000, 30_000, Lateness::Late { by_ms: 20_000, taken: Do }),
            (Do, 10_000, 30_001, Lateness::TooLate { by_ms: 20_001 }),
            (Recheck, 10_000, 15_000, Lateness::Late { by_ms: 5_000, taken: Recheck }),
            (Skip, 10_000, 15_000, Lateness::Skipped { by_ms: 5_000 }),
            (Skip, 10_000, 40_000, Lateness::TooLate { by_ms: 30_000 }),
            // A clock that was set back.
            (Do, 10_000, 9_000, Lateness::OnTime),
        ];
        for (catch_up, due_ms, now_ms, expected) in table {
            let policy = Policy {
                catch_up,
                at_most_late_ms: 20_000,
            };
            assert_eq!(Lateness::of(policy, due_ms, now_ms), expected);
        }
    }
}
