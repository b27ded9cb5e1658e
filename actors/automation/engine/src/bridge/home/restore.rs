//! The bridge of its rows, as the last owner left them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jarvis_devices::Registry;
use jarvis_devices::announce::Announcer;
use jarvis_machine::storage::KeyValue;
use jarvis_mqtt::{Digest, MessageId, Remembered};
use jarvis_rules::run::Run;
use jarvis_rules::triggers::{Hold, Watch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::act::Act;
use super::super::draft::Draft;
use super::finished::Ring;
use super::room::Rooms;
use super::{Beside, Home, hold_row};
use crate::library::Definition;
use crate::mirror::{place, put_row};
use crate::rows;
use crate::settings::Shared;
use crate::wire::{Reminder, decode};

/// What a new owner finds.
pub(in super::super) struct Kept {
    /// All rows of the bridge.
    pub(in super::super) rows: Vec<KeyValue>,
    /// Runs that have not settled.
    pub(in super::super) runs: Vec<Run>,
}

/// A message that was decided on, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Decided {
    sequence: u64,
    epoch: u64,
    packet_id: u16,
    digest: [u8; 16],
}

impl From<MessageId> for Decided {
    fn from(id: MessageId) -> Self {
        Self {
            sequence: id.sequence,
            epoch: id.epoch,
            packet_id: id.packet_id,
            digest: id.digest.0,
        }
    }
}

impl From<Decided> for MessageId {
    fn from(kept: Decided) -> Self {
        Self {
            sequence: kept.sequence,
            epoch: kept.epoch,
            packet_id: kept.packet_id,
            digest: Digest(kept.digest),
        }
    }
}

impl Home {
    /// Until when somebody has watched: to be kept with every step. It goes back only where a clock was wrong altogether.
    pub(in super::super) fn watched_until(&mut self, now_ms: i64) -> i64 {
        self.watched_ms = believed(self.watched_ms, now_ms).max(now_ms);
        self.watched_ms
    }

    /// Goes on from what was kept. What fell due unseen and what has to be begun again stands in the draft and in the acts begun.
    pub(in super::super) fn restore(
        shared: Arc<Shared>,
        kept: Kept,
        beside: Beside,
        now_ms: i64,
        draft: &mut Draft,
    ) -> Self {
        let settings = &shared.settings;
        let registry = Registry::new(
            settings.devices.clone(),
            Arc::clone(&shared.templates),
            Arc::new(settings.home.clone()),
        );
        let announcer = Announcer {
            discovery_prefix: settings.devices.discovery_prefix.clone(),
            ..Announcer::new(settings.version.clone())
        };
        let mut home = Self {
            shared,
            registry,
            library: Default::default(),
            watch: Watch::new(),
            waits: BTreeMap::new(),
            holds: BTreeMap::new(),
            remembered: Remembered::default(),
            acts: BTreeMap::new(),
            reminders: BTreeMap::new(),
            due: BTreeSet::new(),
            nodes: BTreeMap::new(),
            drills: BTreeMap::new(),
            finished: Default::default(),
            rooms: Rooms::default(),
            announcer,
            beside,
            hears_backlog: false,
            watched_ms: now_ms,
            sun_due_ms: None,
            begun: Vec::new(),
            begun_so_far: 0,
            subscriptions: Default::default(),
            topics_changed: true,
            shown_changed: true,
            problems: BTreeMap::new(),
            unheard: BTreeMap::new(),
        };
        if home.shared.settings.mqtt.is_some() {
            home.hear_backlog();
        }
        let all = Names(kept.rows);
        home.restore_registry(&all, now_ms);
        home.restore_session(&all);
        home.restore_rooms(&all);
        home.nodes = all.read(rows::NODE).collect();
        home.drills = all.read(rows::DRILL).collect();
        home.finished = Ring::restore(all.read(rows::FINISHED).map(|(_, one)| one).collect());
        for (id, act) in all.read::<Act>(rows::ACT) {
            home.begun.push(act.clone());
            home.acts.insert(id, act);
        }
        home.begun.sort_by_key(|act| act.order);
        home.begun_so_far = home.begun.last().map_or(0, |last| last.order);
        for (id, reminder) in all.read::<Reminder>(rows::REMINDER) {
            home.due.insert((reminder.due_ms, id.clone()));
            home.reminders.insert(id, reminder);
        }
        // Until when somebody watched: what lies between that and now fell due unseen.
        let kept_ms = all
            .read::<i64>(rows::WATCHED)
            .find(|(rest, _)| rest.is_empty())
            .map_or(now_ms, |(_, at_ms)| at_ms);
        home.watched_ms = believed(kept_ms, now_ms);
        let watched_ms = home.watched_ms;
        // As it was when somebody last watched: what changed with the time alone since then is an edge that nobody saw.
        home.look_at_sun(watched_ms, &mut Draft::default());
        let mut since = Vec::new();
        for (id, definition) in all.read::<Definition>(rows::DEFINITION) {
            since.push((id.clone(), watched_ms.max(believed(definition.loaded_ms, now_ms))));
            home.library.set(&id, Some(definition));
            home.put_shown(&id, None, now_ms, &mut Draft::default());
        }
        // After all are shown: what is shown has the watch look at the time, and what it finds to be due is not to be thrown away.
        for (id, since_ms) in since {
            home.watch_automation(&id, since_ms, watched_ms, draft);
        }
        for run in kept.runs {
            home.watch_waits(&run.automation.clone(), &run, watched_ms, draft);
        }
        home.restore_subscriptions(&all, draft);
        for (name, hold) in all.read::<Hold>(rows::HOLD) {
            let (id, row) = (hold.id.clone(), format!("{}{name}", rows::HOLD));
            debug_assert_eq!(row, hold_row(&id), "a hold's row is named after it");
            if home.watch.restore(hold) {
                home.holds.insert(row, id);
            } else {
                draft.remove(row);
            }
        }
        home.sun_due_ms = None;
        home.tick(now_ms, draft);
        home
    }

    fn restore_registry(&mut self, all: &Names, now_ms: i64) {
        let mut kept: Vec<&KeyValue> = all.0.iter().filter(|(name, _)| place(name).is_some()).collect();
        kept.sort_by_cached_key(|(name, _)| place(name));
        let kept = kept
            .iter()
            .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
        for (name, value) in kept {
            let key = name.strip_prefix(rows::REGISTRY).unwrap_or(name);
            put_row(&mut self.registry, key, Some(value), now_ms);
        }
    }

    fn restore_rooms(&mut self, all: &Names) {
        let rooms = &mut self.rooms;
        let of = [
            (rows::REGISTRY, &mut rooms.registry),
            (rows::DEFINITION, &mut rooms.definitions),
            (rows::ACT, &mut rooms.acts),
            (rows::DEAD, &mut rooms.dead),
            (rows::HOLD, &mut rooms.holds),
            (rows::REMINDER, &mut rooms.reminders),
        ];
        for (prefix, room) in of {
            for (rest, value) in all.of(prefix) {
                room.set(&format!("{prefix}{rest}"), value.len());
            }
        }
    }

    fn restore_session(&mut self, all: &Names) {
        let epoch = all
            .read::<u64>(rows::SESSION)
            .next()
            .map_or(0, |(_, epoch)| epoch);
        self.remembered.begin(epoch);
        let mut decided: Vec<MessageId> = all
            .read::<Decided>(rows::PACKET)
            .map(|(_, decided)| decided.into())
            .collect();
        decided.sort_by_key(|id| id.sequence);
        for id in decided {
            if id.epoch == epoch {
                self.remembered.decide(id);
            } else {
                self.remembered.last_sequence = self.remembered.last_sequence.max(id.sequence);
            }
        }
    }
}

/// How far the last owner's clock may have been ahead of this one's. What it has seen fall due does not fall due again.
const AHEAD_MS: i64 = 60_000;

/// A time that was kept, unless the clock it was read from was wrong altogether.
fn believed(kept_ms: i64, now_ms: i64) -> i64 {
    if kept_ms <= now_ms + AHEAD_MS {
        kept_ms
    } else {
        now_ms
    }
}

/// Rows by name.
pub(super) struct Names(Vec<KeyValue>);

impl Names {
    /// What stands behind a prefix, with the rest of its name.
    fn of<'n>(&'n self, prefix: &'n str) -> impl Iterator<Item = (&'n str, &'n [u8])> {
        self.0.iter().filter_map(move |(name, value)| {
            let rest = std::str::from_utf8(name).ok()?.strip_prefix(prefix)?;
            Some((rest, value.as_slice()))
        })
    }

    /// The same, read. What does not decode is a newer build's: it is left alone.
    pub(super) fn read<'n, T: DeserializeOwned>(
        &'n self,
        prefix: &'n str,
    ) -> impl Iterator<Item = (String, T)> {
        self.of(prefix).filter_map(move |(rest, value)| match decode(value) {
            Ok(read) => Some((rest.to_owned(), read)),
            Err(error) => {
                tracing::warn!(row = format!("{prefix}{rest}"), %error, "a row of the bridge is left out");
                None
            }
        })
    }
}
