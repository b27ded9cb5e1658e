//! All devices and entities: messages in, changes out.

mod hear;
mod index;
mod live;
mod people;
mod place;
mod rows;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jarvis_rules::facts::{EntityState, Home};
use jarvis_rules::template::Templates;
use serde_json::{Map, Value};

use crate::bare::tasmota::Note;
use crate::component::Component;
use crate::entity::Device;
use crate::limits::MAX_PROBLEMS;
use crate::service::Assumed;
use crate::text::quoted;
use index::Index;
use people::People;
use store::Store;

pub use live::{Live, UNAVAILABLE, UNKNOWN};
pub(crate) use people::meant;
pub use people::{Area, Assignment, GroupOf, PeopleError, Thing};
pub use rows::{Row, RowError, RowKey, Table};
pub use view::View;

/// Where devices speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Home Assistant's discovery prefix.
    pub discovery_prefix: String,
    /// Base topics of Zigbee2MQTT bridges whose devices are read without discovery.
    pub zigbee2mqtt: Vec<String>,
    /// Discovery prefix of bare Tasmota devices; none: they are not read.
    pub tasmota: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            discovery_prefix: "homeassistant".to_owned(),
            zigbee2mqtt: vec!["zigbee2mqtt".to_owned()],
            tasmota: Some("tasmota/discovery".to_owned()),
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A topic is to be subscribed to.
    Subscribe(String),
    /// A topic need not be subscribed to any more.
    Unsubscribe(String),
    /// A device is new or says something new of itself.
    Device(String),
    /// A device is gone.
    DeviceRemoved(String),
    /// An entity is new.
    Appeared(String),
    /// An entity is described in another way.
    Described(String),
    /// An entity is gone.
    Removed(String),
    /// An entity can be reached again, or no more.
    Reachable {
        /// Which.
        entity: String,
        /// Whether it can be.
        reachable: bool,
    },
    /// A state or its attributes changed. Without an old one, the entity is new; without a new one, it is gone.
    State {
        /// Whose.
        entity: String,
        /// What was seen before.
        old: Option<Arc<EntityState>>,
        /// What is seen from now on.
        new: Option<Arc<EntityState>>,
    },
    /// Something happened: a button was pressed, a remote control used.
    Event {
        /// The entity that tells of it.
        entity: String,
        /// What happened.
        kind: String,
        /// What more was said.
        data: Map<String, Value>,
    },
}

/// A message that could not be used, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it came from, shortened.
    pub topic: String,
    /// What is wrong.
    pub why: String,
    /// When it was last so.
    pub at_ms: i64,
    /// How often it was.
    pub times: u64,
}

/// All devices and entities.
#[derive(Debug)]
pub struct Registry {
    settings: Settings,
    templates: Arc<Templates>,
    home: Arc<Home>,
    store: Store,
    devices: Arc<BTreeMap<String, Arc<Device>>>,
    people: Arc<People>,
    others: Arc<BTreeMap<String, Arc<EntityState>>>,
    tasmota: BTreeMap<String, Note>,
    index: Index,
    /// Entities by the topic and part of the message that told of them.
    by_origin: BTreeMap<String, BTreeMap<String, String>>,
    by_unique: BTreeMap<(Component, String), String>,
    by_device: BTreeMap<String, BTreeSet<String>>,
    /// What all discovery comes to, in bytes.
    config_bytes: usize,
    /// When something becomes so by itself.
    deadlines: BTreeSet<(i64, String)>,
    dirty: BTreeSet<RowKey>,
    problems: VecDeque<Problem>,
}

impl Registry {
    /// An empty one.
    pub fn new(settings: Settings, templates: Arc<Templates>, home: Arc<Home>) -> Self {
        Self {
            settings,
            templates,
            home,
            store: Store::default(),
            devices: Arc::default(),
            people: Arc::default(),
            others: Arc::default(),
            tasmota: BTreeMap::new(),
            index: Index::default(),
            by_origin: BTreeMap::new(),
            by_unique: BTreeMap::new(),
            by_device: BTreeMap::new(),
            config_bytes: 0,
            deadlines: BTreeSet::new(),
            dirty: BTreeSet::new(),
            problems: VecDeque::new(),
        }
    }

    /// All that is known, at `now_ms`.
    pub fn view(&self, now_ms: i64) -> View {
        View {
            store: self.store.clone(),
            devices: self.devices.clone(),
            people: self.people.clone(),
            others: self.others.clone(),
            home: self.home.clone(),
            now_ms,
        }
    }

    /// How many entities there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    /// All that is to be subscribed to.
    pub fn filters(&self) -> Vec<String> {
        let prefix = &self.settings.discovery_prefix;
        let mut all = vec![format!("{prefix}/+/+/config"), format!("{prefix}/+/+/+/config")];
        for base in &self.settings.zigbee2mqtt {
            all.push(format!("{base}/bridge/devices"));
            all.push(format!("{base}/bridge/groups"));
        }
        if let Some(tasmota) = &self.settings.tasmota {
            all.push(format!("{tasmota}/+/config"));
            all.push(format!("{tasmota}/+/sensors"));
        }
        all.extend(self.index.filters().map(str::to_owned));
        all
    }

    /// Messages that could not be used, the latest last.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// Takes a message in.
    pub fn message(&mut self, topic: &str, payload: &[u8], retained: bool, now_ms: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.discover(topic, payload, now_ms, &mut changes);
        self.hear(topic, payload, retained, now_ms, &mut changes);
        self.subscriptions(&mut changes);
        changes
    }

    /// When something next becomes so by itself: a sensor that was not heard of for too long, a motion that ends.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Lets become so what is due by `now_ms`.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((at, id)) = self.deadlines.first().cloned() {
            if at > now_ms {
                break;
            }
            self.deadlines.remove(&(at, id.clone()));
            let Some(entry) = self.store.get(&id) else {
                continue;
            };
            let mut live = (*entry.live).clone();
            if live.expires_at_ms.is_some_and(|at| at <= now_ms) {
                live.expires_at_ms = None;
                live.expired = true;
            }
            if live.off_at_ms.is_some_and(|at| at <= now_ms) {
                live.off_at_ms = None;
                live.known.state = Some("off".to_owned());
            }
            self.settle(&id, live, false, now_ms, &mut changes);
        }
        changes
    }

    /// Takes commands for done whose devices do not say so.
    pub fn assume(&mut self, all: &[Assumed], now_ms: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        for assumed in all {
            let Some(entry) = self.store.get(&assumed.entity) else {
                continue;
            };
            let mut live = (*entry.live).clone();
            if let Some(state) = &assumed.state {
                live.known.state = Some(state.clone());
            }
            for (name, value) in &assumed.attributes {
                live.known.attributes.insert(name.clone(), value.clone());
            }
            self.settle(&assumed.entity, live, false, now_ms, &mut changes);
        }
        changes
    }

    /// Sets the state of something that is no device: an automation, the sun. None takes it away.
    pub fn put_state(
        &mut self,
        id: &str,
        state: Option<(String, BTreeMap<String, Value>)>,
        now_ms: i64,
    ) -> Option<Change> {
        let old = self.others.get(id).cloned();
        let new = state.map(|(state, attributes)| {
            let same = old.as_ref().is_some_and(|old| old.state == state);
            let changed = old
                .as_ref()
                .filter(|_| same)
                .map_or(now_ms, |old| old.last_changed_ms);
            Arc::new(EntityState {
                state,
                attributes,
                last_changed_ms: changed,
                last_updated_ms: now_ms,
            })
        });
        let same = match (&old, &new) {
            (Some(old), Some(new)) => old.state == new.state && old.attributes == new.attributes,
            (None, None) => true,
            _ => false,
        };
        if same {
            return None;
        }
        let others = Arc::make_mut(&mut self.others);
        match &new {
            Some(new) => others.insert(id.to_owned(), new.clone()),
            None => others.remove(id),
        };
        Some(Change::State {
            entity: id.to_owned(),
            old,
            new,
        })
    }

    /// Keeps what is known of an entity now, and tells what is seen of it.
    fn settle(&mut self, id: &str, mut live: Live, force: bool, now_ms: i64, changes: &mut Vec<Change>) {
        let Some(entry) = self.store.get_mut(id) else {
            return;
        };
        let before = entry.live.clone();
        let (was, is) = (before.is_reachable(&entry.plan), live.is_reachable(&entry.plan));
        let old = live.show(&entry.plan, entry.entity.component, now_ms, force);
        let new = live.shown.clone();
        let (from, to) = (deadline(&before), deadline(&live));
        let enabled = entry.enabled;
        let differs = live.known != before.known
            || live.heard != before.heard
            || live.expired != before.expired
            || live.off_at_ms != before.off_at_ms
            || old.is_some();
        entry.live = Arc::new(live);
        if from != to {
            from.map(|at| self.deadlines.remove(&(at, id.to_owned())));
            to.map(|at| self.deadlines.insert((at, id.to_owned())));
        }
        // When something expires is not worth a row of its own with every message: it begins anew where the rows are read.
        if differs {
            self.dirty.insert(RowKey::new(Table::State, id));
        }
        if !enabled {
            return;
        }
        if was != is {
            changes.push(Change::Reachable {
                entity: id.to_owned(),
                reachable: is,
            });
        }
        if let Some(old) = old {
            changes.push(Change::State {
                entity: id.to_owned(),
                old: Some(old),
                new: Some(new),
            });
        }
    }

    fn subscriptions(&mut self, changes: &mut Vec<Change>) {
        for (filter, new) in self.index.changed() {
            changes.push(if new {
                Change::Subscribe(filter)
            } else {
                Change::Unsubscribe(filter)
            });
        }
    }

    /// Keeps a problem, the same one once.
    fn problem(&mut self, topic: &str, why: impl Into<String>, now_ms: i64) {
        let (topic, why) = (quoted(topic), why.into());
        let at = self
            .problems
            .iter()
            .position(|problem| problem.topic == topic && problem.why == why);
        let mut problem = match at.and_then(|at| self.problems.remove(at)) {
            Some(known) => known,
            None => Problem {
                topic,
                why,
                at_ms: now_ms,
                times: 0,
            },
        };
        problem.at_ms = now_ms;
        problem.times += 1;
        if self.problems.len() >= MAX_PROBLEMS {
            self.problems.pop_front();
        }
        self.problems.push_back(problem);
    }
}

/// The sooner of the moments at which something becomes so by itself.
fn deadline(live: &Live) -> Option<i64> {
    [live.expires_at_ms, live.off_at_ms].into_iter().flatten().min()
}

/// A moment as the state of what happens.
pub fn moment(now_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}
