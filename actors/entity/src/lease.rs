//! Leases of acting: a node acts on the world only while the leader says that it may, and nobody else may.
//!
//! ```text
//!   every node: Leases::run ── Asked(applied) ──► leader's Grantor ── Granted(length, past) ──► Holder
//!                    ▲                                                                            │
//!   Follower ── placement as applied here                      Cx::may_act, Cx::permit ◄──────────┘
//! ```
//!
//! An entity of a kind that acts may do so while its node's lease runs and `past` has reached the index at which its
//! ownership was applied here. [`grantor`] says why that excludes every other node; [`holder`] keeps the time.

mod acts;
mod grantor;
mod holder;
#[cfg(test)]
mod schedule_tests;
mod terms;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jarvis_host::Clock;
use jarvis_machine::rows::NodeRole;
use jarvis_mesh::api::{Call, Lane, Mesh};
use jarvis_replica::api::{ReadError, Replica};
use jarvis_replica::simulated::Bite;
use jarvis_types::{Epoch, KindId, NodeId, PartitionIndex};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub use self::acts::Permit;
pub use self::grantor::Report;
pub use self::terms::LeaseSettings;

use self::acts::Acts;
use self::grantor::{Asked, Decision, Grantor, Members, Standing};
use self::holder::{Holder, full_length};
use self::terms::Moment;
use self::wire::SERVICE_RENEW;
use crate::metrics;
use crate::placement::Moved;

/// First wait before asking again for what could not be granted yet; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_millis(4);
/// Longest such wait: what a new owner loses at most beyond what it must wait for.
const MAX_RETRY: Duration = Duration::from_millis(25);

/// What makes a placement of this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenure {
    epoch: Epoch,
    /// Index up to which the log was applied when the ownership was seen.
    since: u64,
}

type Tenures = BTreeMap<(KindId, PartitionIndex), Tenure>;

/// The leases of one node. Clones share them.
#[derive(Clone)]
pub struct Leases {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    mesh: Mesh,
    replica: Replica,
    clock: Arc<dyn Clock>,
    started: Instant,
    life: u64,
    settings: LeaseSettings,
    /// Kinds whose entities act.
    kinds: BTreeSet<KindId>,
    tenures: ArcSwap<Tenures>,
    acts: Acts,
    holder: Mutex<Holder>,
    grantor: Mutex<Grantor>,
    /// Whether the node has caught up with what was committed when it started.
    open: AtomicBool,
    let_go: AtomicBool,
    /// The placement has changed: ask at once.
    hurry: Notify,
    /// Changes when a lease or a placement may have made something permitted.
    news: watch::Sender<u64>,
}

/// When to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// When the lease needs to be renewed.
    Renewal,
    /// As soon as others may have caught up.
    Soon,
    /// When a connection or a majority may be back.
    Later,
}

impl Leases {
    pub(crate) fn new(
        mesh: Mesh,
        replica: Replica,
        clock: Arc<dyn Clock>,
        settings: LeaseSettings,
        kinds: BTreeSet<KindId>,
    ) -> Self {
        let leases = Self {
            inner: Arc::new(Inner {
                node: replica.node(),
                started: Instant::now(),
                life: clock.now_ms(),
                settings,
                kinds,
                tenures: ArcSwap::default(),
                acts: Acts::new(),
                holder: Mutex::default(),
                grantor: Mutex::new(Grantor::new(settings.length, &settings.lengths())),
                open: AtomicBool::new(false),
                let_go: AtomicBool::new(false),
                hurry: Notify::new(),
                news: watch::Sender::new(0),
                mesh,
                replica,
                clock,
            }),
        };
        let weak = Arc::downgrade(&leases.inner);
        let serve = move |call: Call| {
            let Some(inner) = weak.upgrade() else {
                return call.answer.refuse("the node is stopping");
            };
            let decision = Asked::decode(&call.body)
                .map_err(|error| error.to_string())
                .and_then(|asked| inner.decide(call.from, asked).map_err(|error| error.to_string()))
                .and_then(|decision| decision.encode().map_err(|error| error.to_string()));
            match decision {
                Ok(body) => call.answer.send(body),
                Err(error) => call.answer.refuse(error),
            }
        };
        leases.inner.mesh.serve(SERVICE_RENEW, Arc::new(serve));
        leases
    }

    /// Asks the leader for leases, again and again. `follow` brings the placement up to date with the tables, and is called
    /// before each asking.
    pub(crate) async fn run(self, follow: impl Fn()) {
        let inner = &*self.inner;
        let mut state = inner.replica.state();
        let mut retry = MIN_RETRY;
        loop {
            let leader = state.borrow_and_update().leader;
            follow();
            let wait = match inner.renew(leader).await {
                Next::Renewal => inner.settings.renew_every(),
                Next::Soon => retry,
                Next::Later => inner.settings.renew_every() / 4,
            };
            retry = (retry * 2).min(MAX_RETRY);
            let other_leader = async {
                while state.changed().await.is_ok() {
                    if state.borrow().leader != leader {
                        return;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                () = inner.hurry.notified() => retry = MIN_RETRY,
                () = other_leader => retry = MIN_RETRY,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The node has caught up: it may hold leases.
    pub(crate) fn open(&self) {
        self.inner.open.store(true, Ordering::Release);
        self.inner.hurry.notify_one();
    }

    /// The placement is applied up to `index`; `moved` is what changed.
    pub(crate) fn follow(&self, index: u64, moved: &[Moved]) {
        let inner = &*self.inner;
        let acting: Vec<&Moved> = (moved.iter())
            .filter(|moved| inner.kinds.contains(&moved.kind))
            .collect();
        if !acting.is_empty() {
            let mut tenures = Tenures::clone(&inner.tenures.load());
            for moved in &acting {
                let place = (moved.kind, moved.partition);
                let (epoch, since) = (moved.now.epoch, index);
                if moved.now.owner != Some(inner.node) {
                    tenures.remove(&place);
                } else if tenures.get(&place).is_none_or(|tenure| tenure.epoch != epoch) {
                    tenures.insert(place, Tenure { epoch, since });
                }
            }
            inner.tenures.store(Arc::new(tenures));
        }
        // After the table: whoever begins to act now sees what is no longer its own.
        inner.acts.applied(index, !acting.is_empty());
        if !acting.is_empty() {
            inner.news.send_modify(|news| *news += 1);
            inner.hurry.notify_one();
        }
    }

    /// Whether the owner in `epoch` of the partition may act for `takes` from this moment.
    pub(crate) fn permits(
        &self,
        kind: KindId,
        partition: PartitionIndex,
        epoch: Epoch,
        takes: Duration,
    ) -> bool {
        let inner = &*self.inner;
        let tenure = inner.tenures.load().get(&(kind, partition)).copied();
        let Some(tenure) = tenure.filter(|tenure| tenure.epoch == epoch) else {
            return false;
        };
        // The time last: whatever comes between looking at it and acting makes an act that much later.
        let holder = inner.holder();
        let now = inner.now();
        match inner.replica.bite() {
            Some(Bite::LeaseNotWaitedOut) => holder.runs(now, takes),
            Some(Bite::LeaseNotAsked) => tenure.since <= holder.past(),
            _ => tenure.since <= holder.past() && holder.runs(now, takes),
        }
    }

    /// Permission to act for at most `takes`, to be held meanwhile.
    pub(crate) fn permit(
        &self,
        kind: KindId,
        partition: PartitionIndex,
        epoch: Epoch,
        takes: Duration,
    ) -> Option<Permit> {
        // Begun first: a placement that changes from here on waits for it.
        let permit = self.inner.acts.begin();
        self.permits(kind, partition, epoch, takes).then_some(permit)
    }

    /// Changes whenever something may have become permitted.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// What the nodes said of themselves when they last asked this one for a lease; empty where it does not lead.
    pub fn reports(&self) -> BTreeMap<NodeId, Report> {
        self.inner.grantor().reports()
    }

    /// How long ago a report was made.
    pub fn age(&self, report: &Report) -> Duration {
        self.inner.started.elapsed().saturating_sub(report.at)
    }

    /// Stops acting for the rest of this node's life, and tells the leader, so that nobody waits for this lease to end.
    /// What is being done has to end first.
    pub async fn let_go(&self) {
        let inner = &*self.inner;
        inner.let_go.store(true, Ordering::Release);
        inner.holder().let_go();
        // Whatever was begun before holds an era: this one ends here, and the word is given when none is held.
        inner.acts.applied(0, true);
        let wait = async {
            while inner.acts.busy() {
                tokio::time::sleep(MIN_RETRY).await;
            }
        };
        if tokio::time::timeout(inner.settings.renew_every(), wait)
            .await
            .is_err()
        {
            return;
        }
        let leader = inner.replica.state().borrow().leader;
        if let Some(leader) = leader {
            let _ = inner.ask(leader, inner.asked()).await;
        }
    }
}

impl Inner {
    fn now(&self) -> Moment {
        Moment {
            mono: self.started.elapsed(),
            wall_ms: self.clock.now_ms(),
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            applied: self.acts.settled(),
            life: self.life,
            lets_go: self.let_go.load(Ordering::Acquire),
        }
    }

    /// Asks once.
    async fn renew(&self, leader: Option<NodeId>) -> Next {
        self.look();
        let Some(leader) = leader.filter(|_| self.open.load(Ordering::Acquire)) else {
            // Who leads, or that the node has caught up, will be news.
            return Next::Renewal;
        };
        if self.let_go.load(Ordering::Acquire) {
            return Next::Renewal;
        }
        // Who leads in a term was elected before anybody knows of it.
        let term = {
            let state = self.replica.state();
            let now = state.borrow();
            (now.leader == Some(leader)).then_some(now.term)
        };
        let sent = self.now();
        let decision = self.ask(leader, self.asked()).await;
        ::metrics::counter!(metrics::RENEWALS, "outcome" => outcome(&decision)).increment(1);
        match decision {
            Ok(Decision::Granted { length, past }) => {
                let heard = self.now();
                let mut holder = self.holder();
                let lengths = self.settings.lengths();
                if term.is_some_and(|term| holder.granted_in(term, length, heard.mono))
                    && full_length(length, &lengths) != Some(self.settings.length)
                {
                    tracing::warn!(
                        %leader, granted = ?length, own = ?self.settings.length,
                        "the leader has another profile than this node: set the same [mesh] profile on all nodes"
                    );
                }
                if !self.let_go.load(Ordering::Acquire) {
                    holder.granted(sent, length, past);
                }
                drop(holder);
                self.news.send_modify(|news| *news += 1);
                if self.tenures.load().values().all(|tenure| tenure.since <= past) {
                    Next::Renewal
                } else {
                    Next::Soon
                }
            }
            Ok(Decision::Behind { .. } | Decision::NotLeading) => Next::Soon,
            // A majority will be heard of again, or another will lead; nothing is hurried by asking more often.
            Ok(Decision::Stranger | Decision::Wait) => Next::Later,
            Err(error) => {
                tracing::debug!(%leader, error, "the lease was not renewed");
                Next::Later
            }
        }
    }

    async fn ask(&self, leader: NodeId, asked: Asked) -> Result<Decision, String> {
        if leader == self.node {
            return self.decide(self.node, asked).map_err(|error| error.to_string());
        }
        let body = asked.encode().map_err(|error| error.to_string())?;
        let timeout = self.settings.renew_every();
        let answer = self
            .mesh
            .call(leader, Lane::Control, SERVICE_RENEW, 0, body, timeout);
        let answer = answer.await.map_err(|error| error.to_string())?;
        Decision::decode(&answer).map_err(|error| error.to_string())
    }

    /// The leader's side.
    fn decide(&self, from: NodeId, asked: Asked) -> Result<Decision, ReadError> {
        let members = self.members()?;
        let standing = self.standing();
        let now = self.now();
        let decision = self.grantor().ask(now, standing, &members, from, asked);
        Ok(decision)
    }

    fn look(&self) {
        match self.members() {
            Ok(members) => {
                let now = self.now();
                self.grantor().look(now, &members);
            }
            Err(error) => tracing::error!(%error, "the members could not be read"),
        }
    }

    fn standing(&self) -> Option<Standing> {
        let leading = self.replica.leading()?;
        let quorum_acked = leading.quorum_acked_at?;
        let lengths = self.settings.lengths();
        let longest_before = (self.holder()).longest_before(leading.term, self.now().mono, &lengths);
        Some(Standing {
            longest_before,
            term: leading.term,
            quorum_acked: quorum_acked.saturating_duration_since(self.started),
            last_log: leading.last_log,
            applied: self.acts.settled(),
        })
    }

    fn members(&self) -> Result<Members, ReadError> {
        let view = self.replica.local()?;
        let query = view.query();
        let rows = query.nodes()?;
        // Ids are given out one after another and never again, so every id is a member's or a removed one's.
        let mut last = rows.iter().map(|(node, _)| node.0).max().unwrap_or(0);
        while query.is_removed(NodeId(last + 1))? {
            last += 1;
        }
        let all: BTreeSet<NodeId> = rows.iter().map(|(node, _)| *node).collect();
        let removed = (1..=last).map(NodeId).filter(|node| !all.contains(node));
        let present = rows.iter().filter(|(_, row)| row.role != NodeRole::Witness);
        Ok(Members {
            removed: removed.collect(),
            present: present.map(|(node, _)| *node).collect(),
        })
    }

    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grantor(&self) -> MutexGuard<'_, Grantor> {
        self.grantor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(decision: &Result<Decision, String>) -> &'static str {
    match decision {
        Ok(Decision::Granted { .. }) => "granted",
        Ok(Decision::Behind { .. }) => "behind",
        Ok(Decision::Wait) => "no_majority",
        Ok(Decision::NotLeading | Decision::Stranger) => "refused",
        Err(_) => "unreached",
    }
}
