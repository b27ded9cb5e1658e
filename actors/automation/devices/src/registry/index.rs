//! Which entities a topic concerns.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits::MAX_WILDCARDS;
use crate::plan::Plan;
use crate::topic::{has_wildcard, matches};

/// What of an entity a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The entity's id.
    pub entity: Arc<str>,
    /// Which feed or availability topic of its plan.
    pub at: usize,
    /// Which of the two.
    pub availability: bool,
}

/// Routes by topic, and by filter where that has wildcards.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: BTreeMap<String, Arc<Vec<Route>>>,
    wild: BTreeMap<String, Arc<Vec<Route>>>,
    /// Filters that were touched since this was last asked, and whether they had routes before.
    touched: BTreeMap<String, bool>,
}

impl Index {
    /// The routes of a message.
    pub(crate) fn find(&self, topic: &str) -> Vec<Arc<Vec<Route>>> {
        let exact = self.exact.get(topic).cloned();
        let wild = self.wild.iter().filter(|(filter, _)| matches(filter, topic));
        exact
            .into_iter()
            .chain(wild.map(|(_, routes)| routes.clone()))
            .collect()
    }

    /// All filters.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().chain(self.wild.keys()).map(String::as_str)
    }

    /// Whether there is room for the wildcards of a plan.
    pub(crate) fn has_room(&self, plan: &Plan) -> bool {
        let new = plan
            .topics()
            .filter(|topic| has_wildcard(topic) && !self.wild.contains_key(*topic));
        self.wild.len() + new.count() <= MAX_WILDCARDS
    }

    /// Adds an entity's routes.
    pub(crate) fn add(&mut self, entity: &str, plan: &Plan) {
        let entity: Arc<str> = Arc::from(entity);
        for (topic, at, availability) in topics(plan) {
            let list = if has_wildcard(topic) {
                &mut self.wild
            } else {
                &mut self.exact
            };
            let before = list.contains_key(topic);
            self.touched.entry(topic.to_owned()).or_insert(before);
            let routes = list.entry(topic.to_owned()).or_default();
            Arc::make_mut(routes).push(Route {
                entity: entity.clone(),
                at,
                availability,
            });
        }
    }

    /// Takes an entity's routes away.
    pub(crate) fn remove(&mut self, entity: &str, plan: &Plan) {
        for (topic, _, _) in topics(plan) {
            let list = if has_wildcard(topic) {
                &mut self.wild
            } else {
                &mut self.exact
            };
            let Some(routes) = list.get_mut(topic) else {
                continue;
            };
            self.touched.entry(topic.to_owned()).or_insert(true);
            Arc::make_mut(routes).retain(|route| &*route.entity != entity);
            if routes.is_empty() {
                list.remove(topic);
            }
        }
    }

    /// Filters that are new or gone since this was last asked: true where it is new.
    pub(crate) fn changed(&mut self) -> Vec<(String, bool)> {
        if self.touched.is_empty() {
            return Vec::new();
        }
        let has = |filter: &String| self.exact.contains_key(filter) || self.wild.contains_key(filter);
        std::mem::take(&mut self.touched)
            .into_iter()
            .map(|(filter, before)| (has(&filter), before, filter))
            .filter(|(after, before, _)| after != before)
            .map(|(after, _, filter)| (filter, after))
            .collect()
    }
}

fn topics(plan: &Plan) -> impl Iterator<Item = (&str, usize, bool)> {
    let feeds = plan
        .feeds
        .iter()
        .enumerate()
        .map(|(at, feed)| (feed.topic.as_str(), at, false));
    let availability = plan.availability.iter().enumerate();
    feeds.chain(availability.map(|(at, one)| (one.topic.as_str(), at, true)))
}
