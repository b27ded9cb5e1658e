//! Lengths and moments that holder and grantor reckon with.

use std::time::Duration;

/// How long leases of acting last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// The longest a node may act on its own, from the moment it asked. A new owner waits as long, and an eighth more, for
    /// an owner that vanished.
    pub length: Duration,
}

impl LeaseSettings {
    /// The lengths there are: nodes may be configured differently, and a leader has to reckon with what others granted.
    pub(crate) fn lengths(self) -> Vec<Duration> {
        let all = [Self::lan(), Self::wifi(), Self::slow_disk(), self];
        all.map(|one| one.length).to_vec()
    }

    /// Wired.
    pub const fn lan() -> Self {
        Self {
            length: Duration::from_millis(800),
        }
    }

    /// Radio links that stall for a moment.
    pub const fn wifi() -> Self {
        Self {
            length: Duration::from_secs(2),
        }
    }

    /// Disks that stop everything now and then.
    pub const fn slow_disk() -> Self {
        Self {
            length: Duration::from_secs(3),
        }
    }

    /// Between two renewals when nothing asks for one sooner: two may be lost and the lease still runs.
    pub(crate) fn renew_every(self) -> Duration {
        self.length / 3
    }
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self::lan()
    }
}

/// How long whoever granted remembers a lease of `length`: an eighth more, so that it outlasts the lease even where the
/// holder's clock is 5 % slow and the grantor's 5 % fast (1.125 / 1.05 > 1 / 0.95; a tenth would not do).
pub(crate) fn remembered(length: Duration) -> Duration {
    length + length / 8
}

/// One look at both clocks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Monotonic, since the node started. It may stand still while the machine is suspended.
    pub(crate) mono: Duration,
    /// Unix time in milliseconds. It goes on while the machine is suspended, and may jump.
    pub(crate) wall_ms: u64,
}

/// Whole milliseconds, rounded down: a lease is never longer by the rounding.
pub(crate) fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}
