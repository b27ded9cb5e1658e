//! Templates of discovery: what a payload comes to, and what a command's payload is made of.
//!
//! Nearly all of them pick one value out of JSON (`{{ value_json.temperature }}`); those are not rendered but read. The rest
//! goes to [`jarvis_rules::template`].

mod quick;

use std::cell::OnceCell;
use std::sync::Arc;

use jarvis_rules::facts::Facts;
use jarvis_rules::template::Templates;
use serde_json::{Map, Value};

use crate::limits::MAX_TEMPLATE_BYTES;
use crate::text::printed;
use quick::Quick;

/// A template that was seen to parse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    source: String,
    quick: Option<Quick>,
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
        })
    }

    /// What a payload comes to. None: the template failed or found nothing, and the message says nothing to the entity.
    pub(crate) fn value(
        &self,
        payload: &Payload<'_>,
        of: &Map<String, Value>,
        engine: &Engine<'_>,
    ) -> Option<String> {
        match &self.quick {
            Some(Quick::Value) => Some(payload.text.to_owned()),
            Some(Quick::Path(steps)) => quick::walk(payload.json()?, steps).map(printed),
            None => {
                let mut variables = of.clone();
                variables.insert("value".to_owned(), Value::from(payload.text));
                if let Some(json) = payload.json() {
                    variables.insert("value_json".to_owned(), json.clone());
                }
                self.render(&variables, engine).ok()
            }
        }
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
            _ => self.render(variables, engine),
        }
    }

    fn render(&self, variables: &Map<String, Value>, engine: &Engine<'_>) -> Result<String, String> {
        engine
            .templates
            .render(&self.source, (engine.facts)(), variables)
            .map(|rendered| rendered.text)
            .map_err(|error| error.to_string())
    }
}
