//! What a frame says to a client that talks.

use std::time::Duration;

use serde_json::Value;

use crate::entry::{Entry, entry_of};

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An entry of the transcript.
    Entry(Entry),
    /// The session has another owner.
    Moved {
        /// Its name.
        owner: String,
        /// Since which epoch.
        epoch: u64,
    },
    /// The gateway is going away.
    Draining {
        /// Where to go.
        endpoints: Vec<String>,
    },
    /// An error.
    Refused(Refusal),
    /// Something else.
    Other,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its code.
    pub code: String,
    /// The message that it is about.
    pub id: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Nothing can be committed.
    pub fn is_unavailable(&self) -> bool {
        self.code == "unavailable"
    }

    /// Whether the same message may be taken later.
    pub fn is_for_a_while(&self) -> bool {
        self.is_unavailable() || self.code == "rate_limited"
    }
}

impl News {
    /// Reads a frame.
    pub fn of(frame: &Value) -> Self {
        if let Some(entry) = entry_of(frame) {
            return Self::Entry(entry);
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match frame["type"].as_str() {
            Some("moved") => Self::Moved {
                owner: text(&frame["owner"]).unwrap_or_default(),
                epoch: frame["epoch"].as_u64().unwrap_or_default(),
            },
            Some("draining") => {
                let endpoints = frame["endpoints"].as_array().into_iter().flatten();
                Self::Draining {
                    endpoints: endpoints.filter_map(text).collect(),
                }
            }
            Some("error") => Self::Refused(Refusal {
                code: text(&frame["code"]).unwrap_or_default(),
                id: text(&frame["id"]),
                retry_after: frame["retry_after_ms"].as_u64().map(Duration::from_millis),
            }),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_are_read_as_they_are_promised() {
        let moved = json!({"type": "moved", "owner": "b", "epoch": 7});
        let owner = "b".to_owned();
        assert_eq!(News::of(&moved), News::Moved { owner, epoch: 7 });
        let draining = json!({"type": "draining", "endpoints": ["ws://a", "ws://b"]});
        let endpoints = vec!["ws://a".to_owned(), "ws://b".to_owned()];
        assert_eq!(News::of(&draining), News::Draining { endpoints });
        let error = json!({"type": "error", "code": "unavailable", "id": "m", "retry_after_ms": 70});
        let News::Refused(refusal) = News::of(&error) else {
            panic!("it is a refusal");
        };
        assert!(refusal.is_unavailable() && refusal.is_for_a_while());
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(70)));
        assert!(matches!(
            News::of(&json!({"type": "said", "seq": 1, "id": "a", "text": "x"})),
            News::Entry(_)
        ));
        for other in [json!({"type": "pong"}), json!({}), json!(3)] {
            assert_eq!(News::of(&other), News::Other, "{other}");
        }
    }
}
