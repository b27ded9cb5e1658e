//! Templates of discovery: what a payload comes to, and what a command's payload is made of.
//!
//! Nearly all of them pick one value out of JSON (`{{ value_json.temperature }}`); those are not rendered but read. The rest
//! goes to [`jarvis_rules::template`].

mod quick;

use std::cell::OnceCell;
use std::sync::Arc;

use jarvis_rules::facts::Facts;
use jarvis_rules::template::{Templates, state};
use serde_json::{Map, Value};

use crate::limits::{MAX_TEMPLATE_BYTES, MAX_WHY_CHARS};
use crate::text::{printed, quoted};
use quick::Quick;

/// A template that was seen to parse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    source: String,
    quick: Option<Quick>,
    /// Whether it may ask for `this`, which is not worth making for those that do not.
    asks_this: bool,
}

/// What templates are rendered with.
#[derive(Clone)]
pub(crate) struct Engine<'e> {
    /// The compiled ones.
    pub(crate) templates: &'e Templates,
    /// What they may ask.
    pub(crate) facts: &'e dyn Fn() -> Arc<dyn Facts>,
}

/// A payload, and the JSON that it may be, which is read once for all entities that hear it.
pub(crate) struct Payload<'p> {
    /// As it came.
    pub(crate) text: &'p str,
    json: OnceCell<Option<Value>>,
}

impl<'p> Payload<'p> {
    /// Of a text.
    pub(crate) fn new(text: &'p str) -> Self {
        Self {
            text,
            json: OnceCell::new(),
        }
    }

    /// The JSON that it is.
    pub(crate) fn json(&self) -> Option<&Value> {
        self.json
            .get_or_init(|| serde_json::from_str(self.text).ok())
            .as_ref()
    }
}

impl Template {
    /// Of its source.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(source: &str, templates: &Templates) -> Result<Self, String> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("a template is longer than {MAX_TEMPLATE_BYTES} bytes"));
        }
        let quick = Quick::parse(source);
        if quick.is_none() {
            templates.check(source).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            source: source.to_owned(),
            quick,
            asks_this: source.contains("this"),
        })
    }

    /// What a payload comes to. None: there is nothing where the value is picked, which prints as an empty text.
    ///
    /// # Errors
    /// Why the template fails.
    pub(crate) fn value(
        &self,
        payload: &Payload<'_>,
        of: &Map<String, Value>,
        engine: &Engine<'_>,
    ) -> Result<Option<String>, String> {
        match &self.quick {
            Some(Quick::Value) => Ok(Some(payload.text.to_owned())),
            Some(Quick::Path(steps)) => {
                let json = payload
                    .json()
                    .ok_or_else(|| self.fails("the payload is not JSON"))?;
                let found = quick::walk(json, steps).map_err(|why| self.fails(&why))?;
                Ok(found.map(printed))
            }
            None => {
                let mut variables = of.clone();
                variables.insert("value".to_owned(), Value::from(payload.text));
                if let Some(json) = payload.json() {
                    variables.insert("value_json".to_owned(), json.clone());
                }
                self.render(variables, engine)
                    .map(Some)
                    .map_err(|why| self.fails(&why))
            }
        }
    }

    fn fails(&self, why: &str) -> String {
        let why: String = why.chars().take(MAX_WHY_CHARS).collect();
        format!("its template \"{}\" fails: {why}", quoted(&self.source))
    }

    /// A command's payload.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(crate) fn command(
        &self,
        variables: &Map<String, Value>,
        engine: &Engine<'_>,
    ) -> Result<String, String> {
        match &self.quick {
            Some(Quick::Value) => Ok(variables.get("value").map(printed).unwrap_or_default()),
            _ => self.render(variables.clone(), engine),
        }
    }

    /// Renders it. The entity's own state, where it is asked for, is the one that the facts have of `entity_id`.
    fn render(&self, mut variables: Map<String, Value>, engine: &Engine<'_>) -> Result<String, String> {
        let facts = (engine.facts)();
        let own = variables.get("entity_id").and_then(Value::as_str);
        if let (true, Some(id)) = (self.asks_this, own)
            && let Some(shown) = facts.entity(id)
        {
            let this = state(id, &shown);
            variables.insert("this".to_owned(), this);
        }
        engine
            .templates
            .render(&self.source, facts, &variables)
            .map(|rendered| rendered.text)
            .map_err(|error| error.to_string())
    }
}
