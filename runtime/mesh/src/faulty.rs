//! A socket between QUIC and the real one, which loses and delays datagrams while a fault says so.
//!
//! ```text
//!  QUIC ── try_send ──► lost? ──► late? ── queue ── pump ──► socket
//!       ◄── poll_recv ─────────── dropped? ◄───────────────── socket
//! ```
//!
//! While no fault is set a datagram passes after one load of an atomic.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use jarvis_host::faults::Sending;
use jarvis_host::{Entropy, Faults, Tasks};
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most datagrams that are under way late; one more is lost, as in a router whose buffer is full. At 1,400 bytes each
/// this is 11 MB.
const MAX_LATE: usize = 8_192;

/// Batches that are thrown away in one turn before others get theirs.
const MAX_DROPPED_BATCHES: usize = 32;

/// Pieces of up to 64 datagrams that are taken from the kernel at a time. QUIC has room for 32 of 94 kB each, and memory that
/// was once written to stays resident: 3 MB of a node that had one busy moment.
const MAX_PIECES: usize = 4;

/// A socket with faults.
pub struct FaultySocket {
    socket: Arc<dyn AsyncUdpSocket>,
    faults: Faults,
    entropy: Arc<dyn Entropy>,
    late: Arc<Late>,
}

impl fmt::Debug for FaultySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultySocket({:?}, {:?})", self.socket, self.faults)
    }
}

/// What is under way late.
#[derive(Default)]
struct Late {
    queue: Mutex<Queue>,
    added: Notify,
}

#[derive(Default)]
struct Queue {
    datagrams: BinaryHeap<Reverse<Datagram>>,
    /// When the last one to each address is due, where order is kept. Emptied with the queue.
    last_due: HashMap<SocketAddr, Instant>,
    count: u64,
}

/// A datagram on its way. Ordered by when it is due, then by when it was sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Datagram {
    due: Instant,
    number: u64,
    destination: SocketAddr,
    contents: Vec<u8>,
    ecn: Option<u8>,
    src_ip: Option<IpAddr>,
}

impl Late {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, transmit: &Transmit<'_>, contents: &[u8], delay: Duration, reorders: bool) {
        let mut queue = self.queue();
        if queue.datagrams.len() >= MAX_LATE {
            return;
        }
        let mut due = Instant::now() + delay;
        if !reorders {
            let last = queue.last_due.entry(transmit.destination).or_insert(due);
            due = due.max(*last);
            *last = due;
        }
        queue.count += 1;
        let number = queue.count;
        queue.datagrams.push(Reverse(Datagram {
            due,
            number,
            destination: transmit.destination,
            contents: contents.to_vec(),
            ecn: transmit.ecn.map(|ecn| ecn as u8),
            src_ip: transmit.src_ip,
        }));
        drop(queue);
        self.added.notify_one();
    }

    /// What is due; else when the next one is.
    fn take(&self) -> Result<Datagram, Option<Instant>> {
        let mut queue = self.queue();
        match queue.datagrams.peek() {
            Some(Reverse(first)) if first.due > Instant::now() => return Err(Some(first.due)),
            _ => {}
        }
        match queue.datagrams.pop() {
            Some(Reverse(first)) => Ok(first),
            None => {
                queue.last_due.clear();
                Err(None)
            }
        }
    }
}

impl FaultySocket {
    /// Over `socket`. Late datagrams are sent by a task of `tasks`, which holds `socket` for as long as it runs.
    pub fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        faults: Faults,
        entropy: Arc<dyn Entropy>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let late = Arc::new(Late::default());
        tasks.spawn_until_cancelled(pump(Arc::clone(&socket), Arc::clone(&late)));
        Arc::new(Self {
            socket,
            faults,
            entropy,
            late,
        })
    }

    /// Lost, late, or sent as it is.
    fn send_one(&self, transmit: &Transmit<'_>, contents: &[u8], sending: Sending) -> io::Result<()> {
        let is_lost = sending.drop
            || (sending.loss_percent > 0 && self.entropy.next_u64() % 100 < u64::from(sending.loss_percent));
        if is_lost {
            return Ok(());
        }
        let jitter_us = sending.jitter.as_micros() as u64;
        let jitter = match jitter_us {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.entropy.next_u64() % (jitter_us + 1)),
        };
        let delay = sending.delay + jitter;
        if delay.is_zero() {
            return self.socket.try_send(&Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents,
                segment_size: None,
                src_ip: transmit.src_ip,
            });
        }
        self.late.push(transmit, contents, delay, sending.reorders);
        Ok(())
    }
}

impl AsyncUdpSocket for FaultySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sending = if self.faults.any() {
            self.faults.sending_to(transmit.destination)
        } else {
            None
        };
        let Some(sending) = sending else {
            return self.socket.try_send(transmit);
        };
        // Several datagrams may come in one piece, and each has its own fate.
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for (index, contents) in transmit.contents.chunks(size).enumerate() {
            match self.send_one(transmit, contents, sending) {
                Ok(()) => {}
                // QUIC would send all of them again: those that follow the first are lost instead.
                Err(_) if index > 0 => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let pieces = bufs.len().min(MAX_PIECES);
        let bufs = &mut bufs[..pieces];
        for _ in 0..MAX_DROPPED_BATCHES {
            let count = match self.socket.poll_recv(cx, bufs, meta) {
                Poll::Ready(Ok(count)) if count > 0 && self.faults.any() => count,
                other => return other,
            };
            let mut kept = 0;
            for index in 0..count {
                if self.faults.drops_from(meta[index].addr) {
                    continue;
                }
                if kept < index {
                    let (before, from) = bufs.split_at_mut(index);
                    let len = meta[index].len;
                    before[kept][..len].copy_from_slice(&from[0][..len]);
                    meta[kept] = meta[index];
                }
                kept += 1;
            }
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Sends what was held back, each when it is due.
async fn pump(socket: Arc<dyn AsyncUdpSocket>, late: Arc<Late>) {
    let mut poller = Arc::clone(&socket).create_io_poller();
    loop {
        let datagram = match late.take() {
            Ok(datagram) => datagram,
            Err(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                    () = late.added.notified() => {}
                }
                continue;
            }
        };
        let transmit = Transmit {
            destination: datagram.destination,
            ecn: datagram.ecn.and_then(EcnCodepoint::from_bits),
            contents: &datagram.contents,
            segment_size: None,
            src_ip: datagram.src_ip,
        };
        while let Err(error) = socket.try_send(&transmit) {
            if error.kind() != io::ErrorKind::WouldBlock {
                break;
            }
            let writable = std::future::poll_fn(|cx| poller.as_mut().poll_writable(cx)).await;
            if writable.is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jarvis_host::{Fault, FaultyPeers, NetworkFault, SeededEntropy};

    use super::*;
    use crate::transport::bind_udp;

    const LONG: Duration = Duration::from_secs(60);
    const PATIENCE: Duration = Duration::from_secs(10);

    struct Pair {
        faults: Faults,
        faulty: Arc<FaultySocket>,
        other: tokio::net::UdpSocket,
        tasks: Tasks,
    }

    async fn pair() -> Pair {
        let (faults, tasks) = (Faults::new(), Tasks::new());
        let socket = bind_udp("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let faulty = FaultySocket::new(socket, faults.clone(), entropy, &tasks);
        let other = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        // A new socket is not known to be writable before the runtime has looked at it.
        let mut poller = Arc::clone(&faulty).create_io_poller();
        let writable = std::future::poll_fn(|cx| poller.as_mut().poll_writable(cx));
        writable.await.expect("a socket");
        Pair {
            faults,
            faulty,
            other,
            tasks,
        }
    }

    impl Pair {
        fn set(&self, fault: NetworkFault) {
            self.faults.set(Fault::Network(fault), LONG).expect("allowed");
        }

        /// Sends `contents` in pieces of `size` bytes.
        fn send(&self, contents: &[u8], size: usize) {
            let transmit = Transmit {
                destination: self.other.local_addr().expect("bound"),
                ecn: None,
                contents,
                segment_size: (contents.len() > size).then_some(size),
                src_ip: None,
            };
            self.faulty.try_send(&transmit).expect("loopback takes it");
        }

        async fn received_there(&self) -> Vec<u8> {
            let mut bytes = [0; 2_000];
            let len = tokio::time::timeout(PATIENCE, self.other.recv(&mut bytes)).await;
            let len = len.expect("it comes").expect("received");
            bytes[..len].to_vec()
        }

        async fn received_here(&self) -> Vec<u8> {
            let mut bytes = [0; 2_000];
            let mut meta = [RecvMeta::default()];
            let received = std::future::poll_fn(|cx| {
                self.faulty
                    .poll_recv(cx, &mut [IoSliceMut::new(&mut bytes)], &mut meta)
            });
            let count = tokio::time::timeout(PATIENCE, received).await;
            assert_eq!(count.expect("it comes").expect("received"), 1);
            bytes[..meta[0].len].to_vec()
        }

        async fn tell(&self, contents: &[u8]) {
            let to = self.faulty.local_addr().expect("bound");
            self.other.send_to(contents, to).await.expect("sent");
        }
    }

    #[tokio::test]
    async fn what_goes_out_is_dropped_until_the_fault_is_over() {
        let pair = pair().await;
        pair.set(NetworkFault {
            drop_out: true,
            ..NetworkFault::default()
        });
        pair.send(b"lost", 100);
        pair.faults.clear_all();
        pair.send(b"there", 100);
        assert_eq!(pair.received_there().await, b"there");
        pair.tasks.stop(PATIENCE).await;
    }

    #[tokio::test]
    async fn what_comes_in_is_dropped_from_those_that_are_named() {
        let pair = pair().await;
        let drop_from = |peers| NetworkFault {
            peers,
            drop_in: true,
            ..NetworkFault::default()
        };
        pair.set(drop_from(FaultyPeers::At(vec![
            pair.other.local_addr().expect("bound"),
        ])));
        pair.tell(b"lost").await;
        let friend = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let to = pair.faulty.local_addr().expect("bound");
        friend.send_to(b"of a friend", to).await.expect("sent");
        assert_eq!(pair.received_here().await, b"of a friend");
        pair.faults.clear_all();
        pair.tell(b"there").await;
        assert_eq!(pair.received_here().await, b"there");
        pair.tasks.stop(PATIENCE).await;
    }

    #[tokio::test]
    async fn each_datagram_of_a_batch_has_its_own_fate() {
        let pair = pair().await;
        pair.set(NetworkFault {
            loss_percent: 50,
            ..NetworkFault::default()
        });
        let batch: Vec<u8> = (0..40u8).flat_map(|n| [n; 10]).collect();
        pair.send(&batch, 10);
        pair.faults.clear_all();
        pair.send(b"end", 100);
        let mut came = Vec::new();
        loop {
            match pair.received_there().await.as_slice() {
                b"end" => break,
                one => {
                    assert_eq!(one.len(), 10);
                    came.push(one[0]);
                }
            }
        }
        assert!((5..35).contains(&came.len()), "{came:?}");
        assert!(came.is_sorted(), "{came:?}");
        pair.tasks.stop(PATIENCE).await;
    }

    #[tokio::test]
    async fn late_datagrams_keep_their_order_unless_told_otherwise() {
        let pair = pair().await;
        let late = |reorders| NetworkFault {
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(20),
            reorders,
            ..NetworkFault::default()
        };
        for reorders in [false, true] {
            pair.set(late(reorders));
            let began = Instant::now();
            (0..30u8).for_each(|n| pair.send(&[n], 100));
            let mut came = Vec::new();
            while came.len() < 30 {
                came.push(pair.received_there().await[0]);
            }
            assert!(began.elapsed() >= Duration::from_millis(5));
            assert_eq!(came.is_sorted(), !reorders, "{came:?}");
            came.sort_unstable();
            assert_eq!(came, (0..30u8).collect::<Vec<_>>());
            pair.faults.clear_all();
        }
        pair.tasks.stop(PATIENCE).await;
    }

    #[tokio::test]
    async fn no_more_than_a_bound_is_held_back() {
        let pair = pair().await;
        pair.set(NetworkFault {
            delay: Duration::from_secs(5),
            ..NetworkFault::default()
        });
        (0..MAX_LATE + 10).for_each(|_| pair.send(b"x", 100));
        assert_eq!(pair.faulty.late.queue().datagrams.len(), MAX_LATE);
        pair.tasks.stop(PATIENCE).await;
    }
}
