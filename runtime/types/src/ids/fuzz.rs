//! Hostile ids: whatever is taken, as text or as bytes, keeps the id's own rule and reads as it is shown.

use std::fmt::{Debug, Display};

use jarvis_fuzz::fuzz;

use super::*;
use crate::codec;

fn holds<T: FromStr<Err = InvalidId> + Display + PartialEq + Debug>(text: &str) -> Option<()> {
    let id = text.parse::<T>();
    if let Err(invalid) = &id {
        assert!(invalid.to_string().len() < 1_000, "what is wrong is said briefly");
    }
    let id = id.ok()?;
    assert_eq!(id.to_string().parse(), Ok(id));
    Some(())
}

#[test]
fn fuzz_ids_as_text() {
    fuzz!()
        .text()
        .seeds(["6f9619ff-8b86-d011-b42d-00cf4fc964ff", "kitchen-pi.1"])
        .seeds(["01J0000000000000000000000A", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"])
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            (
                holds::<NodeName>(text),
                holds::<ClientMessageId>(text),
                holds::<RequestId>(text),
                holds::<SessionId>(text),
                holds::<ClusterId>(text),
            )
        });
}

type Ids = (
    Option<NodeName>,
    Vec<ClientMessageId>,
    RequestId,
    SessionId,
    EntityId,
);

#[test]
fn fuzz_ids_as_bytes() {
    let id = |text: &str| text.parse().expect("valid");
    let ids: Ids = (
        "kitchen".parse().ok(),
        vec![id("m-1"), id("m-2")],
        "r1".parse().expect("valid"),
        SessionId(1 << 100),
        EntityId::session(SessionId(7)),
    );
    fuzz!()
        .seed(codec::encode(1, &ids).expect("encodes"))
        .memory(codec::DECODE_LIMIT_OF_SHORT_BYTES as u64 + 64 * 1024, 64)
        .run(|bytes| {
            let (name, messages, request, session, _) =
                codec::decode::<Ids>(1, bytes).map_err(|e| e.to_string())?;
            assert!(
                name.as_ref()
                    .is_none_or(|name| name.as_str().parse().as_ref() == Ok(name))
            );
            assert!(messages.iter().all(|id| id.as_str().parse().as_ref() == Ok(id)));
            assert_eq!(request.as_str().parse(), Ok(request));
            assert_eq!(session.to_string().parse(), Ok(session));
            Ok::<_, String>(messages.len().min(3))
        });
}

#[test]
fn bytes_are_held_to_the_rule_of_text() {
    for bad in ["", "a b", "line\nend", &"x".repeat(65)] {
        let bytes = codec::encode(1, &bad).expect("encodes");
        assert!(codec::decode::<NodeName>(1, &bytes).is_err(), "{bad:?}");
        assert!(codec::decode::<ClientMessageId>(1, &bytes).is_err(), "{bad:?}");
        assert!(codec::decode::<RequestId>(1, &bytes).is_err(), "{bad:?}");
    }
    let bytes = codec::encode(1, &"attic").expect("encodes");
    assert_eq!(
        codec::decode(1, &bytes),
        Ok("attic".parse::<NodeName>().expect("valid"))
    );
}
