//! When an endpoint that failed is tried again.

/// Pause after the first failure, in milliseconds; it doubles with each further one.
const FIRST_PAUSE_MS: u64 = 1_000;

/// Longest pause of our own choosing, in milliseconds.
const MAX_PAUSE_MS: u64 = 60_000;

/// Longest pause that an endpoint may ask for, in milliseconds.
const MAX_ASKED_PAUSE_MS: u64 = 300_000;

/// Remembers an endpoint's failures. Time is any count of milliseconds that never runs backwards.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    closed_until_ms: u64,
}

impl Breaker {
    /// Whether the endpoint may be tried.
    pub fn allows(&self, now_ms: u64) -> bool {
        now_ms >= self.closed_until_ms
    }

    /// It answered well.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It failed; `asked_ms` is how long it asked to be left alone.
    pub fn failed(&mut self, now_ms: u64, asked_ms: Option<u64>) {
        let own = FIRST_PAUSE_MS
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_PAUSE_MS);
        let asked = asked_ms.unwrap_or(0).min(MAX_ASKED_PAUSE_MS);
        self.failures = self.failures.saturating_add(1);
        self.closed_until_ms = now_ms.saturating_add(own.max(asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_with_success() {
        let mut breaker = Breaker::default();
        assert!(breaker.allows(0));
        let mut now = 0;
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            breaker.failed(now, None);
            assert!(!breaker.allows(now + pause - 1), "{pause}");
            assert!(breaker.allows(now + pause), "{pause}");
            now += pause;
        }
        breaker.succeeded();
        breaker.failed(now, None);
        assert!(breaker.allows(now + 1_000));
    }

    #[test]
    fn an_endpoint_may_ask_for_longer_but_not_for_ever() {
        let mut breaker = Breaker::default();
        breaker.failed(0, Some(20_000));
        assert!(!breaker.allows(19_999) && breaker.allows(20_000));
        breaker.failed(0, Some(u64::MAX));
        assert!(breaker.allows(300_000));
    }
}
