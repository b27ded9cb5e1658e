//! What is being done to the world at this moment, and so how far this node may say that it has applied the placement.
//!
//! Each change of placement begins an era. An act holds the era in which it began; as long as one does, everything after
//! that era counts as not applied here, and whoever took the partition over waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;

/// From one change of placement to the next.
pub(crate) struct Era;

/// Held while something is done to the world, and no longer than was asked for.
#[must_use = "an act is permitted only while this is held"]
pub struct Permit {
    _era: Arc<Era>,
}

pub(crate) struct Acts {
    era: ArcSwap<Era>,
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    /// Earlier eras with the last index that belongs to each.
    eras: Vec<(u64, Weak<Era>)>,
    applied: u64,
}

impl Acts {
    pub(crate) fn new() -> Self {
        Self {
            era: ArcSwap::from_pointee(Era),
            past: Mutex::default(),
        }
    }

    /// Takes part in the present era; the caller looks at the placement afterwards, not before.
    pub(crate) fn begin(&self) -> Permit {
        Permit {
            _era: self.era.load_full(),
        }
    }

    /// Everything up to `index` is applied here; with `moved`, what acts may have changed since the last call.
    pub(crate) fn applied(&self, index: u64, moved: bool) {
        let mut past = self.lock();
        if moved {
            let ended = self.era.swap(Arc::new(Era));
            let last = past.applied;
            past.eras.push((last, Arc::downgrade(&ended)));
        }
        past.applied = past.applied.max(index);
    }

    /// The index by whose placement everything is that is done here.
    pub(crate) fn settled(&self) -> u64 {
        let mut past = self.lock();
        past.eras.retain(|(_, era)| era.strong_count() > 0);
        past.eras
            .iter()
            .map(|(last, _)| *last)
            .min()
            .unwrap_or(past.applied)
    }

    /// Whether an act of an earlier era goes on.
    pub(crate) fn busy(&self) -> bool {
        let past = self.lock();
        past.eras.iter().any(|(_, era)| era.strong_count() > 0)
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_does_not_count_while_an_older_act_goes_on() {
        let acts = Acts::new();
        acts.applied(5, true);
        assert_eq!(acts.settled(), 5);
        let first = acts.begin();
        acts.applied(6, false);
        assert_eq!(acts.settled(), 6, "nothing moved");
        acts.applied(9, true);
        let second = acts.begin();
        assert!(acts.busy());
        assert_eq!(acts.settled(), 6);
        acts.applied(12, true);
        drop(first);
        assert_eq!(acts.settled(), 9);
        drop(second);
        assert_eq!(acts.settled(), 12);
        assert!(!acts.busy());
    }
}
