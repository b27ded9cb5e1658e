//! The bytes on the lanes.
//!
//! ```text
//! framed stream (one direction):  version (1) | lane (1) | index (1) | sender's life (8)   then frames
//! the control stream, which is opened first, has one byte more: whether the dialer is replacing a live connection
//! frame:                          length of the rest (4) | kind (1) | service (2) | call id (8) | body
//! raw stream (both directions):   version (1) | lane (1) | service (2)                     then the users' own bytes
//! ```
//!
//! All numbers are little endian. Versions, lanes, kinds and services are promises: numbers are only ever added.

use bytes::{BufMut, Bytes, BytesMut};
use jarvis_types::limits::MAX_MESH_FRAME_BYTES;

use crate::api::Lane;

/// First byte of every stream.
pub(crate) const STREAM_VERSION: u8 = 1;

/// Length of a framed stream's beginning.
pub(crate) const PREAMBLE_BYTES: usize = 11;

/// Length of a raw stream's beginning.
pub(crate) const RAW_PREAMBLE_BYTES: usize = 4;

/// Kind, service and call id.
pub(crate) const HEADER_BYTES: usize = 11;

/// Longest text of a refusal, in bytes.
pub(crate) const MAX_REFUSAL_BYTES: usize = 4 * 1024;

/// How many framed streams each lane has a direction. Part of the protocol: receivers refuse a higher index.
const STREAMS: [(Lane, usize); 5] = [
    (Lane::Raft, 2),
    (Lane::Snapshot, 1),
    (Lane::Actors, 4),
    (Lane::Audio, 1),
    (Lane::Control, 1),
];

/// Framed streams a direction, over all lanes.
pub(crate) const SLOTS: usize = 9;

/// The slot of the one control stream, which is opened first and greets.
pub(crate) const CONTROL_SLOT: usize = SLOTS - 1;

/// Lane and index of a slot.
pub(crate) fn slot_lane(slot: usize) -> (Lane, u8) {
    let mut first = 0;
    for (lane, count) in STREAMS {
        if slot < first + count {
            return (lane, (slot - first) as u8);
        }
        first += count;
    }
    (Lane::Control, 0)
}

/// The slot that messages of `order` take on `lane`.
pub(crate) fn slot_of(lane: Lane, order: u64) -> usize {
    let mut first = 0;
    for (candidate, count) in STREAMS {
        if candidate == lane {
            return first + (order % count as u64) as usize;
        }
        first += count;
    }
    CONTROL_SLOT
}

/// The name of a lane in metrics.
pub(crate) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Raft => "raft",
        Lane::Snapshot => "snapshot",
        Lane::Actors => "actors",
        Lane::Audio => "audio",
        Lane::Control => "control",
    }
}

fn lane_from(byte: u8) -> Option<Lane> {
    STREAMS
        .iter()
        .map(|(lane, _)| *lane)
        .find(|lane| *lane as u8 == byte)
}

/// Bytes that are not what the protocol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("stream version {0} is not known")]
    Version(u8),
    #[error("there is no lane {0}")]
    Lane(u8),
    #[error("lane {0:?} has no stream {1}")]
    Index(Lane, u8),
    #[error("a frame of {0} bytes is too short")]
    TooShort(usize),
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("there is no frame kind {0}")]
    Kind(u8),
    #[error("a second stream for lane {0:?} {1}")]
    Twice(Lane, u8),
    #[error("a stream ended in the middle of a frame")]
    Torn,
}

pub(crate) fn preamble(slot: usize, life: u64) -> [u8; PREAMBLE_BYTES] {
    let (lane, index) = slot_lane(slot);
    let mut out = [0; PREAMBLE_BYTES];
    out[..3].copy_from_slice(&[STREAM_VERSION, lane as u8, index]);
    out[3..].copy_from_slice(&life.to_le_bytes());
    out
}

/// The slot of a framed stream, and which life of the sender opened it.
pub(crate) fn parse_preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<(usize, u64), FrameError> {
    let [version, lane, index, life @ ..] = *bytes;
    if version != STREAM_VERSION {
        return Err(FrameError::Version(version));
    }
    let lane = lane_from(lane).ok_or(FrameError::Lane(lane))?;
    let slot = (0..SLOTS)
        .find(|slot| slot_lane(*slot) == (lane, index))
        .ok_or(FrameError::Index(lane, index))?;
    Ok((slot, u64::from_le_bytes(life)))
}

pub(crate) fn raw_preamble(lane: Lane, service: u16) -> [u8; RAW_PREAMBLE_BYTES] {
    let [low, high] = service.to_le_bytes();
    [STREAM_VERSION, lane as u8, low, high]
}

pub(crate) fn parse_raw_preamble(bytes: [u8; RAW_PREAMBLE_BYTES]) -> Result<(Lane, u16), FrameError> {
    let [version, lane, low, high] = bytes;
    if version != STREAM_VERSION {
        return Err(FrameError::Version(version));
    }
    Ok((
        lane_from(lane).ok_or(FrameError::Lane(lane))?,
        u16::from_le_bytes([low, high]),
    ))
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Wants an answer.
    Call = 1,
    /// Wants none.
    Cast = 2,
    /// The answer to the call with that id.
    Answer = 3,
    /// The call with that id was refused; the body says why.
    Refusal = 4,
    /// No more calls and casts on this stream: the next ones are on the connection that replaces this one.
    Last = 5,
    /// The sender of this waits for no more answers on this connection, and has read `Last` on all streams.
    Goodbye = 6,
    /// Please dial again: the sender has a new certificate.
    Redial = 7,
}

/// Everything of a frame but its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) service: u16,
    pub(crate) call: u64,
}

impl Header {
    pub(crate) fn put(self, body_len: usize, out: &mut BytesMut) {
        // Callers have checked the body against MAX_MESH_FRAME_BYTES, which fits.
        out.put_u32_le((HEADER_BYTES + body_len) as u32);
        out.put_u8(self.kind as u8);
        out.put_u16_le(self.service);
        out.put_u64_le(self.call);
    }

    fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some((&[kind, s0, s1, ref call @ ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::TooShort(bytes.len()));
        };
        let kind = match kind {
            1 => Kind::Call,
            2 => Kind::Cast,
            3 => Kind::Answer,
            4 => Kind::Refusal,
            5 => Kind::Last,
            6 => Kind::Goodbye,
            7 => Kind::Redial,
            other => return Err(FrameError::Kind(other)),
        };
        Ok(Self {
            kind,
            service: u16::from_le_bytes([s0, s1]),
            call: u64::from_le_bytes(*call),
        })
    }
}

/// The next whole frame at the beginning of `buffer`, taken out of it; none while it is not there yet.
pub(crate) fn next_frame(buffer: &mut BytesMut) -> Result<Option<(Header, Bytes)>, FrameError> {
    let Some((length, _)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length < HEADER_BYTES {
        return Err(FrameError::TooShort(length));
    }
    if length > HEADER_BYTES + MAX_MESH_FRAME_BYTES {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(4 + length).freeze().split_off(4);
    let header = Header::parse(&frame)?;
    Ok(Some((header, frame.split_off(HEADER_BYTES))))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_lanes_fit_together() {
        assert_eq!(STREAMS.iter().map(|(_, n)| n).sum::<usize>(), SLOTS);
        assert_eq!(slot_lane(CONTROL_SLOT), (Lane::Control, 0));
        for slot in 0..SLOTS {
            let (lane, index) = slot_lane(slot);
            assert_eq!(slot_of(lane, u64::from(index)), slot);
            assert_eq!(parse_preamble(&preamble(slot, 9)), Ok((slot, 9)));
        }
        assert_eq!(slot_of(Lane::Actors, 5), slot_of(Lane::Actors, 1));
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(
            preamble(slot_of(Lane::Actors, 2), 1),
            [1, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(raw_preamble(Lane::Snapshot, 0x0201), [1, 2, 1, 2]);
        assert_eq!(parse_raw_preamble([1, 2, 1, 2]), Ok((Lane::Snapshot, 0x0201)));
        let mut out = BytesMut::new();
        Header {
            kind: Kind::Call,
            service: 0x0302,
            call: 7,
        }
        .put(2, &mut out);
        out.put_slice(b"ok");
        assert_eq!(
            &out[..],
            [13, 0, 0, 0, 1, 2, 3, 7, 0, 0, 0, 0, 0, 0, 0, b'o', b'k']
        );
        let frame = next_frame(&mut out).unwrap().unwrap();
        assert_eq!(
            frame,
            (
                Header {
                    kind: Kind::Call,
                    service: 0x0302,
                    call: 7
                },
                Bytes::from_static(b"ok")
            )
        );
        assert!(out.is_empty());
    }

    #[test]
    fn hostile_frames_are_refused_before_anything_is_allocated() {
        let parse = |bytes: &[u8]| next_frame(&mut BytesMut::from(bytes));
        assert_eq!(parse(&[0xff; 4]), Err(FrameError::TooLong(0xffff_ffff)));
        assert_eq!(parse(&[10, 0, 0, 0]), Err(FrameError::TooShort(10)));
        assert_eq!(
            parse(&[11, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameError::Kind(99))
        );
        assert_eq!(parse(&[11, 0, 0]), Ok(None));
        assert_eq!(parse_preamble(&[9; PREAMBLE_BYTES]), Err(FrameError::Version(9)));
        let mut bad = preamble(0, 0);
        bad[2] = 200;
        assert_eq!(parse_preamble(&bad), Err(FrameError::Index(Lane::Raft, 200)));
        assert_eq!(parse_raw_preamble([1, 77, 0, 0]), Err(FrameError::Lane(77)));
    }
}
