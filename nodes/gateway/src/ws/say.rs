//! What a message must be before it goes to its session, on the socket as over HTTP.

use std::time::Duration;

use jarvis_session::api::{Said, SessionError};
use jarvis_types::{ClientMessageId, UserId};
use tokio::time::Instant;

use crate::metrics;
use crate::shared::Shared;

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
    let checked = check_text(shared.settings.message_chars, id, text).and_then(|id| {
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
    if limit_chars > 0 && chars > limit_chars {
        return Err(Refused::TooLong(format!(
            "the text has {chars} characters; at most {limit_chars} are taken"
        )));
    }
    if text.trim().is_empty() {
        return Err(Refused::BadFrame("`text` is empty".to_owned()));
    }
    Ok(id)
}

/// Counts what became of a message; one that was not taken does not count against its user.
pub(crate) fn count(shared: &Shared, user: UserId, outcome: Result<&Said, &SessionError>) {
    metrics::chat_request(match outcome {
        Ok(said) if said.repeated => "repeated",
        Ok(_) => "said",
        Err(SessionError::NotFound) => "not_found",
        Err(SessionError::Unavailable { .. } | SessionError::Overloaded { .. }) => "unavailable",
        Err(SessionError::Internal(_)) => "internal",
    });
    if matches!(
        outcome,
        Err(SessionError::Unavailable { .. } | SessionError::Overloaded { .. })
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
        assert!(check_text(0, "m1", &"x".repeat(9_999)).is_ok(), "0 is no limit");
        for text in ["", "  \n\t"] {
            assert_eq!(
                check_text(4, "m1", text),
                Err(Refused::BadFrame("`text` is empty".to_owned()))
            );
        }
        assert!(matches!(check_text(4, "a b", "x"), Err(Refused::BadFrame(_))));
    }
}
