//! What the broker is asked to send: filters, and what it retains for those that are new.
//!
//! A filter stands in a row from before the broker is asked for it until after it has confirmed that it is given up: so whoever
//! takes over knows all that may be subscribed to. What the broker retains is for a trigger once, when its own filter is new; that it
//! is stands in a row too, with the topics of which the trigger has had it, until all has come.

use std::collections::{BTreeMap, BTreeSet};

use jarvis_mqtt::Wanted;
use jarvis_rules::triggers::{Slot, Subscriber};
use serde::{Deserialize, Serialize};

use super::super::draft::Draft;
use super::super::topics::without_overlap;
use super::restore::Names;
use super::{Home, hash_row};
use crate::rows;

/// What is subscribed to, and which filters are new. Of these the broker is asked for what it retains, and of no others: what is
/// subscribed to may be far wider.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Filters that may be subscribed to: their rows.
    held: BTreeSet<String>,
    /// Filters of triggers that are new, by subscriber.
    new: BTreeMap<Subscriber, New>,
    /// Wishes for what is retained so far, and wishes so far.
    wishes: u64,
    /// The last wish.
    wanted: Wanted,
}

/// New filters of one subscriber.
#[derive(Debug, Default)]
struct New {
    /// The filters, with the wish for what is retained of each.
    filters: BTreeMap<String, u64>,
    kept: Kept,
}

/// The same, as it is kept of an automation: its triggers, and the topics of which each has had what is retained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    automation: String,
    triggers: BTreeMap<usize, BTreeSet<u64>>,
}

impl Home {
    /// All that is to be subscribed to from here on, if that is something else than before; it may be asked for once the draft is
    /// written.
    pub(in super::super) fn wish(&mut self, draft: &mut Draft) -> Option<Wanted> {
        if !std::mem::take(&mut self.topics_changed) {
            return None;
        }
        let filters = without_overlap(self.filters());
        let mut retained = BTreeMap::new();
        for (filter, wish) in self.subscriptions.new.values().flat_map(|new| &new.filters) {
            let last = retained.entry(filter.clone()).or_insert(*wish);
            *last = (*last).max(*wish);
        }
        for filter in filters.iter().chain(retained.keys()) {
            if self.subscriptions.held.insert(filter.clone()) {
                draft.put(filter_row(filter), filter);
            }
        }
        let before = &self.subscriptions.wanted;
        if before.version > 0 && before.filters == filters && before.retained == retained {
            return None;
        }
        self.subscriptions.wishes += 1;
        let version = self.subscriptions.wishes;
        self.subscriptions.wanted = Wanted {
            version,
            filters,
            retained,
        };
        Some(self.subscriptions.wanted.clone())
    }

    /// All that may be subscribed to.
    pub(in super::super) fn held_filters(&self) -> BTreeSet<String> {
        self.subscriptions.held.clone()
    }

    /// The broker has answered for that wish: nothing else is subscribed to.
    pub(in super::super) fn settled(&mut self, wish: u64, draft: &mut Draft) {
        let Subscriptions { held, wanted, .. } = &mut self.subscriptions;
        if wish != wanted.version {
            return;
        }
        held.retain(|filter| {
            let stays = wanted.filters.contains(filter);
            if !stays {
                draft.remove(filter_row(filter));
            }
            stays
        });
    }

    /// The wish that was last, if what the broker retains is waited for.
    pub(in super::super) fn waits_for_retained(&self) -> Option<u64> {
        let Subscriptions { new, wanted, .. } = &self.subscriptions;
        (!new.is_empty()).then_some(wanted.version)
    }

    /// What the broker retains for new filters has come.
    pub(in super::super) fn retained_has_come(&mut self, draft: &mut Draft) {
        self.watch.retained_has_come();
        for subscriber in std::mem::take(&mut self.subscriptions.new).into_keys() {
            draft.remove_if(new_row(&subscriber));
        }
    }

    /// Filters of a subscriber that are not new.
    pub(super) fn known_filters(&self, subscriber: &Subscriber) -> BTreeSet<String> {
        let mut known: BTreeSet<String> = (self.watch.filters(subscriber).into_iter())
            .map(|(_, filter)| filter)
            .collect();
        if let Some(new) = self.subscriptions.new.get(subscriber) {
            known.retain(|filter| !new.filters.contains_key(filter));
        }
        known
    }

    /// Filters of a subscriber are new, but those that it had.
    pub(super) fn expect_retained(
        &mut self,
        subscriber: &Subscriber,
        had: &BTreeSet<String>,
        draft: &mut Draft,
    ) {
        let mut filters = self.watch.filters(subscriber);
        filters.retain(|(_, filter)| !had.contains(filter));
        let triggers = filters.iter().map(|(trigger, _)| (*trigger, BTreeSet::new()));
        let kept = Kept {
            automation: automation_of(subscriber).unwrap_or_default().to_owned(),
            triggers: triggers.collect(),
        };
        self.put_new(subscriber, filters, kept, draft);
    }

    fn put_new(
        &mut self,
        subscriber: &Subscriber,
        filters: Vec<(usize, String)>,
        kept: Kept,
        draft: &mut Draft,
    ) {
        if kept.triggers.is_empty() {
            return;
        }
        for (trigger, had) in &kept.triggers {
            let slot = Slot {
                subscriber: subscriber.clone(),
                trigger: *trigger,
            };
            self.watch.expect_retained(&slot, had.clone());
        }
        self.subscriptions.wishes += 1;
        let wish = self.subscriptions.wishes;
        if let Some(row) = new_row(subscriber) {
            draft.put(row, &kept);
        }
        let is_new = |(trigger, _): &(usize, String)| kept.triggers.contains_key(trigger);
        let filters = filters.into_iter().filter(is_new);
        let filters = filters.map(|(_, filter)| (filter, wish)).collect();
        self.subscriptions
            .new
            .insert(subscriber.clone(), New { filters, kept });
        self.topics_changed = true;
    }

    /// A trigger has had what is retained of a topic.
    pub(super) fn had_retained(&mut self, slot: &Slot, topic: u64, draft: &mut Draft) {
        let Some(new) = self.subscriptions.new.get_mut(&slot.subscriber) else {
            return;
        };
        new.kept.triggers.entry(slot.trigger).or_default().insert(topic);
        if let Some(row) = new_row(&slot.subscriber) {
            draft.put(row, &new.kept);
        }
    }

    /// A subscriber is watched no more, or anew.
    pub(super) fn expects_nothing(&mut self, subscriber: &Subscriber, draft: &mut Draft) {
        if self.subscriptions.new.remove(subscriber).is_some() {
            draft.remove_if(new_row(subscriber));
        }
    }

    /// Goes on from what was kept, once all automations are watched.
    pub(super) fn restore_subscriptions(&mut self, all: &Names, draft: &mut Draft) {
        self.subscriptions.held = all
            .read::<String>(rows::FILTER)
            .map(|(_, filter)| filter)
            .collect();
        for (_, kept) in all.read::<Kept>(rows::NEW_FILTERS).collect::<Vec<_>>() {
            let subscriber = Subscriber::Automation(kept.automation.clone());
            let filters = self.watch.filters(&subscriber);
            match filters.is_empty() {
                true => draft.remove_if(new_row(&subscriber)),
                false => self.put_new(&subscriber, filters, kept, draft),
            }
        }
    }
}

/// None: a wait's. Whoever takes over takes them for new: what ended the wait would have ended it.
fn automation_of(subscriber: &Subscriber) -> Option<&str> {
    match subscriber {
        Subscriber::Automation(id) => Some(id),
        Subscriber::Wait { .. } => None,
    }
}

fn new_row(subscriber: &Subscriber) -> Option<String> {
    Some(format!("{}{}", rows::NEW_FILTERS, automation_of(subscriber)?))
}

fn filter_row(filter: &str) -> String {
    // A filter may be longer than a row's name.
    hash_row(rows::FILTER, filter.as_bytes())
}
