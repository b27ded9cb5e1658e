//! All automations, as they were loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jarvis_rules::model::Automation;
use jarvis_rules::program::Program;
use serde::{Deserialize, Serialize};

/// An automation as the cluster keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    /// What it says.
    pub automation: Automation,
    /// Whether it is switched on.
    pub enabled: bool,
    /// When what it does was last changed, Unix milliseconds: its triggers are watched from then on.
    pub loaded_ms: i64,
    #[serde(skip)]
    program: OnceLock<Arc<Program>>,
}

impl Definition {
    /// As it was loaded.
    pub fn new(automation: Automation, enabled: bool, loaded_ms: i64) -> Self {
        Self {
            automation,
            enabled,
            loaded_ms,
            program: OnceLock::new(),
        }
    }

    /// What it does, compiled when it is first asked for.
    pub fn program(&self) -> &Arc<Program> {
        self.program
            .get_or_init(|| Arc::new(Program::compile(self.automation.clone())))
    }
}

/// All automations by id. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct Library {
    definitions: Arc<BTreeMap<String, Arc<Definition>>>,
}

impl Library {
    /// One of them.
    pub fn get(&self, id: &str) -> Option<&Arc<Definition>> {
        self.definitions.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<Definition>)> {
        self.definitions.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.definitions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    /// Puts one in, or takes it out.
    pub(crate) fn set(&mut self, id: &str, definition: Option<Definition>) {
        let definitions = Arc::make_mut(&mut self.definitions);
        match definition {
            Some(definition) => drop(definitions.insert(id.to_owned(), Arc::new(definition))),
            None => drop(definitions.remove(id)),
        }
    }
}
