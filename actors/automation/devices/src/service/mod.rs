//! Service calls, made into what is published: `light.turn_on` of a living room into messages for three lamps.
//!
//! Everything is decided over one [`View`]: the same call at the same moment comes to the same messages on every node.

mod cover;
mod light;
mod simple;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod thermal;

use std::collections::BTreeMap;
use std::sync::Arc;

use jarvis_rules::facts::{EntityState, Facts};
use jarvis_rules::template::Templates;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::apply::Known;
use crate::component::Component;
use crate::config::Config;
use crate::entity::Entity;
use crate::limits::MAX_PUBLISH_BYTES;
use crate::plan;
use crate::registry::{UNAVAILABLE, View, meant};
use crate::template::{Engine, Template};
use crate::text::{nearest, printed, quoted};
use crate::topic::is_topic;

use target::Asked;

pub use table::{Service, services};
pub use target::Target;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
    /// How surely, 0 to 2.
    pub qos: u8,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// For which entity; none: it was published as such.
    pub entity: Option<String>,
}

/// A state that is taken for true once the command is out, since the device will not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assumed {
    /// Whose.
    pub entity: String,
    /// The state; none: it stays.
    pub state: Option<String>,
    /// Attributes beside those that stay.
    pub attributes: BTreeMap<String, Value>,
}

/// What a call comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages, in order.
    pub publishes: Vec<Publish>,
    /// What is taken for true once they are out.
    pub assumed: Vec<Assumed>,
    /// Entities, devices, areas and labels that were meant but not reached, each with the reason.
    pub passed_over: Vec<(String, String)>,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// There is no such service.
    #[error("there is no service \"{asked}\"{near}")]
    UnknownService {
        /// What was asked for.
        asked: String,
        /// What may have been meant.
        near: String,
    },
    /// It says nothing of what it is for.
    #[error("{service} needs a target: entity_id, device_id, area_id or label_id")]
    NoTarget {
        /// The service.
        service: String,
    },
    /// What it is for does not exist.
    #[error("there is no {kind} \"{asked}\"{near}")]
    UnknownTarget {
        /// Entity, device, area, label, group.
        kind: &'static str,
        /// What was asked for.
        asked: String,
        /// What may have been meant.
        near: String,
    },
    /// The target is of another kind, or cannot do it.
    #[error("{entity} cannot {service}: {why}")]
    Unfit {
        /// The entity.
        entity: String,
        /// The service.
        service: String,
        /// What it can do instead.
        why: String,
    },
    /// What is to be set does not fit.
    #[error("{key}: {why}")]
    Data {
        /// Which of the data.
        key: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// It reaches too far.
    #[error("it is for {count} entities, at most {most} are reached at once")]
    TooMany {
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
}

/// Whether devices can be called upon for a service at all.
///
/// # Errors
/// There is no such service; what may have been meant.
pub fn check(service: &str) -> Result<(), CallError> {
    if service == PUBLISH {
        return Ok(());
    }
    fitting(service).map(drop)
}

/// The service that sends any message.
const PUBLISH: &str = "mqtt.publish";

/// Whether a service is for all kinds of entities, else for which, and what it does.
fn fitting(service: &str) -> Result<(bool, Option<Component>, &str), CallError> {
    let (domain, name) = service.split_once('.').unwrap_or((service, ""));
    let general = domain == "homeassistant" || domain == "group";
    let component = Component::of(domain);
    let fits = if general {
        matches!(name, "turn_on" | "turn_off" | "toggle")
    } else {
        component.is_some_and(|component| services(component).iter().any(|(known, _)| *known == name))
    };
    match fits {
        true => Ok((general, component, name)),
        false => Err(unknown_service(service)),
    }
}

/// Decides what a call comes to. `data` may hold the target's ids too, as Home Assistant allows. What of the target is not
/// there, or is of a kind that does not have the service, is passed over as long as something of it can be reached.
///
/// # Errors
/// Nothing of it is done: the service, all of its target or its data do not fit.
pub fn call(
    service: &str,
    target: &Target,
    data: &Map<String, Value>,
    view: &View,
    templates: &Templates,
) -> Result<Outcome, CallError> {
    let (target, data) = target.with(data)?;
    if service == PUBLISH {
        return publish(&data);
    }
    let (general, component, name) = fitting(service)?;
    if let Some(component) = component {
        table::check_keys(component, name, &data)?;
    }
    let asked = Asked {
        service,
        component: component.filter(|_| !general),
        name,
    };
    let reached = target.resolve(&asked, view)?;
    let shared: Arc<dyn Facts> = Arc::new(view.clone());
    let facts = || shared.clone();
    let engine = Engine {
        templates,
        facts: &facts,
    };
    let mut out = Outcome {
        passed_over: reached.passed_over,
        ..Outcome::default()
    };
    for id in &reached.ids {
        let Some(entry) = view.entry(id) else { continue };
        let component = entry.entity.component;
        let name = if general {
            table::general(component, name)
        } else {
            Some(name)
        };
        let Some(name) = name else {
            out.passed_over.push((id.clone(), target::no_switch(component)));
            continue;
        };
        if entry.live.shown.state == UNAVAILABLE {
            out.passed_over.push((id.clone(), "it is unavailable".to_owned()));
            continue;
        }
        let mut command = Command {
            id,
            entity: &entry.entity,
            config: &entry.entity.config,
            known: &entry.live.known,
            shown: &entry.live.shown,
            service,
            data: &data,
            engine: &engine,
            now_ms: view.now_ms,
            out: &mut out,
        };
        let done = command.run(component, name);
        match done {
            // Among many, one that cannot does not keep the others from it.
            Err(CallError::Unfit { why, .. }) if !reached.named.contains(id) => {
                out.passed_over.push((id.clone(), why))
            }
            other => other?,
        }
    }
    Ok(out)
}

fn publish(data: &Map<String, Value>) -> Result<Outcome, CallError> {
    const KEYS: [&str; 6] = [
        "topic",
        "payload",
        "qos",
        "retain",
        "evaluate_payload",
        "message_expiry_interval",
    ];
    if let Some(wrong) = data.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(wrong_data(
            wrong,
            format!("mqtt.publish knows {} only", KEYS.join(", ")),
        ));
    }
    let topic = data.get("topic").and_then(Value::as_str).unwrap_or_default();
    if !is_topic(topic) {
        return Err(wrong_data(
            "topic",
            "a topic to publish to, without wildcards".to_owned(),
        ));
    }
    let payload = match data.get("payload") {
        None | Some(Value::Null) => String::new(),
        Some(payload) => printed(payload),
    };
    if payload.len() > MAX_PUBLISH_BYTES {
        return Err(wrong_data(
            "payload",
            format!("at most {MAX_PUBLISH_BYTES} bytes"),
        ));
    }
    let config = Config(data.clone().into_iter().collect());
    let publish = Publish {
        topic: topic.to_owned(),
        payload,
        qos: config.qos(),
        retain: config.retain(),
        entity: None,
    };
    Ok(Outcome {
        publishes: vec![publish],
        ..Outcome::default()
    })
}

fn unknown_service(asked: &str) -> CallError {
    let all = table::all();
    let near = nearest(asked, all.iter().map(String::as_str));
    CallError::UnknownService {
        asked: quoted(asked),
        near: meant(near),
    }
}

fn wrong_data(key: &str, why: String) -> CallError {
    CallError::Data {
        key: quoted(key),
        why,
    }
}

fn unfit(entity: &str, service: &str, why: String) -> CallError {
    CallError::Unfit {
        entity: entity.to_owned(),
        service: service.to_owned(),
        why,
    }
}

/// One entity that is told to do something.
struct Command<'c> {
    id: &'c str,
    entity: &'c Entity,
    config: &'c Config,
    known: &'c Known,
    shown: &'c EntityState,
    service: &'c str,
    data: &'c Map<String, Value>,
    engine: &'c Engine<'c>,
    now_ms: i64,
    out: &'c mut Outcome,
}

impl Command<'_> {
    fn run(&mut self, component: Component, name: &str) -> Result<(), CallError> {
        // The state is known now; when the command arrives it may be sent for the second time.
        let name = if name == "toggle" {
            self.toggled(component)
        } else {
            name
        };
        match component {
            Component::Light => self.light(name),
            Component::Cover => self.cover(name),
            Component::Valve => self.valve(name),
            Component::Climate => self.climate(name),
            Component::Humidifier => self.humidifier(name),
            Component::Fan => self.fan(name),
            _ => self.simple(component, name),
        }
    }

    /// What toggling comes to, by what is known.
    fn toggled(&self, component: Component) -> &'static str {
        let state = self.shown.state.as_str();
        match component {
            Component::Cover if matches!(state, "closed" | "closing") => "open_cover",
            Component::Cover => "close_cover",
            Component::Valve if matches!(state, "closed" | "closing") => "open_valve",
            Component::Valve => "close_valve",
            Component::Climate if state == "off" => "turn_on",
            Component::Climate => "turn_off",
            _ if state == "on" => "turn_off",
            _ => "turn_on",
        }
    }

    fn has(&self, topic: &str) -> bool {
        self.config.text(topic).is_some_and(|topic| !topic.is_empty())
    }

    fn unfit(&self, why: impl Into<String>) -> CallError {
        unfit(self.id, self.service, why.into())
    }

    /// Publishes to the topic of a setting.
    fn send(&mut self, topic: &str, payload: String) -> Result<(), CallError> {
        let Some(topic) = self.config.text(topic).filter(|topic| !topic.is_empty()) else {
            return Err(self.unfit(format!(
                "it has no {topic}; {}",
                table::offers(self.entity.component)
            )));
        };
        if payload.len() > MAX_PUBLISH_BYTES {
            return Err(wrong_data(
                "payload",
                format!("at most {MAX_PUBLISH_BYTES} bytes"),
            ));
        }
        self.out.publishes.push(Publish {
            topic: topic.to_owned(),
            payload,
            qos: self.config.qos(),
            retain: self.config.retain(),
            entity: Some(self.id.to_owned()),
        });
        Ok(())
    }

    /// Publishes a value to the topic of a setting, through a template where there is one.
    fn send_by(
        &mut self,
        topic: &str,
        template: &str,
        value: Value,
        more: &[(&str, Value)],
    ) -> Result<(), CallError> {
        let payload = match self.rendered(template, value.clone(), more)? {
            Some(payload) => payload,
            None => printed(&value),
        };
        self.send(topic, payload)
    }

    /// What a command's template comes to; none: there is none.
    fn rendered(&self, key: &str, value: Value, more: &[(&str, Value)]) -> Result<Option<String>, CallError> {
        let Some(source) = self.config.text(key) else {
            return Ok(None);
        };
        let mut variables = Map::new();
        variables.insert("value".to_owned(), value);
        variables.insert("entity_id".to_owned(), Value::from(self.id));
        variables.insert("name".to_owned(), Value::from(self.entity.name.clone()));
        variables.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let template = Template::parse(source, self.engine.templates);
        let rendered = template.and_then(|template| template.command(&variables, self.engine));
        rendered
            .map(Some)
            .map_err(|why| self.unfit(format!("its {key} fails: {why}")))
    }

    /// Takes something for true where the device does not tell it on the topic of a setting.
    fn assume(&mut self, told_on: &str, state: Option<&str>, attributes: &[(&str, Value)]) {
        if self.has(told_on) && !plan::assumed(self.entity) {
            return;
        }
        let attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        let last = self.out.assumed.last_mut().filter(|last| last.entity == self.id);
        match last {
            Some(last) => {
                last.attributes.extend(attributes);
                if state.is_some() {
                    last.state = state.map(str::to_owned);
                }
            }
            None => self.out.assumed.push(Assumed {
                entity: self.id.to_owned(),
                state: state.map(str::to_owned),
                attributes: attributes.collect(),
            }),
        }
    }

    /// A number of the data, between two.
    fn number(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, CallError> {
        self.real(
            key,
            |value| (least..=most).contains(&value),
            || {
                let (least, most) = (crate::text::short(least), crate::text::short(most));
                format!("a number from {least} to {most}")
            },
        )
    }

    /// A number of the data; what is beyond either end stands for the end.
    fn bounded(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, CallError> {
        let value = self.real(key, |_| true, || "a number".to_owned())?;
        Ok(value.map(|value| value.clamp(least, most)))
    }

    fn real(
        &self,
        key: &str,
        fits: impl Fn(f64) -> bool,
        wanted: impl Fn() -> String,
    ) -> Result<Option<f64>, CallError> {
        let value = match self.data.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match value.filter(|value| value.is_finite() && fits(*value)) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong_data(key, wanted())),
        }
    }

    /// A number of the data that must be there.
    fn must(&self, key: &str, least: f64, most: f64) -> Result<f64, CallError> {
        let missing = || wrong_data(key, format!("{} needs it", self.service));
        self.number(key, least, most)?.ok_or_else(missing)
    }

    /// A text of the data.
    fn text(&self, key: &str) -> Result<Option<String>, CallError> {
        match self.data.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(_) | Value::Object(_)) => Err(wrong_data(key, "a text".to_owned())),
            Some(one) => Ok(Some(printed(one))),
        }
    }

    /// A text of the data that must be there, and must be one of these where there are any.
    fn choice(&self, key: &str, options: &[String]) -> Result<String, CallError> {
        let text = self
            .text(key)?
            .ok_or_else(|| wrong_data(key, format!("{} needs it", self.service)))?;
        self.one_of(key, &text, options)?;
        Ok(text)
    }

    fn one_of(&self, key: &str, text: &str, options: &[String]) -> Result<(), CallError> {
        if options.is_empty() || options.iter().any(|option| option == text) {
            return Ok(());
        }
        let near = nearest(text, options.iter().map(String::as_str));
        let some: Vec<&str> = options.iter().take(12).map(String::as_str).collect();
        Err(wrong_data(
            key,
            format!(
                "\"{}\" is none of {} of {}{}",
                quoted(text),
                some.join(", "),
                self.id,
                meant(near)
            ),
        ))
    }
}
