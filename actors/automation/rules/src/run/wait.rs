//! What a run waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Halt, Run, RunState, Thread};
use crate::model::{Trigger, TriggerKind};
use crate::program::{Op, Program};

/// One wait of one thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its number in the run: never used again.
    pub id: u32,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// At most until then.
    pub until_ms: Option<i64>,
    /// For what.
    pub kind: WaitKind,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// The time alone.
    Delay,
    /// The template of the step.
    Template,
    /// The triggers of the step.
    Triggers,
    /// What comes of calls.
    Calls {
        /// Those that nothing is known of.
        open: BTreeSet<u64>,
        /// What went wrong first.
        failed: Option<String>,
        /// What was answered: of one call that, of several the mappings together.
        response: Option<Value>,
    },
    /// The sequences of a `parallel`.
    Join {
        /// Those under way.
        open: BTreeSet<u32>,
        /// What became of those that did not come to their end.
        halts: BTreeMap<u32, Halt>,
    },
}

/// What a caller has to watch for a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The wait's number, for [`Input::Triggered`](super::Input::Triggered).
    pub wait: u32,
    /// Since when.
    pub since_ms: i64,
    /// What it waits for; for a `wait_template` a trigger of that template.
    pub triggers: Vec<Trigger>,
    /// What templates in them see.
    pub variables: Map<String, Value>,
}

impl Run {
    /// When it has to be woken at the latest, Unix milliseconds.
    pub fn wake_at_ms(&self) -> Option<i64> {
        if self.state != RunState::Active {
            return None;
        }
        self.threads
            .values()
            .filter_map(|thread| thread.wait.as_ref()?.until_ms)
            .min()
    }

    /// Whether it does nothing more but hear what came of what it asked for: all of its threads wait for calls, and nothing but the
    /// end comes after them. The program must be the one that it runs.
    pub fn is_finishing(&self, program: &Program) -> bool {
        let ends_after = |thread: &Thread| {
            let step = program.step(thread.place);
            let next = match (
                thread.wait.as_ref().map(|wait| &wait.kind),
                step.map(|step| &step.op),
            ) {
                (Some(WaitKind::Calls { .. }), Some(Op::Call { .. })) => thread.place + 1,
                (Some(WaitKind::Join { .. }), Some(Op::Fork { join, .. })) => *join,
                _ => return false,
            };
            program.is_over_at(next)
        };
        self.state == RunState::Active
            && self.revision == *program.revision()
            && !self.threads.is_empty()
            && self.threads.values().all(ends_after)
    }

    /// Which triggers have to be watched for it. The program must be the one that it runs.
    pub fn waits(&self, program: &Program) -> Vec<Waiting> {
        if self.state != RunState::Active || self.revision != *program.revision() {
            return Vec::new();
        }
        let mut waits = Vec::new();
        for (id, thread) in &self.threads {
            let (Some(wait), Some(step)) = (&thread.wait, program.step(thread.place)) else {
                continue;
            };
            let triggers = match (&wait.kind, &step.op) {
                (WaitKind::Template, Op::WaitTemplate { template, .. }) => vec![Trigger {
                    id: String::from("0"),
                    enabled: true,
                    variables: Vec::new(),
                    policy: None,
                    position: Default::default(),
                    kind: TriggerKind::Template {
                        template: template.clone(),
                        held_for: None,
                    },
                }],
                (WaitKind::Triggers, Op::WaitForTrigger { triggers, .. }) => triggers.clone(),
                _ => continue,
            };
            waits.push(Waiting {
                wait: wait.id,
                since_ms: wait.since_ms,
                triggers,
                variables: self.seen_by(*id),
            });
        }
        waits
    }

    /// The variables that a thread sees.
    pub(super) fn seen_by(&self, thread: u32) -> Map<String, Value> {
        let mut variables = self.variables.clone();
        let mut next = Some(thread);
        let (mut repeat, mut waited) = (None, None);
        while let Some(thread) = next.and_then(|id| self.threads.get(&id)) {
            let innermost = thread.frames.iter().rev().find_map(|frame| match frame {
                super::Frame::Loop(round) => Some(round.variable()),
                _ => None,
            });
            repeat = repeat.or(innermost);
            waited = waited.or_else(|| thread.waited.clone());
            next = thread.parent;
        }
        if let Some(repeat) = repeat {
            variables.insert(String::from("repeat"), repeat);
        }
        if let Some(waited) = waited {
            variables.insert(String::from("wait"), waited);
        }
        variables
    }
}

impl super::Loop {
    /// `repeat`, as templates see it.
    fn variable(&self) -> Value {
        let mut map = Map::new();
        map.insert("index".into(), self.index.into());
        map.insert("first".into(), (self.index == 1).into());
        if let Some(count) = self.count {
            map.insert("last".into(), (self.index == count).into());
        }
        let item = self.index.checked_sub(1).and_then(|index| {
            let index = usize::try_from(index).ok()?;
            self.items.as_ref()?.get(index)
        });
        if let Some(item) = item {
            map.insert("item".into(), item.clone());
        }
        Value::Object(map)
    }
}
