//! What runs and people ask for, and what came of it.

use std::time::Duration;

use jarvis_devices::announce::{AutomationShown, DrillShown, NodeShown, TimerShown};
use jarvis_devices::service::{self, Publish, Target};
use jarvis_mqtt::Will;
use jarvis_rules::run::{Deed as Asked, Intent};
use jarvis_rules::triggers::Happening;
use serde_json::{Map, Value};

use super::super::act::{Act, Deed, Ended};
use super::super::draft::Draft;
use super::{Home, MOST_ACT_BYTES, none};
use crate::metrics;
use crate::rows;
use crate::shown::{entity_of, slug};
use crate::wire::{OutcomeOf, RunOf, ToAutomation, Told};

/// Entities told of that a call does not reach.
const MOST_TOLD: usize = 20;

/// A service that somebody calls.
pub(in super::super) struct Called<'c> {
    pub(in super::super) service: &'c str,
    pub(in super::super) target: Target,
    pub(in super::super) data: &'c Map<String, Value>,
}

/// What a call came to.
pub(in super::super) enum Came {
    /// It is done, or comes to nothing; entities that were not reached, each with the reason.
    Done(Vec<(String, String)>),
    /// It has begun.
    Begun(Vec<(String, String)>),
    /// It cannot be done; why, and what to do instead.
    Refused(String),
}

impl Home {
    /// A run asks for something.
    pub(in super::super) fn asked(
        &mut self,
        by: RunOf,
        number: u64,
        intent: Intent,
        now_ms: i64,
        draft: &mut Draft,
    ) {
        match intent.deed {
            Asked::Event(event) => {
                let happening = Happening::Event {
                    event_type: event.event_type,
                    data: event.data,
                    at_ms: now_ms,
                    context: event.context,
                };
                self.happen(&happening, now_ms, draft);
                self.answer(&by, number, OutcomeOf::Done(None), Vec::new(), draft);
            }
            Asked::Call(call) => {
                let target = match call.entities.is_empty() {
                    false => Ok(Target::entities(call.entities.iter().cloned())),
                    true => Target::of(&call.target),
                };
                let came = match target {
                    Ok(target) => {
                        let called = Called {
                            service: &call.service,
                            target,
                            data: &call.data,
                        };
                        let id = format!("{}.{number}", by.run.0);
                        self.call(
                            id,
                            Some((by.clone(), number)),
                            called,
                            intent.asked_ms,
                            now_ms,
                            draft,
                        )
                    }
                    Err(error) => Came::Refused(error.to_string()),
                };
                match came {
                    Came::Begun(_) => {}
                    Came::Done(passed_over) => {
                        self.answer(&by, number, OutcomeOf::Done(None), some(&passed_over), draft);
                        metrics::act("done", now_ms - intent.asked_ms);
                    }
                    Came::Refused(why) => {
                        tracing::warn!(
                            automation = by.automation,
                            service = call.service,
                            why,
                            "a call failed"
                        );
                        self.answer(&by, number, OutcomeOf::Failed(why), Vec::new(), draft);
                        metrics::act("failed", now_ms - intent.asked_ms);
                    }
                }
            }
        }
    }

    /// Somebody calls a service.
    pub(in super::super) fn call(
        &mut self,
        id: String,
        by: Option<(RunOf, u64)>,
        called: Called<'_>,
        asked_ms: i64,
        now_ms: i64,
        draft: &mut Draft,
    ) -> Came {
        let (domain, name) = called.service.split_once('.').unwrap_or((called.service, ""));
        let deed = match (domain, name) {
            ("automation", _) => return self.call_automation(name, &called, now_ms, draft),
            ("notify", "send_message") if !called.target.is_empty() => {
                return self.call_devices(id, by, &called, asked_ms, now_ms, draft);
            }
            ("jarvis", "say") | ("notify", _) | ("persistent_notification", "create") => Deed::Say {
                service: called.service.to_owned(),
                data: called.data.clone(),
            },
            // What Home Assistant would take off its screen is nowhere here; devices tell what is new by themselves.
            ("persistent_notification", _) | ("homeassistant", "update_entity") => {
                return Came::Done(Vec::new());
            }
            ("logbook", "log") | ("system_log", "write") => {
                let message = called.data.get("message").map(Value::to_string);
                tracing::info!(message, by = ?by.map(|(by, _)| by.automation), "an automation writes to the log");
                return Came::Done(Vec::new());
            }
            _ => return self.call_devices(id, by, &called, asked_ms, now_ms, draft),
        };
        let act = Act {
            id,
            by,
            asked_ms,
            deed,
            order: 0,
            not_reached: Vec::new(),
        };
        self.begin_asked(act, Vec::new(), draft)
    }

    /// Begins an act that somebody asked for, unless it is too large to be kept.
    pub(super) fn begin_asked(
        &mut self,
        act: Act,
        passed_over: Vec<(String, String)>,
        draft: &mut Draft,
    ) -> Came {
        let bytes = crate::wire::encode(&act).len();
        if bytes > MOST_ACT_BYTES {
            return Came::Refused(format!(
                "it has {bytes} bytes with all that goes with it, and {MOST_ACT_BYTES} may be asked for at a time: say less, or of \
                 fewer things at a time"
            ));
        }
        if !self.rooms.acts.fits(&format!("{}{}", rows::ACT, act.id), bytes) {
            return Came::Refused(format!(
                "{} actions wait for the broker or for somebody to be told already, which is as much as is kept: see that the broker \
                 is there, with `jarvis status`",
                self.acts.len()
            ));
        }
        self.begin(act, draft);
        Came::Begun(passed_over)
    }

    /// A service of devices, or a message.
    fn call_devices(
        &mut self,
        id: String,
        by: Option<(RunOf, u64)>,
        called: &Called<'_>,
        asked_ms: i64,
        now_ms: i64,
        draft: &mut Draft,
    ) -> Came {
        let view = self.registry.view(now_ms);
        let came = service::call(
            called.service,
            &called.target,
            called.data,
            &view,
            &self.shared.templates,
        );
        let came = match came {
            Ok(came) => came,
            Err(error) => return Came::Refused(error.to_string()),
        };
        if came.publishes.is_empty() {
            self.assume(&came.assumed, now_ms, draft);
            return Came::Done(came.passed_over);
        }
        if self.shared.settings.mqtt.is_none() {
            let why = "no broker is configured on the node that has the bridge: set [mqtt] url on every node";
            return Came::Refused(why.to_owned());
        }
        let deed = Deed::Publish {
            publishes: came.publishes,
            assumed: came.assumed,
        };
        let act = Act {
            id,
            by,
            asked_ms,
            deed,
            order: 0,
            not_reached: some(&came.passed_over),
        };
        self.begin_asked(act, came.passed_over, draft)
    }

    /// `automation.turn_on` and its kind.
    fn call_automation(&mut self, name: &str, called: &Called<'_>, now_ms: i64, draft: &mut Draft) -> Came {
        let (mut ids, mut unknown) = (Vec::new(), Vec::new());
        for entity in &called.target.entity_id {
            match self.automation_of(entity) {
                Some(id) => ids.push(id),
                None => unknown.push((entity.clone(), "there is no such automation".to_owned())),
            }
        }
        let flag = |key: &str, or: bool| called.data.get(key).and_then(Value::as_bool).unwrap_or(or);
        for id in ids {
            let is_on = self.library.get(&id).is_some_and(|known| known.enabled);
            let on = match name {
                "turn_on" => true,
                "turn_off" => false,
                "toggle" => !is_on,
                "trigger" => {
                    let letter = ToAutomation::Trigger {
                        run: self.new_run(),
                        variables: none(),
                        skip_conditions: flag("skip_condition", true),
                        by: "service".to_owned(),
                    };
                    self.send(&id, &letter, draft);
                    continue;
                }
                _ => {
                    let known = "turn_on, turn_off, toggle and trigger";
                    return Came::Refused(format!(
                        "there is no service \"automation.{name}\": there are {known}"
                    ));
                }
            };
            self.enable(&id, on, flag("stop_actions", true), now_ms, draft);
        }
        Came::Done(unknown)
    }

    /// The automation that an entity is: by its alias, else by its id.
    fn automation_of(&self, entity: &str) -> Option<String> {
        let mut all = self.library.iter();
        let named = all.find(|(_, definition)| entity_of(definition) == entity);
        let by_id = || {
            let name = entity.strip_prefix("automation.")?;
            self.library.iter().find(|(id, _)| slug(id) == name)
        };
        named.or_else(by_id).map(|(id, _)| id.clone())
    }

    /// An act is over.
    pub(in super::super) fn ended(&mut self, id: &str, ended: &Ended, now_ms: i64, draft: &mut Draft) {
        let Some(outcome) = ended.outcome() else {
            return;
        };
        let Some(act) = self.acts.remove(id) else {
            return;
        };
        let name = format!("{}{id}", rows::ACT);
        self.rooms.acts.give_back(&name);
        draft.remove(name);
        metrics::open_acts(self.acts.len());
        metrics::act(ended.label(), now_ms - act.asked_ms);
        if let (Ended::Done, Deed::Publish { assumed, .. }) = (ended, &act.deed) {
            self.assume(assumed, now_ms, draft);
        }
        match act.by {
            Some((by, number)) => self.answer(&by, number, outcome, act.not_reached, draft),
            None => {
                if let (Deed::Drill { name }, OutcomeOf::Failed(_)) = (&act.deed, &outcome) {
                    // It did not begin, so it cannot tell.
                    let (name, passed) = (name.clone(), false);
                    self.told(Told::Drill { name, passed }, now_ms, draft);
                }
                match &outcome {
                    OutcomeOf::Done(_) => self.finish(id, None, draft),
                    OutcomeOf::Failed(why) => self.finish(id, Some(why.clone()), draft),
                    // It may be asked for again.
                    OutcomeOf::TimedOut => {}
                }
                if let OutcomeOf::Failed(why) = outcome {
                    tracing::warn!(act = id, why, "{} failed", act.deed.what());
                }
            }
        }
    }

    /// Tells a run what came of what it asked for. It asked, so it has room.
    fn answer(
        &self,
        by: &RunOf,
        number: u64,
        outcome: OutcomeOf,
        not_reached: Vec<(String, String)>,
        draft: &mut Draft,
    ) {
        let letter = ToAutomation::Outcome {
            run: by.run.clone(),
            number,
            outcome,
            not_reached,
        };
        if !draft.tell(&by.automation, &letter) {
            tracing::error!(automation = by.automation, "an outcome does not fit into a step");
        }
    }

    /// What the broker is to say when nobody of the cluster comes back.
    pub(in super::super) fn will(&self, delay: Duration) -> Will {
        let Publish { topic, payload, .. } = self.announcer.status(false);
        Will {
            topic,
            payload,
            delay,
        }
    }

    /// All that Jarvis shows of itself to Home Assistant.
    pub(in super::super) fn shown(&self, nodes: &[NodeShown]) -> Vec<Publish> {
        let mut out = vec![self.announcer.status(true)];
        for (id, definition) in self.library.iter() {
            let shown = AutomationShown {
                id: id.clone(),
                alias: definition.automation.alias.clone(),
                enabled: definition.enabled,
                last_triggered_ms: self.beside.runs.last_triggered_ms(id),
            };
            out.extend(self.announcer.automation(&shown));
        }
        for node in nodes {
            out.extend(self.announcer.node(node));
        }
        for (name, does) in self.shared.drills.get().map_or(&[][..], |drills| &drills.all) {
            let shown = DrillShown {
                name: name.clone(),
                title: does.clone(),
                last: self.drills.get(name).cloned(),
            };
            out.extend(self.announcer.drill(&shown));
        }
        for (id, reminder) in &self.reminders {
            let shown = TimerShown {
                id: id.clone(),
                text: reminder.text.clone(),
                due_ms: reminder.due_ms,
            };
            out.extend(self.announcer.timer(&shown));
        }
        out
    }
}

/// As many of the entities that a call does not reach as a trace is to hold.
fn some(passed_over: &[(String, String)]) -> Vec<(String, String)> {
    let mut told: Vec<_> = passed_over.iter().take(MOST_TOLD).cloned().collect();
    if let more @ 1.. = passed_over.len() - told.len() {
        told.push((format!("{more} more"), "for like reasons".to_owned()));
    }
    told
}
