//! Who tells automations of events, over HTTP at any node. An event whose outcome is unknown is not sent again: it came once, or
//! not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jarvis_bare::rules::{ANSWER, Rule};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::rules;
use super::timers::{Call, Calls, Came};
use super::{Door, Recorder};
use crate::crowd::jitter::Jitter;
use crate::crowd::lock;

/// How long an event may take before its sender gives up.
const EVENT_TIMEOUT: Duration = Duration::from_secs(6);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long a single run may hold up the last event of its automation, beyond the delay.
const HELD_UP: Duration = Duration::from_secs(2);
/// Of a hundred events of [`Rule::Waits`], so many are answered.
const ANSWERED_PERCENT: usize = 60;
/// Events of one rule that wait to be recorded: an automation runs no more than 256 at once.
const MOST_OPEN: usize = 100;
/// The same where one run waits for the other.
const MOST_OPEN_IN_TURN: usize = 20;

/// What callers told.
#[derive(Debug, Default)]
pub struct Told {
    /// All events.
    pub calls: Calls,
    /// Statuses other than success, and how often they came.
    pub refusals: BTreeMap<u16, u64>,
}

/// A caller of each rule, at work.
pub struct Callers {
    told: Arc<Mutex<Told>>,
    tasks: JoinSet<()>,
}

impl Callers {
    /// Begins. Once `calm` says until when there is a calm, each tells of events until one has come there, and ends.
    pub fn start(
        door: &Door,
        recorder: &Arc<Recorder>,
        seed: u64,
        calm: &watch::Receiver<Option<Instant>>,
    ) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let mut tasks = JoinSet::new();
        for (number, rule) in (0..).zip(Rule::ALL) {
            let caller = Caller {
                rule,
                door: door.clone(),
                recorder: Arc::clone(recorder),
                jitter: Jitter::new(seed.wrapping_add(number)),
                told: Arc::clone(&told),
                calm: calm.clone(),
                open: BTreeSet::new(),
                looked: 0,
            };
            tasks.spawn(caller.call());
        }
        Self { told, tasks }
    }

    /// Events so far.
    pub fn count(&self) -> usize {
        lock(&self.told).calls.len()
    }

    /// Looks at what was told so far.
    pub fn read<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&lock(&self.told))
    }

    /// Waits until all have ended.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Caller {
    rule: Rule,
    door: Door,
    recorder: Arc<Recorder>,
    jitter: Jitter,
    told: Arc<Mutex<Told>>,
    calm: watch::Receiver<Option<Instant>>,
    /// Events that came and of which nothing was recorded yet.
    open: BTreeSet<u64>,
    /// How much of what was recorded has been looked at.
    looked: usize,
}

impl Caller {
    async fn call(mut self) {
        for n in 1.. {
            self.until_room().await;
            let calm = *self.calm.borrow();
            let ms = rules::delay(self.rule, &mut self.jitter).as_millis() as u64;
            let came = self.tell(n, Duration::from_millis(ms)).await;
            if self.rule == Rule::Waits && self.jitter.below(100) < ANSWERED_PERCENT {
                let soon = Duration::ZERO..Duration::from_millis(ms * 3 / 2);
                sleep(self.jitter.within(&soon)).await;
                self.answer(n).await;
            }
            if let Some(until) = calm {
                let is_enough = match self.rule {
                    // An earlier run may stand in its way.
                    Rule::Single => came && self.is_recorded(n, Duration::from_millis(ms)).await,
                    _ => came,
                };
                if is_enough || Instant::now() > until {
                    return;
                }
            }
            sleep(rules::pause(self.rule, &mut self.jitter)).await;
        }
    }

    /// Waits while too much waits to be recorded, unless it is calm.
    async fn until_room(&mut self) {
        let most = match self.rule {
            // Of these not every event comes to something.
            Rule::Single | Rule::Restart => return,
            Rule::Queued => MOST_OPEN_IN_TURN,
            _ => MOST_OPEN,
        };
        self.look();
        while self.open.len() >= most && self.calm.borrow().is_none() {
            sleep(LOOK).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let (rule, open) = (self.rule, &mut self.open);
        self.looked = self.recorder.read(|sights| {
            for sight in sights.iter().skip(self.looked) {
                let token = sight.payload.split(' ').next().unwrap_or_default();
                if let Some((_, n)) = Rule::of_token(token).filter(|(of, _)| *of == rule) {
                    open.remove(&n);
                }
            }
            sights.len()
        });
    }

    async fn is_recorded(&mut self, n: u64, delay: Duration) -> bool {
        let give_up = Instant::now() + delay + HELD_UP;
        loop {
            self.look();
            let is_there = !self.open.contains(&n);
            if is_there || Instant::now() > give_up {
                return is_there;
            }
            sleep(LOOK).await;
        }
    }

    /// Tells of an event, once. Whether it is known to have come.
    async fn tell(&mut self, n: u64, delay: Duration) -> bool {
        let call = Call {
            sent: Instant::now(),
            came: Came::Unknown,
            delay,
            answered: None,
        };
        lock(&self.told).calls.insert((self.rule, n), call);
        let data = json!({"token": self.rule.token(n), "ms": delay.as_millis() as u64});
        let came = self.post(self.rule.name(), &data).await;
        if let Some(call) = lock(&self.told).calls.get_mut(&(self.rule, n)) {
            call.came = came;
        }
        if came == Came::Yes {
            self.open.insert(n);
        }
        came == Came::Yes
    }

    async fn answer(&mut self, n: u64) {
        if let Some(call) = lock(&self.told).calls.get_mut(&(self.rule, n)) {
            call.answered = Some(Instant::now());
        }
        let data = json!({"token": self.rule.token(n)});
        self.post(ANSWER, &data).await;
    }

    async fn post(&mut self, event: &str, data: &serde_json::Value) -> Came {
        let path = format!("/api/v1/events/{event}");
        let at = self.jitter.below(self.door.nodes.len());
        let Some(node) = self.door.nodes.get(at) else {
            return Came::No;
        };
        match timeout(EVENT_TIMEOUT, self.door.eyes.ask(node, &path, data)).await {
            Ok(Ok((status, _))) if status.is_success() => Came::Yes,
            Ok(Ok((status, _))) => {
                *lock(&self.told).refusals.entry(status.as_u16()).or_default() += 1;
                if status.is_client_error() {
                    Came::No
                } else {
                    Came::Unknown
                }
            }
            // Nobody listened: it never left.
            Ok(Err(error)) if error.is_connect() => Came::No,
            Ok(Err(_)) | Err(_) => Came::Unknown,
        }
    }
}
