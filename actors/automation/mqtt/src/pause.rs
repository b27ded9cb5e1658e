//! PURE: how long to wait before the broker is tried again.

use std::time::Duration;

use jarvis_host::Entropy;

use crate::options::Patience;
use crate::trouble::Trouble;

/// How many times the first of the pauses that a person has to end the longest is.
const HOPELESS_TIMES: u32 = 4;

/// Pauses that double, with chance in them, so that a house full of clients does not come back at one moment.
#[derive(Debug)]
pub(crate) struct Pauses {
    patience: Patience,
    failures: u32,
}

impl Pauses {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            failures: 0,
        }
    }

    /// The pause after `trouble`, before which a connection `stood` for so long, if it did at all.
    pub(crate) fn after(
        &mut self,
        trouble: &Trouble,
        stood: Option<Duration>,
        entropy: &dyn Entropy,
    ) -> Duration {
        let patience = &self.patience;
        let taken_over = matches!(trouble, Trouble::TakenOver { .. });
        if stood.is_some_and(|stood| stood >= patience.steady_after) && !taken_over {
            self.failures = 0;
        }
        let doubled = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let mut pause = patience
            .first_pause
            .saturating_mul(doubled)
            .min(patience.longest_pause);
        if trouble.needs_a_person() {
            let longer = patience.hopeless_pause.saturating_mul(doubled);
            pause = pause.max(longer.min(patience.hopeless_pause * HOPELESS_TIMES));
        }
        // From half of it to all of it.
        let half_ns = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX);
        let chance_ns = entropy.next_u64().checked_rem(half_ns).unwrap_or(0);
        Duration::from_nanos(half_ns.saturating_add(chance_ns))
    }
}

#[cfg(test)]
mod tests {
    use jarvis_host::SeededEntropy;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_steady_connection() {
        let patience = Patience::default();
        let (mut pauses, entropy) = (Pauses::new(patience), SeededEntropy::new(1));
        let within = |pause: Duration, full: Duration| pause >= full / 2 && pause <= full;
        let mut full = patience.first_pause;
        for _ in 0..40 {
            let pause = pauses.after(&Trouble::Closed, Some(Duration::from_secs(1)), &entropy);
            assert!(within(pause, full), "{pause:?} of {full:?}");
            full = (full * 2).min(patience.longest_pause);
        }
        let pause = pauses.after(&Trouble::Closed, Some(patience.steady_after), &entropy);
        assert!(within(pause, patience.first_pause));
    }

    #[test]
    fn where_a_person_is_needed_it_waits_longer_from_the_start() {
        let patience = Patience::default();
        let (mut pauses, entropy) = (Pauses::new(patience), SeededEntropy::new(2));
        let pause = pauses.after(&Trouble::BadCredentials, None, &entropy);
        assert!(pause >= patience.hopeless_pause / 2);
        let taken_over = Trouble::TakenOver {
            client_id: "x".to_owned(),
        };
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            // However long it stood: two who share an id must not take turns for ever.
            last = pauses.after(&taken_over, Some(Duration::from_secs(60)), &entropy);
        }
        assert!(last >= patience.hopeless_pause * HOPELESS_TIMES / 2);
    }
}
