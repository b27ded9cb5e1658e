//! What people say of their home: areas, labels, names, groups. It outlives the devices it is said of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{
    MAX_ALIASES, MAX_AREAS, MAX_ASSIGNMENTS, MAX_GROUP_MEMBERS, MAX_GROUPS, MAX_LABELS, MAX_NAME_BYTES,
};
use crate::text::{fold, nearest, slug};

/// A room or part of the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// `living_room`.
    pub id: String,
    /// `Living room`.
    pub name: String,
    /// Other names of it.
    pub aliases: Vec<String>,
}

/// Entities that are addressed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOf {
    /// `group.downstairs`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Entities, or other groups.
    pub members: Vec<String>,
}

/// What people say of an entity or a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Where it is, by area id.
    pub area: Option<String>,
    /// How it is labelled.
    pub labels: BTreeSet<String>,
    /// What it is called instead.
    pub name: Option<String>,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// Whether it takes part, instead of what discovery says.
    pub enabled: Option<bool>,
}

/// An entity or a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// By entity id.
    Entity(String),
    /// By device id.
    Device(String),
}

/// Why something that a person said of the home was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeopleError {
    /// It has no name.
    #[error("a name is missing")]
    NoName,
    /// It is too long.
    #[error("it is longer than {most} bytes")]
    TooLong {
        /// The bound.
        most: usize,
    },
    /// There are too many.
    #[error("there are {most} {what} already, no more are kept")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// There is no such area.
    #[error("there is no area \"{asked}\"{near}")]
    NoArea {
        /// What was asked for.
        asked: String,
        /// What may have been meant.
        near: String,
    },
    /// There is no such entity or device.
    #[error("there is no {asked}{near}")]
    NoThing {
        /// What was asked for.
        asked: String,
        /// What may have been meant.
        near: String,
    },
}

/// All that people said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct People {
    /// By id.
    pub areas: BTreeMap<String, Area>,
    /// By entity or device.
    pub assignments: BTreeMap<Thing, Assignment>,
    /// By id.
    pub groups: BTreeMap<String, GroupOf>,
}

/// `; did you mean X?`, or nothing.
pub(crate) fn meant(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

impl People {
    /// An area by its id, its name or another name of it.
    pub(crate) fn area(&self, asked: &str) -> Option<&Area> {
        if let Some(area) = self.areas.get(asked) {
            return Some(area);
        }
        let asked = fold(asked.trim());
        self.areas
            .values()
            .find(|area| fold(&area.name) == asked || area.aliases.iter().any(|alias| fold(alias) == asked))
    }

    /// The id of an area, or why there is none.
    pub(crate) fn area_id(&self, asked: &str) -> Result<String, PeopleError> {
        self.area(asked)
            .map(|area| area.id.clone())
            .ok_or_else(|| PeopleError::NoArea {
                asked: asked.to_owned(),
                near: meant(nearest(asked, self.areas.values().map(|area| area.name.as_str()))),
            })
    }

    /// Adds an area, or renames the one of that id.
    pub(crate) fn put_area(&mut self, name: &str, aliases: Vec<String>) -> Result<Area, PeopleError> {
        let name = fitting(name)?;
        let id = self
            .area(&name)
            .map_or_else(|| slug(&name), |area| area.id.clone());
        if !self.areas.contains_key(&id) && self.areas.len() >= MAX_AREAS {
            return Err(PeopleError::TooMany {
                what: "areas",
                most: MAX_AREAS,
            });
        }
        let area = Area {
            id: id.clone(),
            name,
            aliases: names(aliases)?,
        };
        self.areas.insert(id, area.clone());
        Ok(area)
    }

    /// Sets what is said of something; nothing takes it away.
    pub(crate) fn assign(&mut self, thing: Thing, said: Assignment) -> Result<(), PeopleError> {
        if said == Assignment::default() {
            self.assignments.remove(&thing);
            return Ok(());
        }
        if !self.assignments.contains_key(&thing) && self.assignments.len() >= MAX_ASSIGNMENTS {
            return Err(PeopleError::TooMany {
                what: "assignments",
                most: MAX_ASSIGNMENTS,
            });
        }
        if said.labels.len() > MAX_LABELS {
            return Err(PeopleError::TooMany {
                what: "labels",
                most: MAX_LABELS,
            });
        }
        let said = Assignment {
            area: said.area.map(|area| self.area_id(&area)).transpose()?,
            labels: said
                .labels
                .iter()
                .map(|label| fitting(label))
                .collect::<Result<_, _>>()?,
            name: said.name.map(|name| fitting(&name)).transpose()?,
            aliases: names(said.aliases)?,
            enabled: said.enabled,
        };
        self.assignments.insert(thing, said);
        Ok(())
    }

    /// Sets a group's members; none takes it away.
    pub(crate) fn put_group(&mut self, name: &str, members: Vec<String>) -> Result<String, PeopleError> {
        let name = fitting(name.strip_prefix("group.").unwrap_or(name))?;
        let id = format!("group.{}", slug(&name));
        if members.is_empty() {
            self.groups.remove(&id);
            return Ok(id);
        }
        if members.len() > MAX_GROUP_MEMBERS {
            return Err(PeopleError::TooMany {
                what: "members of a group",
                most: MAX_GROUP_MEMBERS,
            });
        }
        if !self.groups.contains_key(&id) && self.groups.len() >= MAX_GROUPS {
            return Err(PeopleError::TooMany {
                what: "groups",
                most: MAX_GROUPS,
            });
        }
        let members = members
            .iter()
            .map(|member| fitting(member))
            .collect::<Result<_, _>>()?;
        self.groups.insert(
            id.clone(),
            GroupOf {
                id: id.clone(),
                name,
                members,
            },
        );
        Ok(id)
    }

    /// What is said of an entity.
    pub(crate) fn of_entity(&self, id: &str) -> Option<&Assignment> {
        self.assignments.get(&Thing::Entity(id.to_owned()))
    }

    /// What is said of a device.
    pub(crate) fn of_device(&self, id: &str) -> Option<&Assignment> {
        self.assignments.get(&Thing::Device(id.to_owned()))
    }
}

fn fitting(name: &str) -> Result<String, PeopleError> {
    let name = name.trim();
    match name.len() {
        0 => Err(PeopleError::NoName),
        1..=MAX_NAME_BYTES => Ok(name.to_owned()),
        _ => Err(PeopleError::TooLong { most: MAX_NAME_BYTES }),
    }
}

fn names(all: Vec<String>) -> Result<Vec<String>, PeopleError> {
    if all.len() > MAX_ALIASES {
        return Err(PeopleError::TooMany {
            what: "aliases",
            most: MAX_ALIASES,
        });
    }
    all.iter().map(|name| fitting(name)).collect()
}
