//! Actions.

use serde_json::Value;

use super::data::{entity_id, no_data, plain_mapping};
use super::limits;
use super::reader::{Fields, Read, Reader, is_template, nearest, shorten};
use crate::model::{Action, ActionKind, Branch, Data, EntityId, Repeat, Until};
use crate::yaml::{Content, Node};

/// What every action may have.
const COMMON: [&str; 3] = ["alias", "enabled", "continue_on_error"];

/// The keys that say what an action is.
const KEYS: [&str; 16] = [
    "action",
    "service",
    "delay",
    "wait_template",
    "wait_for_trigger",
    "choose",
    "if",
    "repeat",
    "parallel",
    "sequence",
    "variables",
    "stop",
    "event",
    "condition",
    "scene",
    "data",
];

/// What stands for things that a call is for.
const TARGETS: [&str; 4] = ["entity_id", "device_id", "area_id", "label_id"];

impl Reader<'_> {
    /// A list of actions, or one.
    pub(super) fn actions(&mut self, node: &Node) -> Read<Vec<Action>> {
        self.each(node, limits::ACTIONS, "actions", Self::action)
    }

    /// One action, which may be a condition.
    fn action(&mut self, node: &Node) -> Read<Action> {
        self.actions += 1;
        self.nesting += 1;
        let read = if self.actions > limits::ACTIONS {
            let what = format!("the automation has more than {} actions", limits::ACTIONS);
            Err(self.wrong(node.position, what, "make several automations of it"))
        } else if self.nesting > limits::NESTING {
            let what = format!("this stands deeper in others than {}", limits::NESTING);
            Err(self.wrong(node.position, what, "make several automations of it"))
        } else {
            self.action_within(node)
        };
        self.nesting -= 1;
        read
    }

    fn action_within(&mut self, node: &Node) -> Read<Action> {
        if node.scalar().is_some_and(|scalar| !scalar.is_null()) {
            let condition = self.condition(node)?;
            return Ok(Action {
                alias: None,
                enabled: true,
                continue_on_error: false,
                position: node.position,
                kind: ActionKind::Condition(condition),
            });
        }
        let entries = self.entries(node, "an action")?;
        let has = |key: &str| entries.iter().any(|entry| entry.key == key);
        if has("condition") || has("and") || has("or") || has("not") {
            let condition = self.condition(node)?;
            return Ok(Action {
                alias: condition.alias.clone(),
                enabled: condition.enabled,
                continue_on_error: false,
                position: node.position,
                kind: ActionKind::Condition(condition),
            });
        }
        let (fields, kind) = if has("delay") {
            let fields = self.of_action(node, "a `delay`", &["delay"])?;
            let delay = fields.must(self, "delay", "\"00:00:30\"")?;
            (
                fields,
                ActionKind::Delay(self.below("delay", |reader| reader.span(delay))?),
            )
        } else if has("wait_template") {
            self.wait_template(node)?
        } else if has("wait_for_trigger") {
            self.wait_for_trigger(node)?
        } else if has("choose") {
            self.choose(node)?
        } else if has("if") {
            self.if_then(node)?
        } else if has("repeat") {
            self.repeat(node)?
        } else if has("parallel") {
            self.parallel(node)?
        } else if has("event") {
            self.event(node)?
        } else if has("stop") {
            self.stop(node)?
        } else if has("scene") {
            self.scene(node)?
        } else if has("action") || has("service") || has("service_template") || has("action_template") {
            self.call(node)?
        } else if has("sequence") {
            let fields = self.of_action(node, "a `sequence`", &["sequence"])?;
            let actions = fields.must(self, "sequence", "")?;
            let actions = self.below("sequence", |reader| reader.actions(actions))?;
            (fields, ActionKind::Sequence(actions))
        } else if has("variables") {
            let fields = self.of_action(node, "`variables`", &["variables"])?;
            let variables = fields.must(self, "variables", "")?;
            let variables = self.below("variables", |reader| reader.variables(variables))?;
            (fields, ActionKind::Variables(variables))
        } else {
            return Err(self.no_action(node));
        };
        Ok(Action {
            alias: fields.read(self, "alias", Self::alias)?,
            enabled: fields.read(self, "enabled", Self::truth)?.unwrap_or(true),
            continue_on_error: fields
                .read(self, "continue_on_error", Self::truth)?
                .unwrap_or(false),
            position: node.position,
            kind,
        })
    }

    fn no_action(&mut self, node: &Node) -> super::reader::Told {
        for (key, what, instead) in [
            (
                "device_id",
                "device actions are not supported",
                "write a call: `action: light.turn_on` with a `target`",
            ),
            (
                "set_conversation_response",
                "`set_conversation_response` is not supported",
                "write `action: jarvis.say` with a `message`",
            ),
            (
                "type",
                "device actions are not supported",
                "write a call: `action: light.turn_on`",
            ),
        ] {
            if let Some(found) = node.get(key) {
                return self.wrong(found.position, what, instead);
            }
        }
        let unknown = node
            .mapping()
            .unwrap_or_default()
            .iter()
            .find(|entry| !COMMON.contains(&entry.key.as_str()));
        match unknown {
            Some(entry) => {
                let what = format!("there is no action `{}`", shorten(&entry.key));
                self.wrong(entry.position, what, nearest(&entry.key, KEYS.into_iter()))
            }
            None => self.wrong(
                node.position,
                "nothing is to be done here",
                "write `action: light.turn_on`",
            ),
        }
    }

    fn of_action<'n>(&mut self, node: &'n Node, what: &str, own: &[&str]) -> Read<Fields<'n>> {
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        self.fields(node, what, &known)
    }

    fn call<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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
    fn service(&mut self, node: &Node) -> Read<Data> {
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
    fn target(&mut self, node: &Node) -> Read<Vec<(String, Data)>> {
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
    fn targets(&mut self, key: &str, node: &Node) -> Read<Data> {
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

    fn joined(&mut self, at: &Node, first: Data, second: Data) -> Read<Data> {
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

    fn scene<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    fn wait_template<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let own = ["wait_template", "timeout", "continue_on_timeout"];
        let fields = self.of_action(node, "a `wait_template`", &own)?;
        let template = fields.must(self, "wait_template", "\"{{ … }}\"")?;
        let kind = ActionKind::WaitTemplate {
            template: self.below("wait_template", |reader| reader.template(template))?,
            timeout: fields.read(self, "timeout", Self::span)?,
            continue_on_timeout: fields
                .read(self, "continue_on_timeout", Self::truth)?
                .unwrap_or(true),
        };
        Ok((fields, kind))
    }

    fn wait_for_trigger<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let own = ["wait_for_trigger", "timeout", "continue_on_timeout"];
        let fields = self.of_action(node, "a `wait_for_trigger`", &own)?;
        let triggers = fields.must(self, "wait_for_trigger", "")?;
        let triggers = self.below("wait_for_trigger", |reader| reader.triggers(triggers))?;
        if triggers.is_empty() {
            return Err(self.wrong(node.position, "nothing is waited for", "write a trigger"));
        }
        let kind = ActionKind::WaitForTrigger {
            triggers,
            timeout: fields.read(self, "timeout", Self::span)?,
            continue_on_timeout: fields
                .read(self, "continue_on_timeout", Self::truth)?
                .unwrap_or(true),
        };
        Ok((fields, kind))
    }

    fn choose<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `choose`", &["choose", "default"])?;
        let choose = fields.get("choose").unwrap_or(node);
        let branches = self.below("choose", |reader| {
            reader.each(choose, limits::BRANCHES, "branches", Self::branch)
        })?;
        let default = fields.read(self, "default", Self::actions)?.unwrap_or_default();
        Ok((fields, ActionKind::Choose { branches, default }))
    }

    fn branch(&mut self, node: &Node) -> Read<Branch> {
        let own = ["alias", "conditions", "condition", "sequence", "enabled"];
        // One condition may stand here with its fields, as it does in a list.
        let fields = self.fields(node, "a branch of `choose`", &own)?;
        let Some((key, conditions)) = fields.either(self, "conditions", "condition")? else {
            let instead = "write `conditions:` and below them `sequence:`";
            return Err(self.wrong(node.position, "`conditions` is missing", instead));
        };
        let conditions = self.below(key, |reader| reader.conditions(conditions))?;
        let sequence = match fields.get("sequence") {
            Some(sequence) => self.below("sequence", |reader| reader.actions(sequence))?,
            None => {
                let instead = "write what is done: `sequence:`";
                return Err(self.wrong(node.position, "`sequence` is missing", instead));
            }
        };
        let enabled = fields.read(self, "enabled", Self::truth)?.unwrap_or(true);
        let alias = fields.read(self, "alias", Self::alias)?;
        if !enabled {
            let instead = "leave the branch out, or switch its conditions off";
            return Err(self.wrong(node.position, "a branch cannot be switched off", instead));
        }
        Ok(Branch {
            alias,
            conditions,
            sequence,
        })
    }

    fn if_then<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "an `if`", &["if", "then", "else"])?;
        let conditions = fields.must(self, "if", "\"{{ … }}\"")?;
        let conditions = self.below("if", |reader| reader.conditions(conditions))?;
        let Some(then) = fields.get("then") else {
            return Err(self.wrong(
                node.position,
                "`then` is missing",
                "write what is done then: `then:`",
            ));
        };
        let then = self.below("then", |reader| reader.actions(then))?;
        let otherwise = fields.read(self, "else", Self::actions)?.unwrap_or_default();
        let kind = ActionKind::If {
            conditions,
            then,
            otherwise,
        };
        Ok((fields, kind))
    }

    fn repeat<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `repeat`", &["repeat"])?;
        let inner = fields.must(self, "repeat", "")?;
        let repeat = self.below("repeat", |reader| reader.repeated(inner))?;
        Ok((fields, ActionKind::Repeat(repeat)))
    }

    fn repeated(&mut self, node: &Node) -> Read<Repeat> {
        const WAYS: [&str; 4] = ["count", "while", "until", "for_each"];
        let fields = self.fields(
            node,
            "a `repeat`",
            &["count", "while", "until", "for_each", "sequence"],
        )?;
        let ways: Vec<_> = WAYS
            .iter()
            .filter_map(|key| Some((*key, fields.get(key)?)))
            .collect();
        let (key, way) = match ways.as_slice() {
            [one] => *one,
            [] => {
                let instead = "write `count`, `while`, `until` or `for_each`";
                return Err(self.wrong(node.position, "nothing says how often", instead));
            }
            [(first, _), (second, twice), ..] => {
                let what = format!("`{first}` and `{second}` cannot both stand here");
                return Err(self.wrong(twice.position, what, "keep one of them"));
            }
        };
        let until = self.below(key, |reader| match key {
            "count" => reader.count(way).map(Until::Count),
            "while" => reader.conditions(way).map(Until::While),
            "until" => reader.conditions(way).map(Until::Until),
            _ => reader.items(way).map(Until::ForEach),
        })?;
        let Some(sequence) = fields.get("sequence") else {
            return Err(self.wrong(
                node.position,
                "`sequence` is missing",
                "write what is repeated: `sequence:`",
            ));
        };
        Ok(Repeat {
            until,
            sequence: self.below("sequence", |reader| reader.actions(sequence))?,
        })
    }

    fn count(&mut self, node: &Node) -> Read<Data> {
        let data = self.data(node)?;
        let Data::Plain(value) = &data else {
            return Ok(data);
        };
        let count = match value {
            Value::String(text) => text.trim().parse::<u64>().ok(),
            value => value.as_u64(),
        };
        match count {
            Some(count) if count <= limits::ROUNDS => Ok(Data::Plain(count.into())),
            Some(_) => {
                let what = format!("a loop has {} rounds at most", limits::ROUNDS);
                Err(self.wrong(node.position, what, "write a smaller `count`"))
            }
            None => Err(self.wrong(node.position, "this is no number of rounds", "write `count: 3`")),
        }
    }

    fn items(&mut self, node: &Node) -> Read<Data> {
        let is_text = matches!(&node.content, Content::Scalar(scalar) if !is_template(&scalar.text));
        if is_text || node.mapping().is_some() {
            let what = format!("this is {}", node.kind());
            return Err(self.wrong(node.position, what, "write a list, or a template that makes one"));
        }
        self.data(node)
    }

    fn parallel<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `parallel`", &["parallel"])?;
        let inner = fields.must(self, "parallel", "")?;
        let branches = self.below("parallel", |reader| {
            reader.each(inner, limits::BRANCHES, "branches", |reader, item| {
                match &item.content {
                    Content::List(_) => reader.actions(item),
                    _ => reader.action(item).map(|action| vec![action]),
                }
            })
        })?;
        Ok((fields, ActionKind::Parallel(branches)))
    }

    fn stop<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `stop`", &["stop", "error", "response_variable"])?;
        let reason = match fields.get("stop") {
            Some(reason) => self.below("stop", |reader| reader.data(reason))?,
            None => Data::Plain(Value::Null),
        };
        let kind = ActionKind::Stop {
            reason,
            error: fields.read(self, "error", Self::truth)?.unwrap_or(false),
            response_variable: fields.read(self, "response_variable", Self::variable)?,
        };
        Ok((fields, kind))
    }

    fn event<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let own = ["event", "event_data", "event_data_template"];
        let fields = self.of_action(node, "an `event`", &own)?;
        let event = fields.must(self, "event", "my_event")?;
        let event = self.below("event", |reader| {
            reader.scalar(event, "the type of an event")?;
            reader.data(event)
        })?;
        let data = match fields.either(self, "event_data", "event_data_template")? {
            Some((key, data)) => self.below(key, |reader| reader.mapping(data))?,
            None => no_data(),
        };
        Ok((fields, ActionKind::Event { event, data }))
    }

    fn variable(&mut self, node: &Node) -> Read<String> {
        self.plain(node, "the name of a variable")
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
