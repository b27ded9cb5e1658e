//! What waits, chooses, repeats, stops and tells.

use serde_json::Value;

use crate::load::data::no_data;
use crate::load::limits;
use crate::load::reader::{Fields, Read, Reader, is_template};
use crate::model::{ActionKind, Branch, Data, Repeat, Until};
use crate::yaml::{Content, Node};

impl Reader<'_> {
    pub(super) fn wait_template<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    pub(super) fn wait_for_trigger<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    pub(super) fn choose<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `choose`", &["choose", "default"])?;
        let choose = fields.get("choose").unwrap_or(node);
        let branches = self.below("choose", |reader| {
            reader.each(choose, limits::BRANCHES, "branches", Self::branch)
        })?;
        let default = fields.read(self, "default", Self::actions)?.unwrap_or_default();
        Ok((fields, ActionKind::Choose { branches, default }))
    }

    pub(super) fn branch(&mut self, node: &Node) -> Read<Branch> {
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

    pub(super) fn if_then<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    pub(super) fn repeat<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
        let fields = self.of_action(node, "a `repeat`", &["repeat"])?;
        let inner = fields.must(self, "repeat", "")?;
        let repeat = self.below("repeat", |reader| reader.repeated(inner))?;
        Ok((fields, ActionKind::Repeat(repeat)))
    }

    pub(super) fn repeated(&mut self, node: &Node) -> Read<Repeat> {
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

    pub(super) fn count(&mut self, node: &Node) -> Read<Data> {
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

    pub(super) fn items(&mut self, node: &Node) -> Read<Data> {
        let is_text = matches!(&node.content, Content::Scalar(scalar) if !is_template(&scalar.text));
        if is_text || node.mapping().is_some() {
            let what = format!("this is {}", node.kind());
            return Err(self.wrong(node.position, what, "write a list, or a template that makes one"));
        }
        self.data(node)
    }

    pub(super) fn parallel<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    pub(super) fn stop<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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

    pub(super) fn event<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ActionKind)> {
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
}
