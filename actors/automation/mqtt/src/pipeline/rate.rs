//! PURE: how many messages a second, over all partitions.

use std::time::Duration;

use tokio::time::Instant;

/// So many a second, and as many at once after a pause (the generic cell rate algorithm).
#[derive(Debug)]
pub(crate) struct Rate {
    each: Duration,
    burst: Duration,
    /// When all that was let through is paid for.
    paid_at: Option<Instant>,
}

impl Rate {
    /// 0: no limit.
    pub(crate) fn new(a_second: u32) -> Self {
        let each = match a_second {
            0 => Duration::ZERO,
            n => Duration::from_secs(1) / n,
        };
        Self {
            each,
            burst: Duration::from_secs(1),
            paid_at: None,
        }
    }

    /// Lets one through; says until when it has to wait.
    pub(crate) fn take(&mut self, now: Instant) -> Instant {
        let paid_at = self.paid_at.map_or(now, |then| then.max(now)) + self.each;
        self.paid_at = Some(paid_at);
        paid_at.checked_sub(self.burst).map_or(now, |then| then.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_paid_in_advance_and_then_each_waits() {
        let now = Instant::now();
        let mut rate = Rate::new(10);
        for _ in 0..10 {
            assert_eq!(rate.take(now), now);
        }
        assert_eq!(rate.take(now), now + Duration::from_millis(100));
        assert_eq!(rate.take(now), now + Duration::from_millis(200));
        let later = now + Duration::from_secs(60);
        assert_eq!(rate.take(later), later);
        let mut free = Rate::new(0);
        assert!((0..1_000).all(|_| free.take(now) == now));
    }
}
