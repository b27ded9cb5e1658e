//! A connection that stands: one loop that reads, writes, and keeps the books of both sides.
//!
//! Nothing here waits for anything but its own turn: bytes are written when the broker takes them, and read when there is room
//! for what they may hold. So a slow cluster holds the broker back, and a slow broker holds publishers back.
//!
//! A publication that waits here for a slow broker may outlive the permission to act. Then the connection is ended and the
//! publication with it, in the middle of its bytes perhaps: it stays in the outbox, to be sent again once that is permitted.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use jarvis_host::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::bridge::Gate;
use crate::link::connect::Link;
use crate::link::dial::Stream;
use crate::link::subscriptions::{Ask, Subscriptions};
use crate::link::wire::{self, Incoming, Publish, Terms, Version};
use crate::message::{Digest, Message};
use crate::metrics;
use crate::options::{Options, Patience};
use crate::outbox::{Confirmed, Outbox};
use crate::pipeline::Pipeline;
use crate::publish::{MAX_WAITING, PublishError, Request};
use crate::session::Arrival;
use crate::trouble::Trouble;
use crate::wanted::Wanted;

/// Read at once.
const READ_BYTES: usize = 16 * 1_024;
/// With so much unwritten, nothing is read or published: acknowledgements must not pile up either.
const MAX_UNWRITTEN_BYTES: usize = 512 * 1_024;
/// The largest number of a subscription (MQTT 5, 3.8.2.1.2).
pub(crate) const MAX_IDENTIFIER: usize = 268_435_455;
/// How long nothing may come after a connection until what the broker kept is taken to have come.
const QUIET: Duration = Duration::from_millis(150);
/// A sleep that ends so much later than it was meant to: the machine or the process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// How soon it is asked again whether this node may act.
const GATE_PAUSE: Duration = Duration::from_millis(20);

/// What outlives a connection.
pub(crate) struct Books {
    pub(crate) outbox: Outbox,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) wanted: watch::Receiver<Wanted>,
    /// The number of the next subscription, for brokers that say by which one a message comes.
    identifier: usize,
    pub(crate) client_id: String,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet_bytes: usize,
    pub(crate) patience: Patience,
    pub(crate) gate: Gate,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Books {
    pub(crate) fn new(
        options: &Options,
        requests: mpsc::Receiver<Request>,
        wanted: watch::Receiver<Wanted>,
        gate: Gate,
        clock: Arc<dyn Clock>,
        identifier: usize,
    ) -> Self {
        Self {
            outbox: Outbox::new(),
            identifier,
            subscriptions: Subscriptions::new(options.held.clone()),
            requests,
            wanted,
            client_id: options.client_id.clone(),
            receive_maximum: options.receive_maximum.max(1),
            max_packet_bytes: options.max_packet_bytes,
            patience: options.patience,
            gate,
            clock,
        }
    }
}

/// A message that may come again.
struct Copied {
    digest: Digest,
    /// So many times.
    left: usize,
    /// The subscriptions by which it came.
    identifiers: Vec<usize>,
}

/// A connection in use.
pub(crate) struct Serving {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    version: Version,
    terms: Terms,
    read: BytesMut,
    unwritten: BytesMut,
    unflushed: bool,
    /// Whether publications are among what is not written or flushed.
    acts: bool,
    /// A message for which there is no room: nothing more is read.
    parked: Option<Publish>,
    heard_at: Instant,
    /// Since when the broker has taken nothing of what is unwritten.
    wrote_at: Instant,
    ping_at: Instant,
    ping_every: Duration,
    silence: Duration,
    /// Set while the node may not act.
    ask_gate_at: Option<Instant>,
    /// When what the broker kept is taken to have come, if nothing more does; none: it has.
    caught_up_at: Option<Instant>,
    /// The broker has answered since the connection stands.
    answered: bool,
    /// What came last, if it may come again by another subscription.
    copied: Option<Copied>,
    /// Messages are let be: the next owner gets them.
    draining: bool,
}

impl Serving {
    pub(crate) fn new(link: Link, books: &mut Books) -> Self {
        let now = Instant::now();
        let (reader, writer) = tokio::io::split(link.stream);
        let ours = books.patience.keep_alive;
        let theirs = link.terms.keep_alive_s.filter(|s| *s > 0);
        let silence = theirs.map_or(ours, |s| ours.min(Duration::from_secs(s.into())));
        let ping_every = silence / 3;
        let limit = books.receive_maximum.min(link.terms.receive_maximum);
        books.outbox.reconnected(link.session_present, usize::from(limit));
        books.subscriptions.connected(link.session_present);
        Self {
            reader,
            writer,
            version: link.version,
            terms: link.terms,
            read: link.read,
            unwritten: BytesMut::new(),
            unflushed: false,
            acts: false,
            parked: None,
            heard_at: now,
            wrote_at: now,
            // At once: what it kept comes before its answer, as far as it sends without being acknowledged.
            ping_at: now,
            ping_every,
            silence,
            ask_gate_at: None,
            caught_up_at: Some(now + QUIET),
            answered: false,
            copied: None,
            draining: false,
        }
    }

    /// Whether what the broker kept for the session is decided on.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up_at.is_none()
    }

    /// From here on messages are neither taken in nor acknowledged.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.parked = None;
    }

    /// Whether nothing is owed: all that was taken in is acknowledged, all that was sent is confirmed, all is written.
    pub(crate) fn is_drained(&self, books: &Books, pipeline: &Pipeline) -> bool {
        let session = pipeline.shared.session();
        session.undecided() == 0
            && session.unacknowledged() == 0
            && books.outbox.under_way() == 0
            && (books.outbox.waiting() == 0 || !(books.gate)())
            && self.unwritten.is_empty()
    }

    /// Does what can be done at once: takes in what was read, and writes what is due.
    pub(crate) fn work(&mut self, books: &mut Books, pipeline: &Pipeline) -> Result<(), Trouble> {
        self.parse(books, pipeline)?;
        self.fill(books, pipeline);
        Ok(())
    }

    /// Waits for whatever comes next: something to read, room to write, a wish, an end of a message, or time.
    pub(crate) async fn turn(&mut self, books: &mut Books, pipeline: &Pipeline) -> Result<(), Trouble> {
        let may_read = self.parked.is_none() && self.unwritten.len() < MAX_UNWRITTEN_BYTES;
        let may_write = !self.unwritten.is_empty() || self.unflushed;
        let may_take = books.outbox.waiting() < MAX_WAITING;
        let is_parked = self.parked.is_some();
        let wake_at = self.wake_at(books);
        // What comes is known to be bounded: by the largest packet, and by one reading.
        self.read.reserve(READ_BYTES);
        let room = pipeline.all_room();
        tokio::select! {
            read = self.reader.read_buf(&mut self.read), if may_read => match read {
                Ok(0) => return Err(Trouble::Closed),
                Ok(_) => self.heard_at = Instant::now(),
                Err(error) => return Err(broken(&error)),
            },
            written = write(
                &mut self.writer,
                &mut self.unwritten,
                &mut self.unflushed,
                self.acts.then_some(&books.gate),
            ), if may_write => {
                written?;
                self.wrote_at = Instant::now();
                self.acts &= !self.unwritten.is_empty() || self.unflushed;
            }
            () = pipeline.shared.settled.notified() => {}
            request = books.requests.recv(), if may_take => if let Some(request) = request {
                books.outbox.push(request);
            },
            changed = books.wanted.changed() => match changed {
                Ok(()) => books.subscriptions.stir(),
                // Whoever could want something else is gone, and with him soon this.
                Err(_) => std::future::pending().await,
            },
            _ = room.acquire(), if is_parked => self.heard_at = Instant::now(),
            () = sleep_until(wake_at) => {}
        }
        if wake_at.elapsed() >= STOOD_STILL {
            // The machine or the process stood still: what came meanwhile lies in the socket.
            let now = Instant::now();
            (self.answered, self.ping_at, self.caught_up_at) = (false, now, Some(now + QUIET));
        }
        self.check(books, pipeline)
    }

    /// Says farewell, so that the broker keeps the session and does not wonder.
    pub(crate) async fn farewell(mut self, gate: &Gate) {
        wire::farewell(&mut self.unwritten);
        let gate = self.acts.then_some(gate);
        while !self.unwritten.is_empty() || self.unflushed {
            if write(&mut self.writer, &mut self.unwritten, &mut self.unflushed, gate)
                .await
                .is_err()
            {
                return;
            }
        }
        // The broker closes when it has read it.
        if self.writer.shutdown().await.is_ok() {
            let mut rest = [0; 1_024];
            while self.reader.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
        }
    }

    fn wake_at(&self, books: &Books) -> Instant {
        let stalled_at = (!self.unwritten.is_empty()).then_some(self.wrote_at + books.patience.write);
        let silent_at = self.parked.is_none().then_some(self.heard_at + self.silence);
        // What is due but may not be written yet wakes nobody.
        let may_fill = self.ask_gate_at.is_none() && self.unwritten.len() < MAX_UNWRITTEN_BYTES;
        let due_at = books.outbox.next_at().filter(|_| may_fill);
        let others = [stalled_at, silent_at, due_at, self.ask_gate_at, self.caught_up_at];
        others.into_iter().flatten().fold(self.ping_at, Instant::min)
    }

    /// What time has brought.
    fn check(&mut self, books: &Books, pipeline: &Pipeline) -> Result<(), Trouble> {
        let now = Instant::now();
        if !self.unwritten.is_empty() && now >= self.wrote_at + books.patience.write {
            return Err(Trouble::Stalled);
        }
        if self.parked.is_none() && now >= self.heard_at + self.silence {
            return Err(Trouble::Silent);
        }
        if now >= self.ping_at {
            self.ping_at = now + self.ping_every;
            self.written(wire::ping);
        }
        if self.ask_gate_at.is_some_and(|at| now >= at) {
            self.ask_gate_at = None;
        }
        if self.caught_up_at.is_some_and(|at| now >= at) {
            let session = pipeline.shared.session();
            let all_done = session.undecided() == 0 && session.unacknowledged() == 0;
            let caught_up = self.answered && all_done && books.subscriptions.is_settled();
            self.caught_up_at = (!caught_up).then_some(now + QUIET);
        }
        Ok(())
    }

    /// Adds to what is unwritten.
    fn written<T>(&mut self, put: impl FnOnce(&mut BytesMut) -> T) -> T {
        if self.unwritten.is_empty() {
            self.wrote_at = Instant::now();
        }
        put(&mut self.unwritten)
    }

    /// Takes packets out of what was read, as long as there is room for what they bring.
    fn parse(&mut self, books: &mut Books, pipeline: &Pipeline) -> Result<(), Trouble> {
        if let Some(parked) = self.parked.take() {
            self.on_publish(parked, books, pipeline)?;
        }
        while self.parked.is_none() && self.unwritten.len() < MAX_UNWRITTEN_BYTES {
            match wire::read(self.version, &mut self.read, books.max_packet_bytes)? {
                None => break,
                Some(Incoming::Publish(publish)) => self.on_publish(publish, books, pipeline)?,
                Some(other) => self.on_answer(other, books)?,
            }
        }
        Ok(())
    }

    fn on_publish(&mut self, publish: Publish, books: &Books, pipeline: &Pipeline) -> Result<(), Trouble> {
        if self.draining {
            return Ok(());
        }
        let Some(packet_id) = publish.packet_id else {
            metrics::received("0");
            if !self.is_copy(&publish, books) {
                pipeline.take_unconfirmed(message(publish, books));
            }
            return Ok(());
        };
        let Some(room) = pipeline.room() else {
            metrics::held_back();
            self.parked = Some(publish);
            return Ok(());
        };
        metrics::received("1");
        self.caught_up_at = self.caught_up_at.map(|_| Instant::now() + QUIET);
        let copy = self.is_copy(&publish, books);
        let digest = Digest::of(&publish.topic, &publish.payload, publish.retained);
        let arrival = pipeline
            .shared
            .session()
            .arrive(packet_id, digest, publish.duplicate);
        match arrival {
            Arrival::Again => metrics::redelivered(),
            Arrival::IdInUse => {
                let what = format!("packet id {packet_id} is in use by a message that is not acknowledged");
                return Err(Trouble::Protocol(what));
            }
            Arrival::New(id) => {
                let mut message = message(publish, books);
                (message.id, message.copy) = (Some(id), copy);
                pipeline.take(message, id, room);
            }
        }
        Ok(())
    }

    /// Whether a message is the one before it, by another subscription. While one filter takes the place of another both are
    /// subscribed to, and brokers send such copies one after the other.
    fn is_copy(&mut self, publish: &Publish, books: &Books) -> bool {
        let copies = match publish.retained {
            // Of what it retains it sends what is asked for.
            true => 1,
            false => books.subscriptions.copies(&publish.topic),
        };
        if copies < 2 {
            self.copied = None;
            return false;
        }
        let digest = Digest::of(&publish.topic, &publish.payload, publish.retained);
        let by = &publish.identifiers;
        if let Some(last) = &mut self.copied
            && last.digest == digest
            && last.left > 0
            && !by.iter().any(|one| last.identifiers.contains(one))
        {
            last.left -= 1;
            last.identifiers.extend(by);
            return true;
        }
        self.copied = Some(Copied {
            digest,
            left: copies.saturating_sub(by.len().max(1)),
            identifiers: by.clone(),
        });
        false
    }

    fn on_answer(&mut self, incoming: Incoming, books: &mut Books) -> Result<(), Trouble> {
        let unasked = |what: &str| Err(Trouble::Protocol(format!("{what} that was not asked for")));
        match incoming {
            Incoming::PubAck { packet_id, code } => {
                let result = match books.outbox.confirmed(packet_id, code, Instant::now()) {
                    Confirmed::Done => "confirmed",
                    Confirmed::Refused => "refused",
                    Confirmed::Again => "again",
                    // Confirmed twice, or sent before a reconnect by one who no longer waits.
                    Confirmed::Unknown => "unknown",
                };
                metrics::published(result);
            }
            Incoming::SubAck { packet_id, codes } => {
                books.outbox.release(packet_id);
                let Some(refused) = books.subscriptions.subscribed(packet_id, &codes) else {
                    return unasked("an answer to a subscription");
                };
                for (filter, code) in refused {
                    tracing::warn!(
                        filter,
                        code,
                        "the broker does not allow this subscription; check its access list"
                    );
                }
            }
            Incoming::UnsubAck { packet_id } => {
                books.outbox.release(packet_id);
                if !books.subscriptions.unsubscribed(packet_id) {
                    return unasked("an answer to the end of a subscription");
                }
            }
            Incoming::PingResp => self.answered = true,
            Incoming::Disconnect { code } => return Err(Trouble::of_end(code, &books.client_id)),
            Incoming::ConnAck(_) => return unasked("an answer to a connection"),
            Incoming::Publish(_) => debug_assert!(false, "messages are handled before"),
        }
        Ok(())
    }

    /// Writes what is due: acknowledgements, subscriptions, publications.
    fn fill(&mut self, books: &mut Books, pipeline: &Pipeline) {
        let acks = pipeline.shared.session().take_acks();
        metrics::acknowledged(acks.len());
        for packet_id in acks {
            self.written(|out| wire::acknowledgement(packet_id, out));
        }
        self.fill_subscriptions(books);
        self.fill_publications(books);
    }

    fn fill_subscriptions(&mut self, books: &mut Books) {
        if self.draining || !books.subscriptions.is_stirred() {
            return;
        }
        let version = self.version;
        loop {
            let ask = books.subscriptions.next(&books.wanted.borrow_and_update());
            let Some(ask) = ask else { return };
            let packet_id = books.outbox.take_id();
            let identifier = self.terms.identifiers.then_some(books.identifier);
            books.identifier = 1 + books.identifier % MAX_IDENTIFIER;
            self.written(|out| match &ask {
                Ask::Subscribe(filters) => wire::subscription(version, packet_id, filters, identifier, out),
                Ask::Unsubscribe(filters) => wire::unsubscription(version, packet_id, filters, out),
            });
            books.subscriptions.asked(packet_id, ask);
        }
    }

    fn fill_publications(&mut self, books: &mut Books) {
        let now = Instant::now();
        while self.unwritten.len() < MAX_UNWRITTEN_BYTES {
            // Asked for every single one: a lease may run out between two.
            if !(books.gate)() {
                if books.outbox.has_unsent() {
                    self.ask_gate_at = Some(now + GATE_PAUSE);
                }
                return;
            }
            let (version, most, retain) = (self.version, self.terms.max_packet_bytes, self.terms.retain);
            let Some(next) = books.outbox.next(now) else { break };
            let packet_id = next.packet_id;
            let result = if next.publication.retain && !retain {
                let what = "the broker retains nothing".to_owned();
                Err(PublishError::Invalid { what })
            } else {
                self.written(|out| {
                    wire::publication(version, packet_id, next.duplicate, next.publication, most, out)
                })
                .map(|()| self.acts = true)
                .map_err(|bytes| PublishError::TooLarge { bytes, most })
            };
            if let Err(error) = result {
                metrics::published("invalid");
                books.outbox.fail(packet_id, error);
            }
        }
        metrics::unconfirmed(books.outbox.under_way());
    }
}

fn message(publish: Publish, books: &Books) -> Message {
    Message {
        id: None,
        replay_of: None,
        copy: false,
        topic: publish.topic,
        payload: publish.payload,
        retained: publish.retained,
        received_ms: books.clock.now_ms(),
    }
}

fn broken(error: &std::io::Error) -> Trouble {
    match error.kind() {
        std::io::ErrorKind::ConnectionReset
        | std::io::ErrorKind::BrokenPipe
        | std::io::ErrorKind::UnexpectedEof => Trouble::Closed,
        _ => Trouble::Broken(error.to_string()),
    }
}

/// Writes some of what is unwritten; may be dropped at any point without losing any of it. Where there is a gate, nothing is
/// written once it is closed.
async fn write(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    unwritten: &mut BytesMut,
    unflushed: &mut bool,
    gate: Option<&Gate>,
) -> Result<(), Trouble> {
    let mut writing = pin!(async {
        if !unwritten.is_empty() {
            if writer.write_buf(unwritten).await? == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            *unflushed = true;
        }
        if unwritten.is_empty() && *unflushed {
            writer.flush().await?;
            *unflushed = false;
        }
        Ok(())
    });
    // Asked again whenever the broker takes something: it may have taken nothing for longer than a lease.
    poll_fn(|cx| {
        if gate.is_some_and(|may_act| !may_act()) {
            return Poll::Ready(Err(Trouble::MayNotAct));
        }
        writing.as_mut().poll(cx).map_err(|error| broken(&error))
    })
    .await
}
