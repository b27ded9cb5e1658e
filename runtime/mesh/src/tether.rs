//! Tethers: bare TCP connections which the kernel ends together with the process at either end.
//!
//! QUIC hears of a crashed process only by its silence. So each pair of nodes holds one more connection, over the port
//! that people use, on which nothing is ever said: when a process dies its kernel closes it, and the other side knows
//! within the time of one packet. That alone proves nothing, for whoever stands between the two can cut it as well: the peer
//! is then asked over QUIC, and its port is tried. Who answers is alive and gets a new tether.
//!
//! ```text
//!  lower id                                              higher id
//!     ├── control lane: may I have a tether? ───────────────►│
//!     │◄──────────────────── a secret, good once; a TCP port ┤
//!     ├── GET /tether, Upgrade, Bearer <secret> ──► gateway ─┤ claim(secret)
//!     │◄──────────────────────── 101 Switching Protocols ────┤
//!     ┆  nothing, until one of the two processes ends        ┆
//! ```
//!
//! Without a tether (a firewall, an older version) all else works: silence tells then.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use jarvis_types::NodeId;
use jarvis_types::codec::{self, CodecError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::api::{Call, CallError, Lane, Mesh, Service};
use crate::link::Link;
use crate::mesh::MeshInner;
use crate::metrics;
use crate::probe::is_refused;

/// The path under which a gateway takes tethers.
pub const TETHER_PATH: &str = "/tether";

/// What such a connection is upgraded to.
pub const TETHER_PROTOCOL: &str = "jarvis-tether";

/// Asks for a tether; answered with an [`Offer`].
const OFFER_SERVICE: Service = Service(0x0104);

/// Answered with nothing, at once: the sign of life.
const ECHO_SERVICE: Service = Service(0x0105);

/// Says that the tether is gone on this side, so that whoever makes tethers makes a new one.
const AGAIN_SERVICE: Service = Service(0x0106);

/// Version of offers.
const VERSION: u8 = 1;

/// Length of a secret: cannot be guessed.
const SECRET_BYTES: usize = 16;

/// How long a secret waits for its connection. A peer has one at a time.
const SECRET_LIFETIME: Duration = Duration::from_secs(10);

/// How long asking for a tether may take, and how long making it.
const TIE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer has to notice by itself that its tether is gone.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Longest answer to the request for a tether, in bytes.
const MAX_HEAD_BYTES: usize = 4 * 1024;

/// First pause before another try, which then doubles.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// Longest pause before another try.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A tether that held for this long was a good one: the next pause begins anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A peer whose port is refused has this many round trips left to answer all the same.
const REFUSAL_ROUND_TRIPS: u32 = 4;

/// And at least this long.
const REFUSAL_GRACE: Duration = Duration::from_millis(5);

/// What a node answers to whoever asks it for a tether. The order of the fields is a promise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Offer {
    /// To be shown once.
    secret: [u8; SECRET_BYTES],
    /// Where, at the address that QUIC has.
    port: u16,
}

/// The tethers of one node. Clones are the same.
#[derive(Clone)]
pub struct Tethers {
    inner: Arc<Inner>,
}

struct Inner {
    mesh: Arc<MeshInner>,
    /// Where this node takes tethers.
    port: u16,
    /// Secrets that were told and not shown yet: one a peer.
    told: Mutex<HashMap<NodeId, Told>>,
    /// How many are held to each peer.
    held: watch::Sender<BTreeMap<NodeId, u32>>,
    /// How many tethers each peer has made.
    taken: Mutex<HashMap<NodeId, u64>>,
    /// Wakes whoever holds the tether to a peer, to make a new one.
    again: Mutex<HashMap<NodeId, Arc<Notify>>>,
}

struct Told {
    secret: [u8; SECRET_BYTES],
    life: u64,
    until: Instant,
}

/// The right to one tether, from a secret that was shown.
pub struct Claim {
    tethers: Tethers,
    peer: NodeId,
    life: u64,
}

/// How holding a tether ended.
enum End {
    /// It broke.
    Broken,
    /// The connection it belongs to is gone, or leads to another life of the peer.
    Over,
    /// The peer wants a new one.
    Again,
}

/// Why there is no tether.
#[derive(Debug, thiserror::Error)]
enum TieError {
    #[error("the peer offers none")]
    NotOffered(#[source] CallError),
    #[error("the connection is being replaced")]
    Replaced,
    #[error("the offer is not readable")]
    Malformed(#[source] CodecError),
    #[error("{address}: {source}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("{address}: no answer in time")]
    Timeout { address: SocketAddr },
    #[error("{address} answers {status:?}")]
    Refused { address: SocketAddr, status: String },
}

impl Mesh {
    /// Holds a tether to each connected peer, and takes theirs at `port`, where somebody must serve [`TETHER_PATH`] and hand
    /// what comes to [`Tethers::claim`]. Not for simulated networks. To be called once.
    pub fn keep_tethers(&self, port: u16) -> Tethers {
        let tethers = Tethers {
            inner: Arc::new(Inner {
                mesh: Arc::clone(&self.inner),
                port,
                told: Mutex::default(),
                held: watch::Sender::default(),
                taken: Mutex::default(),
                again: Mutex::default(),
            }),
        };
        let offering = tethers.clone();
        self.serve(OFFER_SERVICE, Arc::new(move |call: Call| offering.offer(call)));
        self.serve(
            ECHO_SERVICE,
            Arc::new(|call: Call| call.answer.send(Bytes::new())),
        );
        let waking = tethers.clone();
        self.serve(AGAIN_SERVICE, Arc::new(move |call: Call| waking.wake(call.from)));
        let keeping = tethers.clone();
        self.inner
            .tasks
            .spawn_until_cancelled(async move { keeping.follow_peers().await });
        tethers
    }
}

impl Tethers {
    /// How many tethers are held to each peer: one where all is well.
    pub fn held(&self) -> watch::Receiver<BTreeMap<NodeId, u32>> {
        self.inner.held.subscribe()
    }

    /// Takes a secret as it was shown, in hexadecimal digits; it is good once. None: nobody was told that one.
    pub fn claim(&self, shown: &str) -> Option<Claim> {
        let shown = from_hex(shown)?;
        let mut told = lock(&self.inner.told);
        let now = Instant::now();
        told.retain(|_, told| told.until > now);
        let peer = told
            .iter()
            .find(|(_, told)| same(&told.secret, &shown))
            .map(|(peer, _)| *peer)?;
        let life = told.remove(&peer)?.life;
        Some(Claim {
            tethers: self.clone(),
            peer,
            life,
        })
    }

    fn offer(&self, call: Call) {
        let Ok(link) = self.inner.mesh.link(call.from) else {
            return call.answer.refuse("there is no connection");
        };
        let mut secret = [0; SECRET_BYTES];
        self.inner.mesh.entropy.fill(&mut secret);
        let told = Told {
            secret,
            life: link.peer_life,
            until: Instant::now() + SECRET_LIFETIME,
        };
        lock(&self.inner.told).insert(call.from, told);
        let port = self.inner.port;
        match codec::encode(VERSION, &Offer { secret, port }) {
            Ok(offer) => call.answer.send(offer.into()),
            Err(error) => call.answer.refuse(error.to_string()),
        }
    }

    fn wake(&self, peer: NodeId) {
        if let Some(again) = lock(&self.inner.again).get(&peer) {
            again.notify_one();
        }
    }

    /// Of each pair the node with the lower id makes the tether, as it makes the connection.
    async fn follow_peers(&self) {
        let mesh = &self.inner.mesh;
        let mut peers = mesh.watch();
        loop {
            let nodes: Vec<NodeId> = peers.borrow_and_update().iter().map(|p| p.member.node).collect();
            for node in nodes.into_iter().filter(|node| mesh.node < *node) {
                let again = Arc::new(Notify::new());
                // Whoever was a member once may be one again; its keeper waits for that.
                if let Entry::Vacant(place) = lock(&self.inner.again).entry(node) {
                    place.insert(Arc::clone(&again));
                    let tethers = self.clone();
                    mesh.tasks.spawn(async move {
                        tokio::select! {
                            // Not when the mesh is told to stop: its peers are to hear of that by QUIC first.
                            () = tethers.inner.mesh.farewell.cancelled() => {}
                            () = tethers.keep(node, &again) => {}
                        }
                    });
                }
            }
            if peers.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes the tether to `node` whenever there is a connection and no tether, until the mesh ends.
    async fn keep(&self, node: NodeId, again: &Notify) {
        let mesh = &self.inner.mesh;
        let mut peers = mesh.watch();
        let mut pause = RETRY_MIN;
        let mut last_error = String::new();
        loop {
            let Ok(link) = mesh.link(node) else {
                if peers.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let life = link.peer_life;
            match tie(&link).await {
                Ok((stream, port)) => {
                    tracing::debug!(peer = %node, "tethered");
                    last_error.clear();
                    let since = Instant::now();
                    mesh.doors.learn(node, life, port);
                    if matches!(self.hold(node, life, stream, Some(again)).await, End::Broken) {
                        self.suspect(node, life).await;
                    }
                    if since.elapsed() >= GOOD_AFTER {
                        pause = RETRY_MIN;
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        tracing::debug!(peer = %node, error = %text, "no tether to this peer; its silence tells if it goes");
                    }
                    last_error = text;
                }
            }
            tokio::select! {
                () = wait(mesh, &mut pause) => {}
                () = self.life_over(node, life) => pause = RETRY_MIN,
            }
        }
    }

    /// The number of a tether that was just taken from `peer`.
    fn number(&self, peer: NodeId) -> u64 {
        let mut taken = lock(&self.inner.taken);
        let number = taken.entry(peer).or_default();
        *number += 1;
        *number
    }

    /// Tells the peer that its tether of that number is gone, if it has not noticed so by itself: only this side may have
    /// been cut off.
    async fn ask_again(&self, peer: NodeId, number: u64) {
        tokio::time::sleep(AGAIN_AFTER).await;
        if lock(&self.inner.taken).get(&peer) == Some(&number) {
            let mesh = Mesh {
                inner: Arc::clone(&self.inner.mesh),
            };
            let told = mesh.cast(peer, Lane::Control, AGAIN_SERVICE, 0, Bytes::new());
            tracing::debug!(%peer, told = told.is_ok(), "asked for a new tether");
        }
    }

    /// Waits for the end of a tether.
    async fn hold(
        &self,
        node: NodeId,
        life: u64,
        mut io: impl AsyncRead + Unpin,
        again: Option<&Notify>,
    ) -> End {
        let _held = Held::new(&self.inner.held, node);
        let mut nothing = [0; 16];
        let broken = async {
            // Nothing is said on a tether; what is said all the same means nothing.
            while io.read(&mut nothing).await.is_ok_and(|n| n > 0) {}
        };
        let woken = async {
            match again {
                Some(again) => again.notified().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            () = broken => End::Broken,
            () = self.life_over(node, life) => End::Over,
            () = woken => End::Again,
        };
        if self.inner.held.borrow().get(&node) == Some(&1) {
            // What cuts this connection may cut others.
            self.inner.mesh.doors.forget(node, life);
        }
        if self.inner.mesh.tasks.token().is_cancelled() {
            // The peers shall hear by QUIC that this node goes in order, before they see the tether's end.
            self.inner.mesh.farewell.cancelled().await;
        }
        end
    }

    /// Learns where the peer takes connections, for who takes tethers does not know; ends never.
    async fn find_door(&self, peer: NodeId, life: u64) -> End {
        if let Ok(link) = self.inner.mesh.link(peer)
            && link.peer_life == life
        {
            match ask_offer(&link).await {
                Ok(offer) => self.inner.mesh.doors.learn(peer, life, offer.port),
                Err(error) => {
                    tracing::debug!(%peer, %error, "the peer does not say where it takes connections")
                }
            }
        }
        std::future::pending().await
    }

    /// Completes when the connection to that life of `node` is gone.
    async fn life_over(&self, node: NodeId, life: u64) {
        let mesh = &self.inner.mesh;
        let mut peers = mesh.watch();
        while mesh.link(node).is_ok_and(|link| link.peer_life == life) {
            if peers.changed().await.is_err() {
                return;
            }
        }
    }

    /// The tether to that life of `node` has broken: asks it whether it is alive, and ends the connection if not.
    async fn suspect(&self, node: NodeId, life: u64) {
        let Ok(link) = self.inner.mesh.link(node) else {
            return;
        };
        if link.peer_life != life || link.connection.close_reason().is_some() {
            return;
        }
        let began = Instant::now();
        let verdict = ask(&link, self.inner.mesh.timers.probe_patience).await;
        let took = began.elapsed();
        match verdict {
            Verdict::Alive => {
                metrics::tether_broken("alive");
                tracing::info!(peer = %node, ?took, "a tether broke, but the peer is alive: something between the two cuts connections");
            }
            Verdict::Gone(why) => {
                metrics::tether_broken("crashed");
                tracing::info!(peer = %node, ?took, why, "the peer's process is gone: its tether broke and it does not answer");
                link.crashed();
            }
            Verdict::Lost => {}
        }
    }
}

impl Claim {
    /// Whose it is.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Holds the connection on which the secret was shown.
    pub fn keep(self, io: impl AsyncRead + Send + Unpin + 'static) {
        let Self { tethers, peer, life } = self;
        let tasks = tethers.inner.mesh.tasks.clone();
        tasks.spawn(async move {
            let held = async {
                let number = tethers.number(peer);
                let end = tokio::select! {
                    end = tethers.hold(peer, life, io, None) => end,
                    end = tethers.find_door(peer, life) => end,
                };
                if matches!(end, End::Broken) {
                    tethers.suspect(peer, life).await;
                    tethers.ask_again(peer, number).await;
                }
            };
            tokio::select! {
                () = tethers.inner.mesh.farewell.cancelled() => {}
                () = held => {}
            }
        });
    }
}

/// Counts a tether while it is held.
struct Held<'t> {
    all: &'t watch::Sender<BTreeMap<NodeId, u32>>,
    peer: NodeId,
}

impl<'t> Held<'t> {
    fn new(all: &'t watch::Sender<BTreeMap<NodeId, u32>>, peer: NodeId) -> Self {
        all.send_modify(|held| {
            *held.entry(peer).or_default() += 1;
            metrics::tethers(held.len());
        });
        Self { all, peer }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.send_modify(|held| {
            if let Some(count) = held.get_mut(&self.peer) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&self.peer);
                }
            }
            metrics::tethers(held.len());
        });
    }
}

/// What came of asking a peer whose tether broke.
enum Verdict {
    Alive,
    /// How that is known.
    Gone(&'static str),
    /// The connection ended meanwhile, by itself.
    Lost,
}

/// Asks over QUIC, and tries the port. An answer outweighs a refusal.
async fn ask(link: &Link, patience: Duration) -> Verdict {
    let mut echo = Box::pin(link.call(Lane::Control, ECHO_SERVICE, 0, Bytes::new(), patience));
    let mut refused = Box::pin(is_refused(link.connection.remote_address()));
    let answer = tokio::select! {
        biased;
        answer = &mut echo => answer,
        true = &mut refused => {
            let grace = (link.connection.rtt() * REFUSAL_ROUND_TRIPS).clamp(REFUSAL_GRACE, patience.max(REFUSAL_GRACE));
            match tokio::time::timeout(grace, &mut echo).await {
                Ok(answer) => answer,
                Err(_) => return Verdict::Gone("its machine refuses its port"),
            }
        }
    };
    match answer {
        Ok(Err(CallError::Timeout { .. })) => Verdict::Gone("it is silent"),
        Ok(Err(CallError::ConnectionLost(_) | CallError::NotConnected(_) | CallError::Stopping)) => {
            Verdict::Lost
        }
        // A refusal is an answer too: of one that does not know the question. `Err`: a new connection has just been made.
        Ok(Ok(_) | Err(_)) | Err(_) => Verdict::Alive,
    }
}

/// Makes a tether, and says to which port.
async fn tie(link: &Link) -> Result<(TcpStream, u16), TieError> {
    let offer = ask_offer(link).await?;
    let mut address = link.connection.remote_address();
    address.set_port(offer.port);
    match tokio::time::timeout(TIE_TIMEOUT, show(address, &offer.secret)).await {
        Ok(shown) => Ok((shown?, offer.port)),
        Err(_) => Err(TieError::Timeout { address }),
    }
}

async fn ask_offer(link: &Link) -> Result<Offer, TieError> {
    let asked = link.call(Lane::Control, OFFER_SERVICE, 0, Bytes::new(), TIE_TIMEOUT);
    let offer = asked
        .await
        .map_err(|_| TieError::Replaced)?
        .map_err(TieError::NotOffered)?;
    codec::decode(VERSION, &offer).map_err(TieError::Malformed)
}

/// Shows the secret at `address`.
async fn show(address: SocketAddr, secret: &[u8]) -> Result<TcpStream, TieError> {
    let tcp = |source| TieError::Tcp { address, source };
    let mut stream = TcpStream::connect(address).await.map_err(tcp)?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let request = format!(
        "GET {TETHER_PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: {TETHER_PROTOCOL}\r\n\
         Authorization: Bearer {secret}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(tcp)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        head.push(stream.read_u8().await.map_err(tcp)?);
    }
    let status = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if status.starts_with(b"HTTP/1.1 101") {
        return Ok(stream);
    }
    let status = String::from_utf8_lossy(status).into_owned();
    Err(TieError::Refused { address, status })
}

/// Between half and all of the pause, which then doubles.
async fn wait(mesh: &MeshInner, pause: &mut Duration) {
    let now = *pause;
    *pause = (now * 2).min(RETRY_MAX);
    let jitter_us = mesh.entropy.next_u64() % (now.as_micros() as u64 / 2).max(1);
    tokio::time::sleep(now / 2 + Duration::from_micros(jitter_us)).await;
}

fn from_hex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; SECRET_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| (d as char).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// Compares in a time that does not tell where they differ.
fn same(a: &[u8; SECRET_BYTES], b: &[u8; SECRET_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let offer = Offer {
            secret: [7; SECRET_BYTES],
            port: 8007,
        };
        let bytes = codec::encode(VERSION, &offer).unwrap();
        let mut golden = vec![1];
        golden.extend([7; SECRET_BYTES]);
        golden.extend([251, 0x47, 0x1f]);
        assert_eq!(bytes, golden);
        assert_eq!(codec::decode::<Offer>(VERSION, &bytes).unwrap(), offer);
    }

    #[test]
    fn only_whole_hexadecimal_secrets_are_read() {
        assert_eq!(from_hex(&"0f".repeat(SECRET_BYTES)), Some([15; SECRET_BYTES]));
        for wrong in [
            "",
            "0f",
            &"zz".repeat(SECRET_BYTES),
            &"é".repeat(SECRET_BYTES),
            &"0f".repeat(17),
        ] {
            assert_eq!(from_hex(wrong), None, "{wrong:?}");
        }
        assert!(same(&[1; 16], &[1; 16]) && !same(&[1; 16], &[2; 16]));
    }
}
