//! One rendering: what it may ask, what it asked, and what it has spent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Error, ErrorKind, State};
use serde_json::Map;

use super::{Depends, limits, states, values};
use crate::facts::Facts;

/// A name that no template can write, under which functions find the session.
const NAME: &str = " session";

/// What lasts as long as one rendering.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) facts: Arc<dyn Facts>,
    depends: Mutex<Depends>,
    spent: AtomicU64,
    output: AtomicU64,
}

impl Session {
    pub(super) fn new(facts: Arc<dyn Facts>) -> Arc<Self> {
        Arc::new(Self {
            facts,
            depends: Mutex::default(),
            spent: AtomicU64::new(0),
            output: AtomicU64::new(0),
        })
    }

    /// The session that a function is called in.
    pub(super) fn of(state: &State<'_, '_>) -> Result<Arc<Self>, Error> {
        let found = state
            .lookup(NAME)
            .and_then(|value| value.downcast_object::<Handle>());
        match found {
            Some(handle) => Ok(Arc::clone(&handle.0)),
            None => Err(wrong("nothing is known here")),
        }
    }

    /// Counts work: bytes read or written, items touched.
    pub(super) fn spend(&self, work: usize) -> Result<(), Error> {
        let before = self.spent.fetch_add(work as u64 + 1, Ordering::Relaxed);
        if before + work as u64 > limits::WORK {
            return Err(wrong("it reads and makes more than a template may"));
        }
        Ok(())
    }

    /// Counts output, that which is captured too.
    pub(super) fn output(&self, bytes: usize) -> Result<(), Error> {
        let before = self.output.fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 > limits::TEXT as u64 {
            return Err(wrong(format!(
                "its output grows beyond {} KiB",
                limits::TEXT / 1024
            )));
        }
        Ok(())
    }

    /// Notes what the answer hangs on.
    pub(super) fn read(&self, note: impl FnOnce(&mut Depends)) {
        note(&mut self.depends.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it hung on.
    pub(super) fn depends(&self) -> Depends {
        self.depends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// An error in a sentence.
pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

struct Handle(Arc<Session>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("session")
    }
}

impl Object for Handle {}

/// What templates see at the top: variables, and `states`.
pub(super) struct Root {
    session: Arc<Session>,
    variables: BTreeMap<String, Value>,
}

impl Root {
    pub(super) fn new(session: Arc<Session>, variables: &Map<String, serde_json::Value>) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.clone(), values::to_template(value, &session)))
            .collect();
        Self { session, variables }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables")
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some(value) = self.variables.get(key) {
            return Some(value.clone());
        }
        match key {
            "states" => Some(states::all(&self.session)),
            NAME => Some(Value::from_object(Handle(Arc::clone(&self.session)))),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
