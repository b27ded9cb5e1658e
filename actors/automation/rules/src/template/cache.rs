//! Templates compiled once. Those that were used last are kept: when the younger half is full it becomes the older one, and
//! what nobody asked for since then is let go.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior};

use super::error::plain;
use super::session::{Session, wrong};
use super::{TemplateError, functions, guard, limits, rewrite, text};

/// The name that the one template of an environment has.
const NAME: &str = "template";

/// A template, ready to be rendered.
pub(super) struct Compiled {
    environment: Environment<'static>,
}

impl Compiled {
    pub(super) fn render(&self, root: Value) -> Result<String, TemplateError> {
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| plain(&error))?;
        template.render(root).map_err(|error| plain(&error))
    }
}

/// Those that are kept.
pub(super) struct Cache {
    base: Environment<'static>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    young: HashMap<String, Arc<Compiled>>,
    old: HashMap<String, Arc<Compiled>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl Default for Cache {
    fn default() -> Self {
        let mut base = Environment::empty();
        base.set_auto_escape_callback(|_| AutoEscape::None);
        base.set_undefined_behavior(UndefinedBehavior::Lenient);
        base.set_recursion_limit(limits::RECURSION);
        base.set_fuel(Some(limits::FUEL));
        base.set_formatter(write);
        functions::register(&mut base);
        Self {
            base,
            kept: Mutex::default(),
        }
    }
}

impl Cache {
    /// A template, compiled if it was not.
    pub(super) fn get(&self, source: &str) -> Result<Arc<Compiled>, TemplateError> {
        if let Some(compiled) = self.look(source) {
            return Ok(compiled);
        }
        let compiled = Arc::new(self.compile(source)?);
        self.keep(source, &compiled);
        Ok(compiled)
    }

    fn look(&self, source: &str) -> Option<Arc<Compiled>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = kept.young.get(source) {
            return Some(Arc::clone(compiled));
        }
        let (source, compiled) = kept.old.remove_entry(source)?;
        kept.young.insert(source, Arc::clone(&compiled));
        Some(compiled)
    }

    fn keep(&self, source: &str, compiled: &Arc<Compiled>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.young.len() >= limits::KEPT {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(source.to_owned(), Arc::clone(compiled));
    }

    fn compile(&self, source: &str) -> Result<Compiled, TemplateError> {
        // Space around it is not part of it, as in Home Assistant; lines are counted from where it was written.
        let trimmed = source.trim_end();
        guard::check(trimmed)?;
        let rewritten = rewrite::rewrite(trimmed)?;
        let mut environment = self.base.clone();
        environment
            .add_template_owned(NAME, rewritten)
            .map_err(|error| plain(&error))?;
        Ok(Compiled { environment })
    }
}

/// Writes a value into the output, counted.
fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let session = Session::of(state)?;
    let text = text::text(value, &session)?;
    session.output(text.len())?;
    out.write_str(&text)
        .map_err(|_| wrong("its output grows too long"))
}

#[cfg(test)]
impl Cache {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.young.len() + kept.old.len()
    }
}
