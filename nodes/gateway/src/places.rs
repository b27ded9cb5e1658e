//! How many connections each address has: one device that opens them without end must not take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::shared::rate_key;

/// The connections of each address. Pure but for its lock.
pub(crate) struct Places {
    max_each: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Places {
    /// `max_each` = 0 means no bound.
    pub(crate) fn new(max_each: usize) -> Arc<Self> {
        Arc::new(Self {
            max_each,
            taken: Mutex::default(),
        })
    }

    /// A place for a connection from `address`; none where it has as many as it may. This machine itself is not bounded:
    /// behind a proxy that runs here, everybody comes from it.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let bounded = self.max_each > 0 && !address.to_canonical().is_loopback();
        let key = bounded.then(|| rate_key(address));
        if let Some(key) = key {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(key).or_default();
            if *count >= self.max_each {
                return None;
            }
            *count += 1;
        }
        Some(Place {
            places: Arc::clone(self),
            key,
        })
    }
}

/// One connection's place, given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    key: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let places = Places::new(2);
        let first = places.take(address("10.0.0.1"));
        let second = places.take(address("::ffff:10.0.0.1"));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(address("10.0.0.1")).is_none());
        assert!(
            places.take(address("10.0.0.2")).is_some(),
            "another's are its own"
        );
        drop(first);
        let third = places.take(address("10.0.0.1"));
        assert!(third.is_some());
        drop((second, third));
        assert!(places.taken.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn an_ipv6_home_is_one_address_and_this_machine_is_not_bounded() {
        let places = Places::new(1);
        let _one = places.take(address("2001:db8::1"));
        assert!(places.take(address("2001:db8::2")).is_none());
        let own: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"]
            .map(|own| places.take(address(own)))
            .into();
        assert!(own.iter().all(Option::is_some));
        let unbounded = Places::new(0);
        let all: Vec<_> = (0..10).map(|_| unbounded.take(address("10.0.0.1"))).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
