//! A configuration as written: sections of keys, each with the place where it stands, environment over file.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::problem::{Origin, Problem};

/// Sections that stand once.
pub(crate) const SECTIONS: [&str; 9] = [
    "node",
    "mesh",
    "raft",
    "limits",
    "log",
    "home",
    "session",
    "mqtt",
    "automation",
];
/// Sections that may be repeated, `[[responder]]`.
pub(crate) const LISTS: [&str; 1] = ["responder"];
/// Most entries of a repeated section: more would be a mistake.
const MAX_LIST_LEN: usize = 32;
const ENV_PREFIX: &str = "JARVIS_";
const ENV_SEPARATOR: &str = "__";

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// From the environment: text that the reader takes as whatever type is asked for.
    Text(String),
    /// A string of a file.
    String(String),
    /// An integer of a file.
    Integer(i64),
    /// A number with a fraction of a file.
    Float(f64),
    /// A boolean of a file.
    Bool(bool),
    /// A list of strings of a file.
    Strings(Vec<String>),
    /// Something of a file that no setting is: its type.
    Other(&'static str),
}

impl Raw {
    fn from_toml(value: DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Raw::String(text.into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Other("an integer out of range"), Raw::Integer),
            DeValue::Float(number) => {
                let number = number.as_str().parse();
                number.map_or(Raw::Other("a number that cannot be read"), Raw::Float)
            }
            DeValue::Boolean(flag) => Raw::Bool(flag),
            DeValue::Array(array) => {
                let texts = array.into_iter().map(|element| match element.into_inner() {
                    DeValue::String(text) => Some(text.into_owned()),
                    _ => None,
                });
                texts.collect::<Option<_>>().map_or(
                    Raw::Other("a list with something else than strings"),
                    Raw::Strings,
                )
            }
            other => Raw::Other(other.type_str()),
        }
    }
}

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) raw: Raw,
    pub(crate) origin: Origin,
}

/// One section's keys.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) origin: Option<Origin>,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) sections: BTreeMap<&'static str, Section>,
    pub(crate) lists: BTreeMap<&'static str, Vec<Section>>,
    /// Names that are no section: the reader knows best which key may have been meant.
    pub(crate) strangers: Vec<(String, Origin)>,
    pub(crate) problems: Vec<Problem>,
}

impl Document {
    /// Takes over what a file says.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        let at = |offset: usize| Origin::File {
            path: path.to_owned(),
            line: text
                .get(..offset)
                .map_or(1, |before| before.bytes().filter(|b| *b == b'\n').count() + 1),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let origin = at(error.span().map_or(0, |span| span.start));
            let what = format!("not valid TOML: {}", error.message());
            self.problems.push(Problem {
                origin,
                key: String::new(),
                what,
            });
        }
        if !self.problems.is_empty() {
            return;
        }
        for (name, value) in table.into_inner() {
            let origin = at(name.span().start);
            let key = name.get_ref().to_string();
            let known = SECTIONS.iter().find(|s| **s == key);
            let known_list = LISTS.iter().find(|s| **s == key);
            match (known, known_list, value.into_inner()) {
                (Some(section), _, DeValue::Table(table)) => {
                    let entry = self.sections.entry(section).or_default();
                    entry.origin = Some(origin);
                    entry.fill(table, &at);
                }
                (Some(section), _, other) => self.problems.push(Problem {
                    origin,
                    key,
                    what: format!("expected a section [{section}], found {}", other.type_str()),
                }),
                (_, Some(list), DeValue::Array(array)) => {
                    for element in array {
                        let origin = at(element.span().start);
                        let DeValue::Table(table) = element.into_inner() else {
                            let what = format!("expected sections [[{list}]]");
                            self.problems.push(Problem {
                                origin,
                                key: key.clone(),
                                what,
                            });
                            continue;
                        };
                        let mut section = Section {
                            origin: Some(origin),
                            ..Section::default()
                        };
                        section.fill(table, &at);
                        self.lists.entry(list).or_default().push(section);
                    }
                }
                (_, Some(list), other) => self.problems.push(Problem {
                    origin,
                    key,
                    what: format!(
                        "expected sections [[{list}]] (two brackets), found {}",
                        other.type_str()
                    ),
                }),
                (None, None, _) => self.strangers.push((key, origin)),
            }
        }
    }

    /// Takes over variables of the form `JARVIS_SECTION__KEY` and `JARVIS_RESPONDER__0__KEY`; others are not settings.
    pub(crate) fn add_env(&mut self, vars: &[(String, String)]) {
        for (name, value) in vars {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Some((section, key)) = rest.split_once(ENV_SEPARATOR) else {
                continue;
            };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let origin = Origin::Env(name.clone());
            let item = Item {
                raw: Raw::Text(value.clone()),
                origin: origin.clone(),
            };
            if let Some(known) = SECTIONS.iter().find(|s| **s == section) {
                self.sections.entry(known).or_default().items.insert(key, item);
            } else if let Some(list) = LISTS.iter().find(|s| **s == section) {
                self.add_list_env(list, &key, item);
            } else {
                self.strangers.push((section, origin));
            }
        }
    }

    fn add_list_env(&mut self, list: &'static str, key: &str, item: Item) {
        let entries = self.lists.entry(list).or_default();
        let parsed = key
            .split_once(ENV_SEPARATOR)
            .and_then(|(n, key)| Some((n.parse::<usize>().ok()?, key)));
        match parsed {
            Some((index, key)) if index <= entries.len() && index < MAX_LIST_LEN => {
                if index == entries.len() {
                    entries.push(Section {
                        origin: Some(item.origin.clone()),
                        ..Section::default()
                    });
                }
                entries[index].items.insert(key.to_owned(), item);
            }
            _ => {
                let upper = list.to_uppercase();
                let what = format!(
                    "expected {ENV_PREFIX}{upper}__N__KEY with N from 0 to {}, without a gap",
                    entries.len().min(MAX_LIST_LEN - 1)
                );
                self.problems.push(Problem {
                    origin: item.origin,
                    key: list.to_owned(),
                    what,
                });
            }
        }
    }
}

impl Section {
    fn fill(&mut self, table: DeTable<'_>, at: &dyn Fn(usize) -> Origin) {
        for (name, value) in table {
            let origin = at(name.span().start);
            let item = Item {
                raw: Raw::from_toml(value.into_inner()),
                origin,
            };
            self.items.insert(name.get_ref().to_string(), item);
        }
    }
}
