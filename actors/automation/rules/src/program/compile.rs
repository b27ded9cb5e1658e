//! From a tree of actions to a list of steps.

use super::{Op, Place, Rounds, Step};
use crate::model::{Action, ActionKind, Repeat, Until};

/// The steps of a list of actions, ended by [`Op::End`].
pub(super) fn steps(actions: &[Action]) -> Vec<Step> {
    let mut compiler = Compiler { steps: Vec::new() };
    compiler.sequence("action", actions);
    compiler.push("action", Op::End);
    compiler.steps
}

struct Compiler {
    steps: Vec<Step>,
}

impl Compiler {
    /// Where the next step will stand. Files are bounded far below what a place can hold.
    fn here(&self) -> Place {
        Place::try_from(self.steps.len()).unwrap_or(Place::MAX)
    }

    fn push(&mut self, path: &str, op: Op) -> usize {
        self.steps.push(Step {
            path: path.to_owned(),
            continue_on_error: false,
            op,
        });
        self.steps.len() - 1
    }

    /// Sets where a step that was pushed before goes, which is known only now.
    fn aim(&mut self, step: usize, place: Place) {
        match &mut self.steps[step].op {
            Op::Enter { end } | Op::Guard { end } | Op::Repeat { end, .. } | Op::Round { end, .. } => {
                *end = place
            }
            Op::Jump { to } => *to = place,
            Op::Branch { otherwise, .. } => *otherwise = place,
            Op::Fork { join, .. } => *join = place,
            other => unreachable!("{other:?} goes nowhere"),
        }
    }

    fn sequence(&mut self, path: &str, actions: &[Action]) {
        let enter = self.push(path, Op::Enter { end: 0 });
        for (index, action) in actions.iter().enumerate() {
            self.action(&format!("{path}/{index}"), action);
        }
        let end = self.here();
        self.push(path, Op::Leave);
        self.aim(enter, end);
    }

    fn action(&mut self, path: &str, action: &Action) {
        if !action.enabled {
            self.push(path, Op::Disabled);
            return;
        }
        // A step that stands alone is told to go on by itself; what consists of steps is put in a frame.
        let frame = action.continue_on_error && action.kind.holds_actions();
        let guard = frame.then(|| self.push(path, Op::Guard { end: 0 }));
        let first = self.steps.len();
        self.kind(path, &action.kind);
        if let Some(guard) = guard {
            let end = self.here();
            self.push(path, Op::Leave);
            self.aim(guard, end);
        } else if action.continue_on_error {
            self.steps[first].continue_on_error = true;
        }
    }

    fn kind(&mut self, path: &str, kind: &ActionKind) {
        match kind {
            ActionKind::Call {
                service,
                target,
                data,
                response_variable,
            } => {
                self.push(
                    path,
                    Op::Call {
                        service: service.clone(),
                        target: target.clone(),
                        data: data.clone(),
                        response_variable: response_variable.clone(),
                    },
                );
            }
            ActionKind::Delay(span) => {
                self.push(path, Op::Delay(span.clone()));
            }
            ActionKind::WaitTemplate {
                template,
                timeout,
                continue_on_timeout,
            } => {
                self.push(
                    path,
                    Op::WaitTemplate {
                        template: template.clone(),
                        timeout: timeout.clone(),
                        continue_on_timeout: *continue_on_timeout,
                    },
                );
            }
            ActionKind::WaitForTrigger {
                triggers,
                timeout,
                continue_on_timeout,
            } => {
                self.push(
                    path,
                    Op::WaitForTrigger {
                        triggers: triggers.clone(),
                        timeout: timeout.clone(),
                        continue_on_timeout: *continue_on_timeout,
                    },
                );
            }
            ActionKind::Condition(condition) => {
                self.push(path, Op::Require(condition.clone()));
            }
            ActionKind::Choose { branches, default } => {
                let mut jumps = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    let path = format!("{path}/choose/{index}");
                    let test = self.push(
                        &path,
                        Op::Branch {
                            conditions: branch.conditions.clone(),
                            otherwise: 0,
                        },
                    );
                    self.sequence(&format!("{path}/sequence"), &branch.sequence);
                    jumps.push(self.push(&path, Op::Jump { to: 0 }));
                    let next = self.here();
                    self.aim(test, next);
                }
                self.sequence(&format!("{path}/default"), default);
                let end = self.here();
                for jump in jumps {
                    self.aim(jump, end);
                }
            }
            ActionKind::If {
                conditions,
                then,
                otherwise,
            } => {
                let test = self.push(
                    path,
                    Op::Branch {
                        conditions: conditions.clone(),
                        otherwise: 0,
                    },
                );
                self.sequence(&format!("{path}/then"), then);
                let jump = self.push(path, Op::Jump { to: 0 });
                let next = self.here();
                self.aim(test, next);
                self.sequence(&format!("{path}/else"), otherwise);
                let end = self.here();
                self.aim(jump, end);
            }
            ActionKind::Repeat(repeat) => self.repeat(path, repeat),
            ActionKind::Parallel(sequences) => {
                let fork = self.push(
                    path,
                    Op::Fork {
                        branches: Vec::new(),
                        join: 0,
                    },
                );
                let mut places = Vec::new();
                for (index, sequence) in sequences.iter().enumerate() {
                    let path = format!("{path}/parallel/{index}/sequence");
                    places.push(self.here());
                    self.sequence(&path, sequence);
                    self.push(&path, Op::End);
                }
                let end = self.here();
                self.aim(fork, end);
                if let Op::Fork { branches, .. } = &mut self.steps[fork].op {
                    *branches = places;
                }
            }
            ActionKind::Sequence(actions) => self.sequence(&format!("{path}/sequence"), actions),
            ActionKind::Variables(variables) => {
                self.push(path, Op::Variables(variables.clone()));
            }
            ActionKind::Stop {
                reason,
                error,
                response_variable,
            } => {
                self.push(
                    path,
                    Op::Stop {
                        reason: reason.clone(),
                        error: *error,
                        response_variable: response_variable.clone(),
                    },
                );
            }
            ActionKind::Event { event, data } => {
                self.push(
                    path,
                    Op::Event {
                        event: event.clone(),
                        data: data.clone(),
                    },
                );
            }
        }
    }

    fn repeat(&mut self, path: &str, repeat: &Repeat) {
        let (rounds, before, until) = match &repeat.until {
            Until::Count(count) => (Rounds::Count(count.clone()), Vec::new(), None),
            Until::ForEach(items) => (Rounds::ForEach(items.clone()), Vec::new(), None),
            Until::While(conditions) => (Rounds::Open, conditions.clone(), None),
            Until::Until(conditions) => (Rounds::Open, Vec::new(), Some(conditions.clone())),
        };
        let begin = self.push(path, Op::Repeat { rounds, end: 0 });
        let round_at = self.here();
        let round = self.push(
            path,
            Op::Round {
                conditions: before,
                end: 0,
            },
        );
        self.sequence(&format!("{path}/repeat/sequence"), &repeat.sequence);
        self.push(
            path,
            Op::Again {
                round: round_at,
                until,
            },
        );
        let end = self.here();
        self.push(path, Op::Leave);
        self.aim(begin, end);
        self.aim(round, end);
    }
}

impl ActionKind {
    /// Whether it consists of actions.
    fn holds_actions(&self) -> bool {
        matches!(
            self,
            Self::Choose { .. } | Self::If { .. } | Self::Repeat(_) | Self::Parallel(_) | Self::Sequence(_)
        )
    }
}
