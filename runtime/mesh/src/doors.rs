//! Where the machines of peers take TCP connections, and whether they still do.
//!
//! A kernel takes connections to a listening port whatever the process behind it does. So of a peer that says nothing, a
//! connection that is taken tells that its machine lives and only the process stands still, and one that is not taken, where
//! connections were taken before, that machine or cable are gone. A door is tried only while
//! its peer is silent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Tries without an answer before the machine counts as gone: one packet may be lost, and the kernel sends it again only
/// after a second.
const TRIES: u32 = 3;

/// Ports of peers that are known to take connections, each for one life of the peer.
#[derive(Default)]
pub(crate) struct Doors {
    known: Mutex<HashMap<NodeId, (u64, u16)>>,
}

impl Doors {
    /// That life of `peer` takes connections at `port`.
    pub(crate) fn learn(&self, peer: NodeId, life: u64, port: u16) {
        self.lock().insert(peer, (life, port));
    }

    /// Nothing is known of it any longer.
    pub(crate) fn forget(&self, peer: NodeId, life: u64) {
        let mut known = self.lock();
        if known.get(&peer).is_some_and(|(of, _)| *of == life) {
            known.remove(&peer);
        }
    }

    /// The port of that life of `peer`.
    pub(crate) fn port(&self, peer: NodeId, life: u64) -> Option<u16> {
        let known = self.lock();
        known
            .get(&peer)
            .filter(|(of, _)| *of == life)
            .map(|(_, port)| *port)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, (u64, u16)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tries during one silence of a peer. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tries {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicBool,
    /// Tries that had their time, and no answer.
    unanswered: AtomicU32,
}

impl Tries {
    /// Tries once, for as long as `patience`. A refusal is an answer of the machine as well.
    pub(crate) async fn once(&self, address: SocketAddr, patience: Duration) {
        let began = Instant::now();
        let taken = tokio::time::timeout(patience, TcpStream::connect(address)).await;
        match taken {
            Ok(Ok(_)) => self.counts.answered.store(true, Ordering::Relaxed),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                self.counts.answered.store(true, Ordering::Relaxed);
            }
            // No way there, known at once.
            Ok(Err(_)) => {
                self.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            // A process that had no time itself has not looked for the answer.
            Err(_) if began.elapsed() < 2 * patience => {
                self.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
    }

    /// Whether the machine has answered.
    pub(crate) fn answered(&self) -> bool {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Whether the machine takes connections no longer.
    pub(crate) fn in_vain(&self) -> bool {
        !self.answered() && self.counts.unanswered.load(Ordering::Relaxed) >= TRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_machine_that_takes_or_refuses_connections_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tries = Tries::default();
        // Nobody accepts: the kernel answers all the same, as it does for a process that is stopped.
        tries.once(address, PATIENCE).await;
        assert!(tries.answered());
        drop(listener);
        let tries = Tries::default();
        tries.once(address, PATIENCE).await;
        assert!(tries.answered());
    }

    #[tokio::test]
    async fn a_machine_that_says_nothing_is_gone_after_some_tries() {
        // A listener whose queue is full drops what comes.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            queue.push(connected.unwrap());
            assert!(queue.len() < 16, "the queue does not fill");
        }
        let tries = Tries::default();
        while !tries.in_vain() {
            tries.once(address, PATIENCE).await;
        }
        drop(full);
        tries.once(address, PATIENCE).await;
        assert!(!tries.in_vain(), "an answer outweighs them");
    }

    #[test]
    fn a_door_belongs_to_one_life() {
        let doors = Doors::default();
        doors.learn(NodeId(2), 7, 8007);
        assert_eq!(doors.port(NodeId(2), 7), Some(8007));
        assert_eq!(doors.port(NodeId(2), 8), None);
        doors.forget(NodeId(2), 8);
        assert_eq!(doors.port(NodeId(2), 7), Some(8007));
        doors.forget(NodeId(2), 7);
        assert_eq!(doors.port(NodeId(2), 7), None);
    }
}
