//! PURE: what the bridge knows and decides. Messages, letters and the time come in; a [`Draft`] of rows and letters comes out, and
//! acts to begin.

mod calls;
mod dead;
mod events;
mod finished;
mod library;
mod restore;
mod room;
mod states;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jarvis_devices::announce::Announcer;
use jarvis_devices::service::Assumed;
use jarvis_devices::{Change as Changed, Registry, View};
use jarvis_mqtt::Remembered;
use jarvis_rules::facts::Facts;
use jarvis_rules::run::{Context, RunId};
use jarvis_rules::triggers::{Change, Firing, Happening, HoldId, Look, Subscriber, Watch};
use serde_json::{Map, Value};

use super::act::Act;
use super::draft::Draft;
use crate::library::{Definition, Library};
use crate::metrics;
use crate::ran::{Runs, WithRuns};
use crate::rows;
use crate::settings::Shared;
use crate::shown;
use crate::wire::{Reminder, ToAutomation, encode};

pub(super) use calls::{Called, Came};
pub(super) use library::Loading;
pub(super) use restore::Kept;

/// Most automations.
const MOST_AUTOMATIONS: usize = 10_000;
/// Largest definition, in bytes as it is kept.
const MOST_DEFINITION_BYTES: usize = 100 * 1_024;
/// Largest act, in bytes as it is kept; the tables take somewhat more.
const MOST_ACT_BYTES: usize = 120 * 1_024;

/// Letters that an automation may have waiting before it is told no more of what triggers it.
const MOST_TRIGGERS_WAITING: u64 = 1_500;
/// Before it is not told either that it was changed or is to stop. The rest of the box is for what came of what it asked for.
const MOST_ORDERS_WAITING: u64 = 3_500;

/// Topics that are remembered for messages that triggered nothing.
const MOST_UNHEARD: usize = 100;

/// What stands beside the bridge's own rows.
#[derive(Clone)]
pub(super) struct Beside {
    /// How many letters wait for an automation.
    pub(super) waiting: Arc<dyn Fn(&str) -> u64 + Send + Sync>,
    /// How automations have run.
    pub(super) runs: Arc<dyn Runs>,
}

/// See the module.
pub(super) struct Home {
    shared: Arc<Shared>,
    registry: Registry,
    library: Library,
    watch: Watch,
    /// Waits that are watched, by run, and whose run it is.
    waits: BTreeMap<RunId, (String, BTreeSet<u32>)>,
    holds: BTreeMap<String, HoldId>,
    remembered: Remembered,
    acts: BTreeMap<String, Act>,
    reminders: BTreeMap<String, Reminder>,
    due: BTreeSet<(i64, String)>,
    nodes: BTreeMap<String, bool>,
    /// What came of drills last.
    drills: BTreeMap<String, String>,
    finished: finished::Ring,
    rooms: room::Rooms,
    announcer: Announcer,
    beside: Beside,
    /// What the broker kept while nobody was there may not be taken in yet: what falls due unless a message comes waits.
    hears_backlog: bool,
    /// Until when somebody has watched, by whichever clock was ahead, Unix milliseconds.
    watched_ms: i64,
    /// When the sun is next looked at.
    sun_due_ms: Option<i64>,
    /// Acts to begin.
    begun: Vec<Act>,
    /// The order of the act that was begun last.
    begun_so_far: u64,
    subscriptions: subscriptions::Subscriptions,
    /// What is to be subscribed to may have changed.
    topics_changed: bool,
    /// What Jarvis shows of itself may have changed.
    shown_changed: bool,
    /// What cannot be watched, by automation.
    problems: BTreeMap<String, Vec<String>>,
    /// Messages that should have triggered something and did not, by topic: why the last did not, and how many.
    unheard: BTreeMap<String, (String, u64)>,
}

impl Home {
    /// Devices and states, now.
    pub(super) fn view(&self, now_ms: i64) -> View {
        self.registry.view(now_ms)
    }

    pub(super) fn library(&self) -> &Library {
        &self.library
    }

    pub(super) fn acts(&self) -> &BTreeMap<String, Act> {
        &self.acts
    }

    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.registry.len(), self.rooms.dead.len(), self.reminders.len())
    }

    pub(super) fn devices(&self, now_ms: i64) -> usize {
        self.view(now_ms).devices().count()
    }

    pub(super) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Acts that are to begin, in their order; before they are written those up to the first that no letter asked for.
    pub(super) fn take_begun(&mut self, are_written: bool) -> Vec<Act> {
        let of_letters = self.begun.iter().take_while(|act| act.by.is_some()).count();
        let ready = if are_written { self.begun.len() } else { of_letters };
        self.begun.drain(..ready).collect()
    }

    /// Whether something else may be to be subscribed to than was last wished.
    pub(super) fn topics_changed(&self) -> bool {
        self.topics_changed
    }

    /// Nodes may be shown differently from now on.
    pub(super) fn nodes_changed(&mut self) {
        self.shown_changed = true;
    }

    /// Whether what is shown may have changed since this was last asked.
    pub(super) fn take_shown_changed(&mut self) -> bool {
        std::mem::take(&mut self.shown_changed)
    }

    /// All that something is to be heard of.
    fn filters(&self) -> BTreeSet<String> {
        let mut wanted: BTreeSet<String> = self.registry.filters().into_iter().collect();
        wanted.extend(self.watch.topics().map(str::to_owned));
        if self.shared.settings.announce {
            wanted.extend(self.announcer.filters());
        }
        if let Some(mqtt) = &self.shared.settings.mqtt {
            wanted.extend(mqtt.topics.iter().cloned());
        }
        wanted
    }

    /// What is wrong with automations and devices, in sentences.
    pub(super) fn problems(&self, most: usize) -> Vec<String> {
        let automations = self.problems.iter().flat_map(|(id, all)| {
            all.iter()
                .map(move |problem| format!("automation {id}: {problem}"))
        });
        let devices = self
            .registry
            .problems()
            .map(|problem| format!("{}: {} ({} times)", problem.topic, problem.why, problem.times));
        let unheard = self.unheard.iter().map(|(topic, (why, times))| {
            format!("a message at {topic} triggers nothing: {why} ({times} times)")
        });
        let full = |room: &room::Room, what: &str| {
            let (most, times) = (room.most(), room.left_out());
            (times > 0).then(|| format!("{what} than is kept ({most}, {times} times): the newest of it would be forgotten with this node"))
        };
        let full = [
            full(&self.rooms.registry, "devices say more of themselves"),
            full(&self.rooms.holds, "triggers with `for:` wait for more"),
        ];
        full.into_iter()
            .flatten()
            .chain(automations)
            .chain(unheard)
            .chain(devices)
            .take(most)
            .collect()
    }

    /// When it has to be ticked at the latest, Unix milliseconds.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        let reminder = self.due.first().map(|(due_ms, _)| *due_ms);
        let deadline = self.registry.next_deadline_ms();
        [
            self.watch.next_due_ms(),
            deadline.filter(|_| !self.hears_backlog),
            self.sun_due_ms,
            reminder,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether what the broker kept may not be taken in yet.
    pub(super) fn hears_backlog(&self) -> bool {
        self.hears_backlog
    }

    /// What falls due unless a message comes waits from here on.
    pub(super) fn hear_backlog(&mut self) {
        self.hears_backlog = true;
        self.watch.hold_back(true);
    }

    /// What the broker kept is taken in, or does not come: what waited for it is judged at the next tick.
    pub(super) fn heard_backlog(&mut self) {
        self.hears_backlog = false;
        self.watch.hold_back(false);
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now_ms: i64, draft: &mut Draft) {
        if !self.hears_backlog {
            let changes = self.registry.tick(now_ms);
            self.took(changes, now_ms, draft);
        }
        self.look_at_sun(now_ms, draft);
        if self.watch.next_due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            let changes = self.watching(now_ms, Watch::tick);
            self.follow(changes, draft);
        }
        self.remind(now_ms, draft);
        self.keep_registry(draft);
    }

    /// Has the watch look, with what is known now.
    fn watching<T>(&mut self, now_ms: i64, look: impl FnOnce(&mut Watch, &Look<'_>) -> T) -> T {
        let view = self.registry.view(now_ms);
        let facts: Arc<dyn Facts> = Arc::new(WithRuns::new(view, Arc::clone(&self.beside.runs)));
        let shared = Arc::clone(&self.shared);
        let with = Look {
            facts: &facts,
            templates: &shared.templates,
        };
        look(&mut self.watch, &with)
    }

    /// Something happened.
    fn happen(&mut self, happening: &Happening, now_ms: i64, draft: &mut Draft) {
        let changes = self.watching(now_ms, |watch, look| watch.happen(happening, look));
        self.follow(changes, draft);
    }

    /// Does what triggers came to.
    fn follow(&mut self, changes: Vec<Change>, draft: &mut Draft) {
        for change in changes {
            match change {
                Change::Fire(firing) => self.fire(firing, draft),
                Change::Keep(hold) => {
                    let (name, bytes) = (hold_row(&hold.id), encode(&hold));
                    if self.rooms.holds.take(&name, bytes.len()) {
                        draft.put_bytes(name.clone(), bytes);
                    } else {
                        draft.remove(name.clone());
                    }
                    self.holds.insert(name, hold.id);
                }
                Change::Forget(id) => self.forget_hold(&hold_row(&id), draft),
                Change::Missed(missed) => {
                    if let Subscriber::Automation(id) = missed.slot.subscriber.clone() {
                        self.send(&id, &ToAutomation::Missed(missed), draft);
                    }
                }
                Change::Rearmed => draft.touch(),
                Change::Retained { slot, topic } => self.had_retained(&slot, topic, draft),
                Change::Unheard { topic, why } => self.not_heard(topic, why),
                Change::Log(what) => tracing::warn!("{what}"),
            }
        }
    }

    fn fire(&mut self, firing: Firing, draft: &mut Draft) {
        match &firing.slot.subscriber {
            Subscriber::Automation(id) => {
                let id = id.clone();
                metrics::fired(1);
                self.send(&id, &ToAutomation::Fired(firing), draft);
            }
            Subscriber::Wait { run, wait } => {
                let Some((automation, _)) = self.waits.get(run) else {
                    return;
                };
                let letter = ToAutomation::Triggered {
                    run: run.clone(),
                    wait: *wait,
                    trigger: firing.data,
                };
                self.send(&automation.clone(), &letter, draft);
            }
        }
    }

    /// Sends an automation something that it did not ask for, if it has room.
    fn send(&mut self, automation: &str, letter: &ToAutomation, draft: &mut Draft) {
        if (self.beside.waiting)(automation) >= MOST_TRIGGERS_WAITING {
            tracing::error!(
                automation,
                "too many letters wait for an automation; what triggered it is dropped"
            );
        } else if !draft.tell(automation, letter) {
            tracing::error!(
                automation,
                "one message triggers more than a letter or a step may hold; what is too much is dropped"
            );
            if let ToAutomation::Fired(Firing { data, .. }) = letter
                && let Some(topic) = data.get("topic").and_then(Value::as_str)
            {
                let why = format!(
                    "it is too large for what it is to trigger together, automation {automation} for one"
                );
                self.not_heard(topic.to_owned(), why);
            }
        }
    }

    /// A message should have triggered something and did not.
    fn not_heard(&mut self, topic: String, why: String) {
        if self.unheard.len() >= MOST_UNHEARD && !self.unheard.contains_key(&topic) {
            return;
        }
        let known = self.unheard.entry(topic).or_default();
        *known = (why, known.1 + 1);
    }

    /// Tells an automation that it was changed or is to stop. Where it cannot be told it looks when it next does something.
    fn order(&self, automation: &str, letter: &ToAutomation, draft: &mut Draft) {
        if (self.beside.waiting)(automation) >= MOST_ORDERS_WAITING || !draft.tell(automation, letter) {
            tracing::error!(
                automation,
                "too many letters wait for an automation; it is not told of its change at once"
            );
        }
    }

    fn forget_hold(&mut self, name: &str, draft: &mut Draft) {
        if self.holds.remove(name).is_some() {
            self.rooms.holds.give_back(name);
            draft.remove(name.to_owned());
        }
    }

    /// Watches no more what a subscriber waited for.
    fn unwatch(&mut self, subscriber: &Subscriber, draft: &mut Draft) {
        self.topics_changed |= self.watch.has_topics(subscriber);
        self.expects_nothing(subscriber, draft);
        self.watch.remove(subscriber);
        let held: Vec<String> = self
            .holds
            .iter()
            .filter(|(_, id)| id.slot.subscriber == *subscriber)
            .map(|(name, _)| name.clone())
            .collect();
        for name in held {
            self.forget_hold(&name, draft);
        }
    }

    /// Takes over what the registry made of something.
    fn took(&mut self, changes: Vec<Changed>, now_ms: i64, draft: &mut Draft) {
        for change in changes {
            match change {
                Changed::Subscribe(_) | Changed::Unsubscribe(_) => self.topics_changed = true,
                Changed::State { entity, old, new } => {
                    self.happen(&Happening::State { entity, old, new }, now_ms, draft);
                }
                Changed::Event {
                    entity,
                    kind,
                    mut data,
                } => {
                    data.insert("entity_id".to_owned(), entity.into());
                    data.insert("type".to_owned(), kind.into());
                    let happening = Happening::Event {
                        event_type: "device_event".to_owned(),
                        data,
                        at_ms: now_ms,
                        context: Context::default(),
                    };
                    self.happen(&happening, now_ms, draft);
                }
                Changed::Device(_)
                | Changed::DeviceRemoved(_)
                | Changed::Appeared(_)
                | Changed::Described(_)
                | Changed::Removed(_)
                | Changed::Reachable { .. } => {}
            }
        }
    }

    /// Writes down what changed of devices and states.
    fn keep_registry(&mut self, draft: &mut Draft) {
        for (key, row) in self.registry.changed_rows() {
            let name = format!("{}{key}", rows::REGISTRY);
            match row.map(|row| row.to_bytes()) {
                Some(Ok(bytes)) if self.rooms.registry.take(&name, bytes.len()) => {
                    draft.put_bytes(name, bytes)
                }
                Some(Ok(_)) => draft.remove(name),
                Some(Err(error)) => tracing::error!(row = name, %error, "a row cannot be written down"),
                None => {
                    self.rooms.registry.give_back(&name);
                    draft.remove(name);
                }
            }
        }
        metrics::entities(self.registry.len());
    }

    /// An act has begun: it is kept until it is over.
    fn begin(&mut self, mut act: Act, draft: &mut Draft) {
        self.begun_so_far += 1;
        act.order = self.begun_so_far;
        let (name, bytes) = (format!("{}{}", rows::ACT, act.id), encode(&act));
        self.rooms.acts.set(&name, bytes.len());
        draft.put_bytes(name, bytes);
        self.acts.insert(act.id.clone(), act.clone());
        self.begun.push(act);
        metrics::open_acts(self.acts.len());
    }

    /// Shows an automation's state to the others; `before` is what it was.
    fn put_shown(&mut self, id: &str, before: Option<&Definition>, now_ms: i64, draft: &mut Draft) {
        let now = self.library.get(id).map(AsRef::as_ref);
        let changes = shown::show(&mut self.registry, before, now, now_ms);
        self.took(changes, now_ms, draft);
        self.shown_changed = true;
    }

    /// Takes it for true that devices have done what was asked of them.
    fn assume(&mut self, assumed: &[Assumed], now_ms: i64, draft: &mut Draft) {
        let changes = self.registry.assume(assumed, now_ms);
        self.took(changes, now_ms, draft);
        self.keep_registry(draft);
    }
}

fn hold_row(id: &HoldId) -> String {
    hash_row(rows::HOLD, &encode(id))
}

/// The row of what may be longer than a row's name: two sums of it are as good as the whole.
fn hash_row(prefix: &str, text: &[u8]) -> String {
    let sum = |seed| xxhash_rust::xxh64::xxh64(text, seed);
    format!("{prefix}{:016x}{:016x}", sum(0), sum(1))
}

/// No data.
fn none() -> Map<String, serde_json::Value> {
    Map::new()
}

#[cfg(test)]
mod tests;
