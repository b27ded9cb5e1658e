//! A client that talks without end: says, waits for the reply, says again; reconnects anywhere and resumes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jarvis_bare::{Came, Exchange, News, Refusal, Step};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::chat::Chat;
use crate::history::{Entry, History};
use crate::laws::one_owner::Sighting;

/// Wait between attempts to connect.
const RECONNECT: Duration = Duration::from_millis(20);
/// How long it stays with a socket that it was driven to.
const AWAY: Duration = Duration::from_secs(3);
/// Longest a message may stay unanswered before the talker gives up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Where each talker's socket and session are at the moment: gateway and owner by name.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, (String, String)>>>);

impl Board {
    fn note(&self, talker: &str, gateway: &str, owner: &str) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(talker.to_owned(), (gateway.to_owned(), owner.to_owned()));
    }

    /// Gateway and owner of every talker.
    pub fn places(&self) -> Vec<(String, String)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

/// How a talker talks.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Most messages; it stops by itself after them.
    pub messages: usize,
    /// Pause between an answer and the next message.
    pub pause: Duration,
    /// Which socket it begins with.
    pub first_socket: usize,
    /// Distinguishes its messages from others'.
    pub name: String,
    /// Where it says where it is.
    pub board: Board,
}

/// Talks in a session of its own until `stop` turns true or all is said, then gives what it saw.
///
/// # Errors
/// Where no session can be had, or a message stays unanswered for a minute.
pub async fn talk(
    sockets: Vec<String>,
    token: String,
    manner: Manner,
    stop: watch::Receiver<bool>,
) -> Result<History> {
    let Manner {
        messages,
        pause,
        first_socket: next,
        name,
        board,
    } = manner;
    let mut talker = Talker::new(sockets, token, next, name, board);
    talker.connect().await?;
    for n in 0..messages {
        if *stop.borrow() {
            break;
        }
        talker.go_home();
        let id = format!("{}-{n}", talker.name);
        // Something that every responder answers at once, and differently each time.
        let text = format!("{n} + {}", n + 1);
        talker.exchange(&id, &text).await?;
        sleep(pause).await;
    }
    Ok(talker.history)
}

/// One that talks in a session of its own.
pub(crate) struct Talker {
    sockets: Vec<String>,
    token: String,
    next: usize,
    home: usize,
    connected: Instant,
    /// What it saw.
    pub(crate) history: History,
    chat: Option<Chat>,
    name: String,
    board: Board,
}

impl Talker {
    /// One that has said nothing yet.
    pub(crate) fn new(sockets: Vec<String>, token: String, first: usize, name: String, board: Board) -> Self {
        Self {
            sockets,
            token,
            next: first,
            home: first,
            connected: Instant::now(),
            history: History::default(),
            chat: None,
            name,
            board,
        }
    }

    /// Listens to what it is told without having asked, until then.
    ///
    /// # Errors
    /// Where no socket can be had for a minute.
    pub(crate) async fn listen(&mut self, until: Instant) -> Result<()> {
        while Instant::now() < until {
            if self.chat.is_none() {
                self.connect().await?;
            }
            let Some(chat) = self.chat.as_mut() else { continue };
            match timeout_at(until, chat.next()).await {
                Ok(Ok(frame)) => self.note(&News::of(&frame), &frame),
                Ok(Err(_)) => self.chat = None,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Leaves its socket: the next is another, and tells what was missed on this one.
    pub(crate) fn leave(&mut self) {
        self.chat = None;
    }

    /// Back to the socket it began with, a while after it had to leave: so that every gateway keeps having sockets.
    fn go_home(&mut self) {
        if self.next != self.home && self.connected.elapsed() > AWAY {
            self.next = self.home;
            self.chat = None;
        }
    }

    fn note_place(&mut self, gateway: String, owner: String, epoch: Option<u64>, fresh: bool) {
        self.board.note(&self.name, &gateway, &owner);
        self.history.sightings.push(Sighting {
            by: self.home,
            fresh,
            subject: self.history.session.clone(),
            owner: owner.clone(),
            epoch: epoch.unwrap_or_default(),
        });
        self.history.places.push((Instant::now(), gateway, owner));
    }

    /// Says something until it is answered.
    ///
    /// # Errors
    /// Where that takes longer than a minute.
    pub(crate) async fn exchange(&mut self, id: &str, text: &str) -> Result<()> {
        self.history.sent.insert(id.to_owned(), text.to_owned());
        let started = Instant::now();
        let mut exchange = Exchange::new(id, started);
        loop {
            ensure!(
                started.elapsed() < GIVE_UP,
                "{id} stayed unanswered (said: {})",
                exchange.is_said()
            );
            if self.chat.is_none() {
                self.history.reconnects += 1;
                self.connect().await?;
                exchange.reconnected(Instant::now());
            }
            let Some(chat) = self.chat.as_mut() else { continue };
            let mut step = exchange.step(Instant::now());
            if step == Step::Say {
                if chat.say(id, text).await.is_err() {
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
                Came::Confirmed => self.history.said_after.push(started.elapsed()),
                Came::Answered => return Ok(()),
                Came::Refused | Came::Nothing => {}
            }
        }
    }

    /// Notes what a frame says.
    fn note(&mut self, news: &News, frame: &Value) {
        match news {
            News::Entry(entry) => {
                // A gateway may confirm again a message that was sent again: the same entry is no news.
                if !self.history.seen.contains_recent(entry) {
                    self.history.seen.push(entry.clone());
                }
                if entry.is_unasked() {
                    self.history.unasked.push((Instant::now(), entry.clone()));
                } else if entry.reply {
                    self.history.answered.push((Instant::now(), entry.about.clone()));
                }
            }
            News::Moved { owner, epoch } => {
                let gateway = self
                    .history
                    .places
                    .last()
                    .map_or(String::new(), |(_, gateway, _)| gateway.clone());
                self.note_place(gateway, owner.clone(), Some(*epoch), false);
            }
            News::Draining { .. } => self.chat = None,
            News::Refused(refusal) => self.note_refusal(refusal, frame),
            News::Other => {}
        }
    }

    fn note_refusal(&mut self, refusal: &Refusal, frame: &Value) {
        if refusal.is_unavailable() {
            let after = refusal.retry_after.map(|after| after.as_millis() as u64);
            self.history.unavailable.push((Instant::now(), after));
        } else if !refusal.is_for_a_while() {
            self.history.errors.push(frame.to_string());
        }
    }

    /// Connects to the next socket that answers, resuming where this talker stands.
    async fn connect(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let url = self
                .sockets
                .get(self.next % self.sockets.len())
                .context("there are sockets")?
                .clone();
            let session = (!self.history.session.is_empty()).then(|| self.history.session.clone());
            let after = session.as_ref().map(|_| self.history.last_seq());
            match Chat::hello(&url, &self.token, session.as_deref(), after).await {
                Ok((chat, welcome)) => {
                    self.history.session = welcome["session"]
                        .as_str()
                        .context("welcome names a session")?
                        .to_owned();
                    let name = |key: &str| welcome[key].as_str().unwrap_or_default().to_owned();
                    self.note_place(name("node"), name("owner"), welcome["epoch"].as_u64(), true);
                    self.chat = Some(chat);
                    self.connected = Instant::now();
                    return Ok(());
                }
                Err(error) => {
                    ensure!(started.elapsed() < GIVE_UP, "no socket answers: {error:#}");
                    self.next += 1;
                    sleep(RECONNECT).await;
                }
            }
        }
    }
}

trait Recent {
    fn contains_recent(&self, entry: &Entry) -> bool;
}

impl Recent for Vec<Entry> {
    /// Only a confirmation of a message sent again may come twice on one socket, and then unchanged.
    fn contains_recent(&self, entry: &Entry) -> bool {
        !entry.reply && self.iter().rev().take(8).any(|seen| seen == entry)
    }
}
