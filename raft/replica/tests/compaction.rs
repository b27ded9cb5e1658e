//! Logs of large commands: how large they grow, and who catches up while they are written.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test's clients are its own: no node owns or ends their tasks"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jarvis_machine::command::Command;
use jarvis_mesh::api::{CallError, Handler, Lane, Service};
use jarvis_replica::transport::{Pipe, PipeHandler, Transport};
use jarvis_replica::{MemoryDisk, ProposeError, Replica};
use jarvis_types::{NodeId, SessionId};
use tokio::task::JoinHandle;

use support::{ADMIN, Cluster, PATIENCE, count, create_session, options, say, until};

const MIB: u64 = 1024 * 1024;
const COMMAND_BYTES: usize = 200 * 1024;

/// A command that fills the log and no table: there is no such session.
fn large(n: u64) -> Command {
    Command::Say {
        session: SessionId(9_999),
        user: ADMIN,
        id: format!("large-{n}").parse().unwrap(),
        text: "x".repeat(COMMAND_BYTES),
    }
}

async fn write(replica: &Replica, n: u64) {
    match replica.propose(large(n), options()).await {
        Err(ProposeError::Refused(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// Writes large commands until it is told to stop.
struct Writer {
    stops: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(replica: &Replica, written: Arc<AtomicU64>, pause: Duration) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let (replica, stop, count) = (replica.clone(), Arc::clone(&stops), Arc::clone(&written));
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                write(&replica, count.fetch_add(1, Ordering::SeqCst)).await;
                tokio::time::sleep(pause).await;
            }
        });
        Self { stops, written, task }
    }

    async fn stop(self) -> u64 {
        self.stops.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.written.load(Ordering::SeqCst)
    }
}

/// Three voters whose disks are at hand.
async fn three(log_bytes: (u64, u64)) -> (Cluster, Vec<MemoryDisk>) {
    let mut cluster = Cluster::in_memory();
    cluster.log_bytes = Some(log_bytes);
    let disks: Vec<_> = (1..=3).map(|_| MemoryDisk::new()).collect();
    for (node, disk) in (1..).zip(&disks) {
        cluster.disk(NodeId(node), disk.clone());
    }
    (cluster.three().await, disks)
}

fn largest(disks: &[MemoryDisk]) -> u64 {
    disks.iter().map(MemoryDisk::log_bytes).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_large_commands_is_bounded_by_its_bytes() {
    let (mut cluster, disks) = three((MIB, MIB / 2)).await;
    let mut most = 0;
    for n in 0..200 {
        write(&cluster.replicas[&NodeId(1)], n).await;
        // Not faster than the log is looked at.
        tokio::time::sleep(Duration::from_millis(5)).await;
        most = most.max(largest(&disks));
    }
    assert!(most <= 8 * MIB, "{} KiB of 40 MiB", most / 1024);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_bounded_though_no_life_writes_enough_for_a_snapshot() {
    const LIVES: u64 = 10;
    let (mut cluster, disk, node) = (Cluster::in_memory(), MemoryDisk::new(), NodeId(1));
    cluster.log_bytes = Some((MIB, MIB / 2));
    cluster.disk(node, disk.clone());
    cluster.bootstrap().await;
    for life in 0..LIVES {
        for n in 0..4 {
            write(&cluster.replicas[&node], life * 4 + n).await;
        }
        // Time for a look at the log, if not for more.
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.replicas[&node].kill();
        cluster.kill(node);
        cluster.start(node, true).await.unwrap();
    }
    let bytes = disk.log_bytes();
    assert!(bytes <= 3 * MIB, "{} KiB of 8 MiB", bytes / 1024);
    cluster.stop().await;
}

/// A network on which a snapshot takes as long as so many commands are written.
struct SlowSnapshots {
    network: Arc<dyn Transport>,
    written: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

const WRITTEN_DURING_A_SNAPSHOT: u64 = 15;

impl Transport for SlowSnapshots {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        self.network.call(to, lane, service, order, body, timeout)
    }

    fn open(&self, to: NodeId, lane: Lane, service: Service) -> BoxFuture<'static, Result<Pipe, CallError>> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let (opening, written) = (self.network.open(to, lane, service), Arc::clone(&self.written));
        Box::pin(async move {
            let end = written.load(Ordering::SeqCst) + WRITTEN_DURING_A_SNAPSHOT;
            while written.load(Ordering::SeqCst) < end {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opening.await
        })
    }

    fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        self.network.serve(service, handler);
    }

    fn serve_pipes(&self, service: Service, handler: PipeHandler) {
        self.network.serve_pipes(service, handler);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_catches_up_while_large_commands_are_written() {
    let (written, sent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let mut cluster = Cluster::in_memory();
    // Less is usually kept than is written meanwhile, but not less than may be for who needs it.
    cluster.log_bytes = Some((MIB, MIB));
    let (count_written, count_sent) = (Arc::clone(&written), Arc::clone(&sent));
    cluster.transport = Some(Box::new(move |network| {
        let (written, sent) = (Arc::clone(&count_written), Arc::clone(&count_sent));
        Arc::new(SlowSnapshots {
            network,
            written,
            sent,
        })
    }));
    cluster.bootstrap().await;
    cluster.propose(create_session(1)).await.unwrap();
    cluster.propose(say(1, "before")).await.unwrap();
    let first = cluster.replicas[&NodeId(1)].clone();
    let writer = Writer::start(&first, written, Duration::from_millis(10));
    while writer.written.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let node = cluster.admit().await;
    cluster.start(node, false).await.unwrap();
    let replica = cluster.replicas[&node].clone();
    let keeps_up = async {
        let lag = || {
            let committed = first.state().borrow().committed;
            committed.saturating_sub(replica.state().borrow().applied)
        };
        while sent.load(Ordering::SeqCst) == 0 || lag() > 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, keeps_up)
        .await
        .expect("it catches up while there is much to write");
    assert!(sent.load(Ordering::SeqCst) <= 3, "{sent:?} snapshots");
    assert_eq!(count(&replica.local().unwrap(), 1..=1), 1);
    writer.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_too_slow_is_waited_for_within_a_bound() {
    let (mut cluster, disks) = three((MIB, MIB)).await;
    let slow = cluster.follower().await;
    disks[slow.0 as usize - 1].slow_down(Duration::from_millis(400));
    let leader = cluster.leader().await;
    let writer = Writer::start(
        &cluster.replicas[&leader],
        Arc::default(),
        Duration::from_millis(10),
    );
    let mut most = 0;
    while writer.written.load(Ordering::SeqCst) < 600 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        most = most.max(disks[leader.0 as usize - 1].log_bytes());
    }
    let written = writer.stop().await;
    // Beside the bound: what is written while one append is under way.
    assert!(most <= 40 * MIB, "{} KiB of {written} commands", most / 1024);
    disks[slow.0 as usize - 1].slow_down(Duration::ZERO);
    let committed = cluster.replicas[&leader].state().borrow().committed;
    until(&cluster.replicas[&slow], "it catches up", |state| {
        state.applied >= committed
    })
    .await;
    cluster.stop().await;
}
