//! Thousands of sessions that are alive: sockets over all nodes, each saying something now and then.
//!
//! - [`member`]: one client with one session: talks, waits, moves house, reconnects.
//! - [`ledger`]: what it was told, checked as it comes and kept small.
//! - [`answers`]: when what was asked was answered, and by whom.
//! - [`jitter`]: seeded, so that two runs ask alike.
pub mod answers;
mod check;
pub mod jitter;
mod ledger;
mod member;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub use self::answers::Answer;
use crate::about::Busy;
use crate::bench::{Latency, Usage, microseconds};
use crate::cluster::Cluster;
use crate::laws::Broken;
use crate::laws::one_owner::Sighting;

/// How many sockets are opened at once in the beginning.
const OPENING: usize = 64;
/// How long the sockets may take to open, or the last replies to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a member is to talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Pause after an answer, drawn anew each time.
    pub pause: Range<Duration>,
    /// Keeps a record of every answer.
    pub record: bool,
    /// Counts the calls to say something in this very moment: another number than before is a call.
    pub call: u64,
    /// Counts the calls to go back to the gateway that it began with: another number than before is a call.
    pub home: u64,
    /// How long after a loss it may take to connect again, drawn anew each time.
    pub reconnect: Range<Duration>,
    /// Says nothing more.
    pub silent: bool,
    /// Ends once its last message is answered.
    pub end: bool,
}

impl Order {
    /// Talks now and then, as people do.
    pub fn chat(pause: Range<Duration>) -> Self {
        Self {
            pause,
            record: false,
            call: 0,
            home: 0,
            reconnect: Duration::from_millis(20)..Duration::from_millis(1_000),
            silent: false,
            end: false,
        }
    }

    /// Asks again soon after each answer, and writes down when it was answered.
    pub fn probe(pause: Range<Duration>) -> Self {
        Self {
            record: true,
            reconnect: Duration::from_millis(1)..Duration::from_millis(20),
            ..Self::chat(pause)
        }
    }
}

/// Where a member and its session are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The session.
    pub session: String,
    /// Whether it has the gateway that it began with.
    pub home: bool,
    /// Whose socket it has; empty while it has none.
    pub gateway: String,
    /// Who owns the session.
    pub owner: String,
    /// Since which epoch.
    pub epoch: u64,
}

/// Counts over all members.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages answered.
    pub answered: AtomicU64,
    /// `unavailable` errors.
    pub unavailable: AtomicU64,
    /// Other errors.
    pub errors: AtomicU64,
    /// Sockets lost without a word.
    pub lost_sockets: AtomicU64,
    /// Sockets left because they were told to.
    pub moved_house: AtomicU64,
}

/// What the members share with whoever leads them.
pub(crate) struct Shared {
    sockets: Vec<String>,
    token: String,
    pub(crate) counts: Counts,
    pub(crate) reply_us: Mutex<Histogram<u64>>,
    pub(crate) sightings: Mutex<Vec<Sighting>>,
    pub(crate) remarks: Mutex<Vec<String>>,
}

/// Remarks that are kept: the first ones tell the most.
const MOST_REMARKS: usize = 50;

impl Shared {
    /// Notes something that a person should read.
    pub(crate) fn remark(&self, what: impl FnOnce() -> String) {
        let mut remarks = lock(&self.remarks);
        if remarks.len() < MOST_REMARKS {
            remarks.push(what());
        }
    }
}

/// One member, as its leader sees it.
pub struct Handle {
    order: watch::Sender<Order>,
    seen: Arc<Mutex<Seen>>,
}

/// What a member shows.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) whereabouts: Whereabouts,
    pub(crate) answers: Vec<Answer>,
}

impl Handle {
    /// Where it is.
    pub fn whereabouts(&self) -> Whereabouts {
        lock(&self.seen).whereabouts.clone()
    }

    /// Takes what was recorded.
    pub fn take_answers(&self) -> Vec<Answer> {
        std::mem::take(&mut lock(&self.seen).answers)
    }

    /// Looks at what was recorded.
    pub fn with_answers<T>(&self, look: impl FnOnce(&[Answer]) -> T) -> T {
        look(&lock(&self.seen).answers)
    }

    /// Gives an order; the calls of earlier ones stay as they are.
    pub fn order(&self, order: Order) {
        self.order.send_if_modified(|now| {
            let order = Order {
                call: now.call,
                home: now.home,
                ..order
            };
            let changed = *now != order;
            *now = order;
            changed
        });
    }

    /// Changes the order.
    pub fn change(&self, change: impl FnOnce(&mut Order)) {
        self.order.send_modify(change);
    }
}

/// The load of a while.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Answers, and how soon: from `say` to `reply`.
    pub reply: Latency,
    /// Share of all cores that was busy, in per cent: nodes and clients are on the same machine.
    pub machine_busy_percent: f64,
    /// Of one core, what the clients took: they are this very process.
    pub clients_cpu_percent: f64,
}

/// All members.
pub struct Crowd {
    /// Each of them.
    pub members: Vec<Handle>,
    shared: Arc<Shared>,
    tasks: JoinSet<Result<ledger::Ledger>>,
}

impl Crowd {
    /// Opens `count` sockets over all nodes, each with a session of its own; all follow `order`.
    ///
    /// # Errors
    /// Where they do not all open.
    pub async fn gather(cluster: &Cluster, count: usize, order: &Order) -> Result<Self> {
        let shared = Arc::new(Shared {
            sockets: cluster.sockets(),
            token: cluster.token.clone(),
            counts: Counts::default(),
            reply_us: Mutex::new(microseconds()?),
            sightings: Mutex::default(),
            remarks: Mutex::default(),
        });
        let mut crowd = Self {
            members: Vec::with_capacity(count),
            shared,
            tasks: JoinSet::new(),
        };
        for number in 0..count {
            crowd.until(|crowd| crowd.connected() + OPENING > number).await?;
            crowd.add(number, order.clone());
        }
        crowd.until(|crowd| crowd.connected() == count).await?;
        Ok(crowd)
    }

    fn add(&mut self, number: usize, order: Order) {
        let (sender, receiver) = watch::channel(order);
        let seen = Arc::new(Mutex::new(Seen::default()));
        self.members.push(Handle {
            order: sender,
            seen: Arc::clone(&seen),
        });
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(member::live(number, shared, receiver, seen));
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) -> Result<()> {
        let started = Instant::now();
        while !what(self) {
            ensure!(
                started.elapsed() < PATIENCE,
                "only {} sockets are open, and not all where they belong: {:?}",
                self.connected(),
                lock(&self.shared.remarks)
            );
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// How many have a socket.
    pub fn connected(&self) -> usize {
        let connected = |member: &&Handle| !lock(&member.seen).whereabouts.gateway.is_empty();
        self.members.iter().filter(connected).count()
    }

    /// Calls all back to the gateways that they began with: after faults they would all be where no fault was yet.
    ///
    /// # Errors
    /// Where they do not get there.
    pub async fn go_home(&self) -> Result<()> {
        self.members
            .iter()
            .for_each(|member| member.change(|order| order.home += 1));
        self.until(|crowd| {
            crowd
                .members
                .iter()
                .all(|member| lock(&member.seen).whereabouts.home)
        })
        .await
    }

    /// Gives all the same order.
    pub fn order_all(&self, order: &Order) {
        self.members.iter().for_each(|member| member.order(order.clone()));
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.counts.answered.load(Ordering::Relaxed)
    }

    /// Counts so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What a person should read.
    pub fn remarks(&self) -> Vec<String> {
        lock(&self.shared.remarks).clone()
    }

    /// What members were told about owners, for the law of one owner.
    pub fn sightings(&self) -> Vec<Sighting> {
        lock(&self.shared.sightings).clone()
    }

    /// Watches the load for a while.
    ///
    /// # Errors
    /// Where `/proc/stat` does not tell.
    pub async fn load(&self, lasting: Duration) -> Result<Load> {
        lock(&self.shared.reply_us).reset();
        let (before, started) = (Busy::read()?, Instant::now());
        let own = Usage::of(std::process::id())?;
        sleep(lasting).await;
        let busy = Busy::read()?.percent_since(before);
        let own = Usage::of(std::process::id())?.cpu_percent_since(&own, started.elapsed());
        Ok(Load {
            reply: Latency::of(&lock(&self.shared.reply_us), started.elapsed()),
            machine_busy_percent: busy,
            clients_cpu_percent: own,
        })
    }

    /// Lets all end once their last message is answered, and checks every transcript against what its member was told:
    /// all of them on one node, and `sample` of them on every node.
    ///
    /// # Errors
    /// Where a member did not come to an end, or a node does not answer.
    pub async fn end(mut self, cluster: &Cluster, sample: usize) -> Result<Vec<Broken>> {
        for member in &self.members {
            member.change(|order| (order.silent, order.end) = (true, true));
        }
        let mut ledgers = Vec::with_capacity(self.members.len());
        while let Some(ledger) = tokio::time::timeout(PATIENCE, self.tasks.join_next())
            .await
            .with_context(|| format!("members did not end: {:?}", lock(&self.shared.remarks)))?
        {
            ledgers.push(ledger.context("a member panicked")??);
        }
        let mut broken = check::all(cluster, ledgers, sample).await?;
        broken.extend(crate::laws::one_owner::check(&self.sightings()));
        Ok(broken)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
