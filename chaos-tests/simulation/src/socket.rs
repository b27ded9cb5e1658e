//! QUIC's socket over the simulated network, with its faults and its trace.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use turmoil::net::UdpSocket;

use crate::net::Fate;
use crate::world::World;

/// Longest datagram that the network carries, in bytes: an Ethernet frame's room for UDP.
const MTU_BYTES: usize = 1_472;

/// A socket of one machine.
pub struct SimSocket {
    world: Arc<World>,
    machine: usize,
    /// None once the machine has crashed: what an ended node still holds must not keep the port.
    udp: Mutex<Option<UdpSocket>>,
    address: SocketAddr,
}

impl SimSocket {
    /// Binds `port` of the machine on which it is called; 0: any.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn bind(world: &Arc<World>, machine: usize, port: u16) -> io::Result<Arc<Self>> {
        let udp = UdpSocket::bind(("0.0.0.0", port)).await?;
        let address = udp.local_addr()?;
        Ok(Arc::new(Self {
            world: Arc::clone(world),
            machine,
            udp: Mutex::new(Some(udp)),
            address,
        }))
    }

    /// Lets go of the port. Must be called on the machine.
    pub fn close(&self) {
        drop(self.udp().take());
    }

    fn udp(&self) -> MutexGuard<'_, Option<UdpSocket>> {
        self.udp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(udp: &UdpSocket, buffer: &mut IoSliceMut<'_>, meta: &mut RecvMeta) -> bool {
        let Ok((len, addr)) = udp.try_recv_from(buffer) else {
            return false;
        };
        *meta = RecvMeta {
            addr,
            len,
            stride: len,
            ecn: None,
            dst_ip: None,
        };
        true
    }

    fn drain(udp: &UdpSocket, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta.iter_mut()) {
            if !Self::receive(udp, buffer, meta) {
                break;
            }
            received += 1;
        }
        received
    }
}

impl std::fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimSocket({}, {})", self.machine, self.address)
    }
}

impl AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysReady)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let bytes = transmit.contents;
        // To nobody, as to an address of long ago, it vanishes.
        let Some(to) = self.world.machine_at(transmit.destination.ip()) else {
            return Ok(());
        };
        let fate = if bytes.len() > MTU_BYTES {
            Fate::Lost
        } else {
            self.world.net.fate(self.machine, to)
        };
        self.world.trace.datagram(self.machine, to, bytes, fate.label());
        let copies = match fate {
            Fate::Sent => 1,
            Fate::Doubled => 2,
            Fate::Lost | Fate::Cut => 0,
        };
        for _ in 0..copies {
            let held = self.udp();
            let Some(udp) = held.as_ref() else {
                return Ok(());
            };
            match udp.try_send_to(bytes, transmit.destination) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let held = self.udp();
        let Some(udp) = held.as_ref() else {
            return Poll::Pending;
        };
        let received = Self::drain(udp, buffers, meta);
        if received > 0 {
            return Poll::Ready(Ok(received));
        }
        // The future holds the socket's lock while it lives: made to be woken by, and dropped before the next look.
        let ready = std::pin::pin!(udp.readable()).poll(context);
        match ready {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Self::drain(udp, buffers, meta))),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysReady;

impl UdpPoller for AlwaysReady {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
