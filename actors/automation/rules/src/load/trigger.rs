//! Triggers.

mod clock;
mod messages;

use super::data::entity_id;
use super::limits;
use super::reader::{Fields, Read, Reader, nearest, shorten};
use crate::model::{Bound, EntityId, Span, Template, Trigger, TriggerKind, ZoneEvent};
use crate::yaml::Node;

/// What every trigger may have.
const COMMON: [&str; 7] = [
    "trigger",
    "platform",
    "id",
    "alias",
    "enabled",
    "variables",
    "jarvis",
];

/// Triggers that Home Assistant has and this does not, and what to write instead.
const UNSUPPORTED: [(&str, &str); 8] = [
    (
        "device",
        "write a `state` trigger on the device's entity, or an `mqtt` trigger on its topic",
    ),
    (
        "conversation",
        "write `trigger: jarvis` with `event: intent` and the intent's name",
    ),
    ("tag", "write an `event` trigger of type `tag_scanned`"),
    (
        "calendar",
        "write a `state` trigger on the calendar's entity, or a `time` trigger",
    ),
    ("geo_location", "write a `zone` trigger"),
    ("persistent_notification", "write an `event` trigger"),
    ("assist_satellite", "write `trigger: jarvis` with `event: intent`"),
    ("hassio", "write a `homeassistant` or `jarvis` trigger"),
];

/// Those that are supported.
const KINDS: [&str; 12] = [
    "mqtt",
    "state",
    "numeric_state",
    "time",
    "time_pattern",
    "sun",
    "event",
    "template",
    "homeassistant",
    "webhook",
    "zone",
    "jarvis",
];

/// How a number is looked at.
pub(super) struct Numeric {
    pub(super) entities: Vec<EntityId>,
    pub(super) attribute: Option<String>,
    pub(super) value_template: Option<Template>,
    pub(super) above: Option<Bound>,
    pub(super) below: Option<Bound>,
}

impl Reader<'_> {
    /// A list of triggers, or one.
    pub(super) fn triggers(&mut self, node: &Node) -> Read<Vec<Trigger>> {
        let lists = self.each(node, limits::TRIGGERS, "triggers", |reader, item| {
            // `triggers: [{ triggers: [...] }]` is a list within the list.
            if let Some(inner) = item
                .mapping()
                .filter(|entries| entries.len() == 1)
                .and(item.get("triggers"))
            {
                return reader.below("triggers", |reader| {
                    reader.each(inner, limits::TRIGGERS, "triggers", Self::trigger)
                });
            }
            reader.trigger(item).map(|trigger| vec![trigger])
        })?;
        let mut triggers = lists.concat();
        self.most(node.position, triggers.len(), limits::TRIGGERS, "triggers")?;
        for (index, trigger) in triggers.iter_mut().enumerate() {
            if trigger.id.is_empty() {
                trigger.id = index.to_string();
            }
        }
        Ok(triggers)
    }

    fn trigger(&mut self, node: &Node) -> Read<Trigger> {
        self.entries(node, "a trigger")?;
        let named = match (node.get("trigger"), node.get("platform")) {
            (Some(_), Some(twice)) => {
                let what = "`trigger` and `platform` are the same, and both stand here";
                return Err(self.wrong(twice.position, what, "keep `trigger`"));
            }
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => {
                let instead = "write what is waited for: `trigger: state`";
                return Err(self.wrong(node.position, "`trigger` is missing", instead));
            }
        };
        let name = self.plain(named, "a kind of trigger: `state`")?;
        if let Some((_, instead)) = UNSUPPORTED.iter().find(|(kind, _)| *kind == name) {
            let what = format!("triggers of kind `{name}` are not supported");
            return Err(self.wrong(named.position, what, *instead));
        }
        let kind = match name.as_str() {
            "mqtt" => self.mqtt(node),
            "state" => self.state(node),
            "numeric_state" => self.numeric_trigger(node),
            "time" => self.time(node),
            "time_pattern" => self.time_pattern(node),
            "sun" => self.sun(node),
            "event" => self.event_trigger(node),
            "template" => self.template_trigger(node),
            "homeassistant" => self.homeassistant(node),
            "webhook" => self.webhook(node),
            "zone" => self.zone(node),
            "jarvis" => self.jarvis_trigger(node),
            _ => {
                let what = format!("triggers of kind `{}` are not known", shorten(&name));
                return Err(self.wrong(named.position, what, nearest(&name, KINDS.into_iter())));
            }
        }?;
        let fields = self.any(node)?;
        let id = fields.read(self, "id", |reader, node| {
            reader.plain(node, "a name for this trigger")
        })?;
        let enabled = fields.read(self, "enabled", Self::truth)?.unwrap_or(true);
        let variables = fields
            .read(self, "variables", Self::variables)?
            .unwrap_or_default();
        let policy = fields.read(self, "jarvis", Self::policy)?;
        Ok(Trigger {
            id: id.unwrap_or_default(),
            enabled,
            variables,
            policy,
            position: node.position,
            kind,
        })
    }

    /// The fields of a trigger of some kind, besides those that all have.
    fn of<'n>(&mut self, node: &'n Node, what: &str, own: &[&str]) -> Read<Fields<'n>> {
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        self.fields(node, what, &known)
    }

    /// All fields, already known to be right.
    fn any<'n>(&mut self, node: &'n Node) -> Read<Fields<'n>> {
        let known: Vec<&str> = self
            .entries(node, "a trigger")?
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        self.fields(node, "a trigger", &known)
    }

    fn state(&mut self, node: &Node) -> Read<TriggerKind> {
        let own = [
            "entity_id",
            "attribute",
            "from",
            "to",
            "not_from",
            "not_to",
            "for",
        ];
        let fields = self.of(node, "a `state` trigger", &own)?;
        let entities = fields.must(self, "entity_id", "light.kitchen")?;
        let entities = self.below("entity_id", |reader| reader.entities(entities))?;
        for (one, other) in [("from", "not_from"), ("to", "not_to")] {
            if let (Some(_), Some(twice)) = (fields.get(one), fields.get(other)) {
                let what = format!("`{one}` and `{other}` cannot both stand here");
                return Err(self.wrong(twice.position, what, format!("keep `{one}`")));
            }
        }
        let mut some = |key: &str| match fields.get(key) {
            Some(node) if node.is_null() => Ok(Some(Vec::new())),
            Some(node) => self
                .below(key, |reader| reader.texts(node, "a state: `\"on\"`"))
                .map(Some),
            None => Ok(None),
        };
        Ok(TriggerKind::State {
            entities,
            from: some("from")?,
            not_from: some("not_from")?.unwrap_or_default(),
            to: some("to")?,
            not_to: some("not_to")?.unwrap_or_default(),
            attribute: fields.read(self, "attribute", |reader, node| {
                reader.plain(node, "an attribute's name")
            })?,
            held_for: fields.read(self, "for", Self::span)?,
        })
    }

    fn numeric_trigger(&mut self, node: &Node) -> Read<TriggerKind> {
        let own = [
            "entity_id",
            "attribute",
            "value_template",
            "above",
            "below",
            "for",
        ];
        let fields = self.of(node, "a `numeric_state` trigger", &own)?;
        let Numeric {
            entities,
            attribute,
            value_template,
            above,
            below,
        } = self.numeric(&fields)?;
        Ok(TriggerKind::NumericState {
            entities,
            attribute,
            value_template,
            above,
            below,
            held_for: fields.read(self, "for", Self::span)?,
        })
    }

    /// What triggers and conditions on numbers have in common.
    pub(super) fn numeric(&mut self, fields: &Fields<'_>) -> Read<Numeric> {
        let entities = fields.must(self, "entity_id", "sensor.temperature")?;
        let entities = self.below("entity_id", |reader| reader.entities(entities))?;
        let above = fields.read(self, "above", Self::bound)?;
        let below = fields.read(self, "below", Self::bound)?;
        match (&above, &below) {
            (None, None) => {
                let instead = "write `above: 20`, `below: 5`, or both";
                return Err(self.wrong(fields.node.position, "`above` or `below` is missing", instead));
            }
            (Some(Bound::Number(above)), Some(Bound::Number(below))) if above >= below => {
                let what = format!("no number is above {above} and below {below}");
                return Err(self.wrong(
                    fields.node.position,
                    what,
                    "write two triggers or conditions, or an `or`",
                ));
            }
            _ => {}
        }
        Ok(Numeric {
            entities,
            attribute: fields.read(self, "attribute", |reader, node| {
                reader.plain(node, "an attribute's name")
            })?,
            value_template: fields.read(self, "value_template", Self::template)?,
            above,
            below,
        })
    }

    fn bound(&mut self, node: &Node) -> Read<Bound> {
        const WANTED: &str = "a number, or the id of an entity whose state is one";
        let text = self.plain(node, WANTED)?;
        match (text.trim().parse::<f64>(), entity_id(&text)) {
            (Ok(number), _) if number.is_finite() => Ok(Bound::Number(number)),
            (_, Some(id)) => Ok(Bound::Entity(id)),
            _ => {
                let what = format!("`{}` is no bound", shorten(&text));
                Err(self.wrong(node.position, what, format!("write {WANTED}")))
            }
        }
    }

    fn template_trigger(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `template` trigger", &["value_template", "for"])?;
        let template = fields.must(self, "value_template", "\"{{ … }}\"")?;
        let template = self.below("value_template", |reader| reader.template(template))?;
        let held_for: Option<Span> = fields.read(self, "for", Self::span)?;
        Ok(TriggerKind::Template { template, held_for })
    }

    fn homeassistant(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `homeassistant` trigger", &["event"])?;
        let event = fields.must(self, "event", "start")?;
        self.below("event", |reader| {
            let start = reader.word(event, &[("start", true), ("shutdown", false)])?;
            Ok(if start {
                TriggerKind::Start
            } else {
                TriggerKind::Shutdown
            })
        })
    }

    fn zone(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `zone` trigger", &["entity_id", "zone", "event"])?;
        let entities = fields.must(self, "entity_id", "person.anna")?;
        let zone = fields.must(self, "zone", "zone.home")?;
        let event = fields.read(self, "event", |reader, node| {
            reader.word(node, &[("enter", ZoneEvent::Enter), ("leave", ZoneEvent::Leave)])
        })?;
        Ok(TriggerKind::Zone {
            entities: self.below("entity_id", |reader| reader.entities(entities))?,
            zone: self.below("zone", |reader| reader.zone_id(zone))?,
            event: event.unwrap_or(ZoneEvent::Enter),
        })
    }

    /// `zone.home`.
    pub(super) fn zone_id(&mut self, node: &Node) -> Read<EntityId> {
        let id = self.entity(node)?;
        if id.domain() == "zone" {
            return Ok(id);
        }
        let what = format!("`{}` is no zone", id.0);
        Err(self.wrong(node.position, what, "write the id of a zone: `zone.home`"))
    }
}
