//! `states`, `states.light`, `states.light.kitchen` as templates see them.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, State};

use super::arguments::Arguments;
use super::session::{Session, wrong};
use super::time::Moment;
use super::{limits, text, values};
use crate::facts::EntityState;

/// `states`.
pub(super) fn all(session: &Arc<Session>) -> Value {
    Value::from_object(All(Arc::clone(session)))
}

/// One entity, if it is known; noted as read whether or not it is.
pub(super) fn one(session: &Arc<Session>, id: &str) -> Option<Value> {
    session.read(|depends| {
        depends.entities.insert(id.to_owned());
    });
    let state = session.facts.entity(id)?;
    Some(Value::from_object(One {
        session: Arc::clone(session),
        id: id.to_owned(),
        state,
    }))
}

/// Several that were listed: what they hang on was noted when they were.
fn several(session: &Arc<Session>, domain: Option<&str>) -> Enumerator {
    session.read(|depends| match domain {
        Some(domain) => {
            depends.domains.insert(domain.to_owned());
        }
        None => depends.all = true,
    });
    let entities = session.facts.entities(domain);
    if session.spend(entities.len()).is_err() {
        return Enumerator::Values(vec![Value::from(wrong(
            "it reads and makes more than a template may",
        ))]);
    }
    let one = |(id, state)| {
        Value::from_object(One {
            session: Arc::clone(session),
            id,
            state,
        })
    };
    Enumerator::Values(entities.into_iter().take(limits::ITEMS).map(one).collect())
}

struct All(Arc<Session>);

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<all states>")
    }
}

impl Object for All {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        if key.contains('.') {
            return Some(one(&self.0, key).unwrap_or(Value::from(())));
        }
        Some(Value::from_object(Domain {
            session: Arc::clone(&self.0),
            domain: key.to_owned(),
        }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        several(&self.0, None)
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let args = Arguments::of(args)?;
        let id = entity_id(args.first("entity_id")?)?;
        let with_unit = args.is("with_unit", 2);
        self.0.spend(1)?;
        let Some(state) = one(&self.0, &id) else {
            return Ok(Value::from("unknown"));
        };
        let key = if with_unit { "state_with_unit" } else { "state" };
        Ok(state.get_attr(key).unwrap_or_default())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<all states>")
    }
}

struct Domain {
    session: Arc<Session>,
    domain: String,
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<states of {}>", self.domain)
    }
}

impl Object for Domain {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        // Of one that is not known there is nothing, and nothing has no attributes: `states.light.nobody.state` is not defined.
        let state = one(&self.session, &format!("{}.{key}", self.domain));
        Some(state.unwrap_or(Value::from(())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        several(&self.session, Some(&self.domain))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<states of {}>", self.domain)
    }
}

/// One entity's state.
pub(super) struct One {
    session: Arc<Session>,
    /// Its id.
    pub(super) id: String,
    /// What is known of it.
    pub(super) state: Arc<EntityState>,
}

impl fmt::Debug for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<state {}={}>", self.id, self.state.state)
    }
}

impl Object for One {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let (domain, object) = self.id.split_once('.').unwrap_or(("", &self.id));
        let attribute = |name: &str| {
            self.state
                .attributes
                .get(name)
                .and_then(serde_json::Value::as_str)
        };
        let moment = |ms| Some(Moment::utc_of_ms(ms).into_value());
        Some(match key {
            "entity_id" => Value::from(self.id.as_str()),
            "domain" => Value::from(domain),
            "object_id" => Value::from(object),
            "name" => match attribute("friendly_name") {
                Some(name) => Value::from(name),
                None => Value::from(object.replace('_', " ")),
            },
            "state" => Value::from(self.state.state.as_str()),
            "state_with_unit" => match attribute("unit_of_measurement") {
                Some(unit) => Value::from(format!("{} {unit}", self.state.state)),
                None => Value::from(self.state.state.as_str()),
            },
            "attributes" => Value::from_object(Attributes(Arc::clone(self))),
            "last_changed" => return moment(self.state.last_changed_ms),
            "last_updated" | "last_reported" => return moment(self.state.last_updated_ms),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<state {}={}>", self.id, self.state.state)
    }
}

struct Attributes(Arc<One>);

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<attributes>")
    }
}

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.0.state.attributes.get(key.as_str()?)?;
        Some(values::to_template(value, &self.0.session))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.0.state.attributes.keys();
        Enumerator::Values(names.map(|name| Value::from(name.as_str())).collect())
    }
}

/// An entity's id, as it is kept.
pub(super) fn entity_id(value: &Value) -> Result<String, Error> {
    if let Some(one) = value.downcast_object_ref::<One>() {
        return Ok(one.id.clone());
    }
    if let Some(id) = value.as_str() {
        return Ok(id.trim().to_lowercase());
    }
    // `this` and `trigger.to_state` are mappings that know their id.
    match value.get_attr("entity_id") {
        Ok(id) if id.as_str().is_some() => entity_id(&id),
        _ => Err(wrong(format!(
            "an entity's id was asked for, as `'light.kitchen'`, and got {}",
            text::kind(value)
        ))),
    }
}
