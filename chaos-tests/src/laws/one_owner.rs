//! A partition has at most one owner whose writes count: an epoch belongs to one owner, and epochs do not go back.
//!
//! What is checked is what clients and operators were told. Two gateways need not be equally up to date, so that epochs must
//! not go back holds of one teller: one socket, or one node's API.

use std::collections::BTreeMap;

use super::Broken;

const LAW: &str = "a partition has at most one owner";

/// Someone was told who owns a session or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Who was told: tellers' tales are compared each with itself.
    pub by: usize,
    /// The first tale of another teller than before, such as a new socket's.
    pub fresh: bool,
    /// What is owned.
    pub subject: String,
    /// By whom.
    pub owner: String,
    /// Since which epoch.
    pub epoch: u64,
}

/// Checks sightings in the order in which each teller's came.
pub fn check(sightings: &[Sighting]) -> Vec<Broken> {
    let mut owners: BTreeMap<(&str, u64), &str> = BTreeMap::new();
    let mut last: BTreeMap<(usize, &str), u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for seen in sightings {
        let mut report = |what: String| {
            broken.push(Broken {
                law: LAW,
                session: seen.subject.clone(),
                what,
            });
        };
        let owner = owners.entry((&seen.subject, seen.epoch)).or_insert(&seen.owner);
        if *owner != seen.owner {
            report(format!(
                "epoch {} is of {owner} and of {}",
                seen.epoch, seen.owner
            ));
        }
        let before = last.insert((seen.by, &seen.subject), seen.epoch);
        if !seen.fresh
            && let Some(before) = before.filter(|before| *before > seen.epoch)
        {
            report(format!("after epoch {before} it was told epoch {}", seen.epoch));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(by: usize, owner: &str, epoch: u64) -> Sighting {
        Sighting {
            by,
            fresh: false,
            subject: "s".into(),
            owner: owner.into(),
            epoch,
        }
    }

    #[test]
    fn twins_and_steps_back_are_found() {
        let good = [
            seen(1, "a", 1),
            seen(2, "a", 1),
            seen(1, "b", 2),
            seen(2, "c", 3),
            seen(1, "c", 3),
        ];
        assert!(check(&good).is_empty());
        let twins = [seen(1, "a", 1), seen(2, "b", 1)];
        assert_eq!(check(&twins).len(), 1);
        let back = [seen(1, "a", 1), seen(1, "b", 2), seen(1, "a", 1)];
        assert_eq!(check(&back).len(), 1);
        // Another gateway may be a little behind; what it tells must still be true of its epoch.
        let mut behind = back.to_vec();
        behind[2].fresh = true;
        assert!(check(&behind).is_empty());
    }
}
