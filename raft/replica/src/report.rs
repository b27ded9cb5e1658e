//! Reports between members: each tells every other of its disk, and hears its wall clock and how much of the log this node has
//! acknowledged as far as the other knows.
//!
//! ```text
//!  member ── Report: disk, wall clock, "my disk is an older copy" ──► member
//!         ◄── Answer: wall clock, log mark, what `status` says ──────
//! ```
//!
//! A voter whose disk was put back to an older copy has forgotten what others count on. It finds that out by itself: before it
//! exchanges a word of Raft with a peer, in each of its lives, it compares the end of its log with the mark that the peer has
//! of it. One that is behind its mark says so to everyone, takes no part, and ends.
//!
//! Members of an earlier build know none of this: with them Raft is spoken as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jarvis_machine::level::MARKS_LEVEL;
use jarvis_machine::query::Query;
use jarvis_machine::rows::LogMark;
use jarvis_mesh::api::{CallError, Lane};
use jarvis_types::{NodeId, codec};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::ReplicaState;
use crate::cluster_time::ClusterTime;
use crate::log::{LogStore, SyncMeter, SyncTime};
use crate::notes::Note;
use crate::replica::lock;
use crate::simulated::Bite;
use crate::state::StateShared;
use crate::transport::{Transport, orders, services};
use crate::types::RPC_VERSION;

/// Between two reports to a member that answers.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// First and longest pause before a member that did not answer is tried again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A member that is well answers at once.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a word of Raft waits until the logs have been compared.
const COMPARE_PATIENCE: Duration = Duration::from_millis(200);

/// Notes are not passed on for longer than this: who told them may lead no more.
pub(crate) const NOTES_GOOD_FOR: Duration = Duration::from_secs(15);

/// The end of a log as it crosses the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LogEnd {
    term: u64,
    index: u64,
}

impl From<LogMark> for LogEnd {
    fn from(LogMark { term, index }: LogMark) -> Self {
        Self { term, index }
    }
}

impl From<LogEnd> for LogMark {
    fn from(LogEnd { term, index }: LogEnd) -> Self {
        Self { term, index }
    }
}

/// How a member is.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    wall_ms: u64,
    sync: SyncTime,
    /// The end of its log and the mark that it is behind, where its disk is an older copy.
    reverted: Option<(LogEnd, LogEnd)>,
}

/// What it hears.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    wall_ms: u64,
    mark: Option<LogEnd>,
    notes: Vec<Note>,
}

/// A voter's disk that was put back to an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reverted {
    /// The end of its log.
    pub(crate) end: LogMark,
    /// What it had acknowledged.
    pub(crate) mark: LogMark,
}

impl std::fmt::Display for Reverted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { end, mark } = self;
        write!(
            f,
            "its log ends at entry {} of term {}, and it had acknowledged entry {} of term {}",
            end.index, end.term, mark.index, mark.term
        )
    }
}

/// What a node heard last from its leader, and when.
pub(crate) type Heard = Arc<Mutex<Option<(Instant, Vec<Note>)>>>;

/// With whom this node has compared logs in this life.
#[derive(Debug, Default)]
struct Compared {
    with: BTreeSet<NodeId>,
    /// With whom a word of Raft waits for it, or has waited.
    wanted: BTreeSet<NodeId>,
    reverted: Option<Reverted>,
}

/// Keeps a node from taking part on a disk that is an older copy. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogCheck(watch::Sender<Compared>);

impl LogCheck {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Compared::default()))
    }

    /// Waits a little until the logs have been compared with `peer`; false: not a word of Raft with it.
    pub(crate) async fn passes(&self, peer: NodeId) -> bool {
        let mut now = self.0.subscribe();
        let known = |compared: &Compared| compared.reverted.is_some() || compared.with.contains(&peer);
        if !known(&now.borrow_and_update()) {
            // Every time: a peer that could not be reached before may be there.
            self.0.send_modify(|compared| {
                compared.wanted.insert(peer);
            });
            // Whether it came in time shows below.
            let _ = tokio::time::timeout(COMPARE_PATIENCE, now.wait_for(known)).await;
        }
        let compared = self.0.borrow();
        compared.reverted.is_none() && compared.with.contains(&peer)
    }

    /// Completes when this node's disk was found to be an older copy.
    pub(crate) async fn reverted(&self) -> Reverted {
        let mut now = self.0.subscribe();
        loop {
            if let Some(reverted) = now.borrow_and_update().reverted {
                return reverted;
            }
            if now.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the log was compared with anybody's mark, and is not behind it.
    pub(crate) fn is_passed(&self) -> bool {
        let compared = self.0.borrow();
        compared.reverted.is_none() && !compared.with.is_empty()
    }

    /// Whether this node's disk was found to be an older copy.
    pub(crate) fn is_reverted(&self) -> bool {
        self.found().is_some()
    }

    fn found(&self) -> Option<Reverted> {
        self.0.borrow().reverted
    }

    /// Once for each peer: a disk is not put back under a node that runs, and while a snapshot is taken over the log may end
    /// before what was acknowledged.
    fn compare(&self, peer: NodeId, end: LogMark, mark: Option<LogMark>) {
        self.0.send_if_modified(|compared| match mark {
            _ if compared.with.contains(&peer) => false,
            Some(mark) if mark.term > end.term || mark.index > end.index => {
                let first = compared.reverted.is_none();
                compared.reverted.get_or_insert(Reverted { end, mark });
                first
            }
            _ => compared.with.insert(peer),
        });
    }
}

/// The reporting side.
pub(crate) struct Reporter {
    pub(crate) node: NodeId,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) state: watch::Receiver<ReplicaState>,
    pub(crate) shared: Arc<StateShared>,
    pub(crate) time: Arc<ClusterTime>,
    pub(crate) check: LogCheck,
    pub(crate) own_disk: SyncMeter,
    pub(crate) log: LogStore,
    pub(crate) heard: Heard,
}

/// When a member is told next, unless it is being told.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    tried: Option<Instant>,
    pause: Duration,
    under_way: bool,
}

impl Due {
    fn new(at: Instant) -> Self {
        Self {
            at,
            tried: None,
            pause: RETRY_MIN,
            under_way: false,
        }
    }

    /// It is to be told as soon as may be.
    fn hurry(&mut self, now: Instant) {
        let soonest = self.tried.map_or(now, |tried| now.max(tried + RETRY_MIN));
        self.at = self.at.min(soonest);
    }

    /// It was told, or not reached.
    fn ended(&mut self, reached: bool, now: Instant) {
        let pause = if reached { REPORT_EVERY } else { self.pause };
        self.pause = if reached {
            RETRY_MIN
        } else {
            (pause * 2).min(RETRY_MAX)
        };
        (self.at, self.tried, self.under_way) = (now + pause, Some(now), false);
    }
}

impl Reporter {
    /// Until the replica ends.
    pub(crate) async fn run(self) {
        let mut check = self.check.0.subscribe();
        let mut state = self.state.clone();
        let mut due: BTreeMap<NodeId, Due> = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        let mut leader = None;
        loop {
            let now = Instant::now();
            let peers = self.peers(&check.borrow_and_update().wanted);
            due.retain(|peer, due| due.under_way || peers.contains(peer));
            let leads = state.borrow_and_update().leader;
            if leads != leader {
                leader = leads;
                // What the one before told is no longer its to tell.
                *lock(&self.heard) = None;
                if let Some(due) = leader.and_then(|leader| due.get_mut(&leader)) {
                    due.hurry(now);
                }
            }
            for peer in peers {
                let entry = due.entry(peer).or_insert(Due::new(now));
                if !entry.under_way && entry.at <= now {
                    entry.under_way = true;
                    under_way.push(self.report(peer));
                }
            }
            let next = due.values().filter(|due| !due.under_way).map(|due| due.at).min();
            let asleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let other_leader = state.wait_for(|state| state.leader != leader);
            tokio::select! {
                Some((peer, answered)) = under_way.next(), if !under_way.is_empty() => {
                    let reached = self.take(peer, answered, leader);
                    let now = Instant::now();
                    due.entry(peer).or_insert(Due::new(now)).ended(reached, now);
                    if self.check.is_reverted() {
                        // Everyone is to know, whoever was told before it was found.
                        due.values_mut().for_each(|due| due.hurry(now));
                    }
                }
                () = asleep => {}
                other = other_leader => if other.is_err() { return },
                changed = check.changed() => {
                    if changed.is_err() { return }
                    let now = Instant::now();
                    let compared = check.borrow();
                    for (peer, due) in &mut due {
                        // Who speaks first is compared with at once.
                        if compared.wanted.contains(peer) && !compared.with.contains(peer) {
                            due.hurry(now);
                        }
                    }
                }
            }
        }
    }

    /// All members that are known of here, and who has spoken first.
    fn peers(&self, wanted: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let mut peers = wanted.clone();
        {
            let state = self.state.borrow();
            peers.extend(state.voters.iter().chain(&state.learners));
        }
        let nodes = self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).nodes());
        peers.extend(nodes.unwrap_or_default().iter().map(|(node, _)| *node));
        peers.remove(&self.node);
        peers
    }

    async fn report(&self, peer: NodeId) -> (NodeId, Result<(Answer, Duration), CallError>) {
        let report = Report {
            wall_ms: self.time.own_ms(),
            sync: self.own_disk.read(),
            reverted: self
                .check
                .found()
                .map(|found| (found.end.into(), found.mark.into())),
        };
        let body = codec::encode_serde(RPC_VERSION, &report).expect("a report is small");
        let sent = Instant::now();
        let call = self.transport.call(
            peer,
            Lane::Raft,
            services::REPORT,
            orders::READ,
            Bytes::from(body),
            REPORT_TIMEOUT,
        );
        let answered = call.await.and_then(|body| {
            let answer: Answer =
                codec::decode_serde(RPC_VERSION, &body).map_err(|error| CallError::Refused {
                    node: peer,
                    message: error.to_string(),
                })?;
            Ok((answer, sent.elapsed()))
        });
        (peer, answered)
    }

    /// Takes an answer; false where there is none.
    fn take(
        &self,
        peer: NodeId,
        answered: Result<(Answer, Duration), CallError>,
        leader: Option<NodeId>,
    ) -> bool {
        match answered {
            Ok((answer, took)) => {
                let half_ms = u64::try_from(took.as_millis() / 2).unwrap_or(0);
                let now = Instant::now();
                self.time.note(peer, answer.wall_ms.saturating_add(half_ms), now);
                // After the answer: what this node acknowledged meanwhile stands in its log by now.
                let asks = self.shared.store.bite() != Some(Bite::LogMarkNotAsked);
                let mark = answer.mark.filter(|_| asks).map(LogMark::from);
                self.check.compare(peer, self.log.end(), mark);
                if leader == Some(peer) {
                    *lock(&self.heard) = Some((now, answer.notes));
                }
                true
            }
            Err(CallError::Refused { message, .. }) if self.is_of_an_earlier_build(peer) => {
                tracing::debug!(%peer, message, "the peer takes no reports");
                self.check.compare(peer, self.log.end(), None);
                true
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "the peer was not reported to");
                false
            }
        }
    }

    /// Whether a member's build knows no marks, or nothing is known of it; or there are none.
    fn is_of_an_earlier_build(&self, peer: NodeId) -> bool {
        if self.shared.level() < MARKS_LEVEL {
            return true;
        }
        let row = self
            .shared
            .store
            .read()
            .and_then(|tables| Query(&*tables).node(peer));
        row.is_ok_and(|row| row.is_none_or(|row| row.level < MARKS_LEVEL))
    }
}

/// A report as it is taken by whom it is sent to.
pub(crate) struct Taken {
    pub(crate) sync: SyncTime,
    pub(crate) reverted: Option<Reverted>,
}

/// Reads a report.
///
/// # Errors
/// Where it does not decode.
pub(crate) fn read(body: &[u8]) -> Result<Taken, codec::CodecError> {
    let report: Report = codec::decode_serde(RPC_VERSION, body)?;
    let reverted = report.reverted.map(|(end, mark)| Reverted {
        end: end.into(),
        mark: mark.into(),
    });
    Ok(Taken {
        sync: report.sync,
        reverted,
    })
}

/// The answer to a report.
///
/// # Errors
/// Where the notes are too many for a message.
pub(crate) fn answer(
    wall_ms: u64,
    mark: Option<LogMark>,
    notes: Vec<Note>,
) -> Result<Vec<u8>, codec::CodecError> {
    let answer = Answer {
        wall_ms,
        mark: mark.map(LogEnd::from),
        notes,
    };
    codec::encode_serde(RPC_VERSION, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    #[tokio::test(start_paused = true)]
    async fn no_word_of_raft_before_logs_were_compared_nor_with_an_older_copy() {
        let end = LogMark { term: 3, index: 100 };
        let check = LogCheck::new();
        assert!(!check.passes(PEER).await, "not compared yet");
        assert!(check.0.borrow().wanted.contains(&PEER), "it is asked for");
        let comes = async {
            tokio::task::yield_now().await;
            check.compare(PEER, end, Some(end));
        };
        let (passes, ()) = tokio::join!(check.passes(PEER), comes);
        assert!(passes, "as far as it had acknowledged");
        check.compare(NodeId(3), end, None);
        assert!(check.passes(NodeId(3)).await, "nobody has a mark of it");
        let later = LogMark { term: 9, index: 900 };
        check.compare(PEER, end, Some(later));
        assert!(
            check.passes(PEER).await,
            "no disk is put back under a node that runs"
        );
        for mark in [LogMark { term: 3, index: 101 }, LogMark { term: 4, index: 9 }] {
            let check = LogCheck::new();
            check.compare(PEER, end, None);
            check.compare(NodeId(3), end, Some(mark));
            assert_eq!(check.reverted().await, Reverted { end, mark });
            assert!(!check.passes(PEER).await, "with nobody");
        }
    }
}
