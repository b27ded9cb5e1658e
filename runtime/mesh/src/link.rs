//! One connection to one peer: its framed streams, the calls under way on it, and its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jarvis_types::NodeId;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::{Answer, Call, CallError, Lane, LaneStream, Lost, Service};
use crate::close::CloseCode;
use crate::frame::{
    self, CONTROL_SLOT, FrameError, Header, Kind, MAX_REFUSAL_BYTES, PREAMBLE_BYTES, RAW_PREAMBLE_BYTES,
    SLOTS,
};
use crate::identity::CertificateNames;
use crate::mesh::MeshInner;
use crate::metrics::LaneMeter;
use crate::outgoing::{Outgoing, PushError};

/// Most calls that wait for their answers on one connection.
const MAX_CALLS_UNDER_WAY: usize = 65_536;

/// How long the other side may take over a stream's first bytes.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the end of a stream its connection may go on without being closed.
const CLOSING_GRACE: Duration = Duration::from_millis(300);

/// How long a replaced connection stays for the answers under way on it.
pub(crate) const RETIRE_GRACE: Duration = Duration::from_secs(5);

/// What one read takes at most.
const READ_CHUNK_BYTES: usize = 256 * 1024;

/// Code on a raw stream that nobody takes.
const UNKNOWN_SERVICE: u32 = 1;

/// Fires on a slot once nothing more comes on it by one connection. Whoever reads the connection after it waits for that,
/// so that order holds across the two.
type Turns = [CancellationToken; SLOTS];

type Waiting = HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>;

/// A connection that both sides have agreed to.
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    /// Which life of the peer this connects to.
    pub(crate) peer_life: u64,
    pub(crate) connection: quinn::Connection,
    /// Until when the peer's certificate is good.
    pub(crate) peer_not_after_ms: u64,
    /// Until when our certificate was good that we showed: tells whether it is the present one.
    pub(crate) own_not_after_ms: u64,
    pub(crate) since: tokio::time::Instant,
    /// Whether the dialer made this one while the one before was alive.
    pub(crate) continues: bool,
    /// Ends the tasks of this connection.
    pub(crate) token: CancellationToken,
    outs: [Arc<Outgoing>; SLOTS],
    /// What ends here.
    turns: Turns,
    /// What must have ended before: the connections that this one replaces.
    before: Vec<Turns>,
    /// None once the connection is lost.
    waiting: Mutex<Option<Waiting>>,
    next_call: AtomicU64,
    retired: AtomicBool,
    /// Slots on which the peer has said its last word.
    last_words: AtomicUsize,
    /// The other side waits for nothing more, and has heard all of ours.
    peer_done: AtomicBool,
    /// This side closed it because the peer's process has ended.
    crashed: AtomicBool,
    /// This side closed it because nothing was heard on it.
    silent: AtomicBool,
    /// Something about retiring has changed.
    progress: Notify,
}

/// Takes a call out of the table when its caller stops waiting.
struct Forget<'a> {
    link: &'a Link,
    call: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.take_waiting(self.call);
    }
}

impl Link {
    pub(crate) fn new(
        connection: quinn::Connection,
        names: CertificateNames,
        greeting: &Greeting,
        own_not_after_ms: u64,
        token: CancellationToken,
    ) -> Self {
        Self {
            peer: names.node,
            peer_life: greeting.life,
            continues: greeting.continues,
            connection,
            peer_not_after_ms: names.not_after_ms,
            own_not_after_ms,
            since: tokio::time::Instant::now(),
            token,
            outs: std::array::from_fn(|slot| Arc::new(Outgoing::new(slot))),
            waiting: Mutex::new(Some(HashMap::new())),
            next_call: AtomicU64::new(1),
            retired: AtomicBool::new(false),
            last_words: AtomicUsize::new(0),
            peer_done: AtomicBool::new(false),
            crashed: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            progress: Notify::new(),
            turns: std::array::from_fn(|_| CancellationToken::new()),
            before: Vec::new(),
        }
    }

    /// Everything that comes by `old` and by what it replaced comes before what comes by this one.
    pub(crate) fn follow(&mut self, old: &Self) {
        let pending = |turns: &&Turns| !turns.iter().all(CancellationToken::is_cancelled);
        self.before = old
            .before
            .iter()
            .chain([&old.turns])
            .filter(pending)
            .cloned()
            .collect();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_waiting(&self, call: u64) -> Option<oneshot::Sender<Result<Bytes, CallError>>> {
        let mut waiting = self.waiting();
        let table = waiting.as_mut()?;
        let found = table.remove(&call);
        if table.is_empty() && self.retired.load(Ordering::Relaxed) {
            self.progress.notify_one();
        }
        found
    }

    fn push_error(&self, error: PushError) -> CallError {
        match error {
            PushError::Full => CallError::Overloaded(self.peer),
            PushError::Retired | PushError::Closed => CallError::NotConnected(self.peer),
        }
    }

    /// Asks and waits. `Err(body)` where this connection has been replaced and another should be tried.
    pub(crate) async fn call(
        &self,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Result<Bytes, CallError>, Bytes> {
        let call = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            let Some(table) = waiting.as_mut() else {
                drop(waiting);
                // Replaced and gone between the caller's look for a connection and here.
                let retired = self.retired.load(Ordering::Acquire);
                return if retired {
                    Err(body)
                } else {
                    Ok(Err(CallError::NotConnected(self.peer)))
                };
            };
            if table.len() >= MAX_CALLS_UNDER_WAY {
                return Ok(Err(CallError::Overloaded(self.peer)));
            }
            table.insert(call, sender);
        }
        let _forget = Forget { link: self, call };
        let header = Header {
            kind: Kind::Call,
            service: service.0,
            call,
        };
        match self.outs[frame::slot_of(lane, order)].push(header, body.clone()) {
            Ok(()) => {}
            Err(PushError::Retired) => return Err(body),
            Err(error) => return Ok(Err(self.push_error(error))),
        }
        drop(body);
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Ok(Err(CallError::ConnectionLost(self.peer))),
            Err(_) => Ok(Err(CallError::Timeout {
                node: self.peer,
                after: timeout,
            })),
        }
    }

    /// Sends. `Err(body)` where this connection has been replaced and another should be tried.
    pub(crate) fn cast(
        &self,
        lane: Lane,
        service: Service,
        order: u64,
        body: Bytes,
    ) -> Result<Result<(), CallError>, Bytes> {
        let header = Header {
            kind: Kind::Cast,
            service: service.0,
            call: 0,
        };
        match self.outs[frame::slot_of(lane, order)].push(header, body.clone()) {
            Ok(()) => Ok(Ok(())),
            Err(PushError::Retired) => Err(body),
            Err(error) => Ok(Err(self.push_error(error))),
        }
    }

    /// Opens a raw stream.
    pub(crate) async fn open(&self, lane: Lane, service: Service) -> Result<LaneStream, CallError> {
        let lost = || CallError::ConnectionLost(self.peer);
        let (mut send, recv) = self.connection.open_bi().await.map_err(|_| lost())?;
        send.write_all(&frame::raw_preamble(lane, service.0))
            .await
            .map_err(|_| lost())?;
        Ok(LaneStream {
            peer: self.peer,
            send,
            recv,
        })
    }

    /// Asks the peer to dial again, since our certificate has changed.
    pub(crate) fn ask_to_redial(&self) {
        self.outs[CONTROL_SLOT].push_answer(
            Header {
                kind: Kind::Redial,
                service: 0,
                call: 0,
            },
            Bytes::new(),
        );
    }

    /// Runs until the connection is lost: the writers, the readers and the raw streams.
    pub(crate) fn start(
        self: &Arc<Self>,
        mesh: &Arc<MeshInner>,
        control: (quinn::SendStream, quinn::RecvStream),
    ) {
        let (send, recv) = control;
        let mut control = Some(send);
        for slot in 0..SLOTS {
            let (link, life) = (Arc::clone(self), mesh.life);
            let opened = if slot == CONTROL_SLOT {
                control.take()
            } else {
                None
            };
            self.spawn(mesh, async move {
                // A stream that breaks takes its connection along: a lane with a hole in it has no order.
                if link.write(slot, opened, life).await.is_err() && !link.token.is_cancelled() {
                    CloseCode::Protocol.close(&link.connection);
                }
            });
        }
        self.spawn_reader(mesh, CONTROL_SLOT, recv);
        let (link, inner) = (Arc::clone(self), Arc::clone(mesh));
        self.spawn(mesh, async move { link.accept_framed(&inner).await });
        let (link, inner) = (Arc::clone(self), Arc::clone(mesh));
        self.spawn(mesh, async move { link.accept_raw(&inner).await });
    }

    fn spawn(&self, mesh: &Arc<MeshInner>, future: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        mesh.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = future => {}
            }
        });
    }

    async fn write(
        &self,
        slot: usize,
        opened: Option<quinn::SendStream>,
        life: u64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut stream = match opened {
            Some(stream) => stream,
            None => {
                let mut stream = self.connection.open_uni().await?;
                stream.write_all(&frame::preamble(slot, life)).await?;
                stream
            }
        };
        stream.set_priority(priority(frame::slot_lane(slot).0))?;
        self.outs[slot].write_to(&mut stream).await?;
        Ok(())
    }

    async fn accept_framed(self: Arc<Self>, mesh: &Arc<MeshInner>) {
        let mut seen = [false; SLOTS];
        seen[CONTROL_SLOT] = true;
        while let Ok(mut recv) = self.connection.accept_uni().await {
            let mut bytes = [0; PREAMBLE_BYTES];
            let read = tokio::time::timeout(PREAMBLE_TIMEOUT, recv.read_exact(&mut bytes)).await;
            let Some(begun) = begun(read) else { return };
            let slot = begun.and_then(|()| frame::parse_preamble(&bytes));
            let slot = slot.and_then(|(slot, _)| {
                let (lane, index) = frame::slot_lane(slot);
                if std::mem::replace(&mut seen[slot], true) {
                    Err(FrameError::Twice(lane, index))
                } else {
                    Ok(slot)
                }
            });
            match slot {
                Ok(slot) => self.spawn_reader(mesh, slot, recv),
                Err(error) => return self.protocol_error(&error),
            }
        }
    }

    fn spawn_reader(self: &Arc<Self>, mesh: &Arc<MeshInner>, slot: usize, recv: quinn::RecvStream) {
        let (link, inner) = (Arc::clone(self), Arc::clone(mesh));
        self.spawn(mesh, async move {
            let earlier = async {
                for turns in &link.before {
                    turns[slot].cancelled().await;
                }
            };
            // A connection that neither ends nor says its last word cannot hold this one up for longer than it may itself
            // live on.
            let _late = tokio::time::timeout(RETIRE_GRACE, earlier).await;
            if let Err(error) = link.read(&inner, slot, recv).await {
                link.protocol_error(&error);
            }
        });
    }

    async fn read(
        self: &Arc<Self>,
        mesh: &Arc<MeshInner>,
        slot: usize,
        mut recv: quinn::RecvStream,
    ) -> Result<(), FrameError> {
        let meter = LaneMeter::new(frame::slot_lane(slot).0, "in");
        let mut buffer = BytesMut::new();
        // A stream that ends with its connection is the connection's matter; one that ends before is an error.
        while let Ok(chunk) = recv.read_chunk(READ_CHUNK_BYTES, true).await {
            let Some(chunk) = chunk else {
                // A peer that goes away ends its streams a moment before it closes the connection, and says why with that.
                let closed = tokio::time::timeout(CLOSING_GRACE, self.connection.closed()).await;
                return closed.map(drop).map_err(|_| FrameError::Torn);
            };
            buffer.extend_from_slice(&chunk.bytes);
            while let Some((header, body)) = frame::next_frame(&mut buffer)? {
                meter.count(body.len());
                self.take(mesh, slot, header, body);
            }
        }
        Ok(())
    }

    fn take(self: &Arc<Self>, mesh: &Arc<MeshInner>, slot: usize, header: Header, body: Bytes) {
        let service = Service(header.service);
        match header.kind {
            Kind::Call => {
                let (out, service, call) = (Arc::clone(&self.outs[slot]), header.service, header.call);
                let answer = Answer(Some(Box::new(move |result| answer(&out, service, call, result))));
                mesh.handle(Call {
                    from: self.peer,
                    service: Service(service),
                    body,
                    answer,
                });
            }
            Kind::Cast => mesh.handle(Call {
                from: self.peer,
                service,
                body,
                answer: Answer::none(),
            }),
            Kind::Answer => {
                if let Some(waiting) = self.take_waiting(header.call) {
                    let _gone = waiting.send(Ok(body));
                }
            }
            Kind::Refusal => {
                if let Some(waiting) = self.take_waiting(header.call) {
                    let message =
                        String::from_utf8_lossy(&body[..body.len().min(MAX_REFUSAL_BYTES)]).into_owned();
                    let _gone = waiting.send(Err(CallError::Refused {
                        node: self.peer,
                        message,
                    }));
                }
            }
            Kind::Last => {
                self.turns[slot].cancel();
                self.last_words.fetch_add(1, Ordering::AcqRel);
                self.progress.notify_one();
            }
            Kind::Goodbye => {
                self.peer_done.store(true, Ordering::Release);
                self.progress.notify_one();
            }
            Kind::Redial => mesh.redial(self.peer),
        }
    }

    async fn accept_raw(self: Arc<Self>, mesh: &Arc<MeshInner>) {
        while let Ok((send, recv)) = self.connection.accept_bi().await {
            let (link, inner) = (Arc::clone(&self), Arc::clone(mesh));
            // Bounded by the number of raw streams QUIC grants the peer.
            self.spawn(mesh, async move { link.take_raw(&inner, send, recv).await });
        }
    }

    async fn take_raw(
        &self,
        mesh: &Arc<MeshInner>,
        mut send: quinn::SendStream,
        mut recv: quinn::RecvStream,
    ) {
        let mut bytes = [0; RAW_PREAMBLE_BYTES];
        let Ok(Ok(())) = tokio::time::timeout(PREAMBLE_TIMEOUT, recv.read_exact(&mut bytes)).await else {
            return;
        };
        match frame::parse_raw_preamble(bytes) {
            Ok((_, service)) => match mesh.stream_handler(Service(service)) {
                Some(handler) => handler.accept(LaneStream {
                    peer: self.peer,
                    send,
                    recv,
                }),
                None => {
                    let _closed = send.reset(UNKNOWN_SERVICE.into());
                    let _closed = recv.stop(UNKNOWN_SERVICE.into());
                }
            },
            Err(error) => self.protocol_error(&error),
        }
    }

    fn protocol_error(&self, error: &FrameError) {
        // One stream's error ends the connection and so all others: it is told once.
        if self.connection.close_reason().is_some() {
            return;
        }
        tracing::warn!(
            peer = %self.peer, %error,
            "a peer sent what the protocol does not have; its connection is closed. Do both run the same version?"
        );
        crate::metrics::refused(CloseCode::Protocol.label());
        self.connection
            .close((CloseCode::Protocol as u32).into(), error.to_string().as_bytes());
    }

    /// Calls and casts take another connection from here on. Waits until all that was sent before has arrived on both sides
    /// and its answers are in, or the grace is over.
    pub(crate) async fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.outs.iter().for_each(|out| out.retire());
        let both_done = async {
            let mut said = false;
            loop {
                // Only then has everything been taken that the peer sent on this connection.
                let heard = self.last_words.load(Ordering::Acquire) >= SLOTS;
                let idle = heard && self.waiting().as_ref().is_none_or(HashMap::is_empty);
                if idle && !std::mem::replace(&mut said, idle) {
                    let goodbye = Header {
                        kind: Kind::Goodbye,
                        service: 0,
                        call: 0,
                    };
                    self.outs[CONTROL_SLOT].push_answer(goodbye, Bytes::new());
                }
                if said && self.peer_done.load(Ordering::Acquire) {
                    return;
                }
                self.progress.notified().await;
            }
        };
        let _late = tokio::time::timeout(RETIRE_GRACE, both_done).await;
    }

    /// Closes it, for the peer's process has ended.
    pub(crate) fn crashed(&self) {
        self.crashed.store(true, Ordering::Release);
        CloseCode::Superseded.close(&self.connection);
    }

    /// Closes it, for nothing was heard on it for too long.
    pub(crate) fn silent(&self) {
        self.silent.store(true, Ordering::Release);
        CloseCode::Superseded.close(&self.connection);
    }

    /// What the end of the connection says of the peer.
    pub(crate) fn how_lost(&self, reason: &quinn::ConnectionError) -> Lost {
        match reason {
            quinn::ConnectionError::LocallyClosed if self.crashed.load(Ordering::Acquire) => Lost::Crashed,
            quinn::ConnectionError::LocallyClosed if self.silent.load(Ordering::Acquire) => Lost::Silent,
            quinn::ConnectionError::TimedOut => Lost::Silent,
            _ => Lost::Closed,
        }
    }

    /// The connection is lost: nobody waits any longer.
    pub(crate) fn end(&self) {
        self.token.cancel();
        self.turns.iter().for_each(CancellationToken::cancel);
        self.outs.iter().for_each(|out| out.close());
        let table = self.waiting().take();
        for (_, waiting) in table.into_iter().flatten() {
            let _gone = waiting.send(Err(CallError::ConnectionLost(self.peer)));
        }
    }
}

fn answer(out: &Outgoing, service: u16, call: u64, result: Result<Bytes, String>) {
    let (kind, body) = match result {
        Ok(body) if body.len() <= jarvis_types::limits::MAX_MESH_FRAME_BYTES => (Kind::Answer, body),
        Ok(body) => (
            Kind::Refusal,
            format!("the answer of {} bytes exceeds the frame limit", body.len()).into(),
        ),
        Err(mut message) => {
            let mut end = message.len().min(MAX_REFUSAL_BYTES);
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            (Kind::Refusal, message.into())
        }
    };
    out.push_answer(Header { kind, service, call }, body);
}

/// What QUIC sends first when it cannot send everything at once.
fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::Raft => 3,
        Lane::Control => 2,
        Lane::Audio => 1,
        Lane::Actors => 0,
        Lane::Snapshot => -1,
    }
}

/// What two sides say to one another on a new connection.
pub(crate) struct Greeting {
    /// The control streams of both directions.
    pub(crate) control: (quinn::SendStream, quinn::RecvStream),
    /// Which life of the peer this is.
    pub(crate) life: u64,
    /// Whether the dialer has a connection already, which this one is to replace.
    pub(crate) continues: bool,
}

/// Greets on a new connection: each side opens its control stream and reads the other's. `continues` is the dialer's to
/// say.
pub(crate) async fn greet(
    connection: &quinn::Connection,
    life: u64,
    continues: Option<bool>,
) -> Result<Greeting, GreetError> {
    let mut send = connection.open_uni().await?;
    let mut hello = frame::preamble(CONTROL_SLOT, life).to_vec();
    hello.push(u8::from(continues.unwrap_or(false)));
    send.write_all(&hello)
        .await
        .map_err(|_| GreetError::lost(connection))?;
    let mut recv = connection.accept_uni().await?;
    let mut bytes = [0; PREAMBLE_BYTES];
    recv.read_exact(&mut bytes)
        .await
        .map_err(|_| GreetError::lost(connection))?;
    let (slot, life) = frame::parse_preamble(&bytes)?;
    if slot != CONTROL_SLOT {
        return Err(GreetError::Frame(FrameError::Index(frame::slot_lane(slot).0, 0)));
    }
    let mut flag = [0; 1];
    recv.read_exact(&mut flag)
        .await
        .map_err(|_| GreetError::lost(connection))?;
    let continues = continues.unwrap_or(flag[0] != 0);
    Ok(Greeting {
        control: (send, recv),
        life,
        continues,
    })
}

/// Why greeting failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the stream broke off")]
    Broken,
}

impl GreetError {
    fn lost(connection: &quinn::Connection) -> Self {
        connection.close_reason().map_or(Self::Broken, Self::Connection)
    }
}

/// Whether a stream's first bytes came. None: the connection ended meanwhile, which is no error of the peer's.
fn begun(
    read: Result<Result<(), quinn::ReadExactError>, tokio::time::error::Elapsed>,
) -> Option<Result<(), FrameError>> {
    use quinn::{ReadError, ReadExactError};
    match read {
        Ok(Ok(())) => Some(Ok(())),
        Ok(Err(ReadExactError::ReadError(ReadError::ConnectionLost(_)))) => None,
        Ok(Err(_)) | Err(_) => Some(Err(FrameError::Torn)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn::{ConnectionError, ReadError, ReadExactError};

    #[tokio::test]
    async fn a_connection_that_ends_while_a_stream_begins_is_no_error_of_the_protocol() {
        let lost = ReadError::ConnectionLost(ConnectionError::TimedOut);
        assert_eq!(begun(Ok(Err(ReadExactError::ReadError(lost)))), None);
        assert_eq!(begun(Ok(Ok(()))), Some(Ok(())));
        let late = tokio::time::timeout(Duration::ZERO, std::future::pending()).await;
        for torn in [
            late,
            Ok(Err(ReadExactError::FinishedEarly(3))),
            Ok(Err(ReadExactError::ReadError(ReadError::Reset(0u8.into())))),
        ] {
            assert_eq!(begun(torn), Some(Err(FrameError::Torn)));
        }
    }
}
