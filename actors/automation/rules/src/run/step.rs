//! What one step does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::advance::{Machine, Next, broken};
use super::call::{mapping, resolve};
use super::limits::{weight, weight_of_map};
use super::render::{render, span_ms, text_of};
use super::{
    Call, Deed, Effect, Ended, Event, Frame, Halt, Intent, Level, Loop, Thread, Wait, WaitKind, What,
};
use crate::model::{Condition, Data, Span};
use crate::program::{Op, Place, Program, Rounds};
use crate::template::truthy;

impl Machine<'_> {
    /// Does the step that a thread is at.
    pub(super) fn step(&mut self, id: u32, place: Place) -> Result<Next, Halt> {
        let program: &Program = self.program;
        let Some(step) = program.step(place) else {
            return Err(broken("it stands where its program has nothing"));
        };
        let next = Ok(Next::Go(place + 1));
        match &step.op {
            Op::Enter { end } => {
                self.push_frame(id, Frame::Sequence { end: *end });
                next
            }
            Op::Guard { end } => {
                self.push_frame(id, Frame::Guard { end: *end });
                next
            }
            Op::Leave => {
                if let Some(thread) = self.run.threads.get_mut(&id) {
                    thread.frames.pop();
                }
                next
            }
            Op::Jump { to } => Ok(Next::Go(*to)),
            Op::Disabled => {
                self.note(place, What::Disabled);
                next
            }
            Op::Branch {
                conditions,
                otherwise,
            } => {
                if self.all_hold(id, place, conditions) == Some(true) {
                    next
                } else {
                    Ok(Next::Go(*otherwise))
                }
            }
            Op::Require(condition) => {
                if self.all_hold(id, place, std::slice::from_ref(condition)) == Some(true) {
                    return next;
                }
                Ok(self.leave_sequence(id, &step.path))
            }
            Op::Repeat { rounds, end } => self.begin_loop(id, place, rounds, *end),
            Op::Round { conditions, end } => self.begin_round(id, place, conditions, *end),
            Op::Again { round, until } => {
                let last = match until {
                    // One that cannot be looked at would not end it in any later round either.
                    Some(conditions) => self.all_hold(id, place, conditions) != Some(false),
                    None => false,
                };
                Ok(Next::Go(if last { place + 1 } else { *round }))
            }
            Op::Fork { branches, .. } => self.fork(id, branches),
            Op::End => Ok(Next::End),
            Op::Call {
                service,
                target,
                data,
                response_variable,
            } => self.call(id, place, [service, target, data], response_variable.is_some()),
            Op::Delay(span) => {
                let delay_ms = self.span(id, span)?;
                if delay_ms == 0 {
                    self.note(place, What::Done);
                    return next;
                }
                self.wait(id, Some(delay_ms), WaitKind::Delay)?;
                Ok(Next::Wait)
            }
            Op::WaitTemplate {
                template, timeout, ..
            } => {
                let variables = self.run.seen_by(id);
                let rendered = self
                    .env
                    .templates
                    .render(&template.0, Arc::clone(self.env.facts), &variables);
                let holds = truthy(&rendered.map_err(|error| broken(error.to_string()))?.value);
                self.wait_for(id, place, timeout.as_ref(), WaitKind::Template, holds)
            }
            Op::WaitForTrigger { timeout, .. } => {
                self.wait_for(id, place, timeout.as_ref(), WaitKind::Triggers, false)
            }
            Op::Variables(variables) => {
                for (name, data) in variables {
                    let value = self.render(id, data)?;
                    self.set_variable(name.clone(), value)?;
                }
                self.note(place, What::Done);
                next
            }
            Op::Stop {
                reason,
                error,
                response_variable,
            } => self.stop(id, place, reason, *error, response_variable.as_deref()),
            Op::Event { event, data } => {
                self.fire(id, place, event, data)?;
                next
            }
        }
    }

    fn push_frame(&mut self, id: u32, frame: Frame) {
        if let Some(thread) = self.run.threads.get_mut(&id) {
            thread.frames.push(frame);
        }
    }

    fn render(&self, id: u32, data: &Data) -> Result<Value, Halt> {
        if let Data::Plain(value) = data {
            return Ok(value.clone());
        }
        render(data, self.env.templates, self.env.facts, &self.run.seen_by(id))
            .map_err(|error| broken(error.to_string()))
    }

    fn span(&self, id: u32, span: &Span) -> Result<u64, Halt> {
        if let Span::Millis(ms) = span {
            return Ok(*ms);
        }
        span_ms(span, self.env.templates, self.env.facts, &self.run.seen_by(id)).map_err(broken)
    }

    /// Whether conditions hold; none: they could not be looked at, which is told.
    fn all_hold(&mut self, id: u32, place: Place, conditions: &[Condition]) -> Option<bool> {
        let variables = self.run.seen_by(id);
        let (holds, error) = match self.env.check(&variables).all(conditions) {
            Ok(holds) => (Some(holds), None),
            Err(error) => {
                self.log(
                    Level::Warning,
                    format!("a condition could not be looked at: {error}"),
                );
                (None, Some(error.to_string()))
            }
        };
        let step = What::Condition {
            holds: holds == Some(true),
            error,
        };
        self.note(place, step);
        holds
    }

    /// Leaves the innermost sequence; the outermost one's end is the run's.
    fn leave_sequence(&mut self, id: u32, path: &str) -> Next {
        let Some(thread) = self.run.threads.get_mut(&id) else {
            return Next::End;
        };
        let found = thread
            .frames
            .iter()
            .rposition(|frame| matches!(frame, Frame::Sequence { .. }));
        let Some(found) = found else { return Next::End };
        if found == 0 && thread.parent.is_none() {
            self.end(Ended::Aborted {
                why: format!("the condition at {path} does not hold"),
            });
            return Next::Wait;
        }
        thread.frames.truncate(found + 1);
        match thread.frames.last() {
            Some(Frame::Sequence { end }) => Next::Go(*end),
            _ => Next::End,
        }
    }

    fn begin_loop(&mut self, id: u32, place: Place, rounds: &Rounds, end: Place) -> Result<Next, Halt> {
        let (count, items) = match rounds {
            Rounds::Open => (None, None),
            Rounds::Count(data) => {
                let value = self.render(id, data)?;
                let count = match &value {
                    Value::Number(number) => number.as_f64(),
                    Value::String(text) => text.trim().parse().ok(),
                    _ => None,
                };
                let Some(count) = count.filter(|count| count.is_finite()) else {
                    return Err(broken(format!("{value} is not a number of rounds")));
                };
                (Some(count.max(0.0) as u64), None)
            }
            Rounds::ForEach(data) => {
                let Value::Array(items) = self.render(id, data)? else {
                    return Err(broken("what it repeats for each item of is not a list"));
                };
                if items.iter().map(weight).sum::<usize>() > self.env.limits.variables_bytes {
                    return Err(broken(format!(
                        "the list it repeats for is larger than {} bytes",
                        self.env.limits.variables_bytes
                    )));
                }
                (Some(items.len() as u64), Some(items))
            }
        };
        let most = self.env.limits.rounds_per_loop;
        if let Some(count) = count.filter(|count| *count > most) {
            return Err(broken(format!(
                "{count} rounds are more than the {most} that a loop may have"
            )));
        }
        self.push_frame(
            id,
            Frame::Loop(Loop {
                end,
                index: 0,
                count,
                items,
            }),
        );
        Ok(Next::Go(place + 1))
    }

    fn begin_round(
        &mut self,
        id: u32,
        place: Place,
        conditions: &[Condition],
        end: Place,
    ) -> Result<Next, Halt> {
        let most = self.env.limits.rounds_per_loop;
        let round = self
            .run
            .threads
            .get_mut(&id)
            .and_then(|thread| match thread.frames.last_mut() {
                Some(Frame::Loop(round)) => Some(round),
                _ => None,
            });
        let Some(round) = round else {
            return Err(broken("a round of no loop"));
        };
        if round.count.is_some_and(|count| round.index >= count) {
            return Ok(Next::Go(end));
        }
        if round.index >= most {
            return Err(broken(format!(
                "the loop came to its {most} rounds and had not ended: give it a condition that ends it, or a count"
            )));
        }
        round.index += 1;
        let index = round.index;
        if !conditions.is_empty() && self.all_hold(id, place, conditions) != Some(true) {
            return Ok(Next::Go(end));
        }
        self.note(place, What::Round { index });
        Ok(Next::Go(place + 1))
    }

    fn fork(&mut self, id: u32, branches: &[Place]) -> Result<Next, Halt> {
        if branches.is_empty() {
            let place = self.run.threads.get(&id).map_or(0, |thread| thread.place);
            return Ok(Next::Go(place + 1));
        }
        let most = self.env.limits.threads;
        if self.run.threads.len() + branches.len() > most {
            return Err(broken(format!("more than {most} sequences would run at a time")));
        }
        let mut open = BTreeSet::new();
        for place in branches {
            let child = self.run.next_thread;
            self.run.next_thread += 1;
            open.insert(child);
            self.run.threads.insert(
                child,
                Thread {
                    place: *place,
                    parent: Some(id),
                    ..Thread::default()
                },
            );
        }
        self.wait(
            id,
            None,
            WaitKind::Join {
                open,
                halts: BTreeMap::new(),
            },
        )?;
        Ok(Next::Wait)
    }

    /// Has a thread wait.
    fn wait(&mut self, id: u32, at_most_ms: Option<u64>, kind: WaitKind) -> Result<(), Halt> {
        let most = self.env.limits.wait_ms;
        if let Some(ms) = at_most_ms.filter(|ms| *ms > most) {
            return Err(broken(format!(
                "{ms} ms are longer than the {most} ms that a wait may last"
            )));
        }
        let now_ms = self.env.now_ms();
        let until_ms = at_most_ms.map(|ms| now_ms.saturating_add_unsigned(ms));
        if !matches!(kind, WaitKind::Join { .. } | WaitKind::Calls { .. }) {
            self.note_thread(id, What::Waits { until_ms });
        }
        let wait = Wait {
            id: self.run.next_wait,
            since_ms: now_ms,
            until_ms,
            kind,
        };
        self.run.next_wait += 1;
        if let Some(thread) = self.run.threads.get_mut(&id) {
            thread.wait = Some(wait);
        }
        Ok(())
    }

    /// Waits for a template or triggers; what holds already was waited for.
    fn wait_for(
        &mut self,
        id: u32,
        place: Place,
        timeout: Option<&Span>,
        kind: WaitKind,
        holds: bool,
    ) -> Result<Next, Halt> {
        let timeout_ms = timeout.map(|span| self.span(id, span)).transpose()?;
        self.wait(id, timeout_ms, kind)?;
        if holds {
            self.set_waited(id, true, None);
            if let Some(thread) = self.run.threads.get_mut(&id) {
                thread.wait = None;
            }
            self.note(place, What::Came);
            return Ok(Next::Go(place + 1));
        }
        Ok(Next::Wait)
    }

    fn stop(
        &mut self,
        id: u32,
        place: Place,
        reason: &Data,
        error: bool,
        response_variable: Option<&str>,
    ) -> Result<Next, Halt> {
        let reason = text_of(&self.render(id, reason)?);
        if error {
            return Err(broken(reason));
        }
        let response = match response_variable {
            None => None,
            Some(name) => match self.run.seen_by(id).remove(name) {
                Some(value) => Some(value),
                None => return Err(broken(format!("there is no variable {name} to answer with"))),
            },
        };
        self.log(Level::Info, format!("stopped: {reason}"));
        self.note(place, What::Done);
        Err(Halt::Stop { response })
    }

    fn next_intent(&mut self) -> Result<u64, Halt> {
        let most = self.env.limits.open_intents;
        if self.run.intents.len() >= most {
            return Err(broken(format!(
                "{most} calls and events of it are open, and no more may be"
            )));
        }
        let number = self.run.next_intent;
        self.run.next_intent += 1;
        Ok(number)
    }

    fn keep(&mut self, number: u64, deed: Deed, thread: Option<u32>) {
        self.run.intents.insert(
            number,
            Intent {
                deed,
                thread,
                asked_ms: self.env.now_ms(),
            },
        );
    }

    fn call(
        &mut self,
        id: u32,
        place: Place,
        [service, target, data]: [&Data; 3],
        answers: bool,
    ) -> Result<Next, Halt> {
        let variables = self.run.seen_by(id);
        let resolved = resolve(
            service,
            target,
            data,
            &self.env.check(&variables),
            self.env.limits,
        )
        .map_err(broken)?;
        if resolved.misses_all {
            self.log(
                Level::Warning,
                format!(
                    "what was called is for no known entity: {}",
                    Value::Object(resolved.target.clone())
                ),
            );
        }
        if resolved.parts.is_empty() {
            self.note(place, What::Done);
            return Ok(Next::Go(place + 1));
        }
        let mut open = BTreeSet::new();
        for part in resolved.parts {
            let intent = self.next_intent()?;
            open.insert(intent);
            let call = Call {
                intent,
                service: part.service,
                target: resolved.target.clone(),
                entities: part.entities,
                data: part.data,
                wants_response: answers,
                context: self.run.context.clone(),
            };
            self.note(
                place,
                What::Called {
                    service: call.service.clone(),
                    entities: call.entities.clone(),
                    intents: vec![intent],
                },
            );
            self.keep(intent, Deed::Call(call.clone()), Some(id));
            self.effects.push(Effect::Call(call));
        }
        self.wait(
            id,
            None,
            WaitKind::Calls {
                open,
                failed: None,
                response: None,
            },
        )?;
        Ok(Next::Wait)
    }

    fn fire(&mut self, id: u32, place: Place, event: &Data, data: &Data) -> Result<(), Halt> {
        let event_type = text_of(&self.render(id, event)?);
        let data = mapping(self.render(id, data)?, "event_data").map_err(broken)?;
        let most = self.env.limits.data_bytes;
        if weight_of_map(&data) > most {
            return Err(broken(format!(
                "the data of the event {event_type} is larger than {most} bytes"
            )));
        }
        let intent = self.next_intent()?;
        let event = Event {
            intent,
            event_type,
            data,
            context: self.run.context.clone(),
        };
        self.note(
            place,
            What::Sent {
                event: event.event_type.clone(),
            },
        );
        self.keep(intent, Deed::Event(event.clone()), None);
        self.effects.push(Effect::FireEvent(event));
        Ok(())
    }
}
