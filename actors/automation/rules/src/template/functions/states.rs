//! States, their attributes, and who belongs to whom.

use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::numbers::read;
use super::super::session::{Session, wrong};
use super::super::states::{One, entity_id, one};
use super::super::{limits, ops};
use crate::earth::distance_m;
use crate::facts::Group;

fn attribute(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let id = entity_id(args.first("entity_id")?)?;
    let name = args.text("name", 1)?;
    let attributes = one(session, &id)
        .map(|state| state.get_attr("attributes"))
        .transpose()?;
    let value = attributes
        .map(|attributes| attributes.get_attr(name))
        .transpose()?;
    Ok(value
        .filter(|value| !value.is_undefined())
        .unwrap_or(Value::from(())))
}

/// `x | states`.
pub(super) fn states(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let id = entity_id(args.first("entity_id")?)?;
    match one(session, &id) {
        Some(state) => state.get_attr("state"),
        None => Ok(Value::from("unknown")),
    }
}

/// `state_attr(x, name)`: `None` where there is none.
pub(super) fn state_attr(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    attribute(session, args)
}

/// `is_state(x, state)`, or one of several states.
pub(super) fn is_state(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let id = entity_id(args.first("entity_id")?)?;
    let wanted = args.must("value", 1)?;
    let Some(state) = one(session, &id) else {
        return Ok(Value::from(false));
    };
    among(&state.get_attr("state")?, wanted, session)
}

/// `is_state_attr(x, name, value)`.
pub(super) fn is_state_attr(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let have = attribute(session, args)?;
    if have.is_none() {
        return Ok(Value::from(args.must("value", 2)?.is_none()));
    }
    Ok(Value::from(ops::same(&have, args.must("value", 2)?)))
}

fn among(have: &Value, wanted: &Value, session: &Session) -> Result<Value, Error> {
    let is = match wanted.kind() {
        ValueKind::Seq | ValueKind::Iterable => ops::list(wanted, session)?
            .iter()
            .any(|item| ops::same(have, item)),
        _ => ops::same(have, wanted),
    };
    Ok(Value::from(is))
}

/// `has_value(x)`: it is neither unknown nor unavailable.
pub(super) fn has_value(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let id = entity_id(args.first("entity_id")?)?;
    let Some(state) = one(session, &id) else {
        return Ok(Value::from(false));
    };
    let state = state.get_attr("state")?;
    Ok(Value::from(!matches!(
        state.as_str(),
        Some("unknown" | "unavailable")
    )))
}

/// `distance(x, y)` in kilometres: from the home to a place, or between two. A place is an entity that has one, or two
/// numbers, its latitude and longitude. `None` where one is not known.
pub(super) fn distance(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let home = session.facts.home();
    let mut places = Vec::new();
    let mut rest = args.ordered;
    while let Some((value, after)) = rest.split_first() {
        rest = after;
        let place = match (read(value), after.split_first()) {
            (Some(latitude), Some((longitude, after))) => {
                rest = after;
                read(longitude).map(|longitude| (latitude, longitude))
            }
            (Some(_), None) => return Err(wrong("`distance` takes a latitude together with a longitude")),
            (None, _) => place(session, value)?,
        };
        let Some(place) = place else {
            return Ok(Value::from(()));
        };
        places.push(place);
    }
    let metres = match places.as_slice() {
        [place] => distance_m((home.latitude, home.longitude), *place),
        [from, to] => distance_m(*from, *to),
        _ => return Err(wrong("`distance` takes one or two places")),
    };
    Ok(Value::from(metres / 1_000.0))
}

/// Where an entity is, if it says so.
fn place(session: &Arc<Session>, value: &Value) -> Result<Option<(f64, f64)>, Error> {
    let Some(state) = one(session, &entity_id(value)?) else {
        return Ok(None);
    };
    let attributes = state.get_attr("attributes")?;
    let degrees = |name: &str| -> Result<Option<f64>, Error> { Ok(read(&attributes.get_attr(name)?)) };
    Ok(degrees("latitude")?.zip(degrees("longitude")?))
}

/// `expand(x, …)`: states of entities, of groups' members and of lists of these, by id, each once.
pub(super) fn expand(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut pending: Vec<Value> = args.ordered.iter().rev().cloned().collect();
    let mut found = std::collections::BTreeMap::new();
    let mut looked = 0;
    while let Some(value) = pending.pop() {
        looked += 1;
        if looked > limits::ITEMS {
            return Err(wrong(format!(
                "`expand` comes to more than {} entities",
                limits::ITEMS
            )));
        }
        session.spend(8)?;
        let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
        if is_list && value.downcast_object_ref::<One>().is_none() {
            pending.extend(ops::list(&value, session)?.into_iter().rev());
            continue;
        }
        let id = entity_id(&value)?;
        let Some(state) = one(session, &id) else { continue };
        let members = state.get_attr("attributes")?.get_attr("entity_id")?;
        if members.kind() == ValueKind::Seq && !found.contains_key(&id) {
            // A group that holds itself is looked at once.
            found.insert(id, None);
            pending.extend(ops::list(&members, session)?);
        } else {
            found.entry(id).or_insert(Some(state));
        }
    }
    Ok(found.into_values().flatten().collect())
}

fn members(session: &Arc<Session>, group: Group<'_>) -> Result<Value, Error> {
    let members = session.facts.members(group);
    session.spend(members.len() * 32)?;
    Ok(members.into_iter().take(limits::ITEMS).map(Value::from).collect())
}

/// `area_entities(x)`.
pub(super) fn area_entities(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    members(session, Group::Area(args.text("area", 0)?))
}

/// `device_entities(x)`.
pub(super) fn device_entities(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    members(session, Group::Device(args.text("device", 0)?))
}

/// `label_entities(x)`.
pub(super) fn label_entities(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    members(session, Group::Label(args.text("label", 0)?))
}
