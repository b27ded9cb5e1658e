//! The network's faults: what becomes of a datagram, and who can reach whom.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rng::Rng;

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on its way.
    Sent,
    /// It goes on its way twice.
    Doubled,
    /// It is lost.
    Lost,
    /// The way is cut.
    Cut,
}

impl Fate {
    /// For the trace.
    pub fn label(self) -> &'static str {
        match self {
            Fate::Sent => "",
            Fate::Doubled => "twice",
            Fate::Lost => "lost!",
            Fate::Cut => "cut",
        }
    }
}

/// The faults at the moment. Machines are numbered from 0.
pub struct Net {
    inner: Mutex<Inner>,
}

struct Inner {
    rng: Rng,
    /// `cut[from][to]`
    cut: Vec<Vec<bool>>,
    loss_ppm: u64,
    double_ppm: u64,
    cut_at: Duration,
}

impl Inner {
    /// Those that `machine` can exchange anything with, over others too, itself included.
    fn reach(&self, machine: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([machine]);
        let mut next = vec![machine];
        while let Some(from) = next.pop() {
            for to in 0..self.cut.len() {
                if !(self.cut[from][to] && self.cut[to][from]) && reached.insert(to) {
                    next.push(to);
                }
            }
        }
        reached
    }
}

impl Net {
    /// Between so many machines; without faults.
    pub fn new(seed: u64, machines: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                rng: Rng::new(seed, "net"),
                cut: vec![vec![false; machines]; machines],
                loss_ppm: 0,
                double_ppm: 0,
                cut_at: Duration::ZERO,
            }),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about one datagram.
    pub fn fate(&self, from: usize, to: usize) -> Fate {
        let inner = self.inner();
        if inner.cut[from][to] {
            Fate::Cut
        } else if inner.rng.chance_ppm(inner.loss_ppm) {
            Fate::Lost
        } else if inner.rng.chance_ppm(inner.double_ppm) {
            Fate::Doubled
        } else {
            Fate::Sent
        }
    }

    /// Those that `machine` can exchange anything with, over others too, itself included.
    pub fn reach(&self, machine: usize) -> BTreeSet<usize> {
        self.inner().reach(machine)
    }

    /// When the network was last cut anew.
    pub fn cut_at(&self) -> Duration {
        self.inner().cut_at
    }

    /// Cuts exactly the ways for which `cut` says so.
    pub fn cut(&self, now: Duration, cut: impl Fn(usize, usize) -> bool) {
        let mut inner = self.inner();
        inner.cut_at = now;
        for (from, row) in inner.cut.iter_mut().enumerate() {
            for (to, is_cut) in row.iter_mut().enumerate() {
                *is_cut = from != to && cut(from, to);
            }
        }
    }

    /// Loses and doubles so many datagrams of a million.
    pub fn disturb(&self, loss_ppm: u64, double_ppm: u64) {
        let mut inner = self.inner();
        (inner.loss_ppm, inner.double_ppm) = (loss_ppm, double_ppm);
    }
}
