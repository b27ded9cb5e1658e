//! The machine that advances a run: takes an input, then steps until every thread waits, the run ends, or enough was done.
//!
//! Of several threads that can go on, the one with the lowest number goes first, until it waits. So the order is the same
//! wherever the run goes on, and however many steps are taken at a time.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::limits::weight_of_map;
use super::{
    Advanced, Effect, Ended, Env, Frame, Halt, Input, Level, Outcome, Run, RunState, Thread, TraceStep,
    WaitKind, What,
};
use crate::model::CatchUp;
use crate::program::{Op, Place, Program};
use crate::template::truthy;
use crate::triggers::late_by;

/// A run while it is advanced.
pub(super) struct Machine<'m> {
    pub(super) run: &'m mut Run,
    pub(super) program: &'m Program,
    pub(super) env: &'m Env<'m>,
    pub(super) effects: Vec<Effect>,
}

/// Where a thread goes after a step.
pub(super) enum Next {
    /// To that place.
    Go(Place),
    /// Nowhere: it waits.
    Wait,
    /// It has come to its end.
    End,
}

impl Run {
    /// Takes an input, and does what can be done. The same run, program, input and facts come to the same effects.
    ///
    /// What the effects say is done once the run is kept.
    pub fn advance(&mut self, program: &Program, input: Input, env: &Env<'_>) -> Advanced {
        let mut machine = Machine {
            run: self,
            program,
            env,
            effects: Vec::new(),
        };
        machine.take(input);
        let again = machine.go();
        Advanced {
            effects: machine.effects,
            again,
        }
    }
}

impl Machine<'_> {
    fn take(&mut self, input: Input) {
        if self.run.has_ended() {
            // What is under way comes to its end nevertheless.
            if let Input::Outcome { intent, .. } = input {
                self.run.intents.remove(&intent);
            }
            return;
        }
        if self.run.revision != *self.program.revision() {
            if let Input::Outcome { intent, .. } = input {
                self.run.intents.remove(&intent);
            }
            self.end(Ended::Stopped {
                why: String::from("the automation was changed while this ran"),
            });
            return;
        }
        match input {
            Input::Begin => {
                if self.run.state == RunState::Queued {
                    self.run.state = RunState::Active;
                    self.run.threads.insert(0, Thread::default());
                    self.run.next_thread = 1;
                }
            }
            Input::Continue => {}
            Input::Wake => {
                let waiting: Vec<u32> = self.run.threads.keys().copied().collect();
                for thread in waiting {
                    self.look(thread);
                }
            }
            Input::Triggered { wait, trigger } => self.triggered(wait, trigger),
            Input::Outcome {
                intent,
                outcome,
                not_reached,
            } => self.outcome(intent, outcome, not_reached),
            Input::Stop { why } => self.end(Ended::Stopped { why }),
        }
    }

    /// Steps until there is nothing more to do at once; true: there is, but enough was done.
    fn go(&mut self) -> bool {
        let mut left = self.env.limits.steps_per_advance.max(1);
        while self.run.state == RunState::Active {
            let ready = self.run.threads.iter().find(|(_, thread)| thread.wait.is_none());
            let Some((id, thread)) = ready.map(|(id, thread)| (*id, thread.place)) else {
                return false;
            };
            if left == 0 {
                return true;
            }
            left -= 1;
            self.run.steps += 1;
            self.run.steps_since_wait += 1;
            if let Some(error) = self.exhausted() {
                self.end(Ended::Failed { error });
                return false;
            }
            match self.step(id, thread) {
                Ok(Next::Go(place)) => self.set_place(id, place),
                Ok(Next::Wait) => {}
                Ok(Next::End) => self.thread_ended(id, None),
                Err(halt) => self.halt(id, halt),
            }
        }
        false
    }

    /// The bound that was gone over, in a sentence.
    fn exhausted(&self) -> Option<String> {
        let limits = self.env.limits;
        if self.run.steps_since_wait > limits.steps_without_wait {
            return Some(format!(
                "it took {} steps without waiting for anything: a loop in it does not end. Put a delay into the loop, or a \
                 condition that ends it",
                limits.steps_without_wait
            ));
        }
        (self.run.steps > limits.steps_per_run).then(|| {
            format!(
                "it took {} steps, and a run may take no more",
                limits.steps_per_run
            )
        })
    }

    /// Looks whether what a thread waits for has come, or its time.
    fn look(&mut self, id: u32) {
        let Some(thread) = self.run.threads.get(&id) else {
            return;
        };
        let Some(wait) = &thread.wait else { return };
        let due = wait.until_ms.filter(|until_ms| *until_ms <= self.env.now_ms());
        let place = thread.place;
        match wait.kind {
            WaitKind::Delay => {
                if let Some(due_ms) = due {
                    match self.late(id, due_ms) {
                        Ok(()) => self.resume(id, place + 1, What::Came),
                        Err(halt) => self.halt(id, halt),
                    }
                }
            }
            WaitKind::Template => match self.waited_template(id, place) {
                Ok(true) => self.wait_over(id, place, None),
                Ok(false) => {
                    if let Some(due_ms) = due {
                        self.timed_out(id, place, due_ms);
                    }
                }
                Err(halt) => self.halt(id, halt),
            },
            WaitKind::Triggers => {
                if let Some(due_ms) = due {
                    self.timed_out(id, place, due_ms);
                }
            }
            WaitKind::Calls { .. } | WaitKind::Join { .. } => {}
        }
    }

    fn waited_template(&self, id: u32, place: Place) -> Result<bool, Halt> {
        let Some(Op::WaitTemplate { template, .. }) = self.program.step(place).map(|step| &step.op) else {
            return Err(broken("it waits for a template where there is none"));
        };
        let rendered =
            self.env
                .templates
                .render(&template.0, Arc::clone(self.env.facts), &self.run.seen_by(id));
        Ok(truthy(
            &rendered.map_err(|error| broken(error.to_string()))?.value,
        ))
    }

    fn triggered(&mut self, wait: u32, trigger: Value) {
        let found = self.run.threads.iter().find_map(|(id, thread)| {
            let found = thread.wait.as_ref().filter(|found| found.id == wait)?;
            Some((*id, thread.place, found.kind.clone()))
        });
        match found {
            Some((id, place, WaitKind::Triggers)) => self.wait_over(id, place, Some(trigger)),
            // It was true, whether or not it still is.
            Some((id, place, WaitKind::Template)) => self.wait_over(id, place, None),
            _ => {}
        }
    }

    /// What was waited for came.
    fn wait_over(&mut self, id: u32, place: Place, trigger: Option<Value>) {
        self.set_waited(id, true, trigger);
        self.resume(id, place + 1, What::Came);
    }

    fn timed_out(&mut self, id: u32, place: Place, due_ms: i64) {
        if let Err(halt) = self.late(id, due_ms) {
            self.halt(id, halt);
            return;
        }
        self.set_waited(id, false, Some(Value::Null));
        let goes_on = match self.program.step(place).map(|step| &step.op) {
            Some(
                Op::WaitTemplate {
                    continue_on_timeout, ..
                }
                | Op::WaitForTrigger {
                    continue_on_timeout, ..
                },
            ) => *continue_on_timeout,
            _ => true,
        };
        self.resume(id, place + 1, What::TimedOut);
        if !goes_on {
            self.halt_at(
                id,
                place,
                Halt::Abort {
                    why: String::from("what it waited for did not come in time"),
                },
            );
        }
    }

    /// What the policy says of a wait whose time fell due unseen.
    fn late(&mut self, id: u32, due_ms: i64) -> Result<(), Halt> {
        let Some(by_ms) = late_by(due_ms, self.env.now_ms()) else {
            return Ok(());
        };
        let policy = self.program.automation().policy;
        self.note_thread(
            id,
            What::Late {
                by_ms,
                taken: policy.catch_up,
            },
        );
        let missed = |why: String| Err(Halt::Missed { why });
        if by_ms > policy.at_most_late_ms {
            return missed(format!(
                "its wait was over {by_ms} ms ago, unseen, and at most {} ms late is allowed",
                policy.at_most_late_ms
            ));
        }
        match policy.catch_up {
            CatchUp::CatchUp => Ok(()),
            CatchUp::Skip => missed(format!(
                "its wait was over {by_ms} ms ago, unseen, and its policy is skip"
            )),
            CatchUp::Recheck => {
                let variables = self.run.seen_by(id);
                match self
                    .env
                    .check(&variables)
                    .all(&self.program.automation().conditions)
                {
                    Ok(true) => Ok(()),
                    Ok(false) => missed(String::from(
                        "its wait was over unseen, its policy is recheck, and its conditions do not hold any more",
                    )),
                    Err(error) => missed(format!("its conditions could not be looked at again: {error}")),
                }
            }
        }
    }

    fn outcome(&mut self, intent: u64, outcome: Outcome, not_reached: Vec<(String, String)>) {
        let Some(known) = self.run.intents.remove(&intent) else {
            return;
        };
        let Some(id) = known.thread else { return };
        let Some(thread) = self.run.threads.get_mut(&id) else {
            return;
        };
        let place = thread.place;
        let Some(WaitKind::Calls {
            open,
            failed,
            response,
        }) = thread.wait.as_mut().map(|wait| &mut wait.kind)
        else {
            return;
        };
        if !open.remove(&intent) {
            return;
        }
        match outcome {
            Outcome::Done(None) => {}
            Outcome::Done(Some(answer)) => match (response.as_mut(), answer) {
                (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
                (_, answer) => *response = Some(answer),
            },
            Outcome::Failed(error) => {
                failed.get_or_insert(error);
            }
            Outcome::TimedOut => {
                failed.get_or_insert_with(|| String::from("nobody said in time whether it was done"));
            }
        }
        let over = open.is_empty().then(|| (failed.take(), response.take()));
        if !not_reached.is_empty() {
            let entities = not_reached;
            self.note(place, What::NotReached { entities });
        }
        let Some((failed, response)) = over else {
            return;
        };
        match failed {
            Some(error) => {
                self.awake(id);
                self.halt_at(
                    id,
                    place,
                    Halt::Fail {
                        error,
                        pardonable: true,
                    },
                );
            }
            None => {
                if let Some(Op::Call {
                    response_variable: Some(name),
                    ..
                }) = self.program.step(place).map(|step| &step.op)
                {
                    let name = name.clone();
                    if let Err(halt) = self.set_variable(name, response.unwrap_or(Value::Null)) {
                        self.halt_at(id, place, halt);
                        return;
                    }
                }
                self.resume(id, place + 1, What::Answered);
            }
        }
    }

    /// A thread came to its end, or was halted for good.
    fn thread_ended(&mut self, id: u32, halt: Option<Halt>) {
        let parent = self.run.threads.get(&id).and_then(|thread| thread.parent);
        let Some(parent) = parent else {
            self.end(match halt {
                None => Ended::Finished { response: None },
                Some(Halt::Stop { response }) => Ended::Finished { response },
                Some(Halt::Abort { why }) => Ended::Aborted { why },
                Some(Halt::Fail { error, .. }) => Ended::Failed { error },
                Some(Halt::Missed { why }) => Ended::Missed { why },
            });
            return;
        };
        self.run.threads.remove(&id);
        let Some(waiting) = self.run.threads.get_mut(&parent) else {
            return;
        };
        let place = waiting.place;
        let Some(WaitKind::Join { open, halts }) = waiting.wait.as_mut().map(|wait| &mut wait.kind) else {
            return;
        };
        open.remove(&id);
        if let Some(halt) = halt {
            halts.insert(id, halt);
        }
        if !open.is_empty() {
            return;
        }
        let first = halts.pop_first().map(|(_, halt)| halt);
        let join = match self.program.step(place).map(|step| &step.op) {
            Some(Op::Fork { join, .. }) => *join,
            _ => place + 1,
        };
        match first {
            None => {
                // The threads waited, not this one: what they did counts as theirs.
                if let Some(thread) = self.run.threads.get_mut(&parent) {
                    thread.wait = None;
                    thread.place = join;
                }
            }
            Some(halt) => {
                if let Some(thread) = self.run.threads.get_mut(&parent) {
                    thread.wait = None;
                }
                self.halt_at(parent, place, halt);
            }
        }
    }

    /// A thread cannot go on where it is.
    pub(super) fn halt(&mut self, id: u32, halt: Halt) {
        let place = self.run.threads.get(&id).map_or(0, |thread| thread.place);
        self.halt_at(id, place, halt);
    }

    fn halt_at(&mut self, id: u32, place: Place, halt: Halt) {
        if let Some(thread) = self.run.threads.get_mut(&id) {
            thread.wait = None;
        }
        if let Halt::Fail {
            error,
            pardonable: true,
        } = &halt
            && let Some(next) = self.pardon(id, place)
        {
            self.log(Level::Warning, format!("{error}: it goes on, as it was told to"));
            self.note(place, What::PassedOver { error: error.clone() });
            self.set_place(id, next);
            return;
        }
        self.thread_ended(id, Some(halt));
    }

    /// Where a thread goes on if it is told to on errors; leaves what it was in the middle of.
    fn pardon(&mut self, id: u32, place: Place) -> Option<Place> {
        let step = self.program.step(place)?;
        if step.continue_on_error {
            return Some(match &step.op {
                Op::Fork { join, .. } => *join,
                _ => place + 1,
            });
        }
        let frames = &mut self.run.threads.get_mut(&id)?.frames;
        let guard = frames
            .iter()
            .rposition(|frame| matches!(frame, Frame::Guard { .. }))?;
        frames.truncate(guard + 1);
        match frames.last() {
            Some(Frame::Guard { end }) => Some(*end),
            _ => None,
        }
    }

    /// Ends the run.
    pub(super) fn end(&mut self, ended: Ended) {
        let (how, level) = match &ended {
            Ended::Finished { .. } => (String::from("finished"), None),
            Ended::Aborted { why } => (format!("aborted: {why}"), None),
            Ended::Stopped { why } => (format!("stopped: {why}"), None),
            Ended::Failed { error } => (format!("failed: {error}"), Some(Level::Error)),
            Ended::Missed { why } => (format!("missed: {why}"), Some(Level::Warning)),
        };
        if let Some(level) = level {
            self.log(level, how.clone());
        }
        // Where it stood, of several threads the first one's.
        let place = self.run.threads.values().next().map_or(0, |thread| thread.place);
        self.note(place, What::Ended { how });
        self.run.threads.clear();
        self.run
            .intents
            .values_mut()
            .for_each(|intent| intent.thread = None);
        self.run.state = RunState::Ended(ended);
    }

    /// A thread goes on.
    fn resume(&mut self, id: u32, place: Place, what: What) {
        self.note_thread(id, what);
        self.awake(id);
        self.set_place(id, place);
    }

    fn awake(&mut self, id: u32) {
        if let Some(thread) = self.run.threads.get_mut(&id) {
            thread.wait = None;
        }
        self.run.steps_since_wait = 0;
    }

    fn set_place(&mut self, id: u32, place: Place) {
        if let Some(thread) = self.run.threads.get_mut(&id) {
            thread.place = place;
        }
    }

    /// Sets `wait`, as templates see it. In a sequence of a `parallel` it is that sequence's own.
    pub(super) fn set_waited(&mut self, id: u32, completed: bool, trigger: Option<Value>) {
        let Some(thread) = self.run.threads.get_mut(&id) else {
            return;
        };
        let remaining = thread
            .wait
            .as_ref()
            .and_then(|wait| wait.until_ms)
            .map(|until_ms| {
                let left_ms = until_ms.saturating_sub(self.env.now_ms()).max(0);
                if completed { left_ms as f64 / 1_000.0 } else { 0.0 }
            });
        let mut waited = Map::new();
        waited.insert("completed".into(), completed.into());
        waited.insert("remaining".into(), remaining.into());
        waited.insert("trigger".into(), trigger.unwrap_or(Value::Null));
        if thread.parent.is_some() {
            thread.waited = Some(Value::Object(waited));
        } else {
            self.run.variables.insert("wait".into(), Value::Object(waited));
        }
    }

    /// Sets a variable of the run.
    pub(super) fn set_variable(&mut self, name: String, value: Value) -> Result<(), Halt> {
        self.run.variables.insert(name.clone(), value);
        let limit = self.env.limits.variables_bytes;
        if weight_of_map(&self.run.variables) > limit {
            self.run.variables.remove(&name);
            return Err(broken(format!(
                "with {name} its variables would be larger than {limit} bytes"
            )));
        }
        Ok(())
    }

    pub(super) fn note_thread(&mut self, id: u32, what: What) {
        let place = self.run.threads.get(&id).map_or(0, |thread| thread.place);
        self.note(place, what);
    }

    pub(super) fn note(&mut self, place: Place, what: What) {
        let path = self.program.step(place).map_or("", |step| step.path.as_str());
        self.run.trace.push(
            TraceStep {
                path: path.to_owned(),
                at_ms: self.env.now_ms(),
                node: self.env.node.to_owned(),
                what,
            },
            self.env.limits.trace_steps,
        );
    }

    pub(super) fn log(&mut self, level: Level, message: String) {
        self.effects.push(Effect::Log { level, message });
    }
}

/// Something that the automation got wrong, which no `continue_on_error` is for.
pub(super) fn broken(error: impl Into<String>) -> Halt {
    Halt::Fail {
        error: error.into(),
        pardonable: false,
    }
}
