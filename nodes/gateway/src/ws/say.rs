//! What a message must be before it goes to its session, on the socket as over HTTP.

use std::time::Duration;

use jarvis_session::api::{Said, SessionError};
use jarvis_types::limits::{MAX_CHAT_FRAME_BYTES, MAX_REPLY_CHARS};
use jarvis_types::{ClientMessageId, UserId};
use tokio::time::Instant;

use crate::metrics;
use crate::shared::Shared;

/// What a frame has beside the text, in bytes: its type, its keys and the longest id, with room.
const FRAME_REST_BYTES: usize = 128;

/// Longest text that fits into a frame, one byte a character, in characters.
const MAX_FRAME_CHARS: usize = MAX_CHAT_FRAME_BYTES - FRAME_REST_BYTES;

/// The longest text that is taken where the setting says so many characters: no more than a transcript takes and than
/// fits into a frame. 0: as many as that.
pub(crate) fn limit_chars(setting: u64) -> u64 {
    let most = MAX_REPLY_CHARS.min(MAX_FRAME_CHARS) as u64;
    if setting == 0 { most } else { setting.min(most) }
}

/// Why a message goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its id or text cannot be one.
    BadFrame(String),
    /// It is longer than the limit.
    TooLong(String),
    /// Its user says too much; when there is room again.
    RateLimited(Duration),
}

/// Checks a message and takes it from the user's allowance.
pub(crate) fn check(shared: &Shared, user: UserId, id: &str, text: &str) -> Result<ClientMessageId, Refused> {
    let checked = check_text(shared.message_chars, id, text).and_then(|id| {
        let taken = shared.message_limit.take(user, Instant::now());
        taken.map_err(Refused::RateLimited).map(|()| id)
    });
    match &checked {
        Ok(_) => {}
        Err(Refused::BadFrame(_)) => metrics::chat_request("bad_frame"),
        Err(Refused::TooLong(_)) => metrics::chat_request("too_long"),
        Err(Refused::RateLimited(_)) => {
            metrics::rate_limit_hit("messages_per_minute");
            metrics::chat_request("rate_limited");
        }
    }
    checked
}

fn check_text(limit_chars: u64, id: &str, text: &str) -> Result<ClientMessageId, Refused> {
    let id = id
        .parse::<ClientMessageId>()
        .map_err(|e| Refused::BadFrame(e.to_string()))?;
    let chars = text.chars().count() as u64;
    if chars > limit_chars {
        return Err(Refused::TooLong(format!(
            "the text has {chars} characters; at most {limit_chars} are taken"
        )));
    }
    if text.trim().is_empty() {
        return Err(Refused::BadFrame("`text` is empty".to_owned()));
    }
    Ok(id)
}

/// Counts what became of a message; one that was not taken, or stood there already, does not count against its user.
pub(crate) fn count(shared: &Shared, user: UserId, outcome: Result<&Said, &SessionError>) {
    metrics::chat_request(match outcome {
        Ok(said) if said.repeated => "repeated",
        Ok(_) => "said",
        Err(SessionError::NotFound) => "not_found",
        Err(SessionError::Unavailable { .. } | SessionError::Overloaded { .. }) => "unavailable",
        Err(SessionError::TooLong(_)) => "too_long",
        Err(SessionError::Invalid(_)) => "bad_frame",
        Err(SessionError::LimitReached(_)) => "limit_reached",
        Err(SessionError::Internal(_)) => "internal",
    });
    if matches!(
        outcome,
        Ok(Said { repeated: true, .. })
            | Err(SessionError::Unavailable { .. } | SessionError::Overloaded { .. })
    ) {
        shared.message_limit.give_back(&user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_characters() {
        assert!(check_text(4, "m1", "äöü€").is_ok());
        assert!(matches!(check_text(4, "m1", "äöü€!"), Err(Refused::TooLong(_))));
        for text in ["", "  \n\t"] {
            assert_eq!(
                check_text(4, "m1", text),
                Err(Refused::BadFrame("`text` is empty".to_owned()))
            );
        }
        assert!(matches!(check_text(4, "a b", "x"), Err(Refused::BadFrame(_))));
    }

    #[test]
    fn no_setting_takes_more_than_can_be_stored_and_framed() {
        assert_eq!(limit_chars(4_096), 4_096);
        let most = limit_chars(0);
        assert_eq!((limit_chars(u64::MAX), limit_chars(most)), (most, most));
        assert!(most as usize <= MAX_REPLY_CHARS);
        let frame = serde_json::to_string(&jarvis_types::chat::ClientFrame::Say {
            id: "i".repeat(jarvis_types::limits::MAX_CLIENT_ID_BYTES),
            text: "x".repeat(most as usize),
        });
        assert!(frame.expect("a frame").len() <= MAX_CHAT_FRAME_BYTES);
    }
}
