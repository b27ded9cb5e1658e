//! Automations: loaded, switched, removed; and what their runs wait for.

use std::collections::BTreeSet;
use std::sync::Arc;

use jarvis_rules::model::Automation;
use jarvis_rules::run::{Run, RunId};
use jarvis_rules::triggers::Subscriber;

use super::super::draft::Draft;
use super::{Home, MOST_AUTOMATIONS, MOST_DEFINITION_BYTES};
use crate::library::Definition;
use crate::rows;
use crate::wire::{ToAutomation, encode};

/// What loading has come to so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Loading {
    pub(in super::super) added: Vec<String>,
    pub(in super::super) changed: Vec<String>,
    pub(in super::super) unchanged: usize,
    pub(in super::super) problems: Vec<(String, String)>,
}

impl Home {
    /// Puts an automation in, in the place of that of the same id.
    pub(in super::super) fn load(
        &mut self,
        automation: Automation,
        now_ms: i64,
        loading: &mut Loading,
        draft: &mut Draft,
    ) {
        let id = automation.id.clone();
        let known = self.library.get(&id).cloned();
        if known.as_ref().is_some_and(|known| known.automation == automation) {
            loading.unchanged += 1;
            return;
        }
        if known.is_none() && self.library.len() >= MOST_AUTOMATIONS {
            let why = format!("there are {MOST_AUTOMATIONS} automations already; remove some");
            return loading.problems.push((id, why));
        }
        let enabled = known.as_ref().map_or(automation.enabled, |known| known.enabled);
        let mut definition = Definition::new(automation, enabled, now_ms);
        let same = (known.as_ref())
            .is_some_and(|known| known.program().revision() == definition.program().revision());
        if let Some(known) = known.as_ref().filter(|_| same) {
            definition.loaded_ms = known.loaded_ms;
        }
        let bytes = encode(&definition);
        if bytes.len() > MOST_DEFINITION_BYTES {
            let why = format!(
                "it has {} bytes, and {MOST_DEFINITION_BYTES} are kept: split it",
                bytes.len()
            );
            return loading.problems.push((id, why));
        }
        let name = definition_row(&id);
        if !self.rooms.definitions.fits(&name, bytes.len()) {
            let most = self.rooms.definitions.most();
            let why = format!(
                "all automations together would have more than the {most} that are kept; remove some"
            );
            return loading.problems.push((id, why));
        }
        self.rooms.definitions.set(&name, bytes.len());
        draft.put_bytes(name, bytes);
        self.library.set(&id, Some(definition));
        self.put_shown(&id, known.as_deref(), now_ms, draft);
        if same {
            // It was moved or described anew: what it does is as it was.
            loading.unchanged += 1;
            return;
        }
        self.watch_anew(&id, now_ms, draft);
        if known.is_some() {
            self.order(&id, &ToAutomation::Defined, draft);
            loading.changed.push(id.clone());
        } else {
            loading.added.push(id.clone());
        }
        let problems = self.problems.get(&id).into_iter().flatten();
        (loading.problems).extend(problems.map(|problem| (id.clone(), problem.clone())));
    }

    /// Takes an automation out; false: there is none.
    pub(in super::super) fn remove(&mut self, id: &str, now_ms: i64, draft: &mut Draft) -> bool {
        let Some(before) = self.library.get(id).cloned() else {
            return false;
        };
        self.library.set(id, None);
        self.problems.remove(id);
        self.rooms.definitions.give_back(&definition_row(id));
        draft.remove(definition_row(id));
        self.unwatch(&Subscriber::Automation(id.to_owned()), draft);
        self.put_shown(id, Some(&before), now_ms, draft);
        self.order(id, &ToAutomation::Defined, draft);
        true
    }

    /// Switches an automation; false: there is none.
    pub(in super::super) fn enable(
        &mut self,
        id: &str,
        on: bool,
        stop_actions: bool,
        now_ms: i64,
        draft: &mut Draft,
    ) -> bool {
        let Some(known) = self.library.get(id).cloned() else {
            return false;
        };
        if known.enabled != on {
            let mut definition = Definition::clone(&known);
            definition.enabled = on;
            if on {
                // What fell due while it was off is not made up for.
                definition.loaded_ms = now_ms;
            }
            let (name, bytes) = (definition_row(id), encode(&definition));
            self.rooms.definitions.set(&name, bytes.len());
            draft.put_bytes(name, bytes);
            self.library.set(id, Some(definition));
            self.put_shown(id, None, now_ms, draft);
            self.watch_anew(id, now_ms, draft);
        }
        if !on && stop_actions {
            let why = "it was switched off".to_owned();
            self.order(id, &ToAutomation::Stop { why }, draft);
        }
        true
    }

    /// Watches an automation that was changed or switched. What the broker retains is for filters that it did not have.
    fn watch_anew(&mut self, id: &str, now_ms: i64, draft: &mut Draft) {
        let subscriber = Subscriber::Automation(id.to_owned());
        let had = self.known_filters(&subscriber);
        self.watch_automation(id, now_ms, now_ms, draft);
        self.expect_retained(&subscriber, &had, draft);
    }

    /// Watches an automation's triggers, if it is on.
    pub(super) fn watch_automation(&mut self, id: &str, since_ms: i64, now_ms: i64, draft: &mut Draft) {
        let subscriber = Subscriber::Automation(id.to_owned());
        self.unwatch(&subscriber, draft);
        self.problems.remove(id);
        let Some(definition) = self.library.get(id).cloned() else {
            return;
        };
        if !definition.enabled {
            return;
        }
        let program = Arc::clone(definition.program());
        let problems = self.watching(now_ms, |watch, look| {
            watch.insert_automation(&program, since_ms, look)
        });
        self.topics_changed |= self.watch.has_topics(&subscriber);
        if !problems.is_empty() {
            self.problems.insert(id.to_owned(), problems);
        }
    }

    /// Watches what a run waits for, and no more what it waited for before.
    pub(in super::super) fn watch_waits(
        &mut self,
        automation: &str,
        run: &Run,
        now_ms: i64,
        draft: &mut Draft,
    ) {
        let definition = self.library.get(automation).cloned();
        let waits = definition
            .as_ref()
            .map_or_else(Vec::new, |definition| run.waits(definition.program()));
        let kept: BTreeSet<u32> = waits.iter().map(|waiting| waiting.wait).collect();
        self.unwatch_waits(&run.id, &kept, draft);
        let Some(definition) = definition.filter(|_| !waits.is_empty()) else {
            return;
        };
        let policy = definition.automation.policy;
        let known = self
            .waits
            .get(&run.id)
            .map(|(_, known)| known.clone())
            .unwrap_or_default();
        let mut is_new = false;
        for waiting in waits.iter().filter(|waiting| !known.contains(&waiting.wait)) {
            is_new = true;
            let problems = self.watching(now_ms, |watch, look| {
                watch.insert_wait(&run.id, waiting, policy, look)
            });
            let (run_id, wait) = (run.id.clone(), waiting.wait);
            let subscriber = Subscriber::Wait { run: run_id, wait };
            self.expect_retained(&subscriber, &BTreeSet::new(), draft);
            for problem in problems {
                tracing::warn!(
                    automation,
                    run = run.id.0,
                    "what a run waits for cannot be watched: {problem}"
                );
            }
        }
        self.waits.insert(run.id.clone(), (automation.to_owned(), kept));
        if is_new {
            // What became so before it was watched is not seen by the watch.
            let run = run.id.clone();
            self.send(automation, &ToAutomation::Look { run }, draft);
        }
    }

    /// Watches no more what a run waits for, but these.
    pub(in super::super) fn unwatch_waits(&mut self, run: &RunId, but: &BTreeSet<u32>, draft: &mut Draft) {
        let Some((_, known)) = self.waits.get_mut(run) else {
            return;
        };
        let over: Vec<u32> = known.difference(but).copied().collect();
        known.retain(|wait| but.contains(wait));
        if known.is_empty() {
            self.waits.remove(run);
        }
        for wait in over {
            let run = run.clone();
            self.unwatch(&Subscriber::Wait { run, wait }, draft);
        }
    }

    /// The id of a run that is to begin.
    pub(super) fn new_run(&self) -> RunId {
        let id = jarvis_host::new_ulid(&*self.shared.clock, &*self.shared.entropy);
        RunId(crate::api::ulid::text(id))
    }
}

fn definition_row(id: &str) -> String {
    format!("{}{id}", rows::DEFINITION)
}
