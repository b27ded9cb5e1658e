//! Telling a crashed process from a silent machine, and silence from an own stall.
//!
//! A peer is silent when nothing of it was heard for the idle time *while this node was looking*: a look that comes late, for
//! this process was stopped or had no CPU, adds no more than one look's time, and what arrived meanwhile is read before the
//! next. QUIC's own idle timer knows no such difference, so it is set to twice as much, for the case that nobody looks. Of a
//! peer whose machine does not answer either ([`crate::doors`]) less silence is enough.
//!
//! Where a process has died on a machine that lives, the kernel refuses datagrams to its port, long before silence would
//! tell. QUIC's own socket does not hear that, since it is connected to nobody; so a peer that missed its turn to speak is
//! asked once by a socket of its own. Only a refusal counts: no answer is what a living peer gives.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jarvis_types::NodeId;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::api::Mesh;
use crate::doors::Tries;
use crate::link::Link;
use crate::mesh::MeshInner;

/// How often silence is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// And while somebody is silent.
const CLOSE_LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// QUIC's own idle time-out, as a multiple of the silence that is looked for.
pub(crate) const QUIC_IDLE_TIMES: u32 = 2;

/// How much longer than the keep-alive interval a peer may be silent before it is asked: its acknowledgements may be as
/// late as this.
const SILENCE_ALLOWANCE: Duration = Duration::from_millis(50);

/// A machine has this many times the patience for a process to take a connection: its answer may wait in queues.
const DOOR_PATIENCE_TIMES: u32 = 2;

/// How long a refusal may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(100);

/// What was last heard on a connection.
struct Heard {
    connection: usize,
    datagrams: u64,
    /// For how long nothing has been heard, as far as this node was looking.
    silent: Duration,
    /// How much of that had passed when the port was last tried.
    tried: Duration,
    /// At its machine's door.
    tries: Tries,
}

impl Mesh {
    /// Has peers that fall silent probed over the machine's own network, so that a crashed process is missed before the
    /// idle timeout. Not for simulated networks.
    pub fn probe_silent_peers(&self) {
        self.inner.probes.store(true, Ordering::Relaxed);
    }
}

/// Looks at all connections, for ever.
pub(crate) async fn watch(mesh: &Arc<MeshInner>) {
    let patience = mesh.timers.keep_alive + SILENCE_ALLOWANCE;
    let mut heard: HashMap<NodeId, Heard> = HashMap::new();
    let mut looked = Instant::now();
    let mut interval = LOOK_INTERVAL;
    loop {
        tokio::time::sleep_until(looked + interval).await;
        let late = looked.elapsed();
        looked = Instant::now();
        if late >= 2 * interval {
            // What came meanwhile may still wait to be read.
            tokio::task::yield_now().await;
        }
        let links = mesh.links();
        heard.retain(|node, _| links.contains_key(node));
        let mut next = LOOK_INTERVAL;
        for (node, link) in links.iter() {
            let datagrams = link.connection.stats().udp_rx.datagrams;
            let connection = link.connection.stable_id();
            let fresh = Heard {
                connection,
                datagrams,
                silent: Duration::ZERO,
                tried: Duration::ZERO,
                tries: Tries::default(),
            };
            let Some(last) = heard.get_mut(node) else {
                heard.insert(*node, fresh);
                continue;
            };
            if (last.connection, last.datagrams) != (connection, datagrams) {
                *last = fresh;
                continue;
            }
            last.silent += interval;
            if last.silent < patience {
                continue;
            }
            next = CLOSE_LOOK_INTERVAL;
            let gone = last.silent >= mesh.timers.vanish_timeout && last.tries.in_vain();
            if gone || last.silent >= mesh.timers.idle_timeout {
                tracing::info!(peer = %node, silent = ?last.silent, machine_gone = gone, "the peer is silent");
                link.silent();
            } else if mesh.probes.load(Ordering::Relaxed) {
                try_door(mesh, link, &last.tries);
                if last.silent >= last.tried + patience {
                    // Asked again only after as long a silence.
                    last.tried = last.silent;
                    let link = Arc::clone(link);
                    mesh.tasks
                        .spawn_until_cancelled(async move { probe(&link, datagrams).await });
                }
            }
        }
        interval = next;
    }
}

/// Tries at the door of the peer's machine, if one is known.
fn try_door(mesh: &MeshInner, link: &Link, tries: &Tries) {
    if !tries.answered()
        && let Some(port) = mesh.doors.port(link.peer, link.peer_life)
    {
        let mut address = link.connection.remote_address();
        address.set_port(port);
        let (tries, patience) = (tries.clone(), mesh.timers.probe_patience * DOOR_PATIENCE_TIMES);
        mesh.tasks
            .spawn_until_cancelled(async move { tries.once(address, patience).await });
    }
}

async fn probe(link: &Link, datagrams: u64) {
    let address = link.connection.remote_address();
    if !is_refused(address).await || link.connection.stats().udp_rx.datagrams != datagrams {
        return;
    }
    tracing::info!(peer = %link.peer, %address, "the peer's process is gone: its machine refuses its port");
    link.crashed();
}

/// Whether the machine at `address` says that nobody listens there.
pub(crate) async fn is_refused(address: SocketAddr) -> bool {
    let refused = async {
        let any = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        socket.connect(address).await?;
        // Too short for any QUIC packet: a living peer drops it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    matches!(
        tokio::time::timeout(REFUSAL_TIMEOUT, refused).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_port_without_a_listener_refuses() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_refused(address).await);
        drop(listener);
        assert!(is_refused(address).await);
    }
}
