//! Calls of services, in every spelling, and what they are for.

use serde_json::Value;

use crate::load::data::{entity_id, no_data, plain_mapping};
use crate::load::limits;
use crate::load::reader::{Fields, Read, Reader, is_template, shorten};
use crate::model::{ActionKind, Data, EntityId};
use crate::yaml::Node;

/// What stands for things that a call is for.
const TARGETS: [&str; 4] = ["entity_id", "device_id", "area_id", "label_id"];

impl Reader<'_> {
    pub(super) fn call<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let own = [
            "action",
            "service",
            "service_template",
            "action_template",
            "data",
            "data_template",
            "target",
            "entity_id",
            "device_id",
            "area_id",
            "label_id",
            "response_variable",
            "metadata",
        ];
        let fields = self.of_action(node, "a call", &own)?;
        let names: Vec<_> = own[..4]
            .iter()
            .filter_map(|key| Some((*key, fields.get(key)?)))
            .collect();
        if let [_, (key, twice), ..] = names.as_slice() {
            let what = format!("`{key}` stands here a second time under another name");
            return Err(self.wrong(twice.position, what, "keep `action`"));
        }
        let [(key, name)] = names.as_slice() else {
            return Err(self.wrong(
                node.position,
                "`action` is missing",
                "write `action: light.turn_on`",
            ));
        };
        let service = self.below(key, |reader| reader.service(name))?;
        let mut data = match (fields.get("data"), fields.get("data_template")) {
            (Some(data), None) => self.below("data", |reader| reader.mapping(data))?,
            (None, Some(data)) => self.below("data_template", |reader| reader.mapping(data))?,
            (None, None) => no_data(),
            // Home Assistant takes both, and so does this: the older one comes second.
            (Some(data), Some(older)) => {
                let first = self.below("data", |reader| reader.mapping(data))?;
                let second = self.below("data_template", |reader| reader.mapping(older))?;
                self.joined(older, first, second)?
            }
        };
        let mut target = match fields.get("target") {
            Some(target) => self.below("target", |reader| reader.target(target))?,
            None => Vec::new(),
        };
        for key in TARGETS {
            if let Some(node) = fields.get(key) {
                let ids = self.below(key, |reader| reader.targets(key, node))?;
                target.push((key.to_owned(), ids));
            }
        }
        if let Some(inner) = fields.get("data").filter(|data| data.mapping().is_some()) {
            for key in TARGETS {
                if target.iter().any(|(known, _)| known == key) {
                    continue;
                }
                if let Some(node) = inner.get(key) {
                    let ids = self.below(&format!("data.{key}"), |reader| reader.targets(key, node))?;
                    target.push((key.to_owned(), ids));
                    data = without(data, key);
                }
            }
        }
        let target = match (fields.get("target"), target.is_empty()) {
            (Some(node), true) if node.mapping().is_none() && !node.is_null() => self.data(node)?,
            _ => plain_mapping(target),
        };
        let response_variable = fields.read(self, "response_variable", Self::variable)?;
        let kind = ActionKind::Call {
            service,
            target,
            data,
            response_variable,
        };
        Ok((fields, kind))
    }

    /// `light.turn_on`, or a template.
    pub(super) fn service(&mut self, node: &Node) -> Read<Data> {
        const WANTED: &str = "a service: `light.turn_on`";
        let text = self.text(node, WANTED)?;
        if is_template(&text) {
            return self.data(node);
        }
        match entity_id(&text) {
            Some(EntityId(service)) => Ok(Data::Plain(Value::String(service))),
            None => {
                let what = format!("`{}` is no service", shorten(&text));
                Err(self.wrong(node.position, what, format!("write {WANTED}")))
            }
        }
    }

    /// `target`, as pairs; a template that makes the whole of it gives none.
    pub(super) fn target(&mut self, node: &Node) -> Read<Vec<(String, Data)>> {
        if node.mapping().is_none() {
            self.mapping(node)?;
            return Ok(Vec::new());
        }
        if let Some(floor) = node.get("floor_id") {
            let instead = "write the `area_id`s of the floor";
            return Err(self.wrong(floor.position, "`floor_id` is not supported", instead));
        }
        let fields = self.fields(node, "a `target`", &TARGETS)?;
        let mut target = Vec::new();
        for key in TARGETS {
            if let Some(ids) = fields.read(self, key, |reader, node| reader.targets(key, node))? {
                target.push((key.to_owned(), ids));
            }
        }
        Ok(target)
    }

    /// What a call is for: a list of ids, or a template that makes one.
    pub(super) fn targets(&mut self, key: &str, node: &Node) -> Read<Data> {
        if let Some(scalar) = node.scalar()
            && (is_template(&scalar.text) || matches!(scalar.text.as_str(), "all" | "none"))
        {
            return self.data(node);
        }
        let lists = self.each(node, limits::ITEMS, "targets", |reader, item| {
            let text = reader.text(item, "an id")?;
            if is_template(&text) {
                return reader.data(item).map(|data| vec![data]);
            }
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            let mut ids = Vec::new();
            for part in parts {
                match (key, entity_id(part)) {
                    ("entity_id", Some(EntityId(id))) => ids.push(Data::Plain(Value::String(id))),
                    ("entity_id", None) => {
                        let what = format!("`{}` is no entity's id", shorten(part));
                        return Err(reader.wrong(item.position, what, "write `light.kitchen`"));
                    }
                    _ => ids.push(Data::Plain(Value::String(part.to_owned()))),
                }
            }
            Ok(ids)
        })?;
        let ids = lists.concat();
        if ids.iter().all(|id| matches!(id, Data::Plain(_))) {
            let plain = |id| match id {
                Data::Plain(value) => value,
                _ => Value::Null,
            };
            return Ok(Data::Plain(Value::Array(ids.into_iter().map(plain).collect())));
        }
        Ok(Data::List(ids))
    }

    pub(super) fn joined(&mut self, at: &Node, first: Data, second: Data) -> Read<Data> {
        let pairs = |data| match data {
            Data::Mapping(pairs) => Some(pairs),
            Data::Plain(Value::Object(map)) => Some(
                map.into_iter()
                    .map(|(key, value)| (key, Data::Plain(value)))
                    .collect(),
            ),
            _ => None,
        };
        match (pairs(first), pairs(second)) {
            (Some(mut all), Some(more)) => {
                all.retain(|(key, _)| !more.iter().any(|(other, _)| key == other));
                all.extend(more);
                Ok(plain_mapping(all))
            }
            _ => Err(self.wrong(
                at.position,
                "`data` and `data_template` cannot be joined",
                "keep `data`",
            )),
        }
    }

    pub(super) fn scene<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `scene`", &["scene", "metadata"])?;
        let scene = fields.must(self, "scene", "scene.evening")?;
        let id = self.below("scene", |reader| reader.entity(scene))?;
        let kind = ActionKind::Call {
            service: Data::Plain(Value::String("scene.turn_on".to_owned())),
            target: plain_mapping(vec![("entity_id".to_owned(), Data::Plain(vec![id.0].into()))]),
            data: no_data(),
            response_variable: None,
        };
        Ok((fields, kind))
    }
}

/// A mapping without one key.
fn without(data: Data, key: &str) -> Data {
    match data {
        Data::Mapping(mut pairs) => {
            pairs.retain(|(known, _)| known != key);
            plain_mapping(pairs)
        }
        Data::Plain(Value::Object(mut map)) => {
            map.remove(key);
            Data::Plain(Value::Object(map))
        }
        other => other,
    }
}
