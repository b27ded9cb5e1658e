//! Hostile streams where a snapshot is awaited.

use std::sync::Mutex;

use jarvis_fuzz::fuzz;
use jarvis_machine::snapshot::ChunkRow;

use super::*;
use crate::types::tests::log_id;

/// What a stream may have its receiver hold: serde's reserve for lists, one within the other, and a frame as it came.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

fn frame(sealed: &[u8]) -> Vec<u8> {
    [&(sealed.len() as u32).to_le_bytes()[..], sealed].concat()
}

fn stream() -> Vec<u8> {
    let members = openraft::Membership::new_with_defaults(vec![[1, 2].into()], [3]);
    let head = Head {
        vote: Vote::new_committed(7, 2),
        meta: SnapshotMeta {
            last_log_id: Some(log_id(6, 9)),
            last_membership: openraft::StoredMembership::new(Some(log_id(1, 4)), members),
        },
    };
    let chunk = |key: u8, last| Chunk {
        rows: vec![ChunkRow {
            table: 1,
            key: vec![key; 8],
            value: vec![1, 2, 3],
        }],
        last,
    };
    let chunks = [chunk(1, false), chunk(2, true)].map(|chunk| frame(&chunk.encode().expect("encodes")));
    [frame(&seal(&head).expect("encodes")), chunks.concat()].concat()
}

/// Makes lengths and seals of all frames right again.
fn mend(bytes: &mut Vec<u8>) {
    let mut out = Vec::new();
    let mut rest = &bytes[..];
    while let Some((length, body)) = rest.split_first_chunk::<4>() {
        let (sealed, behind) = body.split_at((u32::from_le_bytes(*length) as usize).min(body.len()));
        out.extend(frame(&codec::seal(sealed.get(4..).unwrap_or_default())));
        rest = behind;
    }
    *bytes = out;
}

#[test]
fn fuzz_snapshot_streams() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let rows = Mutex::new(0);
    fuzz!()
        .seed(stream())
        .mend(mend)
        .memory(MOST_BYTES, 256)
        .runs(5_000)
        .run(|mut bytes| {
            *rows.lock().expect("one thread") = 0;
            let read = async {
                let head = read_frame(&mut bytes, STALL_TIMEOUT).await?;
                let Head { vote, meta } = open(&head)?;
                assert_eq!(
                    open::<Head>(&seal(&Head {
                        vote,
                        meta: meta.clone()
                    })?)?
                    .meta,
                    meta
                );
                loop {
                    let frame = read_frame(&mut bytes, STALL_TIMEOUT).await?;
                    let chunk = Chunk::decode(&frame).map_err(|e| malformed(&e.to_string()))?;
                    *rows.lock().expect("one thread") += chunk.rows.len();
                    if chunk.last {
                        return Ok::<_, io::Error>(());
                    }
                }
            };
            let end = runtime.block_on(read).map_err(|error| error.to_string());
            let answer = open::<Answer>(bytes).is_ok();
            (end, answer, (*rows.lock().expect("one thread")).min(4))
        });
}

/// What was found once: four bytes that claim a frame of six mebibytes.
#[tokio::test]
async fn a_claimed_length_is_not_believed() {
    let error = read_frame(&mut &[0, 0, 0x61, 0][..], STALL_TIMEOUT)
        .await
        .expect_err("nothing follows");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
