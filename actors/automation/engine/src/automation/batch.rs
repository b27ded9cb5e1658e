//! What follows from letters and from the time, thought out on a copy: one step of the automation, all of it or nothing.
//!
//! ```text
//!  Book, definition, moment ─► Batch ── go_on ── letter ── letter … is_full ─► Decided { step, book, tellings }
//! ```
//!
//! Reads no clock and draws no number but those that it is given. Whatever it is asked to do a second time, because the first
//! time did not fit into one step, it goes on with where that step left it.

use std::collections::{BTreeMap, BTreeSet};

use jarvis_machine::command::Letter;
use jarvis_rules::program::Program;
use jarvis_rules::run::{
    Advanced, Effect, Ended, Env, Input, Level, Run, RunId, RunSeen, RunState, TraceStep, What, next_queued,
};

use super::Head;
use super::book::{Book, Kept, Sort, is_ready};
use super::decided::{Decided, Telling, asked, change, run_of, surplus, to_bridge, word};
use super::size::{self, STEP_BYTES_FULL};
use super::watched::Watched;
use crate::library::Definition;
use crate::ran::Own;
use crate::rows;
use crate::wire::{ToBridge, encode};

/// How often a run is advanced in one step: one that has more to do lets others in between.
const GOES_MAX: usize = 4;
/// Queued runs that begin in one step: each may end at once.
const BEGINS_MAX: usize = 16;

/// What a batch is thought out with.
pub(super) struct Moment<'m> {
    /// What the automation says.
    pub(super) definition: &'m Definition,
    /// What is so.
    pub(super) env: Env<'m>,
    /// Gives a run's id: each another one.
    pub(super) fresh: &'m dyn Fn() -> RunId,
    /// What is so says of this automation when its runs began.
    pub(super) own: &'m Own,
    /// Traces of each sort that are kept.
    pub(super) traces: usize,
}

/// A run that the batch has touched.
struct Touched {
    kept: Kept,
    /// What was watched for it before.
    watched: Watched,
    /// What it takes in the step.
    bytes: usize,
}

/// See the module.
pub(super) struct Batch<'b> {
    pub(super) book: &'b Book,
    pub(super) at: &'b Moment<'b>,
    pub(super) head: Head,
    touched: BTreeMap<RunId, Touched>,
    /// Traces of what never was a run.
    traces: BTreeMap<String, (Sort, Vec<u8>)>,
    letters: Vec<Letter>,
    tellings: Vec<Telling>,
    bytes: usize,
}

impl<'b> Batch<'b> {
    /// Nothing yet.
    pub(super) fn new(book: &'b Book, at: &'b Moment<'b>) -> Self {
        Self {
            book,
            at,
            head: book.head.clone(),
            touched: BTreeMap::new(),
            traces: BTreeMap::new(),
            letters: Vec::new(),
            tellings: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether it should be written before anything more is done.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= STEP_BYTES_FULL
    }

    fn program(&self) -> &'b Program {
        self.at.definition.program()
    }

    /// A run as it stands in this batch.
    fn run(&self, id: &RunId) -> Option<&Kept> {
        let touched = self.touched.get(id).map(|touched| &touched.kept);
        touched.or_else(|| self.book.runs.get(id))
    }

    /// Whether a run of that name stands, or has left its trace.
    pub(super) fn knows(&self, id: &RunId) -> bool {
        let traced = || {
            self.traces
                .keys()
                .any(|name| name.ends_with(&format!(" {}", id.0)))
        };
        self.touched.contains_key(id) || self.book.knows(id) || traced()
    }

    /// Runs that have not ended, oldest first.
    pub(super) fn under_way(&self) -> Vec<RunSeen> {
        let ids: BTreeSet<&RunId> = self.book.runs.keys().chain(self.touched.keys()).collect();
        let mut open: Vec<&Kept> = ids
            .into_iter()
            .filter_map(|id| self.run(id))
            .filter(|kept| !kept.run.has_ended())
            .collect();
        open.sort_by_key(|kept| kept.order);
        let seen = open.into_iter().map(|kept| RunSeen {
            id: kept.run.id.clone(),
            queued: kept.run.state == RunState::Queued,
            finishing: kept.run.is_finishing(self.program()),
        });
        seen.collect()
    }

    /// Does what is to be done without a letter: runs of another revision end, those in `unseen` look at what came while
    /// nobody ran them, those whose time has come and those that have more to do go on. Takes out of `unseen` what has looked.
    pub(super) fn go_on(&mut self, unseen: &mut BTreeSet<RunId>) {
        let now_ms = self.at.env.now_ms();
        for RunSeen { id, .. } in self.under_way() {
            if self.is_full() {
                return;
            }
            let Some(Kept { run, .. }) = self.run(&id) else {
                continue;
            };
            let changed = run.revision != *self.program().revision();
            let due = run.wake_at_ms().is_some_and(|at_ms| at_ms <= now_ms);
            if unseen.remove(&id) || due {
                self.advance(&id, Input::Wake);
            } else if changed || is_ready(run) {
                self.advance(&id, Input::Continue);
            }
        }
        self.begin_queued();
    }

    /// Begins what waits for its turn, if it is that.
    pub(super) fn begin_queued(&mut self) {
        for _ in 0..BEGINS_MAX {
            if self.is_full() {
                return;
            }
            let runs = self.under_way();
            let Some(next) = next_queued(&runs).cloned() else {
                return;
            };
            self.begin(&next);
        }
    }

    /// Ends all runs, oldest first; false: the step is full, and there are more.
    pub(super) fn stop(&mut self, ids: &[RunId], why: &str) -> bool {
        for (index, id) in ids.iter().enumerate() {
            self.advance(id, Input::Stop { why: why.to_owned() });
            if self.is_full() {
                return index + 1 == ids.len();
            }
        }
        true
    }

    /// Takes a run in that has not begun.
    pub(super) fn admit(&mut self, mut run: Run, queued: bool) {
        if queued {
            let step = self.trace_step(What::Queued);
            run.trace.push(step, self.at.env.limits.trace_steps);
        }
        let id = run.id.clone();
        let order = self.head.runs;
        self.head.runs += 1;
        let touched = Touched {
            kept: Kept { run, order },
            watched: Watched::default(),
            bytes: 0,
        };
        self.touched.insert(id.clone(), touched);
        self.seal(&id, 1, Vec::new());
        if self.run(&id).is_some_and(|kept| kept.run.has_ended()) {
            self.tellings.push(Telling::Ended("failed"));
        } else if !queued {
            self.begin(&id);
        }
    }

    fn begin(&mut self, id: &RunId) {
        let now_ms = self.at.env.now_ms();
        self.head.last_triggered_ms = Some(now_ms);
        self.at.own.triggered(now_ms, self.under_way().len());
        self.advance(id, Input::Begin);
    }

    /// Keeps a trace of something that led to no run.
    pub(super) fn note(&mut self, mut run: Run, ended: Ended, how: &'static str) {
        run.state = RunState::Ended(ended);
        let name = rows::trace(run.started_ms, &run.id.0);
        let order = self.head.runs;
        let bytes = size::trace(&Kept { run, order });
        self.bytes += bytes.len();
        self.traces.insert(name, (Sort::PassedOver, bytes));
        self.tellings.push(Telling::Ended(how));
    }

    /// Something that happens to a trigger rather than to a step.
    pub(super) fn trace_step(&self, what: What) -> TraceStep {
        TraceStep {
            path: String::new(),
            at_ms: self.at.env.now_ms(),
            node: self.at.env.node.to_owned(),
            what,
        }
    }

    /// Advances a run, and does so again while there is more to do.
    pub(super) fn advance(&mut self, id: &RunId, input: Input) {
        let program = self.program();
        if !self.touched.contains_key(id) {
            let Some(kept) = self.book.runs.get(id).cloned() else {
                // It has settled: whatever comes for it comes too late.
                return;
            };
            let watched = Watched::of(&kept.run, program);
            self.touched.insert(
                id.clone(),
                Touched {
                    kept,
                    watched,
                    bytes: 0,
                },
            );
        }
        let Some(Touched { kept, .. }) = self.touched.get_mut(id) else {
            return;
        };
        let first = kept.run.next_intent;
        let ended = kept.run.has_ended();
        let traced = kept.run.trace.dropped + kept.run.trace.steps.len() as u64;
        let mut effects = Vec::new();
        let mut input = Some(input);
        for _ in 0..GOES_MAX {
            let Advanced { effects: more, again } =
                kept.run
                    .advance(program, input.take().unwrap_or(Input::Continue), &self.at.env);
            effects.extend(more);
            if !again {
                break;
            }
        }
        let run = &kept.run;
        let seen = usize::try_from(traced.saturating_sub(run.trace.dropped)).unwrap_or(0);
        let late = run
            .trace
            .steps
            .iter()
            .skip(seen)
            .filter_map(|step| match step.what {
                What::Late { by_ms, .. } => Some(Telling::Late(by_ms)),
                _ => None,
            });
        self.tellings.extend(late);
        self.seal(id, first, effects);
        if let (false, Some(Kept { run, .. })) = (ended, self.run(id))
            && let RunState::Ended(how) = &run.state
        {
            let told = Telling::Ended(word(how));
            self.tellings.push(told);
        }
    }

    /// Sees that a run fits into its row, and what it asks for into letters; else it ends, and nothing that it asked for from
    /// the number `first` on is done.
    fn seal(&mut self, id: &RunId, first: u64, effects: Vec<Effect>) {
        let Some(touched) = self.touched.get_mut(id) else {
            return;
        };
        let letters = asked(&touched.kept.run, &effects);
        let largest = letters.iter().map(|letter| letter.body.len()).max().unwrap_or(0);
        let fitted = match size::fit(&mut touched.kept) {
            Ok(bytes) if largest <= size::RUN_BYTES_MAX => Ok(bytes.len()),
            Ok(_) => Err(largest),
            Err(bytes) => Err(bytes),
        };
        let bytes = match fitted {
            Ok(bytes) => {
                self.bytes += letters.iter().map(|letter| letter.body.len()).sum::<usize>();
                self.letters.extend(letters);
                bytes
            }
            Err(bytes) => {
                let (now_ms, node) = (self.at.env.now_ms(), self.at.env.node);
                touched.kept.run.intents.retain(|number, _| *number < first);
                size::end_too_large(&mut touched.kept.run, bytes, now_ms, node);
                self.tellings.push(Telling::Log {
                    run: id.clone(),
                    level: Level::Error,
                    message: format!(
                        "its state would take {bytes} bytes: it ends, and what it asked for last is not done"
                    ),
                });
                touched.kept.to_bytes().len()
            }
        };
        self.bytes = self.bytes + bytes - touched.bytes;
        touched.bytes = bytes;
        let logs = effects.into_iter().filter_map(|effect| match effect {
            Effect::Log { level, message } => Some(Telling::Log {
                run: id.clone(),
                level,
                message,
            }),
            Effect::Call(_) | Effect::FireEvent(_) => None,
        });
        self.tellings.extend(logs);
    }

    /// What it came to.
    pub(super) fn finish(mut self) -> Decided {
        let program = self.program();
        let mut book = self.book.clone();
        let mut changes = BTreeMap::new();
        if self.head != book.head {
            changes.insert(rows::HEAD.to_owned(), Some(encode(&self.head)));
            book.head = self.head;
        }
        let mut added = self.traces;
        for (id, Touched { kept, watched, .. }) in self.touched {
            let was = book.runs.get(&id);
            if was == Some(&kept) {
                continue;
            }
            if Watched::of(&kept.run, program) != watched {
                self.letters.push(to_bridge(&ToBridge::Waits(run_of(&kept.run))));
            }
            let name = format!("{}{}", rows::RUN, id.0);
            if kept.run.is_settled() {
                let trace = rows::trace(kept.run.started_ms, &id.0);
                added.insert(trace, (Sort::of(&kept.run), size::trace(&kept)));
                if book.runs.remove(&id).is_some() {
                    changes.insert(name, None);
                }
            } else {
                changes.insert(name, Some(kept.to_bytes()));
                book.runs.insert(id, kept);
            }
        }
        for (name, (sort, bytes)) in added {
            book.traces.insert(name.clone(), sort);
            changes.insert(name, Some(bytes));
        }
        for name in surplus(&book.traces, self.at.traces) {
            book.traces.remove(&name);
            // One that came in this very step was never written.
            match self.book.traces.contains_key(&name) {
                true => drop(changes.insert(name, None)),
                false => drop(changes.remove(&name)),
            }
        }
        Decided {
            rows: changes.into_iter().map(change).collect(),
            letters: self.letters,
            book,
            tellings: self.tellings,
        }
    }
}
