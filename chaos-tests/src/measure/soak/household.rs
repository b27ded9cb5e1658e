//! A home that lives beside the chat sessions: sensors that speak to a real broker, events over HTTP, waits of each kind, people
//! who have themselves reminded; and whether all of it came to what it should.
//!
//! ```text
//!  move_in ─► sensors, callers, people at work … faults … ─► come_to_rest: one more of each, all must come in ─► judged
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_bare::rules::{PATTERN, Rule};
use jarvis_host::{Clock, SystemClock};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::Cluster;
use crate::crowd::jitter::Jitter;
use crate::crowd::lock;
use crate::home::reminders::{self, Person};
use crate::home::rules::rules;
use crate::home::timers::{self, Count, Course, Delays, Done, check, check_delays, is_of_rules};
use crate::home::{
    Callers, Clocks, Door, Expected, Mosquitto, Recorder, Said, Sensor, Sight, Verdict, Wall, Word, delayed,
    devices, echo, judge,
};
use crate::laws::Broken;
use crate::measure::Times;
use crate::storm::{self, transcript};

/// Sensors whose messages are passed on at once.
const ECHOES: usize = 4;
/// Seconds after which messages of further sensors are passed on, one after the other.
const DELAYS_S: [u64; 4] = [1, 2, 3, 5];
/// People who have themselves reminded.
const PEOPLE: usize = 2;
/// Between two messages of a sensor that is passed on at once.
const SPEAK: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(900);
/// Messages of one sensor that wait to be passed on.
const MOST_OPEN: u64 = 100;
/// The same where one waits for the other: what a wrong clock holds up must be caught up with.
const MOST_OPEN_DELAYED: u64 = 4;
/// How long all may take to come in once all is healed, besides what clocks that were wrong hold up.
const REST: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The law of messages.
const MESSAGES: &str = "every message that the broker has is decided on once, in its device's order";

/// See the module.
pub(super) struct Household {
    broker: Mosquitto,
    recorder: Arc<Recorder>,
    door: Door,
    wall: Wall,
    /// Until when there is a calm, once there is one.
    calm: watch::Sender<Option<Instant>>,
    said: Arc<Mutex<Said>>,
    delays: Delays,
    sensors: JoinSet<Result<()>>,
    callers: Callers,
    people: JoinSet<Result<Person>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    messages: Verdict,
    messages_before_calm: usize,
    /// From a message to what was recorded of it, where nothing waits.
    messages_recorded_after: Times,
    #[serde(flatten)]
    done: Done,
    /// Waits of automations, from when they were due until they were recorded, by right clocks.
    timers_late: Times,
    reminders: reminders::Verdict,
    /// Statuses of events that were not taken, and how often they came.
    events_refused: BTreeMap<u16, u64>,
    settled_after_ms: u64,
    /// What the bridge says in the end.
    bridge: Value,
}

/// How it stands, to be told after a phase.
pub(super) struct Standing {
    pub(super) messages: usize,
    pub(super) events: usize,
    pub(super) recorded: usize,
}

impl Household {
    /// Loads the automations and has everybody begin.
    pub(super) async fn move_in(cluster: &Cluster, broker: Mosquitto, seed: u64) -> Result<Self> {
        let recorder = Arc::new(Recorder::start(broker.port).await?);
        let door = Door::of(cluster);
        door.until_connected().await?;
        let (echoes, waiting) = (devices("d", ECHOES), devices("w", DELAYS_S.len()));
        let mut yaml = rules() + &echo(&echoes);
        let mut delays = Delays::new();
        for (device, seconds) in waiting.iter().zip(DELAYS_S) {
            yaml += &delayed(device, seconds);
            delays.insert(device.clone(), Duration::from_secs(seconds));
        }
        door.load(&yaml).await?;

        let (calm, is_calm) = watch::channel(None);
        let wall = Wall {
            at: Instant::now(),
            unix_ms: SystemClock.now_ms(),
        };
        let mut household = Self {
            callers: Callers::start(&door, &recorder, seed, &is_calm),
            broker,
            recorder,
            door,
            wall,
            calm,
            said: Arc::default(),
            delays,
            sensors: JoinSet::new(),
            people: JoinSet::new(),
        };
        for (number, device) in (0..).zip(echoes.iter().chain(&waiting)) {
            household.seat_sensor(device, Jitter::new(seed.wrapping_mul(31).wrapping_add(number)));
        }
        for number in 0..PEOPLE {
            let (sockets, token) = (cluster.sockets(), cluster.token.clone());
            let people = &mut household.people;
            people.spawn(reminders::ask(sockets, token, number, seed, is_calm.clone()));
        }
        Ok(household)
    }

    fn seat_sensor(&mut self, device: &str, mut jitter: Jitter) {
        let delay = self.delays.get(device).copied();
        let most = delay.map_or(MOST_OPEN, |_| MOST_OPEN_DELAYED);
        let pause = delay.map_or(SPEAK, |delay| delay / 2..delay * 2);
        let mut sensor = Sensor::new(self.broker.port, device);
        let mut heard = self.recorder.hear(device);
        let mut calm = self.calm.subscribe();
        let said = Arc::clone(&self.said);
        self.sensors.spawn(async move {
            loop {
                let is_last = calm.borrow().is_some();
                let (word, sent) = sensor.say().await?;
                let n = word.n;
                lock(&said).insert(word, sent);
                if is_last {
                    return Ok(());
                }
                let next = async {
                    sleep(jitter.within(&pause)).await;
                    match (n + 1).checked_sub(most) {
                        Some(n) => heard.at_least(n).await,
                        None => Ok(()),
                    }
                };
                tokio::select! {
                    room = next => room?,
                    ended = calm.wait_for(Option::is_some) => drop(ended?),
                }
            }
        });
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            messages: lock(&self.said).len(),
            events: self.callers.count(),
            recorded: self.recorder.read(<[Sight]>::len),
        }
    }

    /// Waits until all has come in that is to come, and judges. There are no faults any more.
    ///
    /// # Errors
    /// Where the broker or the nodes do not answer.
    pub(super) async fn come_to_rest(
        mut self,
        cluster: &mut Cluster,
        clocks: &Clocks,
        evidence: &Path,
    ) -> Result<(Report, Vec<Broken>)> {
        let began = Instant::now();
        let ends = began + REST + clocks.holds_up(began);
        self.calm.send_replace(Some(ends));
        // A little longer than the calm: whoever waits for its end is to see it.
        let late = ends + REST;
        let people = timeout_at(late, self.everybody()).await;
        let course = Course {
            clocks,
            wall: self.wall,
            calm: began,
        };
        let people = match people {
            Ok(Ok(people)) => people,
            failed => {
                self.keep(evidence, &course).await?;
                failed.context("sensors, callers or people did not come to an end")??;
                Vec::new()
            }
        };
        let mut left = vec!["nobody looked at what".to_owned()];
        let mut quiet_looks = 0;
        while quiet_looks < 2 && Instant::now() < ends {
            left = self
                .left(&course)
                .await
                .unwrap_or_else(|why| vec![format!("{why:#}")]);
            quiet_looks = if left.is_empty() { quiet_looks + 1 } else { 0 };
            sleep(LOOK).await;
        }
        let settled = began.elapsed();
        let (mut report, mut broken) = self.judge(&course);
        report.settled_after_ms = settled.as_millis() as u64;
        report.bridge = self.door.get("/api/v1/bridge").await?;
        broken.extend(
            left.into_iter()
                .map(|what| of(timers::TIMERS, format!("{what} left in the end"))),
        );
        let first = cluster.nodes.first().context("there are nodes")?.clone();
        for person in &people {
            let kept = transcript(cluster, &first, &person.history.session).await?;
            report.reminders.take(person, &kept, clocks);
        }
        broken.append(&mut report.reminders.broken);
        let histories = people.into_iter().map(|person| person.history).collect();
        let chats = storm::judge(cluster, histories, Vec::new()).await?;
        broken.extend(chats.broken);
        if !broken.is_empty() {
            self.keep(evidence, &course).await?;
        }
        Ok((report, broken))
    }

    async fn everybody(&mut self) -> Result<Vec<Person>> {
        while let Some(sensor) = self.sensors.join_next().await {
            sensor.context("a sensor panicked")??;
        }
        self.callers.ended().await;
        let mut people = Vec::new();
        while let Some(person) = self.people.join_next().await {
            people.push(person.context("somebody panicked")??);
        }
        Ok(people)
    }

    fn is_all_in(&self, course: &Course<'_>) -> bool {
        let expected = expected(&lock(&self.said));
        self.recorder.read(|sights| {
            let words = judge(&expected, sights.iter().filter(|sight| !is_of_rules(sight)));
            let done = self.callers.read(|told| check(&told.calls, course, sights));
            words.lost.is_empty() && done.missing.is_empty()
        })
    }

    /// What has to come to an end yet; nothing of the automation that goes by the time, which never does.
    async fn left(&self, course: &Course<'_>) -> Result<Vec<String>> {
        let mut left = Vec::new();
        if !self.is_all_in(course) {
            left.push("messages, events or times are".to_owned());
        }
        let bridge = self.door.get("/api/v1/bridge").await?;
        for what in ["acts", "reminders", "dead_letters"] {
            let count = bridge[what]
                .as_u64()
                .with_context(|| format!("{what} in {bridge}"))?;
            if count > 0 {
                left.push(format!("{count} {what} are"));
            }
        }
        let listed = self.door.get("/api/v1/automations").await?;
        let all = listed["automations"].as_array().context("a list")?;
        for one in all.iter().filter(|one| one["id"] != PATTERN) {
            let runs = one["running"].as_u64().context("a number of runs")?;
            if runs > 0 {
                left.push(format!("{runs} runs of {} are", one["id"]));
            }
        }
        Ok(left)
    }

    fn judge(&self, course: &Course<'_>) -> (Report, Vec<Broken>) {
        let said = lock(&self.said).clone();
        let expected = expected(&said);
        self.recorder.read(|sights| {
            let words = sights.iter().filter(|sight| !is_of_rules(sight));
            let messages = judge(&expected, words);
            let mut done = self.callers.read(|told| check(&told.calls, course, sights));
            let early = check_delays(&said, &self.delays, course.clocks, sights);
            let mut broken: Vec<Broken> = messages
                .broken()
                .into_iter()
                .map(|what| of(MESSAGES, what))
                .collect();
            broken.append(&mut done.broken);
            broken.append(&mut done.missing);
            broken.extend(early);
            let timers_late = Times::of(std::mem::take(&mut done.late));
            let report = Report {
                messages,
                messages_before_calm: said.values().filter(|sent| sent.at < course.calm).count(),
                messages_recorded_after: Times::of(self.took(&said, sights)),
                done,
                timers_late,
                reminders: reminders::Verdict::default(),
                events_refused: self.callers.read(|told| told.refusals.clone()),
                settled_after_ms: 0,
                bridge: Value::Null,
            };
            (report, broken)
        })
    }

    /// From when each message was said that is passed on at once until it was recorded first.
    fn took(&self, said: &Said, sights: &[Sight]) -> Vec<Duration> {
        let mut first: BTreeMap<&Word, Duration> = BTreeMap::new();
        for sight in sights {
            let Some(word) = &sight.word else { continue };
            if let Some(sent) = said.get(word).filter(|_| !self.delays.contains_key(&word.device)) {
                let took = sight.at.saturating_duration_since(sent.at);
                first.entry(word).or_insert(took);
            }
        }
        first.into_values().collect()
    }

    /// Keeps what was told and recorded, and what the cluster says of its automations.
    async fn keep(&self, folder: &Path, course: &Course<'_>) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let unix_ms = |at: Instant| self.wall.shows(at);
        let calls = self.callers.read(|told| {
            let each = told.calls.iter().map(|((rule, n), call)| {
                json!({
                    "token": rule.token(*n), "sent_ms": unix_ms(call.sent), "came": call.came,
                    "delay_ms": call.delay.as_millis() as u64, "answered_ms": call.answered.map(unix_ms),
                })
            });
            each.collect::<Vec<Value>>()
        });
        let said = lock(&self.said).clone();
        let said = said.iter().map(|(word, sent)| {
            json!({
                "word": word, "sent_ms": unix_ms(sent.at), "confirmed_ms": unix_ms(sent.confirmed), "tries": sent.tries,
            })
        });
        let recorded = self.recorder.read(|sights| {
            let each = sights.iter().map(|sight| {
                json!({
                    "topic": sight.topic, "payload": sight.payload, "intent": sight.intent, "at_ms": unix_ms(sight.at),
                })
            });
            each.collect::<Vec<Value>>()
        });
        let mut automations = BTreeMap::new();
        for name in Rule::ALL.map(Rule::name).into_iter().chain([PATTERN]) {
            let path = format!("/api/v1/automations/{name}/traces");
            let found = self.door.get(&path).await;
            automations.insert(name, found.unwrap_or_else(|error| format!("{error:#}").into()));
        }
        let all = json!({
            "calm_ms": unix_ms(course.calm), "calls": calls, "said": said.collect::<Vec<Value>>(), "recorded": recorded,
            "traces": automations,
        });
        std::fs::write(folder.join("home.json"), serde_json::to_string_pretty(&all)?)?;
        Ok(())
    }
}

impl Report {
    /// What was not tried, so that nothing was shown of it.
    pub(super) fn untried(&self) -> Vec<String> {
        let mut untried = Vec::new();
        let mut need = |count: usize, what: &str| {
            if count == 0 {
                untried.push(what.to_owned());
            }
        };
        need(
            self.messages.decided.min(self.messages_before_calm),
            "no message was decided on",
        );
        need(
            self.done.fired_by_right_clocks,
            "no timer was checked to the millisecond",
        );
        need(self.done.times, "no time was seen");
        need(self.reminders.said, "nobody was reminded");
        for rule in Rule::ALL.map(Rule::name) {
            let count = self.done.by_rule.get(rule).map_or(0, came);
            need(count, &format!("no event of {rule} came under faults"));
        }
        untried
    }
}

/// Events that came under faults and of which something was recorded.
fn came(count: &Count) -> usize {
    count.came_before_calm.min(count.recorded)
}

fn expected(said: &Said) -> Expected {
    let tries = said.iter().map(|(word, sent)| (word.clone(), sent.tries));
    tries.collect()
}

fn of(law: &'static str, what: String) -> Broken {
    let session = "bridge/home".to_owned();
    Broken { law, session, what }
}
