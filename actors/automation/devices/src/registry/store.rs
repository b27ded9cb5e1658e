//! Entities by id, so that a view of all of them is taken by counting one reference, and a change after that copies a small part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::live::Live;
use crate::entity::Entity;
use crate::plan::Plan;

/// Into how many parts entities are spread by their id.
const PARTS: usize = 256;

/// One entity and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What was discovered.
    pub entity: Arc<Entity>,
    /// How it is read.
    pub plan: Arc<Plan>,
    /// What is known.
    pub live: Arc<Live>,
    /// Whether it takes part at all.
    pub enabled: bool,
}

type Part = Arc<BTreeMap<Arc<str>, Entry>>;

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    parts: Arc<Vec<Part>>,
    len: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            parts: Arc::new(vec![Part::default(); PARTS]),
            len: 0,
        }
    }
}

impl Store {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        self.parts[part_of(id)].get(id)
    }

    /// One of them, to change.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        let part = part_of(id);
        if !self.parts[part].contains_key(id) {
            return None;
        }
        Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[part]).get_mut(id)
    }

    /// Puts one in, in the place of what had its id.
    pub(crate) fn insert(&mut self, id: &str, entry: Entry) {
        let part = &mut Arc::make_mut(&mut self.parts)[part_of(id)];
        if Arc::make_mut(part).insert(Arc::from(id), entry).is_none() {
            self.len += 1;
        }
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Entry> {
        self.get(id)?;
        self.len -= 1;
        let part = &mut Arc::make_mut(&mut self.parts)[part_of(id)];
        Arc::make_mut(part).remove(id)
    }

    /// All of them, in no order that means anything.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.parts
            .iter()
            .flat_map(|part| part.iter().map(|(id, entry)| (&**id, entry)))
    }

    /// All that take part, by id in order.
    pub(crate) fn sorted(&self, domain: Option<&str>) -> Vec<(&str, &Entry)> {
        let of = |id: &str| {
            domain.is_none_or(|domain| id.split_once('.').is_some_and(|(first, _)| first == domain))
        };
        let mut out: Vec<_> = self.all().filter(|(id, entry)| entry.enabled && of(id)).collect();
        out.sort_unstable_by_key(|(id, _)| *id);
        out
    }
}

/// FNV-1a: the same on every node.
fn part_of(id: &str) -> usize {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    (hash ^ (hash >> 32)) as usize % PARTS
}
