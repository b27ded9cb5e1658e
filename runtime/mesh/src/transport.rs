//! Sockets, timers and QUIC's settings.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jarvis_host::Entropy;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, UdpPoller};

use crate::probe::QUIC_IDLE_TIMES;

/// Bytes a peer may send ahead of what was read, over all streams of a connection.
const RECEIVE_WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// Bytes a peer may send ahead of what was read, on one stream.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Raw streams a peer may have open at a time.
const MAX_RAW_STREAMS: u32 = 64;

/// Framed streams a peer may have open at a time: one a lane slot, with room for a later version.
const MAX_FRAMED_STREAMS: u32 = 16;

/// Length of our connection ids: what RFC 9000 advises at least.
const CONNECTION_ID_BYTES: usize = 8;

/// How soon a silent peer is missed, and what that costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshTimers {
    /// A connection on which nothing was said for this long says something.
    pub keep_alive: Duration,
    /// A connection on which nothing was heard for this long, while this node was looking, is lost.
    pub idle_timeout: Duration,
    /// The same where the peer's machine, which took a TCP connection before, takes none any longer: it is not only the
    /// process that stands still.
    pub vanish_timeout: Duration,
    /// How long a peer whose tether broke has to answer before its process counts as ended.
    pub probe_patience: Duration,
    /// What a round trip is taken to be before it was measured; the first retry of a handshake comes after thrice this.
    pub initial_rtt: Duration,
    /// First pause before a peer is dialled again.
    pub redial_min: Duration,
    /// Longest pause before a peer is dialled again.
    pub redial_max: Duration,
}

impl MeshTimers {
    /// Machines on a wire.
    pub fn lan() -> Self {
        Self {
            keep_alive: Duration::from_millis(200),
            // Half a lease for which a process may stand still, and the turn to speak that it missed before.
            idle_timeout: Duration::from_millis(600),
            vanish_timeout: Duration::from_millis(450),
            probe_patience: Duration::from_millis(40),
            initial_rtt: Duration::from_millis(30),
            redial_min: Duration::from_millis(50),
            redial_max: Duration::from_millis(500),
        }
    }

    /// Machines on radio: a second of silence is ordinary there.
    pub fn wifi() -> Self {
        Self {
            keep_alive: Duration::from_millis(400),
            idle_timeout: Duration::from_millis(2_000),
            vanish_timeout: Duration::from_millis(1_500),
            probe_patience: Duration::from_millis(150),
            initial_rtt: Duration::from_millis(80),
            ..Self::lan()
        }
    }

    /// Machines whose disk stops everything now and then.
    pub fn slow_disk() -> Self {
        Self {
            keep_alive: Duration::from_millis(500),
            idle_timeout: Duration::from_millis(3_000),
            vanish_timeout: Duration::from_millis(2_000),
            probe_patience: Duration::from_millis(150),
            ..Self::lan()
        }
    }
}

impl Default for MeshTimers {
    fn default() -> Self {
        Self::lan()
    }
}

/// Why the mesh's port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has it.
    #[error("udp {address}: port in use; stop the other program or choose another port")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The machine has no such address.
    #[error("udp {address}: this machine has no such address")]
    NoSuchAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("udp {address}: cannot open the port")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// An ordinary UDP socket for the mesh. Must be called in a tokio runtime.
///
/// # Errors
/// [`BindError`].
pub fn bind_udp(address: SocketAddr) -> Result<Arc<dyn AsyncUdpSocket>, BindError> {
    UdpSocket::bind(address)
        .and_then(|socket| quinn::TokioRuntime.wrap_udp_socket(socket))
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { address },
            _ => BindError::Other { address, source },
        })
}

/// The socket of an endpoint that has ended: frees the port of the one before, though the endpoint lives on in clones.
#[derive(Debug)]
pub(crate) struct Nowhere(pub(crate) SocketAddr);

impl AsyncUdpSocket for Nowhere {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysReady)
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

#[derive(Debug)]
struct AlwaysReady;

impl UdpPoller for AlwaysReady {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connection ids out of the handed-in randomness. Unlike quinn's own they carry no key that a restart would change, so
/// that packets of an old connection are answered with a reset.
struct ConnectionIds(Arc<dyn Entropy>);

impl quinn::ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        self.0.fill(&mut id);
        quinn::ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// `reset_secret` must be the same after a restart: then a peer that still holds the old connection is told at once.
pub(crate) fn endpoint_config(reset_secret: &[u8; 32], entropy: &Arc<dyn Entropy>) -> quinn::EndpointConfig {
    let mut config = quinn::EndpointConfig::new(Arc::new(ring::hmac::Key::new(
        ring::hmac::HMAC_SHA256,
        reset_secret,
    )));
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let ids = Arc::clone(entropy);
    config.rng_seed(Some(seed)).cid_generator(move || {
        Box::new(ConnectionIds(Arc::clone(&ids))) as Box<dyn quinn::ConnectionIdGenerator>
    });
    config
}

pub(crate) fn transport_config(timers: &MeshTimers) -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    let idle = timers.idle_timeout * QUIC_IDLE_TIMES;
    let idle_ms = u32::try_from(idle.as_millis()).unwrap_or(u32::MAX);
    config
        .keep_alive_interval(Some(timers.keep_alive))
        .max_idle_timeout(Some(quinn::VarInt::from_u32(idle_ms).into()))
        .initial_rtt(timers.initial_rtt)
        .max_concurrent_bidi_streams(MAX_RAW_STREAMS.into())
        .max_concurrent_uni_streams(MAX_FRAMED_STREAMS.into())
        .receive_window(RECEIVE_WINDOW_BYTES.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .send_window(u64::from(RECEIVE_WINDOW_BYTES));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind_udp(address).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }));
        assert!(
            error.to_string().contains(&address.to_string()) && error.to_string().contains("port in use")
        );
        let nowhere = bind_udp("203.0.113.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(nowhere, BindError::NoSuchAddress { .. }), "{nowhere}");
    }
}
