//! What happens outside the broker: events, webhooks, drills, nodes, reminders.

use jarvis_rules::run::Context;
use jarvis_rules::triggers::Happening;

use super::super::act::{Act, Deed};
use super::super::draft::Draft;
use super::Home;
use crate::rows;
use crate::wire::{Reminder, Told, encode};

impl Home {
    /// Somebody told of something.
    pub(in super::super) fn told(&mut self, told: Told, now_ms: i64, draft: &mut Draft) {
        let happening = match told {
            Told::Event { event_type, data } => Happening::Event {
                event_type,
                data,
                at_ms: now_ms,
                context: Context::default(),
            },
            Told::Webhook {
                id,
                method,
                local,
                json,
                data,
                query,
            } => Happening::Webhook {
                id,
                method,
                local,
                json,
                data,
                query,
            },
            Told::Drill { name, passed } => {
                let came = if passed { "passed" } else { "failed" };
                let came = format!("{came} {}", jarvis_devices::moment(now_ms));
                draft.put(format!("{}{name}", rows::DRILL), &came);
                self.drills.insert(name.clone(), came);
                self.shown_changed = true;
                Happening::Drill { name, passed }
            }
            Told::Intent {
                name,
                slots,
                session,
                id,
            } => {
                if let Some(id) = id {
                    let id = format!("intent-{id}");
                    if self.finished(&id).is_some() {
                        return;
                    }
                    self.finish(&id, None, draft);
                }
                Happening::Intent { name, slots, session }
            }
        };
        self.happen(&happening, now_ms, draft);
    }

    /// Automations are loaded and states known, for the first time since the whole cluster was up.
    pub(in super::super) fn started(&mut self, now_ms: i64, draft: &mut Draft) {
        self.happen(&Happening::Start, now_ms, draft);
    }

    /// Which nodes answer, by name. Told of is what differs from what was told last, by whichever owner.
    pub(in super::super) fn saw_nodes(&mut self, now: &[(String, bool)], now_ms: i64, draft: &mut Draft) {
        for (name, up) in now {
            let before = self.nodes.insert(name.clone(), *up);
            if before == Some(*up) {
                continue;
            }
            draft.put(format!("{}{name}", rows::NODE), up);
            self.shown_changed = true;
            let node = name.clone();
            match (before, up) {
                (Some(true), false) => self.happen(&Happening::NodeDown { node }, now_ms, draft),
                (Some(false), true) => self.happen(&Happening::NodeUp { node }, now_ms, draft),
                // A node that is new is no news, whether it answers or not.
                _ => {}
            }
        }
        let gone: Vec<String> = self
            .nodes
            .keys()
            .filter(|name| !now.iter().any(|(known, _)| known == *name))
            .cloned()
            .collect();
        for name in gone {
            self.nodes.remove(&name);
            draft.remove(format!("{}{name}", rows::NODE));
            self.shown_changed = true;
        }
    }

    /// Keeps a reminder. The same id again is the same reminder.
    pub(in super::super) fn keep_reminder(&mut self, reminder: Reminder, draft: &mut Draft) {
        if self.reminders.contains_key(&reminder.id) {
            return;
        }
        let (name, bytes) = (reminder_row(&reminder.id), encode(&reminder));
        if !self.rooms.reminders.take(&name, bytes.len()) {
            tracing::error!(
                session = reminder.session,
                "too many reminders wait; one is not kept"
            );
            return;
        }
        draft.put_bytes(name, bytes);
        self.due.insert((reminder.due_ms, reminder.id.clone()));
        self.shown_changed = true;
        self.reminders.insert(reminder.id.clone(), reminder);
    }

    /// Takes a reminder back; false: there is none.
    pub(in super::super) fn cancel_reminder(&mut self, id: &str, draft: &mut Draft) -> bool {
        let Some(reminder) = self.reminders.remove(id) else {
            return false;
        };
        self.due.remove(&(reminder.due_ms, reminder.id));
        self.rooms.reminders.give_back(&reminder_row(id));
        draft.remove(reminder_row(id));
        self.shown_changed = true;
        true
    }

    /// Says what is to be said by now. However late it is: a person asked for it, and had rather be told late.
    pub(super) fn remind(&mut self, now_ms: i64, draft: &mut Draft) {
        while let Some((due_ms, id)) = self.due.first().cloned() {
            if due_ms > now_ms || draft.is_enough() {
                return;
            }
            let Some(reminder) = self.reminders.get(&id).cloned() else {
                self.due.remove(&(due_ms, id));
                continue;
            };
            self.cancel_reminder(&id, draft);
            let act = Act {
                id: format!("reminder-{id}"),
                by: None,
                asked_ms: due_ms,
                deed: Deed::Remind {
                    session: reminder.session,
                    text: reminder.text,
                },
                order: 0,
                not_reached: Vec::new(),
            };
            self.begin(act, draft);
        }
    }
}

fn reminder_row(id: &str) -> String {
    format!("{}{id}", rows::REMINDER)
}
