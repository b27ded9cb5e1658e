//! How often an address may try to join in vain. Pure: the time is handed in.
//!
//! A secret has 256 bits and is not guessed; the limit keeps whoever tries from costing the cluster work.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Refusals within a [`WINDOW`] after which an address is not listened to until the window is over.
pub(super) const MAX_REFUSED: u32 = 10;
/// The time over which refusals are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are remembered; the one that began longest ago makes room.
const MAX_ADDRESSES: usize = 1_024;
/// Whoever has an IPv6 network has all of its addresses: these bits are one address.
const IPV6_PREFIX_BITS: u32 = 64;

/// Who tried lately.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_address: HashMap<IpAddr, Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    refused: u32,
}

impl Attempts {
    /// Counts an attempt, which [`Attempts::admitted`] takes back; or says how long to wait.
    pub(super) fn begin(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let from = network(from);
        if !self.by_address.contains_key(&from) && self.by_address.len() >= MAX_ADDRESSES {
            self.make_room(now);
        }
        let window = self.by_address.entry(from).or_insert(Window {
            began: now,
            refused: 0,
        });
        let age = now.saturating_duration_since(window.began);
        if age >= WINDOW {
            *window = Window {
                began: now,
                refused: 0,
            };
        } else if window.refused >= MAX_REFUSED {
            return Err(WINDOW - age);
        }
        window.refused += 1;
        Ok(())
    }

    /// The attempt was none in vain.
    pub(super) fn admitted(&mut self, from: IpAddr) {
        if let Some(window) = self.by_address.get_mut(&network(from)) {
            window.refused = window.refused.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Instant) {
        self.by_address
            .retain(|_, window| now.saturating_duration_since(window.began) < WINDOW);
        if self.by_address.len() < MAX_ADDRESSES {
            return;
        }
        let oldest = self.by_address.iter().min_by_key(|(_, window)| window.began);
        if let Some(oldest) = oldest.map(|(address, _)| *address) {
            self.by_address.remove(&oldest);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_waits_after_ten_refusals_and_others_do_not() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..MAX_REFUSED {
            assert_eq!(attempts.begin(ip("10.0.0.1"), now), Ok(()));
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(
            attempts.begin(ip("10.0.0.1"), later),
            Err(Duration::from_secs(40))
        );
        // The same address, as a socket of both families shows it.
        assert!(attempts.begin(ip("::ffff:10.0.0.1"), later).is_err());
        assert_eq!(attempts.begin(ip("10.0.0.2"), later), Ok(()));
        assert_eq!(attempts.begin(ip("10.0.0.1"), now + WINDOW), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_admitted_is_not_counted_and_a_network_is_one_address() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..3 * MAX_REFUSED {
            assert_eq!(attempts.begin(ip("10.0.0.1"), now), Ok(()));
            attempts.admitted(ip("10.0.0.1"));
        }
        for host in 0..MAX_REFUSED {
            assert_eq!(attempts.begin(ip(&format!("fd00::{host}")), now), Ok(()));
        }
        assert!(attempts.begin(ip("fd00::ffff"), now).is_err());
        assert_eq!(attempts.begin(ip("fd00:0:0:1::1"), now), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..2 * MAX_ADDRESSES as u32 {
            let at = now + Duration::from_millis(u64::from(host));
            assert_eq!(attempts.begin(IpAddr::V4(host.into()), at), Ok(()));
            assert!(attempts.by_address.len() <= MAX_ADDRESSES);
        }
    }
}
