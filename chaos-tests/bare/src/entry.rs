//! An entry of a transcript.

use serde_json::Value;

/// An entry of a transcript, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: u64,
    /// The message's own id, or the id of the message that a reply answers.
    pub about: String,
    /// Whether it is a reply.
    pub reply: bool,
    /// The text.
    pub text: String,
}

/// Reads a `said` or `reply` frame, or an entry of the transcript over HTTP.
pub fn entry_of(frame: &Value) -> Option<Entry> {
    let reply = match frame["type"].as_str()? {
        "said" => false,
        "reply" => true,
        _ => return None,
    };
    let about = if reply { &frame["reply_to"] } else { &frame["id"] };
    Some(Entry {
        seq: frame["seq"].as_u64()?,
        about: about.as_str()?.to_owned(),
        reply,
        text: frame["text"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reply_is_about_what_it_answers() {
        let said = json!({"type": "said", "seq": 1, "id": "a", "text": "x"});
        let reply = json!({"type": "reply", "seq": 2, "id": "r", "reply_to": "a", "text": "y"});
        let entry = |seq, reply, text: &str| Entry {
            seq,
            about: "a".into(),
            reply,
            text: text.into(),
        };
        assert_eq!(entry_of(&said), Some(entry(1, false, "x")));
        assert_eq!(entry_of(&reply), Some(entry(2, true, "y")));
        for other in [
            json!({"type": "delta"}),
            json!({"type": "said", "seq": "1"}),
            json!([]),
        ] {
            assert_eq!(entry_of(&other), None, "{other}");
        }
    }
}
