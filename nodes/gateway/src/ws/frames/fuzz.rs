//! Hostile frames: what is wrong with one is said briefly, whatever it is.

use jarvis_fuzz_engine::fuzz;

use super::*;

#[test]
fn fuzz_frames_of_clients() {
    fuzz!()
        .text()
        .seed(r#"{"type":"hello","token":"jat_1","session":"01J0000000000000000000000A","after":7}"#)
        .seed(r#"{"type":"say","id":"m-1","text":"bonjour é"}"#)
        .seed(r#"{"type":"cancel","id":"m-1"}"#)
        .seed(r#"{"type":"ping","t":{"a":[1,-2.5e3,null,true,"x"]}}"#)
        .seed(r#"{"type":"shout","id":"m-1"}"#)
        .words([
            "\"type\":",
            "[[[[[[[[",
            "{\"t\":{\"t\":",
            "\"after\":-1",
            "\"id\":3",
            "\\ud800",
        ])
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            match parse(text) {
                Ok(frame) => {
                    let again = serde_json::to_string(&frame).expect("what was read is written");
                    assert_eq!(parse(&again), Ok(frame));
                    None
                }
                Err(bad) => {
                    assert!(
                        bad.message.chars().count() <= MAX_COMPLAINT_CHARS + 1,
                        "{}",
                        bad.message
                    );
                    assert!(bad.id.as_ref().is_none_or(|id| id.len() <= MAX_ECHOED_ID_BYTES));
                    let told =
                        serde_json::to_string(&ServerFrame::from(bad.clone())).expect("it can be told");
                    assert!(told.len() < 4_096);
                    Some(bad.message.chars().take(12).collect::<String>())
                }
            }
        });
}
