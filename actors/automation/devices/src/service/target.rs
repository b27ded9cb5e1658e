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
    /// Those that were meant but are not there.
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

    /// The entities that are meant, of one kind or of all.
    pub(super) fn resolve(
        &self,
        service: &str,
        component: Option<Component>,
        view: &View,
    ) -> Result<Reached, CallError> {
        if self.is_empty() {
            return Err(CallError::NoTarget {
                service: service.to_owned(),
            });
        }
        let mut out = Reached::default();
        let mut seen = BTreeSet::new();
        for id in &self.entity_id {
            if id == "all" {
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
            let Some(entity) = view.described(id) else {
                let all: Vec<String> = view
                    .all_described()
                    .iter()
                    .map(|entity| entity.id.clone())
                    .collect();
                let near = nearest(id, all.iter().map(String::as_str));
                return Err(CallError::UnknownTarget {
                    kind: "entity",
                    asked: quoted(id),
                    near: meant(near),
                });
            };
            if !fits(id, component) {
                return Err(unfit(id, service, table::offers(entity.component)));
            }
            out.named.insert(id.clone());
            if seen.insert(id.clone()) {
                out.ids.push(id.clone());
            }
        }
        for (kind, ids) in [
            ("device", &self.device_id),
            ("area", &self.area_id),
            ("label", &self.label_id),
        ] {
            for asked in ids {
                let members = members(kind, asked, view)?;
                // What is set up once is not switched along with its room.
                let ordinary = members.into_iter().filter(|id| {
                    let described = view.described(id);
                    fits(id, component)
                        && described.is_some_and(|entity| entity.config.get("entity_category").is_none())
                });
                out.ids.extend(ordinary.filter(|id| seen.insert(id.clone())));
            }
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

fn members(kind: &'static str, asked: &str, view: &View) -> Result<Vec<String>, CallError> {
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
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(split(text)),
        Value::Array(items) if items.len() <= MAX_TARGETS => {
            let all: Option<Vec<Vec<String>>> = items.iter().map(|item| item.as_str().map(split)).collect();
            Ok(all.ok_or_else(wrong)?.into_iter().flatten().collect())
        }
        _ => Err(wrong()),
    }
}
