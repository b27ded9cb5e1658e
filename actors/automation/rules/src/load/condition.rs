//! Conditions, written out or as shorthand.

use super::limits;
use super::reader::{Fields, Read, Reader, is_template, nearest, shorten};
use super::trigger::Numeric;
use crate::model::{Condition, ConditionKind, SunEvent, Weekdays};
use crate::yaml::Node;

/// What every condition may have.
const COMMON: [&str; 3] = ["condition", "alias", "enabled"];

const KINDS: [&str; 10] = [
    "and",
    "or",
    "not",
    "state",
    "numeric_state",
    "time",
    "sun",
    "zone",
    "template",
    "trigger",
];

impl Reader<'_> {
    /// A list of conditions, or one.
    pub(super) fn conditions(&mut self, node: &Node) -> Read<Vec<Condition>> {
        self.each(node, limits::CONDITIONS, "conditions", Self::condition)
    }

    /// One condition, which may stand as a template alone.
    pub(super) fn condition(&mut self, node: &Node) -> Read<Condition> {
        self.nesting += 1;
        let read = if self.nesting > limits::NESTING {
            let what = format!("this stands deeper in others than {}", limits::NESTING);
            Err(self.wrong(node.position, what, "make several automations of it"))
        } else {
            self.condition_within(node)
        };
        self.nesting -= 1;
        read
    }

    fn condition_within(&mut self, node: &Node) -> Read<Condition> {
        let plain = |kind| Condition {
            alias: None,
            enabled: true,
            position: node.position,
            kind,
        };
        if let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) {
            if !is_template(&scalar.text) {
                let what = format!("`{}` is no condition", shorten(&scalar.text));
                let instead = "write a template, `\"{{ … }}\"`, or `condition: state` and its fields";
                return Err(self.wrong(node.position, what, instead));
            }
            return self
                .template(node)
                .map(|template| plain(ConditionKind::Template(template)));
        }
        let entries = self.entries(node, "a condition")?;
        let Some(named) = node.get("condition") else {
            // `and:`, `or:` and `not:` with their conditions right below.
            for name in ["and", "or", "not"] {
                if let Some(inner) = node.get(name) {
                    let fields = self.fields(node, "a condition", &[name, "alias", "enabled"])?;
                    let inner = self.below(name, |reader| reader.conditions(inner))?;
                    return self.conditioned(&fields, joined(name, inner));
                }
            }
            let known = ["condition", "and", "or", "not"];
            let instead = match entries.first() {
                Some(entry) if !COMMON.contains(&entry.key.as_str()) => {
                    nearest(&entry.key, known.into_iter())
                }
                _ => "write what is looked at: `condition: state`".to_owned(),
            };
            return Err(self.wrong(node.position, "`condition` is missing", instead));
        };
        let name = self.text(named, "a kind of condition: `state`")?;
        if is_template(&name) {
            let fields = self.of_condition(node, "a template condition", &[])?;
            let template = self.below("condition", |reader| reader.template(named))?;
            return self.conditioned(&fields, ConditionKind::Template(template));
        }
        let (fields, kind) = match name.as_str() {
            "and" | "or" | "not" => {
                let fields = self.of_condition(node, &format!("an `{name}` condition"), &["conditions"])?;
                let inner = fields.must(self, "conditions", "")?;
                let inner = self.below("conditions", |reader| reader.conditions(inner))?;
                (fields, joined(&name, inner))
            }
            "state" => self.state_condition(node)?,
            "numeric_state" => self.numeric_condition(node)?,
            "time" => self.time_condition(node)?,
            "sun" => self.sun_condition(node)?,
            "zone" => self.zone_condition(node)?,
            "template" => {
                let fields = self.of_condition(node, "a `template` condition", &["value_template"])?;
                let template = fields.must(self, "value_template", "\"{{ … }}\"")?;
                let template = self.below("value_template", |reader| reader.template(template))?;
                (fields, ConditionKind::Template(template))
            }
            "trigger" => {
                let fields = self.of_condition(node, "a `trigger` condition", &["id"])?;
                let ids = fields.must(self, "id", "the id of a trigger")?;
                let ids = self.below("id", |reader| reader.texts(ids, "the id of a trigger"))?;
                (fields, ConditionKind::Trigger(ids))
            }
            "device" => {
                let instead = "write a `state` condition on the device's entity";
                let what = "conditions of kind `device` are not supported";
                return Err(self.wrong(named.position, what, instead));
            }
            _ => {
                let what = format!("conditions of kind `{}` are not known", shorten(&name));
                return Err(self.wrong(named.position, what, nearest(&name, KINDS.into_iter())));
            }
        };
        self.conditioned(&fields, kind)
    }

    fn conditioned(&mut self, fields: &Fields<'_>, kind: ConditionKind) -> Read<Condition> {
        Ok(Condition {
            alias: fields.read(self, "alias", Self::alias)?,
            enabled: fields.read(self, "enabled", Self::truth)?.unwrap_or(true),
            position: fields.node.position,
            kind,
        })
    }

    fn of_condition<'n>(&mut self, node: &'n Node, what: &str, own: &[&str]) -> Read<Fields<'n>> {
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        self.fields(node, what, &known)
    }

    fn state_condition<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ConditionKind)> {
        let own = ["entity_id", "state", "attribute", "for", "match"];
        let fields = self.of_condition(node, "a `state` condition", &own)?;
        let entities = fields.must(self, "entity_id", "light.kitchen")?;
        let states = fields.must(self, "state", "\"on\"")?;
        let any = fields.read(self, "match", |reader, node| {
            reader.word(node, &[("all", false), ("any", true)])
        })?;
        let kind = ConditionKind::State {
            entities: self.below("entity_id", |reader| reader.entities(entities))?,
            any: any.unwrap_or(false),
            attribute: fields.read(self, "attribute", |reader, node| {
                reader.plain(node, "an attribute's name")
            })?,
            states: self.below("state", |reader| reader.texts(states, "a state: `\"on\"`"))?,
            held_for: fields.read(self, "for", Self::span)?,
        };
        Ok((fields, kind))
    }

    fn numeric_condition<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ConditionKind)> {
        let own = ["entity_id", "attribute", "value_template", "above", "below"];
        let fields = self.of_condition(node, "a `numeric_state` condition", &own)?;
        let Numeric {
            entities,
            attribute,
            value_template,
            above,
            below,
        } = self.numeric(&fields)?;
        let kind = ConditionKind::NumericState {
            entities,
            attribute,
            value_template,
            above,
            below,
        };
        Ok((fields, kind))
    }

    fn time_condition<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ConditionKind)> {
        let fields = self.of_condition(node, "a `time` condition", &["after", "before", "weekday"])?;
        let after = fields.read(self, "after", Self::moment)?;
        let before = fields.read(self, "before", Self::moment)?;
        let weekdays = fields.read(self, "weekday", Self::weekdays)?;
        if after.is_none() && before.is_none() && weekdays.is_none() {
            let instead = "write `after`, `before` or `weekday`";
            return Err(self.wrong(node.position, "nothing says when", instead));
        }
        let weekdays = weekdays.unwrap_or(Weekdays::ALL);
        Ok((
            fields,
            ConditionKind::Time {
                after,
                before,
                weekdays,
            },
        ))
    }

    fn sun_condition<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ConditionKind)> {
        let own = ["after", "before", "after_offset", "before_offset"];
        let fields = self.of_condition(node, "a `sun` condition", &own)?;
        let mut side = |key: &str, offset_key: &str| -> Read<Option<(SunEvent, i64)>> {
            let event = fields.read(self, key, Self::sun_event)?;
            let offset = fields.read(self, offset_key, Self::offset)?;
            if event.is_none() && offset.is_some() {
                let what = format!("`{offset_key}` says nothing without `{key}`");
                return Err(self.wrong(node.position, what, format!("write `{key}: sunset`")));
            }
            Ok(event.map(|event| (event, offset.unwrap_or(0))))
        };
        let (after, before) = (side("after", "after_offset")?, side("before", "before_offset")?);
        if after.is_none() && before.is_none() {
            let instead = "write `after: sunset`, `before: sunrise`, or both";
            return Err(self.wrong(node.position, "nothing says when", instead));
        }
        Ok((fields, ConditionKind::Sun { after, before }))
    }

    fn zone_condition<'n>(&mut self, node: &'n Node) -> Read<(Fields<'n>, ConditionKind)> {
        let fields = self.of_condition(node, "a `zone` condition", &["entity_id", "zone"])?;
        let entities = fields.must(self, "entity_id", "person.anna")?;
        let zones = fields.must(self, "zone", "zone.home")?;
        let kind = ConditionKind::Zone {
            entities: self.below("entity_id", |reader| reader.entities(entities))?,
            zones: self.below("zone", |reader| {
                reader.each(zones, limits::ITEMS, "zones", Self::zone_id)
            })?,
        };
        Ok((fields, kind))
    }
}

fn joined(name: &str, inner: Vec<Condition>) -> ConditionKind {
    match name {
        "or" => ConditionKind::Or(inner),
        "not" => ConditionKind::Not(inner),
        _ => ConditionKind::And(inner),
    }
}
