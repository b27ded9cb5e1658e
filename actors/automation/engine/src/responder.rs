//! Does in chat sessions what people say of their home: devices, reminders, automations that answer to a phrase.
//!
//! ```text
//!  message ─► an automation's own phrase ─► a reminder ─► reminders set ─► devices ─► passed on to the next responder
//! ```
//!
//! Whatever is asked for goes out under a name made of the message, so that a reply that is written again, because its node
//! died, asks for the same and not for more.

mod reminders;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_devices::View;
use jarvis_devices::words::{self, Command, Understood};
use jarvis_rules::model::{JarvisEvent, TriggerKind};
use jarvis_session::logic::intents::language::{Language, fold, words_only};
use jarvis_session::responder::{DeltaSink, Finished, Prompt, Responder, ResponderError, SinkError};
use jiff::tz::TimeZone;
use serde_json::Map;
use tokio::sync::watch;
use tokio::time::timeout;

use self::reminders::{Asked, Clock};
use crate::api::{AutomationError, Automations};
use crate::library::Library;
use crate::mirror::Seen;
use crate::settings::Engine;
use crate::wire::{Reminder, Told};

/// How long one thing that is asked for may take: another node has taken the bridge over by then.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most reminders that wait in one session.
const MOST_REMINDERS: usize = 100;

/// How long a message waits for what its node is about to start.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Automations of a node that is about to start: sessions are made before what reaches automations is.
#[derive(Clone, Default)]
pub struct Late(Arc<watch::Sender<Option<Automations>>>);

impl Late {
    /// They can be reached.
    pub fn set(&self, automations: Automations) {
        self.0.send_replace(Some(automations));
    }

    fn get(&self) -> Result<Automations, AutomationError> {
        self.0
            .borrow()
            .clone()
            .ok_or_else(|| AutomationError::Unavailable {
                what: "the node is starting".to_owned(),
                retry_after_ms: 250,
            })
    }
}

/// What is asked of the home.
#[async_trait]
pub(crate) trait Doing: Send + Sync + 'static {
    /// Waits until it can be asked, a while.
    async fn ready(&self);
    fn seen(&self) -> Result<Seen, AutomationError>;
    /// Gives entities that were not reached.
    async fn call(&self, id: String, command: &Command) -> Result<Vec<String>, AutomationError>;
    async fn remind(&self, reminder: Reminder) -> Result<(), AutomationError>;
    async fn cancel_reminder(&self, id: &str) -> Result<(), AutomationError>;
    async fn tell(&self, told: Told) -> Result<(), AutomationError>;
}

#[async_trait]
impl Doing for Late {
    async fn ready(&self) {
        let mut there = self.0.subscribe();
        // Who waited in vain is told so by what it asks for.
        let _ = timeout(START_PATIENCE, there.wait_for(Option::is_some)).await;
    }

    fn seen(&self) -> Result<Seen, AutomationError> {
        self.get()?.seen()
    }

    async fn call(&self, id: String, command: &Command) -> Result<Vec<String>, AutomationError> {
        let Command {
            service,
            target,
            data,
            ..
        } = command;
        let automations = self.get()?;
        let call = automations.call(id, service, target.clone(), data.clone(), None, DEADLINE);
        let passed_over = call.await?;
        Ok(passed_over.into_iter().map(|(entity, _)| entity).collect())
    }

    async fn remind(&self, reminder: Reminder) -> Result<(), AutomationError> {
        self.get()?.remind(reminder, None, DEADLINE).await
    }

    async fn cancel_reminder(&self, id: &str) -> Result<(), AutomationError> {
        self.get()?.cancel_reminder(id, None, DEADLINE).await
    }

    async fn tell(&self, told: Told) -> Result<(), AutomationError> {
        self.get()?.tell(told, None, DEADLINE).await
    }
}

/// See the module.
pub struct HomeResponder {
    home: Arc<dyn Doing>,
    zone: TimeZone,
}

impl HomeResponder {
    /// Of the node's engine and of automations that are yet to come.
    pub fn new(engine: &Engine, automations: Late) -> Self {
        Self {
            home: Arc::new(automations),
            zone: engine.settings().home.time_zone.clone(),
        }
    }

    /// What to answer; none: it is about something else.
    async fn answer(&self, prompt: &Prompt) -> Option<String> {
        self.home.ready().await;
        let seen = match self.home.seen() {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%error, "the home could not be looked at; another responder is to answer");
                return None;
            }
        };
        let turn = Turn {
            home: &*self.home,
            zone: &self.zone,
            prompt,
            now_ms: i64::try_from(prompt.facts.now_ms).unwrap_or(i64::MAX),
            language: Language::detect(&prompt.text).unwrap_or(Language::English),
            seen,
        };
        turn.answer().await
    }
}

#[async_trait]
impl Responder for HomeResponder {
    fn name(&self) -> &str {
        "home"
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        let text = self.answer(prompt).await.ok_or(ResponderError::Passed)?;
        match sink.push(&text).await {
            Ok(()) | Err(SinkError::Full) => Ok(Finished {
                responder: self.name().to_owned(),
            }),
            Err(SinkError::Closed) => Err(ResponderError::Unwanted),
        }
    }
}

/// One message and what is known while it is answered.
struct Turn<'t> {
    home: &'t dyn Doing,
    zone: &'t TimeZone,
    prompt: &'t Prompt,
    now_ms: i64,
    language: Language,
    seen: Seen,
}

impl Turn<'_> {
    async fn answer(&self) -> Option<String> {
        let text = &self.prompt.text;
        if let Some(name) = phrase(&self.seen.library, text) {
            return Some(self.tell(name).await);
        }
        let language = self.spoken();
        if let Some(asked) = words::remind(text, language, self.now_ms, self.zone) {
            return Some(self.remind(asked).await);
        }
        if let Some(asked) = reminders::asked(text) {
            return Some(self.reminders(asked).await);
        }
        match words::understand(text, language, &self.seen.view)? {
            Understood::Do(commands) => Some(self.call(&commands).await),
            Understood::Ask(words) | Understood::Tell(words) => Some(words),
        }
    }

    fn spoken(&self) -> words::Language {
        self.language
            .pick(words::Language::English, words::Language::French)
    }

    async fn tell(&self, name: String) -> String {
        let told = Told::Intent {
            name,
            slots: Map::new(),
            session: self.prompt.session.to_string(),
            id: Some(format!("{}-{}", self.prompt.session, self.prompt.seq)),
        };
        match self.home.tell(told).await {
            Ok(()) => self.language.pick("Done.", "C'est fait.").to_owned(),
            Err(error) => failed(&error, self.language),
        }
    }

    async fn remind(&self, asked: words::Reminder) -> String {
        if self.mine().len() >= MOST_REMINDERS {
            return self.language.pick(
                format!("{MOST_REMINDERS} reminders wait already: cancel some first."),
                format!("{MOST_REMINDERS} rappels attendent déjà : annulez-en d'abord."),
            );
        }
        let reminder = Reminder {
            id: format!("{}-{}", self.prompt.session, self.prompt.seq),
            session: self.prompt.session.to_string(),
            text: reminders::said_then(&asked.text, self.language),
            due_ms: asked.at_ms(self.now_ms),
            asked_ms: self.now_ms,
        };
        match self.home.remind(reminder).await {
            Ok(()) => asked.confirmation,
            Err(error) => failed(&error, self.language),
        }
    }

    /// The reminders of this session.
    fn mine(&self) -> Vec<&Reminder> {
        let session = self.prompt.session.to_string();
        let all = self.seen.reminders.values();
        all.filter(|reminder| reminder.session == session).collect()
    }

    async fn reminders(&self, asked: Asked) -> String {
        let clock = Clock {
            now_ms: self.now_ms,
            zone: self.zone,
        };
        let (about, all) = match asked {
            Asked::List => {
                let mine = reminders::matching(&self.mine(), &[]);
                return reminders::list(&mine, &clock, self.language);
            }
            Asked::Cancel { about, all } => (about, all),
        };
        let found = reminders::matching(&self.mine(), &about);
        match found.len() {
            0 => return reminders::none(&about, self.language),
            1 => {}
            _ if !all => return reminders::which(&found, &clock, self.language),
            _ => {}
        }
        for reminder in &found {
            match self.home.cancel_reminder(&reminder.id).await {
                // Somebody else was faster, or it was said meanwhile.
                Ok(()) | Err(AutomationError::NotFound(_)) => {}
                Err(error) => return failed(&error, self.language),
            }
        }
        reminders::cancelled(&found, &clock, self.language)
    }

    async fn call(&self, commands: &[Command]) -> String {
        let mut done: Vec<String> = Vec::new();
        let (mut missed, mut failures): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let say = |list: &mut Vec<String>, text: String| {
            if !list.contains(&text) {
                list.push(text);
            }
        };
        for (number, command) in commands.iter().enumerate() {
            let id = format!("chat-{}-{}-{number}", self.prompt.session, self.prompt.seq);
            match self.home.call(id, command).await {
                Ok(passed_over) => {
                    let meant = &command.target.entity_id;
                    let reached = meant.is_empty() || meant.iter().any(|id| !passed_over.contains(id));
                    if reached {
                        say(&mut done, command.confirmation.clone());
                    }
                    let name = |id: &String| name_of(id, &self.seen.view);
                    passed_over.iter().for_each(|id| say(&mut missed, name(id)));
                }
                Err(error) => say(&mut failures, failed(&error, self.language)),
            }
        }
        if !missed.is_empty() {
            let names = missed.join(", ");
            done.push(self.language.pick(
                format!("I could not reach {names}."),
                format!("Je n'ai pas pu joindre {names}."),
            ));
        }
        done.extend(failures);
        done.join(" ")
    }
}

fn name_of(id: &str, view: &View) -> String {
    view.name(id).unwrap_or(id).to_owned()
}

/// The phrase of an automation that answers to this message: written with the same words, whatever the case, accents and
/// punctuation.
fn phrase(library: &Library, text: &str) -> Option<String> {
    let said = words_only(&fold(text));
    if said.is_empty() {
        return None;
    }
    let on = library.iter().map(|(_, definition)| definition);
    let triggers = on
        .filter(|definition| definition.enabled)
        .flat_map(|definition| &definition.automation.triggers)
        .filter(|trigger| trigger.enabled);
    let mut names = triggers.filter_map(|trigger| match &trigger.kind {
        TriggerKind::Jarvis(JarvisEvent::Intent(name)) => Some(name),
        _ => None,
    });
    names.find(|name| words_only(&fold(name)) == said).cloned()
}

fn failed(error: &AutomationError, language: Language) -> String {
    match error {
        AutomationError::NotFound(why) | AutomationError::Invalid(why) => language.pick(
            format!("I could not do that: {why}."),
            format!("Je n'ai pas pu le faire : {why}."),
        ),
        AutomationError::Unavailable { what, .. } => language.pick(
            format!("I could not do that at the moment: {what}. Please ask again."),
            format!("Je n'ai pas pu le faire pour le moment : {what}. Redemandez-le-moi."),
        ),
        AutomationError::Internal(_) => {
            tracing::error!(%error, "what was asked for in a chat session could not be done");
            language
                .pick(
                    "Something went wrong while I did that. Please ask again.",
                    "Quelque chose s'est mal passé. Redemandez-le-moi.",
                )
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
