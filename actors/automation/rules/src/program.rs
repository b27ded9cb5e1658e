//! An automation as a flat list of steps, so that where a run stands is a number.
//!
//! ```text
//!  if: [c]              0 Enter            ┐ a frame: where a failed condition goes
//!  then: [a]    ──►     1 Branch c, else 6 │
//!  else: [b]            2 Enter 3 a 4 Leave 5 Jump 9
//!                       6 Enter 7 b 8 Leave
//!                       9 Leave  10 End    ┘
//! ```
//!
//! A program has a [`Revision`], a hash of what it does: a run says which one it runs, so that no node goes on with a run by a
//! program whose numbers mean something else. Moving lines in a file, comments and descriptions do not change it.

mod compile;
mod revision;

use serde::{Deserialize, Serialize};

use crate::model::{Automation, Condition, Data, Span, Template, Trigger};

/// What a program does, as 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub String);

/// Where a step stands in its program.
pub type Place = u32;

/// An automation, ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    automation: Automation,
    revision: Revision,
    steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Where it stands in the automation, as in Home Assistant's traces: `action/0/choose/1/sequence/2`.
    pub path: String,
    /// Whether the run goes on if it fails.
    pub continue_on_error: bool,
    /// What is done.
    pub op: Op,
}

/// What a step does. Places are those of steps in the same program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Begins a sequence. A condition in it that does not hold goes to `end`, where it is left.
    Enter {
        /// The `Leave` that belongs to it.
        end: Place,
    },
    /// Begins something that may fail: a failure in it goes to `end`.
    Guard {
        /// The `Leave` that belongs to it.
        end: Place,
    },
    /// Ends what was begun last.
    Leave,
    /// Goes elsewhere.
    Jump {
        /// Where to.
        to: Place,
    },
    /// An action that is switched off.
    Disabled,
    /// Goes on if all hold.
    Branch {
        /// What has to hold.
        conditions: Vec<Condition>,
        /// Where it goes otherwise.
        otherwise: Place,
    },
    /// Goes on if it holds, else to the end of the sequence.
    Require(Condition),
    /// Begins a loop.
    Repeat {
        /// How often.
        rounds: Rounds,
        /// The `Leave` that belongs to it.
        end: Place,
    },
    /// Begins a round, if there is one more.
    Round {
        /// Have to hold for that.
        conditions: Vec<Condition>,
        /// The loop's `Leave`.
        end: Place,
    },
    /// Ends a round.
    Again {
        /// The `Round` of the loop.
        round: Place,
        /// If there are any and they hold, it was the last.
        until: Option<Vec<Condition>>,
    },
    /// Begins several sequences at once; goes on with `join` when all have ended.
    Fork {
        /// Where each begins.
        branches: Vec<Place>,
        /// What comes after.
        join: Place,
    },
    /// The end of the program, or of one sequence of a `Fork`.
    End,
    /// Calls a service and waits for what comes of it.
    Call {
        /// `domain.service`.
        service: Data,
        /// What it is to be done to.
        target: Data,
        /// How.
        data: Data,
        /// The variable that gets the answer.
        response_variable: Option<String>,
    },
    /// Waits that long.
    Delay(Span),
    /// Waits until it is true.
    WaitTemplate {
        /// What has to be true.
        template: Template,
        /// At most so long.
        timeout: Option<Span>,
        /// Whether it goes on after that, or stops the run.
        continue_on_timeout: bool,
    },
    /// Waits until one of them fires.
    WaitForTrigger {
        /// Any of these.
        triggers: Vec<Trigger>,
        /// At most so long.
        timeout: Option<Span>,
        /// Whether it goes on after that, or stops the run.
        continue_on_timeout: bool,
    },
    /// Sets variables, in order.
    Variables(Vec<(String, Data)>),
    /// Ends the run.
    Stop {
        /// Why.
        reason: Data,
        /// Whether that is a failure.
        error: bool,
        /// The variable that is handed to who called.
        response_variable: Option<String>,
    },
    /// Tells everybody of something.
    Event {
        /// Its type.
        event: Data,
        /// What goes with it.
        data: Data,
    },
}

/// How often a loop runs, as far as that is known when it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rounds {
    /// So many times.
    Count(Data),
    /// Once for each item.
    ForEach(Data),
    /// Its conditions decide.
    Open,
}

impl Program {
    /// Makes a program of an automation.
    pub fn compile(automation: Automation) -> Self {
        let revision = revision::of(&automation);
        let steps = compile::steps(&automation.actions);
        Self {
            automation,
            revision,
            steps,
        }
    }

    /// What it was made of.
    pub fn automation(&self) -> &Automation {
        &self.automation
    }

    /// What it does, as a hash.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// All steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether nothing is done from there on to the end, of the program or of one sequence of a [`Op::Fork`].
    pub(crate) fn is_over_at(&self, mut place: Place) -> bool {
        // Jumps that only leave something go forward: a loop goes back by `Again`.
        while let Some(step) = self.step(place) {
            place = match step.op {
                Op::End => return true,
                Op::Leave | Op::Disabled => place + 1,
                Op::Jump { to } if to > place => to,
                _ => return false,
            };
        }
        false
    }

    /// One step; none: a run stands where this program has nothing.
    pub fn step(&self, place: Place) -> Option<&Step> {
        self.steps.get(usize::try_from(place).ok()?)
    }
}
