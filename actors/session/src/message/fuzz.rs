//! Hostile messages of other nodes' sessions and hubs.

use std::fmt::Debug;

use jarvis_fuzz::fuzz;
use jarvis_types::codec::DECODE_LIMIT_OF_SHORT_BYTES;

use super::*;

fn holds<T: Encode + Decode<()> + Debug + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(message) = decode::<T>(bytes) else {
        return false;
    };
    let again = encode(&message).expect("what was read is written");
    assert_eq!(decode(&again), Ok(message));
    true
}

#[test]
fn fuzz_session_messages() {
    let id: ClientMessageId = "m1".parse().expect("a valid id");
    let say = ToSession::Say {
        user: UserId(7),
        id: id.clone(),
        text: "hé 😀".into(),
        budget_ms: 300,
    };
    let cancel = ToSession::Cancel {
        user: UserId(7),
        id: id.clone(),
    };
    let said = FromSession::Said {
        seq: Seq(3),
        at_ms: 9,
        repeated: true,
    };
    let watch = Watch {
        on: true,
        sessions: vec![(SessionId(5), Epoch(2)), (SessionId(u128::MAX), Epoch(u64::MAX))],
    };
    let delta = Delta {
        session: SessionId(5),
        epoch: Epoch(2),
        to: Seq(1),
        reply_to: id,
        offset: 4,
        text: "part".into(),
    };
    let bytes = [
        encode(&say),
        encode(&cancel),
        encode(&ToSession::Look),
        encode(&said),
        encode(&FromSession::Unavailable { retry_after_ms: 250 }),
        encode(&FromSession::Internal("x".into())),
        encode(&watch),
        encode(&delta),
    ];
    fuzz!()
        .seeds(bytes.map(|bytes| bytes.expect("encodes")))
        .memory((DECODE_LIMIT_OF_SHORT_BYTES + 64 * 1024) as u64, 64)
        .run(|bytes| {
            (
                holds::<ToSession>(bytes),
                holds::<FromSession>(bytes),
                holds::<Watch>(bytes),
                holds::<Delta>(bytes),
            )
        });
}
