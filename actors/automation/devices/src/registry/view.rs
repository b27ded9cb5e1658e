//! All that is known at one moment, for whoever decides something. Taking one copies nothing; it does not change any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jarvis_rules::facts::{EntityState, Facts, Group, Home};

use super::people::{Area, Assignment, GroupOf, People};
use super::store::{Entry, Store};
use crate::entity::{Device, Entity};
use crate::limits::MAX_TARGETS;
use crate::text::slug;

/// All entities, devices and areas at one moment.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) store: Store,
    pub(crate) devices: Arc<BTreeMap<String, Arc<Device>>>,
    pub(crate) people: Arc<People>,
    pub(crate) others: Arc<BTreeMap<String, Arc<EntityState>>>,
    pub(crate) home: Arc<Home>,
    pub(crate) now_ms: i64,
}

impl View {
    /// The same, seen at another moment: a timer that fires looks at what is known then.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// What was discovered of an entity.
    pub fn described(&self, id: &str) -> Option<&Arc<Entity>> {
        self.entry(id).map(|entry| &entry.entity)
    }

    pub(crate) fn entry(&self, id: &str) -> Option<&Entry> {
        self.store.get(id).filter(|entry| entry.enabled)
    }

    /// All discovered entities, by id in order.
    pub fn all_described(&self) -> Vec<&Arc<Entity>> {
        self.store
            .sorted(None)
            .into_iter()
            .map(|(_, entry)| &entry.entity)
            .collect()
    }

    /// Whether an entity can be reached.
    pub fn is_reachable(&self, id: &str) -> bool {
        self.entry(id)
            .is_some_and(|entry| entry.live.is_reachable(&entry.plan))
    }

    /// What an entity is called.
    pub fn name(&self, id: &str) -> Option<&str> {
        let entity = self.described(id)?;
        let given = self.people.of_entity(id).and_then(|said| said.name.as_deref());
        Some(given.unwrap_or(&entity.name))
    }

    /// A device by its id.
    pub fn device(&self, id: &str) -> Option<&Arc<Device>> {
        self.devices.get(id)
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.devices.values()
    }

    /// What a device is called.
    pub fn device_name(&self, id: &str) -> Option<&str> {
        let device = self.devices.get(id)?;
        let given = self.people.of_device(id).and_then(|said| said.name.as_deref());
        Some(given.unwrap_or(&device.name))
    }

    /// All areas.
    pub fn areas(&self) -> impl Iterator<Item = &Area> {
        self.people.areas.values()
    }

    /// An area by id, name or alias.
    pub fn area(&self, asked: &str) -> Option<&Area> {
        self.people.area(asked)
    }

    /// All groups that people made.
    pub fn groups(&self) -> impl Iterator<Item = &GroupOf> {
        self.people.groups.values()
    }

    /// What people said of an entity.
    pub fn assigned(&self, id: &str) -> Option<&Assignment> {
        self.people.of_entity(id)
    }

    /// The area that an entity is in, by id: what people said of it, of its device, then what its device says.
    pub fn area_of(&self, id: &str) -> Option<String> {
        self.area_of_entry(id, self.entry(id)?)
    }

    pub(crate) fn area_of_entry(&self, id: &str, entry: &Entry) -> Option<String> {
        if let Some(area) = self.people.of_entity(id).and_then(|said| said.area.as_ref()) {
            return Some(area.clone());
        }
        let device = entry.entity.device.as_ref()?;
        if let Some(area) = self.people.of_device(device).and_then(|said| said.area.as_ref()) {
            return Some(area.clone());
        }
        let suggested = self.devices.get(device)?.suggested_area.as_ref()?;
        Some(
            self.people
                .area(suggested)
                .map_or_else(|| slug(suggested), |area| area.id.clone()),
        )
    }

    /// Whether an entity, or the device that it is part of, has a label.
    pub fn has_label(&self, id: &str, label: &str) -> bool {
        let wanted = slug(label);
        let has = |said: Option<&Assignment>| {
            said.is_some_and(|said| said.labels.iter().any(|one| slug(one) == wanted))
        };
        let device = self.described(id).and_then(|entity| entity.device.as_ref());
        has(self.people.of_entity(id)) || device.is_some_and(|device| has(self.people.of_device(device)))
    }

    /// The entities of a group, groups within it taken apart. None: there is no such group.
    pub fn group_members(&self, id: &str) -> Option<Vec<String>> {
        self.people.groups.get(id)?;
        let (mut seen, mut out) = (BTreeSet::new(), Vec::new());
        let mut open = vec![id.to_owned()];
        while let Some(next) = open.pop() {
            if !seen.insert(next.clone()) || out.len() >= MAX_TARGETS {
                continue;
            }
            match self.people.groups.get(&next) {
                Some(group) => open.extend(group.members.iter().rev().cloned()),
                None => out.push(next),
            }
        }
        Some(out)
    }

    fn members_where(&self, is: impl Fn(&str, &Entry) -> bool) -> Vec<String> {
        let sorted = self.store.sorted(None);
        sorted
            .into_iter()
            .filter(|(id, entry)| is(id, entry))
            .map(|(id, _)| id.to_owned())
            .collect()
    }
}

impl Facts for View {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn entity(&self, id: &str) -> Option<Arc<EntityState>> {
        self.entry(id)
            .map(|entry| entry.live.shown.clone())
            .or_else(|| self.others.get(id).cloned())
    }

    fn entities(&self, domain: Option<&str>) -> Vec<(String, Arc<EntityState>)> {
        let own = self
            .store
            .sorted(domain)
            .into_iter()
            .map(|(id, entry)| (id.to_owned(), entry.live.shown.clone()));
        let of = |id: &str| {
            domain.is_none_or(|domain| id.split_once('.').is_some_and(|(first, _)| first == domain))
        };
        let mut out: Vec<_> = own.collect();
        out.extend(
            self.others
                .iter()
                .filter(|(id, _)| of(id))
                .map(|(id, state)| (id.clone(), state.clone())),
        );
        out.sort_by(|one, other| one.0.cmp(&other.0));
        out.dedup_by(|one, other| one.0 == other.0);
        out
    }

    fn members(&self, of: Group<'_>) -> Vec<String> {
        match of {
            Group::Device(device) => {
                self.members_where(|_, entry| entry.entity.device.as_deref() == Some(device))
            }
            Group::Area(asked) => {
                let area = self
                    .people
                    .area(asked)
                    .map_or_else(|| slug(asked), |area| area.id.clone());
                self.members_where(|id, entry| self.area_of_entry(id, entry).as_deref() == Some(&area))
            }
            Group::Label(label) => self.members_where(|id, _| self.has_label(id, label)),
        }
    }
}
