//! What a message does to the entities that hear it. An entity may hear it in several ways: what it switches, measures, has
//! for attributes and whether it can be reached, all on one topic. All of them together come to one change.

use std::sync::Arc;

use jarvis_rules::facts::Facts;
use serde_json::{Map, Value};

use super::index::Route;
use super::live::Live;
use super::store::Entry;
use super::{Change, Registry, moment};
use crate::apply::{Taken, take};
use crate::limits::MAX_STATE_BYTES;
use crate::plan::{Availability, Slot};
use crate::template::{Engine, Payload};

/// What a message comes to for one entity.
struct News {
    entity: Arc<str>,
    live: Live,
    /// Whether it is told of though nothing is another than before.
    force: bool,
    /// What happened, where something did.
    happened: Option<(String, Map<String, Value>)>,
    /// What of the message could not be used.
    faults: Vec<String>,
}

impl Registry {
    /// Lets all entities hear a message that is for them.
    pub(super) fn hear(
        &mut self,
        topic: &str,
        payload: &[u8],
        retained: bool,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) {
        let routes = self.index.find(topic);
        if routes.is_empty() {
            return;
        }
        let payload = match readable(payload) {
            Ok(text) => Payload::new(text),
            Err(why) => return self.problem(topic, why, now_ms),
        };
        // By id, so that the order of the changes does not hang on the order in which entities were told of.
        let mut routes: Vec<&Route> = routes.iter().flat_map(|routes| routes.iter()).collect();
        routes.sort_by(|one, other| one.entity.cmp(&other.entity));
        // Before any of it is kept, so that templates see what was so before the message, whichever entity they ask for.
        let all: Vec<News> = routes
            .chunk_by(|one, other| one.entity == other.entity)
            .filter_map(|routes| self.news(routes, &payload, retained, now_ms))
            .collect();
        for news in all {
            let id = &*news.entity;
            for why in news.faults {
                self.problem(topic, format!("{id}: {why}"), now_ms);
            }
            self.settle(id, news.live, news.force, now_ms, changes);
            if let Some((kind, data)) = news.happened {
                changes.push(Change::Event {
                    entity: id.to_owned(),
                    kind,
                    data,
                });
            }
        }
    }

    /// What a message comes to for the entity of these routes; none: nothing.
    fn news(&self, routes: &[&Route], payload: &Payload<'_>, retained: bool, now_ms: i64) -> Option<News> {
        let entity = routes.first()?.entity.clone();
        let entry = self.store.get(&entity)?;
        let facts = || -> Arc<dyn Facts> { Arc::new(self.view(now_ms)) };
        let engine = Engine {
            templates: &self.templates,
            facts: &facts,
        };
        let mut news = News {
            entity,
            live: (*entry.live).clone(),
            force: false,
            happened: None,
            faults: Vec::new(),
        };
        for route in routes {
            let taken = if route.availability {
                news.reach(entry, route.at, payload, &engine)
            } else {
                news.know(entry, route.at, payload, &engine, retained, now_ms)
            };
            if let Err(why) = taken {
                news.faults.push(why);
            }
        }
        // Most messages say what is known already.
        let same = !news.force && news.faults.is_empty() && news.live.knows_the_same(&entry.live);
        (!same).then_some(news)
    }
}

impl News {
    /// Takes in what a payload says of whether the entity can be reached.
    fn reach(
        &mut self,
        entry: &Entry,
        at: usize,
        payload: &Payload<'_>,
        engine: &Engine<'_>,
    ) -> Result<(), String> {
        let plan = &entry.plan;
        let Some(one) = plan.availability.get(at) else {
            return Ok(());
        };
        let rendered = match &one.template {
            Some(template) => template.value(payload, &plan.variables, engine),
            None => Ok(None),
        };
        let online = match rendered {
            Ok(said) => says(one, said.as_deref().unwrap_or(payload.text)),
            // Devices that once said it plainly may do so still.
            Err(why) => match says(one, payload.text) {
                None if !plan.sparse => return Err(why),
                said => said,
            },
        };
        if online.is_none() {
            return Ok(());
        }
        self.live.heard.resize(plan.availability.len(), None);
        if let Some(heard) = self.live.heard.get_mut(at) {
            *heard = online;
        }
        self.live.latest = online;
        Ok(())
    }

    /// Takes in what a payload says of the entity's state or attributes.
    fn know(
        &mut self,
        entry: &Entry,
        at: usize,
        payload: &Payload<'_>,
        engine: &Engine<'_>,
        retained: bool,
        now_ms: i64,
    ) -> Result<(), String> {
        let plan = &entry.plan;
        let Some(feed) = plan.feeds.get(at) else {
            return Ok(());
        };
        // What speaks is there, whatever it says.
        if let (Some(after), false) = (plan.expire_after_ms, feed.slot == Slot::Attributes) {
            self.live.expired = false;
            self.live.expires_at_ms = Some(now_ms.saturating_add(after));
        }
        let mut known = self.live.known.clone();
        match take(feed, payload, plan, engine, &mut known, &mut self.faults)? {
            Taken::Nothing => return Ok(()),
            // What is retained happened before, perhaps long before.
            Taken::Happened(..) if retained => return Ok(()),
            Taken::Happened(kind, data) => {
                known.state = Some(moment(now_ms));
                known.attributes = data.clone().into_iter().collect();
                known
                    .attributes
                    .insert("event_type".to_owned(), Value::from(kind.clone()));
                self.force = true;
                self.happened = Some((kind, data));
            }
            Taken::Heard => {
                self.force |= entry.entity.config.flag("force_update") == Some(true);
                if let (Some(after), Slot::State(_)) = (plan.off_delay_ms, &feed.slot) {
                    let on = known.state.as_deref() == Some("on");
                    self.live.off_at_ms = on.then(|| now_ms.saturating_add(after));
                }
            }
        }
        self.live.known = known;
        Ok(())
    }
}

/// What a text says of whether an entity can be reached.
fn says(one: &Availability, text: &str) -> Option<bool> {
    match text {
        text if text == one.online => Some(true),
        text if text == one.offline => Some(false),
        _ => None,
    }
}

fn readable(payload: &[u8]) -> Result<&str, String> {
    if payload.len() > MAX_STATE_BYTES {
        return Err(format!(
            "{} bytes, at most {MAX_STATE_BYTES} are read as a state",
            payload.len()
        ));
    }
    std::str::from_utf8(payload).map_err(|_| "it is not UTF-8 text".to_owned())
}
