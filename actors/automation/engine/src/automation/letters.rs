//! What each letter comes to.

use jarvis_rules::model::CatchUp;
use jarvis_rules::run::{
    Admitted, Begun, Context, Ended, Input, PassedOver, Run, RunId, TraceStep, What, admit,
};
use jarvis_rules::triggers::{Firing, Missed, Subscriber};
use serde_json::{Map, Value, json};

use super::batch::Batch;
use super::size::clip;
use super::this::{by_hand, this};
use crate::ran;
use crate::wire::ToAutomation;

/// Longest id of a run that somebody else may give, in bytes.
const RUN_ID_BYTES_MAX: usize = 128;

/// Whether a letter is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// It is.
    All,
    /// The step is full: it is to be taken up again in the next one.
    Again,
}

/// A trigger that may lead to a run.
struct Asked {
    run: RunId,
    trigger: Value,
    given: Map<String, Value>,
    /// By how much it came late, and what its policy says of that.
    late: Option<(u64, CatchUp)>,
    skip_conditions: bool,
    /// Who, if somebody started it by hand.
    by: Option<String>,
}

impl Batch<'_> {
    /// Takes a letter.
    pub(super) fn letter(&mut self, letter: ToAutomation) -> Took {
        match letter {
            ToAutomation::Fired(firing) => self.fired(firing),
            ToAutomation::Trigger {
                run,
                variables,
                skip_conditions,
                by,
            } => self.by_hand(run, variables, skip_conditions, by),
            ToAutomation::Missed(missed) => self.missed(&missed),
            ToAutomation::Triggered { run, wait, trigger } => {
                self.hand_on(&run, Input::Triggered { wait, trigger })
            }
            ToAutomation::Look { run } => self.hand_on(&run, Input::Wake),
            ToAutomation::Outcome {
                run,
                number: intent,
                outcome,
                not_reached,
            } => {
                let outcome = outcome.into();
                let input = Input::Outcome {
                    intent,
                    outcome,
                    not_reached,
                };
                self.hand_on(&run, input)
            }
            // What it says is read anew for every step.
            ToAutomation::Defined => Took::All,
            ToAutomation::Stop { why } => {
                let all: Vec<RunId> = self.under_way().into_iter().map(|run| run.id).collect();
                if self.stop(&all, &clip(why)) {
                    Took::All
                } else {
                    Took::Again
                }
            }
        }
    }

    fn hand_on(&mut self, run: &RunId, input: Input) -> Took {
        self.advance(run, input);
        self.begin_queued();
        Took::All
    }

    fn fired(&mut self, firing: Firing) -> Took {
        let Firing { slot, data, late, .. } = firing;
        if !matches!(slot.subscriber, Subscriber::Automation(_)) {
            tracing::error!(subscriber = ?slot.subscriber, "a trigger of something else was sent to an automation; it is left out");
            return Took::All;
        }
        let asked = Asked {
            run: (self.at.fresh)(),
            trigger: data,
            given: Map::new(),
            late,
            skip_conditions: false,
            by: None,
        };
        if !self.at.definition.enabled {
            self.pass_over(asked, None, "it is switched off".to_owned());
            return Took::All;
        }
        self.decide(asked)
    }

    fn by_hand(
        &mut self,
        run: RunId,
        mut given: Map<String, Value>,
        skip_conditions: bool,
        by: String,
    ) -> Took {
        let is_plain = |c: char| c.is_ascii_graphic();
        if run.0.is_empty() || run.0.len() > RUN_ID_BYTES_MAX || !run.0.chars().all(is_plain) {
            tracing::error!(run = %clip(run.0), "a run was asked for under a name that no row can have; nothing is done");
            return Took::All;
        }
        if self.knows(&run) {
            return Took::All;
        }
        let trigger = by_hand(&mut given);
        self.decide(Asked {
            run,
            trigger,
            given,
            late: None,
            skip_conditions,
            by: Some(by),
        })
    }

    /// Decides whether a trigger leads to a run, and what becomes of those under way.
    fn decide(&mut self, asked: Asked) -> Took {
        let under_way = self.under_way();
        let own = this(
            self.at.definition,
            self.at.env.facts,
            ran::attributes(self.head.last_triggered_ms, under_way.len()),
        );
        let begun = Run::decide_given(
            self.at.definition.program(),
            asked.trigger.clone(),
            own,
            asked.given.clone(),
            asked.late.map(|(by_ms, _)| by_ms),
            asked.skip_conditions,
            &self.at.env,
        );
        let mut begun = match begun {
            Ok(begun) => begun,
            Err(why) => {
                self.pass_over_because(asked, why);
                return Took::All;
            }
        };
        if let (Some(by), What::Triggered { trigger, .. }) = (&asked.by, &mut begun.trace.what) {
            *trigger = clip(by.clone());
        }
        let automation = &self.at.definition.automation;
        let admission = admit(automation.mode, automation.max, &under_way);
        let stopped = self.stop(&admission.stop, "it was triggered again, and its mode is restart");
        if !stopped || (!admission.stop.is_empty() && self.is_full()) {
            return Took::Again;
        }
        let queued = match admission.admitted {
            Admitted::Begin => false,
            Admitted::Queue => true,
            Admitted::PassOver(why) => {
                self.pass_over(asked, None, why);
                return Took::All;
            }
        };
        let context = Context {
            id: asked.run.0.clone(),
            parent: None,
        };
        let program = self.at.definition.program();
        let path = begun.trace.path.clone();
        let mut run = Run::new(asked.run, program, begun, context);
        run.trace.steps.extend(self.lateness(path, asked.late));
        self.admit(run, queued);
        self.begin_queued();
        Took::All
    }

    fn pass_over_because(&mut self, asked: Asked, why: PassedOver) {
        match why {
            PassedOver::Conditions { index, error } => {
                let error = error.map(clip);
                let mut step = self.trace_step(What::Condition {
                    holds: false,
                    error: error.clone(),
                });
                step.path = format!("condition/{index}");
                let why = error.unwrap_or_else(|| format!("its condition {} does not hold", index + 1));
                self.pass_over(asked, Some(step), why);
            }
            PassedOver::Variables { error } => {
                self.pass_over(asked, None, format!("its variables could not be made: {error}"));
            }
        }
    }

    /// What its policy says of a trigger that came late, for the trace.
    fn lateness(&self, path: String, late: Option<(u64, CatchUp)>) -> Option<TraceStep> {
        let (by_ms, taken) = late?;
        let step = self.trace_step(What::Late { by_ms, taken });
        Some(TraceStep { path, ..step })
    }

    /// Keeps why a trigger led to nothing.
    fn pass_over(&mut self, asked: Asked, step: Option<TraceStep>, why: String) {
        let why = clip(why);
        let late_ms = asked.late.map(|(by_ms, _)| by_ms);
        let mut run = self.stub(asked.run, asked.trigger, late_ms, asked.by);
        let path = run
            .trace
            .steps
            .front()
            .map_or_else(String::new, |first| first.path.clone());
        run.trace.steps.extend(self.lateness(path, asked.late));
        let how = format!("passed over: {why}");
        let ended = self.trace_step(What::Ended { how });
        run.trace.steps.extend(step);
        run.trace.steps.push_back(ended);
        self.note(run, Ended::Aborted { why }, "passed over");
    }

    fn missed(&mut self, missed: &Missed) -> Took {
        let Missed {
            slot,
            by_ms,
            why,
            due_ms,
        } = missed;
        let triggers = &self.at.definition.automation.triggers;
        let trigger = triggers.get(slot.trigger);
        let id = trigger.map_or_else(|| slot.trigger.to_string(), |trigger| trigger.id.clone());
        let data = json!({ "id": id, "idx": slot.trigger.to_string(), "due": jarvis_rules::template::moment(*due_ms) });
        let mut run = self.stub((self.at.fresh)(), data, Some(*by_ms), None);
        let why = clip(why.clone());
        let how = format!("missed: {why}");
        run.trace.steps.push_back(self.trace_step(What::Ended { how }));
        self.note(run, Ended::Missed { why }, "missed");
        Took::All
    }

    /// A run that never was one, for a trace.
    fn stub(&self, id: RunId, trigger: Value, late_ms: Option<u64>, by: Option<String>) -> Run {
        let text = |name: &str| match trigger.get(name) {
            Some(Value::String(text)) => clip(text.clone()),
            _ => String::new(),
        };
        let path = match text("idx") {
            index if index.is_empty() => "trigger".to_owned(),
            index => format!("trigger/{index}"),
        };
        let what = What::Triggered {
            trigger: by.map_or_else(|| text("id"), clip),
            late_ms,
        };
        let trace = TraceStep {
            path,
            ..self.trace_step(what)
        };
        let mut variables = Map::new();
        variables.insert("trigger".into(), trigger);
        let context = Context {
            id: id.0.clone(),
            parent: None,
        };
        Run::new(
            id,
            self.at.definition.program(),
            Begun { variables, trace },
            context,
        )
    }
}
