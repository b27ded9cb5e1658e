//! What must hold, whatever fails: each law in its own file.
pub mod acknowledged;
pub mod acts;
pub mod leader;
pub mod log;
pub mod minority;
pub mod owner;
pub mod reads;
pub mod removed;
pub mod repeats;
pub mod same;
pub mod transcript;

/// A law that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which law.
    pub law: &'static str,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

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

/// Reads a `said` or `reply` frame.
pub fn entry_of(frame: &serde_json::Value) -> Option<Entry> {
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
