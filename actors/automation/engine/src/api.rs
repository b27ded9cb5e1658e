//! How the rest of a node uses automations: the gateway, the command line behind it, chat sessions.

use std::time::Duration;

use bytes::Bytes;
use jarvis_devices::View;
use jarvis_devices::service::Target;
use jarvis_entity::api::{AskError, Router};
use jarvis_host::new_ulid;
use jarvis_machine::command::{Command, Letter};
use jarvis_machine::storage::KeyValue;
use jarvis_mqtt::DeadLetter;
use jarvis_replica::api::{ProposeError, ProposeOptions, ReadError, Replica};
use jarvis_rules::load::{Loaded, Problem, load};
use jarvis_rules::model::Automation;
use jarvis_rules::run::{Run, RunId};
use jarvis_types::limits::MAX_ENTITY_KEY_BYTES;
use jarvis_types::{EntityId, NodeId, RequestId};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::automation::Head;
use crate::library::Definition;
use crate::mirror::Seen;
use crate::rows;
use crate::services;
use crate::settings::Engine;
use crate::wire::{Answered, Ask, BridgeStatus, Reminder, ToAutomation, ToBridge, Told, decode, encode};

/// Automations sent to the bridge at once: together they stay far below what a message between nodes may have.
const AUTOMATIONS_PER_ASK: usize = 200;

/// Why something about automations could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AutomationError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It can never be done as it was asked for.
    #[error("{0}")]
    Invalid(String),
    /// No majority or owner in time, or no broker: it may be asked for again.
    #[error("{what}; try again")]
    Unavailable {
        /// What is missing.
        what: String,
        /// When trying again makes sense, in milliseconds.
        retry_after_ms: u64,
    },
    /// A fault of ours; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}

/// What loading files came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// New ones.
    pub added: Vec<String>,
    /// Those that do something else now; runs of theirs have ended.
    pub changed: Vec<String>,
    /// Those that stood in the same files before, and do no more.
    pub removed: Vec<String>,
    /// Those that are as they were.
    pub unchanged: usize,
    /// What is wrong with the others, by file and line.
    pub problems: Vec<Problem>,
    /// What cannot be watched of those that were loaded, in sentences, by automation.
    pub warnings: Vec<(String, String)>,
}

/// An automation in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub alias: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Its mode.
    pub mode: jarvis_rules::model::Mode,
    /// The file and line that it was loaded from.
    pub file: String,
    /// See `file`.
    pub line: u32,
    /// Runs under way.
    pub running: usize,
    /// When a run of it last began, Unix milliseconds.
    pub last_triggered_ms: Option<i64>,
    /// The node that it runs on.
    pub owner: Option<NodeId>,
}

/// An automation with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// As in a list.
    #[serde(flatten)]
    pub summary: Summary,
    /// When what it does was last changed, Unix milliseconds.
    pub loaded_ms: i64,
    /// What it says.
    pub definition: Automation,
    /// Runs under way, oldest first.
    pub runs: Vec<Run>,
}

/// Automations, as one node sees them. Clones share it.
#[derive(Clone)]
pub struct Automations {
    engine: Engine,
    router: Router,
    replica: Replica,
}

impl Automations {
    /// Those of a node whose kinds were made of the same engine.
    pub fn new(engine: Engine, router: Router, replica: Replica) -> Self {
        Self {
            engine,
            router,
            replica,
        }
    }

    /// Loads files: automations of the same ids are replaced; those that came from a file of the same name and stand in it no
    /// more are removed, unless something is wrong with the file.
    ///
    /// # Errors
    /// [`AutomationError`]; what is wrong with the files stands in the report.
    pub async fn load(
        &self,
        files: &[(String, String)],
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<LoadReport, AutomationError> {
        let Loaded {
            automations,
            problems,
        } = check(files);
        let whole_files: Vec<String> = files
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| !problems.iter().any(|problem| problem.file == *name))
            .collect();
        let mut report = LoadReport {
            problems,
            ..LoadReport::default()
        };
        let ends = Instant::now() + deadline;
        let mut parts: Vec<Vec<Automation>> = automations
            .chunks(AUTOMATIONS_PER_ASK)
            .map(<[Automation]>::to_vec)
            .collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let mut kept: Vec<String> = automations.iter().map(|one| one.id.clone()).collect();
        kept.sort_unstable();
        for part in parts {
            let asked = Ask::Load { automations: part };
            self.loaded(&asked, &mut report, request.clone(), ends).await?;
        }
        // Removed last, and one by one: whatever ends in between leaves more than there should be, never less.
        let left = ends.saturating_duration_since(Instant::now());
        let caught_up = self.replica.linearizable(left).await;
        caught_up.map_err(|error| unavailable(error.to_string()))?;
        let seen = self.seen()?;
        for (id, definition) in seen.library.iter() {
            let automation = &definition.automation;
            if whole_files.contains(&automation.file) && kept.binary_search(id).is_err() {
                self.remove(
                    id,
                    request.clone(),
                    ends.saturating_duration_since(Instant::now()),
                )
                .await?;
                report.removed.push(id.clone());
            }
        }
        Ok(report)
    }

    async fn loaded(
        &self,
        asked: &Ask,
        report: &mut LoadReport,
        request: Option<RequestId>,
        ends: Instant,
    ) -> Result<(), AutomationError> {
        let left = ends.saturating_duration_since(Instant::now());
        match self.ask(asked, request, left).await? {
            Answered::Loaded {
                added,
                changed,
                unchanged,
                problems,
            } => {
                report.added.extend(added);
                report.changed.extend(changed);
                report.unchanged += unchanged;
                report.warnings.extend(problems);
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Removes an automation; its runs end.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn remove(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        let automation = id.to_owned();
        self.done(&Ask::Remove { automation }, request, deadline).await
    }

    /// Switches an automation on, or off: then its runs end too, as in Home Assistant.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn enable(
        &self,
        id: &str,
        on: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        let automation = id.to_owned();
        self.done(&Ask::Enable { automation, on }, request, deadline)
            .await
    }

    /// Starts an automation by hand, once; gives the run's id when that is committed.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn trigger(
        &self,
        id: &str,
        variables: Map<String, Value>,
        skip_conditions: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<RunId, AutomationError> {
        let shared = &self.engine.shared;
        let run = RunId(ulid::text(new_ulid(&*shared.clock, &*shared.entropy)));
        self.trigger_as(id, run.clone(), variables, skip_conditions, request, deadline)
            .await?;
        Ok(run)
    }

    /// As [`Automations::trigger`], with a run that the caller has named: asked for again, it is the same run.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn trigger_as(
        &self,
        id: &str,
        run: RunId,
        variables: Map<String, Value>,
        skip_conditions: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        self.known(id)?;
        let letter = ToAutomation::Trigger {
            run,
            variables,
            skip_conditions,
            by: "person".to_owned(),
        };
        self.post(EntityId::automation(id), encode(&letter), request, deadline)
            .await
    }

    /// Calls a service, as an automation would. `id` names the call: the same again is done under the same name.
    ///
    /// # Errors
    /// [`AutomationError`]. Gives entities that were meant but not reached, each with the reason.
    pub async fn call(
        &self,
        id: String,
        service: &str,
        target: Target,
        data: Map<String, Value>,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Vec<(String, String)>, AutomationError> {
        let service = service.to_owned();
        let asked = Ask::Call {
            id,
            service,
            target,
            data,
        };
        match self.ask(&asked, request, deadline).await? {
            Answered::Called { passed_over } => Ok(passed_over),
            Answered::Done => Ok(Vec::new()),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells automations of something that happened; committed, once, when it returns.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn tell(
        &self,
        told: Told,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        self.post(
            EntityId::bridge(),
            encode(&ToBridge::Told(told)),
            request,
            deadline,
        )
        .await
    }

    /// Has something said at some time; committed when it returns. The same id again is the same reminder.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn remind(
        &self,
        reminder: Reminder,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        self.post(
            EntityId::bridge(),
            encode(&ToBridge::Remind(reminder)),
            request,
            deadline,
        )
        .await
    }

    /// Takes a reminder back.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn cancel_reminder(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        let id = id.to_owned();
        self.done(&Ask::CancelReminder { id }, request, deadline).await
    }

    /// Devices, states, automations and reminders, as applied here, now.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn seen(&self) -> Result<Seen, AutomationError> {
        let shared = &self.engine.shared;
        shared.mirror.see(&self.replica, shared.now_ms()).map_err(read)
    }

    /// Devices and states, as applied here, now.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn view(&self) -> Result<View, AutomationError> {
        Ok(self.seen()?.view)
    }

    /// Whether any automation, as applied here, listens to a webhook of this id.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn knows_webhook(&self, id: &str) -> Result<bool, AutomationError> {
        Ok(crate::webhooks::is_known(&self.seen()?.library, id))
    }

    /// All automations, by id, as applied here.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn list(&self) -> Result<Vec<Summary>, AutomationError> {
        let seen = self.seen()?;
        let all = seen.library.iter();
        all.map(|(_, definition)| self.summary(definition)).collect()
    }

    /// One automation, as applied here.
    ///
    /// # Errors
    /// `NotFound`; `Internal` where the store fails.
    pub fn show(&self, id: &str) -> Result<Shown, AutomationError> {
        let definition = self.known(id)?;
        Ok(Shown {
            summary: self.summary(&definition)?,
            loaded_ms: definition.loaded_ms,
            definition: definition.automation.clone(),
            runs: self.runs(id, rows::RUN)?,
        })
    }

    /// Runs of an automation with what they did, the newest first: those under way, and the last that ended.
    ///
    /// # Errors
    /// `NotFound`; `Internal` where the store fails.
    pub fn traces(&self, id: &str) -> Result<Vec<Run>, AutomationError> {
        self.known(id)?;
        let mut runs = self.runs(id, rows::TRACE)?;
        runs.extend(self.runs(id, rows::RUN)?);
        runs.sort_by(|one, other| (other.started_ms, &other.id).cmp(&(one.started_ms, &one.id)));
        Ok(runs)
    }

    /// How the bridge stands.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn bridge(&self, deadline: Duration) -> Result<BridgeStatus, AutomationError> {
        match self.ask(&Ask::Status, None, deadline).await? {
            Answered::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// The node that the bridge runs on.
    pub fn bridge_owner(&self) -> Option<NodeId> {
        self.router.ownership(&EntityId::bridge()).owner
    }

    /// Messages that could not be decided on, oldest first.
    ///
    /// # Errors
    /// `Internal` where the store fails.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, AutomationError> {
        let rows = self.rows(&EntityId::bridge(), rows::DEAD)?;
        Ok(rows
            .iter()
            .filter_map(|(name, value)| crate::bridge::dead_letter(name, value))
            .collect())
    }

    /// Has a dead letter tried again; it is forgotten if that goes well.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn replay(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError> {
        let letter = letter.to_owned();
        self.done(&Ask::Replay { letter }, None, deadline).await
    }

    /// Forgets a dead letter.
    ///
    /// # Errors
    /// [`AutomationError`].
    pub async fn forget(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError> {
        let letter = letter.to_owned();
        self.done(&Ask::Forget { letter }, None, deadline).await
    }

    fn summary(&self, definition: &Definition) -> Result<Summary, AutomationError> {
        let automation = &definition.automation;
        let entity = EntityId::automation(&automation.id);
        let tables = self.replica.local().map_err(read)?;
        let head = tables
            .query()
            .entity_row(&entity, rows::HEAD.as_bytes())
            .map_err(|error| read(error.into()))?
            .and_then(|row| decode::<Head>(&row).ok())
            .unwrap_or_default();
        let running = tables
            .query()
            .entity_rows(&entity, rows::RUN.as_bytes(), usize::MAX);
        Ok(Summary {
            id: automation.id.clone(),
            alias: automation.alias.clone(),
            enabled: definition.enabled,
            mode: automation.mode,
            file: automation.file.clone(),
            line: automation.position.line,
            running: running.map_err(|error| read(error.into()))?.len(),
            last_triggered_ms: head.last_triggered_ms,
            owner: self.router.ownership(&entity).owner,
        })
    }

    fn runs(&self, id: &str, prefix: &str) -> Result<Vec<Run>, AutomationError> {
        let rows = self.rows(&EntityId::automation(id), prefix)?;
        // Runs that a newer build wrote are left out.
        Ok(rows.iter().filter_map(|(_, value)| decode(value).ok()).collect())
    }

    fn rows(&self, entity: &EntityId, prefix: &str) -> Result<Vec<KeyValue>, AutomationError> {
        let tables = self.replica.local().map_err(read)?;
        let rows = tables.query().entity_rows(entity, prefix.as_bytes(), usize::MAX);
        rows.map_err(|error| read(error.into()))
    }

    fn known(&self, id: &str) -> Result<std::sync::Arc<Definition>, AutomationError> {
        let seen = self.seen()?;
        let found = seen.library.get(id).cloned();
        found.ok_or_else(|| {
            AutomationError::NotFound(format!(
                "there is no automation {id:?}; see `jarvis automation list`"
            ))
        })
    }

    async fn done(
        &self,
        asked: &Ask,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        match self.ask(asked, request, deadline).await? {
            Answered::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(
        &self,
        asked: &Ask,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<Answered, AutomationError> {
        let body = Bytes::from(encode(asked));
        let bridge = EntityId::bridge();
        let ends = Instant::now() + deadline;
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            let answer = self
                .router
                .ask(&bridge, request.clone(), body.clone(), left)
                .await;
            return match answer {
                Ok(answer) => match decode(&answer) {
                    Ok(Answered::NotFound(what)) => Err(AutomationError::NotFound(what)),
                    Ok(Answered::Refused(why)) => Err(AutomationError::Invalid(why)),
                    Ok(Answered::Unavailable(what)) => Err(unavailable(what)),
                    Ok(answered) => Ok(answered),
                    Err(error) => Err(AutomationError::Internal(error.to_string())),
                },
                Err(AskError::Refused(_)) if !left.is_zero() => {
                    // It ended with the question in hand: its successor is asked.
                    tokio::time::sleep(MOVED_PAUSE.min(left)).await;
                    continue;
                }
                Err(error @ AskError::Quarantined { .. }) => {
                    Err(AutomationError::Internal(error.to_string()))
                }
                Err(error) => Err(unavailable(error.to_string())),
            };
        }
    }

    async fn post(
        &self,
        to: EntityId,
        body: Vec<u8>,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        let command = Command::Post {
            letters: vec![Letter { to, body }],
        };
        let ends = Instant::now() + deadline;
        let options = ProposeOptions {
            fence: None,
            request,
            deadline,
        };
        let posted = timeout_at(ends, self.replica.propose(command, options)).await;
        match posted {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error @ (ProposeError::Refused(_) | ProposeError::TooLarge { .. }))) => {
                Err(AutomationError::Invalid(error.to_string()))
            }
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable("the cluster cannot commit at the moment".to_owned())),
        }
    }
}

/// Pause before a successor is asked: it has to learn of its ownership first.
const MOVED_PAUSE: Duration = Duration::from_millis(20);
/// When trying again makes sense, in milliseconds.
const RETRY_MS: u64 = 250;

/// What is wrong with files, and what could be loaded of them.
pub fn check(files: &[(String, String)]) -> Loaded {
    let named: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let mut loaded = load(&named);
    let problems = &mut loaded.problems;
    loaded.automations.retain(|automation| {
        let fits = automation.id.len() <= MAX_ENTITY_KEY_BYTES;
        if !fits {
            problems.push(Problem {
                file: automation.file.clone(),
                position: automation.position,
                path: "id".to_owned(),
                what: format!("the id has {} bytes", automation.id.len()),
                instead: format!("write an `id` of at most {MAX_ENTITY_KEY_BYTES} bytes"),
                automation: Some(automation.alias.clone()),
            });
        }
        let unknown = services::unknown(automation);
        let known = unknown.is_empty();
        problems.extend(unknown);
        fits && known
    });
    problems.sort();
    loaded
}

fn unavailable(what: String) -> AutomationError {
    AutomationError::Unavailable {
        what,
        retry_after_ms: RETRY_MS,
    }
}

fn read(error: ReadError) -> AutomationError {
    AutomationError::Internal(error.to_string())
}

fn unexpected(answer: &Answered) -> AutomationError {
    AutomationError::Internal(format!("the bridge answered {answer:?}"))
}

/// Names made of time and chance.
pub(crate) mod ulid {
    use jarvis_types::SessionId;

    /// As people read it.
    pub(crate) fn text(id: u128) -> String {
        SessionId(id).to_string()
    }

    /// As it was read.
    pub(crate) fn parse(text: &str) -> Option<u128> {
        text.parse::<SessionId>().ok().map(|id| id.0)
    }
}
