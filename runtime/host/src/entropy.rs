//! Randomness, and the ids and secrets made of it.

use std::sync::Mutex;

use ring::rand::{SecureRandom, SystemRandom};
use ulid::Ulid;

use crate::Clock;

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);

    /// A number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The system's generator, fit for secrets.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0
            .fill(out)
            .expect("the kernel gives random bytes once it has started");
    }
}

/// A sequence fixed by its seed (SplitMix64, Steele et al. 2014). For tests and simulation, never for secrets.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A ULID: wall time in milliseconds, then 80 random bits.
pub fn new_ulid(clock: &dyn Clock, entropy: &dyn Entropy) -> u128 {
    let mut random = [0u8; 16];
    entropy.fill(&mut random[..10]);
    Ulid::from_parts(clock.now_ms(), u128::from_le_bytes(random)).0
}

/// A secret of 192 random bits in 40 characters (Crockford base 32, lower case), behind a prefix that says what it is
/// so that secret scanners find it: `jat_…`.
pub fn random_token(prefix: &str, entropy: &dyn Entropy) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0u8; 40];
    entropy.fill(&mut bytes);
    let body: String = bytes
        .iter()
        .map(|b| char::from(ALPHABET[usize::from(b & 31)]))
        .collect();
    format!("{prefix}_{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn ulids_carry_the_time_and_tokens_their_prefix() {
        let (clock, entropy) = (ManualClock::new(1_700_000_000_000), SeededEntropy::new(1));
        let (a, b) = (new_ulid(&clock, &entropy), new_ulid(&clock, &entropy));
        assert_ne!(a, b);
        assert_eq!(Ulid(a).timestamp_ms(), 1_700_000_000_000);
        let token = random_token("jat", &entropy);
        assert_eq!((token.len(), &token[..4]), (44, "jat_"));
    }
}
