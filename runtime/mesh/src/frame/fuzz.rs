//! Hostile streams: what is taken for a frame is one, however the bytes come in pieces, and nothing is held for a length
//! that is only claimed.

use jarvis_fuzz::fuzz;

use super::*;

fn frame(kind: Kind, service: u16, call: u64, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    Header { kind, service, call }.put(body.len(), &mut out);
    out.put_slice(body);
    out.to_vec()
}

/// All frames of a stream that comes in pieces of `size`, and what is wrong with it.
fn read(bytes: &[u8], size: usize) -> (Vec<(Header, Bytes)>, Result<usize, FrameError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(buffer.len()))
}

#[test]
fn fuzz_frames() {
    let kinds = [
        frame(Kind::Call, 0x0201, 7, b"a call"),
        frame(Kind::Cast, 0x0301, 0, &[9; 300]),
        frame(Kind::Answer, 0, u64::MAX, b""),
        frame(Kind::Refusal, 0, 7, "pas prêt".as_bytes()),
        frame(Kind::Last, 0, 0, b""),
        frame(Kind::Goodbye, 0, 0, b""),
        frame(Kind::Redial, 0, 0, b""),
    ];
    let most = (4 * (HEADER_BYTES + MAX_MESH_FRAME_BYTES)).to_le_bytes();
    fuzz!()
        .seeds(&kinds)
        .seed(kinds.concat())
        .words([most])
        .run(|bytes| {
            let (frames, end) = read(bytes, bytes.len().max(1));
            let pieces = 1 + bytes.first().map_or(0, |byte| usize::from(*byte) % 13);
            assert_eq!(
                read(bytes, pieces),
                (frames.clone(), end),
                "in pieces of {pieces}"
            );
            // Written again it is what was read.
            let again: Vec<u8> = frames
                .iter()
                .flat_map(|(h, body)| frame(h.kind, h.service, h.call, body))
                .collect();
            assert!(bytes.starts_with(&again));
            if let Ok(left) = end {
                assert_eq!(again.len() + left, bytes.len());
            }
            (
                frames.len().min(4),
                end.map(|left| left > 0)
                    .map_err(|error| std::mem::discriminant(&error)),
            )
        });
}

#[test]
fn fuzz_preambles() {
    let framed = (0..SLOTS).map(|slot| preamble(slot, 9).to_vec());
    let raw = [
        raw_preamble(Lane::Snapshot, 0x0201),
        raw_preamble(Lane::Control, 0x0102),
    ];
    fuzz!().seeds(framed).seeds(raw).longest(16).run(|bytes| {
        let framed = bytes.first_chunk().map(|bytes| {
            parse_preamble(bytes).map(|(slot, life)| {
                assert_eq!(&preamble(slot, life), bytes);
                slot
            })
        });
        let raw = bytes.first_chunk().map(|bytes| {
            parse_raw_preamble(*bytes).map(|(lane, service)| {
                assert_eq!(&raw_preamble(lane, service), bytes);
                lane
            })
        });
        (framed, raw)
    });
}

/// A positive control: the same target finds a reader that trusts a frame's length.
#[test]
fn a_reader_that_trusts_lengths_is_found() {
    let trusting = |bytes: &[u8]| {
        let mut buffer = BytesMut::from(bytes);
        let length = buffer
            .split_first_chunk::<4>()
            .map(|(length, _)| u32::from_le_bytes(*length) as usize)?;
        buffer.reserve(length.min(1 << 24));
        (buffer.len() >= 4 + length).then(|| buffer.split_to(4 + length).len())
    };
    let seeds = [frame(Kind::Call, 1, 2, b"hello")];
    let finding = fuzz!()
        .seeds(seeds)
        .find(1, None, trusting)
        .expect_err("it is found");
    assert!(finding.why.contains("at once"), "{}", finding.why);
}
