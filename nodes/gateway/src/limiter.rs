//! Token buckets by key. Pure: the time is handed in.
//!
//! A bucket holds one minute's worth, so that a burst is let through at once and the rest comes at the rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most keys one limiter remembers; full buckets are forgotten first, and where none is full new keys share one.
const MAX_KEYS: usize = 20_000;

/// Allows `per_minute` events a minute to each key.
pub(crate) struct Limiter<K> {
    per_minute: u64,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    by_key: HashMap<K, Bucket>,
    /// What keys share that found no room.
    overflow: Option<Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant, per_minute: f64) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * per_minute / 60.0).min(per_minute);
        self.at = now;
    }
}

impl<K: Eq + Hash> Limiter<K> {
    /// `per_minute` = 0 means no limit.
    pub(crate) fn new(per_minute: u64) -> Self {
        Self {
            per_minute,
            buckets: Mutex::new(Buckets {
                by_key: HashMap::new(),
                overflow: None,
            }),
        }
    }

    /// Takes one token, or says how long until there is one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let rate = self.per_minute as f64;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = &mut *buckets;
        if buckets.by_key.len() >= MAX_KEYS && !buckets.by_key.contains_key(&key) {
            buckets.by_key.retain(|_, bucket| {
                bucket.refill(now, rate);
                bucket.tokens < rate
            });
        }
        let fresh = Bucket {
            tokens: rate,
            at: now,
        };
        let bucket = if buckets.by_key.len() < MAX_KEYS || buckets.by_key.contains_key(&key) {
            buckets.by_key.entry(key).or_insert(fresh)
        } else {
            buckets.overflow.get_or_insert(fresh)
        };
        bucket.refill(now, rate);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) * 60.0 / rate))
    }

    /// Gives a token back, for what was not done in the end.
    pub(crate) fn give_back(&self, key: &K) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.by_key.get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.per_minute as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_then_the_rate_holds_for_each_key() {
        let limiter = Limiter::new(30);
        let start = Instant::now();
        assert!((0..30).all(|_| limiter.take("ada", start).is_ok()));
        let wait = limiter.take("ada", start).expect_err("the bucket is empty");
        assert!(
            (Duration::from_millis(1_990)..=Duration::from_millis(2_010)).contains(&wait),
            "{wait:?}"
        );
        assert!(limiter.take("bob", start).is_ok(), "another's bucket is full");
        assert!(limiter.take("ada", start + Duration::from_millis(2_010)).is_ok());
        assert!(limiter.take("ada", start + Duration::from_millis(2_020)).is_err());
        limiter.give_back(&"ada");
        assert!(limiter.take("ada", start + Duration::from_millis(2_020)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit_and_keys_are_bounded() {
        let now = Instant::now();
        let unlimited = Limiter::new(0);
        assert!((0..1_000).all(|_| unlimited.take(1, now).is_ok()));
        let limiter = Limiter::new(2);
        for key in 0..MAX_KEYS {
            assert!(limiter.take(key, now).is_ok());
        }
        let more = (MAX_KEYS..MAX_KEYS + 10)
            .filter(|key| limiter.take(*key, now).is_ok())
            .count();
        assert_eq!(more, 2, "keys without room share one bucket");
        assert!(
            limiter.take(MAX_KEYS + 11, now + Duration::from_secs(60)).is_ok(),
            "full buckets make room"
        );
    }
}
