//! What is to be subscribed to.

use std::collections::{BTreeMap, BTreeSet};

/// Filters of which no two overlap for long: a message that matches two comes twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which wish this is: told back by [`Status::settled`](crate::Status::settled).
    pub version: u64,
    /// The filters.
    pub filters: BTreeSet<String>,
    /// Filters of which everything that the broker retains is wanted once more, each with a number that grows: once for each
    /// number. One that is not among the filters is subscribed to for that moment.
    pub retained: BTreeMap<String, u64>,
}

impl Wanted {
    /// Filters, of which the broker sends what it retains where they are new to it.
    pub fn of(filters: impl IntoIterator<Item = String>) -> Self {
        Self {
            filters: filters.into_iter().collect(),
            ..Self::default()
        }
    }
}
