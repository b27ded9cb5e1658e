//! `trigger`, as templates see it: what Home Assistant documents for each kind.

use serde_json::{Map, Value, json};

use crate::facts::EntityState;
use crate::model::{Bound, JarvisEvent, SunEvent, Trigger, TriggerKind, ZoneEvent};
use crate::template;

/// The name of a kind, as it is written: `trigger.platform`.
pub(super) fn platform(kind: &TriggerKind) -> &'static str {
    match kind {
        TriggerKind::Mqtt { .. } => "mqtt",
        TriggerKind::State { .. } => "state",
        TriggerKind::NumericState { .. } => "numeric_state",
        TriggerKind::Time { .. } => "time",
        TriggerKind::TimePattern { .. } => "time_pattern",
        TriggerKind::Sun { .. } => "sun",
        TriggerKind::Event { .. } => "event",
        TriggerKind::Template { .. } => "template",
        TriggerKind::Start | TriggerKind::Shutdown => "homeassistant",
        TriggerKind::Webhook { .. } => "webhook",
        TriggerKind::Zone { .. } => "zone",
        TriggerKind::Jarvis(_) => "jarvis",
    }
}

/// What all kinds have, and what is given.
pub(super) fn of(trigger: &Trigger, index: usize, description: String, own: Value) -> Value {
    let mut map = Map::new();
    map.insert("id".into(), trigger.id.as_str().into());
    map.insert("idx".into(), index.to_string().into());
    map.insert("alias".into(), Value::Null);
    map.insert("platform".into(), platform(&trigger.kind).into());
    map.insert("description".into(), description.into());
    if let Value::Object(own) = own {
        map.extend(own);
    }
    Value::Object(map)
}

/// Of a change of an entity.
pub(super) fn states(
    trigger: &Trigger,
    index: usize,
    entity: &str,
    from: Option<&EntityState>,
    to: Option<&EntityState>,
    held_ms: Option<u64>,
) -> Value {
    let show =
        |state: Option<&EntityState>| state.map_or(Value::Null, |state| template::state(entity, state));
    let mut own = Map::new();
    own.insert("entity_id".into(), entity.into());
    own.insert("from_state".into(), show(from));
    own.insert("to_state".into(), show(to));
    let held = held_ms.map_or(Value::Null, |ms| {
        template::span(i64::try_from(ms).unwrap_or(i64::MAX))
    });
    let mut description = format!("state of {entity}");
    match &trigger.kind {
        TriggerKind::State { attribute, .. } => {
            own.insert("attribute".into(), attribute.clone().into());
            own.insert("for".into(), held);
        }
        TriggerKind::NumericState {
            attribute,
            above,
            below,
            ..
        } => {
            own.insert("attribute".into(), attribute.clone().into());
            own.insert("above".into(), bound(above.as_ref()));
            own.insert("below".into(), bound(below.as_ref()));
            own.insert("for".into(), held);
            description = format!("numeric {description}");
        }
        TriggerKind::Template { .. } => {
            own.insert("for".into(), held);
            description = format!("template, by {entity}");
            if entity.is_empty() {
                own.insert("entity_id".into(), Value::Null);
                description = String::from("template, by the time");
            }
        }
        TriggerKind::Zone { zone, event, .. } => {
            own.insert("zone".into(), zone.0.as_str().into());
            let event = match event {
                ZoneEvent::Enter => "enter",
                ZoneEvent::Leave => "leave",
            };
            own.insert("event".into(), event.into());
            description = format!("{entity}: {event} {}", zone.0);
        }
        _ => {}
    }
    of(trigger, index, description, Value::Object(own))
}

fn bound(bound: Option<&Bound>) -> Value {
    match bound {
        None => Value::Null,
        Some(Bound::Number(number)) => json!(number),
        Some(Bound::Entity(id)) => id.0.as_str().into(),
    }
}

/// Of a time.
pub(super) fn time(trigger: &Trigger, index: usize, now_ms: i64, entity: Option<&str>) -> Value {
    let (description, own) = match &trigger.kind {
        TriggerKind::Sun { event, offset_ms } => {
            let event = match event {
                SunEvent::Sunrise => "sunrise",
                SunEvent::Sunset => "sunset",
            };
            let own = json!({ "event": event, "offset": template::span(*offset_ms), "now": template::moment(now_ms) });
            (format!("sun: {event}"), own)
        }
        TriggerKind::Time { .. } => (
            String::from("time"),
            json!({ "now": template::moment(now_ms), "entity_id": entity }),
        ),
        _ => (
            String::from("time pattern"),
            json!({ "now": template::moment(now_ms) }),
        ),
    };
    of(trigger, index, description, own)
}

/// Of something of the cluster's own.
pub(super) fn jarvis(trigger: &Trigger, index: usize, mut own: Map<String, Value>) -> Value {
    let event = match &trigger.kind {
        TriggerKind::Jarvis(JarvisEvent::NodeDown(_)) => "node_down",
        TriggerKind::Jarvis(JarvisEvent::NodeUp(_)) => "node_up",
        TriggerKind::Jarvis(JarvisEvent::Drill(_)) => "drill",
        TriggerKind::Jarvis(JarvisEvent::Intent(_)) => "intent",
        TriggerKind::Start => "start",
        TriggerKind::Shutdown => "shutdown",
        _ => "",
    };
    own.insert("event".into(), event.into());
    of(trigger, index, event.replace('_', " "), Value::Object(own))
}
