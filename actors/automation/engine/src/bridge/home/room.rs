//! How much of the bridge's rows what may take: an entity's rows have a bound together, and a step beyond it is refused whole. So
//! each sort has a bound of its own, and together they are less.

use std::collections::BTreeMap;

use jarvis_machine::apply::{MAX_ENTITY_BYTES, MAX_ENTITY_ROWS};

use super::super::draft::{NAMED_BYTES, NAMED_ROWS};
use crate::rows::WRITTEN_KEPT;

/// One mebibyte.
pub(super) const MIB: usize = 1_024 * 1_024;
/// Of the registry of devices.
const REGISTRY: (usize, usize) = (32 * MIB, 40_000);
/// Of definitions of automations.
const DEFINITIONS: (usize, usize) = (10 * MIB, super::MOST_AUTOMATIONS);
/// Of acts under way.
const ACTS: (usize, usize) = (6 * MIB, 4_000);
/// Of dead letters.
const DEAD: (usize, usize) = (4 * MIB, 200);
/// Of holds under way.
const HOLDS: (usize, usize) = (2 * MIB, 4_000);
/// Of reminders that wait.
const REMINDERS: (usize, usize) = (MIB, 2_000);
/// All others: rings of what was done and decided on, the broker's session, nodes, drills.
const OTHERS: (usize, usize) = (MIB, 2_500);
/// Of the ring of what each version wrote.
const WRITTEN: (usize, usize) = (
    (NAMED_BYTES + NAMED_ROWS * 8) * WRITTEN_KEPT as usize,
    WRITTEN_KEPT as usize,
);

const _: () = {
    let all = [
        REGISTRY,
        DEFINITIONS,
        ACTS,
        DEAD,
        HOLDS,
        REMINDERS,
        OTHERS,
        WRITTEN,
    ];
    let (mut n, mut bytes, mut rows) = (0, 0, 0);
    while n < all.len() {
        bytes += all[n].0;
        rows += all[n].1;
        n += 1;
    }
    assert!(bytes as u64 <= MAX_ENTITY_BYTES && rows <= MAX_ENTITY_ROWS as usize);
};

/// Room for each sort of row that grows with the home.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) registry: Room,
    pub(super) definitions: Room,
    pub(super) acts: Room,
    pub(super) dead: Room,
    pub(super) holds: Room,
    pub(super) reminders: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            registry: Room::new(REGISTRY),
            definitions: Room::new(DEFINITIONS),
            acts: Room::new(ACTS),
            dead: Room::new(DEAD),
            holds: Room::new(HOLDS),
            reminders: Room::new(REMINDERS),
        }
    }
}

/// What rows take, by name.
#[derive(Debug)]
pub(super) struct Room {
    most_bytes: usize,
    most_rows: usize,
    rows: BTreeMap<String, usize>,
    bytes: usize,
    left_out: u64,
}

impl Room {
    /// Most bytes of names and values together, and most rows. None is taken yet.
    pub(super) fn new((most_bytes, most_rows): (usize, usize)) -> Self {
        Self {
            most_bytes,
            most_rows,
            rows: BTreeMap::new(),
            bytes: 0,
            left_out: 0,
        }
    }

    /// Whether there is room for a row, in the place of what it takes now.
    pub(super) fn fits(&self, name: &str, value_bytes: usize) -> bool {
        let had = self.rows.get(name);
        let rows = self.rows.len() + usize::from(had.is_none());
        let bytes = self.bytes - had.unwrap_or(&0) + name.len() + value_bytes;
        bytes <= self.most_bytes && rows <= self.most_rows
    }

    /// Takes room for a row, in the place of what it took before; false: there is not enough, and it takes none any more.
    pub(super) fn take(&mut self, name: &str, value_bytes: usize) -> bool {
        let fits = self.fits(name, value_bytes);
        if fits {
            self.set(name, value_bytes);
        } else {
            self.give_back(name);
            self.left_out += 1;
        }
        fits
    }

    /// A row takes so much, whatever the bound.
    pub(super) fn set(&mut self, name: &str, value_bytes: usize) {
        self.give_back(name);
        let bytes = name.len() + value_bytes;
        self.bytes += bytes;
        self.rows.insert(name.to_owned(), bytes);
    }

    /// A row is gone; false: there was none.
    pub(super) fn give_back(&mut self, name: &str) -> bool {
        let had = self.rows.remove(name);
        self.bytes -= had.unwrap_or(0);
        had.is_some()
    }

    /// Whether more is taken than there is.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > self.most_bytes || self.rows.len() > self.most_rows
    }

    /// How often there was not enough.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many bytes there are in all, in words.
    pub(super) fn most(&self) -> String {
        format!("{} MiB", self.most_bytes / MIB)
    }

    /// How many rows take room.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The first row by name.
    pub(super) fn first(&self) -> Option<&String> {
        self.rows.keys().next()
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    const MOST: usize = 1_000;

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let mut room = Room::new((MOST, 2));
        assert!(room.take("a", MOST - 1));
        assert!(!room.take("b", 10));
        assert!(room.take("a", MOST - 20));
        assert!(room.take("b", 10));
        assert!(!room.take("b", 20));
        assert!(room.take("c", 10));
        assert_eq!((room.left_out(), room.bytes), (2, MOST - 8));
        assert!(!room.take("d", 1), "two rows, and no third");
        assert!(!room.is_over());
        room.set("d", 1);
        assert!(room.is_over());
        room.give_back("d");
        for name in ["a", "b", "c"] {
            room.give_back(name);
        }
        assert_eq!(room.bytes, 0);
    }
}
