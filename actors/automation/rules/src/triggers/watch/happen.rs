//! What happened → the triggers that it is for.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::states::Changed;
use super::{Look, MESSAGE_BYTES_MAX, Rule, RuleId, Watch, data, found};
use crate::model::{JarvisEvent, TriggerKind};
use crate::run::text_of;
use crate::template;
use crate::triggers::{Change, Firing, Happening};

impl Watch {
    /// Looks at something that happened. What fell due by now comes first.
    pub fn happen(&mut self, happening: &Happening, look: &Look<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.due(look, &mut changes);
        match happening {
            Happening::State { entity, old, new } => {
                let change = Changed {
                    entity,
                    old: old.as_deref(),
                    new: new.as_deref(),
                };
                for id in found(&self.entities, entity) {
                    self.changed(id, change, look, &mut changes);
                }
                for id in self.readers(entity) {
                    self.look_again(id, Some(change), None, look, &mut changes);
                }
            }
            Happening::Mqtt {
                topic,
                payload,
                qos,
                retain,
            } => self.message(topic, payload, (*qos, *retain), look, &mut changes),
            Happening::Event { event_type, data, .. } => {
                for id in found(&self.events, event_type) {
                    self.fire(id, &mut changes, |rule| event(rule, happening, data));
                }
            }
            Happening::Webhook { id: name, .. } => {
                for id in found(&self.webhooks, name) {
                    self.fire(id, &mut changes, |rule| webhook(rule, happening));
                }
            }
            Happening::Intent { name, slots, session } => {
                for id in found(&self.intents, name) {
                    self.fire(id, &mut changes, |rule| {
                        let own = json!({ "intent": name, "slots": slots, "session": session });
                        Some(data::jarvis(&rule.trigger, rule.slot.trigger, as_map(own)))
                    });
                }
            }
            Happening::Start
            | Happening::Shutdown
            | Happening::NodeDown { .. }
            | Happening::NodeUp { .. }
            | Happening::Drill { .. } => {
                for id in self.cluster.clone() {
                    self.fire(id, &mut changes, |rule| cluster(rule, happening));
                }
            }
        }
        changes
    }

    fn fire(&self, id: RuleId, changes: &mut Vec<Change>, matches: impl FnOnce(&Rule) -> Option<Value>) {
        let Some(rule) = self.rules.get(&id) else { return };
        if let Some(data) = matches(rule) {
            changes.push(Change::Fire(Firing {
                slot: rule.slot.clone(),
                data,
                due_ms: None,
                late: None,
            }));
        }
    }

    fn message(
        &mut self,
        topic: &str,
        payload: &[u8],
        (qos, retained): (u8, bool),
        look: &Look<'_>,
        changes: &mut Vec<Change>,
    ) {
        let mut rules = self.topics.matches(topic);
        if retained {
            rules.retain(|id| self.takes_retained(*id, topic, changes));
        }
        if rules.is_empty() {
            return;
        }
        let unheard = |why| Change::Unheard {
            topic: topic.to_owned(),
            why,
        };
        if payload.len() > MESSAGE_BYTES_MAX {
            changes.push(unheard(format!(
                "it has {} bytes, and a run is started with {MESSAGE_BYTES_MAX} at most",
                payload.len()
            )));
            return;
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            changes.push(unheard("it is not UTF-8".to_owned()));
            return;
        };
        let json: Option<Value> = serde_json::from_str(text).ok();
        for id in rules {
            let Some(rule) = self.rules.get(&id) else { continue };
            match fits(rule, text, json.as_ref(), look) {
                Ok(false) => {}
                Err(error) => changes.push(Change::Log(format!("the trigger {}: {error}", rule.trigger.id))),
                Ok(true) => {
                    let mut own = Map::new();
                    own.insert("topic".into(), topic.into());
                    own.insert("payload".into(), text.into());
                    own.insert("qos".into(), qos.into());
                    let description = format!("mqtt topic {topic}");
                    changes.push(Change::Fire(Firing {
                        slot: rule.slot.clone(),
                        data: data::of(&rule.trigger, rule.slot.trigger, description, Value::Object(own)),
                        due_ms: None,
                        late: None,
                    }));
                }
            }
        }
    }

    /// Whether what the broker retains of a topic is new to a trigger. It is not, the next time.
    fn takes_retained(&mut self, id: RuleId, topic: &str, changes: &mut Vec<Change>) -> bool {
        let Some(rule) = self.rules.get_mut(&id) else {
            return false;
        };
        let topic = xxhash_rust::xxh64::xxh64(topic.as_bytes(), 0);
        let is_new = rule.retained.as_mut().is_some_and(|had| had.insert(topic));
        if is_new {
            let slot = rule.slot.clone();
            changes.push(Change::Retained { slot, topic });
        }
        is_new
    }
}

/// Whether a message has the payload that a trigger waits for.
fn fits(rule: &Rule, text: &str, json: Option<&Value>, look: &Look<'_>) -> Result<bool, String> {
    let TriggerKind::Mqtt { value_template, .. } = &rule.trigger.kind else {
        return Ok(false);
    };
    let Some(wanted) = &rule.fixed.payload else {
        return Ok(true);
    };
    let Some(template) = value_template else {
        return Ok(text == wanted);
    };
    let mut variables = (*rule.variables).clone();
    variables.insert("value".into(), text.into());
    if let Some(json) = json {
        variables.insert("value_json".into(), json.clone());
    }
    let rendered = look
        .templates
        .render(&template.0, Arc::clone(look.facts), &variables);
    Ok(rendered.map_err(|error| error.to_string())?.text == *wanted)
}

fn event(rule: &Rule, happening: &Happening, has: &Map<String, Value>) -> Option<Value> {
    let Happening::Event {
        event_type,
        at_ms,
        context,
        ..
    } = happening
    else {
        return None;
    };
    if !holds_at_least(has, &rule.fixed.data) {
        return None;
    }
    let own = json!({ "event": {
        "event_type": event_type,
        "data": has,
        "origin": "LOCAL",
        "time_fired": template::moment(*at_ms),
        "context": { "id": context.id, "parent_id": context.parent, "user_id": null },
    } });
    Some(data::of(
        &rule.trigger,
        rule.slot.trigger,
        format!("event {event_type}"),
        own,
    ))
}

/// Whether a mapping has all that another has; mappings in it likewise.
fn holds_at_least(has: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, wanted)| match (has.get(key), wanted) {
        (None, _) => false,
        (Some(Value::Object(has)), Value::Object(wanted)) => holds_at_least(has, wanted),
        (Some(Value::Number(has)), Value::Number(wanted)) => has.as_f64() == wanted.as_f64(),
        // A template comes to a number where a text was sent, and the other way about.
        (Some(has @ Value::String(_)), Value::Number(_))
        | (Some(has @ Value::Number(_)), Value::String(_)) => text_of(has) == text_of(wanted),
        (Some(has), wanted) => has == wanted,
    })
}

fn webhook(rule: &Rule, happening: &Happening) -> Option<Value> {
    let (
        TriggerKind::Webhook {
            methods, local_only, ..
        },
        Happening::Webhook {
            id,
            method,
            local,
            json,
            data: form,
            query,
        },
    ) = (&rule.trigger.kind, happening)
    else {
        return None;
    };
    if (*local_only && !local) || !methods.iter().any(|allowed| allowed == method) {
        return None;
    }
    let own = json!({ "webhook_id": id, "json": json, "data": form, "query": query });
    Some(data::of(
        &rule.trigger,
        rule.slot.trigger,
        String::from("webhook"),
        own,
    ))
}

fn cluster(rule: &Rule, happening: &Happening) -> Option<Value> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let own = match (&rule.trigger.kind, happening) {
        (TriggerKind::Start, Happening::Start) | (TriggerKind::Shutdown, Happening::Shutdown) => json!({}),
        (TriggerKind::Jarvis(JarvisEvent::NodeDown(wanted)), Happening::NodeDown { node })
        | (TriggerKind::Jarvis(JarvisEvent::NodeUp(wanted)), Happening::NodeUp { node })
            if is(wanted, node) =>
        {
            json!({ "node": node })
        }
        (TriggerKind::Jarvis(JarvisEvent::Drill(wanted)), Happening::Drill { name, passed })
            if is(wanted, name) =>
        {
            json!({ "drill": name, "passed": passed })
        }
        _ => return None,
    };
    Some(data::jarvis(&rule.trigger, rule.slot.trigger, as_map(own)))
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
