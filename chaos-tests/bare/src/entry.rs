//! An entry of a transcript.

use serde_json::Value;

/// An entry of a transcript, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: u64,
    /// The message's own id, or the id of the message that a reply answers; empty, which no id is, where a reply answers none.
    pub about: String,
    /// Whether it is a reply.
    pub reply: bool,
    /// The text.
    pub text: String,
}

impl Entry {
    /// Whether nobody asked for it: it answers no message.
    pub fn is_unasked(&self) -> bool {
        self.reply && self.about.is_empty()
    }
}

/// Reads a `said` or `reply` frame, or an entry of the transcript over HTTP.
pub fn entry_of(frame: &Value) -> Option<Entry> {
    let reply = match frame["type"].as_str()? {
        "said" => false,
        "reply" => true,
        _ => return None,
    };
    let about = match (reply, &frame["reply_to"]) {
        (true, Value::Null) => "",
        (true, about) => about.as_str()?,
        (false, _) => frame["id"].as_str().filter(|id| !id.is_empty())?,
    };
    Some(Entry {
        seq: frame["seq"].as_u64()?,
        about: about.to_owned(),
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
        assert!(!entry(2, true, "y").is_unasked());
        let unasked = json!({"type": "reply", "seq": 3, "id": "s", "text": "z"});
        let unasked = entry_of(&unasked).expect("an entry");
        assert_eq!((&*unasked.about, unasked.seq), ("", 3));
        assert!(unasked.is_unasked());
        for other in [
            json!({"type": "delta"}),
            json!({"type": "said", "seq": "1"}),
            json!({"type": "said", "seq": 1, "id": "", "text": "x"}),
            json!({"type": "reply", "seq": 1, "id": "r", "reply_to": 5, "text": "x"}),
            json!([]),
        ] {
            assert_eq!(entry_of(&other), None, "{other}");
        }
    }
}
