//! One client with one session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_bare::exchange::SILENCE;
use jarvis_bare::{News, Refusal};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answers::{Answer, Moment};
use super::jitter::Jitter;
use super::ledger::{Ledger, Told};
use super::{Order, Seen, Shared, lock};
use crate::chat::Chat;
use crate::laws::one_owner::Sighting;

/// Pause after a refused connection.
const REFUSED: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_millis(200);
/// It leaves a gateway that is going away within this time, so that not all leave in one instant.
const LEAVE: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(300);
/// It goes back to its own gateway within this time.
const GO_HOME: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(2_000);
/// When a refusal does not say when to try again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Long enough that something else comes first.
const LONG: Duration = Duration::from_secs(3_600);

/// A message that is not answered yet.
struct Pending {
    id: String,
    text: String,
    sent: Instant,
    said: Option<Moment>,
    /// When to send it (again).
    send_at: Option<Instant>,
    news: Instant,
}

/// Where to go, and when.
struct Leaving {
    at: Instant,
    endpoints: Vec<String>,
    /// The gateway is going away: it cannot stay.
    must: bool,
}

struct Member {
    shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
    order: Order,
    jitter: Jitter,
    ledger: Ledger,
    next_socket: usize,
    /// Whose socket it has or had.
    url: String,
    /// It was called home and is not there yet.
    homing: bool,
    owner: (String, u64),
    pending: Option<Pending>,
    say_at: Instant,
    leaving: Option<Leaving>,
}

/// Lives until it is told to end; gives what it was told.
pub(super) async fn live(
    number: usize,
    shared: Arc<Shared>,
    mut orders: watch::Receiver<Order>,
    seen: Arc<Mutex<Seen>>,
) -> Result<Ledger> {
    let order = orders.borrow_and_update().clone();
    let mut jitter = Jitter::new(number as u64);
    let first = jitter.within(&(Duration::ZERO..order.pause.end));
    let mut member = Member {
        shared,
        seen,
        order,
        jitter,
        ledger: Ledger::of(number),
        next_socket: number,
        url: String::new(),
        homing: false,
        owner: (String::new(), 0),
        pending: None,
        say_at: Instant::now() + first,
        leaving: None,
    };
    let mut chat = None;
    loop {
        if member.order.end && member.pending.is_none() {
            return Ok(member.ledger);
        }
        let Some(socket) = chat.as_mut() else {
            chat = Some(member.connect(&mut orders).await?);
            continue;
        };
        let due = member.due();
        tokio::select! {
            frame = Chat::next(socket) => match frame {
                Ok(frame) => member.take(&frame),
                Err(_) => {
                    chat = None;
                    member.lose_socket();
                }
            },
            () = sleep_until(due) => {
                if member.act(&mut chat).await.is_err() {
                    chat = None;
                    member.lose_socket();
                }
            }
            changed = orders.changed() => {
                changed.context("whoever led the crowd is gone")?;
                member.adopt(orders.borrow_and_update().clone());
            }
        }
    }
}

impl Member {
    fn adopt(&mut self, order: Order) {
        let called = order.call != self.order.call;
        if order.home != self.order.home {
            self.homing = true;
            self.plan_to_go_home();
        }
        let sooner = Instant::now() + self.jitter.within(&order.pause);
        self.order = order;
        if called {
            self.say_at = Instant::now();
        } else {
            self.say_at = self.say_at.min(sooner);
        }
    }

    fn home(&self) -> &str {
        let sockets = &self.shared.sockets;
        sockets
            .get(self.ledger.number % sockets.len())
            .map_or("", String::as_str)
    }

    fn plan_to_go_home(&mut self) {
        self.homing &= self.url != self.home();
        if self.homing && self.leaving.is_none() {
            self.leaving = Some(Leaving {
                at: Instant::now() + self.jitter.within(&GO_HOME),
                endpoints: vec![self.home().to_owned()],
                must: false,
            });
        }
    }

    /// When there is something to do.
    fn due(&self) -> Instant {
        let own = match &self.pending {
            Some(pending) => pending.send_at.unwrap_or(pending.news + SILENCE),
            None if self.order.silent => Instant::now() + LONG,
            None => self.say_at,
        };
        self.leaving.as_ref().map_or(own, |leaving| own.min(leaving.at))
    }

    /// Does what is due.
    async fn act(&mut self, chat: &mut Option<Chat>) -> Result<()> {
        let now = Instant::now();
        if self.leaving.as_ref().is_some_and(|leaving| leaving.at <= now) {
            return self.leave(chat).await;
        }
        if self.pending.is_none() && !self.order.silent && self.say_at <= now {
            let (id, text) = Ledger::message(self.ledger.number, self.ledger.sent);
            self.ledger.sent += 1;
            self.pending = Some(Pending {
                id,
                text,
                sent: now,
                said: None,
                send_at: Some(now),
                news: now,
            });
        }
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        match pending.send_at {
            Some(at) if at <= now => {
                let socket = chat.as_mut().context("it has a socket")?;
                socket.say(&pending.id, &pending.text).await?;
                (pending.send_at, pending.news) = (None, now);
                Ok(())
            }
            None if pending.news + SILENCE <= now => {
                let (number, id) = (self.ledger.number, &pending.id);
                self.shared
                    .remark(|| format!("member {number} heard nothing about {id} for {SILENCE:?}"));
                anyhow::bail!("silence")
            }
            _ => Ok(()),
        }
    }

    /// Opens a socket elsewhere while the old one still serves, and changes over.
    async fn leave(&mut self, chat: &mut Option<Chat>) -> Result<()> {
        let Some(leaving) = self.leaving.take() else {
            return Ok(());
        };
        for endpoint in &leaving.endpoints {
            if let Ok(next) = self.hello(endpoint).await {
                *chat = Some(next);
                self.shared.counts.moved_house.fetch_add(1, Ordering::Relaxed);
                self.resend_unless_said();
                self.plan_to_go_home();
                return Ok(());
            }
        }
        let (number, endpoints) = (self.ledger.number, &leaving.endpoints);
        if !leaving.must {
            self.plan_to_go_home();
            return Ok(());
        }
        self.shared
            .remark(|| format!("member {number} was sent to {endpoints:?}, and none took it"));
        anyhow::bail!("nowhere to go")
    }

    fn resend_unless_said(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.news = Instant::now();
            if pending.said.is_none() {
                pending.send_at = Some(Instant::now());
            }
        }
    }

    fn lose_socket(&mut self) {
        self.shared.counts.lost_sockets.fetch_add(1, Ordering::Relaxed);
        self.leaving = None;
        let mut seen = lock(&self.seen);
        seen.whereabouts.gateway.clear();
        seen.whereabouts.home = false;
    }

    /// Connects to some gateway, and resumes.
    async fn connect(&mut self, orders: &mut watch::Receiver<Order>) -> Result<Chat> {
        let first = self.ledger.session.is_empty();
        let mut at = Instant::now();
        if !first {
            at += self.jitter.within(&self.order.reconnect);
            self.next_socket += 1;
        }
        loop {
            tokio::select! {
                () = sleep_until(at) => {}
                changed = orders.changed() => {
                    changed.context("whoever led the crowd is gone")?;
                    self.adopt(orders.borrow_and_update().clone());
                    at = at.min(Instant::now() + self.jitter.within(&self.order.reconnect));
                    continue;
                }
            }
            let sockets = &self.shared.sockets;
            let url = sockets
                .get(self.next_socket % sockets.len())
                .context("there are sockets")?
                .clone();
            match self.hello(&url).await {
                Ok(chat) => {
                    self.resend_unless_said();
                    self.plan_to_go_home();
                    return Ok(chat);
                }
                Err(error) => {
                    let number = self.ledger.number;
                    self.shared
                        .remark(|| format!("member {number} was refused at {url}: {error:#}"));
                    self.next_socket += 1;
                    at = Instant::now() + self.jitter.within(&REFUSED);
                }
            }
        }
    }

    async fn hello(&mut self, url: &str) -> Result<Chat> {
        let session = (!self.ledger.session.is_empty()).then(|| self.ledger.session.clone());
        let after = session.as_ref().map(|_| self.ledger.last_seq);
        let (chat, welcome) = Chat::hello(url, &self.shared.token, session.as_deref(), after).await?;
        let text = |key: &str| welcome[key].as_str().unwrap_or_default().to_owned();
        self.ledger.session = text("session");
        url.clone_into(&mut self.url);
        self.note_owner(text("node"), text("owner"), welcome["epoch"].as_u64(), true);
        Ok(chat)
    }

    fn note_owner(&mut self, gateway: String, owner: String, epoch: Option<u64>, fresh: bool) {
        let epoch = epoch.unwrap_or_default();
        lock(&self.shared.sightings).push(Sighting {
            by: self.ledger.number,
            fresh,
            subject: self.ledger.session.clone(),
            owner: owner.clone(),
            epoch,
        });
        self.owner = (owner.clone(), epoch);
        let home = self.url == self.home();
        let mut seen = lock(&self.seen);
        let place = &mut seen.whereabouts;
        place.session.clone_from(&self.ledger.session);
        place.home = home;
        (place.gateway, place.owner, place.epoch) = (gateway, owner, epoch);
    }

    /// Takes in one frame.
    fn take(&mut self, frame: &Value) {
        match News::of(frame) {
            News::Entry(entry) => {
                if self.ledger.take(&entry) == Told::New || !entry.reply {
                    self.note_answer(&entry.about, entry.reply);
                }
            }
            News::Moved { owner, epoch } => {
                let gateway = lock(&self.seen).whereabouts.gateway.clone();
                self.note_owner(gateway, owner, Some(epoch), false);
            }
            News::Draining { endpoints } => {
                self.leaving = Some(Leaving {
                    at: Instant::now() + self.jitter.within(&LEAVE),
                    endpoints,
                    must: true,
                });
            }
            News::Refused(refusal) => self.note_refusal(&refusal, frame),
            News::Other => {}
        }
    }

    fn note_answer(&mut self, about: &str, reply: bool) {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.id == about) else {
            return;
        };
        let now = Instant::now();
        (pending.news, pending.send_at) = (now, None);
        if !reply {
            pending.said.get_or_insert((now, self.owner.1));
            return;
        }
        let (sent, said) = (pending.sent, pending.said);
        self.pending = None;
        self.say_at = now + self.jitter.within(&self.order.pause);
        self.shared.counts.answered.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.reply_us).saturating_record((now - sent).as_micros() as u64);
        if self.order.record {
            let replied = (now, self.owner.1);
            lock(&self.seen).answers.push(Answer { sent, said, replied });
        }
    }

    fn note_refusal(&mut self, refusal: &Refusal, frame: &Value) {
        let counts = &self.shared.counts;
        let count = if refusal.is_unavailable() {
            &counts.unavailable
        } else {
            &counts.errors
        };
        count.fetch_add(1, Ordering::Relaxed);
        let number = self.ledger.number;
        self.shared.remark(|| format!("member {number} was told {frame}"));
        if let Some(pending) = self.pending.as_mut()
            && refusal.id.as_ref().is_none_or(|id| *id == pending.id)
            && pending.said.is_none()
        {
            pending.send_at = Some(Instant::now() + refusal.retry_after.unwrap_or(TRY_AGAIN));
        }
    }
}
