//! What automations' own rows add to their states: when each last ran, and how many runs are under way.
//!
//! It is read when somebody asks, from the tables of the node where that is, and stands in no row of the bridge: a run is not to
//! cost the bridge a step.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jarvis_devices::View;
use jarvis_replica::api::Replica;
use jarvis_rules::facts::{EntityState, Facts, Group, Home};
use jarvis_rules::template;
use jarvis_types::EntityId;
use serde_json::Value;

use crate::automation::Head;
use crate::rows;
use crate::wire::decode;

/// How automations have run, each by its id. What cannot be read has not run.
pub(crate) trait Runs: Send + Sync {
    /// When a run of it last began, Unix milliseconds.
    fn last_triggered_ms(&self, id: &str) -> Option<i64>;

    /// How many runs of it are under way.
    fn current(&self, id: &str) -> usize;
}

/// The attributes of an automation that say how it has run.
pub(crate) fn attributes(last_triggered_ms: Option<i64>, current: usize) -> [(String, Value); 2] {
    let last = last_triggered_ms.map_or(Value::Null, template::moment);
    [
        ("last_triggered".to_owned(), last),
        ("current".to_owned(), current.into()),
    ]
}

/// As a node's tables have it.
pub(crate) struct InTables(pub(crate) Replica);

impl Runs for InTables {
    fn last_triggered_ms(&self, id: &str) -> Option<i64> {
        let tables = self.0.local().ok()?;
        let head = tables
            .query()
            .entity_row(&EntityId::automation(id), rows::HEAD.as_bytes());
        decode::<Head>(&head.ok()??).ok()?.last_triggered_ms
    }

    fn current(&self, id: &str) -> usize {
        let runs = self.0.local().ok().and_then(|tables| {
            let runs =
                tables
                    .query()
                    .entity_rows(&EntityId::automation(id), rows::RUN.as_bytes(), usize::MAX);
            runs.ok()
        });
        runs.map_or(0, |runs| runs.len())
    }
}

/// As the tables have it, but for the automation that is thought about right now: its rows tell of it later.
pub(crate) struct Own {
    id: String,
    /// When a run of it last began, and how many are under way.
    now: Mutex<(Option<i64>, usize)>,
    others: Box<dyn Runs>,
}

impl Own {
    /// Of the automation `id`: when a run of it last began, and how many are under way.
    pub(crate) fn new(id: String, now: (Option<i64>, usize), others: impl Runs + 'static) -> Self {
        Self {
            id,
            now: Mutex::new(now),
            others: Box::new(others),
        }
    }

    /// A run begins, Unix milliseconds; with it so many are under way.
    pub(crate) fn triggered(&self, at_ms: i64, current: usize) {
        *self.lock() = (Some(at_ms), current);
    }

    fn lock(&self) -> MutexGuard<'_, (Option<i64>, usize)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs for Own {
    fn last_triggered_ms(&self, id: &str) -> Option<i64> {
        if id == self.id {
            self.lock().0
        } else {
            self.others.last_triggered_ms(id)
        }
    }

    fn current(&self, id: &str) -> usize {
        if id == self.id {
            self.lock().1
        } else {
            self.others.current(id)
        }
    }
}

/// The home as templates see it.
pub(crate) struct WithRuns {
    view: View,
    runs: Arc<dyn Runs>,
}

impl WithRuns {
    /// Of what the bridge knows, and what automations do.
    pub(crate) fn new(view: View, runs: Arc<dyn Runs>) -> Self {
        Self { view, runs }
    }

    fn with(&self, entity: &str, state: Arc<EntityState>) -> Arc<EntityState> {
        let id = entity
            .starts_with("automation.")
            .then(|| state.attributes.get("id"));
        let Some(id) = id.flatten().and_then(Value::as_str) else {
            return state;
        };
        let ran = attributes(self.runs.last_triggered_ms(id), self.runs.current(id));
        let mut state = EntityState::clone(&state);
        state.attributes.extend(ran);
        Arc::new(state)
    }
}

impl std::fmt::Debug for WithRuns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view.fmt(f)
    }
}

impl Facts for WithRuns {
    fn now_ms(&self) -> i64 {
        self.view.now_ms()
    }

    fn home(&self) -> &Home {
        self.view.home()
    }

    fn entity(&self, id: &str) -> Option<Arc<EntityState>> {
        Some(self.with(id, self.view.entity(id)?))
    }

    fn entities(&self, domain: Option<&str>) -> Vec<(String, Arc<EntityState>)> {
        let all = self.view.entities(domain).into_iter();
        all.map(|(id, state)| {
            let state = self.with(&id, state);
            (id, state)
        })
        .collect()
    }

    fn members(&self, of: Group<'_>) -> Vec<String> {
        self.view.members(of)
    }
}
