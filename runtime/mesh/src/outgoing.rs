//! The queue before one framed stream, and the task that writes it out.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::api::Lane;
use crate::frame::{Header, Kind, slot_lane};
use crate::metrics::{self, LaneMeter};

/// Most calls and casts that wait on one stream: beyond it the caller is told `overloaded`.
pub(crate) const MAX_QUEUED_MESSAGES: usize = 4_096;

/// Most bytes that wait on one stream, whole frames of the largest size included.
pub(crate) const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// Answers may overrun both bounds this many times before they are dropped: each was asked for by a call that its sender
/// holds in a bounded table, and a dropped answer costs its caller a whole timeout.
const ANSWER_HEADROOM: usize = 4;

/// Bodies from this size on are not copied into the common buffer.
const LARGE_BODY_BYTES: usize = 16 * 1024;

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The bound is reached.
    Full,
    /// The connection is being replaced: use the new one.
    Retired,
    /// The connection is lost.
    Closed,
}

/// Frames on their way to one framed stream.
pub(crate) struct Outgoing {
    lane: Lane,
    queue: Mutex<Queue>,
    wake: Notify,
    meter: LaneMeter,
}

#[derive(Default)]
struct Queue {
    /// Finished pieces, in order, before `tail`.
    pieces: Vec<Bytes>,
    /// Small frames, one behind the other.
    tail: BytesMut,
    messages: usize,
    bytes: usize,
    retired: bool,
    closed: bool,
}

impl Queue {
    fn put(&mut self, header: Header, body: Bytes) {
        self.messages += 1;
        self.bytes += body.len();
        header.put(body.len(), &mut self.tail);
        if body.len() < LARGE_BODY_BYTES {
            self.tail.extend_from_slice(&body);
        } else {
            let tail = self.tail.split().freeze();
            self.pieces.push(tail);
            self.pieces.push(body);
        }
    }
}

impl Outgoing {
    pub(crate) fn new(slot: usize) -> Self {
        let (lane, _) = slot_lane(slot);
        let meter = LaneMeter::new(lane, "out");
        Self {
            lane,
            queue: Mutex::default(),
            wake: Notify::new(),
            meter,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call or cast.
    pub(crate) fn push(&self, header: Header, body: Bytes) -> Result<(), PushError> {
        let len = body.len();
        {
            let mut queue = self.lock();
            if queue.retired {
                return Err(PushError::Retired);
            }
            if queue.closed {
                return Err(PushError::Closed);
            }
            if queue.messages >= MAX_QUEUED_MESSAGES || queue.bytes + len > MAX_QUEUED_BYTES {
                drop(queue);
                metrics::overloaded(self.lane);
                return Err(PushError::Full);
            }
            queue.put(header, body);
        }
        self.meter.count(len);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues an answer or one of the connection's own frames, also while the connection is being replaced.
    pub(crate) fn push_answer(&self, header: Header, body: Bytes) {
        let len = body.len();
        {
            let mut queue = self.lock();
            let full = queue.messages >= ANSWER_HEADROOM * MAX_QUEUED_MESSAGES
                || queue.bytes + len > ANSWER_HEADROOM * MAX_QUEUED_BYTES;
            if queue.closed || full {
                drop(queue);
                if full {
                    metrics::overloaded(self.lane);
                }
                return;
            }
            queue.put(header, body);
        }
        self.meter.count(len);
        self.wake.notify_one();
    }

    /// From here on calls and casts take another connection; the receiver is told where these end.
    pub(crate) fn retire(&self) {
        {
            let mut queue = self.lock();
            if std::mem::replace(&mut queue.retired, true) {
                return;
            }
            queue.put(
                Header {
                    kind: Kind::Last,
                    service: 0,
                    call: 0,
                },
                Bytes::new(),
            );
        }
        self.wake.notify_one();
    }

    /// Nothing more goes out.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.pieces = Vec::new();
        queue.tail = BytesMut::new();
        drop(queue);
        self.wake.notify_one();
    }

    /// Everything queued, as pieces to write in order; waits for something. None once closed.
    async fn take(&self, pieces: &mut Vec<Bytes>) -> bool {
        loop {
            {
                let mut queue = self.lock();
                if queue.closed {
                    return false;
                }
                if queue.messages > 0 {
                    std::mem::swap(&mut queue.pieces, pieces);
                    if !queue.tail.is_empty() {
                        let tail = queue.tail.split().freeze();
                        pieces.push(tail);
                    }
                    (queue.messages, queue.bytes) = (0, 0);
                    return true;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Writes to `stream` until the queue is closed or the stream breaks: all that is queued goes out in one piece.
    pub(crate) async fn write_to(&self, stream: &mut quinn::SendStream) -> Result<(), quinn::WriteError> {
        let mut pieces = Vec::new();
        while self.take(&mut pieces).await {
            stream.write_all_chunks(&mut pieces).await?;
            pieces.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        kind: Kind::Cast,
        service: 1,
        call: 0,
    };

    #[test]
    fn both_bounds_hold_and_answers_have_headroom() {
        let out = Outgoing::new(0);
        for _ in 0..MAX_QUEUED_MESSAGES {
            assert_eq!(out.push(HEADER, Bytes::new()), Ok(()));
        }
        assert_eq!(out.push(HEADER, Bytes::new()), Err(PushError::Full));
        for _ in 0..10 * MAX_QUEUED_MESSAGES {
            out.push_answer(HEADER, Bytes::new());
        }
        assert_eq!(out.lock().messages, ANSWER_HEADROOM * MAX_QUEUED_MESSAGES);

        let out = Outgoing::new(0);
        let half = Bytes::from(vec![0; MAX_QUEUED_BYTES / 2]);
        assert_eq!(out.push(HEADER, half.clone()), Ok(()));
        assert_eq!(out.push(HEADER, half.clone()), Ok(()));
        assert_eq!(out.push(HEADER, Bytes::from_static(b"x")), Err(PushError::Full));
    }

    #[tokio::test]
    async fn pieces_come_out_in_the_order_they_went_in() {
        let out = Outgoing::new(0);
        let bodies = [
            Bytes::from_static(b"a"),
            Bytes::from(vec![7; LARGE_BODY_BYTES]),
            Bytes::from_static(b"b"),
        ];
        for body in &bodies {
            out.push(HEADER, body.clone()).unwrap();
        }
        out.retire();
        assert_eq!(out.push(HEADER, Bytes::new()), Err(PushError::Retired));
        let mut pieces = Vec::new();
        assert!(out.take(&mut pieces).await);
        let mut all = BytesMut::new();
        pieces.iter().for_each(|p| all.extend_from_slice(p));
        for body in bodies {
            assert_eq!(
                crate::frame::next_frame(&mut all).unwrap().unwrap(),
                (HEADER, body)
            );
        }
        assert_eq!(
            crate::frame::next_frame(&mut all).unwrap().unwrap().0.kind,
            Kind::Last
        );
        assert!(all.is_empty());
        out.close();
        assert!(!out.take(&mut pieces).await);
        assert_eq!(
            out.push(HEADER, Bytes::new()),
            Err(PushError::Retired),
            "still the other connection's"
        );
        let out = Outgoing::new(0);
        out.close();
        assert_eq!(out.push(HEADER, Bytes::new()), Err(PushError::Closed));
    }
}
