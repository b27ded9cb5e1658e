//! How long a client was without answers: last answer before a kill to the first one after it.

use std::time::Duration;

use tokio::time::Instant;

use crate::history::History;

/// The gap around `at` in one talker's answers: none if it answered nothing before or after.
pub fn around(history: &History, at: Instant) -> Option<Duration> {
    let split = history.answered.partition_point(|(when, _)| *when <= at);
    let (before, _) = history.answered.get(split.checked_sub(1)?)?;
    let (after, _) = history.answered.get(split)?;
    Some(*after - *before)
}

/// The value below which `share` of the values lie (nearest rank); zero for none.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .or(sorted.last())
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_gap_is_between_the_answers_on_both_sides() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let answered = [10, 20, 500, 510].map(|ms| (at(ms), String::new())).to_vec();
        let history = History {
            answered,
            ..History::default()
        };
        assert_eq!(around(&history, at(100)), Some(Duration::from_millis(480)));
        assert_eq!(around(&history, at(5)), None);
        assert_eq!(around(&history, at(600)), None);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
