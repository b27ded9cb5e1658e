//! The index of all triggers, and what it remembers of them.

mod clocks;
mod happen;
mod holds;
mod states;
mod templates;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Change, Hold, HoldId, Lateness, Missed, Slot, Subscriber, TopicFilters, data, is_filter};
use crate::facts::Facts;
use crate::model::{Data, JarvisEvent, Policy, Template, Trigger, TriggerKind};
use crate::program::Program;
use crate::run::{Check, RunId, Waiting, render};
use crate::template::{Depends, Templates};

/// The largest message that triggers may be matched with, in bytes: it goes into the run that it starts, which is kept.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1_024;

/// What is looked at while triggers are matched.
#[derive(Debug, Clone, Copy)]
pub struct Look<'l> {
    /// States, the time, the home.
    pub facts: &'l Arc<dyn Facts>,
    /// Compiled templates.
    pub templates: &'l Templates,
}

/// A trigger, by its place in the index.
type RuleId = u32;

/// All triggers of automations and waits.
#[derive(Debug, Default)]
pub struct Watch {
    rules: BTreeMap<RuleId, Rule>,
    next_rule: RuleId,
    subscribers: BTreeMap<Subscriber, Vec<RuleId>>,

    topics: TopicFilters<RuleId>,
    /// State, numeric state and zone triggers, and times that entities keep.
    entities: HashMap<String, BTreeSet<RuleId>>,
    events: HashMap<String, BTreeSet<RuleId>>,
    webhooks: HashMap<String, BTreeSet<RuleId>>,
    intents: HashMap<String, BTreeSet<RuleId>>,
    /// Start, shutdown, nodes, drills: few things that happen seldom.
    cluster: BTreeSet<RuleId>,

    /// Templates, by what they read last time.
    read_entities: HashMap<String, BTreeSet<RuleId>>,
    read_domains: HashMap<String, BTreeSet<RuleId>>,
    read_all: BTreeSet<RuleId>,
    read_now: BTreeSet<RuleId>,
    /// The minute for which templates that read the time were last looked at, since 1970.
    minute: Option<i64>,

    /// Times that triggers wait for, and which of a trigger's times it is.
    timers: BTreeSet<(i64, RuleId, usize)>,
    holds: BTreeMap<(RuleId, String), Hold>,
    hold_times: BTreeSet<(i64, RuleId, String)>,
    /// What would end a hold may not have been heard yet.
    holds_wait: bool,
}

/// One trigger.
#[derive(Debug, Clone)]
struct Rule {
    slot: Slot,
    trigger: Trigger,
    policy: Policy,
    variables: Arc<Map<String, Value>>,
    /// What its limited templates came to when it was inserted: topic, payload, event types, event data.
    fixed: Fixed,
    /// Entities whose number was last seen out of bounds: the next within fires.
    armed: BTreeSet<String>,
    /// Whether the template was last true.
    truth: bool,
    /// What it read.
    depends: Depends,
    /// The times it waits for.
    due: BTreeMap<usize, i64>,
    /// While its filter is new: the topics of which it has had what the broker retains.
    retained: Option<BTreeSet<u64>>,
}

/// Templates that are rendered once.
#[derive(Debug, Clone, Default)]
struct Fixed {
    topic: String,
    payload: Option<String>,
    types: Vec<String>,
    data: Map<String, Value>,
}

impl Watch {
    /// Watches nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches an automation's triggers, in the place of those it had. Times are looked for from `since_ms` on: until when somebody
    /// watched, or when the automation was loaded, whichever was later. What cannot be watched is told, in sentences.
    pub fn insert_automation(&mut self, program: &Program, since_ms: i64, look: &Look<'_>) -> Vec<String> {
        let automation = program.automation();
        let mut problems = Vec::new();
        let mut variables = Map::new();
        for (name, data) in &automation.trigger_variables {
            match render(data, look.templates, look.facts, &variables) {
                Ok(value) => {
                    variables.insert(name.clone(), value);
                }
                Err(error) => problems.push(format!("the trigger variable {name}: {error}")),
            }
        }
        let subscriber = Subscriber::Automation(automation.id.clone());
        problems.extend(self.insert(
            subscriber,
            &automation.triggers,
            variables,
            automation.policy,
            since_ms,
            look,
        ));
        problems
    }

    /// Watches what a run waits for.
    pub fn insert_wait(
        &mut self,
        run: &RunId,
        waiting: &Waiting,
        policy: Policy,
        look: &Look<'_>,
    ) -> Vec<String> {
        let subscriber = Subscriber::Wait {
            run: run.clone(),
            wait: waiting.wait,
        };
        let variables = waiting.variables.clone();
        self.insert(
            subscriber,
            &waiting.triggers,
            variables,
            policy,
            waiting.since_ms,
            look,
        )
    }

    /// Watches triggers, in the place of those that the subscriber had.
    pub fn insert(
        &mut self,
        subscriber: Subscriber,
        triggers: &[Trigger],
        variables: Map<String, Value>,
        policy: Policy,
        since_ms: i64,
        look: &Look<'_>,
    ) -> Vec<String> {
        self.remove(&subscriber);
        let variables = Arc::new(variables);
        let mut problems = Vec::new();
        for (index, trigger) in triggers.iter().enumerate().filter(|(_, trigger)| trigger.enabled) {
            let fixed = match Fixed::of(&trigger.kind, &variables, look) {
                Ok(fixed) => fixed,
                Err(problem) => {
                    problems.push(format!("the trigger {}: {problem}", trigger.id));
                    continue;
                }
            };
            let rule = Rule {
                slot: Slot {
                    subscriber: subscriber.clone(),
                    trigger: index,
                },
                trigger: trigger.clone(),
                policy: trigger.policy.unwrap_or(policy),
                variables: Arc::clone(&variables),
                fixed,
                armed: BTreeSet::new(),
                truth: false,
                depends: Depends::default(),
                due: BTreeMap::new(),
                retained: None,
            };
            let id = self.next_rule;
            self.next_rule = self.next_rule.wrapping_add(1);
            self.index(id, &rule);
            self.rules.insert(id, rule);
            self.subscribers.entry(subscriber.clone()).or_default().push(id);
            self.begin(id, since_ms, look);
        }
        problems
    }

    /// Watches a subscriber's triggers no more. Its holds are forgotten here; those that were kept are the caller's to remove.
    pub fn remove(&mut self, subscriber: &Subscriber) {
        for id in self.subscribers.remove(subscriber).unwrap_or_default() {
            let Some(rule) = self.rules.remove(&id) else {
                continue;
            };
            self.unindex(id, &rule);
            self.unread(id, &rule.depends);
            for (which, due_ms) in &rule.due {
                self.timers.remove(&(*due_ms, id, *which));
            }
            let held: Vec<(RuleId, String)> = self
                .holds
                .range((id, String::new())..)
                .take_while(|((rule, _), _)| *rule == id)
                .map(|(key, _)| key.clone())
                .collect();
            for key in held {
                self.take_hold(&key);
            }
        }
    }

    /// Goes on with a hold that was kept. False: its trigger is not watched, so that it can be kept no more.
    pub fn restore(&mut self, hold: Hold) -> bool {
        let slot = &hold.id.slot;
        let rules = self
            .subscribers
            .get(&slot.subscriber)
            .map_or(&[][..], Vec::as_slice);
        let found = rules
            .iter()
            .find(|id| self.rules.get(id).is_some_and(|rule| rule.slot == *slot))
            .copied();
        let Some(id) = found else { return false };
        self.put_hold(id, hold);
        true
    }

    /// Whether holds that fall due wait, since what would end them may have come and is not taken in.
    pub fn hold_back(&mut self, wait: bool) {
        self.holds_wait = wait;
    }

    /// The topics that triggers wait for, as filters; some more than once.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let topics = self.rules.values().map(|rule| rule.fixed.topic.as_str());
        topics.filter(|topic| !topic.is_empty())
    }

    /// Whether a subscriber waits for messages of some topic.
    pub fn has_topics(&self, subscriber: &Subscriber) -> bool {
        let own = self.subscribers.get(subscriber).into_iter().flatten();
        let mut rules = own.filter_map(|id| self.rules.get(id));
        rules.any(|rule| !rule.fixed.topic.is_empty())
    }

    /// A subscriber's filters, each with its trigger's place.
    pub fn filters(&self, subscriber: &Subscriber) -> Vec<(usize, String)> {
        let own = self.subscribers.get(subscriber).into_iter().flatten();
        let rules = own.filter_map(|id| self.rules.get(id));
        let with_topic = rules.filter(|rule| !rule.fixed.topic.is_empty());
        with_topic
            .map(|rule| (rule.slot.trigger, rule.fixed.topic.clone()))
            .collect()
    }

    /// The filter of a trigger is new: what the broker retains is for it, once of each topic, and not of those in `had`. For every
    /// other trigger it was said before.
    pub fn expect_retained(&mut self, slot: &Slot, had: BTreeSet<u64>) {
        let own = self.subscribers.get(&slot.subscriber).into_iter().flatten();
        for id in own {
            if let Some(rule) = self.rules.get_mut(id).filter(|rule| rule.slot == *slot) {
                rule.retained = Some(had.clone());
            }
        }
    }

    /// What the broker retains for new filters has come.
    pub fn retained_has_come(&mut self) {
        self.rules.values_mut().for_each(|rule| rule.retained = None);
    }

    /// How many triggers are watched.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// When it has to be ticked at the latest, Unix milliseconds. With templates that read the time, that is the next minute.
    pub fn next_due_ms(&self) -> Option<i64> {
        let timer = self.timers.first().map(|(due_ms, ..)| *due_ms);
        let hold = self.hold_times.first().map(|(due_ms, ..)| *due_ms);
        let hold = hold.filter(|_| !self.holds_wait);
        let minute = self
            .minute
            .filter(|_| !self.read_now.is_empty())
            .map(|minute| (minute + 1) * clocks::MINUTE_MS);
        [timer, hold, minute].into_iter().flatten().min()
    }

    fn index(&mut self, id: RuleId, rule: &Rule) {
        for_each_key(rule, |key| match key {
            Key::Topic(filter) => self.topics.insert(filter, id),
            Key::Entity(name) => insert(&mut self.entities, name, id),
            Key::Event(name) => insert(&mut self.events, name, id),
            Key::Webhook(name) => insert(&mut self.webhooks, name, id),
            Key::Intent(name) => insert(&mut self.intents, name, id),
            Key::Cluster => {
                self.cluster.insert(id);
            }
        });
    }

    fn unindex(&mut self, id: RuleId, rule: &Rule) {
        for_each_key(rule, |key| match key {
            Key::Topic(filter) => self.topics.remove(filter, id),
            Key::Entity(name) => remove(&mut self.entities, name, id),
            Key::Event(name) => remove(&mut self.events, name, id),
            Key::Webhook(name) => remove(&mut self.webhooks, name, id),
            Key::Intent(name) => remove(&mut self.intents, name, id),
            Key::Cluster => {
                self.cluster.remove(&id);
            }
        });
    }

    /// What a trigger begins with: its times, what its template comes to, which numbers are out of bounds.
    fn begin(&mut self, id: RuleId, since_ms: i64, look: &Look<'_>) {
        self.arm(id, look);
        self.set_timers(id, since_ms, look);
        self.first_truth(id, look);
    }

    /// What becomes of something that fell due: go on with how late it is, or not.
    fn lateness(rule: &Rule, due_ms: i64, look: &Look<'_>, changes: &mut Vec<Change>) -> Option<Lateness> {
        let lateness = Lateness::of(rule.policy, due_ms, look.facts.now_ms());
        let (by_ms, why) = match lateness {
            Lateness::OnTime | Lateness::Late { .. } => return Some(lateness),
            Lateness::Skipped { by_ms } => (by_ms, String::from("its policy is skip")),
            Lateness::TooLate { by_ms } => {
                let most = rule.policy.at_most_late_ms;
                (
                    by_ms,
                    format!("it would be {by_ms} ms late, and at most {most} ms are allowed"),
                )
            }
        };
        changes.push(Change::Missed(Missed {
            slot: rule.slot.clone(),
            due_ms,
            by_ms,
            why,
        }));
        None
    }
}

impl Rule {
    fn check<'c>(&'c self, look: &'c Look<'c>) -> Check<'c> {
        Check {
            facts: look.facts,
            templates: look.templates,
            variables: &self.variables,
        }
    }
}

impl Fixed {
    fn of(kind: &TriggerKind, variables: &Map<String, Value>, look: &Look<'_>) -> Result<Self, String> {
        let text = |template: &Template| {
            if !template.0.contains('{') {
                return Ok(template.0.clone());
            }
            let rendered = look
                .templates
                .render(&template.0, Arc::clone(look.facts), variables);
            rendered
                .map(|rendered| rendered.text)
                .map_err(|error| error.to_string())
        };
        let mut fixed = Self::default();
        match kind {
            TriggerKind::Mqtt { topic, payload, .. } => {
                fixed.topic = text(topic)?;
                if !is_filter(&fixed.topic) {
                    return Err(format!("{:?} is not a topic filter", fixed.topic));
                }
                fixed.payload = payload.as_ref().map(text).transpose()?;
            }
            TriggerKind::Event { types, data } => {
                fixed.types = types.iter().map(text).collect::<Result<_, _>>()?;
                for (name, data) in data {
                    let value = match data {
                        Data::Plain(value) => value.clone(),
                        other => {
                            render(other, look.templates, look.facts, variables).map_err(|e| e.to_string())?
                        }
                    };
                    fixed.data.insert(name.clone(), value);
                }
            }
            _ => {}
        }
        Ok(fixed)
    }
}

/// What a trigger is found by.
enum Key<'k> {
    Topic(&'k str),
    Entity(&'k str),
    Event(&'k str),
    Webhook(&'k str),
    Intent(&'k str),
    Cluster,
}

fn for_each_key(rule: &Rule, mut visit: impl FnMut(Key<'_>)) {
    match &rule.trigger.kind {
        TriggerKind::Mqtt { .. } => visit(Key::Topic(&rule.fixed.topic)),
        TriggerKind::State { entities, .. }
        | TriggerKind::NumericState { entities, .. }
        | TriggerKind::Zone { entities, .. } => entities.iter().for_each(|id| visit(Key::Entity(&id.0))),
        TriggerKind::Time { at, .. } => {
            for at in at {
                if let crate::model::At::Entity { entity, .. } = at {
                    visit(Key::Entity(&entity.0));
                }
            }
        }
        TriggerKind::Event { .. } => rule.fixed.types.iter().for_each(|name| visit(Key::Event(name))),
        TriggerKind::Webhook { id, .. } => visit(Key::Webhook(id)),
        TriggerKind::Jarvis(JarvisEvent::Intent(name)) => visit(Key::Intent(name)),
        TriggerKind::Start | TriggerKind::Shutdown | TriggerKind::Jarvis(_) => visit(Key::Cluster),
        TriggerKind::TimePattern { .. } | TriggerKind::Sun { .. } | TriggerKind::Template { .. } => {}
    }
}

fn insert(map: &mut HashMap<String, BTreeSet<RuleId>>, name: &str, id: RuleId) {
    match map.get_mut(name) {
        Some(set) => {
            set.insert(id);
        }
        None => {
            map.insert(name.to_owned(), BTreeSet::from([id]));
        }
    }
}

fn remove(map: &mut HashMap<String, BTreeSet<RuleId>>, name: &str, id: RuleId) {
    if let Some(set) = map.get_mut(name) {
        set.remove(&id);
        if set.is_empty() {
            map.remove(name);
        }
    }
}

fn found(map: &HashMap<String, BTreeSet<RuleId>>, name: &str) -> Vec<RuleId> {
    map.get(name)
        .map(|set| set.iter().copied().collect())
        .unwrap_or_default()
}

/// How a hold is named.
fn hold_id(rule: &Rule, entity: &str) -> HoldId {
    HoldId {
        slot: rule.slot.clone(),
        entity: entity.to_owned(),
    }
}

/// `trigger` for a trigger whose time has come.
fn time_data(rule: &Rule, now_ms: i64, entity: Option<&str>) -> Value {
    data::time(&rule.trigger, rule.slot.trigger, now_ms, entity)
}
