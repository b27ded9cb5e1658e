//! What fell due unseen.

use crate::model::{CatchUp, Policy};

/// What a policy says of something that fell due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// Somebody watched when it fell due: it is done.
    OnTime,
    /// It fell due unseen and may be done late: `CatchUp` at once, `Recheck` if what led to it still holds.
    Late {
        /// By so much.
        by_ms: u64,
        /// What is decided on; never `Skip`.
        taken: CatchUp,
    },
    /// It fell due unseen, and the policy is to skip it.
    Skipped {
        /// By so much it would be late.
        by_ms: u64,
    },
    /// It fell due unseen, and longer ago than the policy bears.
    TooLate {
        /// By so much it would be late.
        by_ms: u64,
    },
}

impl Lateness {
    /// What a policy says of something that fell due, where somebody watches since then.
    pub fn of(policy: Policy, due_ms: i64, watched_since_ms: i64, now_ms: i64) -> Self {
        if due_ms >= watched_since_ms {
            return Self::OnTime;
        }
        let by_ms = u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or(0);
        match policy.catch_up {
            _ if by_ms > policy.at_most_late_ms => Self::TooLate { by_ms },
            CatchUp::Skip => Self::Skipped { by_ms },
            taken @ (CatchUp::CatchUp | CatchUp::Recheck) => Self::Late { by_ms, taken },
        }
    }
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
            // Due at, watched since, now.
            (Do, 1_000, 500, 1_400, Lateness::OnTime),
            (Skip, 500, 500, 9_000, Lateness::OnTime),
            (Do, 400, 500, 900, Lateness::Late { by_ms: 500, taken: Do }),
            (Do, 400, 500, 1_400, Lateness::Late { by_ms: 1_000, taken: Do }),
            (Do, 400, 500, 1_401, Lateness::TooLate { by_ms: 1_001 }),
            (Recheck, 400, 500, 900, Lateness::Late { by_ms: 500, taken: Recheck }),
            (Skip, 400, 500, 900, Lateness::Skipped { by_ms: 500 }),
            (Skip, 400, 500, 2_000, Lateness::TooLate { by_ms: 1_600 }),
            // A clock that was set back.
            (Do, 400, 500, 300, Lateness::Late { by_ms: 0, taken: Do }),
        ];
        for (catch_up, due_ms, since_ms, now_ms, expected) in table {
            let policy = Policy {
                catch_up,
                at_most_late_ms: 1_000,
            };
            assert_eq!(Lateness::of(policy, due_ms, since_ms, now_ms), expected);
        }
    }
}
