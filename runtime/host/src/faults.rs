//! Faults put in on purpose: what a drill asks of a node, each with an end.
//!
//! ```text
//!  drill ── set(fault, how long) ──► Faults ◄── socket, log, clock, gateway: is there one that concerns me?
//!                                      │
//!                                      └── over by itself at its end, whoever set it may be dead by then
//! ```
//!
//! A value that is handed in, shared by its clones; where nothing is set, asking costs one load of an atomic. An end is
//! looked at whenever a fault is asked for, so that no task has to live for it to count.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Clock;

/// Most faults at a time: a drill needs one for each link and a few besides.
pub const MAX_FAULTS: usize = 64;

/// The longest that a fault may last: whoever set it may not be there to end it.
pub const MAX_FAULT_DURATION: Duration = Duration::from_secs(600);

/// Longest delay of a datagram; beyond it every connection is lost anyway.
pub const MAX_DELAY: Duration = Duration::from_secs(10);

/// Longest delay of a sync of the log.
pub const MAX_SYNC_DELAY: Duration = Duration::from_secs(30);

/// Furthest that a wall clock is moved, in milliseconds: a day.
pub const MAX_CLOCK_OFFSET_MS: i64 = 24 * 3_600 * 1_000;

const ACTIVE: &str = "jarvis_active_faults";
const BEGUN: &str = "jarvis_begun_faults_total";

/// Names one fault of one node, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FaultId(pub u64);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Datagrams to or from some peers are lost or late.
    Network(NetworkFault),
    /// The gateway takes nothing from its clients and tells them nothing, as behind a pulled cable.
    HttpCut,
    /// Each sync of the log takes this much longer.
    SlowDisk {
        /// How much.
        sync_delay: Duration,
    },
    /// The log's disk has no room left.
    FullDisk,
    /// The wall clock is wrong by this much.
    ClockOffset {
        /// Milliseconds; negative: it is behind.
        offset_ms: i64,
    },
}

/// What happens to datagrams. Loss and delay concern what is sent: set on both sides they concern both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkFault {
    /// Whom it concerns.
    pub peers: FaultyPeers,
    /// Nothing comes in.
    pub drop_in: bool,
    /// Nothing goes out.
    pub drop_out: bool,
    /// Of a hundred datagrams sent so many are lost.
    pub loss_percent: u8,
    /// All that is sent comes later by this.
    pub delay: Duration,
    /// And by up to this besides.
    pub jitter: Duration,
    /// Whether a datagram may overtake an earlier one.
    pub reorders: bool,
}

/// Whose datagrams a fault concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FaultyPeers {
    /// Everyone's.
    #[default]
    All,
    /// Those of these addresses.
    At(Vec<SocketAddr>),
}

impl FaultyPeers {
    fn include(&self, peer: SocketAddr) -> bool {
        match self {
            Self::All => true,
            Self::At(addresses) => {
                let peer = canonical(peer);
                addresses.iter().any(|address| canonical(*address) == peer)
            }
        }
    }
}

/// A socket of both families gives an IPv4 address in the clothes of IPv6.
fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// What becomes of a datagram that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// It is lost for certain.
    pub drop: bool,
    /// It is lost with this chance in a hundred.
    pub loss_percent: u8,
    /// It comes later by this.
    pub delay: Duration,
    /// And by up to this besides.
    pub jitter: Duration,
    /// Whether it may overtake an earlier one.
    pub reorders: bool,
}

/// Why a fault was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It would last too long, or not at all.
    #[error("a fault lasts from 1 ms to {} s", MAX_FAULT_DURATION.as_secs())]
    Duration,
    /// Too many are set.
    #[error("{MAX_FAULTS} faults are set already; clear some")]
    TooMany,
    /// It would do nothing.
    #[error("a network fault drops what comes in or goes out, loses a share of 1 to 100 percent, or delays")]
    Nothing,
    /// More than everything cannot be lost.
    #[error("the loss is 0 to 100 percent")]
    Loss,
    /// Too late.
    #[error("delay and jitter are up to {} s each", MAX_DELAY.as_secs())]
    Delay,
    /// Too slow, or not at all.
    #[error("the delay of a sync is 1 ms to {} s", MAX_SYNC_DELAY.as_secs())]
    SyncDelay,
    /// Too far.
    #[error("the clock's offset is up to {MAX_CLOCK_OFFSET_MS} ms either way, and not 0")]
    ClockOffset,
}

impl Fault {
    /// Its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::HttpCut => "http_cut",
            Self::SlowDisk { .. } => "slow_disk",
            Self::FullDisk => "full_disk",
            Self::ClockOffset { .. } => "clock",
        }
    }

    fn check(&self) -> Result<(), FaultError> {
        match self {
            Self::Network(fault) => {
                if fault.loss_percent > 100 {
                    return Err(FaultError::Loss);
                }
                if fault.delay > MAX_DELAY || fault.jitter > MAX_DELAY {
                    return Err(FaultError::Delay);
                }
                let does_something = fault.drop_in
                    || fault.drop_out
                    || fault.loss_percent > 0
                    || !(fault.delay + fault.jitter).is_zero();
                does_something.then_some(()).ok_or(FaultError::Nothing)
            }
            Self::SlowDisk { sync_delay } if sync_delay.is_zero() || *sync_delay > MAX_SYNC_DELAY => {
                Err(FaultError::SyncDelay)
            }
            Self::ClockOffset { offset_ms }
                if *offset_ms == 0 || offset_ms.unsigned_abs() > MAX_CLOCK_OFFSET_MS.unsigned_abs() =>
            {
                Err(FaultError::ClockOffset)
            }
            Self::HttpCut | Self::FullDisk | Self::SlowDisk { .. } | Self::ClockOffset { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(fault) => fault.fmt(f),
            Self::HttpCut => f.write_str("clients are cut off"),
            Self::SlowDisk { sync_delay } => {
                write!(
                    f,
                    "each sync of the log takes {} ms longer",
                    sync_delay.as_millis()
                )
            }
            Self::FullDisk => f.write_str("the log's disk is full"),
            Self::ClockOffset { offset_ms } => write!(f, "the wall clock is wrong by {offset_ms} ms"),
        }
    }
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.drop_in, self.drop_out) {
            (true, true) => parts.push("all datagrams are dropped".to_owned()),
            (true, false) => parts.push("incoming datagrams are dropped".to_owned()),
            (false, true) => parts.push("outgoing datagrams are dropped".to_owned()),
            (false, false) => {}
        }
        if self.loss_percent > 0 {
            parts.push(format!("{} % of outgoing datagrams are lost", self.loss_percent));
        }
        if !(self.delay + self.jitter).is_zero() {
            let (from, to) = (self.delay.as_millis(), (self.delay + self.jitter).as_millis());
            parts.push(format!("outgoing datagrams come {from} to {to} ms late"));
        }
        write!(f, "{}", parts.join(", "))?;
        match &self.peers {
            FaultyPeers::All => f.write_str(" (all peers)"),
            FaultyPeers::At(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                write!(f, " ({})", addresses.join(", "))
            }
        }
    }
}

/// A fault that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveFault {
    /// Its name.
    pub id: FaultId,
    /// What it is.
    pub fault: Fault,
    /// When it ends.
    pub until: Instant,
}

/// The faults of one node. Clones are the same.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether the list may have something in it.
    any: AtomicBool,
    list: ArcSwap<Vec<ActiveFault>>,
    next_id: AtomicU64,
    /// Held while the list is changed.
    changing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.active()).finish()
    }
}

impl Faults {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fault in. It ends by itself after `lasts`.
    ///
    /// # Errors
    /// [`FaultError`], which says what is allowed.
    pub fn set(&self, fault: Fault, lasts: Duration) -> Result<FaultId, FaultError> {
        fault.check()?;
        if lasts < Duration::from_millis(1) || lasts > MAX_FAULT_DURATION {
            return Err(FaultError::Duration);
        }
        let _turn = self.turn();
        let mut list = self.take_ended();
        if list.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        let id = FaultId(self.0.next_id.fetch_add(1, Ordering::Relaxed) + 1);
        tracing::warn!(%id, fault = %fault, lasts_ms = lasts.as_millis() as u64,
            "a fault is put in on purpose; it ends by itself, or at once by DELETE /api/v1/drill/faults");
        counter!(BEGUN, "kind" => fault.kind()).increment(1);
        list.push(ActiveFault {
            id,
            fault,
            until: Instant::now() + lasts,
        });
        self.store(list);
        Ok(id)
    }

    /// Ends one. False: it is not there, or not any more.
    pub fn clear(&self, id: FaultId) -> bool {
        let _turn = self.turn();
        let mut list = self.take_ended();
        let before = list.len();
        list.retain(|active| {
            let ended = active.id == id;
            if ended {
                ended_note(active, "cleared");
            }
            !ended
        });
        let found = list.len() < before;
        self.store(list);
        found
    }

    /// Ends all; tells how many.
    pub fn clear_all(&self) -> usize {
        let _turn = self.turn();
        let list = self.take_ended();
        list.iter().for_each(|active| ended_note(active, "cleared"));
        self.store(Vec::new());
        list.len()
    }

    /// Those that are set.
    pub fn active(&self) -> Vec<ActiveFault> {
        self.running().collect()
    }

    /// Whether anything may be set: one load.
    pub fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// What becomes of what is sent to `peer`; none: nothing out of the ordinary.
    pub fn sending_to(&self, peer: SocketAddr) -> Option<Sending> {
        let mut found: Option<Sending> = None;
        for fault in self.network_faults() {
            if !fault.peers.include(peer) {
                continue;
            }
            let sum = found.get_or_insert_default();
            sum.drop |= fault.drop_out;
            // Two chances to be lost: what the first leaves goes through the second.
            let kept = (100 - u32::from(sum.loss_percent)) * (100 - u32::from(fault.loss_percent)) / 100;
            sum.loss_percent = 100 - kept as u8;
            sum.delay += fault.delay;
            sum.jitter += fault.jitter;
            sum.reorders |= fault.reorders;
        }
        found
    }

    /// Whether what comes from `peer` is dropped.
    pub fn drops_from(&self, peer: SocketAddr) -> bool {
        self.network_faults()
            .any(|fault| fault.drop_in && fault.peers.include(peer))
    }

    /// How much longer a sync of the log takes.
    pub fn sync_delay(&self) -> Duration {
        let delays = self.running().filter_map(|active| match active.fault {
            Fault::SlowDisk { sync_delay } => Some(sync_delay),
            _ => None,
        });
        delays.max().unwrap_or_default()
    }

    /// Whether the log's disk has no room.
    pub fn disk_is_full(&self) -> bool {
        self.running().any(|active| active.fault == Fault::FullDisk)
    }

    /// By how much the wall clock is wrong, in milliseconds.
    pub fn clock_offset_ms(&self) -> i64 {
        let offsets = self.running().filter_map(|active| match active.fault {
            Fault::ClockOffset { offset_ms } => Some(offset_ms),
            _ => None,
        });
        offsets.last().unwrap_or_default()
    }

    /// Whether clients are cut off.
    pub fn http_is_cut(&self) -> bool {
        self.http_cut_until().is_some()
    }

    /// Completes when clients are not cut off any more; at once where they are not.
    pub async fn http_mended(&self) {
        let mut changed = self.0.changed.subscribe();
        while let Some(until) = self.http_cut_until() {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                result = changed.changed() => if result.is_err() { return },
            }
        }
    }

    /// Completes when the disk has room again; at once where it has.
    pub async fn disk_has_room(&self) {
        let mut changed = self.0.changed.subscribe();
        loop {
            let full = self.running().filter(|active| active.fault == Fault::FullDisk);
            let Some(until) = full.map(|active| active.until).max() else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                result = changed.changed() => if result.is_err() { return },
            }
        }
    }

    /// Notes ends in log and metrics as they come. A fault ends without it too.
    pub async fn note_ends(self) {
        describe_gauge!(ACTIVE, "Faults that are put in on purpose at the moment");
        describe_counter!(BEGUN, "Faults that were put in on purpose, by kind");
        let mut changed = self.0.changed.subscribe();
        loop {
            let next = self.0.list.load().iter().map(|active| active.until).min();
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let _turn = self.turn();
                    let list = self.take_ended();
                    self.store(list);
                }
                result = changed.changed() => if result.is_err() { return },
            }
        }
    }

    fn http_cut_until(&self) -> Option<Instant> {
        self.running()
            .filter(|active| active.fault == Fault::HttpCut)
            .map(|active| active.until)
            .max()
    }

    fn network_faults(&self) -> impl Iterator<Item = NetworkFault> + use<> {
        self.running().filter_map(|active| match active.fault {
            Fault::Network(fault) => Some(fault),
            _ => None,
        })
    }

    /// Without those that have ended.
    fn running(&self) -> impl Iterator<Item = ActiveFault> + use<> {
        let list = self.any().then(|| self.0.list.load_full());
        let list: Vec<ActiveFault> = list.map(|list| list.to_vec()).unwrap_or_default();
        let now = (!list.is_empty()).then(Instant::now);
        list.into_iter()
            .filter(move |active| now.is_some_and(|now| now < active.until))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list without those that have ended, which are noted.
    fn take_ended(&self) -> Vec<ActiveFault> {
        let now = Instant::now();
        let (ended, list): (Vec<_>, Vec<_>) = self
            .0
            .list
            .load()
            .iter()
            .cloned()
            .partition(|active| active.until <= now);
        ended
            .iter()
            .for_each(|active| ended_note(active, "its time is over"));
        list
    }

    fn store(&self, list: Vec<ActiveFault>) {
        gauge!(ACTIVE).set(list.len() as f64);
        let any = !list.is_empty();
        self.0.list.store(Arc::new(list));
        self.0.any.store(any, Ordering::Release);
        self.0.changed.send_modify(|count| *count += 1);
    }
}

fn ended_note(active: &ActiveFault, why: &'static str) {
    tracing::warn!(id = %active.id, fault = %active.fault, why, "a fault that was put in on purpose has ended");
}

/// A clock that is wrong while a fault says so.
pub struct FaultyClock {
    clock: Arc<dyn Clock>,
    faults: Faults,
}

impl FaultyClock {
    /// Over a clock that is right.
    pub fn new(clock: Arc<dyn Clock>, faults: Faults) -> Self {
        Self { clock, faults }
    }
}

impl Clock for FaultyClock {
    fn now_ms(&self) -> u64 {
        let now_ms = self.clock.now_ms();
        if self.faults.any() {
            now_ms.saturating_add_signed(self.faults.clock_offset_ms())
        } else {
            now_ms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn cut(peers: FaultyPeers) -> Fault {
        Fault::Network(NetworkFault {
            peers,
            drop_in: true,
            drop_out: true,
            ..NetworkFault::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_by_itself() {
        let faults = Faults::new();
        assert!(!faults.any() && !faults.disk_is_full());
        faults.set(Fault::FullDisk, SECOND).expect("allowed");
        faults
            .set(Fault::SlowDisk { sync_delay: SECOND }, 3 * SECOND)
            .expect("allowed");
        assert!(faults.any() && faults.disk_is_full());
        tokio::time::advance(2 * SECOND).await;
        assert!(!faults.disk_is_full());
        assert_eq!(faults.sync_delay(), SECOND);
        assert_eq!(faults.active().len(), 1);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(faults.sync_delay(), Duration::ZERO);
        assert!(faults.active().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_end_is_woken_by_the_end_and_by_clearing() {
        let faults = Faults::new();
        faults.http_mended().await;
        faults.set(Fault::HttpCut, SECOND).expect("allowed");
        let began = Instant::now();
        faults.http_mended().await;
        assert_eq!(began.elapsed(), SECOND);

        let id = faults.set(Fault::HttpCut, 600 * SECOND).expect("allowed");
        let (mended, cleared) = tokio::join!(faults.http_mended(), async {
            tokio::time::sleep(SECOND).await;
            faults.clear(id)
        });
        assert_eq!((mended, cleared), ((), true));
        assert!(!faults.clear(id), "it is gone already");
    }

    #[tokio::test(start_paused = true)]
    async fn noting_ends_empties_the_list() {
        let faults = Faults::new();
        let tasks = crate::Tasks::new();
        tasks.spawn_until_cancelled(faults.clone().note_ends());
        faults.set(Fault::FullDisk, SECOND).expect("allowed");
        tokio::time::sleep(2 * SECOND).await;
        assert!(!faults.any(), "asking costs nothing again");
        tasks.stop(SECOND).await;
    }

    #[tokio::test(start_paused = true)]
    async fn links_are_told_apart_and_their_faults_add_up() {
        let faults = Faults::new();
        let (one, other) = (address("10.0.0.1:8007"), address("10.0.0.2:8007"));
        let mapped = address("[::ffff:10.0.0.1]:8007");
        let id = faults
            .set(cut(FaultyPeers::At(vec![one])), SECOND)
            .expect("allowed");
        assert!(faults.drops_from(one) && faults.drops_from(mapped) && !faults.drops_from(other));
        assert!(faults.sending_to(mapped).is_some_and(|sending| sending.drop));
        assert_eq!(faults.sending_to(other), None);
        assert!(faults.clear(id));

        let lossy = |loss_percent, delay_ms| {
            Fault::Network(NetworkFault {
                loss_percent,
                delay: Duration::from_millis(delay_ms),
                ..NetworkFault::default()
            })
        };
        faults.set(lossy(50, 10), SECOND).expect("allowed");
        faults.set(lossy(50, 5), SECOND).expect("allowed");
        let sending = faults.sending_to(other).expect("all peers");
        assert_eq!(
            (sending.loss_percent, sending.delay),
            (75, Duration::from_millis(15))
        );
        assert_eq!(faults.clear_all(), 2);
        assert_eq!(faults.sending_to(other), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_allowed_says_what_is() {
        let faults = Faults::new();
        let network = |loss_percent, delay| {
            Fault::Network(NetworkFault {
                loss_percent,
                delay,
                ..NetworkFault::default()
            })
        };
        let table = [
            (Fault::FullDisk, Duration::ZERO, FaultError::Duration),
            (Fault::FullDisk, 601 * SECOND, FaultError::Duration),
            (network(0, Duration::ZERO), SECOND, FaultError::Nothing),
            (network(101, Duration::ZERO), SECOND, FaultError::Loss),
            (network(1, 11 * SECOND), SECOND, FaultError::Delay),
            (
                Fault::SlowDisk {
                    sync_delay: Duration::ZERO,
                },
                SECOND,
                FaultError::SyncDelay,
            ),
            (
                Fault::ClockOffset { offset_ms: i64::MIN },
                SECOND,
                FaultError::ClockOffset,
            ),
            (
                Fault::ClockOffset { offset_ms: 0 },
                SECOND,
                FaultError::ClockOffset,
            ),
        ];
        for (fault, lasts, error) in table {
            assert_eq!(faults.set(fault, lasts), Err(error));
        }
        for _ in 0..MAX_FAULTS {
            faults.set(Fault::HttpCut, SECOND).expect("allowed");
        }
        assert_eq!(faults.set(Fault::HttpCut, SECOND), Err(FaultError::TooMany));
        tokio::time::advance(2 * SECOND).await;
        faults
            .set(Fault::HttpCut, SECOND)
            .expect("the ended ones make room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_wrong_for_as_long_as_it_is_told_to_be() {
        let faults = Faults::new();
        let clock = FaultyClock::new(Arc::new(ManualClock::new(10_000_000)), faults.clone());
        faults
            .set(
                Fault::ClockOffset {
                    offset_ms: -7_200_000,
                },
                SECOND,
            )
            .expect("allowed");
        assert_eq!(clock.now_ms(), 2_800_000);
        tokio::time::advance(SECOND).await;
        assert_eq!(clock.now_ms(), 10_000_000);
    }
}
