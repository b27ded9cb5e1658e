//! People who talk without end: say, wait for the reply, say again; reconnect anywhere and resume. What they are shown is
//! told to the oracle as it comes. A message that was sent and never confirmed is unknown, and said again under its id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jarvis_bare::{Came, Entry, Exchange, News, Step};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::chat::Chat;
use crate::laws::minority;
use crate::rng::Rng;
use crate::world::{Phase, World};

/// Wait between attempts to connect.
const RECONNECT: Duration = Duration::from_millis(60);
/// After so many refusals in a row a talker tries another gateway.
const REFUSALS: u32 = 3;
/// One message in so many is sent twice.
const SENT_TWICE_PPM: u64 = 100_000;
/// One message in so many is followed by another socket.
const WANDER_PPM: u64 = 80_000;

/// One message in so many asks to be reminded of something.
const REMIND_PPM: u64 = 60_000;

/// Talks until the calm, says a last message there, and is content when that was answered.
pub async fn talk(world: Arc<World>, session: usize, number: usize) {
    let talker = Talker {
        rng: Rng::new(world.seed, &format!("talker {session} {number}")),
        id: None,
        last_seq: 0,
        chat: None,
        gateway: 0,
        seen: Vec::new(),
        world,
        session,
        number,
    };
    talker.run().await;
}

struct Talker {
    world: Arc<World>,
    session: usize,
    number: usize,
    rng: Rng,
    id: Option<String>,
    last_seq: u64,
    chat: Option<Chat>,
    /// The machine whose gateway that is.
    gateway: usize,
    seen: Vec<Entry>,
}

impl Talker {
    async fn run(mut self) {
        // The first of a session makes it.
        while self.number > 0 && self.id.is_none() {
            sleep(RECONNECT).await;
            self.id = self.world.session(self.session);
        }
        let mut n = 0;
        loop {
            let last = self.world.phase() == Phase::Calm;
            let id = format!("s{}t{}-{n}", self.session, self.number);
            let text = if !last && self.rng.chance_ppm(REMIND_PPM) {
                format!("remind me in {} seconds to eat {id}", self.rng.range(1, 8))
            } else {
                format!("{n} + {}", self.rng.range(1, 100))
            };
            self.exchange(&id, &text).await;
            if last {
                self.world.trace.event(format_args!(
                    "talker s{}t{} is content",
                    self.session, self.number
                ));
                return self.world.one_is_content();
            }
            if self.rng.chance_ppm(WANDER_PPM) {
                self.chat = None;
            }
            sleep(Duration::from_millis(self.rng.range(20, 500))).await;
            n += 1;
        }
    }

    async fn exchange(&mut self, id: &str, text: &str) {
        let mut exchange = Exchange::new(id, Instant::now());
        let mut refusals = 0;
        let began = self.world.trace.now();
        self.world.oracle.say_begins(self.session, self.number, id);
        loop {
            if self.chat.is_none() {
                self.connect().await;
                // Whether it is there already is unknown; the replay may tell, saying it again does no harm.
                exchange.reconnected(Instant::now());
            }
            let Some(chat) = self.chat.as_mut() else { continue };
            let mut step = exchange.step(Instant::now());
            if step == Step::Say {
                let frame = json!({"type": "say", "id": id, "text": text});
                let times = 1 + u64::from(self.rng.chance_ppm(SENT_TWICE_PPM));
                let mut sent = Ok(());
                for _ in 0..times {
                    sent = chat.send(&frame).await;
                }
                if sent.is_err() {
                    self.chat = None;
                    continue;
                }
                exchange.sent();
                step = exchange.step(Instant::now());
            }
            let (Step::Pause(until) | Step::Listen(until)) = step else {
                continue;
            };
            let frame = match timeout_at(until, chat.next()).await {
                Ok(Ok(frame)) => frame,
                Err(_) if step == Step::Pause(until) => continue,
                Ok(Err(_)) | Err(_) => {
                    self.chat = None;
                    continue;
                }
            };
            let news = News::of(&frame);
            self.note(&news, &frame);
            match exchange.take(&news, Instant::now()) {
                Came::Confirmed => {
                    if let News::Entry(entry) = &news {
                        self.world.oracle.say_ends(self.session, self.number, entry.seq);
                    }
                    minority::check(&self.world, self.gateway, id, began);
                }
                Came::Answered => {
                    if !exchange.is_said() {
                        self.broken(format!("{id} is answered before it was said"));
                    }
                    return;
                }
                Came::Refused => {
                    refusals += 1;
                    if refusals % REFUSALS == 0 {
                        self.chat = None;
                    }
                }
                Came::Nothing => {}
            }
        }
    }

    fn broken(&self, what: String) {
        let talker = format!("talker s{}t{}", self.session, self.number);
        self.world.oracle.report(
            "a socket shows each entry once, in order",
            format!("{talker}: {what}"),
        );
    }

    /// Notes what a frame says.
    fn note(&mut self, news: &News, frame: &Value) {
        match news {
            News::Entry(entry) => self.note_entry(entry),
            News::Draining { .. } => self.chat = None,
            News::Refused(refusal) if !refusal.is_unavailable() => self.broken(format!("told {frame}")),
            News::Refused(_) | News::Moved { .. } | News::Other => {}
        }
    }

    fn note_entry(&mut self, entry: &Entry) {
        if let Some(session) = &self.id {
            self.world.oracle.shown(session, entry);
        }
        if entry.seq == self.last_seq + 1 {
            self.last_seq = entry.seq;
            self.seen.push(entry.clone());
        } else if entry.reply || !self.seen.contains(entry) {
            // Only a message that was said again may be confirmed again, and then unchanged.
            self.broken(format!("shown {entry:?} after seq {}", self.last_seq));
        }
    }

    /// Connects to whatever node answers, resuming where this talker stands.
    async fn connect(&mut self) {
        loop {
            let machine = Arc::clone(self.rng.pick(&self.world.machines));
            match self.try_connect(&machine).await {
                Ok(()) => return,
                Err(error) => {
                    let (session, number) = (self.session, self.number);
                    self.world.trace.event(format_args!(
                        "talker s{session}t{number} at {}: {error:#}",
                        machine.name
                    ));
                    sleep(RECONNECT).await;
                }
            }
        }
    }

    async fn try_connect(&mut self, machine: &crate::machine::Machine) -> Result<()> {
        let after = self.id.as_ref().map(|_| self.last_seq);
        let (chat, welcome) = Chat::hello(machine.ip, self.id.as_deref(), after).await?;
        if self.id.is_none() {
            let id = welcome["session"].as_str().unwrap_or_default().to_owned();
            self.world.note_session(self.session, id.clone());
            self.id = Some(id);
        }
        self.chat = Some(chat);
        self.gateway = machine.index;
        Ok(())
    }
}

/// The numbers of all talkers: session, and place in it.
pub fn all(world: &World) -> BTreeSet<(usize, usize)> {
    let sessions = 0..world.size.sessions;
    sessions
        .flat_map(|session| (0..world.size.talkers_each).map(move |number| (session, number)))
        .collect()
}
