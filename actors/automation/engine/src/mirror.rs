//! What the bridge knows, on every node: devices, states, automations, reminders, read from its rows as they are applied here.
//!
//! ```text
//!  bridge/home: version 17 ─► c/017 names the rows it wrote ─► read again, and no others
//! ```
//!
//! It is brought up to date by whoever looks, from the same tables: so an automation that was told of something sees at least
//! what the bridge knew when it told it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jarvis_devices::{Registry, Row, RowError, RowKey, Settings, View};
use jarvis_machine::query::Query;
use jarvis_machine::storage::StoreError;
use jarvis_replica::api::{ReadError, Replica};
use jarvis_rules::facts::Home;
use jarvis_rules::template::Templates;
use jarvis_types::EntityId;

use crate::library::{Definition, Library};
use crate::rows::{self, Written};
use crate::shown::{self, sun_of};
use crate::wire::{Reminder, decode};

/// What was seen at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Devices and states.
    pub view: View,
    /// Automations.
    pub library: Library,
    /// Reminders that wait, by id.
    pub reminders: Arc<BTreeMap<String, Reminder>>,
}

/// See the module.
pub struct Mirror {
    settings: Settings,
    templates: Arc<Templates>,
    home: Arc<Home>,
    known: Mutex<Known>,
}

struct Known {
    /// The version of the bridge that this is; none: nothing was read.
    version: Option<u64>,
    registry: Registry,
    library: Library,
    reminders: Arc<BTreeMap<String, Reminder>>,
    /// When the sun is to be looked at again, Unix milliseconds.
    sun_due_ms: Option<i64>,
}

impl Mirror {
    pub(crate) fn new(settings: Settings, templates: Arc<Templates>, home: Arc<Home>) -> Self {
        let registry = Registry::new(settings.clone(), Arc::clone(&templates), Arc::clone(&home));
        Self {
            settings,
            templates,
            home,
            known: Mutex::new(Known {
                version: None,
                registry,
                library: Library::default(),
                reminders: Arc::default(),
                sun_due_ms: None,
            }),
        }
    }

    /// What the bridge knows, as far as this node has applied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn see(&self, replica: &Replica, now_ms: i64) -> Result<Seen, ReadError> {
        let tables = replica.local()?;
        let query = tables.query();
        let mut known = self.lock();
        self.catch_up(&mut known, &query, now_ms)?;
        if known.sun_due_ms.is_none_or(|due_ms| due_ms <= now_ms) {
            let (state, next_ms) = sun_of(&self.home, now_ms);
            known.sun_due_ms = next_ms;
            known.registry.put_state("sun.sun", state, now_ms);
        }
        Ok(Seen {
            view: known.registry.view(now_ms),
            library: known.library.clone(),
            reminders: Arc::clone(&known.reminders),
        })
    }

    fn catch_up(&self, known: &mut Known, query: &Query<'_>, now_ms: i64) -> Result<(), StoreError> {
        let bridge = EntityId::bridge();
        let version = query.entity(&bridge)?.unwrap_or_default().version;
        match known.version {
            // Two that look at once may look at tables of different age.
            Some(had) if had >= version => return Ok(()),
            Some(had) => {
                if let Some(names) = written_since(query, had, version)? {
                    for name in names {
                        let value = query.entity_row(&bridge, name.as_bytes())?;
                        self.put(known, &name, value.as_deref(), now_ms);
                    }
                    known.version = Some(version);
                    return Ok(());
                }
            }
            None => {}
        }
        self.read_all(known, query, now_ms)?;
        known.version = Some(version);
        Ok(())
    }

    fn read_all(&self, known: &mut Known, query: &Query<'_>, now_ms: i64) -> Result<(), StoreError> {
        *known = Known {
            version: None,
            registry: Registry::new(
                self.settings.clone(),
                Arc::clone(&self.templates),
                Arc::clone(&self.home),
            ),
            library: Library::default(),
            reminders: Arc::default(),
            sun_due_ms: None,
        };
        let bridge = EntityId::bridge();
        for prefix in [rows::REGISTRY, rows::DEFINITION, rows::REMINDER] {
            let mut all = query.entity_rows(&bridge, prefix.as_bytes(), usize::MAX)?;
            all.sort_by_cached_key(|(name, _)| place(name));
            for (name, value) in all {
                let name = String::from_utf8_lossy(&name);
                self.put(known, &name, Some(&value), now_ms);
            }
        }
        Ok(())
    }

    /// Takes one row over. What does not decode is left out and told of: a newer build wrote it.
    fn put(&self, known: &mut Known, name: &str, value: Option<&[u8]>, now_ms: i64) {
        if let Some(key) = name.strip_prefix(rows::REGISTRY) {
            put_row(&mut known.registry, key, value, now_ms);
        } else if let Some(id) = name.strip_prefix(rows::DEFINITION) {
            match value.map(decode::<Definition>).transpose() {
                Ok(definition) => {
                    let before = known.library.get(id).cloned();
                    shown::show(
                        &mut known.registry,
                        before.as_deref(),
                        definition.as_ref(),
                        now_ms,
                    );
                    known.library.set(id, definition);
                }
                Err(error) => tracing::warn!(row = name, %error, "an automation is left out"),
            }
        } else if let Some(id) = name.strip_prefix(rows::REMINDER) {
            let reminders = Arc::make_mut(&mut known.reminders);
            match value.map(decode::<Reminder>).transpose() {
                Ok(Some(reminder)) => drop(reminders.insert(id.to_owned(), reminder)),
                Ok(None) => drop(reminders.remove(id)),
                Err(error) => tracing::warn!(row = name, %error, "a reminder is left out"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a row of the registry comes among all: in the order of the tables each finds what it hangs on.
pub(crate) fn place(name: &[u8]) -> Option<RowKey> {
    let name = std::str::from_utf8(name).ok()?.strip_prefix(rows::REGISTRY)?;
    RowKey::parse(name).ok()
}

/// Takes a row of the registry over. What is not understood is left out and told of: a newer build wrote it.
pub(crate) fn put_row(registry: &mut Registry, key: &str, value: Option<&[u8]>, now_ms: i64) {
    let mut put = || -> Result<(), RowError> {
        let row = value.map(Row::from_bytes).transpose()?;
        registry.put_row(&RowKey::parse(key)?, row, now_ms).map(drop)
    };
    put().unwrap_or_else(|error| tracing::warn!(row = key, %error, "a row of the registry is left out"));
}

/// The mirrored rows that versions after `had`, up to `version`, wrote; none: that is not known any more.
fn written_since(query: &Query<'_>, had: u64, version: u64) -> Result<Option<Vec<String>>, StoreError> {
    if version - had >= rows::WRITTEN_KEPT {
        return Ok(None);
    }
    let mut names = Vec::new();
    for one in had + 1..=version {
        let row = query.entity_row(&EntityId::bridge(), rows::written(one).as_bytes())?;
        let Some(Written {
            version,
            rows: Some(rows),
        }) = row.and_then(|row| decode(&row).ok())
        else {
            return Ok(None);
        };
        if version != one {
            return Ok(None);
        }
        names.extend(
            rows.into_iter()
                .filter(|name| !names.contains(name))
                .collect::<Vec<_>>(),
        );
    }
    Ok(Some(names))
}
