//! What a call is for: entities, devices, areas, labels, groups, or all.

use std::collections::BTreeSet;

use jarvis_rules::facts::{Facts, Group};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CallError, table, unfit, wrong_data};
use crate::component::Component;
use crate::limits::MAX_TARGETS;
use crate::registry::{View, meant};
use crate::text::{nearest, quoted};

/// For so many of what is not there it is looked up what may have been meant, which takes a look at all that is.
const HINTS: usize = 8;

/// What a call is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Entities or groups by id; `all` for all that can do it.
    pub entity_id: Vec<String>,
    /// Devices, by id.
    pub device_id: Vec<String>,
    /// Areas, by id or name.
    pub area_id: Vec<String>,
    /// Labels, by id or name.
    pub label_id: Vec<String>,
}

/// Entities that are to do it.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// In order, each once.
    pub ids: Vec<String>,
    /// Those that were named themselves.
    pub named: BTreeSet<String>,
    /// Those that were meant but are not there or cannot do it.
    pub passed_over: Vec<(String, String)>,
}

impl Target {
    /// One entity.
    pub fn entity(id: impl Into<String>) -> Self {
        Self {
            entity_id: vec![id.into()],
            ..Self::default()
        }
    }

    /// Several entities.
    pub fn entities(ids: impl IntoIterator<Item = String>) -> Self {
        Self {
            entity_id: ids.into_iter().collect(),
            ..Self::default()
        }
    }

    /// One area.
    pub fn area(id: impl Into<String>) -> Self {
        Self {
            area_id: vec![id.into()],
            ..Self::default()
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.entity_id.is_empty()
            && self.device_id.is_empty()
            && self.area_id.is_empty()
            && self.label_id.is_empty()
    }

    /// Of a mapping with `entity_id` and its like: one id, several with commas between, or a list.
    ///
    /// # Errors
    /// One of them is no text.
    pub fn of(said: &Map<String, Value>) -> Result<Self, CallError> {
        let mut target = Self::default();
        target.add(said)?;
        Ok(target)
    }

    fn add(&mut self, said: &Map<String, Value>) -> Result<(), CallError> {
        for (key, list) in [
            ("entity_id", &mut self.entity_id),
            ("device_id", &mut self.device_id),
            ("area_id", &mut self.area_id),
            ("label_id", &mut self.label_id),
        ] {
            let Some(value) = said.get(key) else { continue };
            let mut ids = texts(key, value)?;
            ids.retain(|id| id != "none");
            list.append(&mut ids);
        }
        Ok(())
    }

    /// With what the data say of the target, and the data without it.
    pub(super) fn with(&self, data: &Map<String, Value>) -> Result<(Self, Map<String, Value>), CallError> {
        let mut target = self.clone();
        target.add(data)?;
        let mut data = data.clone();
        data.retain(|key, _| !matches!(key.as_str(), "entity_id" | "device_id" | "area_id" | "label_id"));
        Ok((target, data))
    }

    /// The entities that are meant and can do it. What is not there or cannot is passed over with the reason.
    ///
    /// # Errors
    /// Nothing of the target is there and can do it: what is wrong with the first of it. Or it reaches too far.
    pub(super) fn resolve(&self, asked: &Asked<'_>, view: &View) -> Result<Reached, CallError> {
        if self.is_empty() {
            return Err(CallError::NoTarget {
                service: asked.service.to_owned(),
            });
        }
        let component = asked.component;
        let mut out = Reached::default();
        let mut seen = BTreeSet::new();
        let mut refused: Vec<(&str, CallError)> = Vec::new();
        let mut found = false;
        for id in &self.entity_id {
            if id == "all" {
                found = true;
                let all = view
                    .all_described()
                    .into_iter()
                    .filter(|entity| component.is_none_or(|c| c == entity.component));
                out.ids.extend(
                    all.map(|entity| entity.id.clone())
                        .filter(|id| seen.insert(id.clone())),
                );
                continue;
            }
            if let Some(members) = view.group_members(id) {
                found = true;
                for member in members {
                    if view.described(&member).is_none() {
                        out.passed_over
                            .push((member, format!("it is a member of {id} and does not exist")));
                    } else if fits(&member, component) && seen.insert(member.clone()) {
                        out.ids.push(member);
                    }
                }
                continue;
            }
            if !out.named.insert(id.clone()) {
                continue;
            }
            match asked.refusal(id, view, refused.len() < HINTS) {
                Some(why) => refused.push((id, why)),
                None => {
                    found = true;
                    if seen.insert(id.clone()) {
                        out.ids.push(id.clone());
                    }
                }
            }
        }
        for (kind, ids) in [
            ("device", &self.device_id),
            ("area", &self.area_id),
            ("label", &self.label_id),
        ] {
            // Each takes a look at all that is.
            let mut looked = BTreeSet::new();
            for asked in ids.iter().filter(|id| looked.insert(*id)) {
                let members = match members(kind, asked, view, refused.len() < HINTS) {
                    Ok(members) => members,
                    Err(why) => {
                        refused.push((asked, why));
                        continue;
                    }
                };
                found = true;
                // What is set up once is not switched along with its room.
                let ordinary = members.into_iter().filter(|id| {
                    let described = view.described(id);
                    fits(id, component)
                        && described.is_some_and(|entity| entity.config.get("entity_category").is_none())
                });
                out.ids.extend(ordinary.filter(|id| seen.insert(id.clone())));
            }
        }
        let reasons = refused.iter().map(|(id, why)| (quoted(id), why.to_string()));
        out.passed_over.extend(reasons);
        if let (false, Some((_, first))) = (found, refused.into_iter().next()) {
            return Err(first);
        }
        if out.ids.len() > MAX_TARGETS {
            return Err(CallError::TooMany {
                count: out.ids.len(),
                most: MAX_TARGETS,
            });
        }
        Ok(out)
    }
}

/// A service as it was called.
pub(super) struct Asked<'c> {
    /// In full.
    pub service: &'c str,
    /// For which kind of entity; none: for all that have it.
    pub component: Option<Component>,
    /// What it does.
    pub name: &'c str,
}

impl Asked<'_> {
    /// Why an entity that is named cannot do it; none: it can. With what may have been meant, if that is to be looked for.
    fn refusal(&self, id: &str, view: &View, hint: bool) -> Option<CallError> {
        let Some(entity) = view.described(id) else {
            let all = if hint { view.all_described() } else { Vec::new() };
            let near = nearest(id, all.iter().map(|entity| entity.id.as_str()));
            return Some(CallError::UnknownTarget {
                kind: "entity",
                asked: quoted(id),
                near: meant(near),
            });
        };
        let of = entity.component;
        match self.component {
            None if table::general(of, self.name).is_none() => {
                let why = format!("{}; {}", no_switch(of), table::offers(of));
                Some(unfit(id, self.service, why))
            }
            Some(component) if component != of => Some(unfit(id, self.service, table::offers(of))),
            _ => None,
        }
    }
}

/// What is said of a kind of entity that does not have `turn_on` and its like.
pub(super) fn no_switch(component: Component) -> String {
    format!("a {} cannot be switched", component.name())
}

fn members(kind: &'static str, asked: &str, view: &View, hint: bool) -> Result<Vec<String>, CallError> {
    let group = match kind {
        "device" => Group::Device(asked),
        "area" => Group::Area(asked),
        _ => Group::Label(asked),
    };
    let members = view.members(group);
    let known = match kind {
        "device" => view.device(asked).is_some(),
        "area" => view.area(asked).is_some() || !members.is_empty(),
        _ => !members.is_empty(),
    };
    if known {
        return Ok(members);
    }
    let all: Vec<&str> = match kind {
        _ if !hint => Vec::new(),
        "device" => view.devices().map(|device| device.id.as_str()).collect(),
        "area" => view.areas().map(|area| area.id.as_str()).collect(),
        _ => Vec::new(),
    };
    Err(CallError::UnknownTarget {
        kind,
        asked: quoted(asked),
        near: meant(nearest(asked, all)),
    })
}

fn fits(id: &str, component: Option<Component>) -> bool {
    component.is_none() || Component::of_entity(id) == component
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, CallError> {
    let split = |text: &str| -> Vec<String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let wrong = || wrong_data(key, "an id, or a list of ids".to_owned());
    let ids: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => split(text),
        Value::Array(items) if items.len() <= MAX_TARGETS => {
            let all: Option<Vec<Vec<String>>> = items.iter().map(|item| item.as_str().map(split)).collect();
            all.ok_or_else(wrong)?.into_iter().flatten().collect()
        }
        _ => return Err(wrong()),
    };
    if ids.len() > MAX_TARGETS {
        return Err(CallError::TooMany {
            count: ids.len(),
            most: MAX_TARGETS,
        });
    }
    Ok(ids)
}
