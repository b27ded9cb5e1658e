//! Stands in for the `base2histogram` that openraft counts its batches with, by `[patch.crates-io]`.
//!
//! The published one fills tables for sixteen resolutions as soon as the first histogram is made, and keeps them: 25 MB
//! in every process, more than all the rest of a node. openraft uses one resolution, and only to write, since the
//! feature that shows what was counted is off. Here a bucket is a power of two and needs no table.
//!
//! It has what openraft 0.10.0-alpha.37 calls and no more: where a newer openraft does not build with it, add that, or drop
//! this crate once the published one makes its tables when they are asked for.

use std::fmt;
use std::marker::PhantomData;

/// One for zero, one for each number of bits.
const BUCKETS: usize = u64::BITS as usize + 1;

/// Counts values by their power of two. `T` names slots in the published crate; here there is one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: [u64; BUCKETS],
    slot: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Without values.
    pub fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            slot: PhantomData,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.buckets[bucket] = self.buckets[bucket].saturating_add(count);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The least value of the bucket in which the given part (0 to 1) of all values is reached; 0 without values.
    pub fn percentile(&self, part: f64) -> u64 {
        let wanted = (self.total() as f64 * part).ceil().max(1.0);
        let mut seen = 0.0;
        for (bits, count) in self.buckets.iter().enumerate() {
            seen += *count as f64;
            if seen >= wanted {
                return if bits == 0 { 0 } else { 1 << (bits - 1) };
            }
        }
        0
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// The usual percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values were counted.
    pub samples: u64,
    /// One in a thousand lies below.
    pub p0_1: u64,
    /// One in a hundred lies below.
    pub p1: u64,
    /// One in twenty lies below.
    pub p5: u64,
    /// One in ten lies below.
    pub p10: u64,
    /// Half lie below.
    pub p50: u64,
    /// Nine in ten lie below.
    pub p90: u64,
    /// All but one in a hundred lie below.
    pub p99: u64,
    /// All but one in a thousand lie below.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            p50,
            p90,
            p99,
            p99_9,
            ..
        } = self;
        write!(
            f,
            "[samples: {samples}, P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]"
        )
    }
}

/// Named histograms, one line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// Without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the published crate calls it so")]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_their_power_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!((histogram.total(), histogram.percentile(0.5)), (0, 0));
        for value in [0, 1, 2, 3, 900, u64::MAX] {
            histogram.record(value);
        }
        histogram.record_n(5, 94);
        assert_eq!(histogram.total(), 100);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.p0_1, stats.p5, stats.p50, stats.p90), (0, 4, 4, 4));
        assert_eq!((stats.p99, stats.p99_9), (512, 1 << 63));
        let chart = AsciiChart::new().add("one", histogram).to_string();
        assert!(chart.starts_with("one: [samples: 100, P50: 4"), "{chart}");
    }
}
