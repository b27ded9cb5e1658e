//! Templates in Home Assistant's manner, by minijinja, with bounds on time, memory and output.

mod arguments;
mod cache;
mod error;
mod format;
mod functions;
mod guard;
mod limits;
mod literal;
mod numbers;
mod ops;
mod rewrite;
mod session;
mod states;
mod text;
mod time;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::cache::Cache;
pub use self::error::TemplateError;
pub use self::numbers::printed;
use self::session::{Root, Session};
pub use self::values::{moment, span, state, truthy};
use crate::facts::Facts;

/// Compiled templates. One is shared by all that render.
#[derive(Debug, Default)]
pub struct Templates {
    cache: Cache,
}

/// What a template came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// As text, without space around it.
    pub text: String,
    /// As what it looks like: number, truth value, nothing, list, mapping, else the text.
    pub value: Value,
    /// What it read.
    pub depends: Depends,
}

/// What a template's answer hangs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depends {
    /// These entities.
    pub entities: BTreeSet<String>,
    /// Which entities these domains have, and all their states.
    pub domains: BTreeSet<String>,
    /// All entities.
    pub all: bool,
    /// The time: it is looked at again every minute.
    pub now: bool,
}

impl Depends {
    /// Whether a change of that entity may change the answer.
    pub fn on(&self, entity: &str) -> bool {
        let domain = || entity.split_once('.').map_or("", |(domain, _)| domain);
        self.all || self.entities.contains(entity) || self.domains.contains(domain())
    }
}

impl Templates {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a template parses, and knows what it calls.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, template: &str) -> Result<(), TemplateError> {
        self.cache.get(template).map(drop)
    }

    /// Renders a template. Variables come before what templates know by themselves; values made by [`state`], [`moment`] and
    /// [`span`] are seen as states, times and durations.
    ///
    /// # Errors
    /// What is wrong with it, or the bound that it came to.
    pub fn render(
        &self,
        template: &str,
        facts: Arc<dyn Facts>,
        variables: &Map<String, Value>,
    ) -> Result<Rendered, TemplateError> {
        let compiled = self.cache.get(template)?;
        let session = Session::new(facts);
        let root = minijinja::Value::from_object(Root::new(Arc::clone(&session), variables));
        let text = compiled.render(root)?;
        let text = text.trim();
        Ok(Rendered {
            value: literal::native(text),
            text: text.to_owned(),
            depends: session.depends(),
        })
    }
}

#[cfg(test)]
mod callables;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
