//! Messages of devices, and what is derived from the time.

use jarvis_devices::announce::Asked;
use jarvis_mqtt::{MAX_REMEMBERED, Message, MessageId, Outcome};
use jarvis_rules::triggers::Happening;

use super::super::act::{Act, Deed};
use super::super::draft::Draft;
use super::restore::Decided;
use super::{Came, Changed, Home, none};
use crate::api::ulid;
use crate::rows;
use crate::shown::sun_of;
use crate::wire::ToAutomation;

impl Home {
    /// Decides on a message of the broker: once, by its id.
    pub(in super::super) fn message(&mut self, message: &Message, now_ms: i64, draft: &mut Draft) -> Outcome {
        if let Some(letter) = message.replay_of
            && !self.forget(&ulid::text(letter), draft)
        {
            return Outcome::Done;
        }
        if let Some(id) = message.id {
            if self.remembered.has(&id) {
                return Outcome::Done;
            }
            self.remembered.decide(id);
            draft.put(packet_row(&id), &Decided::from(id));
        }
        if message.copy {
            return Outcome::Done;
        }
        let changes = self
            .registry
            .message(&message.topic, &message.payload, message.retained, now_ms);
        let happening = Happening::Mqtt {
            topic: message.topic.clone(),
            payload: message.payload.to_vec(),
            qos: if message.id.is_some() { 1 } else { 0 },
            retain: message.retained,
        };
        self.happen(&happening, now_ms, draft);
        self.took(changes, now_ms, draft);
        self.keep_registry(draft);
        if self.shared.settings.announce {
            self.commanded(message, now_ms, draft);
        }
        Outcome::Done
    }

    /// The broker has begun a new session.
    pub(in super::super) fn began(&mut self, epoch: u64, draft: &mut Draft) {
        if epoch > self.remembered.epoch {
            self.remembered.begin(epoch);
            draft.put(rows::SESSION.to_owned(), &epoch);
        }
    }

    /// Somebody asks for something on one of Jarvis's own topics.
    fn commanded(&mut self, message: &Message, now_ms: i64, draft: &mut Draft) {
        let asked = match self
            .announcer
            .asked(&message.topic, &message.payload, message.retained)
        {
            None => return,
            Some(Ok(asked)) => asked,
            Some(Err(error)) => {
                tracing::warn!(topic = message.topic, %error, "a command is not taken");
                return;
            }
        };
        match asked {
            Asked::Enable { automation, on } => {
                if !self.enable(&automation, on, true, now_ms, draft) {
                    tracing::warn!(automation, "there is no such automation to switch");
                }
            }
            Asked::Trigger { automation } => {
                if self.library.get(&automation).is_none() {
                    tracing::warn!(automation, "there is no such automation to start");
                    return;
                }
                let letter = ToAutomation::Trigger {
                    run: self.new_run(),
                    variables: none(),
                    skip_conditions: true,
                    by: "home assistant".to_owned(),
                };
                self.send(&automation, &letter, draft);
            }
            Asked::Drain { node } => self.begin_new(Deed::Drain { node }, now_ms, draft),
            Asked::Undrain { node } => self.begin_new(Deed::Undrain { node }, now_ms, draft),
            Asked::Cancel { timer } => drop(self.cancel_reminder(&timer, draft)),
            Asked::Drill { name } => self.begin_new(Deed::Drill { name }, now_ms, draft),
        }
    }

    /// Begins what nobody waits for.
    fn begin_new(&mut self, deed: Deed, now_ms: i64, draft: &mut Draft) {
        let act = Act {
            id: self.new_run().0,
            by: None,
            asked_ms: now_ms,
            deed,
            order: 0,
            not_reached: Vec::new(),
        };
        if let Came::Refused(why) = self.begin_asked(act, Vec::new(), draft) {
            tracing::warn!(
                why,
                "what was asked for on one of Jarvis's own topics is not done"
            );
        }
    }

    /// Where the sun stands, if the home's place is known.
    pub(super) fn look_at_sun(&mut self, now_ms: i64, draft: &mut Draft) {
        if self.sun_due_ms.is_some_and(|due_ms| due_ms > now_ms) {
            return;
        }
        let (state, next_ms) = sun_of(&self.shared.settings.home, now_ms);
        self.sun_due_ms = next_ms;
        let change = self.registry.put_state("sun.sun", state, now_ms);
        if let Some(Changed::State { old, new, .. }) = &change
            && old.as_ref().map(|old| &old.state) != new.as_ref().map(|new| &new.state)
        {
            // It stands in no row.
            draft.touch();
        }
        self.took(change.into_iter().collect(), now_ms, draft);
    }
}

/// Where it stands that a message was decided on: a ring, as long as what is remembered.
pub(super) fn packet_row(id: &MessageId) -> String {
    format!("{}{:04}", rows::PACKET, id.sequence % MAX_REMEMBERED as u64)
}
