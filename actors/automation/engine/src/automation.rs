//! The kind of automations: each runs its own, keeps where they stand, and asks the bridge for what is to be done.
//!
//! ```text
//!  letters, timers, what came of a start ─► Batch (pure) ─► one step: runs, traces, letters to the bridge, letters taken
//!                                                             └─ in the log ─► then held in memory, told of, timed
//! ```
//!
//! A run under way is a row; so is the trace of one that has settled. What the entity holds in memory is what its rows say: a
//! step is thought out on a copy, which takes the place of the old when the step is in the log. A step that is not known to be
//! there ends the activation, and the next one reads what came of it.
//!
//! **Who is awake.** One with a run under way is never passivated, and is started wherever its partition goes. What fell due
//! before that start fell due unseen: the automation's policy says what becomes of it, and the run's trace says what did.

mod batch;
mod book;
mod decided;
mod letters;
mod size;
#[cfg(test)]
mod tests;
mod this;
mod timer;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_entity::api::{Cx, Entity, EntityError, EntityKind, Inbound, Ledger, LedgerError, Step};
use jarvis_host::new_ulid;
use jarvis_replica::api::{ReadError, View};
use jarvis_replica::simulated::Bite;
use jarvis_rules::facts::Facts;
use jarvis_rules::run::{Env, Level, RunId};
use jarvis_types::limits::AUTOMATION_PARTITIONS;
use jarvis_types::{EntityId, KindId, PartitionIndex};
use serde::{Deserialize, Serialize};

use self::batch::{Batch, Moment};
use self::book::Book;
use self::decided::{Decided, Telling};
use self::letters::Took;
use self::timer::Timer;
use crate::api::ulid;
use crate::library::Definition;
use crate::metrics;
use crate::ran::{InTables, Own, WithRuns};
use crate::rows;
use crate::settings::{Engine, Shared};
use crate::wire::{ToAutomation, decode};

/// Letters that are read at a time.
const LETTERS_PER_STEP: usize = 64;
/// Steps written before others get their turn.
const STEPS_PER_TURN: usize = 8;
/// Pause before a step that was refused, since too much waits at the bridge, is thought out anew.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

/// What an automation keeps of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// When a run of it last began, Unix milliseconds.
    pub last_triggered_ms: Option<i64>,
    /// Runs that were taken in so far.
    pub runs: u64,
}

/// The kind.
pub struct AutomationKind {
    engine: Engine,
}

impl AutomationKind {
    /// Of this node's engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

impl EntityKind for AutomationKind {
    type Entity = AutomationEntity;

    fn id(&self) -> KindId {
        KindId::AUTOMATION
    }

    fn since_level(&self) -> u32 {
        3
    }

    fn name(&self) -> &'static str {
        "automation"
    }

    fn partitions(&self) -> u16 {
        AUTOMATION_PARTITIONS
    }

    fn create(&self, _: &EntityId) -> AutomationEntity {
        AutomationEntity {
            shared: Arc::clone(&self.engine.shared),
            started: None,
        }
    }

    fn unfinished(&self, view: &View, partition: PartitionIndex) -> Result<Vec<String>, ReadError> {
        let query = view.query();
        let mut unfinished = Vec::new();
        for (id, row) in query.entities_of(KindId::AUTOMATION, partition)? {
            let run = || query.entity_rows(&id, rows::RUN.as_bytes(), 1);
            if row.rows > 0 && !run()?.is_empty() {
                unfinished.push(id.key);
            }
        }
        Ok(unfinished)
    }
}

/// Look again: the time has come, or more is to be done.
pub struct Look;

/// An automation.
pub struct AutomationEntity {
    shared: Arc<Shared>,
    started: Option<Started>,
}

/// One that runs.
struct Started {
    ledger: Ledger,
    book: Book,
    /// Runs that have not looked yet at what came while nobody ran them.
    unseen: BTreeSet<RunId>,
    timer: Option<Timer>,
}

/// What a step came to.
enum Stepped {
    /// There was nothing to do.
    Idle,
    /// It is in the log; there may be more to do.
    Wrote,
    /// It was refused for now.
    Refused,
}

/// What is known of the automation's own definition.
enum Defined {
    As(Arc<Definition>),
    /// It is not there.
    Removed,
    /// It is there, and this build does not understand it.
    Foreign,
}

#[async_trait]
impl Entity for AutomationEntity {
    type Event = Look;

    async fn on_start(&mut self, cx: &Cx<Look>) -> Result<(), EntityError> {
        let ledger = Ledger::open(cx).map_err(fault)?;
        let mut book = Book::read(&cx.rows(b"", usize::MAX).map_err(fault)?);
        if cx.replica.bite() == Some(Bite::TimerForgotten) {
            book.forget_due(self.shared.now_ms());
        }
        let open = book.runs.iter().filter(|(_, kept)| !kept.run.has_ended());
        let unseen: BTreeSet<RunId> = open.map(|(id, _)| id.clone()).collect();
        metrics::running(count(unseen.len()));
        self.started = Some(Started {
            ledger,
            book,
            unseen,
            timer: None,
        });
        self.work(cx).await
    }

    async fn on_message(&mut self, _: &Cx<Look>, message: Inbound) -> Result<(), EntityError> {
        message.answer.refuse("automations take letters only".to_owned());
        Ok(())
    }

    async fn on_letters(&mut self, cx: &Cx<Look>) -> Result<(), EntityError> {
        self.work(cx).await
    }

    async fn on_event(&mut self, cx: &Cx<Look>, Look: Look) -> Result<(), EntityError> {
        self.work(cx).await
    }

    fn is_idle(&self) -> bool {
        let started = self.started.as_ref();
        started.is_none_or(|started| started.book.under_way() == 0 && started.timer.is_none())
    }
}

impl AutomationEntity {
    /// Does what there is to do, one step after the other, and sets the timer for what comes next.
    async fn work(&mut self, cx: &Cx<Look>) -> Result<(), EntityError> {
        let Some(started) = &mut self.started else {
            return Ok(());
        };
        for _ in 0..STEPS_PER_TURN {
            let wake_at_ms = match started.step(cx, &self.shared).await? {
                Stepped::Wrote => continue,
                Stepped::Idle => started.book.wake_at_ms(),
                Stepped::Refused => Some(self.shared.now_ms() + millis(REFUSED_PAUSE)),
            };
            started.set_timer(cx, &self.shared, wake_at_ms);
            return Ok(());
        }
        (cx.events())(Look);
        Ok(())
    }
}

impl Started {
    async fn step(&mut self, cx: &Cx<Look>, shared: &Shared) -> Result<Stepped, EntityError> {
        let now_ms = shared.now_ms();
        let letters = self.ledger.letters(cx, LETTERS_PER_STEP).map_err(fault)?;
        // After the letters, so that what is seen is no older than what they tell of.
        let seen = shared.mirror.see(&cx.replica, now_ms).map_err(fault)?;
        let definition = match defined(cx, seen.library.get(&cx.entity.key))? {
            Defined::As(definition) => Some(definition),
            Defined::Removed => None,
            Defined::Foreign => {
                tracing::error!(
                    automation = cx.entity.key,
                    "a newer build wrote this automation; it waits for a node of that build"
                );
                return Ok(Stepped::Idle);
            }
        };
        // Its own rows may not be written or applied here yet.
        let now = (self.book.head.last_triggered_ms, self.book.under_way());
        let own = Arc::new(Own::new(cx.entity.key.clone(), now, InTables(cx.replica.clone())));
        let facts: Arc<dyn Facts> = Arc::new(WithRuns::new(seen.view, Arc::clone(&own) as _));
        let mut unseen = self.unseen.clone();
        let (decided, taken) = match &definition {
            Some(definition) => {
                let fresh = || RunId(ulid::text(new_ulid(&*shared.clock, &*shared.entropy)));
                let moment = Moment {
                    definition,
                    env: Env {
                        facts: &facts,
                        templates: &shared.templates,
                        node: &shared.settings.node,
                        limits: &shared.limits,
                    },
                    fresh: &fresh,
                    own: &own,
                    traces: shared.settings.traces,
                };
                decide(&self.book, &moment, &letters, &mut unseen)
            }
            None => (
                Decided::removal(&self.book),
                letters.last().map_or(0, |(number, _)| *number),
            ),
        };
        let Decided {
            rows,
            letters,
            book,
            tellings,
        } = decided;
        if !rows.is_empty() || !letters.is_empty() || taken > 0 {
            let step = Step { rows, taken, letters };
            match self.ledger.persist(cx, step, None).await {
                Ok(()) => {}
                Err(LedgerError::Refused(error)) => {
                    tracing::warn!(automation = cx.entity.key, %error, "a step is thought out anew in a moment; see whether the bridge runs, with `jarvis status`");
                    return Ok(Stepped::Refused);
                }
                Err(error) => return Err(error.into()),
            }
        } else if tellings.is_empty() && unseen == self.unseen {
            return Ok(Stepped::Idle);
        }
        metrics::running(count(book.under_way()) - count(self.book.under_way()));
        self.book = book;
        self.unseen = unseen;
        tell(&cx.entity.key, tellings);
        Ok(Stepped::Wrote)
    }

    /// Has it look again at that time. There is one timer at a time.
    fn set_timer(&mut self, cx: &Cx<Look>, shared: &Shared, at_ms: Option<i64>) {
        if let (Some(timer), Some(at_ms)) = (&self.timer, at_ms)
            && timer.is_set_to(at_ms)
        {
            return;
        }
        let events = cx.events();
        self.timer = at_ms.map(|at_ms| {
            let clock = Arc::clone(&shared.clock);
            Timer::set(&cx.tasks, clock, at_ms, move || events(Look))
        });
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        metrics::running(-count(self.book.under_way()));
    }
}

/// What follows from the time and from letters, and the number of the last letter that is done with.
fn decide(
    book: &Book,
    moment: &Moment<'_>,
    letters: &[(u64, Vec<u8>)],
    unseen: &mut BTreeSet<RunId>,
) -> (Decided, u64) {
    let mut batch = Batch::new(book, moment);
    batch.go_on(unseen);
    let mut taken = 0;
    for (number, body) in letters {
        if batch.is_full() {
            break;
        }
        match decode::<ToAutomation>(body) {
            Ok(letter) => {
                if batch.letter(letter) == Took::Again {
                    break;
                }
            }
            Err(error) => {
                tracing::error!(automation = moment.definition.automation.id, letter = number, %error, "a letter is left out");
            }
        }
        taken = *number;
    }
    (batch.finish(), taken)
}

fn defined(cx: &Cx<Look>, definition: Option<&Arc<Definition>>) -> Result<Defined, EntityError> {
    if let Some(definition) = definition {
        return Ok(Defined::As(Arc::clone(definition)));
    }
    let name = format!("{}{}", rows::DEFINITION, cx.entity.key);
    let view = cx.replica.local().map_err(fault)?;
    let row = view.query().entity_row(&EntityId::bridge(), name.as_bytes());
    Ok(match row.map_err(|error| fault(ReadError::from(error)))? {
        Some(_) => Defined::Foreign,
        None => Defined::Removed,
    })
}

fn tell(automation: &str, tellings: Vec<Telling>) {
    for telling in tellings {
        match telling {
            Telling::Late(by_ms) => metrics::late(by_ms),
            Telling::Ended(how) => metrics::run_ended(how),
            Telling::Log { run, level, message } => match level {
                Level::Info => tracing::info!(automation, run = run.0, "{message}"),
                Level::Warning => tracing::warn!(automation, run = run.0, "{message}"),
                Level::Error => tracing::error!(automation, run = run.0, "{message}"),
            },
        }
    }
}

fn fault(error: ReadError) -> EntityError {
    EntityError::Fault(error.to_string())
}

fn count(runs: usize) -> i64 {
    i64::try_from(runs).unwrap_or(i64::MAX)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
