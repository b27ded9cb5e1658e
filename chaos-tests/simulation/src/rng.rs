//! The seed's own randomness: one stream for each purpose, so that what one draws does not shift what another does.

use jarvis_host::{Entropy, SeededEntropy};
use xxhash_rust::xxh64::xxh64;

/// One stream of a seed.
pub struct Rng(SeededEntropy);

impl Rng {
    /// The stream of `seed` called `name`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self(SeededEntropy::new(xxh64(name.as_bytes(), seed)))
    }

    /// A number.
    pub fn next(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number of `from..to`.
    pub fn range(&self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    /// Whether something happens that happens in `ppm` of a million cases.
    pub fn chance_ppm(&self, ppm: u64) -> bool {
        ppm > 0 && self.next() % 1_000_000 < ppm
    }

    /// One of two, alike likely.
    pub fn coin(&self) -> bool {
        self.next().is_multiple_of(2)
    }

    /// One of `all`, which is not empty.
    pub fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[(self.next() % all.len() as u64) as usize]
    }
}
