//! A broker that says whatever a test wants.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use jarvis_mqtt::{Dial, Stream, Trouble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::DEADLINE;

/// Let in, without a session.
pub(crate) const WELCOME_V5: &[u8] = &[0x20, 3, 0, 0, 0];
/// Let in, the session is there.
pub(crate) const WELCOME_BACK_V5: &[u8] = &[0x20, 3, 1, 0, 0];
pub(crate) const WELCOME_V3: &[u8] = &[0x20, 2, 0, 0];

/// Where clients come.
pub(crate) struct Fake {
    listener: TcpListener,
    pub(crate) port: u16,
}

/// What the system may hold between the two where it is to be little.
const NARROW_BYTES: u32 = 8 * 1024;

/// Dials by TCP, with a system that takes little before it is sent.
pub(crate) struct ShortSends;

#[async_trait]
impl Dial for ShortSends {
    async fn dial(&self, _: &str, port: u16) -> Result<Box<dyn Stream>, Trouble> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(NARROW_BYTES).expect("set");
        let connecting = socket.connect((Ipv4Addr::LOCALHOST, port).into());
        connecting
            .await
            .map(|stream| Box::new(stream) as _)
            .map_err(|error| Trouble::Broken(error.to_string()))
    }
}

/// A client.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// The version that it asked for: 4 or 5.
    pub(crate) level: u8,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    /// One whose system takes little before it is read; its clients dial by [`ShortSends`].
    pub(crate) async fn start_narrow() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(NARROW_BYTES).expect("set");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let listener = socket.listen(8).expect("it listens");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    /// The next client, after it has said what it wants.
    pub(crate) async fn next(&self) -> Peer {
        let (stream, _) = timeout(DEADLINE, self.listener.accept())
            .await
            .expect("in time")
            .expect("a client");
        let mut peer = Peer { stream, level: 0 };
        let (kind, body) = peer.read().await.expect("a packet");
        assert_eq!(kind, 0x10, "it connects");
        assert_eq!(&body[..6], b"\0\x04MQTT");
        peer.level = body[6];
        assert_eq!(body[7] & 2, 0, "the session is not to be cleared");
        peer
    }

    /// The next client, let in.
    pub(crate) async fn let_in(&self, welcome: &[u8]) -> Peer {
        let mut peer = self.next().await;
        peer.send(welcome).await;
        peer
    }
}

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The client may have had enough.
        let _ = self.stream.write_all(bytes).await;
    }

    /// A packet; none when the client is gone.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        timeout(DEADLINE, read).await.expect("in time")
    }

    /// The next packet of this kind, others passed over; pings are answered.
    pub(crate) async fn read_kind(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            let (first, body) = self.read().await?;
            if first == 0xc0 {
                self.send(&[0xd0, 0]).await;
            }
            if first & 0xf0 == kind & 0xf0 {
                return Some(body);
            }
        }
    }

    /// Confirms the client's next subscription.
    pub(crate) async fn subscribe(&mut self) {
        let body = self.read_kind(0x80).await.expect("it subscribes");
        let mut answer = vec![0x90, 0, body[0], body[1]];
        if self.level == 5 {
            answer.push(0);
        }
        answer.push(1);
        answer[1] = answer.len() as u8 - 2;
        self.send(&answer).await;
    }

    pub(crate) async fn is_closed_within(&mut self, patience: Duration) -> bool {
        let mut rest = [0; 4_096];
        let gone = async { while self.stream.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
        timeout(patience, gone).await.is_ok()
    }
}

/// A message for the client; of QoS 0 without an id.
pub(crate) fn publish(
    level: u8,
    packet_id: Option<u16>,
    duplicate: bool,
    topic: &str,
    payload: &[u8],
) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    if let Some(id) = packet_id {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if level == 5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    let mut packet = vec![0x30 | u8::from(duplicate) << 3 | u8::from(packet_id.is_some()) << 1];
    let mut length = body.len();
    loop {
        let more = length > 0x7f;
        packet.push((length & 0x7f) as u8 | u8::from(more) << 7);
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(&body);
    packet
}
