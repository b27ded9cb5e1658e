//! Where everything that concerns the bridge is decided, one thing after the other, and written together.
//!
//! ```text
//!  messages ─┐                                   ┌─► answers, acknowledgements
//!  letters ──┼─► Home ─► Draft ─► one step ─► log┤
//!  asks ─────┤     │                             └─► next
//!  the time ─┘     └─► acts, begun at once: what asked for them is in the log already
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use jarvis_devices::announce::NodeShown;
use jarvis_devices::service::Publish;
use jarvis_entity::api::{Cx, EntityError, Ledger, LedgerError};
use jarvis_machine::change::Change;
use jarvis_machine::rows::NodeIntent;
use jarvis_mesh::api::Answer;
use jarvis_mqtt::{
    Bridge, DeadLetter, Message, Outcome, Parts, Publisher, ReplayError, State, Status, Wanted, device_of,
};
use jarvis_replica::api::{Applied, ReadError, ReplicaState};
use jarvis_replica::simulated::Bite;
use jarvis_rules::model::Automation;
use jarvis_rules::run::Run;
use jarvis_types::{EntityId, KindId, NodeId};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::act::{Act, Ended};
use super::draft::Draft;
use super::home::{Beside, Called, Came, Home, Kept, Loading};
use super::link::{Buried, ToDesk, fault, show};
use super::perform::Sayings;
use super::{News, PANICKED, perform};
use crate::api::ulid;
use crate::metrics;
use crate::ran::InTables;
use crate::rows;
use crate::settings::Shared;
use crate::wire::{Answered, Ask, BridgeStatus, OutcomeOf, ToAutomation, ToBridge, decode, encode};

/// Things that wait for the desk; who brings more waits with it.
pub(super) const MOST_WORK: usize = 256;
/// Letters that are read at once.
const LETTERS: usize = 128;
/// The clock is looked at so often at least: it may be set.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);
/// A sleep that ends so much later than it was meant to: the machine or the process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// The longest wait for the broker's backlog, after which holds and deadlines are judged without it.
const BACKLOG_WITHIN: Duration = Duration::from_secs(10);
/// So long after the last message that the broker retains it is taken to have sent all that new filters are for.
const RETAINED_QUIET: Duration = Duration::from_secs(2);
/// Problems that are told of.
const MOST_PROBLEMS: usize = 50;
/// Automations that are shown to Home Assistant: with more, none are.
const MOST_SHOWN: usize = 500;

/// How often at most it is shown when automations ran.
const SHOW_RUNS_EVERY: Duration = Duration::from_secs(1);

/// How long no node may speak to the broker before Home Assistant is told that Jarvis is gone: longer than any failover.
const WILL_DELAY: Duration = Duration::from_secs(30);

/// Something for the desk.
pub(super) enum Work {
    Decide {
        batch: Vec<Message>,
        reply: oneshot::Sender<Vec<Outcome>>,
    },
    Remembered(oneshot::Sender<jarvis_mqtt::Remembered>),
    Began {
        epoch: u64,
        reply: oneshot::Sender<()>,
    },
    Bury {
        letter: DeadLetter,
        reply: oneshot::Sender<()>,
    },
    Forget {
        id: String,
        reply: oneshot::Sender<bool>,
    },
    Ask {
        asked: Ask,
        answer: Answer,
    },
    Ended {
        act: String,
        ended: Ended,
    },
}

/// What is done once a step is written.
enum After {
    Decided(oneshot::Sender<Vec<Outcome>>, Vec<Outcome>),
    Done(oneshot::Sender<()>),
    Forgotten(oneshot::Sender<bool>, bool),
    Answer(Answer, Box<Answered>),
}

/// Who waits for what comes of an act, and which entities were passed over, each with the reason.
type Caller = (Answer, Vec<(String, String)>);

/// Automations that are being loaded.
struct Load {
    rest: VecDeque<Automation>,
    loading: Loading,
    answer: Answer,
}

/// See the module.
pub(super) struct Desk {
    cx: Cx<News>,
    shared: Arc<Shared>,
    ledger: Ledger,
    home: Home,
    work: mpsc::Receiver<Work>,
    sender: mpsc::Sender<Work>,
    letters: Arc<Notify>,
    letters_wait: bool,
    /// When something that the broker retains came last, while that is waited for.
    retained_at: Option<Instant>,
    /// Until when it meant to sleep.
    meant: Option<Instant>,
    /// From when on it may be believed that what the broker kept is taken in, and when it is waited for no longer.
    backlog_from: Instant,
    backlog_until: Instant,
    changes: broadcast::Receiver<Applied>,
    replica_state: watch::Receiver<ReplicaState>,
    /// Who led when nodes were last shown.
    leader: Option<NodeId>,
    nodes_changed: bool,
    /// Automations have run since they were shown.
    ran: bool,
    /// When what Jarvis shows of itself was last looked through.
    shown_at: Instant,
    broker: Option<Broker>,
    /// Who waits for what comes of an act, with what was passed over.
    callers: BTreeMap<String, Vec<Caller>>,
    loads: VecDeque<Load>,
    /// Acts that wait for room at the publisher.
    queue: VecDeque<Act>,
    sayings: Sayings,
    shown: watch::Sender<(u64, Vec<Publish>)>,
}

/// The way to the broker.
struct Broker {
    bridge: Arc<Bridge>,
    publisher: Publisher,
    status: watch::Receiver<Status>,
}

impl Desk {
    /// Goes on where the last owner stopped.
    pub(super) async fn open(
        cx: Cx<News>,
        shared: Arc<Shared>,
        work: (mpsc::Sender<Work>, mpsc::Receiver<Work>),
        letters: Arc<Notify>,
        boot: u64,
    ) -> Result<Self, EntityError> {
        let (changes, replica_state) = (cx.replica.changes(), cx.replica.state());
        let ledger = Ledger::open(&cx).map_err(fault)?;
        let (kept, was) = kept(&cx)?;
        let now_ms = shared.now_ms();
        let mut draft = Draft::default();
        let replica = cx.replica.clone();
        let waiting = Arc::new(move |automation: &str| {
            let entity = EntityId::automation(automation);
            let row = replica
                .local()
                .ok()
                .and_then(|view| view.query().entity(&entity).ok()?);
            row.map_or(0, |row| row.last_letter - row.taken)
        });
        let beside = Beside {
            waiting,
            runs: Arc::new(InTables(cx.replica.clone())),
        };
        let mut home = Home::restore(Arc::clone(&shared), kept, beside, now_ms, &mut draft);
        let boot = Boot {
            epoch: cx.epoch.0,
            boot,
        };
        if was != Some(boot) {
            draft.put(rows::BOOT.to_owned(), &boot);
        }
        // The same ownership in another life of the process: nobody was there to take the partition over.
        if was.is_none_or(|was| was.epoch == boot.epoch && was.boot != boot.boot) {
            home.started(now_ms, &mut draft);
        }
        let mut desk = Self {
            cx,
            shared,
            ledger,
            home,
            work: work.1,
            sender: work.0,
            letters,
            letters_wait: true,
            retained_at: None,
            meant: None,
            backlog_from: Instant::now(),
            backlog_until: Instant::now() + BACKLOG_WITHIN,
            changes,
            replica_state,
            leader: None,
            nodes_changed: true,
            ran: false,
            shown_at: Instant::now(),
            broker: None,
            callers: BTreeMap::new(),
            loads: VecDeque::new(),
            queue: VecDeque::new(),
            sayings: Sayings::new(),
            shown: watch::channel((0, Vec::new())).0,
        };
        let wish = desk.home.wish(&mut draft);
        desk.write(draft, Vec::new()).await?;
        desk.connect(wish.unwrap_or_default());
        desk.begin_acts(true);
        Ok(desk)
    }

    /// Works until the ownership ends.
    pub(super) async fn run(mut self) -> EntityError {
        loop {
            if let Err(error) = self.turn().await {
                return error;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), EntityError> {
        let (mut after, mut draft) = (Vec::new(), Draft::default());
        let careful = self.shared.careful_turns.load(Ordering::Relaxed);
        let first = self.wait().await;
        let now_ms = self.shared.now_ms();
        let overslept = self.meant.take().map_or(Duration::ZERO, |until| until.elapsed());
        if overslept >= STOOD_STILL && self.broker.is_some() {
            // What came meanwhile is not read, and the link may not have noticed yet.
            self.home.hear_backlog();
            self.backlog_until = Instant::now() + BACKLOG_WITHIN;
            self.backlog_from = Instant::now() + STOOD_STILL / 2;
        }
        self.look_at_backlog();
        self.home.tick(now_ms, &mut draft);
        if std::mem::take(&mut self.nodes_changed) {
            self.home.nodes_changed();
            let nodes = self.nodes()?;
            let seen: Vec<(String, bool)> = nodes
                .iter()
                .map(|node| (node.name.clone(), node.online))
                .collect();
            self.home.saw_nodes(&seen, now_ms, &mut draft);
        }
        let wish = if careful > 0 {
            self.shared.careful_turns.store(careful - 1, Ordering::Relaxed);
            let wish = self.look_at_topics(&mut draft);
            self.write(draft, after).await?;
            self.take_carefully(first, now_ms).await?;
            wish
        } else {
            let mut next = first;
            while let Some(work) = next.take() {
                self.take(work, now_ms, &mut draft, &mut after).await?;
                if !draft.is_enough() {
                    next = self.work.try_recv().ok();
                }
            }
            self.load(now_ms, &mut draft, &mut after);
            self.read_letters(LETTERS, now_ms, &mut draft)?;
            self.begin_acts(false);
            let wish = self.look_at_topics(&mut draft);
            self.write(draft, after).await?;
            wish
        };
        self.follow_topics(wish);
        self.follow_shown()
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Option<Work> {
        if self.letters_wait || self.nodes_changed || !self.loads.is_empty() || self.home.topics_changed() {
            return self.work.try_recv().ok();
        }
        let now_ms = self.shared.now_ms();
        let due = self.home.next_due_ms().map_or(LOOK_AT_CLOCK, |due_ms| {
            Duration::from_millis(u64::try_from(due_ms - now_ms).unwrap_or(0)).min(LOOK_AT_CLOCK)
        });
        let due = match self.ran {
            true => due.min(SHOW_RUNS_EVERY.saturating_sub(self.shown_at.elapsed())),
            false => due,
        };
        let due = match self.home.hears_backlog() {
            true => {
                let now = Instant::now();
                let next = [self.backlog_from, self.backlog_until]
                    .into_iter()
                    .find(|at| *at > now);
                next.map_or(due, |at| due.min(at - now))
            }
            false => due,
        };
        let due = match self.retained_at {
            Some(last) => due.min(RETAINED_QUIET.saturating_sub(last.elapsed())),
            None => due,
        };
        self.meant = Some(Instant::now() + due);
        let shows = self.broker.is_some() && self.shared.settings.announce;
        let status = async {
            if let Some(broker) = &mut self.broker
                && broker.status.changed().await.is_ok()
            {
                return;
            }
            // Without a broker there is no news of one, nor when this ownership ends.
            std::future::pending().await
        };
        let (known, state) = (self.leader, &mut self.replica_state);
        let another_leads = async {
            let differs = |state: &ReplicaState| state.leader.is_some() && state.leader != known;
            match state.wait_for(differs).await {
                Ok(state) => state.leader,
                // The node stops.
                Err(_) => None,
            }
        };
        tokio::select! {
            work = self.work.recv() => return work,
            () = self.letters.notified() => self.letters_wait = true,
            () = tokio::time::sleep(due) => {}
            () = status => {}
            Some(leader) = another_leads => {
                self.leader = Some(leader);
                self.nodes_changed = true;
            }
            applied = self.changes.recv() => match applied {
                Ok(applied) => {
                    for change in applied.changes.iter() {
                        match change {
                            Change::Node(_) | Change::NodeRemoved(_) | Change::Replaced => self.nodes_changed = true,
                            Change::EntityWritten(entity) => self.ran |= shows && entity.kind == KindId::AUTOMATION,
                            _ => {}
                        }
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.nodes_changed = true,
                // The node stops.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            },
        }
        None
    }

    /// Has what waited for what the broker kept be judged, once that is taken in.
    fn look_at_backlog(&mut self) {
        let caught_up = (self.broker.as_ref()).is_none_or(|broker| broker.status.borrow().caught_up);
        let now = Instant::now();
        if self.home.hears_backlog() && (caught_up && now >= self.backlog_from || now >= self.backlog_until) {
            self.home.heard_backlog();
        }
    }

    async fn take(
        &mut self,
        work: Work,
        now_ms: i64,
        draft: &mut Draft,
        after: &mut Vec<After>,
    ) -> Result<(), EntityError> {
        match work {
            Work::Decide { batch, reply } => {
                if batch.iter().any(|message| message.retained) {
                    self.retained_at = self.retained_at.map(|_| Instant::now());
                }
                let outcomes = self.decide(&batch, now_ms, draft).await?;
                after.push(After::Decided(reply, outcomes));
            }
            // Asked by a pipeline that begins.
            Work::Remembered(reply) => drop(reply.send(self.home.remembered().clone())),
            Work::Began { epoch, reply } => {
                self.home.began(epoch, draft);
                after.push(After::Done(reply));
            }
            Work::Bury { letter, reply } => {
                let name = ulid::text(letter.id);
                self.home.bury(&name, &Buried::new(&letter), draft);
                after.push(After::Done(reply));
            }
            Work::Forget { id, reply } => {
                let known = self.home.forget(&id, draft);
                after.push(After::Forgotten(reply, known));
            }
            Work::Ask { asked, answer } => self.asked(asked, answer, now_ms, draft, after),
            Work::Ended { act, ended } => {
                if ended == Ended::Released {
                    return Ok(());
                }
                self.home.ended(&act, &ended, now_ms, draft);
                for (answer, passed_over) in self.callers.remove(&act).unwrap_or_default() {
                    let answered = match &ended {
                        Ended::Failed(why) => Answered::Refused(why.clone()),
                        Ended::TimedOut => {
                            Answered::Unavailable("the broker did not confirm it in time".to_owned())
                        }
                        _ => Answered::Called { passed_over },
                    };
                    after.push(After::Answer(answer, Box::new(answered)));
                }
            }
        }
        Ok(())
    }

    /// Takes in one thing, and writes what follows from it by itself. If that is refused or panics, this is what was at fault when it
    /// came with others: it is set aside, and all is begun anew from what is written.
    async fn take_carefully(&mut self, work: Option<Work>, now_ms: i64) -> Result<(), EntityError> {
        let (mut after, mut draft) = (Vec::new(), Draft::default());
        let (work, message) = match work {
            Some(Work::Decide { mut batch, reply }) => {
                // The rest is offered again.
                batch.truncate(1);
                let message = batch.first().cloned();
                (Some(Work::Decide { batch, reply }), message)
            }
            work => (work, None),
        };
        let letters = work.is_none() && self.loads.is_empty();
        let taking = async {
            match work {
                Some(work) => self.take(work, now_ms, &mut draft, &mut after).await,
                None if letters => self.read_letters(1, now_ms, &mut draft),
                None => {
                    self.load(now_ms, &mut draft, &mut after);
                    Ok(())
                }
            }
        };
        let taken = AssertUnwindSafe(taking).catch_unwind().await;
        let letter = draft.taken;
        let why = match taken {
            Ok(taken) => {
                taken?;
                match self.write_steps(draft).await {
                    Ok(()) => {
                        self.begin_acts(true);
                        answer_all(after);
                        return Ok(());
                    }
                    Err(LedgerError::Refused(why)) => {
                        format!("the cluster does not keep what follows from it: {why}")
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(_) => PANICKED.to_owned(),
        };
        tracing::error!(why, "something that the bridge was told is set aside");
        if let Some(message) = message {
            self.bury_alone(&message, &why).await?;
        }
        if letter > 0 {
            self.set_aside(letter, &why).await?;
        }
        let loading = self.loads.drain(..).map(|load| load.answer);
        let asked = after.into_iter().filter_map(|after| match after {
            After::Answer(answer, _) => Some(answer),
            _ => None,
        });
        for answer in loading.chain(asked) {
            reply(answer, &Answered::Refused(why.clone()));
        }
        Err(EntityError::Fault(why))
    }

    /// Lets a letter go that cannot be decided on. A run that waits for what comes of it is told that it failed.
    async fn set_aside(&mut self, letter: u64, why: &str) -> Result<(), EntityError> {
        let letters = self.ledger.letters(&self.cx, 1).map_err(fault)?;
        let mut draft = Draft::taking(letter);
        let found = letters.iter().find(|(number, _)| *number == letter);
        if let Some(Ok(ToBridge::Asked { by, number, .. })) = found.map(|(_, body)| decode(body)) {
            let failed = ToAutomation::Outcome {
                run: by.run,
                number,
                outcome: OutcomeOf::Failed(why.to_owned()),
                not_reached: Vec::new(),
            };
            draft.tell(&by.automation, &failed);
        }
        match self.write_steps(draft).await {
            // It cannot be told either.
            Err(LedgerError::Refused(_)) => Ok(self.write_steps(Draft::taking(letter)).await?),
            written => Ok(written?),
        }
    }

    /// Sets aside a message that cannot be decided on, by itself. Nothing else of this desk can be trusted any more.
    async fn bury_alone(&mut self, message: &Message, why: &str) -> Result<(), EntityError> {
        let letter = DeadLetter {
            id: jarvis_host::new_ulid(&*self.shared.clock, &*self.shared.entropy),
            message: message.clone(),
            why: why.to_owned(),
            attempts: 1,
            buried_ms: self.shared.clock.now_ms(),
        };
        let mut alone = Draft::default();
        self.home
            .bury_alone(&ulid::text(letter.id), message, &Buried::new(&letter), &mut alone);
        Ok(self.write_steps(alone).await?)
    }

    /// Decides on messages. One that breaks what decides is buried, and all is begun anew from what is written.
    async fn decide(
        &mut self,
        batch: &[Message],
        now_ms: i64,
        draft: &mut Draft,
    ) -> Result<Vec<Outcome>, EntityError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for message in batch {
            let home = &mut self.home;
            let decided = std::panic::catch_unwind(AssertUnwindSafe(|| home.message(message, now_ms, draft)));
            match decided {
                Ok(outcome) => outcomes.push(outcome),
                Err(_) => {
                    tracing::error!(
                        topic = message.topic,
                        "deciding on a message panicked; it is set aside"
                    );
                    self.bury_alone(message, "deciding on it panicked").await?;
                    return Err(fault("deciding on a message panicked"));
                }
            }
            // The rest is offered again.
            if draft.is_enough() {
                break;
            }
        }
        Ok(outcomes)
    }

    fn asked(&mut self, asked: Ask, answer: Answer, now_ms: i64, draft: &mut Draft, after: &mut Vec<After>) {
        let unknown = |id: &str| {
            Answered::NotFound(format!(
                "there is no automation {id:?}; see `jarvis automation list`"
            ))
        };
        let answered = match asked {
            Ask::Load { automations } => {
                return self.loads.push_back(Load {
                    rest: automations.into(),
                    loading: Loading::default(),
                    answer,
                });
            }
            Ask::Remove { automation } => match self.home.remove(&automation, now_ms, draft) {
                true => Answered::Done,
                false => unknown(&automation),
            },
            Ask::Enable { automation, on } => match self.home.enable(&automation, on, true, now_ms, draft) {
                true => Answered::Done,
                false => unknown(&automation),
            },
            Ask::Call {
                id,
                service,
                target,
                data,
            } => {
                let id = format!("call-{id}");
                if self.home.acts().contains_key(&id) {
                    return self.callers.entry(id).or_default().push((answer, Vec::new()));
                }
                if let Some(came) = self.home.finished(&id) {
                    let passed_over = Vec::new();
                    let answered = came.map_or_else(Answered::Refused, |()| Answered::Called { passed_over });
                    return after.push(After::Answer(answer, Box::new(answered)));
                }
                let called = Called {
                    service: &service,
                    target,
                    data: &data,
                };
                let home = &mut self.home;
                let called = AssertUnwindSafe(|| home.call(id.clone(), None, called, now_ms, now_ms, draft));
                let came = match std::panic::catch_unwind(called) {
                    Ok(came) => came,
                    Err(panic) => {
                        // Asked again it would do so again.
                        let why = format!("{PANICKED}: it is a fault of Jarvis, and its log says where");
                        reply(answer, &Answered::Refused(why));
                        std::panic::resume_unwind(panic)
                    }
                };
                match came {
                    Came::Done(passed_over) => {
                        self.home.finish(&id, None, draft);
                        Answered::Called { passed_over }
                    }
                    Came::Begun(passed_over) => {
                        return self.callers.entry(id).or_default().push((answer, passed_over));
                    }
                    Came::Refused(why) => Answered::Refused(why),
                }
            }
            Ask::Status => Answered::Status(self.status(now_ms)),
            Ask::Replay { letter } => return self.replay(&letter, answer),
            Ask::Forget { letter } => match self.home.forget(&letter, draft) {
                true => Answered::Done,
                false => Answered::NotFound(format!("there is no dead letter {letter}")),
            },
            Ask::CancelReminder { id } => match self.home.cancel_reminder(&id, draft) {
                true => Answered::Done,
                false => Answered::NotFound(format!("there is no reminder {id}")),
            },
        };
        after.push(After::Answer(answer, Box::new(answered)));
    }

    fn replay(&self, letter: &str, answer: Answer) {
        let Some(broker) = &self.broker else {
            return reply(answer, &Answered::Refused("no broker is configured".to_owned()));
        };
        let Some(id) = ulid::parse(letter) else {
            return reply(
                answer,
                &Answered::NotFound(format!("{letter:?} is no dead letter's id")),
            );
        };
        let bridge = Arc::clone(&broker.bridge);
        self.cx.tasks.spawn_until_cancelled(async move {
            let answered = match bridge.replay(id).await {
                Ok(()) => Answered::Done,
                Err(error @ ReplayError::Unknown) => Answered::NotFound(error.to_string()),
                Err(error @ (ReplayError::Busy | ReplayError::Released | ReplayError::Unavailable(_))) => {
                    Answered::Unavailable(error.to_string())
                }
                Err(error) => Answered::Refused(error.to_string()),
            };
            reply(answer, &answered);
        });
    }

    /// Goes on loading, as far as a step holds.
    fn load(&mut self, now_ms: i64, draft: &mut Draft, after: &mut Vec<After>) {
        while let Some(load) = self.loads.front_mut() {
            while let Some(automation) = load.rest.pop_front() {
                self.home.load(automation, now_ms, &mut load.loading, draft);
                if draft.is_enough() {
                    break;
                }
            }
            if !load.rest.is_empty() {
                return;
            }
            if let Some(Load { loading, answer, .. }) = self.loads.pop_front() {
                let loaded = Answered::Loaded {
                    added: loading.added,
                    changed: loading.changed,
                    unchanged: loading.unchanged,
                    problems: loading.problems,
                };
                after.push(After::Answer(answer, Box::new(loaded)));
            }
        }
    }

    /// Takes letters, as far as a step holds.
    fn read_letters(&mut self, most: usize, now_ms: i64, draft: &mut Draft) -> Result<(), EntityError> {
        if !self.letters_wait || draft.is_enough() {
            return Ok(());
        }
        let letters = self.ledger.letters(&self.cx, most).map_err(fault)?;
        self.letters_wait = letters.len() == most;
        for (number, body) in letters {
            draft.taken = number;
            match decode::<ToBridge>(&body) {
                Ok(ToBridge::Asked { by, number, intent }) => {
                    self.home.asked(by, number, intent, now_ms, draft);
                }
                Ok(ToBridge::Waits(of)) => match self.run_of(&of.automation, &of.run.0)? {
                    Some(run) => self.home.watch_waits(&of.automation, &run, now_ms, draft),
                    None => self.home.unwatch_waits(&of.run, &BTreeSet::new(), draft),
                },
                Ok(ToBridge::Told(told)) => self.home.told(told, now_ms, draft),
                Ok(ToBridge::Remind(reminder)) => self.home.keep_reminder(reminder, draft),
                // It would stand in the way of all others for ever.
                Err(error) => tracing::error!(number, %error, "a letter to the bridge is dropped"),
            }
            if draft.is_enough() {
                self.letters_wait = true;
                break;
            }
        }
        Ok(())
    }

    fn run_of(&self, automation: &str, run: &str) -> Result<Option<Run>, EntityError> {
        let tables = self.cx.replica.local().map_err(fault)?;
        let name = format!("{}{run}", rows::RUN);
        let row = tables
            .query()
            .entity_row(&EntityId::automation(automation), name.as_bytes());
        Ok(row.map_err(fault)?.and_then(|row| decode(&row).ok()))
    }

    /// Begins what is to be done: before it is written what letters ask for, which are in the log, so that the next owner would do
    /// it too. What a person or a message asks for would be decided on anew, and might come to something else.
    fn begin_acts(&mut self, are_written: bool) {
        self.queue.extend(self.home.take_begun(are_written));
        while let Some(act) = self.queue.pop_front() {
            let publisher = self.broker.as_ref().map(|broker| &broker.publisher);
            let begun = perform::begin(
                &self.cx,
                &self.shared,
                publisher,
                &self.sender,
                &mut self.sayings,
                act,
            );
            if let Err(act) = begun {
                self.queue.push_front(*act);
                return;
            }
        }
    }

    /// Writes what was decided, and tells who waits for it. Where it is refused, what is at fault is looked for from then on.
    async fn write(&mut self, draft: Draft, after: Vec<After>) -> Result<(), EntityError> {
        let written = self.write_steps(draft).await;
        if matches!(written, Err(LedgerError::Refused(_))) {
            self.shared.be_careful();
        }
        written?;
        self.begin_acts(true);
        answer_all(after);
        Ok(())
    }

    async fn write_steps(&mut self, mut draft: Draft) -> Result<(), LedgerError> {
        if self.cx.replica.bite() == Some(Bite::IntentLost) {
            draft.lose_acts();
        }
        if !draft.is_empty() {
            let watched_ms = self.home.watched_until(self.shared.now_ms());
            for step in draft.into_steps(self.ledger.version() + 1, watched_ms) {
                let began = Instant::now();
                self.ledger.persist(&self.cx, step, None).await?;
                metrics::step(began.elapsed());
            }
        }
        Ok(())
    }

    fn connect(&mut self, wish: Wanted) {
        let Some(mut options) = self.shared.settings.mqtt.clone() else {
            return;
        };
        options.topics = wish.filters.iter().cloned().collect();
        options.held = self.home.held_filters();
        options.will = self.shared.settings.announce.then(|| self.home.will(WILL_DELAY));
        let desk = ToDesk {
            work: self.sender.clone(),
            replica: self.cx.replica.clone(),
        };
        let acting = self.cx.acting();
        let parts = Parts {
            sink: Arc::new(desk.clone()),
            memory: Arc::new(desk.clone()),
            letters: Arc::new(desk),
            key_of: device_of,
            gate: Arc::new(move || acting.now()),
            dial: Arc::clone(&self.shared.dial),
            clock: Arc::clone(&self.shared.clock),
            entropy: Arc::clone(&self.shared.entropy),
        };
        let bridge = Bridge::own(&self.cx.tasks, options, parts);
        bridge.subscribe(wish);
        let publisher = bridge.publisher();
        let showing = show(publisher.clone(), self.shown.subscribe());
        self.cx.tasks.spawn_until_cancelled(showing);
        self.broker = Some(Broker {
            publisher,
            status: bridge.status(),
            bridge: Arc::new(bridge),
        });
    }

    /// Looks what has become of what the broker was asked for; what is to be asked for next may be, once the draft is written.
    fn look_at_topics(&mut self, draft: &mut Draft) -> Option<Wanted> {
        let settled = self
            .broker
            .as_ref()
            .and_then(|broker| broker.status.borrow().settled);
        if let Some(wish) = settled {
            self.home.settled(wish, draft);
        }
        if self
            .home
            .waits_for_retained()
            .is_some_and(|wish| settled == Some(wish))
        {
            let last = *self.retained_at.get_or_insert_with(Instant::now);
            if last.elapsed() >= RETAINED_QUIET {
                self.home.retained_has_come(draft);
            }
        } else {
            self.retained_at = None;
        }
        self.home.wish(draft)
    }

    fn follow_topics(&self, wish: Option<Wanted>) {
        if let (Some(broker), Some(wish)) = (&self.broker, wish) {
            broker.bridge.subscribe(wish);
        }
    }

    /// Keeps what Home Assistant sees of Jarvis as it is.
    fn follow_shown(&mut self) -> Result<(), EntityError> {
        let Some(broker) = self.broker.as_ref().filter(|_| self.shared.settings.announce) else {
            return Ok(());
        };
        let connection = {
            let status = broker.status.borrow();
            if status.state.is_connected() {
                status.connections
            } else {
                0
            }
        };
        let ran = self.ran && self.shown_at.elapsed() >= SHOW_RUNS_EVERY;
        if ran {
            (self.ran, self.shown_at) = (false, Instant::now());
        }
        let changed = self.home.take_shown_changed() || ran;
        if connection == 0 || (!changed && self.shown.borrow().0 == connection) {
            // It is looked at again when the broker is there.
            return Ok(());
        }
        let shown = match self.home.library().len() > MOST_SHOWN {
            true => Vec::new(),
            false => self.home.shown(&self.nodes()?),
        };
        self.shown.send_replace((connection, shown));
        Ok(())
    }

    fn nodes(&self) -> Result<Vec<NodeShown>, EntityError> {
        let tables = self.cx.replica.local().map_err(fault)?;
        let rows = tables
            .query()
            .nodes()
            .map_err(|error| fault(ReadError::from(error)))?;
        let leader = self.cx.replica.state().borrow().leader;
        let shown = rows.into_iter().map(|(node, row)| {
            let state = match row.intent {
                _ if !row.healthy => "down",
                NodeIntent::Joining => "joining",
                NodeIntent::Draining => "draining",
                NodeIntent::Drained => "drained",
                NodeIntent::Active if leader == Some(node) => "leader",
                NodeIntent::Active => "up",
            };
            NodeShown {
                name: row.name.to_string(),
                state: state.to_owned(),
                online: row.healthy,
                version: Some(row.version),
            }
        });
        Ok(shown.collect())
    }

    fn status(&self, now_ms: i64) -> BridgeStatus {
        let (entities, dead_letters, reminders) = self.home.counts();
        let mut status = BridgeStatus {
            node: self.shared.settings.node.clone(),
            state: "none".to_owned(),
            devices: self.home.devices(now_ms),
            entities,
            automations: self.home.library().len(),
            acts: self.home.acts().len(),
            dead_letters,
            reminders,
            problems: self.home.problems(MOST_PROBLEMS),
            ..BridgeStatus::default()
        };
        if let Some(broker) = &self.broker {
            let seen = broker.status.borrow();
            status.broker = Some(seen.broker.clone());
            status.sessions_lost = seen.epoch.saturating_sub(1);
            status.subscribed = seen.settled.is_some();
            status.refused_topics = seen.refused_topics.keys().cloned().collect();
            match &seen.state {
                State::Connecting => status.state = "connecting".to_owned(),
                State::Connected { version, .. } => {
                    status.state = "connected".to_owned();
                    status.protocol = Some(version.to_string());
                }
                State::Waiting { why, .. } => {
                    status.state = "waiting".to_owned();
                    status.trouble = Some(why.to_string());
                }
                State::Released { .. } => status.state = "released".to_owned(),
            }
        }
        status
    }
}

/// Which ownership wrote last, and in which life of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Boot {
    epoch: u64,
    boot: u64,
}

/// What the last owner left.
fn kept(cx: &Cx<News>) -> Result<(Kept, Option<Boot>), EntityError> {
    let tables = cx.replica.local().map_err(fault)?;
    let query = tables.query();
    let rows = query
        .entity_rows(&EntityId::bridge(), b"", usize::MAX)
        .map_err(|error| fault(ReadError::from(error)))?;
    let boot = rows
        .iter()
        .find(|(name, _)| name == rows::BOOT.as_bytes())
        .and_then(|(_, value)| decode(value).ok());
    let mut runs = Vec::new();
    for (name, _) in &rows {
        let Some(id) = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.strip_prefix(rows::DEFINITION))
        else {
            continue;
        };
        let entity = EntityId::automation(id);
        let of = query
            .entity_rows(&entity, rows::RUN.as_bytes(), usize::MAX)
            .map_err(|error| fault(ReadError::from(error)))?;
        runs.extend(of.iter().filter_map(|(_, value)| decode::<Run>(value).ok()));
    }
    Ok((Kept { rows, runs }, boot))
}

/// Tells who waited that it is written. Who does not wait any more need not be told.
fn answer_all(after: Vec<After>) {
    for after in after {
        match after {
            After::Decided(reply, outcomes) => drop(reply.send(outcomes)),
            After::Done(reply) => drop(reply.send(())),
            After::Forgotten(sender, known) => drop(sender.send(known)),
            After::Answer(answer, answered) => reply(answer, &answered),
        }
    }
}

fn reply(answer: Answer, answered: &Answered) {
    answer.send(encode(answered).into());
}
