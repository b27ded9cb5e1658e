//! Messages that could not be decided on.

use jarvis_mqtt::Message;

use super::super::draft::Draft;
use super::super::link::Buried;
use super::Home;
use super::restore::Decided;
use crate::metrics;
use crate::rows;
use crate::wire::encode;

impl Home {
    /// Keeps a message that could not be decided on. Of too many the oldest goes.
    pub(in super::super) fn bury(&mut self, name: &str, buried: &Buried, draft: &mut Draft) {
        let (name, bytes) = (dead_row(name), encode(buried));
        self.rooms.dead.set(&name, bytes.len());
        draft.put_bytes(name, bytes);
        while self.rooms.dead.is_over() {
            let Some(oldest) = self.rooms.dead.first().cloned() else {
                break;
            };
            self.rooms.dead.give_back(&oldest);
            draft.remove(oldest);
        }
        metrics::dead_letters(self.rooms.dead.len());
    }

    /// Keeps a message that broke what decides, and takes it for decided on: nothing else of this bridge can be trusted any more.
    pub(in super::super) fn bury_alone(
        &mut self,
        name: &str,
        message: &Message,
        buried: &Buried,
        draft: &mut Draft,
    ) {
        draft.put(dead_row(name), buried);
        if let Some(id) = message.id {
            draft.put(super::states::packet_row(&id), &Decided::from(id));
        }
    }

    /// Lets go of a dead letter; false: there is none.
    pub(in super::super) fn forget(&mut self, name: &str, draft: &mut Draft) -> bool {
        let name = dead_row(name);
        let known = self.rooms.dead.give_back(&name);
        if known {
            draft.remove(name);
            metrics::dead_letters(self.rooms.dead.len());
        }
        known
    }
}

fn dead_row(name: &str) -> String {
    format!("{}{name}", rows::DEAD)
}
