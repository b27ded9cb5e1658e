//! What happened, in order: a hash always, as lines where they are asked for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::clock::TICK;

/// The trace of one run.
pub struct Trace {
    hash: Mutex<(Xxh64, u64)>,
    lines: bool,
    /// Time between two steps, when no host runs that could tell it.
    between_ns: AtomicU64,
}

impl Trace {
    /// An empty one. `lines`: every event is also written to stderr.
    pub fn new(lines: bool) -> Self {
        Self {
            hash: Mutex::new((Xxh64::new(0), 0)),
            lines,
            between_ns: AtomicU64::new(0),
        }
    }

    /// Virtual time since the simulation began, as one who stands outside sees it: a machine whose clock has just gained is
    /// ahead of the step it is in.
    pub fn now(&self) -> Duration {
        let between = Duration::from_nanos(self.between_ns.load(Ordering::Relaxed));
        turmoil::sim_elapsed().map_or(between, |now| now.clamp(between, between + TICK))
    }

    /// A step has ended at this time.
    pub fn stepped(&self, elapsed: Duration) {
        self.between_ns.store(
            u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Something happened.
    pub fn event(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {what}", self.now().as_secs_f64() * 1e3);
        self.bytes(line.as_bytes());
        self.line(&line);
    }

    /// A datagram met its fate.
    pub fn datagram(&self, from: usize, to: usize, bytes: &[u8], fate: &str) {
        let (at, hash) = (self.now(), xxh64(bytes, 0));
        self.bytes(&at.as_nanos().to_le_bytes());
        self.bytes(&[from as u8, to as u8, fate.len() as u8]);
        self.bytes(&hash.to_le_bytes());
        if self.lines {
            let at_ms = at.as_secs_f64() * 1e3;
            self.line(&format!(
                "{at_ms:>10.3} udp {from}>{to} {:>4} B {hash:016x} {fate}",
                bytes.len()
            ));
        }
    }

    /// The hash of all so far, and how many events that were.
    pub fn hash(&self) -> (u64, u64) {
        let held = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        (held.0.digest(), held.1)
    }

    fn bytes(&self, bytes: &[u8]) {
        let mut held = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        held.0.update(bytes);
        held.1 += 1;
    }

    #[allow(clippy::print_stderr, reason = "what was asked for")]
    fn line(&self, line: &str) {
        if self.lines {
            eprintln!("{line}");
        }
    }
}
