//! Triggers of what comes from elsewhere: messages, events, requests, the cluster itself.

use crate::load::limits;
use crate::load::reader::{Read, Reader, is_template, shorten};
use crate::model::{JarvisEvent, TriggerKind};
use crate::yaml::Node;

impl Reader<'_> {
    pub(super) fn mqtt(&mut self, node: &Node) -> Read<TriggerKind> {
        let own = ["topic", "payload", "value_template", "encoding", "qos"];
        let fields = self.of(node, "an `mqtt` trigger", &own)?;
        let topic = fields.must(self, "topic", "home/door")?;
        let topic = self.below("topic", |reader| {
            let template = reader.template(topic)?;
            if !is_template(&template.0) && !is_filter(&template.0) {
                let what = format!("`{}` is no topic to listen to", shorten(&template.0));
                let instead = "write levels with `/` between them; `+` stands for one whole level, `#` for all that follow";
                return Err(reader.wrong(topic.position, what, instead));
            }
            Ok(template)
        })?;
        fields.read(self, "encoding", |reader, node| {
            let words = [("utf-8", ()), ("UTF-8", ()), ("utf8", ())];
            reader.word(node, &words)
        })?;
        Ok(TriggerKind::Mqtt {
            topic,
            payload: fields.read(self, "payload", Self::template)?,
            value_template: fields.read(self, "value_template", Self::template)?,
        })
    }

    pub(super) fn event_trigger(&mut self, node: &Node) -> Read<TriggerKind> {
        if let Some(context) = node.get("context") {
            let instead = "leave it out, or look at the event's data in a condition";
            return Err(self.wrong(context.position, "`context` is not supported", instead));
        }
        let fields = self.of(node, "an `event` trigger", &["event_type", "event_data"])?;
        let types = fields.must(self, "event_type", "my_event")?;
        let types = self.below("event_type", |reader| {
            reader.each(types, limits::ITEMS, "types", Self::template)
        })?;
        let data = fields.read(self, "event_data", |reader, node| {
            let entries = reader.entries(node, "`event_data`")?;
            reader.pairs(entries)
        })?;
        Ok(TriggerKind::Event {
            types,
            data: data.unwrap_or_default(),
        })
    }

    pub(super) fn webhook(&mut self, node: &Node) -> Read<TriggerKind> {
        let own = ["webhook_id", "allowed_methods", "local_only"];
        let fields = self.of(node, "a `webhook` trigger", &own)?;
        let id = fields.must(self, "webhook_id", "a-long-secret-name")?;
        let id = self.below("webhook_id", |reader| {
            const WANTED: &str = "a long name of letters, digits, `-` and `_` that nobody guesses";
            let text = reader.plain(id, WANTED)?;
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if text.bytes().all(fine) {
                return Ok(text);
            }
            let what = format!("`{}` cannot stand in an address", shorten(&text));
            Err(reader.wrong(id.position, what, format!("write {WANTED}")))
        })?;
        let methods = fields.read(self, "allowed_methods", |reader, node| {
            const METHODS: [(&str, &str); 4] =
                [("POST", "POST"), ("PUT", "PUT"), ("GET", "GET"), ("HEAD", "HEAD")];
            reader.each(node, METHODS.len(), "methods", |reader, item| {
                reader.word(item, &METHODS)
            })
        })?;
        let methods = methods.unwrap_or_else(|| vec!["POST", "PUT"]);
        Ok(TriggerKind::Webhook {
            id,
            methods: methods.into_iter().map(str::to_owned).collect(),
            local_only: fields.read(self, "local_only", Self::truth)?.unwrap_or(true),
        })
    }

    pub(super) fn jarvis_trigger(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `jarvis` trigger", &["event", "node", "drill", "intent"])?;
        let event = fields.must(self, "event", "node_down")?;
        let words = [
            ("node_down", "node"),
            ("node_up", "node"),
            ("drill", "drill"),
            ("intent", "intent"),
        ];
        let (word, own) = self.below("event", |reader| {
            let own = reader.word(event, &words)?;
            Ok((reader.text(event, "an event")?, own))
        })?;
        for key in ["node", "drill", "intent"] {
            if let Some(other) = fields.get(key).filter(|_| key != own) {
                let what = format!("the event `{word}` has no `{key}`");
                return Err(self.wrong(other.position, what, "leave it out"));
            }
        }
        let name = fields.read(self, own, |reader, node| reader.plain(node, "a name"))?;
        Ok(TriggerKind::Jarvis(match (word.as_str(), name) {
            ("node_down", name) => JarvisEvent::NodeDown(name),
            ("node_up", name) => JarvisEvent::NodeUp(name),
            ("drill", name) => JarvisEvent::Drill(name),
            (_, Some(name)) => JarvisEvent::Intent(name),
            (_, None) => {
                fields.must(self, "intent", "good_night")?;
                JarvisEvent::Intent(String::new())
            }
        }))
    }
}

/// A filter of topics that MQTT allows.
fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    !text.is_empty()
        && text.len() <= 65_535
        && !text.contains('\0')
        && levels.iter().enumerate().all(|(index, level)| match *level {
            "+" => true,
            "#" => index == last,
            level => !level.contains(['+', '#']),
        })
}
