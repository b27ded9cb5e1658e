//! Discovery: entities come, change and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::live::Live;
use super::rows::{RowKey, Table};
use super::store::Entry;
use super::{Area, Assignment, Change, PeopleError, Registry, Thing};
use crate::apply::size;
use crate::bare::{tasmota, zigbee};
use crate::component::Component;
use crate::config::Config;
use crate::discovery::{self, Found, Told, component_of};
use crate::entity::{Device, Entity, Origin};
use crate::limits::{MAX_CONFIGS_BYTES, MAX_DEVICES, MAX_ENTITIES, MAX_NAME_BYTES, MAX_TASMOTA};
use crate::naming::{self, Named};
use crate::plan::Plan;
use crate::template::Template;
use crate::text::{quoted, slug};

impl Registry {
    /// Whether a message is one of discovery, and what comes of it.
    pub(super) fn discover(&mut self, topic: &str, payload: &[u8], now_ms: i64, changes: &mut Vec<Change>) {
        if let Some(component) = component_of(&self.settings.discovery_prefix, topic) {
            let told = discovery::read(component, payload);
            return self.told(topic, told, payload.is_empty(), now_ms, changes);
        }
        let base = self.settings.zigbee2mqtt.iter().find(|base| {
            topic
                .strip_prefix(base.as_str())
                .is_some_and(|rest| rest.starts_with("/bridge/"))
        });
        if let Some(base) = base.cloned() {
            let told = match &topic[base.len()..] {
                _ if payload.is_empty() => Told::default(),
                "/bridge/devices" => zigbee::devices(&base, payload),
                "/bridge/groups" => zigbee::groups(&base, payload, &|identifier| self.is_light(identifier)),
                _ => return,
            };
            return self.told_bare(topic, told, payload.is_empty(), now_ms, changes);
        }
        let rest = self
            .settings
            .tasmota
            .as_ref()
            .and_then(|prefix| topic.strip_prefix(prefix.as_str()));
        let parts: Vec<&str> = rest.map(|rest| rest.split('/').collect()).unwrap_or_default();
        if let ["", mac, what @ ("config" | "sensors")] = parts.as_slice() {
            self.tasmota(topic, mac, what, payload, now_ms, changes);
        }
    }

    fn tasmota(
        &mut self,
        topic: &str,
        mac: &str,
        what: &str,
        payload: &[u8],
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) {
        let said = match tasmota::object(payload) {
            Ok(said) => said,
            Err(why) => return self.problem(topic, why, now_ms),
        };
        let well_formed = mac.len() == 12 && mac.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !well_formed {
            return self.problem(topic, "the address is not twelve hexadecimal digits", now_ms);
        }
        if !self.tasmota.contains_key(mac) && self.tasmota.len() >= MAX_TASMOTA {
            return self.problem(
                topic,
                format!("there are {MAX_TASMOTA} Tasmota devices already"),
                now_ms,
            );
        }
        let note = self.tasmota.entry(mac.to_owned()).or_default();
        if what == "config" {
            note.config = said;
        } else {
            note.sensors = said;
        }
        let told = tasmota::read(mac, note);
        let gone = note.config.is_none();
        if note.config.is_none() && note.sensors.is_none() {
            self.tasmota.remove(mac);
        }
        self.dirty.insert(RowKey::new(Table::Tasmota, mac));
        let origin = format!("{}/{mac}", self.settings.tasmota.clone().unwrap_or_default());
        self.told_bare(&origin, told, gone, now_ms, changes);
    }

    /// Whether a device is known to have a light.
    fn is_light(&self, identifier: &str) -> Option<bool> {
        let device = self.device_like(&Device::of(identifier))?;
        let entities = self.by_device.get(&device)?;
        Some(entities.iter().any(|id| id.starts_with("light.")))
    }

    /// Takes in what a bare device told; of devices that Home Assistant's discovery tells of, that is enough.
    fn told_bare(&mut self, topic: &str, mut told: Told, all: bool, now_ms: i64, changes: &mut Vec<Change>) {
        let prefix = format!("{}/", self.settings.discovery_prefix);
        told.found.retain(|found| {
            let device = found.device.as_ref().and_then(|device| self.device_like(device));
            let entities = device.and_then(|device| self.by_device.get(&device));
            !entities.into_iter().flatten().any(|id| {
                self.store
                    .get(id)
                    .is_some_and(|entry| entry.entity.origin.topic.starts_with(&prefix))
            })
        });
        self.told(topic, told, all, now_ms, changes);
    }

    /// Takes in all that a message told of. What it told of before and does not any more is removed.
    fn told(&mut self, topic: &str, told: Told, all: bool, now_ms: i64, changes: &mut Vec<Change>) {
        let spoilt = !told.refused.is_empty() && !all;
        for why in told.refused {
            self.problem(topic, why, now_ms);
        }
        let parts: BTreeSet<String> = told.found.iter().map(|found| found.part.clone()).collect();
        for found in told.found {
            let part = found.part.clone();
            if let Err(why) = self.place(topic, found, now_ms, changes) {
                let named = if part.is_empty() {
                    why
                } else {
                    format!("{}: {why}", quoted(&part))
                };
                self.problem(topic, named, now_ms);
            }
        }
        // Where a part could not be read, what stood there before stays.
        let known = self.by_origin.get(topic).cloned().unwrap_or_default();
        for (part, id) in known {
            if !spoilt && !parts.contains(&part) {
                self.remove(&id, changes);
            }
        }
    }

    /// Puts an entity in its place.
    fn place(
        &mut self,
        topic: &str,
        found: Found,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let Found {
            part,
            component,
            config,
            device,
        } = found;
        for (key, value) in &config.0 {
            if let (true, Some(source)) = (key.ends_with("template"), value.as_str()) {
                Template::parse(source, &self.templates).map_err(|error| format!("{key}: {error}"))?;
            }
        }
        let unique_id = config
            .get("unique_id")
            .map(crate::text::printed)
            .filter(|unique| !unique.is_empty());
        let by_origin = self
            .by_origin
            .get(topic)
            .and_then(|parts| parts.get(&part))
            .cloned();
        let by_unique = unique_id
            .as_ref()
            .and_then(|unique| self.by_unique.get(&(component, unique.clone())))
            .cloned();
        let known = by_unique.or(by_origin.clone());
        let known = known.filter(|id| {
            self.store
                .get(id)
                .is_some_and(|entry| entry.entity.component == component)
        });
        // The part told of something else before.
        if by_origin.is_some() && by_origin != known {
            by_origin.into_iter().for_each(|id| self.remove(&id, changes));
        }
        let held = known
            .as_ref()
            .and_then(|id| self.store.get(id))
            .map(|entry| bytes(&entry.entity.config));
        let bytes_now = self.config_bytes - held.unwrap_or(0) + bytes(&config);
        if held.is_none() && self.store.len() >= MAX_ENTITIES {
            return Err(format!("there are {MAX_ENTITIES} entities already"));
        }
        if bytes_now > MAX_CONFIGS_BYTES {
            return Err(format!(
                "all entities together would come to more than {MAX_CONFIGS_BYTES} bytes"
            ));
        }
        let (device, renamed) = match device {
            Some(device) => {
                let (id, renamed) = self.put_device(device, changes)?;
                (Some(id), renamed)
            }
            None => (None, false),
        };
        let Named {
            own: own_name,
            full: name,
        } = self.named(component, &config, device.as_deref());
        let id = known
            .clone()
            .unwrap_or_else(|| self.new_id(component, &config, &name));
        let entity = Entity {
            id: id.clone(),
            component,
            unique_id,
            name,
            own_name,
            device: device.clone(),
            origin: Origin {
                topic: topic.to_owned(),
                part,
            },
            config,
        };
        let result = self.put_entity(entity, now_ms, changes);
        if result.is_ok() {
            self.config_bytes = bytes_now;
            self.dirty.insert(RowKey::new(Table::Entity, &id));
        } else if let Some(device) = &device {
            self.drop_device_if_empty(device, changes);
        }
        if renamed {
            device
                .into_iter()
                .for_each(|device| self.rename_entities(&device, now_ms, changes));
        }
        if let (Ok(()), true) = (
            &result,
            topic.starts_with(&format!("{}/", self.settings.discovery_prefix)),
        ) {
            self.supersede_bare(&id, changes);
        }
        result
    }

    /// Takes away what a bare device said of itself, once discovery tells of it.
    fn supersede_bare(&mut self, id: &str, changes: &mut Vec<Change>) {
        let prefix = format!("{}/", self.settings.discovery_prefix);
        let device = self.store.get(id).and_then(|entry| entry.entity.device.clone());
        let siblings = device
            .and_then(|device| self.by_device.get(&device))
            .cloned()
            .unwrap_or_default();
        for sibling in siblings {
            let bare = self
                .store
                .get(&sibling)
                .is_some_and(|entry| !entry.entity.origin.topic.starts_with(&prefix));
            if bare {
                self.remove(&sibling, changes);
            }
        }
    }

    /// Puts an entity in, or in the place of what had its id.
    pub(super) fn put_entity(
        &mut self,
        entity: Entity,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let id = entity.id.clone();
        let given = self.people.of_entity(&id);
        let mut named = entity.clone();
        if let Some(name) = given.and_then(|said| said.name.clone()) {
            named.name = name;
        }
        let enabled = given
            .and_then(|said| said.enabled)
            .unwrap_or_else(|| entity.config.flag("enabled_by_default").unwrap_or(true));
        let plan = Plan::of(&named, &self.templates)?;
        if enabled && !self.index.has_room(&plan) {
            return Err("too many topics with wildcards are followed already".to_owned());
        }
        let before = self.store.get(&id).cloned();
        if let Some(before) = &before {
            if *before.entity == entity && *before.plan == plan && before.enabled == enabled {
                return Ok(());
            }
            self.unlink(before);
        }
        let live = match &before {
            Some(before) => {
                let mut live = (*before.live).clone();
                if before.plan.availability != plan.availability {
                    live.heard = vec![None; plan.availability.len()];
                    live.latest = None;
                }
                live
            }
            None => Live::new(&plan, now_ms),
        };
        let (origin, part) = (entity.origin.topic.clone(), entity.origin.part.clone());
        self.by_origin.entry(origin).or_default().insert(part, id.clone());
        if let Some(unique) = &entity.unique_id {
            self.by_unique
                .insert((entity.component, unique.clone()), id.clone());
        }
        if let Some(device) = &entity.device {
            self.by_device
                .entry(device.clone())
                .or_default()
                .insert(id.clone());
        }
        if enabled {
            self.index.add(&id, &plan);
        }
        let entry = Entry {
            entity: Arc::new(entity),
            plan: Arc::new(plan),
            live: Arc::new(live.clone()),
            enabled,
        };
        self.store.insert(&id, entry);
        if let Some(at) = super::deadline(&live) {
            self.deadlines.insert((at, id.clone()));
        }
        let was_enabled = before.as_ref().is_some_and(|before| before.enabled);
        let mut shown = Vec::new();
        self.settle(&id, live, false, now_ms, &mut shown);
        match (was_enabled, enabled) {
            (false, true) => {
                changes.push(Change::Appeared(id.clone()));
                let new = self.store.get(&id).map(|entry| entry.live.shown.clone());
                changes.push(Change::State {
                    entity: id,
                    old: None,
                    new,
                });
            }
            (true, false) => {
                changes.push(Change::Removed(id.clone()));
                let old = before.as_ref().map(|before| before.live.shown.clone());
                changes.push(Change::State {
                    entity: id,
                    old,
                    new: None,
                });
            }
            (true, true) => {
                changes.push(Change::Described(id));
                changes.append(&mut shown);
            }
            (false, false) => {}
        }
        // Moved from one device to another, the first may have nothing left.
        if let Some(device) = before.and_then(|before| before.entity.device.clone()) {
            self.drop_device_if_empty(&device, changes);
        }
        Ok(())
    }

    /// Takes an entity out of all lists but the store.
    fn unlink(&mut self, entry: &Entry) {
        let (entity, id) = (&entry.entity, &entry.entity.id);
        self.index.remove(id, &entry.plan);
        if let Some(parts) = self.by_origin.get_mut(&entity.origin.topic) {
            parts.remove(&entity.origin.part);
            if parts.is_empty() {
                self.by_origin.remove(&entity.origin.topic);
            }
        }
        if let Some(unique) = &entity.unique_id {
            self.by_unique.remove(&(entity.component, unique.clone()));
        }
        if let Some(entities) = entity
            .device
            .as_ref()
            .and_then(|device| self.by_device.get_mut(device))
        {
            entities.remove(id);
        }
        if let Some(at) = super::deadline(&entry.live) {
            self.deadlines.remove(&(at, id.clone()));
        }
    }

    /// Removes an entity, and its device with the last one.
    pub(super) fn remove(&mut self, id: &str, changes: &mut Vec<Change>) {
        let Some(entry) = self.store.remove(id) else {
            return;
        };
        self.unlink(&entry);
        self.config_bytes = self.config_bytes.saturating_sub(bytes(&entry.entity.config));
        self.dirty.insert(RowKey::new(Table::Entity, id));
        self.dirty.insert(RowKey::new(Table::State, id));
        if entry.enabled {
            changes.push(Change::Removed(id.to_owned()));
            changes.push(Change::State {
                entity: id.to_owned(),
                old: Some(entry.live.shown.clone()),
                new: None,
            });
        }
        if let Some(device) = &entry.entity.device {
            self.drop_device_if_empty(device, changes);
        }
    }

    fn drop_device_if_empty(&mut self, device: &str, changes: &mut Vec<Change>) {
        if self
            .by_device
            .get(device)
            .is_some_and(|entities| !entities.is_empty())
        {
            return;
        }
        self.by_device.remove(device);
        if Arc::make_mut(&mut self.devices).remove(device).is_some() {
            self.dirty.insert(RowKey::new(Table::Device, device));
            changes.push(Change::DeviceRemoved(device.to_owned()));
        }
    }

    /// The device that shares an identifier or address, by id.
    fn device_like(&self, device: &Device) -> Option<String> {
        // The usual case, without a look at all of them.
        let usual = device.identifiers.first().map(|identifier| slug(identifier));
        if let Some(known) = usual
            .as_ref()
            .and_then(|id| self.devices.get(id))
            .filter(|known| known.is_also(device))
        {
            return Some(known.id.clone());
        }
        self.devices
            .values()
            .find(|known| known.is_also(device))
            .map(|known| known.id.clone())
    }

    /// Takes in what a message says of a device. Its id, and whether it is called otherwise than before.
    fn put_device(
        &mut self,
        mut device: Device,
        changes: &mut Vec<Change>,
    ) -> Result<(String, bool), String> {
        let known = self
            .device_like(&device)
            .and_then(|id| self.devices.get(&id).cloned());
        match &known {
            Some(known) => {
                device.id = known.id.clone();
                merge(&mut device, known);
                if device == **known {
                    return Ok((device.id, false));
                }
            }
            None => {
                if self.devices.len() >= MAX_DEVICES {
                    return Err(format!("there are {MAX_DEVICES} devices already"));
                }
                let first = device
                    .identifiers
                    .first()
                    .or(device.connections.first().map(|(_, address)| address));
                let base = slug(first.map_or("", String::as_str));
                device.id = free(&base, |id| self.devices.contains_key(id));
                if device.name.is_empty() {
                    device.name = device.model.clone().unwrap_or_else(|| "MQTT device".to_owned());
                }
            }
        }
        let id = device.id.clone();
        let renamed = known.is_some_and(|known| known.name != device.name);
        Arc::make_mut(&mut self.devices).insert(id.clone(), Arc::new(device));
        self.dirty.insert(RowKey::new(Table::Device, &id));
        changes.push(Change::Device(id.clone()));
        Ok((id, renamed))
    }

    /// Gives a device's entities its new name.
    fn rename_entities(&mut self, device: &str, now_ms: i64, changes: &mut Vec<Change>) {
        for id in self.by_device.get(device).cloned().unwrap_or_default() {
            let Some(entity) = self.store.get(&id).map(|entry| (*entry.entity).clone()) else {
                continue;
            };
            let Named {
                own: own_name,
                full: name,
            } = self.named(entity.component, &entity.config, Some(device));
            if name != entity.name {
                // Its plan was made of the same settings before, so that it can be made again.
                let renamed = self.put_entity(
                    Entity {
                        own_name,
                        name,
                        ..entity
                    },
                    now_ms,
                    changes,
                );
                if renamed.is_ok() {
                    self.dirty.insert(RowKey::new(Table::Entity, &id));
                }
            }
        }
    }

    /// An entity's own name and its full one.
    fn named(&self, component: Component, config: &Config, device: Option<&str>) -> Named {
        let device = device.and_then(|id| {
            let given = self.people.of_device(id).and_then(|said| said.name.as_deref());
            given.or_else(|| self.devices.get(id).map(|device| device.name.as_str()))
        });
        naming::named(component, config, device)
    }

    /// An id that no other entity has.
    fn new_id(&self, component: Component, config: &Config, name: &str) -> String {
        let domain = component.name();
        let wished = config
            .text("default_entity_id")
            .map(|id| id.strip_prefix(&format!("{domain}.")).unwrap_or(id))
            .or_else(|| config.text("object_id"));
        let object = slug(wished.unwrap_or(name));
        let taken = |object: &str| {
            let id = format!("{domain}.{object}");
            self.store.get(&id).is_some() || self.others.contains_key(&id)
        };
        format!("{domain}.{}", free(&object, taken))
    }

    /// Adds an area, or gives the one of that name other names.
    ///
    /// # Errors
    /// What is wrong with the name, or that there are too many.
    pub fn put_area(&mut self, name: &str, aliases: Vec<String>) -> Result<Area, PeopleError> {
        let area = Arc::make_mut(&mut self.people).put_area(name, aliases)?;
        self.dirty.insert(RowKey::new(Table::Area, &area.id));
        Ok(area)
    }

    /// Removes an area, and takes it away from what was in it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_area(&mut self, asked: &str) -> Result<(), PeopleError> {
        let id = self.people.area_id(asked)?;
        let people = Arc::make_mut(&mut self.people);
        people.areas.remove(&id);
        self.dirty.insert(RowKey::new(Table::Area, &id));
        let inside: Vec<Thing> = people
            .assignments
            .iter()
            .filter(|(_, said)| said.area.as_ref() == Some(&id))
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in inside {
            if let Some(said) = people.assignments.get_mut(&thing) {
                said.area = None;
                if *said == Assignment::default() {
                    people.assignments.remove(&thing);
                }
            }
            self.dirty.insert(RowKey::assigned(&thing));
        }
        Ok(())
    }

    /// What people said of an entity or device.
    pub fn assignment(&self, thing: &Thing) -> Assignment {
        self.people.assignments.get(thing).cloned().unwrap_or_default()
    }

    /// Sets what people say of an entity or device: area, labels, name, aliases, whether it takes part.
    ///
    /// # Errors
    /// There is no such thing or area, or a bound was come to.
    pub fn assign(
        &mut self,
        thing: Thing,
        said: Assignment,
        now_ms: i64,
    ) -> Result<Vec<Change>, PeopleError> {
        let (known, all): (bool, Vec<&str>) = match &thing {
            Thing::Entity(id) => (
                self.store.get(id).is_some(),
                self.store.all().map(|(id, _)| id).collect(),
            ),
            Thing::Device(id) => (
                self.devices.contains_key(id),
                self.devices.keys().map(String::as_str).collect(),
            ),
        };
        let (Thing::Entity(id) | Thing::Device(id)) = &thing;
        if !known && said != Assignment::default() {
            let mut all = all;
            all.sort_unstable();
            return Err(PeopleError::NoThing {
                asked: quoted(id),
                near: super::meant(crate::text::nearest(id, all)),
            });
        }
        Arc::make_mut(&mut self.people).assign(thing.clone(), said)?;
        self.dirty.insert(RowKey::assigned(&thing));
        let mut changes = Vec::new();
        match &thing {
            Thing::Entity(id) => {
                if let Some(entity) = self.store.get(id).map(|entry| (*entry.entity).clone())
                    && let Err(why) = self.put_entity(entity, now_ms, &mut changes)
                {
                    self.problem(id, why, now_ms);
                }
            }
            Thing::Device(id) => self.rename_entities(id, now_ms, &mut changes),
        }
        self.subscriptions(&mut changes);
        Ok(changes)
    }

    /// Puts an entity or device into an area, by id or name; none takes it out of its area.
    ///
    /// # Errors
    /// There is no such thing or area.
    pub fn put_into_area(
        &mut self,
        thing: Thing,
        area: Option<&str>,
        now_ms: i64,
    ) -> Result<Vec<Change>, PeopleError> {
        let said = Assignment {
            area: area.map(str::to_owned),
            ..self.assignment(&thing)
        };
        self.assign(thing, said, now_ms)
    }

    /// Sets a group's members, entities or other groups; none takes the group away. Its id.
    ///
    /// # Errors
    /// What is wrong with the name, or that there are too many.
    pub fn put_group(&mut self, name: &str, members: Vec<String>) -> Result<String, PeopleError> {
        let id = Arc::make_mut(&mut self.people).put_group(name, members)?;
        self.dirty.insert(RowKey::new(Table::Group, &id));
        Ok(id)
    }
}

/// What is known of a device from before stays where the message says nothing of it.
fn merge(device: &mut Device, known: &Device) {
    for one in &known.identifiers {
        if !device.identifiers.contains(one) {
            device.identifiers.push(one.clone());
        }
    }
    device.identifiers.sort_by_key(|one| {
        known
            .identifiers
            .iter()
            .position(|other| other == one)
            .unwrap_or(usize::MAX)
    });
    for one in &known.connections {
        if !device.connections.contains(one) {
            device.connections.push(one.clone());
        }
    }
    device.connections.sort_by_key(|one| {
        known
            .connections
            .iter()
            .position(|other| other == one)
            .unwrap_or(usize::MAX)
    });
    device.identifiers.truncate(crate::limits::MAX_IDENTIFIERS);
    device.connections.truncate(crate::limits::MAX_IDENTIFIERS);
    if device.name.is_empty() {
        device.name.clone_from(&known.name);
    }
    let keep = |new: &mut Option<String>, old: &Option<String>| {
        if new.is_none() {
            new.clone_from(old);
        }
    };
    keep(&mut device.manufacturer, &known.manufacturer);
    keep(&mut device.model, &known.model);
    keep(&mut device.sw_version, &known.sw_version);
    keep(&mut device.hw_version, &known.hw_version);
    keep(&mut device.serial_number, &known.serial_number);
    keep(&mut device.configuration_url, &known.configuration_url);
    keep(&mut device.suggested_area, &known.suggested_area);
    keep(&mut device.via_device, &known.via_device);
}

/// The name, or the first of `name_2`, `name_3` … that is not taken.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    // A name and its number fit where a name does.
    let base = &name[..name.len().min(MAX_NAME_BYTES)];
    if !taken(base) {
        return base.to_owned();
    }
    // There are fewer things than numbers.
    (2_u32..)
        .map(|number| format!("{base}_{number}"))
        .find(|name| !taken(name))
        .unwrap_or_default()
}

/// What an entity's settings come to.
pub(super) fn bytes(config: &Config) -> usize {
    config.0.iter().map(|(key, value)| key.len() + size(value)).sum()
}
