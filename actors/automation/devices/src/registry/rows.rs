//! The registry as rows that are replicated one by one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jarvis_rules::facts::Home;
use jarvis_rules::template::Templates;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::live::Live;
use super::people::{Area, Assignment, GroupOf, Thing};
use super::{Change, Registry, Settings};
use crate::bare::tasmota::Note;
use crate::entity::{Device, Entity};

/// What a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// An area.
    Area,
    /// What people said of an entity.
    OfEntity,
    /// What people said of a device.
    OfDevice,
    /// A group that people made.
    Group,
    /// A device.
    Device,
    /// What was discovered of an entity.
    Entity,
    /// What is known of an entity.
    State,
    /// What a bare Tasmota device said of itself.
    Tasmota,
}

impl Table {
    const ALL: [Self; 8] = [
        Self::Area,
        Self::OfEntity,
        Self::OfDevice,
        Self::Group,
        Self::Device,
        Self::Entity,
        Self::State,
        Self::Tasmota,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Area => "area",
            Self::OfEntity => "of_entity",
            Self::OfDevice => "of_device",
            Self::Group => "group",
            Self::Device => "device",
            Self::Entity => "entity",
            Self::State => "state",
            Self::Tasmota => "tasmota",
        }
    }
}

/// Where a row stands. As text, `state/light.kitchen`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowKey {
    /// What it is of.
    pub table: Table,
    /// Of which.
    pub id: String,
}

impl RowKey {
    /// Of a table and an id.
    pub fn new(table: Table, id: &str) -> Self {
        Self {
            table,
            id: id.to_owned(),
        }
    }

    pub(super) fn assigned(thing: &Thing) -> Self {
        match thing {
            Thing::Entity(id) => Self::new(Table::OfEntity, id),
            Thing::Device(id) => Self::new(Table::OfDevice, id),
        }
    }

    /// Of its text.
    ///
    /// # Errors
    /// It names no table.
    pub fn parse(text: &str) -> Result<Self, RowError> {
        let (table, id) = text.split_once('/').ok_or(RowError::Key)?;
        let table = Table::ALL
            .into_iter()
            .find(|one| one.name() == table)
            .ok_or(RowError::Key)?;
        Ok(Self::new(table, id))
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table.name(), self.id)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// An area.
    Area(Area),
    /// What people said of an entity or device.
    Assignment(Assignment),
    /// A group that people made.
    Group(GroupOf),
    /// A device.
    Device(Arc<Device>),
    /// What was discovered of an entity.
    Entity(Arc<Entity>),
    /// What is known of an entity.
    State(Arc<Live>),
    /// What a bare Tasmota device said of itself.
    Tasmota(Note),
}

/// Why a row could not be read.
#[derive(Debug, Error)]
pub enum RowError {
    /// Its key names no table.
    #[error("the row's key names no table")]
    Key,
    /// It is not what its key says.
    #[error("the row is of another table than its key")]
    Table,
    /// It does not decode.
    #[error("the row does not decode")]
    Bytes(#[from] serde_json::Error),
}

impl Row {
    /// As bytes: JSON, since attributes are.
    ///
    /// # Errors
    /// None that is known; a map with keys that are no text.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RowError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Of bytes.
    ///
    /// # Errors
    /// They are no row.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RowError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Registry {
    /// All rows.
    pub fn rows(&self) -> Vec<(RowKey, Row)> {
        let mut keys: Vec<RowKey> = self
            .people
            .areas
            .keys()
            .map(|id| RowKey::new(Table::Area, id))
            .collect();
        keys.extend(self.people.assignments.keys().map(RowKey::assigned));
        keys.extend(self.people.groups.keys().map(|id| RowKey::new(Table::Group, id)));
        keys.extend(self.devices.keys().map(|id| RowKey::new(Table::Device, id)));
        keys.extend(self.store.all().map(|(id, _)| RowKey::new(Table::Entity, id)));
        keys.extend(self.store.all().map(|(id, _)| RowKey::new(Table::State, id)));
        keys.extend(self.tasmota.keys().map(|id| RowKey::new(Table::Tasmota, id)));
        keys.sort();
        keys.into_iter()
            .filter_map(|key| {
                let row = self.row(&key)?;
                Some((key, row))
            })
            .collect()
    }

    /// One row.
    pub fn row(&self, key: &RowKey) -> Option<Row> {
        let id = &key.id;
        Some(match key.table {
            Table::Area => Row::Area(self.people.areas.get(id)?.clone()),
            Table::OfEntity => Row::Assignment(self.people.of_entity(id)?.clone()),
            Table::OfDevice => Row::Assignment(self.people.of_device(id)?.clone()),
            Table::Group => Row::Group(self.people.groups.get(id)?.clone()),
            Table::Device => Row::Device(self.devices.get(id)?.clone()),
            Table::Entity => Row::Entity(self.store.get(id)?.entity.clone()),
            Table::State => Row::State(self.store.get(id)?.live.clone()),
            Table::Tasmota => Row::Tasmota(self.tasmota.get(id)?.clone()),
        })
    }

    /// The rows that changed since this was last asked; none: it is gone.
    pub fn changed_rows(&mut self) -> Vec<(RowKey, Option<Row>)> {
        let dirty: BTreeSet<RowKey> = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .map(|key| {
                let row = self.row(&key);
                (key, row)
            })
            .collect()
    }

    /// A registry of its rows. What expires begins anew at `now_ms`: what was not heard while nobody listened is not missed.
    ///
    /// # Errors
    /// A row is of another table than its key. An entity whose templates no longer parse is left out and told of.
    pub fn restore(
        settings: Settings,
        templates: Arc<Templates>,
        home: Arc<Home>,
        rows: impl IntoIterator<Item = (RowKey, Row)>,
        now_ms: i64,
    ) -> Result<Self, RowError> {
        let mut registry = Self::new(settings, templates, home);
        let mut rows: Vec<(RowKey, Row)> = rows.into_iter().collect();
        // In the order of the tables each finds what it hangs on.
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        for (key, row) in rows {
            registry.put_row(&key, Some(row), now_ms)?;
        }
        registry.index.changed();
        registry.dirty.clear();
        Ok(registry)
    }

    /// Sets one row, as another node decided it.
    ///
    /// # Errors
    /// It is of another table than its key.
    pub fn put_row(&mut self, key: &RowKey, row: Option<Row>, now_ms: i64) -> Result<Vec<Change>, RowError> {
        let id = key.id.clone();
        let mut changes = Vec::new();
        let own = self.dirty.clone();
        match (key.table, row) {
            (Table::Area, Some(Row::Area(area))) => {
                Arc::make_mut(&mut self.people).areas.insert(id, area);
            }
            (Table::Area, None) => {
                Arc::make_mut(&mut self.people).areas.remove(&id);
            }
            (Table::OfEntity | Table::OfDevice, row @ (Some(Row::Assignment(_)) | None)) => {
                let thing = if key.table == Table::OfEntity {
                    Thing::Entity(id)
                } else {
                    Thing::Device(id)
                };
                let assignments = &mut Arc::make_mut(&mut self.people).assignments;
                match row {
                    Some(Row::Assignment(said)) => assignments.insert(thing, said),
                    _ => assignments.remove(&thing),
                };
            }
            (Table::Group, Some(Row::Group(group))) => {
                Arc::make_mut(&mut self.people).groups.insert(id, group);
            }
            (Table::Group, None) => {
                Arc::make_mut(&mut self.people).groups.remove(&id);
            }
            (Table::Device, Some(Row::Device(device))) => {
                Arc::make_mut(&mut self.devices).insert(id, device);
            }
            (Table::Device, None) => {
                Arc::make_mut(&mut self.devices).remove(&id);
            }
            (Table::Entity, Some(Row::Entity(entity))) => {
                let held = self
                    .store
                    .get(&id)
                    .map_or(0, |entry| super::place::bytes(&entry.entity.config));
                self.config_bytes = self.config_bytes - held + super::place::bytes(&entity.config);
                if let Err(why) = self.put_entity((*entity).clone(), now_ms, &mut changes) {
                    self.problem(&id, why, now_ms);
                }
            }
            (Table::Entity, None) => self.remove(&id, &mut changes),
            (Table::State, Some(Row::State(live))) => {
                self.put_live(&id, (*live).clone(), now_ms, &mut changes)
            }
            // It goes with its entity.
            (Table::State, None) => {}
            (Table::Tasmota, Some(Row::Tasmota(note))) => {
                self.tasmota.insert(id, note);
            }
            (Table::Tasmota, None) => {
                self.tasmota.remove(&id);
            }
            (_, Some(_)) => return Err(RowError::Table),
        }
        // What another node decided is no change of our own.
        self.dirty = own;
        self.subscriptions(&mut changes);
        Ok(changes)
    }

    fn put_live(&mut self, id: &str, mut live: Live, now_ms: i64, changes: &mut Vec<Change>) {
        let Some(entry) = self.store.get_mut(id) else {
            return;
        };
        live.heard.resize(entry.plan.availability.len(), None);
        if !live.expired {
            live.expires_at_ms = entry
                .plan
                .expire_after_ms
                .map(|after| now_ms.saturating_add(after));
        }
        let old = entry.live.clone();
        let (from, to) = (super::deadline(&old), super::deadline(&live));
        let (seen, new) = (old.shown != live.shown && entry.enabled, live.shown.clone());
        entry.live = Arc::new(live);
        from.map(|at| self.deadlines.remove(&(at, id.to_owned())));
        to.map(|at| self.deadlines.insert((at, id.to_owned())));
        if seen {
            changes.push(Change::State {
                entity: id.to_owned(),
                old: Some(old.shown.clone()),
                new: Some(new),
            });
        }
    }
}
