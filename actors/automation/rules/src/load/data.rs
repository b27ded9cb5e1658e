//! Values, templates, entity ids, variables.

use serde_json::{Map, Value};

use super::limits;
use super::reader::{Read, Reader, is_template, refused, shorten};
use crate::model::{Data, EntityId, Template};
use crate::yaml::{Content, Entry, Node};

impl Reader<'_> {
    /// Anything; templates may stand in it at any depth.
    pub(super) fn data(&mut self, node: &Node) -> Read<Data> {
        refused(node)?;
        match &node.content {
            Content::Scalar(scalar) if is_template(&scalar.text) => {
                self.check(node, scalar)?;
                Ok(Data::Template(Template(scalar.text.clone())))
            }
            Content::Scalar(scalar) => Ok(Data::Plain(scalar.value())),
            Content::List(_) => {
                let items = self.each(node, usize::MAX, "items", |reader, item| reader.data(item))?;
                if items.iter().all(|item| matches!(item, Data::Plain(_))) {
                    let plain = |item| match item {
                        Data::Plain(value) => value,
                        _ => Value::Null,
                    };
                    return Ok(Data::Plain(Value::Array(items.into_iter().map(plain).collect())));
                }
                Ok(Data::List(items))
            }
            Content::Mapping(entries) => {
                let mapping = self.pairs(entries)?;
                Ok(plain_mapping(mapping))
            }
            Content::Refused { .. } => Ok(Data::Plain(Value::Null)),
        }
    }

    /// The pairs of a mapping, in the order in which they were written.
    pub(super) fn pairs(&mut self, entries: &[Entry]) -> Read<Vec<(String, Data)>> {
        let mut all = Ok(Vec::with_capacity(entries.len()));
        for entry in entries {
            let read = if is_template(&entry.key) {
                Err(self.wrong(
                    entry.position,
                    "no template may stand in a key",
                    "make the whole mapping of one template",
                ))
            } else {
                self.below(&shorten(&entry.key), |reader| reader.data(&entry.value))
            };
            match (read, &mut all) {
                (Ok(data), Ok(all)) => all.push((entry.key.clone(), data)),
                (Ok(_), Err(_)) => {}
                (Err(told), _) => all = Err(told),
            }
        }
        all
    }

    /// A mapping, or a template that makes one.
    pub(super) fn mapping(&mut self, node: &Node) -> Read<Data> {
        refused(node)?;
        match &node.content {
            Content::Mapping(_) => self.data(node),
            Content::Scalar(scalar) if is_template(&scalar.text) => self.data(node),
            _ if node.is_null() => Ok(no_data()),
            _ => {
                let what = format!("this is {}", node.kind());
                Err(self.wrong(
                    node.position,
                    what,
                    "write `key: value` lines, or a template that makes a mapping",
                ))
            }
        }
    }

    /// `variables`.
    pub(super) fn variables(&mut self, node: &Node) -> Read<Vec<(String, Data)>> {
        let entries = self.entries(node, "`variables`")?;
        self.most(node.position, entries.len(), limits::VARIABLES, "variables")?;
        for entry in entries {
            if !is_name(&entry.key) {
                let what = format!("`{}` cannot be the name of a variable", shorten(&entry.key));
                return Err(self.wrong(
                    entry.position,
                    what,
                    "write letters, digits and `_`, a letter first",
                ));
            }
        }
        self.pairs(entries)
    }

    /// A template, whether or not anything in it is one: `value_template: "{{ … }}"`.
    pub(super) fn template(&mut self, node: &Node) -> Read<Template> {
        let scalar = self.scalar(node, "a template: `\"{{ … }}\"`")?;
        self.check(node, scalar)?;
        Ok(Template(scalar.text.clone()))
    }

    /// `light.kitchen`.
    pub(super) fn entity(&mut self, node: &Node) -> Read<EntityId> {
        const WANTED: &str = "an entity's id: `light.kitchen`";
        let text = self.plain(node, WANTED)?;
        match entity_id(&text) {
            Some(id) => Ok(id),
            None => {
                let what = format!("`{}` is no entity's id", shorten(&text));
                Err(self.wrong(node.position, what, format!("write {WANTED}")))
            }
        }
    }

    /// One or several, as a list or with commas between them.
    pub(super) fn entities(&mut self, node: &Node) -> Read<Vec<EntityId>> {
        let lists = self.each(node, limits::ITEMS, "entities", |reader, item| {
            let Some(scalar) = item.scalar().filter(|scalar| scalar.text.contains(',')) else {
                return reader.entity(item).map(|id| vec![id]);
            };
            let parts = scalar
                .text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            let mut ids = Vec::new();
            for part in parts {
                match entity_id(part) {
                    Some(id) => ids.push(id),
                    None => {
                        let what = format!("`{}` is no entity's id", shorten(part));
                        return Err(reader.wrong(item.position, what, "write `light.kitchen, light.hall`"));
                    }
                }
            }
            Ok(ids)
        })?;
        let ids = lists.concat();
        if ids.is_empty() {
            return Err(self.wrong(
                node.position,
                "no entity stands here",
                "write at least one entity's id",
            ));
        }
        self.most(node.position, ids.len(), limits::ITEMS, "entities")?;
        Ok(ids)
    }

    /// One or several texts, without templates.
    pub(super) fn texts(&mut self, node: &Node, wanted: &str) -> Read<Vec<String>> {
        self.each(node, limits::ITEMS, "values", |reader, item| {
            reader.plain(item, wanted)
        })
    }
}

/// A mapping, as plain data where no template stands in it.
pub(super) fn plain_mapping(mapping: Vec<(String, Data)>) -> Data {
    if mapping.iter().all(|(_, data)| matches!(data, Data::Plain(_))) {
        let plain = |(key, data)| match data {
            Data::Plain(value) => (key, value),
            _ => (key, Value::Null),
        };
        return Data::Plain(Value::Object(mapping.into_iter().map(plain).collect()));
    }
    Data::Mapping(mapping)
}

/// An empty mapping.
pub(super) fn no_data() -> Data {
    Data::Plain(Value::Object(Map::new()))
}

/// `domain.object`, in any case.
pub(super) fn entity_id(text: &str) -> Option<EntityId> {
    let text = text.trim().to_lowercase();
    let (domain, object) = text.split_once('.')?;
    let well = |part: &str| {
        !part.is_empty()
            && !part.starts_with('_')
            && !part.ends_with('_')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    (well(domain) && well(object) && text.len() <= limits::NAME * 2).then_some(EntityId(text))
}

/// A name that a template can call.
fn is_name(text: &str) -> bool {
    text.len() <= limits::NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
