//! Hostile frames of routers, hosts, lease holders and grantors.

use std::fmt::Debug;

use jarvis_fuzz::fuzz;
use jarvis_types::KindId;
use jarvis_types::codec::DECODE_LIMIT_OF_SHORT_BYTES;

use super::*;

fn holds<T: Debug + PartialEq>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, CodecError>,
    write: impl Fn(&T) -> Bytes,
) -> Result<(), String> {
    let value = read(bytes).map_err(|error| error.to_string())?;
    assert_eq!(read(&write(&value)), Ok(value));
    Ok(())
}

#[test]
fn fuzz_entity_frames() {
    let ask = AskFrame {
        to: EntityId {
            kind: KindId::SESSION,
            key: "01J0000000000000000000000A".into(),
        },
        request: Some("r1".parse().expect("valid")),
        body: vec![9; 40],
    };
    let replies = [
        AskReply::Answer(vec![7; 300]),
        AskReply::NotOwner {
            epoch: Epoch(5),
            owner: Some(NodeId(2)),
        },
        AskReply::NotReady,
        AskReply::Overloaded,
        AskReply::Quarantined {
            restarts: 3,
            last_error: "it fell".into(),
        },
        AskReply::Refused("no".into()),
    ];
    fuzz!()
        .seed(ask.encode().expect("small"))
        .seeds(replies.map(|reply| reply.encode()))
        .memory((DECODE_LIMIT_OF_SHORT_BYTES + 64 * 1024) as u64, 64)
        .run(|bytes| {
            let ask = holds(bytes, AskFrame::decode, |frame| {
                frame.encode().expect("what was read is written")
            });
            let reply = holds(bytes, AskReply::decode, AskReply::encode);
            (ask, reply)
        });
}
