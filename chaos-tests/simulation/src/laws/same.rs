//! All nodes that have applied as much hold the same tables.

use std::collections::BTreeMap;

use jarvis_machine::snapshot::fingerprint;
use jarvis_replica::Replica;

/// Compares the tables of nodes that stand at the same entry.
///
/// # Errors
/// Names two that differ.
pub fn check<'a>(replicas: impl Iterator<Item = (&'a str, &'a Replica)>) -> Result<(), String> {
    let mut by_index: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    for (name, replica) in replicas {
        let view = replica
            .local()
            .map_err(|error| format!("{name} cannot be read: {error}"))?;
        let print = fingerprint(view.query().0).map_err(|error| format!("{name} cannot be read: {error}"))?;
        let (first, expected) = *by_index.entry(view.applied).or_insert((name, print));
        if expected != print {
            return Err(format!(
                "at {} the tables of {first} and {name} differ",
                view.applied
            ));
        }
    }
    Ok(())
}
